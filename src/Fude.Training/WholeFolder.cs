namespace Fude.Training;

/// <summary>A folder that is there whole or not at all: it is written beside its place, under a name that begins with a dot, and renamed.</summary>
/// <remarks>No system renames a folder over another that holds files, so the old one steps aside first (.NAME.fude.old). A process that is killed between
/// the two renames leaves both under such names, whole; <see cref="Heal"/> puts the new one in its place.</remarks>
internal static class WholeFolder
{
    /// <summary>Writes a folder anew. What was there stays until all of the new one is written.</summary>
    /// <param name="path">The folder; where it is a link, what it leads to is replaced.</param>
    /// <param name="write">Writes it into the folder it is given.</param>
    /// <param name="stays">Which files and folders of the old one the new one gets too, where it has none of that name; null for none.</param>
    /// <exception cref="IOException">The disk is full, for instance; what was there stays as it is.</exception>
    public static void Write(string path, Action<string> write, Predicate<string>? stays = null)
    {
        path = PlaceOf(path);
        _ = Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        string pending = Aside(path), old = $"{pending}.old";
        Heal(path, stays);
        try
        {
            write(pending);
            if (Directory.Exists(path)) Directory.Move(path, old);
            try
            {
                Directory.Move(pending, path);
            }
            catch when (Directory.Exists(old))
            {
                Directory.Move(old, path);
                throw;
            }
        }
        catch (Exception e)
        {
            if (Directory.Exists(pending)) Directory.Delete(pending, recursive: true);
            // Nobody knows the name that it had meanwhile.
            if (e.Message.Contains(pending, StringComparison.Ordinal))
            {
                string message = e.Message.Replace(pending, path, StringComparison.Ordinal);
                if (e is IOException) throw new IOException(message, e.HResult);
                if (e is UnauthorizedAccessException) throw new UnauthorizedAccessException(message, e);
            }
            throw;
        }
        Discard(old, path, stays);
    }

    /// <summary>Clears away what a process left that was killed in <see cref="Write"/>: a half-written folder goes, a whole one gets its place.</summary>
    public static void Heal(string path, Predicate<string>? stays = null)
    {
        path = PlaceOf(path);
        string pending = Aside(path), old = $"{pending}.old";
        // The old one steps aside when the new one is complete, and only then.
        if (Directory.Exists(old) && !Directory.Exists(path)) Directory.Move(Directory.Exists(pending) ? pending : old, path);
        Discard(old, path, stays);
        if (Directory.Exists(pending)) Directory.Delete(pending, recursive: true);
    }

    /// <summary>Deletes a folder: first it is none any more, then it is gone; a kill in between leaves no half of one.</summary>
    public static void Drop(string path)
    {
        string doomed = $"{Aside(path)}.old";
        if (Directory.Exists(doomed)) Directory.Delete(doomed, recursive: true);
        Directory.Move(path, doomed);
        Directory.Delete(doomed, recursive: true);
    }

    private static void Discard(string old, string path, Predicate<string>? stays)
    {
        if (!Directory.Exists(old)) return;
        foreach (string entry in stays is null ? [] : Directory.GetFileSystemEntries(old))
        {
            string place = Path.Combine(path, Path.GetFileName(entry));
            if (!stays!(Path.GetFileName(entry)) || Path.Exists(place)) continue;
            if (Directory.Exists(entry)) Directory.Move(entry, place);
            else File.Move(entry, place);
        }
        Directory.Delete(old, recursive: true);
    }

    private static string PlaceOf(string path)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return new DirectoryInfo(full) is { LinkTarget: not null } link ? link.ResolveLinkTarget(returnFinalTarget: true)!.FullName : full;
    }

    // A name that nobody else gives.
    private static string Aside(string path) => Path.Combine(Path.GetDirectoryName(path)!, $".{Path.GetFileName(path)}.fude");
}
