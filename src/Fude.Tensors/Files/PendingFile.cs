using Fude.Shared;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A file that is being written under another name beside the one it shall replace: it is there whole, or not at all.</summary>
/// <remarks>What a process left of it that was killed meanwhile goes when it is written again.</remarks>
internal sealed class PendingFile : IDisposable
{
    private readonly string _path, _temporary;
    private bool _isPending = true;

    public PendingFile(string path, long bytes)
    {
        _path = Path.GetFullPath(path);
        // Told now and by its own name: renaming at the end would fail, and name the other.
        if (Directory.Exists(_path))
            throw new IOException(Say(
                $"{path} is a folder: give the name of a file to write.", $"{path} はフォルダーです。書き出すファイルの名前を指定してください。"));
        if (Path.GetDirectoryName(_path) is not { } folder || !Directory.Exists(folder))
            throw new DirectoryNotFoundException(Say(
                $"{path}: there is no folder {Path.GetDirectoryName(_path)} to write it into.",
                $"{path}: 書き出し先のフォルダー {Path.GetDirectoryName(_path)} がありません。"));
        _temporary = PendingName.Of(_path);
        // Taking the room at once tells of a full disk before anything is computed.
        try
        {
            Stream = new FileStream(_temporary, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                // It is renamed while it is open. Elsewhere than on Windows sharing is a lock, and network file systems have an exclusive one only.
                Share = OperatingSystem.IsWindows() ? FileShare.Read | FileShare.Delete : FileShare.None,
                PreallocationSize = bytes,
                BufferSize = 1 << 16,
            });
        }
        // .NET says this in words of its own, of a name nobody knows, and with no number of the system's.
        catch (IOException e) when (bytes > 0 && e.HResult == NoSystemError)
        {
            File.Delete(_temporary);
            if (new DriveInfo(folder).AvailableFreeSpace > bytes)
                throw new IOException(Say(
                    $"{path}: the disk takes no file of {bytes} bytes: its file system, or a limit of the process, allows less",
                    $"{path}: {bytes} バイトのファイルを作れません。ファイルシステムかプロセスの上限を超えています"), e);
            throw new IOException(Say(
                $"{path}: there is no room on the disk for the {bytes} bytes of the file", $"{path}: ディスクに {bytes} バイトのファイルを書く空きがありません"), DiskFull);
        }
    }

    private static int NoSystemError { get; } = new IOException().HResult;

    // ERROR_DISK_FULL, ENOSPC.
    private static int DiskFull => OperatingSystem.IsWindows() ? unchecked((int)0x80070070) : 28;

    public FileStream Stream { get; }

    /// <summary>Puts what was written on the disk. The file stays open until it has its name: it is told from a killed process's by that.</summary>
    public void Complete() => Stream.Flush(flushToDisk: true);

    /// <summary>Gives the file its name.</summary>
    public void Keep()
    {
        File.Move(_temporary, _path, overwrite: true);
        _isPending = false;
        Stream.Dispose();
    }

    public void Dispose()
    {
        try
        {
            Stream.Dispose();       // which writes what it still holds, and fails again where the disk is full
        }
        finally
        {
            if (_isPending) File.Delete(_temporary);
            _isPending = false;
        }
    }
}
