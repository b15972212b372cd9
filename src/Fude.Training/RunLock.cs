using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A run's folder, held by one process at a time: the same command started twice must not write to the same files.</summary>
/// <remarks>The file <c>.lock</c> in it is held open; the system releases it however the process ends. A file system that has no locks gives none.</remarks>
public sealed class RunLock : IDisposable
{
    private const string FileName = ".lock";

    private readonly FileStream _file;

    /// <summary>Takes the folder, which need not exist.</summary>
    /// <exception cref="IOException">Another process has it.</exception>
    public RunLock(string folder)
    {
        _ = Directory.CreateDirectory(folder);
        string file = Path.Combine(folder, FileName);
        try
        {
            _file = new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (IsHeld(e))
        {
            throw new IOException(Say(
                $"{folder}: another process is working on the run in this folder. Wait for it, end it, or give another folder.",
                $"{folder}: 別のプロセスがこのフォルダーの実行を進めています。終わるのを待つか、終了させるか、別のフォルダーを指定してください。"), e);
        }
    }

    /// <summary>Fails where a process works on the run of a folder.</summary>
    /// <exception cref="IOException">One does.</exception>
    public static void RequireFree(string folder)
    {
        if (File.Exists(Path.Combine(folder, FileName))) new RunLock(folder).Dispose();
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    // EWOULDBLOCK of Linux and of macOS, and Windows' ERROR_SHARING_VIOLATION.
    private static bool IsHeld(IOException e) => e.HResult is 11 or 35 or unchecked((int)0x80070020);
}
