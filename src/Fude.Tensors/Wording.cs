using System.Globalization;
using System.Text.Json;
using Fude.Shared;

namespace Fude.Tensors;

/// <summary>What is said of files and settings to whoever runs the program, in his language: Japanese where CurrentUICulture is, English elsewhere.</summary>
/// <remarks>A caller's mistake that no file and no setting can provoke, such as tensors of unlike shapes, is told in English alone.</remarks>
internal static class Wording
{
    // By its name: without ICU a culture knows no more of itself.
    public static string Say(string english, string japanese) =>
        CultureInfo.CurrentUICulture.Name.Split('-')[0].Equals("ja", StringComparison.OrdinalIgnoreCase) ? japanese : english;

    /// <summary>What is wrong with JSON, with line and byte from 1 where they are known: .NET says them from 0 and in English. No full stop.</summary>
    public static string WhatIsWrong(Exception mistake)
    {
        string what = mistake.Message.Split(" LineNumber:")[0].TrimEnd('.');
        what = Say(what, JsonWords.Japanese(what));
        return mistake is JsonException { LineNumber: { } line, BytePositionInLine: { } at }
            ? Say($"line {line + 1}, byte {at + 1}: {what}", $"{line + 1} 行目の {at + 1} バイト目: {what}") : what;
    }
}
