using System.Text.Json;
using Fude.TestData;

namespace Fude.Tokenizers.Tests;

/// <summary>The golden texts and what the references made of them (Golden/tokenizers/README.md says who wrote them).</summary>
internal static class GoldenTokens
{
    private static readonly Lazy<string[]> AllLines = new(() =>
        [.. Rows("tokenizers/lines.jsonl").Select(row => row.GetProperty("text").GetString()!)]);

    internal static IReadOnlyList<string> Lines => AllLines.Value;

    internal static IEnumerable<JsonElement> Rows(string relativePath) =>
        File.ReadLines(TestFolders.FindGolden(relativePath)!).Where(line => line.Length > 0).Select(line => JsonDocument.Parse(line).RootElement);

    internal static int[] Ids(this JsonElement row, string name = "ids") => [.. row.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];

    /// <summary>The decoded text: "true" stands for the text itself.</summary>
    internal static string Decoded(this JsonElement row, string name, string text)
    {
        JsonElement decoded = row.GetProperty(name);
        return decoded.ValueKind == JsonValueKind.True ? text : decoded.GetString()!;
    }

    /// <summary>Committed SentencePiece models.</summary>
    internal static IEnumerable<string> SentencePieceFolders =>
        TestFolders.GoldenFolders("tokenizers").Where(name => TestFolders.FindGolden($"tokenizers/{name}/tokenizer.model") is not null);
}
