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
        string message = Assert.Throws<ArgumentException>(() => PromptFormat.Named("vicuna")).Message;
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
    [InlineData("Japanese Stablelm Instruct Gamma 7b", "llama-gqa", "japanese-stablelm-instruct-alpaca")]
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

    [Fact]
    public void A_GGUF_file_keeps_the_format_that_a_published_name_speaks_for()
    {
        using TemporaryFolder folder = new();
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(GoldenForward.FolderOf("llama-mha"), "config.json")))!.AsObject();
        config["_name_or_path"] = "elyza/ELYZA-japanese-Llama-2-7b-instruct";
        folder.Write("config.json", config.ToJsonString());
        File.Copy(Path.Combine(GoldenForward.FolderOf("llama-mha"), "model.safetensors"), folder["model.safetensors"]);
        GgufExport.Write(ModelFolder.Open(folder.Path), folder["m.gguf"], QuantizationMix.F16);
        PromptFormatGuess guess = PromptFormat.Guess(ModelFolder.Open(folder["m.gguf"]));
        Assert.Equal((PromptFormat.Elyza.Name, true, PromptFormat.Elyza.Write("あ").Text), (guess.Format.Name, guess.IsSure, guess.Format.Write("あ").Text));
    }

    [Fact]
    public void The_template_that_an_adapter_was_trained_with_comes_before_that_of_its_base()
    {
        using TemporaryFolder folder = new();
        foreach (string part in (string[])["base", "adapter"]) Directory.CreateDirectory(folder[part]);
        File.Copy(Path.Combine(GoldenForward.FolderOf("llama-mha"), "config.json"), Path.Combine(folder["base"], "config.json"));
        File.WriteAllText(Path.Combine(folder["base"], "chat_template.jinja"), "{% for m in messages %}base: {{ m.content }}{% endfor %}");
        File.WriteAllText(Path.Combine(folder["adapter"], "chat_template.jinja"), "{% for m in messages %}adapter: {{ m.content }}{% endfor %}");
        PromptFormatGuess guess = PromptFormat.Guess(ModelFolder.Open(folder["base"]), folder["adapter"]);
        Assert.Equal((PromptFormat.TemplateName, true, "adapter: あ"), (guess.Format.Name, guess.IsSure, guess.Format.Write("あ").Text));
        Assert.Equal("base: あ", PromptFormat.Guess(ModelFolder.Open(folder["base"])).Format.Write("あ").Text);
    }

    public static TheoryData<string> Names() => new(PromptFormat.All.Select(format => format.Name));

    [Theory, MemberData(nameof(Names))]
    public void What_is_trained_is_the_prompt_of_generation_with_the_answer_behind_it(string name)
    {
        PromptFormat format = PromptFormat.Named(name);
        Exchange[] turns = format.HasTurns ? [new("こんにちは", "はい、何でしょう。"), new("名前は？", "筆です。")] : [new("名前は？", "筆です。")];
        AnsweredPrompt answered = format.WriteAnswered(turns);
        Prompt prompt = format.Write("名前は？", history: [.. turns.SkipLast(1)]);
        Assert.Equal(turns.Length, answered.Answers.Count);
        Assert.Equal(prompt.Text, answered.Text[..answered.Answers[^1].Start]);
        Assert.Equal(prompt.AddSpecialTokens, answered.AddSpecialTokens);
        Assert.Equal(answered.Text.Length, answered.Answers[^1].End);
        for (int i = 0; i < turns.Length; i++)
            Assert.Equal(turns[i].Answer, answered.Text[answered.Answers[i].Start..answered.Answers[i].End]
                .Replace("</s>", "", StringComparison.Ordinal).Replace("<EOD|LLM-jp>", "", StringComparison.Ordinal).Trim());
        Assert.Throws<ArgumentException>(() => format.WriteAnswered([]));
    }

    [Fact]
    public void Answers_end_as_the_format_ends_them()
    {
        static string[] Answers(PromptFormat format, params Exchange[] turns)
        {
            AnsweredPrompt answered = format.WriteAnswered(turns);
            return [.. answered.Answers.Select(range => answered.Text[range.Start..range.End])];
        }

        Exchange one = new("あ", "い"), two = new("う", "え");
        Assert.Equal(["い </s>", "え </s>"], Answers(PromptFormat.Elyza, one, two));
        Assert.Equal([" い </s>", " え </s>"], Answers(PromptFormat.Llama2Chat, one, two));
        Assert.Equal(["い<EOD|LLM-jp>", "え<EOD|LLM-jp>"], Answers(PromptFormat.LlmJpAlpaca, one, two));
        Assert.Equal(["い</s>", "え</s>"], Answers(PromptFormat.Dialogue, one, two));
        Assert.Equal(["い"], Answers(PromptFormat.LlmJpInstruct, one));
        Assert.Equal("### 入力: \n犬", PromptFormat.StableLmAlpaca.WriteAnswered([one], input: "犬").Text.Split("\n\n")[2]);
    }

    [Fact]
    public void The_formats_of_fude_are_written_letter_by_letter_as_their_chat_templates_write_them()
    {
        using TemporaryFolder folder = new();
        Exchange[] turns = [new("こんにちは", "はい、'何'でしょう。"), new("名\\前は\n？", "筆です。")];
        Assert.Equal("<s>ユーザー：こんにちは\n応答：はい、'何'でしょう。</s>\nユーザー：名\\前は\n？\n応答：", PromptFormat.Dialogue.Write(turns[1].Question, history: turns[..1]).Text);
        Assert.Equal("<s>以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。\n\n### 指示:\nこんにちは\n\n### 応答:\nはい、'何'でしょう。</s>\n\n" +
            "### 指示:\n名\\前は\n？\n\n### 応答:\n", PromptFormat.Alpaca.Write(turns[1].Question, history: turns[..1]).Text);
        Assert.Equal("<s><|system|>猫として<|user|>こんにちは<|assistant|>はい、'何'でしょう。</s><|user|>名\\前は\n？<|assistant|>",
            PromptFormat.FudeChat.Write(turns[1].Question, system: "猫として", history: turns[..1]).Text);
        foreach (PromptFormat format in (ReadOnlySpan<PromptFormat>)[
            PromptFormat.Alpaca, PromptFormat.Dialogue, PromptFormat.FudeChat, PromptFormat.FudeChat.WithSystem("猫として"), PromptFormat.Alpaca.WithSystem("猫'\\n\nとして"), PromptFormat.Alpaca.WithSystem(""), PromptFormat.Dialogue.WithSystem("猫として")])
        {
            format.Record(folder.Path);
            PromptFormat template = PromptFormat.OfTemplate(ChatTemplate.Parse(File.ReadAllText(folder["chat_template.jinja"]), "t"), "<s>", "</s>");
            foreach (string? system in (ReadOnlySpan<string?>)[null, "犬として"])
            {
                Assert.Equal(format.Write("あ", "い", system, turns).Text, template.Write("あ", "い", system, turns).Text);
                AnsweredPrompt own = format.WriteAnswered(turns, system: system), theirs = template.WriteAnswered(turns, system: system);
                Assert.Equal(own.Text, theirs.Text);
                Assert.Equal(own.Answers, theirs.Answers);
            }
        }
    }

    [Fact]
    public void Answers_are_found_in_any_chat_template_that_writes_them_behind_their_prompts()
    {
        PromptFormat chatMl = PromptFormat.OfTemplate(ChatTemplate.Parse(
            "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}" +
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}", "t"), null, "<|im_end|>");
        AnsweredPrompt answered = chatMl.WriteAnswered([new("あ", "い"), new("う", "え")]);
        Assert.Equal("<|im_start|>user\nあ<|im_end|>\n<|im_start|>assistant\nい<|im_end|>\n<|im_start|>user\nう<|im_end|>\n<|im_start|>assistant\nえ<|im_end|>", answered.Text);
        Assert.Equal(["い<|im_end|>", "え<|im_end|>"], answered.Answers.Select(range => answered.Text[range.Start..range.End]));
        // The same where the model's own end is another: what is behind <|im_end|> is no part of the answer.
        PromptFormat otherEnd = PromptFormat.OfTemplate(ChatTemplate.Parse(
            "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}" +
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}", "t"), null, "<|endoftext|>");
        answered = otherEnd.WriteAnswered([new("あ", "い\n"), new("う", "え")]);
        Assert.Equal(["い\n<|im_end|>", "え<|im_end|>"], answered.Answers.Select(range => answered.Text[range.Start..range.End]));
        PromptFormat bare = PromptFormat.OfTemplate(ChatTemplate.Parse("{% for m in messages %}{{ m['content'] }}{% endfor %}", "t"), null, "<|endoftext|>");
        answered = bare.WriteAnswered([new("あ", "い\n ")]);
        Assert.Equal("い\n ", answered.Text[answered.Answers[0].Start..answered.Answers[0].End]);
        // Thoughts before an answer may go, the answer may not.
        PromptFormat terse = PromptFormat.OfTemplate(ChatTemplate.Parse(
            "{% for m in messages %}{{ m['content'].split('</think>')[-1] | trim }}{{ '\\n' }}{% endfor %}", "t"), null, null);
        answered = terse.WriteAnswered([new("あ", "<think>x</think>\nい。\nう。 ")]);
        Assert.StartsWith("い。\nう。", answered.Text[answered.Answers[0].Start..], StringComparison.Ordinal);
        PromptFormat mute = PromptFormat.OfTemplate(ChatTemplate.Parse("{% for m in messages %}{{ '-' + m['role'] }}{% endfor %}", "t"), null, null);
        Fails.With<NotSupportedException>(() => mute.WriteAnswered([new("a", "b")]), "chat template", "does not write the answer");
        // Thoughts may be left out.
        PromptFormat thinking = PromptFormat.OfTemplate(ChatTemplate.Parse(
            "{% for m in messages %}{{ m['role'] + ':' + m['content'].split('</think>')[-1] + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}", "t"), null, null);
        answered = thinking.WriteAnswered([new("あ", "<think>う</think>い")]);
        Assert.Equal("い\n", answered.Text[answered.Answers[0].Start..answered.Answers[0].End]);
        PromptFormat shouting = PromptFormat.OfTemplate(ChatTemplate.Parse(
            "{% for m in messages %}{{ m['content'] if loop.last else m['content'] | upper }}{% endfor %}", "t"), null, null);
        Fails.With<NotSupportedException>(() => shouting.WriteAnswered([new("a", "b"), new("c", "d")]), "chat template", "dialogue");
    }

    [Fact]
    public void A_folder_that_says_its_format_is_believed_before_its_name_and_its_template()
    {
        using TemporaryFolder folder = new();
        string path = folder["ELYZA-japanese-Llama-2-7b-instruct"], adapter = folder["llm-jp-13b-instruct-lora"];
        Directory.CreateDirectory(path);
        Directory.CreateDirectory(adapter);
        File.Copy(Path.Combine(GoldenForward.FolderOf("llama-mha"), "config.json"), Path.Combine(path, "config.json"));
        PromptFormat.Dialogue.WithSystem("猫として").Record(path);
        PromptFormatGuess guess = PromptFormat.Guess(ModelFolder.Open(path));
        Assert.Equal(("dialogue", true), (guess.Format.Name, guess.IsSure));
        Assert.StartsWith("猫として\n\nユーザー：あ", guess.Format.Write("あ").Text, StringComparison.Ordinal);      // no tokenizer, so no BOS
        PromptFormat.LlmJpInstruct.Record(adapter);
        Assert.Equal("llm-jp-instruct-v1.0", PromptFormat.Guess(ModelFolder.Open(path), adapter).Format.Name);
        // transformers before 4.47 reads the template from here.
        string tokenizer = Path.Combine(path, "tokenizer_config.json");
        File.WriteAllText(tokenizer, """{"chat_template": [{"name": "default", "template": "base"}], "bos_token": "<s>"}""");
        PromptFormat.Alpaca.Record(path);
        using (JsonDocument config = JsonDocument.Parse(File.ReadAllText(tokenizer)))
            Assert.Equal(File.ReadAllText(Path.Combine(path, "chat_template.jinja")), config.RootElement.GetProperty("chat_template").GetString());
        // A format of another kind takes the template of the one before away.
        PromptFormat.Elyza.Record(path);
        Assert.False(File.Exists(Path.Combine(path, "chat_template.jinja")));
        Assert.Equal("""{"bos_token":"<s>"}""", string.Concat(File.ReadAllText(tokenizer).Where(c => !char.IsWhiteSpace(c))));
        Assert.Equal("elyza-llama2-instruct", PromptFormat.Guess(ModelFolder.Open(path)).Format.Name);

        foreach ((string bad, string named) in (ReadOnlySpan<(string, string)>)[("{}", "name"), ("[]", "object"), ("""{"name": "chat-template"}""", "chat_template.jinja")])
        {
            File.WriteAllText(Path.Combine(path, "prompt_format.json"), bad);
            Fails.With<InvalidDataException>(() => PromptFormat.Guess(ModelFolder.Open(path)), "prompt_format.json", named);
        }
        File.WriteAllText(Path.Combine(path, "prompt_format.json"), """{"name": "vicuna"}""");
        Fails.With<NotSupportedException>(() => PromptFormat.Guess(ModelFolder.Open(path)), "vicuna", "dialogue");
    }

    [Fact]
    public void A_format_of_tokens_that_the_tokenizer_lacks_is_refused()
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(GoldenForward.FolderOf("llama-mha"), "config.json"), folder["config.json"]);
        File.Copy(TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!, folder["tokenizer.model"]);
        Fails.With<NotSupportedException>(() => PromptFormat.Named("fude-chat", ModelFolder.Open(folder.Path)), "<|user|>", "alpaca", "dialogue");
    }

    [Fact]
    public void A_GGUF_file_carries_the_format_and_the_template()
    {
        using TemporaryFolder folder = new();
        string path = folder["m"], file = folder["m.gguf"], again = folder["again.gguf"];
        Directory.CreateDirectory(path);
        foreach (string name in (string[])["config.json", "model.safetensors"]) File.Copy(Path.Combine(GoldenForward.FolderOf("llama-mha"), name), Path.Combine(path, name));
        PromptFormat.Alpaca.WithSystem("猫として").Record(path);
        GgufExport.Write(ModelFolder.Open(path), file, QuantizationMix.F32);
        GgufExport.Write(ModelFolder.Open(file), again, QuantizationMix.Q8_0);
        foreach (string gguf in (string[])[file, again])
        {
            PromptFormatGuess guess = PromptFormat.Guess(ModelFolder.Open(gguf));
            Assert.Equal(("alpaca", true), (guess.Format.Name, guess.IsSure));
            Assert.Equal("猫として\n\n### 指示:\nあ\n\n### 応答:\n", guess.Format.Write("あ").Text);
            Assert.Equal(guess.Format.Write("あ").Text, PromptFormat.Named("chat-template", ModelFolder.Open(gguf)).Write("あ").Text);
        }
        // A template that fude cannot read is copied all the same; only reading it fails.
        File.Delete(Path.Combine(path, "prompt_format.json"));
        File.WriteAllText(Path.Combine(path, "chat_template.jinja"), "{% macro a() %}{% endmacro %}");
        File.Delete(file);
        GgufExport.Write(ModelFolder.Open(path), file, QuantizationMix.F32);
        Fails.With<NotSupportedException>(() => PromptFormat.Named("chat-template", ModelFolder.Open(file)), "tokenizer.chat_template");
    }
}
