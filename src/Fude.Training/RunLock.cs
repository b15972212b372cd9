using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A run's folder, held by one process at a time: the same command started twice must not write to the same files.</summary>
/// <remarks>The file <c>.lock</c> in it is held open; the system releases it however the process ends.</remarks>
internal sealed class RunLock : IDisposable
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
        catch (IOException e) when (File.Exists(file))
        {
            throw new IOException(Say(
                $"{folder}: another process is working on the run in this folder. Wait for it, end it, or give another folder.",
                $"{folder}: 別のプロセスがこのフォルダーの実行を進めています。終わるのを待つか、終了させるか、別のフォルダーを指定してください。"), e);
        }
    }

    public void Dispose() => _file.Dispose();
}
