using System.Text.Json;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class ExportCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private string InFolder(string name) => Path.Combine(_folder.Path, name);

    private async Task<string> Written(string model, string format, string name = "m.gguf")
    {
        Fude.Result result = await Fude.Run("export", model, "--gguf", InFolder(name), "--format", format);
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains(name, result.Error, StringComparison.Ordinal);
        return InFolder(name);
    }

    [Theory]
    [InlineData("llama-gqa")]
    [InlineData("gpt2-gelu")]
    public async Task An_exported_model_gives_the_same_logits_and_tokens(string name)
    {
        string model = Fude.Model(name), file = await Written(model, "f32");
        Assert.Equal((await Fude.Run("logits", model, "--ids", "1,2,3", "--json")).Output, (await Fude.Run("logits", file, "--ids", "1,2,3", "--json")).Output);
        string[] options = ["--ids", "5,6,7", "--max-new-tokens", "8", "--do-sample=false", "--eos-token-id", "none", "--json"];
        Assert.Equal(
            (await Fude.Run(["generate", model, .. options])).Json.GetProperty("ids").GetRawText(),
            (await Fude.Run(["generate", file, .. options])).Json.GetProperty("ids").GetRawText());
        Assert.Equal(
            (await Fude.Run("inspect", model, "--json")).Json.GetProperty("parameters").GetInt64(),
            (await Fude.Run("inspect", file, "--json")).Json.GetProperty("parameters").GetInt64());
    }

    [Fact]
    public async Task A_file_that_is_there_is_replaced_by_force_only()
    {
        string file = await Written(Fude.Model("llama-mha"), "f16");
        byte[] before = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        string[] again = ["export", Fude.Model("llama-mha"), "--gguf", file, "--format", "f32"];
        Assert.Contains("--force", (await Fude.Run(again)).Failure(), StringComparison.Ordinal);
        Assert.Equal(before, await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken));
        Assert.Equal(0, (await Fude.Run([.. again, "--force"])).Status);
        Assert.True(new FileInfo(file).Length > before.Length);
        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task Calibrating_what_is_only_rounded_is_wrong_usage_before_anything_is_read()
    {
        foreach (string format in (string[])["f32", "f16", "bf16"])
        {
            Assert.Contains("--calibrate is for quantised formats", (await Fude.Run("export", "none", "--gguf", "a.gguf", "--format", format, "--calibrate")).Failure(status: 2), StringComparison.Ordinal);
            Assert.Contains("--calibrate is for quantised formats", (await Fude.Run("quantize", "none.gguf", "--out", "a.gguf", "--format", format, "--calibrate")).Failure(status: 2), StringComparison.Ordinal);
        }
        string empty = _folder.Write("empty.txt", "");
        Assert.Contains("holds no text", (await Fude.Run("export", DefaultModel.Path, "--gguf", InFolder("a.gguf"), "--format", "q8_0", "--calibrate", empty)).Failure(), StringComparison.Ordinal);
        Assert.Contains($"{empty}: has 0 tokens", (await Fude.Run("perplexity", DefaultModel.Path, "--text-file", empty)).Failure(), StringComparison.Ordinal);
        string ids = _folder.Write("ids.json", "[1, 5, 99999]");
        Assert.Contains($"{ids}: token 3 is 99999, but the model's vocabulary has 12000 entries.", (await Fude.Run("perplexity", DefaultModel.Path, "--ids-file", ids)).Failure(), StringComparison.Ordinal);
        Assert.StartsWith("fude: standard input, line 2: ", (await Fude.RunWith("[1]\n[99999]\n", "detokenize")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_model_that_is_read_is_not_written_over_and_a_missing_tokenizer_is_told()
    {
        foreach (string file in (string[])["config.json", "model.safetensors"]) File.Copy(Path.Combine(Fude.Model("llama-mha"), file), InFolder(file));
        foreach (string file in (string[])["config.json", "model.safetensors"])
            Assert.Contains("a file of the model that is read",
                (await Fude.Run("export", _folder.Path, "--gguf", InFolder(file), "--format", "q8_0", "--force")).Failure(), StringComparison.Ordinal);
        for (int i = 0; i < 2; i++)
        {
            Fude.Result result = await Fude.Run("export", _folder.Path, "--gguf", InFolder("model.gguf"), "--format", "q8_0", "--force");
            Assert.True(result.Status == 0, result.Error);
            Assert.Contains("has no tokenizer", result.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Inspect_tells_the_formats_of_a_file_and_of_a_folder()
    {
        JsonElement file = (await Fude.Run("inspect", await Written(Fude.Model("llama-gqa"), "q8_0"), "--json")).Json.GetProperty("stored");
        Assert.True(file.GetProperty("Q8_0").GetProperty("tensors").GetInt32() > file.GetProperty("F32").GetProperty("tensors").GetInt32());
        JsonElement folder = (await Fude.Run("inspect", Fude.Model("llama-gqa"), "--json")).Json;
        Assert.Equal(
            folder.GetProperty("bytes").GetProperty("F32").GetInt64(),
            folder.GetProperty("stored").EnumerateObject().Sum(format => format.Value.GetProperty("bytes").GetInt64()));
        Assert.Contains("Q8_0", (await Fude.Run("inspect", InFolder("m.gguf"))).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inspect_tells_what_a_model_takes_as_it_is_stored_and_in_the_formats_that_people_choose()
    {
        string model = Fude.Model("llama-gqa"), file = await Written(model, "q8_0");
        JsonElement quantised = (await Fude.Run("inspect", file, "--json")).Json, whole = (await Fude.Run("inspect", model, "--json")).Json;
        Assert.Equal(["stored", "F32", "BF16", "F16", "Q8_0", "Q4_K_M"], whole.GetProperty("bytes").EnumerateObject().Select(format => format.Name));
        Assert.Equal(["stored", "F32", "BF16", "F16", "Q8_0", "Q4_K_M"], whole.GetProperty("fits").EnumerateObject().Select(format => format.Name));
        long bytes = quantised.GetProperty("stored").EnumerateObject().Sum(format => format.Value.GetProperty("bytes").GetInt64());
        Assert.Equal(bytes, quantised.GetProperty("bytes").GetProperty("stored").GetInt64());
        Assert.Equal(bytes, whole.GetProperty("bytes").GetProperty("Q8_0").GetInt64());
        string shown = (await Fude.Run("inspect", file)).Output, japanese = (await Fude.RunInJapanese("inspect", file)).Said;
        Assert.Matches(FormattableString.Invariant($@"as stored +{bytes:N0} bytes \(\d+\.\d KiB\): fits"), shown);
        Assert.Matches(FormattableString.Invariant($@"保存時のまま +{bytes:N0} バイト（\d+\.\d KiB）: 文脈全体と共に収まる"), japanese);
        Assert.DoesNotContain("bytes", japanese, StringComparison.Ordinal);
        // The configuration alone has nothing stored.
        File.Copy(Path.Combine(model, "config.json"), InFolder("config.json"));
        Assert.False((await Fude.Run("inspect", _folder.Path, "--json")).Json.GetProperty("bytes").TryGetProperty("stored", out _));
    }

    [Fact]
    public async Task Quantising_what_is_quantised_already_is_remarked()
    {
        string model = Fude.Model("llama-mha"), file = await Written(model, "q8_0"), remark = $"{file} is quantised already (Q8_0): its rounding errors are added to those of q4_0.";
        string[][] commands =
        [
            ["quantize", file, "--out", InFolder("a.gguf")], ["export", file, "--gguf", InFolder("b.gguf")], ["logits", file, "--ids", "1"],
            ["logits", file, "--ids", "1", "--save", InFolder("c.gguf")], ["generate", file, "--ids", "1", "--max-new-tokens", "1"],
        ];
        foreach (string[] command in commands)
        {
            Fude.Result result = await Fude.Run([.. command, "--format", "q4_0"]);
            Assert.True(result.Status == 0, result.Error);
            Assert.Contains(remark, result.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("quantised already", result.Output, StringComparison.Ordinal);
        }
        Assert.Contains($"{file} は既に量子化されています（Q8_0）。", (await Fude.RunInJapanese([.. commands[2], "--format", "q4_0"])).Said, StringComparison.Ordinal);
        // Nothing is rounded twice where blocks are copied, or where what is read or written is not quantised.
        foreach (string[] command in (string[][])[[file, "--format", "q8_0"], [file, "--format", "f16"], [model, "--format", "q4_0"], [file]])
            Assert.DoesNotContain("quantised already", (await Fude.Run(["logits", "--ids", "1", .. command])).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Calibrating_changes_the_file_and_needs_a_tokenizer()
    {
        Assert.SkipWhen(TestFolders.Shared is null, "Needs the tokenizers of shared beside the checkout.");
        string model = Path.Combine(TestFolders.Shared!, "data/models/stories260K-hf"), plain = await Written(model, "q4_0", "plain.gguf");
        string text = _folder.Write("text.txt", "Once upon a time there was a cat.");
        foreach (string[] calibrate in (string[][])[["--calibrate"], ["--calibrate", text]])
        {
            string file = InFolder($"calibrated-{calibrate.Length}.gguf");
            Fude.Result result = await Fude.Run(["export", model, "--gguf", file, "--format", "q4_0", .. calibrate]);
            Assert.True(result.Status == 0, result.Error);
            Assert.NotEqual(await File.ReadAllBytesAsync(plain, TestContext.Current.CancellationToken), await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken));
        }
        Assert.Contains("--calibrate", (await Fude.Run(
            "export", Fude.Model("llama-mha"), "--gguf", InFolder("x.gguf"), "--format", "q4_0", "--calibrate")).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Quantising_a_file_gives_what_exporting_the_folder_does()
    {
        string model = Fude.Model("llama-mha"), whole = await Written(model, "f32", "whole.gguf"), direct = await Written(model, "q8_0", "direct.gguf");
        Fude.Result result = await Fude.Run("quantize", whole, "--format", "q8_0", "--out", InFolder("again.gguf"));
        Assert.True(result.Status == 0, result.Error);
        Assert.Equal((await Fude.Run("logits", direct, "--ids", "1,2", "--json")).Output, (await Fude.Run("logits", InFolder("again.gguf"), "--ids", "1,2", "--json")).Output);
        Assert.Contains("the file that is read", (await Fude.Run("quantize", whole, "--format", "q8_0", "--out", whole, "--force")).Failure(), StringComparison.Ordinal);
        if (!OperatingSystem.IsWindows())       // which lets not everybody make links
        {
            File.CreateSymbolicLink(InFolder("link.gguf"), whole);
            Assert.Contains("the file that is read", (await Fude.Run("quantize", InFolder("link.gguf"), "--format", "q8_0", "--out", whole, "--force")).Failure(), StringComparison.Ordinal);
        }
        Assert.Contains("fude export", (await Fude.Run("quantize", model, "--format", "q8_0", "--out", InFolder("x.gguf"))).Failure(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("llama-mha", "q8_0")]
    [InlineData("gpt2-gelu", "q8_0")]
    [InlineData("llama-mha", "bf16")]
    public async Task Quantising_while_loading_gives_the_logits_of_the_file(string name, string format)
    {
        string model = Fude.Model(name), file = await Written(model, format);
        Fude.Result loaded = await Fude.Run("logits", model, "--ids", "1,2,3", "--format", format, "--json");
        Assert.Equal((await Fude.Run("logits", file, "--ids", "1,2,3", "--json")).Output, loaded.Output);
        Assert.NotEqual((await Fude.Run("logits", model, "--ids", "1,2,3", "--json")).Output, loaded.Output);
    }

    [Fact]
    public async Task Save_keeps_what_was_run()
    {
        string[] arguments = ["logits", Fude.Model("llama-mha"), "--ids", "4,5", "--format", "q8_0", "--json"];
        Fude.Result saved = await Fude.Run([.. arguments, "--save", InFolder("kept.gguf")]);
        Assert.Equal((await Fude.Run(arguments)).Output, saved.Output);
        Assert.Equal(saved.Output, (await Fude.Run("logits", InFolder("kept.gguf"), "--ids", "4,5", "--json")).Output);
        Assert.Contains("kept.gguf is there already", (await Fude.Run([.. arguments, "--save", InFolder("kept.gguf")])).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_cannot_be_written_is_named_before_anything_is_computed()
    {
        string[] command = ["export", Fude.Model("llama-mha"), "--format", "f16", "--gguf"];
        Assert.Contains("is a folder", (await Fude.Run([.. command, InFolder("")])).Failure(), StringComparison.Ordinal);
        Assert.Contains($"there is no folder {InFolder("none")}", (await Fude.Run([.. command, InFolder(Path.Combine("none", "x.gguf"))])).Failure(), StringComparison.Ordinal);
        // A model without a tokenizer cannot be calibrated, which would be told otherwise.
        Assert.Contains($"there is no folder {InFolder("none")}", (await Fude.Run(
            "export", Fude.Model("llama-mha"), "--gguf", InFolder(Path.Combine("none", "x.gguf")), "--format", "q4_0", "--calibrate")).Failure(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("export", "x", "--gguf", "y")]
    [InlineData("export", "x", "--gguf", "y", "--format", "q9")]
    [InlineData("quantize", "x", "--format", "q8_0")]
    [InlineData("logits", "x", "--ids", "1", "--save", "y")]
    [InlineData("generate", "x", "--ids", "1", "--format", "q8")]
    public async Task Wrong_usage_is_status_2(params string[] arguments) => (await Fude.Run(arguments)).Failure(status: 2);

    [Fact]
    public async Task A_real_model_s_file_generates_its_text_and_cuts_text_as_its_folder_does()
    {
        string? model = TestFolders.SharedData("models/stories260K-hf");
        Assert.SkipWhen(model is null, "needs shared beside the checkout");
        string file = await Written(model!, "f32");
        string[] options = ["--prompt", "Once upon a time", "--max-new-tokens", "24", "--json"];
        Assert.Equal((await Fude.Run(["generate", model!, .. options])).Output, (await Fude.Run(["generate", file, .. options])).Output);
        const string Lines = "Lily and 猫\n<s> x </s>\n";
        Assert.Equal((await Fude.RunWith(Lines, "tokenize", model!, "--json")).Output, (await Fude.RunWith(Lines, "tokenize", file, "--json")).Output);
        string text = InFolder("text.txt");
        await File.WriteAllTextAsync(text, "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.", TestContext.Current.CancellationToken);
        double exact = await Perplexity(file), quantised = await Perplexity(model!, "--format", "q8_0");
        Assert.Equal(await Perplexity(model!), exact);
        Assert.InRange(quantised, exact * 0.99, exact * 1.01);
        JsonElement bench = (await Fude.Run("bench", file, "-p", "4", "-n", "2", "-r", "1", "--json", "--format", "q8_0")).Json;
        Assert.True(bench.GetProperty("bytes_per_token").GetInt64() > 0);

        async Task<double> Perplexity(string of, params string[] more) =>
            (await Fude.Run(["perplexity", of, "--text-file", text, "--json", .. more])).Json.GetProperty("perplexity").GetDouble();
    }
}
