using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Fude.TestData;

namespace Fude.Cli.Tests;

/// <summary>Runs a command line in this process, as a program that calls fude would see it.</summary>
internal static class Fude
{
    internal sealed record Result(int Status, string Output, string Error)
    {
        public JsonElement Json => JsonDocument.Parse(Output).RootElement;

        public IReadOnlyList<JsonElement> JsonLines =>
            [.. Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];

        /// <summary>The one line of a failure.</summary>
        public string Failure(int status = 1)
        {
            Assert.Equal((status, ""), (Status, Output));
            string line = Assert.Single(Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
            Assert.StartsWith("fude: ", line, StringComparison.Ordinal);
            Assert.DoesNotContain("Exception", line, StringComparison.Ordinal);
            return line;
        }
    }

    // What runs in this process; one of its own takes its language from the environment.
    [ModuleInitializer]
    internal static void BeEnglish() => UserLanguage.BeEnglish();

    public static Task<Result> Run(params string[] arguments) => RunWith([], arguments);

    public static Task<Result> RunWith(string input, params string[] arguments) => RunWith(Encoding.UTF8.GetBytes(input), arguments);

    public static async Task<Result> RunWith(byte[] input, params string[] arguments)
    {
        using StringWriter output = new() { NewLine = "\n" };
        using StringWriter error = new() { NewLine = "\n" };
        using MemoryStream stream = new(input);
        int status = await new FudeProgram(new Terminal(stream, output, error)).RunAsync(arguments);
        return new(status, output.ToString(), error.ToString());
    }

    /// <summary>Runs a command line in a process of its own that can write no file beyond so many bytes, as on a disk without room.</summary>
    public static async Task<(int Status, string Said)> RunOnFullDisk(int bytes, string[] arguments)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Limits the size of files by the shell's ulimit, which Windows has not.");
        // The limit counts blocks of 512 bytes. Beyond it the kernel's signal would end the process: ignored, writing fails as on a full disk. The
        // runtime's own double mapping of code is a file larger than the limit.
        return await RunElsewhere(new ProcessStartInfo("/bin/sh",
            ["-c", FormattableString.Invariant($"trap '' XFSZ; ulimit -f {bytes / 512}; exec \"$@\""), "sh", Path.Combine(AppContext.BaseDirectory, "fude"), .. arguments])
        {
            Environment = { ["DOTNET_EnableWriteXorExecute"] = "0" },
        });
    }

    /// <summary>Runs a command line in a process of its own, whose language is Japanese.</summary>
    /// <returns>The exit code, and what it wrote to both streams.</returns>
    public static Task<(int Status, string Said)> RunInJapanese(params string[] arguments) =>
        RunElsewhere(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "fude"), arguments) { Environment = { ["LC_ALL"] = "ja_JP.UTF-8" } });

    private static async Task<(int Status, string Said)> RunElsewhere(ProcessStartInfo start)
    {
        start.RedirectStandardError = start.RedirectStandardOutput = true;
        start.StandardErrorEncoding = start.StandardOutputEncoding = Encoding.UTF8;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(), output = process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output + await error);
    }

    public static string Model(string name) => TestFolders.FindGolden($"models/{name}")!;
}
