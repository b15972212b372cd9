using System.Globalization;

namespace Fude.Tensors;

/// <summary>What is said of files and settings to whoever runs the program, in his language: Japanese where CurrentUICulture is, English elsewhere.</summary>
/// <remarks>A caller's mistake that no file and no setting can provoke, such as tensors of unlike shapes, is told in English alone.</remarks>
internal static class Wording
{
    // By its name: without ICU a culture knows no more of itself.
    public static string Say(string english, string japanese) =>
        CultureInfo.CurrentUICulture.Name.Split('-')[0].Equals("ja", StringComparison.OrdinalIgnoreCase) ? japanese : english;
}
