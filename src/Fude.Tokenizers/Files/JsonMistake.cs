using System.Buffers;
using System.Text;
using System.Text.Json;
using Fude.Shared;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Files;

/// <summary>What is wrong with a text that should be JSON, and where: lines and characters from 1, as people and editors count.</summary>
/// <remarks>System.Text.Json counts lines and bytes from 0 and says so, in English, at the end of its messages.</remarks>
internal static class JsonMistake
{
    /// <summary>"line 2, column 5: what"; of a text without anything in it, that it is empty.</summary>
    /// <param name="mistake">What the reader said.</param>
    /// <param name="json">The text it read.</param>
    public static string InFile(JsonException mistake, ReadOnlySpan<byte> json)
    {
        if (IsEmpty(json)) return What(mistake, json);
        (long line, int column) = PlaceOf(mistake, json);
        string what = What(mistake, json);
        return Say($"line {line}, column {column}: {what}", $"{line} 行目の {column} 文字目: {what}");
    }

    /// <summary>The same of a text on one line, whose number is told already: "column 5: what".</summary>
    /// <param name="mistake">What the reader said.</param>
    /// <param name="json">The text it read.</param>
    /// <param name="before">Bytes that stand before it in its line.</param>
    public static string InLine(JsonException mistake, ReadOnlySpan<byte> json, int before = 0)
    {
        if (IsEmpty(json)) return What(mistake, json);
        int column = before + PlaceOf(mistake, json).Column;
        string what = EndsWithin(json)
            ? Say("the object does not end on its line; JSONL has one object a line, as jq -c . writes them", "オブジェクトが行の終わりまでに閉じていません。JSONL は 1 行に 1 オブジェクトです（jq -c . で変換できます）")
            : What(mistake, json);
        return Say($"column {column}: {what}", $"{column} 文字目: {what}");
    }

    /// <summary>What alone, where the place is told in another way; of a text without anything in it, that it is empty.</summary>
    public static string What(JsonException mistake, ReadOnlySpan<byte> json) => IsEmpty(json) ? Say("it is empty", "空です") : InWords(WithCharacter(English(mistake), mistake, json));

    /// <summary>What alone, without a full stop; also of another exception that reading JSON ends with.</summary>
    public static string What(Exception mistake) => InWords(English(mistake));

    private static string InWords(string what) => Say(what, JsonWords.Japanese(what));

    private static string English(Exception mistake) =>
        mistake.Message.Split(" LineNumber:")[0].Replace(" Change the reader options.", "", StringComparison.Ordinal).TrimEnd('.');

    // .NET names a character beyond ASCII by its first byte, as in '0xE6'.
    private static string WithCharacter(string what, JsonException mistake, ReadOnlySpan<byte> json)
    {
        long start = 0;
        for (long line = mistake.LineNumber ?? 0; line > 0; line--) start += json[(int)start..].IndexOf((byte)'\n') + 1;
        long at = start + (mistake.BytePositionInLine ?? 0);
        if (at >= json.Length) return what;
        ReadOnlySpan<byte> rest = json[(int)at..];
        return rest[0] >= 0x80 && Rune.DecodeFromUtf8(rest, out Rune character, out _) == OperationStatus.Done
            ? what.Replace($"'0x{rest[0]:X2}'", $"'{character}'", StringComparison.Ordinal)
            : what;
    }

    // Whether nothing is wrong but that more has to follow, as in JSON that is laid out on several lines. These end between two words of it: one that
    // ends within a string was cut.
    private static bool EndsWithin(ReadOnlySpan<byte> json)
    {
        try
        {
            Utf8JsonReader reader = new(json, isFinalBlock: false, state: default);
            while (reader.Read())
            {
            }
            return (reader.CurrentDepth > 0 || reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray) && !json[(int)reader.BytesConsumed..].Contains((byte)'"');
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static bool IsEmpty(ReadOnlySpan<byte> json) => json.Trim(" \t\r\n"u8).IsEmpty;

    private static (long Line, int Column) PlaceOf(JsonException mistake, ReadOnlySpan<byte> json)
    {
        int start = 0;
        for (long line = mistake.LineNumber ?? 0; line > 0; line--) start += json[start..].IndexOf((byte)'\n') + 1;
        int end = (int)Math.Min(json.Length, start + (mistake.BytePositionInLine ?? 0));
        // What ends too early ends with its last word, not with the blank lines after it.
        int last = json.TrimEnd(" \t\r\n"u8).Length;
        if (end > last) (start, end) = (json[..last].LastIndexOf((byte)'\n') + 1, last);
        return (1 + json[..start].Count((byte)'\n'), 1 + PackedLines.Characters(json[start..end]));
    }
}
