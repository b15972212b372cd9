namespace Fude.Cli.Tests;

public sealed class TerminalTests
{
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
