using System.Globalization;

namespace Fude.Tokenizers;

/// <summary>What is said to whoever runs the program, in the user's language: Japanese where CurrentUICulture is, English elsewhere.</summary>
/// <remarks>A caller's mistake that no file, no text and no option can provoke is told in English alone.</remarks>
internal static class Wording
{
    // By its name: without ICU a culture knows no more of itself.
    public static string Say(string english, string japanese) =>
        CultureInfo.CurrentUICulture.Name.Split('-')[0].Equals("ja", StringComparison.OrdinalIgnoreCase) ? japanese : english;
}
