using System.Text.Json;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class GenerateCommandTests
{
    public static TheoryData<string, int> GoldenCases()
    {
        TheoryData<string, int> cases = [];
        foreach (string file in Directory.EnumerateFiles(TestFolders.FindGolden("generate")!, "*.json").Order(StringComparer.Ordinal))
        {
            using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(file));
            int number = 0;
            foreach (JsonElement one in golden.RootElement.GetProperty("cases").EnumerateArray())
            {
                if (Arguments(one) is not null) cases.Add(Path.GetFileNameWithoutExtension(file), number);
                number++;
            }
        }
        return cases;
    }

    [Theory, MemberData(nameof(GoldenCases))]
    public async Task The_command_line_writes_the_tokens_of_transformers(string model, int number)
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(TestFolders.FindGolden($"generate/{model}.json")!));
        JsonElement one = golden.RootElement.GetProperty("cases")[number];
        Fude.Result result = await Fude.Run(["generate", Fude.Model(model), "--json", .. Arguments(one)!]);
        Assert.True(result.Status == 0, result.Error);
        int pad = one.GetProperty("kwargs").GetProperty("pad_token_id").GetInt32();
        int[][] expected = [.. one.GetProperty("sequences").EnumerateArray().Select(Numbers)];
        Assert.Equal(expected.Length, result.JsonLines.Count);
        for (int i = 0; i < expected.Length; i++)
        {
            int[] ids = [.. Numbers(result.JsonLines[i].GetProperty("prompt_ids")), .. Numbers(result.JsonLines[i].GetProperty("ids"))];
            Assert.Equal(expected[i], ids.Concat(Enumerable.Repeat(pad, expected[i].Length - ids.Length)));
        }
    }

    [Fact]
    public async Task A_folder_without_a_tokenizer_takes_and_gives_ids()
    {
        Fude.Result result = await Fude.Run("generate", Fude.Model("gpt2-gelu"), "--ids", "66,124", "--max-new-tokens", "3", "--json");
        Assert.Equal(JsonValueKind.Null, result.Json.GetProperty("text").ValueKind);
        Assert.Equal("length", result.Json.GetProperty("finish").GetString());
        Assert.Equal(3, result.Json.GetProperty("ids").GetArrayLength());
        Assert.Contains("no tokenizer", (await Fude.Run("generate", Fude.Model("gpt2-gelu"), "--prompt", "猫")).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_number_of_threads_changes_nothing()
    {
        string[] arguments = ["generate", Fude.Model("llama-gqa"), "--ids", "5,6,7", "--max-new-tokens", "12", "--do-sample", "--seed", "7", "--json"];
        Assert.Equal((await Fude.Run([.. arguments, "--threads", "1"])).Output, (await Fude.Run([.. arguments, "--threads", "3"])).Output);
    }

    [Theory]
    [InlineData("id 100000, which is not in", "--ids", "5,100000")]
    [InlineData("there is no such adapter folder", "--ids", "5", "--adapter", "nowhere")]
    public async Task A_failure_is_one_line_that_names_its_cause(string cause, params string[] arguments) =>
        Assert.Contains(cause, (await Fude.Run(["generate", Fude.Model("gpt2-gelu"), .. arguments])).Failure(), StringComparison.OrdinalIgnoreCase);

    [Fact]
    public async Task A_prompt_longer_than_the_context_is_refused_with_both_numbers()
    {
        string ids = string.Join(',', Enumerable.Repeat(5, 5000));
        string line = (await Fude.Run("generate", Fude.Model("gpt2-gelu"), "--ids", ids)).Failure();
        Assert.Contains("5000", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--temperature is 0; expected a number of at least 0.000001. For the likeliest token always, give --do-sample false. Try 'fude generate --help'.", "--do-sample", "--temperature", "0")]
    [InlineData("--top-p is 2; expected a number from 0 to 1.", "--top-p", "2")]
    [InlineData("--max-new-tokens is 0; expected a whole number of at least 1.", "-n", "0")]
    [InlineData("The prompt's 1 token and --max-new-tokens 9999 make 10000, but the model reads at most", "-n", "9999")]
    [InlineData("--num-return-sequences 2 needs --do-sample or --num-beams of at least as many", "--do-sample=false", "--num-return-sequences", "2")]
    [InlineData("--top-logprobs is -1; expected", "--top-logprobs", "-1", "--json")]
    [InlineData("--logprobs is for --json.", "--logprobs")]
    [InlineData("--top-logprobs is for --json.", "--top-logprobs", "2")]
    public async Task A_wrong_setting_is_wrong_usage_in_the_names_of_the_options(string message, params string[] options) =>
        Assert.Contains(message, (await Fude.Run(["generate", Fude.Model("gpt2-gelu"), "--ids", "5", .. options])).Failure(status: 2), StringComparison.Ordinal);

    [Fact]
    public async Task A_wrong_setting_is_told_in_Japanese_by_the_name_of_its_option()
    {
        (int status, string said) = await Fude.RunInJapanese("generate", Fude.Model("gpt2-gelu"), "--ids", "5", "--do-sample", "--temperature", "0");
        Assert.Equal(2, status);
        Assert.Contains("fude: --temperature が 0 です（必要: 0.000001 以上の数）。常に最も確率の高いトークンを選ぶには、--do-sample false を指定してください。", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("note: without --do-sample there is no effect of --temperature, --top-p\n", "--temperature", "0.5", "--top-p", "0.9")]
    [InlineData("note: without --num-beams N there is no effect of --length-penalty\n", "--length-penalty", "2")]
    [InlineData(null, "--do-sample", "--temperature", "0.5", "--top-p", "0.9")]
    [InlineData(null, "--num-beams", "2", "--length-penalty", "2", "--early-stopping", "true")]
    public async Task An_option_that_does_nothing_is_told(string? note, params string[] options)
    {
        Fude.Result result = await Fude.Run(["generate", Fude.Model("gpt2-gelu"), "--ids", "5", "-n", "2", .. options]);
        Assert.True(result.Status == 0, result.Error);
        if (note is null) Assert.DoesNotContain("note:", result.Error, StringComparison.Ordinal);
        else Assert.EndsWith(note, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_setting_that_the_model_brings_is_called_as_its_file_calls_it()
    {
        using TemporaryFolder folder = new();
        foreach (string file in Directory.EnumerateFiles(Fude.Model("gpt2-gelu"))) File.Copy(file, folder[Path.GetFileName(file)]);
        File.WriteAllText(folder["generation_config.json"], """{"top_p": 2, "do_sample": true}""");
        Assert.Contains("fude: top_p is 2; expected", (await Fude.Run("generate", folder.Path, "--ids", "5", "-n", "2")).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_only_the_model_brings_gives_way_to_a_long_prompt_and_what_is_asked_for_does_not()
    {
        using TemporaryFolder folder = new();
        foreach (string file in Directory.EnumerateFiles(Fude.Model("gpt2-gelu"))) File.Copy(file, folder[Path.GetFileName(file)]);
        File.WriteAllText(folder["generation_config.json"], """{"max_new_tokens": 9999}""");
        string[] command = ["generate", folder.Path, "--ids", "5", "--do-sample=false", "--eos-token-id", "none"];
        Fude.Result whole = await Fude.Run([.. command, "--json"]);
        int written = whole.Json.GetProperty("ids").GetArrayLength();
        Assert.Contains($"[stopped where the model's context of {written} tokens is full]", whole.Error, StringComparison.Ordinal);
        Assert.Contains($"--max-new-tokens 9999 make 10000, but the model reads at most {written}", (await Fude.Run([.. command, "-n", "9999"])).Failure(status: 2), StringComparison.Ordinal);
        Assert.DoesNotContain("is full", (await Fude.Run([.. command, "-n", "3"])).Error, StringComparison.Ordinal);
        Assert.Contains("9999 make 10000", (await Fude.Run([.. command, "--min-new-tokens", "9000"])).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_prompt_without_tokens_begins_with_the_begin_token()
    {
        string[] command = ["generate", "--prompt=", "--no-special", "-n", "1", "--do-sample=false", "--json"];
        Assert.Equal("[1]", (await Fude.Run(command)).Json.GetProperty("prompt_ids").GetRawText());      // generation_config.json's
        Assert.Equal("[5]", (await Fude.Run([.. command, "--bos-token-id", "5"])).Json.GetProperty("prompt_ids").GetRawText());
        Assert.Equal("[300]", (await Fude.Run([.. command[..1], "--ids", "300", .. command[3..], "--bos-token-id", "5"])).Json.GetProperty("prompt_ids").GetRawText());
    }

    [Theory]
    [InlineData("\n")]
    [InlineData("\r\n")]
    public async Task One_line_break_at_the_end_of_standard_input_is_nobodys(string end)
    {
        string[] command = ["generate", "-n", "1", "--do-sample=false", "--json"];
        string plain = (await Fude.RunWith("吾輩は", command)).Json.GetProperty("prompt_ids").GetRawText();
        Assert.Equal(plain, (await Fude.RunWith($"吾輩は{end}", command)).Json.GetProperty("prompt_ids").GetRawText());
        Assert.NotEqual(plain, (await Fude.RunWith($"吾輩は\n{end}", command)).Json.GetProperty("prompt_ids").GetRawText());
        Assert.Equal(plain, (await Fude.RunWith($"\uFEFF吾輩は{end}", command)).Json.GetProperty("prompt_ids").GetRawText());
        Assert.Equal((await Fude.RunWith("吾輩は", "explain", "--json")).Output, (await Fude.RunWith($"吾輩は{end}", "explain", "--json")).Output);
    }

    [Fact]
    public async Task The_speed_of_a_beam_search_is_that_of_the_whole()
    {
        string[] command = ["generate", "吾輩は", "-n", "3", "--do-sample=false", "--eos-token-id", "none"];
        string beams = (await Fude.Run([.. command, "--num-beams", "2"])).Error, greedy = (await Fude.Run(command)).Error;
        Assert.Matches(@"; prompt 4 tokens; 3 new tokens in [0-9.]+ s, [0-9.]+ tokens/s\]", beams);
        Assert.Matches(@"; prompt 4 tokens in [0-9.]+ s, then [0-9.]+ tokens/s; 3 new tokens in [0-9.]+ s\]", greedy);
        Assert.Contains("; 1 new token in ", (await Fude.Run("generate", "吾輩は", "-n", "1", "--do-sample=false")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_word_alone_beside_ids_is_told_to_be_a_text_and_an_empty_one_to_be_none()
    {
        foreach (string[] other in (string[][])[["--ids", "1,2"], ["--prompt", "猫"]])
            Assert.Contains("If it is the text, give the text once: as TEXT, by --prompt or by --ids.", (await Fude.Run(["generate", "吾輩は", .. other])).Failure(2), StringComparison.Ordinal);
        Assert.Contains("The text is empty: there is nothing to continue.", (await Fude.Run("generate", "", "-n", "10")).Failure(2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bytes_of_an_argument_that_were_not_UTF_8_are_told()
    {
        Fude.Result result = await Fude.Run("generate", "\uFFFD", "-n", "1");
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("note: the text holds U+FFFD", result.Error, StringComparison.Ordinal);
        Assert.Contains("note: the text holds U+FFFD", (await Fude.Run("tokenize", "\uFFFD")).Error, StringComparison.Ordinal);
        Assert.DoesNotContain("U+FFFD", (await Fude.Run("generate", "猫", "-n", "1")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_save_needs_is_called_as_everywhere() =>
        Assert.Contains("--save needs --weights.", (await Fude.Run("generate", "猫", "--save", "z.gguf")).Failure(2), StringComparison.Ordinal);

    [Theory, InlineData("evaluate"), InlineData("follow")]
    public async Task A_table_is_not_written_over_the_model_that_is_kept(string command) =>
        Assert.Contains("--save and --out both name ./kept.", (await Fude.Run(
            command, Fude.Model("llama-mha"), "x.jsonl", "--weights", "q8_0", "--save", "kept", "--out", "./kept")).Failure(2), StringComparison.Ordinal);

    [Theory]
    [InlineData("--ids", "5,x")]
    [InlineData("--top-k", "many", "--ids", "5")]
    [InlineData("--early-stopping", "sometimes", "--ids", "5")]
    [InlineData("--ids", "5", "--prompt", "x")]
    [InlineData("--no-such-option")]
    public async Task Wrong_usage_is_status_2(params string[] arguments) =>
        (await Fude.Run(["generate", Fude.Model("gpt2-gelu"), .. arguments])).Failure(status: 2);

    /// <summary>The command line of a golden case; null for what a command line with a single prompt cannot ask for.</summary>
    private static string[]? Arguments(JsonElement one)
    {
        if (one.GetProperty("input_ids").GetArrayLength() != 1) return null;
        List<string> arguments = ["--ids", string.Join(',', Numbers(one.GetProperty("input_ids")[0]))];
        JsonElement kwargs = one.GetProperty("kwargs");
        // The folder's own generation_config.json was not used: what the case does not set is set to transformers' default.
        if (!kwargs.TryGetProperty("do_sample", out _)) arguments.Add("--do-sample=false");
        if (!kwargs.TryGetProperty("temperature", out _)) arguments.Add("--temperature=1");
        if (!kwargs.TryGetProperty("top_p", out _)) arguments.Add("--top-p=1");
        foreach (JsonProperty option in kwargs.EnumerateObject())
        {
            string name = $"--{option.Name.Replace('_', '-')}";
            string? value = option.Value.ValueKind switch
            {
                JsonValueKind.Null when option.Name == "eos_token_id" => "none",
                JsonValueKind.Null => null,
                JsonValueKind.True => "true",
                JsonValueKind.False => "false",
                JsonValueKind.String => option.Value.GetString(),
                JsonValueKind.Array when option.Value.GetArrayLength() > 0 && option.Value[0].ValueKind == JsonValueKind.Array =>
                    string.Join(';', option.Value.EnumerateArray().Select(ids => string.Join(',', Numbers(ids)))),
                JsonValueKind.Array => string.Join(',', option.Value.EnumerateArray().Select(number => number.GetRawText())),
                _ => option.Value.GetRawText(),
            };
            if (value is not null) arguments.Add($"{name}={value}");
        }
        if (one.TryGetProperty("torch_manual_seed", out JsonElement seed)) arguments.Add($"--torch-seed={seed.GetInt64()}");
        return [.. arguments];
    }

    private static int[] Numbers(JsonElement list) => [.. list.EnumerateArray().Select(number => number.GetInt32())];
}
