using System.Diagnostics;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class FudeProgramTests
{
    private static readonly string Model = TestFolders.FindGolden("models/llama-gqa")!;

    [Theory]
    [InlineData("generate", "MODEL", "--prompt", "a", "--prompt", "b")]
    [InlineData("generate", "MODEL", "--ids", "1", "--threads", "1", "--threads", "2")]
    [InlineData("perplexity", "MODEL", "--ids-file", "a", "--ids-file", "b")]
    [InlineData("bench", "--config", "a", "--config", "b")]
    [InlineData("bench", "MODEL", "-p", "1", "-p", "2")]
    public async Task An_option_given_twice_is_wrong_usage(params string[] arguments)
    {
        string line = (await Fude.Run([.. arguments.Select(argument => argument == "MODEL" ? Model : argument)])).Failure(status: 2);
        Assert.Contains(arguments[^2], line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_word_that_is_no_command_is_named() =>
        Assert.Contains("'conjure'", (await Fude.Run("conjure")).Failure(status: 2), StringComparison.Ordinal);

    [Fact]
    public async Task An_empty_value_does_not_swallow_the_next_option()
    {
        // The model has no tokenizer: had --json been taken for the prompt, the error would be the same, but not this one.
        string line = (await Fude.Run("generate", Model, "--eos-token-id=", "--json")).Failure(status: 2);
        Assert.Contains("--eos-token-id: ''", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("generate", "", "--ids", "1")]
    [InlineData("tokenize", "")]
    [InlineData("merge", "MODEL", "--adapter", "", "--out", "x")]
    [InlineData("merge", "MODEL", "--adapter", "x", "--out", "")]
    public async Task An_empty_path_is_told_apart(params string[] arguments)
    {
        string line = (await Fude.Run([.. arguments.Select(argument => argument == "MODEL" ? Model : argument)])).Failure();
        Assert.Contains("path is empty", line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_in_the_place_of_a_file_is_named()
    {
        using TemporaryFolder folder = new();
        string line = (await Fude.Run("perplexity", Model, "--ids-file", folder.Path)).Failure();
        Assert.Contains($"{folder.Path} is a folder", line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_score_that_overflows_is_still_JSON()
    {
        Fude.Result result = await Fude.Run("generate", Model, "--ids", "1,5", "--num-beams", "2", "--length-penalty=-1000", "-n", "4", "--json");
        Assert.Equal("-Infinity", result.Json.GetProperty("score").GetString());
    }

    [Theory, InlineData("config.json"), InlineData("generation_config.json"), InlineData("model.safetensors"), InlineData("tokenizer.json")]
    public async Task A_pipe_in_the_place_of_a_file_is_not_waited_for(string name)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Makes a named pipe with mkfifo.");
        using TemporaryFolder folder = new();
        foreach (string file in Directory.EnumerateFiles(TestFolders.FindGolden("models/llama-mha")!))
            if (Path.GetFileName(file) != name) File.Copy(file, Path.Combine(folder.Path, Path.GetFileName(file)));
        using (Process make = Process.Start("mkfifo", [Path.Combine(folder.Path, name)]))
            await make.WaitForExitAsync(TestContext.Current.CancellationToken);
        string line = (await Fude.Run("generate", folder.Path, "--ids", "1,2")).Failure();
        Assert.Contains(name, line, StringComparison.Ordinal);
        Assert.Contains("empty", line, StringComparison.Ordinal);
    }
}
