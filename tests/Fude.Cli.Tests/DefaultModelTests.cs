using System.Text.Json;
using Fude.TestData;

namespace Fude.Cli.Tests;

/// <summary>The model that comes with fude: what is a model's name and what a text, and that it works.</summary>
public sealed class DefaultModelTests
{
    private const double MostBits = 4.6;

    [Fact]
    public void A_word_alone_is_a_model_if_there_is_one_and_a_text_otherwise()
    {
        using TemporaryFolder folder = new();
        Assert.Equal((folder.Path, null), DefaultModel.Of(folder.Path, null, hasText: false));
        Assert.Equal((folder.Path, "吾輩は"), DefaultModel.Of(folder.Path, "吾輩は", hasText: false));
        Assert.Equal(((string?)null, "吾輩は"), DefaultModel.Of("吾輩は", null, hasText: false));
        Assert.Equal(((string?)null, null), DefaultModel.Of(null, null, hasText: false));
    }

    [Theory]
    [InlineData("model.gguf")]
    [InlineData("tokenizer.model")]
    [InlineData("tokenizer.json")]
    [InlineData("./model")]
    [InlineData("../model")]
    [InlineData("/no/such/model")]
    public void What_looks_like_a_path_is_a_model_even_where_it_is_not_there(string word) =>
        Assert.Equal((word, null), DefaultModel.Of(word, null, hasText: false));

    [Theory]
    [InlineData("japanese-stablelm-base-beta-7b")]
    [InlineData("llm-jp/llm-jp-13b-v1.0")]
    [InlineData("01-ai/Yi-6B")]
    [InlineData("models/llm-jp")]
    public void A_name_of_a_model_that_is_not_there_is_no_text(string word)
    {
        Failure failure = Assert.Throws<Failure>(() => DefaultModel.Of(word, null, hasText: false));
        Assert.True(failure.IsWrongUsage);
        Assert.StartsWith($"{word} looks like the name of a model, but there is no such folder or file. ", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hello")]
    [InlineData("COVID-19")]
    [InlineData("e-mail")]
    [InlineData("and/or")]
    [InlineData("state-of-the-art")]
    [InlineData("2026-11-23")]
    [InlineData("Once upon a time, a well-known king")]
    [InlineData("春-夏")]
    [InlineData("-1")]
    [InlineData("def main(")]
    public void Other_words_are_texts(string word) => Assert.Equal((null, word), DefaultModel.Of(word, null, hasText: false));

    [Fact]
    public async Task It_is_named_by_its_name_wherever_a_model_is()
    {
        using TemporaryFolder folder = new();
        Assert.Equal(DefaultModel.Path, DefaultModel.Named(DefaultModel.Name));
        Assert.Equal("fude-mini", DefaultModel.Named("fude-mini"));
        Assert.Equal((await Fude.Run("tokenize", "吾輩は")).Output, (await Fude.Run("tokenize", DefaultModel.Name, "吾輩は")).Output);
        Assert.Equal(await Greedy("吾輩は"), await Greedy(DefaultModel.Name, "吾輩は"));
        string tensors = (await Fude.Run("inspect", "--tensors", "--json")).Json.GetProperty("tensors").GetRawText();
        Assert.Equal(tensors, (await Fude.Run("inspect", DefaultModel.Name, "--tensors", "--json")).Json.GetProperty("tensors").GetRawText());
        string text = folder.Write("text.txt", "吾輩は猫である。\n");
        Fude.Result shard = await Fude.Run("corpus", "tokenize", text, "--tokenizer", DefaultModel.Name, "--out", folder["shard"]);
        Assert.True(shard.Status == 0, shard.Error);
        // A recipe takes it too.
        string recipe = folder.Write("recipe.json", """{"steps": [{"step": "tokenize", "files": ["text.txt"], "tokenizer": "fude-mini-ja", "out": "new"}]}""");
        Fude.Result run = await Fude.Run("run", recipe, "--dry-run");
        Assert.True(run.Status == 0, run.Error);
        Assert.Contains(DefaultModel.Name, (await Fude.Run("evaluate", "--help")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_conversation_is_saved_as_what_tuning_reads_and_over_nothing_unasked()
    {
        using TemporaryFolder folder = new();
        string talk = folder["talk.jsonl"], mine = folder.Write("mine.txt", "mine"), deep = folder["new/talk.txt"];
        Fude.Result chat = await Fude.RunWith(
            $"/save {talk}\n/system 短く答えてください。\nこんにちは。\n/save {talk}\n/save {mine}\n/save {mine}.gz\n/save {deep}\n/save {deep} --force\n/save --force\n",
            "chat", DefaultModel.Name, "--seed", "1", "-n", "8");
        Assert.True(chat.Status == 0, chat.Error);
        Assert.Contains("fude: there is nothing to save yet.\n", chat.Error, StringComparison.Ordinal);
        Assert.Contains($"[wrote {talk}]\nfude: {mine} is there already: choose another name, or replace it with --force.\n", chat.Error, StringComparison.Ordinal);
        Assert.Contains($"leave off .gz.\n[wrote {deep}]\n[wrote {deep}]\nfude: /save needs the name of a file.\n", chat.Error, StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(mine));
        Assert.StartsWith("> こんにちは。\n", File.ReadAllText(deep), StringComparison.Ordinal);
        using (JsonDocument example = JsonDocument.Parse(Assert.Single(File.ReadAllLines(talk))))
        {
            JsonElement messages = example.RootElement.GetProperty("messages");
            Assert.Equal(["system", "user", "assistant"], messages.EnumerateArray().Select(message => message.GetProperty("role").GetString()));
            Assert.Equal("短く答えてください。", messages[0].GetProperty("content").GetString());
            Assert.Equal("こんにちは。", messages[1].GetProperty("content").GetString());
        }
        Fude.Result audit = await Fude.Run("tune", DefaultModel.Name, "--data", talk, "--audit");
        Assert.True(audit.Status == 0, audit.Error);
    }

    [Fact]
    public async Task A_turn_without_an_answer_is_no_part_of_what_tuning_reads()
    {
        using TemporaryFolder folder = new();
        string talk = folder["talk.jsonl"], text = folder["talk.txt"];
        int[] ids = [.. (await Fude.Run("tokenize", "--json", "--no-special", "<|user|>犬<|assistant|></s>")).Json.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
        Assert.Equal(4, ids.Length);
        // That question is answered by the end token.
        Fude.Result chat = await Fude.RunWith(
            $"犬\n/save {talk}\nこんにちは。\n/save {talk}\n/save {text}\n", "chat", "--seed", "1", "-n", "8", "--sequence-bias", $"{ids[1]},{ids[2]},{ids[3]}=1000");
        Assert.True(chat.Status == 0, chat.Error);
        Assert.Contains($"fude: there is nothing to save yet.\n[wrote {talk} without 1 turn that has no answer]\n[wrote {text}]\n", chat.Error, StringComparison.Ordinal);
        Assert.StartsWith("> 犬\n\n\n> こんにちは。\n", File.ReadAllText(text), StringComparison.Ordinal);
        Assert.Equal(2, JsonDocument.Parse(File.ReadAllText(talk)).RootElement.GetProperty("messages").GetArrayLength());
        Fude.Result audit = await Fude.Run("tune", DefaultModel.Name, "--data", talk, "--audit");
        Assert.True(audit.Status == 0, audit.Error);
    }

    [Fact]
    public async Task An_answer_that_leaves_no_message_room_is_refused_with_what_works()
    {
        foreach (string most in (string[])["512", "600"])
            Assert.Contains(
                $"--max-new-tokens {most} leaves no message room: the model reads 512 tokens, of which the prompt format takes ",
                (await Fude.RunWith("", "chat", "-n", most)).Failure(2), StringComparison.Ordinal);
        Fude.Result chat = await Fude.RunWith("こんにちは。\n", "chat", "-n", "256", "--seed", "1");
        Assert.True(chat.Status == 0, chat.Error);
    }

    [Fact]
    public async Task A_conversation_that_outgrows_the_context_forgets_its_first_turns()
    {
        // generation_config.json asks for 128 new tokens of a context of 512.
        string question = string.Concat(Enumerable.Repeat("健康のために毎日できることを三つ挙げて、その理由も教えてください。", 5));
        Fude.Result chat = await Fude.RunWith(string.Concat(Enumerable.Repeat($"{question}\n", 6)), "chat", "--seed", "9");
        Assert.True(chat.Status == 0, chat.Error);
        Assert.Contains("forgotten]", chat.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("fude: ", chat.Error, StringComparison.Ordinal);
        // One message that leaves no room for 128 is answered in what room there is.
        chat = await Fude.RunWith($"{string.Concat(Enumerable.Repeat(question, 6))}\n/undo\n/undo\n/system 短く\n/save\n", "chat", "--seed", "9");
        Assert.True(chat.Status == 0, chat.Error);
        Assert.Contains("[forgotten; 0 turns left]\nfude: there is no turn to forget.\n[told: 短く]\nfude: /save needs the name of a file.", chat.Error, StringComparison.Ordinal);
        // For one that is too long by itself, or has to be tried again beside what is, nothing is forgotten.
        string article = string.Concat(Enumerable.Repeat(question, 12));
        chat = await Fude.RunWith($"こんにちは。\n{article}\n/system {article}\n/retry\n/history\n", "chat", "--seed", "9");
        Assert.DoesNotContain("forgotten", chat.Error, StringComparison.Ordinal);
        Assert.Equal(2, chat.Error.Split("tokens, but the model reads at most 512. Shorten the prompt.").Length - 1);
        Assert.Contains("> こんにちは。\n", chat.Output, StringComparison.Ordinal);
        // What is asked for on the command line is not cut.
        Assert.Contains("--max-new-tokens 400", (await Fude.RunWith($"{string.Concat(Enumerable.Repeat(question, 6))}\n", "chat", "--max-new-tokens", "400")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void With_a_text_of_its_own_a_word_alone_is_the_model() => Assert.Equal(("吾輩は", null), DefaultModel.Of("吾輩は", null, hasText: true));

    /// <summary>What llama.cpp writes too, greedily, with the model exported as a GGUF file in F32 (node-llama-cpp 3.22.1).</summary>
    public static TheoryData<string, int[]> WhatLlamaCppWrites() => new()
    {
        { "吾輩は", [281, 371, 288, 3188, 283, 7, 9, 371, 286, 281, 371, 288, 3188, 283, 7, 9] },
        { "京都の", [666, 3886, 291, 3387, 290, 338, 288, 480, 321, 656, 1527, 292, 286, 281, 1489, 4626] },
        { "def main(", [308, 311, 7, 7, 7, 7, 540, 1411, 312, 2159, 312, 5475, 3278, 3789, 5028, 3550] },
    };

    [Theory, MemberData(nameof(WhatLlamaCppWrites))]
    public async Task It_continues_a_text_with_no_model_named_and_for_any_number_of_threads_as_llama_cpp_does(string text, int[] expected)
    {
        foreach (string threads in (string[])["1", "2"])
            Assert.Equal(expected, await Greedy("--prompt", text, "--threads", threads));
    }

    [Fact]
    public async Task It_writes_as_its_own_generation_config_says_where_nothing_else_is_asked_for()
    {
        Fude.Result result = await Fude.Run("generate", "吾輩は", "--seed", "1");
        Assert.True(result.Status == 0, result.Error);
        Assert.DoesNotContain("default length of 20", result.Error, StringComparison.Ordinal);
        Assert.Equal(result.Output, (await Fude.Run("generate", "吾輩は", "--seed", "1")).Output);
        Assert.NotEqual(result.Output, (await Fude.Run("generate", "吾輩は", "--seed", "2")).Output);
        Assert.Contains(result.Output, c => c is >= 'ぁ' and <= 'ゖ');
    }

    [Fact]
    public async Task It_chats_in_the_format_it_was_tuned_with()
    {
        Fude.Result chat = await Fude.RunWith("こんにちは。\n", "chat", "--seed", "1", "--max-new-tokens", "32");
        Assert.True(chat.Status == 0, chat.Error);
        Assert.Contains("fude-chat", chat.Error, StringComparison.Ordinal);
        Assert.NotEqual("", chat.Output.Trim());
        Assert.DoesNotContain("<|", chat.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Its_tokenizer_gives_back_every_text()
    {
        const string Text = "  吾輩は猫である。\n\t名前はまだ無い　12,345 def f(x):  return x 🐈";
        string quoted = JsonSerializer.Serialize(Text);
        Fude.Result tokens = await Fude.RunWith(quoted, "tokenize", "--json", "--json-input");
        Assert.True(tokens.Status == 0, tokens.Error);
        Assert.Equal(Text, Tokenizers.Tokenizer.Load(DefaultModel.Path).Decode([.. tokens.Json.GetProperty("ids").EnumerateArray().Skip(1).Select(id => id.GetInt32())]));
    }

    /// <summary>Far from what a model of random or damaged weights needs, which is ten bits and more.</summary>
    [Fact]
    public async Task It_predicts_Japanese_that_it_has_not_seen()
    {
        using TemporaryFolder folder = new();
        string text = folder.Write("text.txt", "昨日は朝から雨が降っていたので、家で本を読んで過ごした。午後になると空が明るくなり、近くの川まで散歩に出かけた。\n"
            + "この法律において「事業者」とは、事業を行う者をいう。ただし、国及び地方公共団体を除く。\n");
        Fude.Result result = await Fude.Run("evaluate", DefaultModel.Path, text, "--json");
        Assert.True(result.Status == 0, result.Error);
        Assert.InRange(result.Json.GetProperty("sources")[0].GetProperty("bits_per_character").GetDouble(), 1, MostBits);
    }

    [Fact]
    public async Task It_goes_into_a_GGUF_file_that_says_the_same()
    {
        using TemporaryFolder folder = new();
        Fude.Result export = await Fude.Run("export", DefaultModel.Path, "--gguf", folder["mini.gguf"], "--format", "bf16");
        Assert.True(export.Status == 0, export.Error);
        Assert.Equal(await Greedy("吾輩は"), await Greedy(folder["mini.gguf"], "吾輩は"));
        // Its generation_config too.
        Assert.Equal((await Fude.Run("generate", "吾輩は", "--seed", "1")).Output, (await Fude.Run("generate", folder["mini.gguf"], "吾輩は", "--seed", "1")).Output);
    }

    private static async Task<IEnumerable<int>> Greedy(params string[] arguments)
    {
        Fude.Result result = await Fude.Run(["generate", .. arguments, "--do-sample=false", "--repetition-penalty", "1", "--max-new-tokens", "16", "--json"]);
        Assert.True(result.Status == 0, result.Error);
        return [.. result.Json.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
    }

    [Fact]
    public void It_is_whole_small_and_says_where_it_comes_from()
    {
        foreach (string name in (string[])
            ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
             "chat_template.jinja", "prompt_format.json", "README.md"])
            Assert.True(File.Exists(Path.Combine(DefaultModel.Path, name)), name);
        Assert.InRange(new DirectoryInfo(DefaultModel.Path).EnumerateFiles().Sum(file => file.Length), 1_000_000, 40_000_000);
        // One template, wherever a version of transformers looks for it.
        using (JsonDocument tokenizer = JsonDocument.Parse(File.ReadAllText(Path.Combine(DefaultModel.Path, "tokenizer_config.json"))))
            Assert.Equal(File.ReadAllText(Path.Combine(DefaultModel.Path, "chat_template.jinja")), tokenizer.RootElement.GetProperty("chat_template").GetString());
        string card = File.ReadAllText(Path.Combine(DefaultModel.Path, "README.md"));
        foreach (string word in (string[])["license: cc-by-sa-4.0", "CC BY-SA 3.0", "CC BY 2.5", "CC BY 4.0", "xz -9e", "5-gram"])
            Assert.Contains(word, card, StringComparison.Ordinal);
    }
}
