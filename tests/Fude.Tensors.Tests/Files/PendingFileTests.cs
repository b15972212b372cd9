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
}
