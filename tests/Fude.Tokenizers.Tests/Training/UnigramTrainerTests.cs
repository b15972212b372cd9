using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class UnigramTrainerTests : IDisposable
{
    private static readonly TokenizerTrainerOptions Small = new() { VocabularySize = 520, CharacterCoverage = 0.999, SplitDigits = true, Threads = 1 };
    private readonly TemporaryFolder _folder = new();
    private readonly string[] _lines = TrainingSentences.Make(1500, 1);

    public void Dispose() => _folder.Dispose();

    private TrainingText Text => new(_folder.WriteLines("text.txt", _lines));

    [Theory]
    [InlineData(468)]
    [InlineData(520)]
    [InlineData(700)]
    public void The_vocabulary_is_exactly_as_large_as_asked_for_and_its_probabilities_sum_to_1(int size)
    {
        TrainedTokenizer trained = UnigramTrainer.Train(Text, Small with { VocabularySize = size });
        Assert.Equal(size, trained.Pieces.Count);
        Assert.Equal(size, trained.Pieces.Select(p => p.Text).Distinct().Count());
        Assert.Equal(Enumerable.Range(0, size), trained.Pieces.Select(p => p.Id));
        Assert.Equal(1, trained.Pieces.Where(p => p.Kind == PieceKind.Normal).Sum(p => Math.Exp(p.Score)), 5e-4);
    }

    [Fact]
    public void The_result_does_not_depend_on_the_number_of_threads()
    {
        TrainedTokenizer one = UnigramTrainer.Train(Text, Small);
        foreach (int threads in (int[])[2, 3, 8]) Assert.Equal(one.Pieces, UnigramTrainer.Train(Text, Small with { Threads = threads }).Pieces);
    }

    [Fact]
    public void Scores_are_such_that_their_sums_are_exact_in_float32() =>
        Assert.All(UnigramTrainer.Train(Text, Small).Pieces, p => Assert.Equal(Math.Round(p.Score * 1024d), p.Score * 1024d));

    [Fact]
    public void Words_are_learnt()
    {
        HashSet<string> pieces = [.. UnigramTrainer.Train(Text, Small).Pieces.Select(p => p.Text)];
        Assert.Contains(pieces, p => p.Contains("東京", StringComparison.Ordinal));
        Assert.Contains("読んで", string.Concat(pieces), StringComparison.Ordinal);
        Assert.DoesNotContain(pieces, p => p.Length > 1 && p.Any(char.IsAsciiDigit) && !p.StartsWith('<'));
        Assert.DoesNotContain(pieces, p => p.Contains('。', StringComparison.Ordinal) && p.Any(c => c is >= 'ぁ' and <= 'ヿ'));
    }

    [Fact]
    public void Every_line_comes_back_through_the_files()
    {
        UnigramTrainer.Train(Text, Small).SaveSentencePiece(Path.Combine(_folder.Path, "tokenizer.model"));
        Tokenizer tokenizer = Tokenizer.Load(Path.Combine(_folder.Path, "tokenizer.model"));
        foreach (string line in _lines) Assert.Equal(line, tokenizer.Decode(tokenizer.Encode(line, addSpecialTokens: false)));
    }

    [Fact]
    public void The_alphabet_covers_as_much_as_asked_for_and_no_more()
    {
        long total = _lines.Sum(l => l.EnumerateRunes().Count() + 1L);
        Dictionary<string, long> counts = _lines.SelectMany(l => ("▁" + l.Replace(' ', '▁')).EnumerateRunes()).GroupBy(r => r.ToString()).ToDictionary(g => g.Key, g => g.LongCount());
        foreach (double coverage in (double[])[0.95, 0.99, 1])
        {
            TrainedTokenizer trained = UnigramTrainer.Train(Text, Small with { CharacterCoverage = coverage, VocabularySize = 700 });
            long[] covered = [.. trained.Pieces.Where(p => p.Kind == PieceKind.Normal && p.Text.EnumerateRunes().Count() == 1).Select(p => counts[p.Text])];
            Assert.Equal((double)covered.Sum() / total, trained.Report.Coverage, 1e-9);
            Assert.True(covered.Sum() >= coverage * total);
            Assert.True(covered.Sum() - covered.Min() < coverage * total);
        }
    }

    [Fact]
    public void Required_characters_are_in_whatever_their_number()
    {
        TrainedTokenizer trained = UnigramTrainer.Train(Text, Small with { RequiredCharacters = "鬱𩸽 ", CharacterCoverage = 0.9 });
        HashSet<string> pieces = [.. trained.Pieces.Select(p => p.Text)];
        Assert.All(["鬱", "𩸽", "▁"], required => Assert.Contains(required, pieces));
    }

    [Theory]
    [InlineData("unigram", false)]
    [InlineData("unigram", true)]
    [InlineData("bpe", false)]
    [InlineData("bpe", true)]
    public void Spaces_come_back_as_spaces_however_rare_they_are_in_the_text(string model, bool hasOne)
    {
        string[] words = ["吾輩は", "猫である", "名前は", "まだ無い", "猫は", "無い"];
        Random random = new(1);
        string[] lines = [.. Enumerable.Range(0, 600).Select(_ => string.Concat(Enumerable.Range(0, 4).Select(_ => words[random.Next(words.Length)]))), hasOne ? "は は" : "は"];
        TokenizerTrainerOptions options = new() { VocabularySize = 278, AddDummyPrefix = false, Threads = 1 };
        TrainingText text = new(_folder.WriteLines("rare.txt", lines));
        TrainedTokenizer trained = model == "bpe" ? BpeTrainer.Train(text, options) : UnigramTrainer.Train(text, options);
        Assert.Equal(278, trained.Pieces.Count);
        Assert.Single(trained.Pieces, piece => piece.Text == "▁");
        trained.Save(_folder.Path);
        foreach (string file in TrainedTokenizer.FileNames.Take(2))
        {
            Tokenizer read = Tokenizer.Load(_folder[file]);
            Assert.Equal("猫 は  猫", read.Decode(read.Encode("猫 は  猫", addSpecialTokens: false)));
        }
        // Where it is a piece of another kind there is no second one of its name.
        TrainedTokenizer own = UnigramTrainer.Train(text, options with { UserDefinedPieces = ["▁"] });
        Assert.Equal(PieceKind.UserDefined, Assert.Single(own.Pieces, piece => piece.Text == "▁").Kind);
    }

    [Fact]
    public void Special_pieces_have_the_first_ids_and_are_never_learnt()
    {
        string[] lines = [.. _lines.Select((line, i) => i % 3 == 0 ? line + "<s>[名前]" + line : line)];
        TrainedTokenizer trained = UnigramTrainer.Train(new(_folder.WriteLines("special.txt", lines)), Small with
        {
            PaddingPiece = "<pad>",
            ControlPieces = ["<EOD>"],
            UserDefinedPieces = ["[名前]", "\n"],
            WhitespaceRuns = 4,
            VocabularySize = 600,
        });
        Assert.Equal(
            ["<unk>", "<s>", "</s>", "<pad>", "<EOD>", "[名前]", "\n", "<0x00>"], trained.Pieces.Take(8).Select(p => p.Text));
        Assert.Equal(["<0xFF>", "▁▁▁▁", "▁▁▁", "▁▁"], trained.Pieces.Skip(7 + 255).Take(4).Select(p => p.Text));
        Assert.DoesNotContain(trained.Pieces.Skip(7 + 256 + 3), p => p.Text.AsSpan().ContainsAny("[<>"));
    }

    [Fact]
    public void Cutting_text_anew_leaves_the_likelihood_as_it_is()
    {
        PieceRules rules = new(Small);
        TrainingCorpus corpus = TrainingCorpus.Read(Text, Small, rules, null, null, default);
        CandidateSet seeds = SeedPieces.Find(corpus, rules, Small with { SeedPieces = 500 }, null, default);
        CandidateModel model = new(seeds, corpus.Alphabet.Length);
        TrainingCorpus recut = corpus.Recut(model.Trie, 2, default);
        Assert.True(recut.Text.Length < corpus.Text.Length);
        (long[] expected, double unit, double likelihood) = UnigramTrainer.Expect(corpus, model, double.NaN, 1, default);
        (long[] again, _, double likelihoodAgain) = UnigramTrainer.Expect(recut, model, -3, 2, default);
        Assert.Equal(likelihood, likelihoodAgain, 1e-6);
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i] / unit, again[i] / unit, 1e-3);
    }

    [Fact]
    public void Each_EM_step_over_fixed_pieces_makes_the_text_more_likely()
    {
        TrainedTokenizer trained = UnigramTrainer.Train(Text, Small);
        List<double> likelihoods = [];
        IReadOnlyList<VocabularyPiece> flat = [.. trained.Pieces.Select(p => p with { Score = p.Kind == PieceKind.Normal ? -6 : 0 })];
        IReadOnlyList<VocabularyPiece> estimated = UnigramTrainer.Reestimate(
            flat, Text, Small, steps: 6, new Heard(p => { if (p.Phase == TrainingPhase.Finishing) likelihoods.Add(p.LogLikelihoodPerCharacter); }));
        Assert.Equal(6, likelihoods.Count);
        for (int i = 1; i < likelihoods.Count; i++) Assert.True(likelihoods[i] >= likelihoods[i - 1] - 1e-9);
        Assert.True(likelihoods[^1] > likelihoods[0] + 0.1);
        Assert.Equal(trained.Pieces.Select(p => (p.Id, p.Text, p.Kind)), estimated.Select(p => (p.Id, p.Text, p.Kind)));
        Assert.Equal(1, estimated.Where(p => p.Kind == PieceKind.Normal).Sum(p => Math.Exp(p.Score)), 5e-4);
        Assert.All(estimated.Where(p => p.Kind != PieceKind.Normal), p => Assert.Equal(0, p.Score));
    }

    [Fact]
    public void Reestimating_a_merged_vocabulary_finds_the_frequencies_of_the_mixed_text()
    {
        // Nothing is ambiguous here: a is 3 of 4 pieces, bc the other.
        string file = _folder.WriteLines("mixed.txt", ["aaabc", "aaabc"]);
        IReadOnlyList<VocabularyPiece> pieces =
            [new(0, "<unk>", 0, PieceKind.Unknown), new(1, "a", -1, PieceKind.Normal), new(2, "bc", -9, PieceKind.Normal), new(3, "", 0, PieceKind.Normal)];
        IReadOnlyList<VocabularyPiece> estimated = UnigramTrainer.Reestimate(pieces, new(file), Small with { AddDummyPrefix = false, ByteFallback = false });
        Assert.Equal(0.75, Math.Exp(estimated[1].Score), 5e-4);
        Assert.Equal(0.25, Math.Exp(estimated[2].Score), 5e-4);
        Assert.Equal(pieces[3], estimated[3]);
    }

    [Fact]
    public void Reestimating_refuses_a_piece_that_is_given_twice() =>
        Assert.Contains("'a'", Assert.Throws<ArgumentException>(() => UnigramTrainer.Reestimate(
            [new(0, "a", 0, PieceKind.Normal), new(1, "a", 0, PieceKind.Normal)], Text, Small)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_vocabulary_larger_than_the_text_allows_is_an_error_that_says_how_large_it_may_be()
    {
        TrainingText text = new(_folder.WriteLines("tiny.txt", ["猫は猫である", "猫も猫である"]));
        ArgumentException error = Assert.Throws<ArgumentException>(() => UnigramTrainer.Train(text, Small with { VocabularySize = 1000, CharacterCoverage = 1 }));
        int most = int.Parse(error.Message.Split("yields ")[1].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(most, UnigramTrainer.Train(text, Small with { VocabularySize = most, CharacterCoverage = 1 }).Pieces.Count);
        Assert.Throws<ArgumentException>(() => UnigramTrainer.Train(text, Small with { VocabularySize = most + 1, CharacterCoverage = 1 }));
    }

    [Fact]
    public void A_vocabulary_smaller_than_the_alphabet_is_an_error_that_says_how_large_it_must_be()
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => UnigramTrainer.Train(Text, Small with { VocabularySize = 300 }));
        int least = int.Parse(error.Message.Split("at least ")[1].Split('.')[0], System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(least, UnigramTrainer.Train(Text, Small with { VocabularySize = least }).Pieces.Count);
    }

    [Fact]
    public void Reestimating_on_text_of_other_characters_is_an_error_that_names_it()
    {
        string other = _folder.WriteLines("other.txt", ["the cat reads", "a book"]);
        IReadOnlyList<VocabularyPiece> pieces = [new(0, "▁", -1, PieceKind.Normal), new(1, "猫", -1, PieceKind.Normal)];
        foreach (bool hasPrefix in (bool[])[true, false])
            UserLanguage.Fails(() => UnigramTrainer.Reestimate(pieces, new(other), Small with { AddDummyPrefix = hasPrefix }),
                $"{other}: no piece of the vocabulary has a character of this text", $"{other}: このテキストの文字は語彙に 1 つもないため");
    }

    [Fact]
    public void Text_without_any_line_is_an_error()
    {
        string file = _folder.Write("empty.txt", "\n\n");
        Assert.Contains(file, Assert.Throws<InvalidDataException>(() => UnigramTrainer.Train(new(file), Small)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Progress_goes_through_the_phases_and_never_back()
    {
        List<TrainingProgress> heard = [];
        UnigramTrainer.Train(Text, Small, new Heard(heard.Add));
        Assert.Equal(
            [TrainingPhase.Reading, TrainingPhase.Seeding, TrainingPhase.Pruning, TrainingPhase.Finishing], heard.Select(p => p.Phase).Distinct());
        foreach (IGrouping<TrainingPhase, TrainingProgress> phase in heard.GroupBy(p => p.Phase))
        {
            Assert.Equal(phase.Select(p => p.Fraction).Order(), phase.Select(p => p.Fraction));
            Assert.All(phase, p => Assert.InRange(p.Fraction, 0, 1));
        }
        Assert.Equal(1500, heard[^1].Lines);
        Assert.Equal(_lines.Sum(l => l.EnumerateRunes().Count() + 1L), heard.Last(p => p.Phase == TrainingPhase.Reading).Characters);
    }

    [Theory]
    [InlineData(TrainingPhase.Reading)]
    [InlineData(TrainingPhase.Seeding)]
    [InlineData(TrainingPhase.Pruning)]
    [InlineData(TrainingPhase.Finishing)]
    public void Training_can_be_cancelled_in_every_phase(TrainingPhase phase)
    {
        using CancellationTokenSource source = new();
        Heard canceller = new(p => { if (p.Phase == phase && (p.Fraction < 1 || phase == TrainingPhase.Reading)) source.Cancel(); });
        Assert.ThrowsAny<OperationCanceledException>(() => UnigramTrainer.Train(Text, Small with { Threads = 2 }, canceller, source.Token));
    }

    [Theory]
    [InlineData(0.5, -1.9635100260214235)]
    [InlineData(1, -0.5772156649015329)]
    [InlineData(10, 2.251752589066721)]
    [InlineData(1e6, 13.815510057964191)]
    public void Digamma_has_its_known_values(double x, double expected) =>
        Assert.Equal(expected, UnigramTrainer.Digamma(x), 1e-12);

    [Fact]
    public void Options_out_of_range_are_refused()
    {
        foreach (TokenizerTrainerOptions wrong in (TokenizerTrainerOptions[])
        [
            Small with { VocabularySize = 0 }, Small with { CharacterCoverage = 1.1 }, Small with { MaxPieceLength = 0 }, Small with { Threads = -1 },
            Small with { ShrinkingFactor = 1 }, Small with { SubIterations = 0 }, Small with { WhitespaceRuns = 1 }, Small with { VocabularySize = 259 },
            Small with { ControlPieces = ["<s>"] }, Small with { UserDefinedPieces = [""] }, Small with { UserDefinedPieces = ["a b"] },
            Small with { UserDefinedPieces = ["\ud800"] }, Small with { HeldCharacters = 1 }, Small with { UnknownPiece = "<s>" },
        ]) Assert.ThrowsAny<ArgumentException>(() => UnigramTrainer.Train(Text, wrong));
    }

    [Fact]
    public void Text_beyond_the_memory_allowed_is_thinned_and_the_report_says_so()
    {
        TokenizerTrainerOptions tight = Small with { HeldCharacters = 2000 };
        TrainedTokenizer trained = UnigramTrainer.Train(Text, tight);
        Assert.True(trained.Report.Thinnings > 0);
        Assert.Equal(520, trained.Pieces.Count);
        Assert.Equal(trained.Pieces, UnigramTrainer.Train(Text, tight with { Threads = 3 }).Pieces);
        Assert.Equal(0, UnigramTrainer.Train(Text, Small).Report.Thinnings);
    }

    private sealed class Heard(Action<TrainingProgress> hear) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value) => hear(value);
    }
}
