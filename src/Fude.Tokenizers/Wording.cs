using System.Globalization;
using System.Text.Json;

namespace Fude.Tokenizers;

/// <summary>What is said to whoever runs the program, in the user's language: Japanese where CurrentUICulture is, English elsewhere.</summary>
/// <remarks>A caller's mistake that no file, no text and no option can provoke is told in English alone.</remarks>
internal static class Wording
{
    // By its name: without ICU a culture knows no more of itself.
    public static string Say(string english, string japanese) =>
        CultureInfo.CurrentUICulture.Name.Split('-')[0].Equals("ja", StringComparison.OrdinalIgnoreCase) ? japanese : english;

    /// <summary>What a JSON value is, in words that go into a sentence without spaces around the Japanese ones.</summary>
    public static string KindOf(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => Say("an object", "オブジェクト"),
        JsonValueKind.Array => Say("a list", "リスト"),
        JsonValueKind.String => Say("a string", "文字列"),
        JsonValueKind.Number => Say("a number", "数"),
        JsonValueKind.Null => Say("null", " null "),
        _ => Say("true or false", "真偽値"),
    };

    /// <summary>What the JSON value is that begins with a token.</summary>
    public static string KindOf(JsonTokenType beginning) => KindOf(beginning switch
    {
        JsonTokenType.StartObject => JsonValueKind.Object,
        JsonTokenType.StartArray => JsonValueKind.Array,
        JsonTokenType.String => JsonValueKind.String,
        JsonTokenType.Number => JsonValueKind.Number,
        JsonTokenType.Null => JsonValueKind.Null,
        _ => JsonValueKind.True,
    });
}
