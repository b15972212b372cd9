using System.Text.Json;
using Fude.TestData;

namespace Fude.Tokenizers.Tests.Training;

/// <summary>Small texts to train on, the same in every run.</summary>
internal static class TrainingSentences
{
    private static readonly string[] Subjects = ["吾輩", "猫", "主人", "細君", "迷亭", "寒月君", "車屋の黒", "三毛子", "東京の学生", "𠮷野さん"];
    private static readonly string[] Places = ["東京", "東京都", "京都", "書斎", "学校", "公園", "カフェー", "図書館", "Tokyo", "New York"];
    private static readonly string[] Things = ["本", "新聞", "手紙", "ﾋﾞｰﾙ", "牛乳", "トースト", "piano", "model", "学校の本", "日本語の本"];
    private static readonly string[] Deeds = ["読んだ", "読んでいる", "書いた", "書いている", "食べた", "食べている", "見た", "見ていた", "考えた", "考えている"];

    /// <summary>Sentences like 「猫は東京で本を読んだ。」, some with English, digits, spaces and rare characters.</summary>
    internal static string[] Make(int count, int seed)
    {
        Random random = new(seed);
        string[] lines = new string[count];
        for (int i = 0; i < count; i++)
        {
            string line = $"{Pick(Subjects)}は{Pick(Places)}で{Pick(Things)}を{Pick(Deeds)}。";
            lines[i] = random.Next(8) switch
            {
                0 => $"{line}{random.Next(1900, 2030)}年{random.Next(1, 13)}月のことである。",
                1 => $"the {Pick(Things)} of {Pick(Places)} is read.  {line}",
                2 => $"「{line}」と{Pick(Subjects)}が云った…",
                3 => line + (char)random.Next(0x5000, 0x5100),
                _ => line,
            };
        }
        return lines;

        string Pick(string[] words) => words[random.Next(words.Length)];
    }

    /// <summary>The golden lines that are one line.</summary>
    internal static string[] GoldenLines() =>
    [
        .. File.ReadLines(TestFolders.FindGolden("tokenizers/lines.jsonl")!)
            .Select(line => JsonDocument.Parse(line).RootElement.GetProperty("text").GetString()!),
    ];

    internal static string WriteLines(this TemporaryFolder folder, string name, IEnumerable<string> lines) =>
        folder.Write(name, string.Concat(lines.Select(line => line + "\n")));
}
