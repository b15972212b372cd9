using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class PendingFileTests
{
    [Fact]
    public void A_disk_without_room_is_told_as_one_and_by_the_name_of_the_file()
    {
        using TemporaryFolder folder = new();
        // More than any disk has, or any file may.
        IOException e = Assert.ThrowsAny<IOException>(() => new PendingFile(folder["model.safetensors"], 1L << 61).Dispose());
        Assert.Equal(OperatingSystem.IsWindows() ? unchecked((int)0x80070070) : 28, e.HResult);
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder.Path));
        UserLanguage.Fails(() => new PendingFile(folder["model.safetensors"], 1L << 61),
            $"{folder["model.safetensors"]}: there is no room on the disk for the {1L << 61} bytes of the file", $"{folder["model.safetensors"]}: ディスクに {1L << 61} バイトのファイルを書く空きがありません");
    }

    [Fact]
    public void What_a_killed_process_left_goes_and_what_another_still_writes_or_has_written_stays()
    {
        using TemporaryFolder folder = new();
        string path = folder["model.gguf"];
        folder.Write(".model.gguf.k3lp0q2z.4gt", "half");
        string kept = folder.Write(".other.gguf.k3lp0q2z.4gt", "half");
        using (PendingFile writing = new(path, 1), complete = new(path, 1))
        {
            complete.Stream.WriteByte(1);
            complete.Complete();
            using (PendingFile last = new(path, 1)) last.Complete();
            Assert.Equal(3, Directory.GetFiles(folder.Path).Length);
            complete.Keep();
            writing.Stream.WriteByte(2);
            writing.Complete();
            writing.Keep();
        }
        Assert.Equal([2], File.ReadAllBytes(path));
        Assert.Equal([kept, path], Directory.GetFiles(folder.Path).Order(StringComparer.Ordinal));
    }
}
