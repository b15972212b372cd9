using System.Globalization;
using System.Text.Json;
using Fude.TestData;

namespace Fude.Generation.Tests;

/// <summary>Reads the reference values of tests/Golden.</summary>
internal static class GoldenJson
{
    public static JsonElement Read(string relativePath) =>
        JsonDocument.Parse(File.ReadAllBytes(TestFolders.FindGolden(relativePath)!)).RootElement;

    public static int[] Integers(JsonElement array) => [.. array.EnumerateArray().Select(e => e.GetInt32())];

    public static float[] Floats(JsonElement array) => [.. array.EnumerateArray().Select(Float)];

    public static float Float(JsonElement number) => number.ValueKind == JsonValueKind.Number
        ? number.GetSingle()
        : float.Parse(number.GetString()!, CultureInfo.InvariantCulture);

    /// <summary>1e-5, relative above 1; infinities exact.</summary>
    public static void AssertNear(float[] expected, float[] found)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (float.IsFinite(expected[i])) Assert.Equal(expected[i], found[i], 1e-5f * Math.Max(1, Math.Abs(expected[i])));
            else Assert.Equal(expected[i], found[i]);
        }
    }

    /// <summary>The candidates as a row of logits, −∞ where a token was taken away.</summary>
    public static float[] Scatter(Candidates candidates, int vocabulary)
    {
        float[] logits = new float[vocabulary];
        Array.Fill(logits, float.NegativeInfinity);
        for (int i = 0; i < candidates.Ids.Length; i++) logits[candidates.Ids[i]] = candidates.Logits[i];
        return logits;
    }
}
