using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>Writes a file so that there is the old one or the whole new one, never a part.</summary>
internal static class AtomicFile
{
    private const int TooLarge = 27;        // EFBIG

    /// <summary>Writes beside the file, has the bytes put on the disk, and renames.</summary>
    internal static void Write(string path, ReadOnlySpan<byte> bytes) => Rename(Aside(path, bytes), path);

    /// <summary>Writes files that belong together: all of them are the old ones or all the new ones.</summary>
    /// <remarks>A process that is killed while it gives them their names leaves some of the new ones and, under other names, the old.</remarks>
    internal static void Write(IReadOnlyList<(string Path, byte[] Bytes)> files)
    {
        List<(string Temporary, string Path)> written = [];
        List<(string Aside, string Path)> old = [];
        try
        {
            // What a full disk or a folder of a file's name makes fail, fails here.
            foreach ((string path, byte[] bytes) in files)
            {
                if (Directory.Exists(path)) throw new IOException(Say($"{path} cannot be written: it is a folder.", $"{path} はフォルダーのため、書き込めません。"));
                written.Add((Aside(path, bytes), path));
            }
            foreach ((_, string path) in written)
            {
                if (!File.Exists(path)) continue;
                string aside = $"{Path.GetFullPath(path)}.{Guid.NewGuid():N}.old";
                File.Move(path, aside);
                old.Add((aside, path));
            }
            foreach ((string temporary, string path) in written) Rename(temporary, path);
        }
        catch
        {
            foreach ((string temporary, _) in written) File.Delete(temporary);
            foreach ((string aside, string path) in old) File.Move(aside, path, overwrite: true);
            throw;
        }
        foreach ((string aside, _) in old) File.Delete(aside);
    }

    private static string Aside(string path, ReadOnlySpan<byte> bytes)
    {
        string full = Path.GetFullPath(path), temporary = $"{full}.{Guid.NewGuid():N}.tmp";
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        try
        {
            using FileStream file = new(temporary, FileMode.CreateNew, FileAccess.Write);
            file.Write(bytes);
            file.Flush(flushToDisk: true);
            return temporary;
        }
        catch (Exception failure)
        {
            File.Delete(temporary);
            ThrowByName(failure, temporary, path);
            throw;
        }
    }

    private static void Rename(string temporary, string path)
    {
        try
        {
            File.Move(temporary, Path.GetFullPath(path), overwrite: true);
        }
        catch (Exception failure)
        {
            File.Delete(temporary);
            ThrowByName(failure, temporary, path);
            throw;
        }
    }

    // Nobody knows the name that a file has meanwhile.
    private static void ThrowByName(Exception failure, string temporary, string path)
    {
        // What .NET makes of EFBIG.
        if (failure is ArgumentOutOfRangeException) throw new IOException(Say($"{path} is too large for the disk.", $"{path} はディスクに対して大きすぎます。"), TooLarge);
        if (failure is FileNotFoundException) throw new IOException(Say($"{path} cannot be written.", $"{path} に書き込めません。"), failure);
        if (!failure.Message.Contains(temporary, StringComparison.Ordinal)) return;
        string message = failure.Message.Replace(temporary, path, StringComparison.Ordinal);
        if (failure is IOException) throw new IOException(message, failure.HResult);
        if (failure is UnauthorizedAccessException) throw new UnauthorizedAccessException(message, failure);
    }
}
