using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

/// <summary>The recipe of llm-jp's tokenizers at small scale.</summary>
public sealed class VocabularyMergeTests : IDisposable
{
    private static readonly TokenizerTrainerOptions Options = new() { SplitDigits = true, UserDefinedPieces = ["\n"], Threads = 1 };

    private readonly TemporaryFolder _folder = new();
    private readonly TrainingText _japanese, _english, _mix;

    public VocabularyMergeTests()
    {
        string ja = _folder.WriteLines("ja.txt", TrainingSentences.Make(400, 5).Where(line => !line.Contains("the ", StringComparison.Ordinal)));
        string en = _folder.WriteLines("en.txt", Enumerable.Range(0, 300).Select(i => $"the model reads a book and the cat reads {i % 7} letters"));
        (_japanese, _english, _mix) = (new(ja), new(en), new(ja, en));
    }

    [Fact]
    public void Two_vocabularies_become_one_whose_scores_are_those_of_the_mixed_text()
    {
        TrainedTokenizer japanese = Train(_japanese, 540, 8), english = Train(_english, 310, 16);
        TrainedTokenizer merged = VocabularyMerge.Merge([japanese.Pieces, english.Pieces], _mix, Options with { WhitespaceRuns = 24, ControlPieces = ["<EOD>"] });
        VocabularyPiece[] learnt = [.. merged.Pieces.Where(piece => piece.Kind == PieceKind.Normal && !piece.Text.StartsWith("▁▁", StringComparison.Ordinal))];
        Assert.Equal(
            japanese.Pieces.Concat(english.Pieces).Where(piece => piece.Kind == PieceKind.Normal).Select(piece => VocabularyMerge.WithoutSpace(piece.Text)).Distinct().Order(),
            learnt.Select(piece => piece.Text).Order());
        Assert.Equal(learnt.OrderByDescending(piece => piece.Score).Select(piece => piece.Score), learnt.Select(piece => piece.Score));
        Assert.InRange(learnt.Sum(piece => Math.Exp(piece.Score)), 0.99, 1.0001);      // the rest was that of the runs
        // Runs of spaces before what was learnt, all with the score -1.
        Assert.Equal(Enumerable.Range(2, 23).Select(length => (new string('▁', length), -1f)).Reverse(),
            merged.Pieces.Where(piece => piece.Text.StartsWith("▁▁", StringComparison.Ordinal)).Select(piece => (piece.Text, piece.Score)));

        string path = Path.Combine(_folder.Path, "merged.model");
        merged.SaveSentencePiece(path);
        Tokenizer tokenizer = Tokenizer.Load(path);
        japanese.SaveSentencePiece(path + ".ja.model");
        Tokenizer alone = Tokenizer.Load(path + ".ja.model");
        const string Text = "the cat reads 3 letters 猫は東京で本を読んだ。\n";
        Assert.Equal(Text, tokenizer.Decode(tokenizer.Encode(Text, addSpecialTokens: false)));
        Assert.True(tokenizer.Count(Text, addSpecialTokens: false) < alone.Count(Text, addSpecialTokens: false));
    }

    [Fact]
    public void A_limit_takes_the_least_probable_pieces_and_no_character()
    {
        VocabularyPiece[][] both = [[.. Train(_japanese, 540, 8).Pieces], [.. Train(_english, 310, 16).Pieces]];
        TrainedTokenizer all = VocabularyMerge.Merge(both, _mix, Options), some = VocabularyMerge.Merge(both, _mix, Options, most: all.Pieces.Count - 60);
        Assert.Equal(all.Pieces.Count - 60, some.Pieces.Count);
        HashSet<string> left = [.. some.Pieces.Select(piece => piece.Text)];
        VocabularyPiece[] gone = [.. all.Pieces.Where(piece => !left.Contains(piece.Text))];
        Assert.All(gone, piece => Assert.True(piece.Text.EnumerateRunes().Count() > 1));
        float highest = gone.Max(piece => piece.Score);
        Assert.All(all.Pieces.Where(piece => piece.Kind == PieceKind.Normal && piece.Score < highest), piece => Assert.True(piece.Text.EnumerateRunes().Count() == 1 || !left.Contains(piece.Text)));
        Assert.Contains("single characters", Assert.Throws<ArgumentException>(() => VocabularyMerge.Merge(both, _mix, Options, most: 290)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("▁東京", "東京")]
    [InlineData("▁カナ", "カナ")]
    [InlineData("▁。", "。")]
    [InlineData("▁1", "1")]
    [InlineData("▁𠮷", "𠮷")]
    [InlineData("▁the", "▁the")]
    [InlineData("▁да", "▁да")]
    [InlineData("▁", "▁")]
    [InlineData("▁▁", "▁▁")]
    [InlineData("東▁京", "東▁京")]
    public void The_space_before_a_piece_stays_where_words_are_parted_by_spaces(string piece, string expected) =>
        Assert.Equal(expected, VocabularyMerge.WithoutSpace(piece));

    [Fact]
    public void There_must_be_a_piece_to_merge() => Assert.Throws<ArgumentException>(() => VocabularyMerge.Merge([], _mix, Options));

    public void Dispose() => _folder.Dispose();

    private static TrainedTokenizer Train(TrainingText text, int size, int longest) =>
        UnigramTrainer.Train(text, Options with { VocabularySize = size, MaxPieceLength = longest });
}
