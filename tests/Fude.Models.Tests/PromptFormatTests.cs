using System.Text.Json;
using System.Text.Json.Nodes;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Models.Tests;

/// <summary>Prompts as the models' cards have them, letter by letter.</summary>
public sealed class PromptFormatTests
{
    private const string Proverb = "与えられたことわざの意味を小学生でも分かるように教えてください。", Kindness = "情けは人のためならず";

    [Fact]
    public void Japanese_StableLM_Beta_keeps_the_tag_without_a_slash_and_has_two_BOS()
    {
        Prompt prompt = PromptFormat.Named("japanese-stablelm-instruct-beta").Write(Proverb, Kindness);
        Assert.Equal($"<s>[INST] <<SYS>>\nあなたは役立つアシスタントです。\n<<SYS>>\n\n{Proverb}\n\n{Kindness} [/INST] ", prompt.Text);
        Assert.True(prompt.AddSpecialTokens);
        Assert.Equal($"<s>[INST] <<SYS>>\nあなたは役立つアシスタントです。\n<<SYS>>\n\n{Proverb}\n\n [/INST] ", PromptFormat.StableLmBeta.Write(Proverb).Text);
    }

    [Fact]
    public void Japanese_StableLM_3B_and_Gamma_leave_out_the_input_but_not_the_preamble()
    {
        const string Preamble = "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。";
        Prompt prompt = PromptFormat.Named("japanese-stablelm-instruct-alpaca").Write(Proverb, Kindness);
        Assert.Equal($"{Preamble}\n\n### 指示: \n{Proverb}\n\n### 入力: \n{Kindness}\n\n### 応答: \n", prompt.Text);
        Assert.False(prompt.AddSpecialTokens);
        Assert.Equal($"{Preamble}\n\n### 指示: \n{Proverb}\n\n### 応答: \n", PromptFormat.StableLmAlpaca.Write(Proverb).Text);
    }

    [Fact]
    public void ELYZA_carries_its_own_BOS()
    {
        Prompt prompt = PromptFormat.Named("elyza-llama2-instruct").Write("クマが海辺に行ってアザラシと友達になり、最終的には家に帰るというプロットの短編小説を書いてください。");
        Assert.Equal("<s>[INST] <<SYS>>\nあなたは誠実で優秀な日本人のアシスタントです。\n<</SYS>>\n\n" +
            "クマが海辺に行ってアザラシと友達になり、最終的には家に帰るというプロットの短編小説を書いてください。 [/INST] ", prompt.Text);
        Assert.False(prompt.AddSpecialTokens);
    }

    [Fact]
    public void LLM_jp_instruct_has_no_line_break_before_the_answer()
    {
        Assert.Equal(new Prompt("自然言語処理とは何か### 回答：", false), PromptFormat.Named("llm-jp-instruct-v1.0").Write("自然言語処理とは何か"));
        Assert.Equal(new Prompt("以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。\n\n### 指示:\n自然言語処理とは何か\n\n### 応答:\n", false),
            PromptFormat.Named("llm-jp-instruct-v1.1").Write("自然言語処理とは何か"));
    }

    [Fact]
    public void Base_models_read_the_text_as_it_is()
    {
        Assert.Equal(new Prompt("AI で科学研究を加速するには、", true), PromptFormat.Named("plain").Write("AI で科学研究を加速するには、"));
        Assert.Equal(new Prompt("自然言語処理とは何か", false), PromptFormat.Named("llm-jp-base-v1").Write("自然言語処理とは何か"));
    }

    [Fact]
    public void Conversations_go_on_where_the_format_has_turns()
    {
        Exchange[] history = [new("こんにちは", "はい、何でしょう。")];
        Assert.Equal("<s>[INST] <<SYS>>\nあなたは誠実で優秀な日本人のアシスタントです。\n<</SYS>>\n\nこんにちは [/INST] はい、何でしょう。 </s>" +
            "<s>[INST] 名前は？ [/INST] ", PromptFormat.Elyza.Write("名前は？", history: history).Text);
        Assert.Equal("指示です。\n\n### 指示:\nこんにちは\n\n### 応答:\nはい、何でしょう。<EOD|LLM-jp>\n\n### 指示:\n名前は？\n\n### 応答:\n",
            PromptFormat.LlmJpAlpaca.Write("名前は？", system: "指示です。", history: history).Text);
        Assert.Equal("<s>[INST] こんにちは [/INST] はい、何でしょう。 </s><s>[INST] 名前は？ [/INST]", PromptFormat.Llama2Chat.Write("名前は？", history: history).Text);
        foreach (PromptFormat format in PromptFormat.All.Where(format => !format.HasTurns))
            Fails.With<NotSupportedException>(() => format.Write("名前は？", history: history), format.Name);
    }

    [Fact]
    public void A_system_text_without_a_place_is_an_error()
    {
        Fails.With<NotSupportedException>(() => PromptFormat.Plain.Write("吾輩は", system: "猫として"), "llama2-chat");
        Assert.Contains("<<SYS>>\n猫として\n<</SYS>>", PromptFormat.Llama2Chat.Write("吾輩は", system: "猫として").Text, StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_name_is_an_error_that_lists_the_known_ones()
    {
        string message = Assert.Throws<ArgumentException>(() => PromptFormat.Named("alpaca")).Message;
        foreach (PromptFormat format in PromptFormat.All) Assert.Contains(format.Name, message, StringComparison.Ordinal);
        Assert.Equal(PromptFormat.All.Count, PromptFormat.All.Select(format => format.Name).Distinct().Count());
    }

    [Fact]
    public void Llama_2_Chat_is_written_as_by_its_chat_template()
    {
        string? file = TestFolders.FindGolden("tokenizers/llama2/chat_template.jsonl");
        Assert.SkipWhen(file is null, "The chat template's goldens are in shared beside the checkout only.");
        foreach (string line in File.ReadLines(file))
        {
            using JsonDocument golden = JsonDocument.Parse(line);
            string? system = null;
            List<string> turns = [];
            foreach (JsonElement message in golden.RootElement.GetProperty("messages").EnumerateArray())
            {
                string content = message.GetProperty("content").GetString()!;
                if (message.GetProperty("role").GetString() == "system") system = content;
                else turns.Add(content);
            }
            if (turns.Count % 2 == 0) continue;       // it ends with an answer: no prompt
            Exchange[] history = [.. turns.SkipLast(1).Chunk(2).Select(pair => new Exchange(pair[0], pair[1]))];
            Prompt prompt = PromptFormat.Llama2Chat.Write(turns[^1], system: system, history: history);
            Assert.Equal(golden.RootElement.GetProperty("text").GetString(), prompt.Text);
            Assert.False(prompt.AddSpecialTokens);
        }
    }

    [Theory]
    [InlineData("llama2-ja.json", "llama2-tokenizer/tokenizer.model", "japanese-stablelm-instruct-beta", Proverb, Kindness)]
    [InlineData("llama2-ja.json", "llama2-tokenizer/tokenizer.model", "elyza-llama2-instruct", "クマが海辺に行ってアザラシと友達になり、最終的には家に帰るというプロットの短編小説を書いてください。", null)]
    [InlineData("gpt-neox.json", "gpt-neox-tokenizer/tokenizer.json", "japanese-stablelm-instruct-alpaca", Proverb, Kindness)]
    [InlineData("llm-jp-v2.1.json", "llm-jp-tokenizer/ver2.1/tokenizer.json", "llm-jp-instruct-v1.0", "自然言語処理とは何か", null)]
    [InlineData("llm-jp-v2.1.json", "llm-jp-tokenizer/ver2.1/tokenizer.json", "llm-jp-base-v1", "自然言語処理とは何か", null)]
    public void Prompts_have_the_ids_the_models_were_made_with(
        string goldens, string tokenizerFile, string format, string question, string? input)
    {
        string? file = TestFolders.SharedData(tokenizerFile), expected = TestFolders.SharedData($"tokenizer-goldens/{goldens}");
        Assert.SkipWhen(file is null || expected is null, "The models' tokenizers are in shared beside the checkout only.");
        // As transformers loads them: special strings in the text count.
        using TemporaryFolder folder = new();
        folder.Write(Path.GetFileName(file), File.ReadAllBytes(file));
        folder.Write("tokenizer_config.json", Path.GetFileName(file) == "tokenizer.model"
            ? """
              {"tokenizer_class":"LlamaTokenizer","add_bos_token":true,"add_eos_token":false,
               "bos_token":"<s>","eos_token":"</s>","unk_token":"<unk>","legacy":true}
              """
            : "{}");
        Prompt prompt = PromptFormat.Named(format).Write(question, input);
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(expected));
        JsonElement same = golden.RootElement.GetProperty("cases").EnumerateArray().First(c => c.GetProperty("text").GetString() == prompt.Text);
        Assert.Equal(same.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()),
            Tokenizer.Load(folder.Path).Encode(prompt.Text, prompt.AddSpecialTokens));
    }

    [Theory]
    [InlineData("japanese-stablelm-instruct-beta-7b", "llama-mha", "japanese-stablelm-instruct-beta")]
    [InlineData("japanese-stablelm-instruct-ja_vocab-beta-7b", "llama-mha", "japanese-stablelm-instruct-beta")]
    [InlineData("japanese-stablelm-base-beta-70b", "llama-gqa", "plain")]
    [InlineData("japanese-stablelm-3b-4e1t-instruct", "stablelm", "japanese-stablelm-instruct-alpaca")]
    [InlineData("japanese-stablelm-instruct-gamma-7b", "llama-gqa", "japanese-stablelm-instruct-alpaca")]
    [InlineData("ELYZA-japanese-Llama-2-7b-fast-instruct", "llama-mha", "elyza-llama2-instruct")]
    [InlineData("ELYZA-japanese-Llama-2-7b", "llama-mha", "plain")]
    [InlineData("llm-jp-13b-v1.0", "gpt2-gelu", "llm-jp-base-v1")]
    [InlineData("llm-jp-13b-instruct-full-jaster-v1.0", "gpt2-gelu", "llm-jp-instruct-v1.0")]
    [InlineData("llm-jp-13b-instruct-lora-jaster-dolly-oasst-v1.0", "gpt2-gelu", "llm-jp-instruct-v1.0")]
    [InlineData("llm-jp-13b-instruct-full-dolly-oasst-v1.1", "gpt2-gelu", "llm-jp-instruct-v1.1")]
    [InlineData("Llama-2-7b-chat-hf", "llama-mha", "llama2-chat")]
    public void Published_names_choose_the_format(string name, string like, string format)
    {
        using TemporaryFolder folder = new();
        Directory.CreateDirectory(folder[name]);
        File.Copy(Path.Combine(GoldenForward.FolderOf(like), "config.json"), Path.Combine(folder[name], "config.json"));
        PromptFormatGuess guess = PromptFormat.Guess(ModelFolder.Open(folder[name] + Path.DirectorySeparatorChar));
        Assert.Equal((format, true), (guess.Format.Name, guess.IsSure));
        Assert.Contains(name, guess.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_published_name_the_guess_says_that_it_is_not_sure()
    {
        PromptFormatGuess llama = PromptFormat.Guess(ModelFolder.Open(GoldenForward.FolderOf("llama-mha")));
        Assert.Equal((PromptFormat.Plain, false), (llama.Format, llama.IsSure));
        PromptFormatGuess gpt2 = PromptFormat.Guess(ModelFolder.Open(GoldenForward.FolderOf("gpt2-gelu")));
        Assert.Equal((PromptFormat.LlmJpBase, false), (gpt2.Format, gpt2.IsSure));
    }

    [Fact]
    public void The_adapter_s_name_and_the_origin_in_config_json_count_too()
    {
        ModelFolder gpt2 = ModelFolder.Open(GoldenForward.FolderOf("gpt2-gelu"));
        Assert.Equal(PromptFormat.LlmJpInstruct, PromptFormat.Guess(gpt2, "adapters/llm-jp-13b-instruct-lora-dolly-v1.0/").Format);
        using TemporaryFolder folder = new();
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(GoldenForward.FolderOf("llama-mha"), "config.json")))!.AsObject();
        config["_name_or_path"] = "elyza/ELYZA-japanese-Llama-2-7b-instruct";
        folder.Write("config.json", config.ToJsonString());
        Assert.Equal(PromptFormat.Elyza, PromptFormat.Guess(ModelFolder.Open(folder.Path)).Format);
    }
}
