using System.Globalization;

namespace Fude.Training;

/// <summary>What is said of records of training data, in the user's language: Japanese where CurrentUICulture is, English elsewhere.</summary>
internal static class Wording
{
    // By its name: without ICU a culture knows no more of itself.
    public static string Say(string english, string japanese) =>
        CultureInfo.CurrentUICulture.Name.Split('-')[0].Equals("ja", StringComparison.OrdinalIgnoreCase) ? japanese : english;
}
