using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class BpeTrainerTests : IDisposable
{
    private static readonly TokenizerTrainerOptions Small = new() { VocabularySize = 600, CharacterCoverage = 0.999, Threads = 1 };
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Counts every pair anew after every merge.</summary>
    private static List<string> NaiveMerges(IEnumerable<string> lines, PieceRules rules, HashSet<string> alphabet, int count)
    {
        List<List<string>> texts = [.. lines.Select(l => ("▁" + l.Replace(' ', '▁')).EnumerateRunes().Select(r => r.ToString()).ToList())];
        List<string> merges = [];
        HashSet<(string, string)> dropped = [];
        while (merges.Count < count)
        {
            Dictionary<(string Left, string Right), long> counts = [];
            foreach (List<string> text in texts)
                for (int i = 0; i + 1 < text.Count; i++)
                {
                    (string left, string right) = (text[i], text[i + 1]);
                    bool valid = rules.IsValid([.. (left + right).EnumerateRunes().Select(r => r.Value)])
                        && (left + right).EnumerateRunes().All(r => alphabet.Contains(r.ToString()));
                    if (!valid || dropped.Contains((left, right))) continue;
                    counts[(left, right)] = counts.GetValueOrDefault((left, right)) + 1;
                    if (left == right && i + 2 < text.Count && text[i + 2] == left) i++;       // aaa holds aa once
                }
            if (counts.Count == 0) break;
            ((string Left, string Right) pair, _) = counts.OrderByDescending(p => p.Value)
                .ThenBy(p => (p.Key.Left + p.Key.Right).EnumerateRunes().Count())
                .ThenBy(p => p.Key.Left + p.Key.Right, Comparer<string>.Create(ByCodePoint)).First();
            if (merges.Contains(pair.Left + pair.Right))
            {
                dropped.Add(pair);
                continue;
            }
            merges.Add(pair.Left + pair.Right);
            foreach (List<string> text in texts)
                for (int i = 0; i + 1 < text.Count; i++)
                {
                    if (text[i] != pair.Left || text[i + 1] != pair.Right) continue;
                    text[i] += text[i + 1];
                    text.RemoveAt(i + 1);
                }
        }
        return merges;

        static int ByCodePoint(string a, string b) =>
            a.EnumerateRunes().Select(r => r.Value).ToArray().AsSpan().SequenceCompareTo(b.EnumerateRunes().Select(r => r.Value).ToArray());
    }

    private static List<string> Merges(TrainedTokenizer trained) =>
        [.. trained.Pieces.Where(p => p.Kind == PieceKind.Normal && p.Text.EnumerateRunes().Count() > 1).Select(p => p.Text)];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Merges_are_those_of_counting_anew_each_time(int seed)
    {
        string[] lines = TrainingSentences.Make(120, seed);
        TrainedTokenizer trained = BpeTrainer.Train(new(_folder.WriteLines("a.txt", lines)), Small);
        HashSet<string> alphabet = [.. trained.Pieces.Where(p => p.Kind == PieceKind.Normal).Select(p => p.Text).Where(t => t.EnumerateRunes().Count() == 1)];
        List<string> merges = Merges(trained);
        Assert.True(merges.Count > 100);
        Assert.Equal(NaiveMerges(lines, new(Small), alphabet, merges.Count), merges);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Runs_of_equal_characters_are_counted_without_overlap(int seed)
    {
        Random random = new(seed);
        string[] lines = [.. Enumerable.Range(0, 30).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 14)).Select(_ => random.Next(4) == 0 ? 'ん' : 'あ')))];
        TokenizerTrainerOptions options = Small with { VocabularySize = 259 + 3 + 20, CharacterCoverage = 1 };
        List<string> merges = Merges(BpeTrainer.Train(new(_folder.WriteLines("a.txt", lines)), options));
        Assert.Equal(20, merges.Count);
        Assert.Equal(NaiveMerges(lines, new(options), ["▁", "あ", "ん"], 20), merges);
    }

    [Fact]
    public void The_vocabulary_is_exactly_as_large_as_asked_for_and_ranked()
    {
        TrainedTokenizer trained = BpeTrainer.Train(new(_folder.WriteLines("a.txt", TrainingSentences.Make(500, 1))), Small);
        Assert.Equal(600, trained.Pieces.Count);
        Assert.Equal(600, trained.Pieces.Select(p => p.Text).Distinct().Count());
        Assert.Equal(Enumerable.Range(0, 600 - 259).Select(rank => -(float)rank), trained.Pieces.Skip(259).Select(p => p.Score));
    }

    [Fact]
    public void The_result_does_not_depend_on_the_number_of_threads()
    {
        TrainingText text = new(_folder.WriteLines("a.txt", TrainingSentences.Make(500, 1)));
        TrainedTokenizer one = BpeTrainer.Train(text, Small);
        foreach (int threads in (int[])[2, 3]) Assert.Equal(one.Pieces, BpeTrainer.Train(text, Small with { Threads = threads }).Pieces);
    }

    [Fact]
    public void A_vocabulary_larger_than_the_text_allows_is_an_error_that_says_how_large_it_may_be()
    {
        TrainingText text = new(_folder.WriteLines("tiny.txt", ["猫は猫である", "猫も猫である"]));
        TokenizerTrainerOptions options = Small with { VocabularySize = 1000, CharacterCoverage = 1 };
        ArgumentException error = Assert.Throws<ArgumentException>(() => BpeTrainer.Train(text, options));
        int most = int.Parse(error.Message.Split("yields ")[1].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(most, BpeTrainer.Train(text, options with { VocabularySize = most }).Pieces.Count);
    }

    [Fact]
    public void Training_can_be_cancelled()
    {
        using CancellationTokenSource source = new();
        source.Cancel();
        TrainingText text = new(_folder.WriteLines("a.txt", TrainingSentences.Make(50, 1)));
        Assert.ThrowsAny<OperationCanceledException>(() => BpeTrainer.Train(text, Small, null, source.Token));
    }
}
