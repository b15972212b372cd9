using System.Text.RegularExpressions;

namespace Fude.Shared;

/// <summary>The name under which a file is written before it gets its own.</summary>
/// <remarks>Compiled into Fude.Tensors and Fude.Corpus, neither of which knows the other.</remarks>
internal static partial class PendingName
{
    /// <summary>A name that no other process has, in the folder of the file. What killed ones left of such names is deleted.</summary>
    /// <param name="path">The file, whose folder is there.</param>
    /// <param name="endings">What is written behind the name; nothing where none is said.</param>
    internal static string Of(string path, params ReadOnlySpan<string> endings)
    {
        string folder = Path.GetDirectoryName(path)!, prefix = $".{Path.GetFileName(path)}.";
        foreach (string left in Directory.EnumerateFiles(folder))
        {
            string name = Path.GetFileName(left);
            if (!name.StartsWith(prefix, StringComparison.Ordinal)) continue;
            string rest = name[prefix.Length..];
            foreach (string ending in endings.IsEmpty ? [""] : endings)
                if (rest.EndsWith(ending, StringComparison.Ordinal) && Random().IsMatch(rest[..^ending.Length]) && IsLeft(left)) File.Delete(left);
        }
        return Path.Combine(folder, prefix + Path.GetRandomFileName());
    }

    // Whoever still writes a file has it locked.
    private static bool IsLeft(string file)
    {
        try
        {
            new FileStream(file, FileMode.Open, FileAccess.Write, FileShare.None, 1).Dispose();
            return true;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    // What Path.GetRandomFileName makes.
    [GeneratedRegex(@"^[a-z0-9]{8}\.[a-z0-9]{3}\z", RegexOptions.CultureInvariant)]
    private static partial Regex Random();
}
