namespace Fude.Tokenizers.Files;

/// <summary>Where a path leads through links: two paths are of one file where they lead to the same place.</summary>
internal static class RealPath
{
    // As many as Linux follows before it calls them a loop.
    private const int MostLinks = 40;

    /// <summary>How names are compared: only Linux surely takes large and small letters for different ones.</summary>
    internal static StringComparison Names => OperatingSystem.IsLinux() ? StringComparison.Ordinal : StringComparison.OrdinalIgnoreCase;

    /// <summary>The full path without a link in it, and without a separator at its end. What is not there yet has the place where it would be written.</summary>
    internal static string Of(string path)
    {
        int links = MostLinks;
        return Path.TrimEndingDirectorySeparator(Of(Path.GetFullPath(path), ref links));
    }

    /// <summary>Whether two paths lead to the same place.</summary>
    internal static bool AreOne(string path, string other) => Of(path).Equals(Of(other), Names);

    private static string Of(string full, ref int links)
    {
        if (Path.GetDirectoryName(full) is not { } parent) return full;
        // The folder first: what a link says is relative to the one it really lies in.
        string folder = Of(parent, ref links), place = Path.Combine(folder, Path.GetFileName(full));
        FileSystemInfo there = Directory.Exists(place) ? new DirectoryInfo(place) : new FileInfo(place);
        if (links == 0 || there.LinkTarget is not { } target) return place;
        links--;
        return Of(Path.GetFullPath(target, folder), ref links);
    }
}
