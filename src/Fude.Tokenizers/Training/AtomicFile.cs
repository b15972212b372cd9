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
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
