using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class AtomicFileTests
{
    [Fact]
    public void A_file_that_cannot_be_written_is_called_by_its_own_name()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Writes into /proc, where nobody can.");
        Exception failure = Assert.ThrowsAny<Exception>(() => AtomicFile.Write("/proc/table.md", "x"u8));
        Assert.Contains("/proc/table.md", failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(".tmp", failure.Message, StringComparison.Ordinal);
        Assert.IsNotType<FileNotFoundException>(failure);
    }
}
