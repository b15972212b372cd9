using System.Text;
using System.Text.Json;
using Fude.Models;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Cli.Tests;

public sealed class PromptWarningsTests
{
    private static readonly Tokenizer Bare = Tokenizer.Load(TestFolders.FindGolden("tokenizers/spm-unigram-llmjp-like/tokenizer.model")!);

    public static TheoryData<string> Japanese => new(
        "こんにちは、世界。", "テスト", "日本語の文字コードは難しい。", "吾輩は猫である。名前はまだ無い。", "東京都千代田区", "ありがとう");

    [Theory, MemberData(nameof(Japanese))]
    public void UTF8_read_as_another_encoding_is_mojibake(string text)
    {
        Assert.Empty(KindsOf(text));
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Assert.Contains("mojibake", KindsOf(Encoding.Latin1.GetString(bytes)));
        Assert.Contains("mojibake", KindsOf(In(1252).GetString(bytes)));
        Assert.Contains("mojibake", KindsOf(In(932).GetString(bytes)));
        Assert.Contains("mojibake", KindsOf($"### 指示:\n{In(932).GetString(bytes)}\n\n### 応答:\n"));
    }

    [Theory]
    [InlineData("あ\uFFFDう")]
    [InlineData("ã\u0081\u0082")]              // a single あ
    [InlineData("ã‚ã„")]                      // あい without its bytes 81
    [InlineData("縺ゅ縺")]
    [InlineData("it doesnâ€™t")]
    [InlineData("､ｳ､ﾋ､ﾁ､ﾏ")]                   // EUC-JP
    [InlineData("Ã£Â\u0081Â\u0082")]          // あ, twice
    public void Other_ways_to_garble_are_seen_too(string text) => Assert.Equal(["mojibake"], KindsOf(text));

    [Theory]
    [InlineData("糸が縺れ、縺れに縺れて縺れ縺れた。")]
    [InlineData("縺れる")]
    [InlineData("繧繝縁の畳と繧繝錦、繧繝・錦の繧繝・彩色")]
    [InlineData("« été » « blé » là-bas, ça et là — garçon’s café…")]
    [InlineData("São Paulo, amanhã” não; NAÇÃO, Ângela")]
    [InlineData("ﾊﾝｶｸｶﾀｶﾅ､ｱｲｳ｡ｴ･ｵ･ｶ")]
    [InlineData("薔薇の髑髏、魑魅魍魎、憂鬱、顰蹙、蹂躙、齟齬、纏繞、縷縷、絢爛、繽紛")]
    [InlineData("値は±0.5°、×2、÷3、§4、¶5")]
    [InlineData("問い：これは何ですか（答えよ）＃１　［注］＜参考＞")]
    [InlineData("a <b>bold</b> [ABC] x<y")]
    public void A_text_that_is_only_unusual_gives_no_warning(string text) => Assert.Empty(KindsOf(text));

    [Theory]
    [InlineData("### 応答：\n", "### 応答：", "### 応答:")]
    [InlineData("### 回答:", "### 回答:", "### 回答：")]
    [InlineData("＃＃＃　指示：\n", "＃＃＃　指示：", "### 指示:")]
    [InlineData("［INST］ 猫 [/INST]", "［INST］", "[INST]")]
    [InlineData("[INST] ＜＜SYS＞＞", "＜＜SYS＞＞", "<<SYS>>")]
    [InlineData("[INST] 猫 [／INST]", "[／INST]", "[/INST]")]
    public void A_marker_in_another_width_is_named_with_the_right_one(string text, string found, string meant)
    {
        PromptWarning warning = Assert.Single(Of(text));
        Assert.Equal("lookalike", warning.Kind);
        Assert.Contains(found, warning.Message, StringComparison.Ordinal);
        Assert.Contains($"'{meant}'", warning.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_the_formats_write_has_no_look_alikes_and_no_mojibake()
    {
        foreach (PromptFormat format in PromptFormat.All)
            Assert.DoesNotContain(KindsOf(format.Write("質問", "入力").Text), kind => kind is "lookalike" or "mojibake");
    }

    [Fact]
    public void The_golden_lines_are_no_mojibake()
    {
        string[] lines = File.ReadAllLines(TestFolders.FindGolden("tokenizers/lines.jsonl")!);
        Assert.All(lines.Select(line => JsonDocument.Parse(line).RootElement)
            .Select(line => line.GetProperty("text").GetString()!).Where(text => !text.Contains('\uFFFD', StringComparison.Ordinal)),
            text => Assert.DoesNotContain("mojibake", KindsOf(text)));
    }

    private static IReadOnlyList<PromptWarning> Of(string text) => PromptWarnings.Of(Bare, text, Bare.Explain(text, addSpecialTokens: false));

    private static IEnumerable<string> KindsOf(string text) => Of(text).Select(warning => warning.Kind);

    private static Encoding In(int codePage) => CodePagesEncodingProvider.Instance.GetEncoding(codePage)!;
}
