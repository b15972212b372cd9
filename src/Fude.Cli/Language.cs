using System.Globalization;
using System.Runtime.InteropServices;

namespace Fude.Cli;

/// <summary>The two languages of the program's own words: Japanese where the user's locale is Japanese, English elsewhere.</summary>
internal static partial class Language
{
    private static readonly string[] Variables = ["LC_ALL", "LC_MESSAGES", "LANG"];       // as POSIX ranks them

    /// <summary>Whether the user reads Japanese.</summary>
    public static bool IsJapanese { get; private set; }

    /// <summary>Takes the language from the environment: LC_ALL, LC_MESSAGES, LANG; on Windows, where none of them is set, from the user's
    /// settings.</summary>
    public static void Choose(Func<string, string?> environment)
    {
        string? name = Variables.Select(environment).FirstOrDefault(value => !string.IsNullOrEmpty(value));
        if (name is null && OperatingSystem.IsWindows()) name = WindowsLocale();
        IsJapanese = name is not null && name.StartsWith("ja", StringComparison.OrdinalIgnoreCase);
        // What the libraries say of data in both languages goes by this.
        CultureInfo.CurrentUICulture = CultureInfo.DefaultThreadCurrentUICulture = new CultureInfo(IsJapanese ? "ja" : "en");
        CultureInfo.CurrentCulture = CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
    }

    /// <summary>The text in the user's language.</summary>
    public static string Say(string english, string japanese) => IsJapanese ? japanese : english;

    /// <summary>A number of things in English: 1 document, 2 documents.</summary>
    public static string Count(long number, string thing) =>
        string.Create(CultureInfo.InvariantCulture, $"{number:N0} {thing}{(number == 1 ? "" : "s")}");

    private static unsafe string? WindowsLocale()
    {
        const int longest = 85;
        char* name = stackalloc char[longest];
        return GetUserDefaultLocaleName(name, longest) > 0 ? new string(name) : null;
    }

    [LibraryImport("kernel32")]
    private static unsafe partial int GetUserDefaultLocaleName(char* name, int length);
}
