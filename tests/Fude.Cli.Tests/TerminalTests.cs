using System.Diagnostics;
using System.Text;

namespace Fude.Cli.Tests;

public sealed class TerminalTests
{
    [Theory]
    [InlineData("tokenize", "<s> 犬\n")]
    [InlineData("chat --sequence-bias 2=1000", "\n")]
    public async Task What_writes_for_nobody_any_more_ends(string command, string line)
    {
        Assert.SkipUnless(PipedOutput.IsSupported, "The system does not say that nobody reads.");
        // `yes` never ends by itself, so fude would not either.
        ProcessStartInfo start = new("/bin/sh", ["-c", $"yes 犬 2>/dev/null | {{ \"$0\" {command}; echo $? >&2; }} | head -n 1", Path.Combine(AppContext.BaseDirectory, "fude")])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
        };
        using Process process = Process.Start(start)!;
        using CancellationTokenSource tooLong = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        tooLong.CancelAfter(TimeSpan.FromMinutes(2));
        Task<string> output = process.StandardOutput.ReadToEndAsync(tooLong.Token), error = process.StandardError.ReadToEndAsync(tooLong.Token);
        try
        {
            await process.WaitForExitAsync(tooLong.Token);
            Assert.Equal(line, await output);
            string said = await error;
            Assert.EndsWith("1\n", said, StringComparison.Ordinal);
            Assert.DoesNotContain("fude: ", said, StringComparison.Ordinal);
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
    }

    [Theory]
    [InlineData(1, "/dev/pts/0", "flags:\t0100002", true)]
    [InlineData(1, "pipe:[123]", "flags:\t01", true)]
    [InlineData(1, "/memfd:captured (deleted)", "flags:\t02", true)]         // somebody reads what is written to it
    [InlineData(1, "/memfd:doublemapper (deleted)", "flags:\t02", false)]    // .NET's own, where the number was free
    [InlineData(2, "/usr/lib/locale/locale-archive", "flags:\t02100000", false)]
    [InlineData(0, "/home/a/text", "flags:\t0100000", true)]
    [InlineData(1, "/home/a/text", null, true)]
    [InlineData(1, "/home/a/text", "flags:", true)]
    public void A_stream_is_taken_for_closed_only_where_that_is_known(int descriptor, string target, string? flags, bool isOpen) =>
        Assert.Equal(isOpen, Terminal.IsOpen(descriptor, target, flags));
}
