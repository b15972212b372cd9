namespace Fude.TestData;

/// <summary>Where the reference values and the real tokenizers are.</summary>
/// <remarks>
/// <c>tests/Golden</c> is committed and always there. <c>shared</c> beside the checkout holds more of the same kind and third-party
/// tokenizer files that are not committed: tests over it skip, and say so, when it is not there.
/// </remarks>
public static class TestFolders
{
    /// <summary>The checkout's root: the folder of fude.slnx.</summary>
    public static string Repository { get; } = FindRepository();

    /// <summary>The committed golden values.</summary>
    public static string Golden { get; } = Path.Combine(Repository, "tests", "Golden");

    /// <summary>The folder "shared" beside the checkout, or null.</summary>
    public static string? Shared { get; } = FindShared();

    /// <summary>A folder or file below shared/data; null when it is not there.</summary>
    public static string? SharedData(string relativePath) => InShared(Path.Combine("data", relativePath));

    /// <summary>A golden folder or file: the committed one, else the one in shared, else null.</summary>
    public static string? FindGolden(string relativePath)
    {
        string committed = Path.Combine(Golden, relativePath);
        return File.Exists(committed) || Directory.Exists(committed) ? committed : InShared(Path.Combine("golden", relativePath));
    }

    /// <summary>Names of all folders below a golden folder, committed or in shared, in ordinal order.</summary>
    public static IReadOnlyList<string> GoldenFolders(string relativePath)
    {
        SortedSet<string> names = new(StringComparer.Ordinal);
        foreach (string? root in (string?[])[Path.Combine(Golden, relativePath), InShared(Path.Combine("golden", relativePath))])
        {
            if (root is null || !Directory.Exists(root)) continue;
            foreach (string folder in Directory.EnumerateDirectories(root)) names.Add(Path.GetFileName(folder));
        }
        return [.. names];
    }

    private static string? InShared(string relativePath)
    {
        if (Shared is null) return null;
        string path = Path.Combine(Shared, relativePath);
        return File.Exists(path) || Directory.Exists(path) ? path : null;
    }

    private static string FindRepository()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "fude.slnx"))) return folder.FullName;
        throw new DirectoryNotFoundException($"No folder above {AppContext.BaseDirectory} holds fude.slnx: run the tests from a checkout.");
    }

    private static string? FindShared()
    {
        string path = Path.GetFullPath(Path.Combine(Repository, "..", "shared"));
        return Directory.Exists(Path.Combine(path, "golden")) ? path : null;
    }
}
