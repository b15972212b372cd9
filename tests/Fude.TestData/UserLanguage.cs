using System.Globalization;
using System.Text.RegularExpressions;

namespace Fude.TestData;

/// <summary>What the libraries say to whoever runs the program, in the user's language: Japanese or English.</summary>
public static partial class UserLanguage
{
    /// <summary>Has tests read English, whoever runs them.</summary>
    public static void BeEnglish() => CultureInfo.CurrentUICulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;

    /// <summary>Does something in a language; other tests go on in theirs.</summary>
    /// <param name="culture">The user's culture, such as "ja".</param>
    /// <param name="work">What is done.</param>
    public static T In<T>(string culture, Func<T> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        CultureInfo before = CultureInfo.CurrentUICulture;
        CultureInfo.CurrentUICulture = new CultureInfo(culture);
        try
        {
            return work();
        }
        finally
        {
            CultureInfo.CurrentUICulture = before;
        }
    }

    /// <summary>Requires that something fails, with a message that has the one text in English and the other in Japanese.</summary>
    public static void Fails(Func<object?> work, string english, string japanese)
    {
        ArgumentNullException.ThrowIfNull(work);
        foreach ((string culture, string expected) in ((string, string)[])[("en", english), ("ja", japanese)])
        {
            string said = In(culture, () => MessageOf(work));
            if (!said.Contains(expected, StringComparison.Ordinal)) throw new InvalidOperationException($"Under '{culture}' it says: {said}\nexpected: {expected}");
        }

        static string MessageOf(Func<object?> work)
        {
            try
            {
                _ = work();
            }
            catch (Exception e)
            {
                return e.Message;
            }
            throw new InvalidOperationException("Nothing failed.");
        }
    }

    /// <summary>The places in an assembly's sources, file:line, where what is wrong with a user's files is told in one language alone.</summary>
    /// <param name="assembly">Its folder below src.</param>
    public static IReadOnlyList<string> OneLanguageIn(string assembly)
    {
        string folder = Path.Combine(TestFolders.Repository, "src", assembly);
        List<string> places = [];
        foreach (string file in Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            string path = Path.GetRelativePath(folder, file);
            if (path.Split(Path.DirectorySeparatorChar)[0] is "bin" or "obj") continue;
            string source = File.ReadAllText(file);
            foreach (Match match in OneLanguage().Matches(source))
                places.Add(FormattableString.Invariant($"{path}:{1 + source.AsSpan(0, match.Index).Count('\n')}"));
        }
        return places;
    }

    // new X("…", new X($"…", and X Broken(…) => new($"…": a text where Say("…", "…") should be.
    [GeneratedRegex("""
        (new\s+(InvalidData|NotSupported|FileNotFound|DirectoryNotFound|IO|EndOfStream|Divergence)Exception\(
        |\b(InvalidData|NotSupported|FileNotFound|DirectoryNotFound|IO|EndOfStream|Divergence)Exception\s+\w+\([^)]*\)\s*=>\s*new\()
        \s*([$@]*"|string\.Create\b|FormattableString\b)
        """, RegexOptions.IgnorePatternWhitespace | RegexOptions.CultureInvariant)]
    private static partial Regex OneLanguage();
}
