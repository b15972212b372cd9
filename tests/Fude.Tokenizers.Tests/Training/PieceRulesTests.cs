using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class PieceRulesTests
{
    private static readonly TokenizerTrainerOptions Plain = new();

    private static int[] CodePoints(string text) => [.. text.EnumerateRunes().Select(r => r.Value)];

    private static bool IsValid(string piece, TokenizerTrainerOptions options) => new PieceRules(options).IsValid(CodePoints(piece));

    [Theory]
    [InlineData("東京タワー", true)]          // kanji, kana and ー count as one script
    [InlineData("読んだ。", false)]
    [InlineData("。」", true)]
    [InlineData("▁the", true)]
    [InlineData("the▁", false)]
    [InlineData("▁▁", false)]
    [InlineData("in▁the", false)]
    [InlineData("2024", true)]
    [InlineData("F1", false)]
    [InlineData("か\u3099く", true)]         // a combining mark has the script of what it stands on
    [InlineData("abcdefghijklmnopq", false)]  // 17 characters
    [InlineData("𠮷野", true)]
    public void Pieces_are_valid_as_in_SentencePiece(string piece, bool valid) => Assert.Equal(valid, IsValid(piece, Plain));

    [Fact]
    public void Each_option_opens_or_closes_its_own_kind_of_piece()
    {
        Assert.False(IsValid("20", Plain with { SplitDigits = true }));
        Assert.True(IsValid("2", Plain with { SplitDigits = true }));
        Assert.False(IsValid("２０", Plain with { SplitDigits = true }));
        Assert.True(IsValid("F1", Plain with { SplitByNumber = false }));
        Assert.True(IsValid("読んだ。", Plain with { SplitByUnicodeScript = false }));
        Assert.True(IsValid("▁in▁the", Plain with { SplitByWhitespace = false }));
        Assert.False(IsValid("in▁the▁", Plain with { SplitByWhitespace = false }));
        Assert.True(IsValid("▁▁▁", Plain with { AllowWhitespaceOnlyPieces = true }));
        Assert.False(IsValid("▁▁a", Plain with { AllowWhitespaceOnlyPieces = true }));
        Assert.False(IsValid("▁▁▁", Plain with { AllowWhitespaceOnlyPieces = true, WhitespaceRuns = 24 }));
        Assert.True(IsValid("the▁", Plain with { TreatWhitespaceAsSuffix = true }));
        Assert.False(IsValid("▁the", Plain with { TreatWhitespaceAsSuffix = true }));
        Assert.True(IsValid("abcdefghijklmnopq", Plain with { MaxPieceLength = 17 }));
    }

    [Theory]
    [InlineData(true, true, true, false)]
    [InlineData(false, true, true, false)]
    [InlineData(true, false, true, true)]
    [InlineData(true, true, false, true)]
    [InlineData(false, false, false, true)]
    public void No_valid_piece_crosses_a_cut(bool byWhitespace, bool byScript, bool byNumber, bool whitespaceOnly)
    {
        int[] some = CodePoints("あ漢ｶー。、▁▁a1２\u3099é…𠮷");
        foreach (bool suffix in (bool[])[false, true])
        {
            PieceRules rules = new(Plain with
            {
                SplitByWhitespace = byWhitespace,
                SplitByUnicodeScript = byScript,
                SplitByNumber = byNumber,
                AllowWhitespaceOnlyPieces = whitespaceOnly,
                TreatWhitespaceAsSuffix = suffix,
                SplitDigits = byScript && byNumber && whitespaceOnly,
            });
            Random random = new(7);
            int[] text = new int[400];
            for (int i = 0; i < text.Length; i++) text[i] = some[random.Next(some.Length)];
            bool[] cuts = new bool[text.Length];
            rules.MarkCuts(text, cuts);
            for (int start = 0; start < text.Length; start++)
            {
                // A mark at the beginning of a piece has no script there, but that of what it stands on in the text.
                int first = text.AsSpan(start).TrimStart((int)PieceRules.Space) is [int c, ..] ? c : 0;
                if (UnicodeScripts.Of(first) == UnicodeScripts.Inherited) continue;
                for (int length = 2; length <= 5 && start + length <= text.Length; length++)
                    if (rules.IsValid(text.AsSpan(start, length))) Assert.DoesNotContain(true, cuts[(start + 1)..(start + length)]);
            }
            Assert.Contains(false, cuts[1..]);
        }
    }
}
