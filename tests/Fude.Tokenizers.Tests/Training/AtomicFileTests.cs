using Fude.TestData;
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

    [Fact]
    public void Files_that_belong_together_are_all_new_or_all_as_they_were()
    {
        using TemporaryFolder folder = new();
        string first = folder.Write("a", "old"), second = folder["b"];
        _ = Directory.CreateDirectory(second);
        Assert.Throws<IOException>(() => AtomicFile.Write([(first, "new"u8.ToArray()), (second, "new"u8.ToArray())]));
        Assert.Equal("old", File.ReadAllText(first));
        Assert.Equal([first], Directory.GetFiles(folder.Path));
        Directory.Delete(second);
        AtomicFile.Write([(first, "new"u8.ToArray()), (second, "too"u8.ToArray())]);
        Assert.Equal(("new", "too"), (File.ReadAllText(first), File.ReadAllText(second)));
        Assert.Equal(2, Directory.GetFiles(folder.Path).Length);
    }
}
