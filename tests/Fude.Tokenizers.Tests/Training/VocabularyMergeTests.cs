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
        // Given pieces and single characters are the least that can be asked for, and are enough.
        int least = all.Pieces.Count(piece => piece.Kind != PieceKind.Normal || piece.Text.EnumerateRunes().Count() == 1);
        UserLanguage.Fails(() => VocabularyMerge.Merge(both, _mix, Options, most: least - 1), $"VocabularySize is {least - 1}, but the vocabularies have {least - 260} single characters, which stay, and the options ask for 260 further pieces: at least {least}. ",
            $"VocabularySize が {least - 1} ですが、必ず残す 1 文字の語 {least - 260} 個と、オプションで決まる 260 語が必要です（合わせて {least} 以上）。");
        Assert.Equal(least, VocabularyMerge.Merge(both, _mix, Options, most: least).Pieces.Count);
    }

    [Fact]
    public void Spaces_have_a_piece_also_where_no_vocabulary_has_one()
    {
        VocabularyPiece[] pieces = [.. "猫は本を".Select((c, id) => new VocabularyPiece(id, $"{c}", -1, PieceKind.Normal))];
        TokenizerTrainerOptions options = new() { AddDummyPrefix = false, Threads = 1 };
        TrainingText text = new(_folder.WriteLines("short.txt", ["猫は本を", "猫 は"]));
        TrainedTokenizer merged = VocabularyMerge.Merge([pieces], text, options);
        Assert.Equal(["▁", "は", "を", "本", "猫"], merged.Pieces.Where(piece => piece.Kind == PieceKind.Normal).Select(piece => piece.Text).Order(StringComparer.Ordinal));
        merged.SaveSentencePiece(_folder["merged.model"]);
        Tokenizer tokenizer = Tokenizer.Load(_folder["merged.model"]);
        Assert.Equal("猫 は本", tokenizer.Decode(tokenizer.Encode("猫 は本", addSpecialTokens: false)));
        // The same where one has it, and where it is given.
        Assert.Equal(merged.Pieces, VocabularyMerge.Merge([[.. pieces, new(9, "▁", -30, PieceKind.Normal)]], text, options).Pieces);
        Assert.Single(VocabularyMerge.Merge([pieces], text, options with { UserDefinedPieces = ["▁"] }).Pieces, piece => piece.Text == "▁");
    }

    [Fact]
    public void Digits_stay_alone_where_that_is_wished_and_no_other_piece_is_lost()
    {
        string[] texts = ["2", "0", "3", "2023", "２０", "▁20", "年", "2023年", "F1", "F", "1", "▁東京", "long▁piece▁of▁many▁characters", "カナかな漢字"];
        VocabularyPiece[] pieces = [.. texts.Select((text, id) => new VocabularyPiece(id, text, -1, PieceKind.Normal))];
        TokenizerTrainerOptions options = new() { ControlPieces = ["<2>"], UserDefinedPieces = ["100"], Threads = 1 };
        TrainingText text = new(_folder.WriteLines("years.txt", ["2023年", "東京"]));
        string[] Learnt(bool splits) => [.. VocabularyMerge.Merge([pieces], text, options with { SplitDigits = splits }).Pieces.Skip(2 + 3 + 256).Select(piece => piece.Text).Order(StringComparer.Ordinal)];
        IEnumerable<string> all = texts.Select(VocabularyMerge.WithoutSpace).Append("▁").Distinct();
        Assert.Equal(all.Order(StringComparer.Ordinal), Learnt(splits: false));
        Assert.Equal(all.Except(["2023", "２０", "20", "2023年", "F1"]).Order(StringComparer.Ordinal), Learnt(splits: true));
    }

    [Fact]
    public void What_was_read_is_told_with_the_result()
    {
        VocabularyPiece[] pieces = [.. Train(_japanese, 540, 8).Pieces];
        string broken = _folder.Write("broken.jsonl", "{\"text\": \"猫は本を読んだ\"}\n{\n");
        TrainingTextReport report = VocabularyMerge.Merge([pieces], new(broken) { SkipBadLines = 1 }, Options).Report;
        Assert.Equal((1L, 1L, 0), (report.Lines, report.BadLines, report.Thinnings));
        Assert.Equal([new(broken, 2)], report.FirstBadLines);

        // With pieces of every two characters there is nowhere to cut, and every line is a stretch of its own.
        string[] characters = [.. Enumerable.Range(0, 30).Select(i => $"{(char)('一' + i)}")];
        pieces = [.. characters.Concat(characters.SelectMany(left => characters.Select(right => left + right))).Select((text, id) => new VocabularyPiece(id, text, -5, PieceKind.Normal))];
        Random random = new(1);
        TrainingText many = new(_folder.WriteLines("many.txt", Enumerable.Range(0, 300).Select(_ => string.Concat(Enumerable.Range(0, 12).Select(_ => characters[random.Next(30)])))));
        Assert.True(VocabularyMerge.Merge([pieces], many, Options with { HeldCharacters = 1000 }, most: 700).Report.Thinnings > 0);
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
