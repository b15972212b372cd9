using System.Text.Json;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class CommandTests
{
    [Fact]
    public async Task Logits_are_those_of_the_last_token_or_of_all()
    {
        Fude.Result last = await Fude.Run("logits", Fude.Model("llama-mha"), "--ids", "1,2,3", "--json");
        Fude.Result all = await Fude.Run("logits", Fude.Model("llama-mha"), "--ids", "1,2,3", "--json", "--all", "--threads", "2");
        Assert.Equal(3, all.Json.GetProperty("logits").GetArrayLength());
        Assert.Equal(last.Json.GetProperty("logits")[0].GetRawText(), all.Json.GetProperty("logits")[2].GetRawText());
    }

    [Theory, InlineData("f16"), InlineData("BF16"), InlineData("q8_0")]
    public async Task A_narrow_cache_changes_logits_a_little(string format)
    {
        float[] wide = Logits(await Fude.Run("logits", Fude.Model("llama-gqa"), "--ids", "1,2,3,4,5", "--json"));
        float[] narrow = Logits(await Fude.Run("logits", Fude.Model("llama-gqa"), "--ids", "1,2,3,4,5", "--kv-cache", format, "--json"));
        Assert.NotEqual(wide, narrow);
        double scale = wide.Max(MathF.Abs);
        for (int i = 0; i < wide.Length; i++) Assert.InRange(narrow[i] - wide[i], -0.02 * scale, 0.02 * scale);
        foreach (string command in (string[])["logits", "generate", "perplexity", "chat", "bench"])
            Assert.Contains("--kv-cache", (await Fude.Run(command, "--help")).Output, StringComparison.Ordinal);
        Assert.Contains("auto, f32, f16, bf16, q8_0",
            (await Fude.Run("logits", Fude.Model("llama-gqa"), "--ids", "1", "--kv-cache", "q4_0")).Failure(status: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Merged_weights_give_the_logits_of_the_adapter()
    {
        using TemporaryFolder folder = new();
        string adapter = TestFolders.FindGolden("lora/llama-qv-r8")!;
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(adapter, "case.json")));
        string model = TestFolders.FindGolden(golden.RootElement.GetProperty("base").GetString()!)!;
        string output = Path.Combine(folder.Path, "merged");
        Assert.Equal(0, (await Fude.Run("merge", model, "--adapter", adapter, "--out", output)).Status);
        float[] applied = Logits(await Fude.Run("logits", model, "--adapter", adapter, "--ids", "5,6,7", "--json"));
        float[] merged = Logits(await Fude.Run("logits", output, "--ids", "5,6,7", "--json"));
        float[] without = Logits(await Fude.Run("logits", model, "--ids", "5,6,7", "--json"));
        Assert.All(applied.Zip(merged), pair => Assert.Equal(pair.First, pair.Second, 5e-4f));      // PEFT's own differ by up to 8e-5
        Assert.Contains(applied.Zip(without), pair => Math.Abs(pair.First - pair.Second) > 1e-2f);
        Assert.Contains("not an empty folder", (await Fude.Run("merge", model, "--adapter", adapter, "--out", output)).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Perplexity_is_the_golden_one()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(TestFolders.FindGolden("perplexity/perplexity.json")!));
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "ids.json");
        foreach (JsonElement one in golden.RootElement.GetProperty("cases").EnumerateArray().Where((_, i) => i % 5 == 1))
        {
            string model = one.GetProperty("model").GetString()!;
            await File.WriteAllTextAsync(file, $"\uFEFF{golden.RootElement.GetProperty("sequences").GetProperty(model).GetRawText()}", TestContext.Current.CancellationToken);
            Fude.Result result = await Fude.Run("perplexity", TestFolders.FindGolden(model)!, "--ids-file", file,
                "--context", one.GetProperty("max_length").GetRawText(), "--stride", one.GetProperty("stride").GetRawText(), "--json");
            Assert.Equal(one.GetProperty("scored_tokens").GetInt32(), result.Json.GetProperty("tokens").GetInt32());
            double expected = one.GetProperty("ppl_token_weighted (exp of summed nll / scored tokens)").GetDouble();
            Assert.InRange(result.Json.GetProperty("perplexity").GetDouble(), expected * (1 - 1e-4), expected * (1 + 1e-4));
        }
    }

    [Theory]
    [InlineData("[1,\n ?]", "[1, 2, 3]: line 2, column 2: '?' is an invalid start of a value.", "[1, 2, 3] など）として読めません: 2 行目の 2 文字目: ")]
    [InlineData("{\"ids\":[1]}", "[1, 2, 3]: it holds an object.", "[1, 2, 3] など）として読めません: 中身がオブジェクトです。")]
    [InlineData("[1,\"2\"]", "[1, 2, 3]: element 2 is no token id.", "[1, 2, 3] など）として読めません: 2 番目の要素がトークン ID ではありません。")]
    [InlineData("[1.5]", "[1, 2, 3]: element 1 is no token id.", "[1, 2, 3] など）として読めません: 1 番目の要素がトークン ID ではありません。")]
    [InlineData("", "[1, 2, 3]: it is empty.", "[1, 2, 3] など）として読めません: 空です。")]
    public async Task An_ids_file_that_is_no_array_of_numbers_is_named_with_the_place_from_1(string content, string english, string japanese)
    {
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "ids.json");
        await File.WriteAllTextAsync(file, content, TestContext.Current.CancellationToken);
        string[] command = ["perplexity", Fude.Model("llama-mha"), "--ids-file", file];
        string said = (await Fude.Run(command)).Failure();
        Assert.Contains($"{file} is not a JSON array of token ids, as in {english}", said, StringComparison.Ordinal);
        string other = (await Fude.RunInJapanese(command)).Said;
        Assert.Contains($"{file} はトークン ID の JSON 配列（{japanese}", other, StringComparison.Ordinal);
        Assert.All((string[])[said, other], text => Assert.DoesNotContain("LineNumber", text, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Perplexity_says_that_no_begin_token_stands_before_a_text()
    {
        Assert.Contains("No begin token stands before it", (await Fude.Run("perplexity", "--help")).Output, StringComparison.Ordinal);
        Assert.Contains("前に開始トークンは付けない", (await Fude.RunInJapanese("perplexity", "--help")).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inspect_needs_config_json_alone()
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(Fude.Model("llama-gqa"), "config.json"), Path.Combine(folder.Path, "config.json"));
        JsonElement json = (await Fude.Run("inspect", folder.Path, "--json", "--tensors")).Json;
        Assert.False(json.GetProperty("has_weights").GetBoolean());
        Assert.Equal((await Fude.Run("inspect", Fude.Model("llama-gqa"), "--json")).Json.GetProperty("parameters").GetInt64(),
            json.GetProperty("tensors").EnumerateObject().Sum(tensor => tensor.Value.EnumerateArray().Aggregate(1L, (product, n) => product * n.GetInt64())));
        Assert.Contains("model.layers.0.self_attn.q_proj.weight", (await Fude.Run("inspect", folder.Path, "--tensors")).Output, StringComparison.Ordinal);
        // A tokenizer that fude does not have is told among the rest.
        folder.Write("tokenizer.json", """{"version":"1.0","model":{"type":"WordPiece","vocab":{"a":0}}}""");
        Fude.Result result = await Fude.Run("inspect", folder.Path);
        Assert.Equal((0, ""), (result.Status, result.Error));
        Assert.Contains("cannot be read: ", result.Output, StringComparison.Ordinal);
        Assert.Contains("WordPiece", result.Output, StringComparison.Ordinal);
        Assert.Contains("available memory", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inspect_train_says_what_training_takes()
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(Fude.Model("llama-gqa"), "config.json"), Path.Combine(folder.Path, "config.json"));
        long weights = (await Fude.Run("inspect", folder.Path, "--json")).Json.GetProperty("bytes").GetProperty("F32").GetInt64();
        JsonElement kept = (await Fude.Run("inspect", folder.Path, "--train", "--rows", "8", "--context", "32", "--json")).Json;
        Assert.Equal(weights, kept.GetProperty("weight_bytes").GetInt64());
        Assert.Equal(2 * kept.GetProperty("gradient_bytes").GetInt64(), kept.GetProperty("optimizer_bytes").GetInt64());
        long pass = kept.GetProperty("pass_bytes").GetInt64();
        JsonElement again = (await Fude.Run("inspect", folder.Path, "--train", "--rows", "8", "--context", "32", "--recompute", "--json")).Json;
        Assert.InRange(again.GetProperty("pass_bytes").GetInt64(), 1, pass - 1);
        string adapter = Path.Combine(TestFolders.FindGolden("lora/llama-qv-r8")!, "adapter_config.json");
        JsonElement lora = (await Fude.Run("inspect", folder.Path, "--train", "--context", "32", "--adapter-config", adapter, "--json")).Json;
        Assert.InRange(lora.GetProperty("gradient_bytes").GetInt64(), 1, weights / 4);
        string[] rank = ["inspect", folder.Path, "--train", "--context", "32", "--lora-rank", "8", "--lora-targets", "q_proj,v_proj", "--json"];
        Assert.Equal(lora.GetRawText().Split("\"available")[0], (await Fude.Run(rank)).Json.GetRawText().Split("\"available")[0]);
        Assert.True((await Fude.Run([.. rank, "--weights", "q8_0"])).Json.GetProperty("weight_bytes").GetInt64() < lora.GetProperty("weight_bytes").GetInt64());
        Assert.Contains("give --lora-rank", (await Fude.Run("inspect", folder.Path, "--train", "--weights", "q8_0")).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("not both", (await Fude.Run([.. rank, "--adapter-config", adapter])).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("AdamW", (await Fude.Run("inspect", folder.Path, "--train", "--context", "32")).Output, StringComparison.Ordinal);
        Assert.Contains("context", (await Fude.Run("inspect", folder.Path, "--train", "--context", "100000")).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("--train", (await Fude.Run("inspect", folder.Path, "--rows", "8")).Failure(status: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bench_reports_speed_beside_both_roofs()
    {
        string config = Path.Combine(Fude.Model("gpt2-gelu"), "config.json");
        JsonElement json = (await Fude.Run("bench", "--config", config, "--format", "bf16", "-p", "16", "-n", "8", "-r", "1", "--threads", "2", "--json")).Json;
        foreach (string name in (string[])["prompt_tokens_per_second", "decode_tokens_per_second", "memory_roof_bytes_per_second", "matrix_roof_flops_per_second"])
            Assert.True(json.GetProperty(name).GetDouble() > 0, name);
    }

    [Fact]
    public async Task Bench_speaks_the_users_language_and_shows_the_roof_that_speeds_stand_beside()
    {
        string[] bench = ["bench", "--config", Path.Combine(Fude.Model("gpt2-gelu"), "config.json"), "-p", "8", "-n", "2", "-r", "1", "--threads", "1"];
        string english = (await Fude.Run(bench)).Output, japanese = (await Fude.RunInJapanese(bench)).Said;
        Assert.Matches(@"^GPT2LMHeadModel, [0-9,]+ parameters, .*, 1 thread, median of 1\nroofs    memory [0-9.]+ GB/s, float32 matrix ", english);
        Assert.Contains(" of the memory roof, ", english, StringComparison.Ordinal);
        Assert.Matches(@"^GPT2LMHeadModel、パラメーター [0-9,]+ 個、.*、1 スレッド、1 回の中央値\n上限 +メモリー [0-9.]+ GB/s、float32 行列 ", japanese);
        Assert.Matches(@"\nプロンプト +8 トークン .* float32 行列の上限の [0-9.]+ ?%\n生成 +2 トークン .* メモリーの上限の [0-9.]+ ?%、1 トークンあたりの割り当て [0-9]+ バイト\n$", japanese);
        Assert.DoesNotMatch("[a-z]+ [a-z]+ [a-z]+ ", japanese);
    }

    [Theory]
    [InlineData("logits", "--ids", "1,2")]
    [InlineData("generate", "--ids", "1,2", "-n", "2", "--do-sample=false")]
    public async Task Weights_is_the_same_option_as_format_where_both_mean_the_weights(string command, params string[] options)
    {
        string[] all = [command, Fude.Model("llama-gqa"), "--json", .. options];
        Assert.Equal((await Fude.Run([.. all, "--format", "q8_0"])).Output, (await Fude.Run([.. all, "--weights", "q8_0"])).Output);
        Assert.Contains("--weights: 'q9' is no format", (await Fude.Run([.. all, "--weights", "q9"])).Failure(2), StringComparison.Ordinal);
        foreach (string other in (string[])["perplexity", "evaluate", "bench", "export"])
            Assert.Contains("--format, --weights", (await Fude.Run(other, "--help")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_format_of_weights_in_the_place_of_a_prompt_format_is_told_where_it_belongs()
    {
        foreach (string[] command in (string[][])[["chat"], ["tune", "x", "--data", "x", "--out", "x"], ["dpo", "x", "--data", "x", "--out", "x"]])
        {
            string line = (await Fude.Run([.. command, "--format", "q8_0"])).Failure(2);
            Assert.Contains("There is no prompt format 'q8_0'; there are plain, ", line, StringComparison.Ordinal);
            Assert.Contains(", and chat-template, the model's own. To quantise the weights give --weights q8_0.", line, StringComparison.Ordinal);
            Assert.DoesNotContain("--weights", (await Fude.Run([.. command, "--format", "nope"])).Failure(2), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Chat_offers_nothing_that_it_does_not_do()
    {
        string help = (await Fude.Run("chat", "--help")).Output;
        foreach (string option in (string[])["--logprobs", "--top-logprobs", "--num-return-sequences", "--bos-token-id"])
        {
            Assert.DoesNotContain(option, help, StringComparison.Ordinal);
            Assert.Contains($"There is no option {option}.", (await Fude.Run("chat", option, "2")).Failure(2), StringComparison.Ordinal);
        }
        Assert.Contains("transformers would keep it", help, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_window_longer_than_the_context_is_wrong_usage()
    {
        using TemporaryFolder folder = new();
        string ids = folder.Write("ids.json", "[1, 2, 3]");
        string[] command = ["perplexity", Fude.Model("llama-gqa"), "--ids-file", ids];
        Assert.Contains(" over 2 tokens (", (await Fude.Run(command)).Output, StringComparison.Ordinal);
        Assert.Contains(" over 1 token (", (await Fude.Run([.. command[..^1], folder.Write("two.json", "[1, 2]")])).Output, StringComparison.Ordinal);
        Assert.Contains("--context is from 2 to ", (await Fude.Run([.. command, "--context", "100000"])).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--stride is from 1 to 4, ", (await Fude.Run([.. command, "--context", "4", "--stride", "5"])).Failure(2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bench_decodes_several_sequences_at_a_depth()
    {
        string config = Path.Combine(Fude.Model("gpt2-gelu"), "config.json");
        JsonElement json = (await Fude.Run("bench", "--config", config, "-p", "0", "-n", "4", "-d", "12", "-b", "3", "-r", "1", "--threads", "2", "--json")).Json;
        Assert.Equal((12, 3), (json.GetProperty("depth").GetInt32(), json.GetProperty("sequences").GetInt32()));
        Assert.True(json.GetProperty("decode_tokens_per_second").GetDouble() > 0);
        Assert.Contains("-d 100000", (await Fude.Run("bench", "--config", config, "-d", "100000")).Failure(), StringComparison.Ordinal);
        Assert.Contains("--batch", (await Fude.Run("bench", "--config", config, "-b", "0")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--repetitions", (await Fude.Run("bench", "--config", config, "-r", "0")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("'1'", (await Fude.Run("bench", "--config", config, "-p", "4", "-n", "2", "--format", "1")).Failure(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("inspect")]
    [InlineData("logits", "--ids", "1")]
    [InlineData("generate", "--ids", "1")]
    [InlineData("perplexity", "--ids-file", "x")]
    [InlineData("merge", "--adapter", "x", "--out", "y")]
    [InlineData("report")]
    public async Task A_folder_that_is_no_model_is_named(string command, params string[] options)
    {
        using TemporaryFolder folder = new();
        Assert.Contains(folder.Path, (await Fude.Run([command, folder.Path, .. options])).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Broken_weights_are_one_line_that_names_the_file()
    {
        using TemporaryFolder folder = new();
        foreach (string file in Directory.EnumerateFiles(Fude.Model("gpt2-gelu"))) File.Copy(file, Path.Combine(folder.Path, Path.GetFileName(file)));
        string weights = Path.Combine(folder.Path, "model.safetensors");
        using (FileStream stream = File.OpenWrite(weights)) stream.SetLength(stream.Length / 2);
        Assert.Contains("model.safetensors", (await Fude.Run("logits", folder.Path, "--ids", "1")).Failure(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData]
    [InlineData("merge")]
    [InlineData("no-such-command")]
    public async Task Wrong_usage_is_status_2_and_says_where_help_is(params string[] arguments) =>
        Assert.Contains("--help", (await Fude.Run(arguments)).Failure(status: 2), StringComparison.Ordinal);

    [Fact]
    public async Task Help_lists_every_command()
    {
        Fude.Result help = await Fude.Run("--help");
        Assert.Equal(0, help.Status);
        Assert.All(["generate", "chat", "tokenize", "detokenize", "explain", "inspect", "logits", "perplexity", "evaluate", "merge", "export", "quantize", "report", "run", "bench"],
            command => Assert.Contains(command, help.Output, StringComparison.Ordinal));
    }

    private static float[] Logits(Fude.Result result) =>
        [.. result.Json.GetProperty("logits")[0].EnumerateArray().Select(number => number.GetSingle())];
}
