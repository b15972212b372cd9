using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>Writes a file so that there is the old one or the whole new one, never a part.</summary>
internal static class AtomicFile
{
    /// <summary>Writes beside the file, has the bytes put on the disk, and renames.</summary>
    internal static void Write(string path, ReadOnlySpan<byte> bytes)
    {
        string full = Path.GetFullPath(path), temporary = $"{full}.{Guid.NewGuid():N}.tmp";
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        try
        {
            using (FileStream file = new(temporary, FileMode.CreateNew, FileAccess.Write))
            {
                file.Write(bytes);
                file.Flush(flushToDisk: true);
            }
            File.Move(temporary, full, overwrite: true);
        }
        catch (Exception failure)
        {
            File.Delete(temporary);
            // Nobody knows the name that it had meanwhile.
            if (failure is FileNotFoundException) throw new IOException(Say($"{path} cannot be written.", $"{path} に書き込めません。"), failure);
            if (!failure.Message.Contains(temporary, StringComparison.Ordinal)) throw;
            string message = failure.Message.Replace(temporary, path, StringComparison.Ordinal);
            if (failure is IOException) throw new IOException(message, failure.HResult);
            if (failure is UnauthorizedAccessException) throw new UnauthorizedAccessException(message, failure);
            throw;
        }
    }
}
