using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class SeedPiecesTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Seeds_are_the_repeats_that_no_longer_one_stands_for_with_their_frequencies(int seed)
    {
        using TemporaryFolder folder = new();
        Random random = new(seed);
        string[] lines = [.. Enumerable.Range(0, 60).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => (char)('あ' + random.Next(3)))))];
        lines = [.. lines, .. lines[..10], .. lines[..5]];         // stretches that occur several times stand in the array once
        TokenizerTrainerOptions options = new() { AddDummyPrefix = false, CharacterCoverage = 1, MaxPieceLength = 6, Threads = 2 };
        PieceRules rules = new(options);
        TrainingCorpus corpus = TrainingCorpus.Read(new(folder.WriteLines("a.txt", lines)), options, rules, null, null, default);

        // Naive: every substring of at most 6 characters that occurs twice, and not always with the same character (or none) after it.
        Dictionary<string, List<char>> nexts = [];
        int place = 0;
        foreach (string line in lines)
            for (int i = 0; i < line.Length; i++)
                for (int length = 1; length <= 6 && i + length <= line.Length; length++)
                {
                    if (!nexts.TryGetValue(line.Substring(i, length), out List<char>? list)) nexts[line.Substring(i, length)] = list = [];
                    list.Add(i + length < line.Length ? line[i + length] : (char)(0x100 + (place++ % 2)));       // no two ends are alike
                }
        Dictionary<string, int> naive = nexts
            .Where(p => p.Key.Length == 1 || (p.Value.Count >= 2 && p.Value.Distinct().Count() > 1) || (p.Value.Count >= 2 && p.Value.All(c => c < 0x200)))
            .ToDictionary(p => p.Key, p => p.Value.Count);
        naive.Add("▁", 1);          // which every vocabulary has

        CandidateSet seeds = SeedPieces.Find(corpus, rules, options, null, default);
        double total = 0;
        Dictionary<string, double> found = [];
        for (int i = 0; i < seeds.Count; i++) found.Add(corpus.StringOf(seeds[i]), seeds.Scores[i]);
        Assert.Equal(naive.Keys.Order(StringComparer.Ordinal), found.Keys.Order(StringComparer.Ordinal));
        total = naive.Sum(p => (double)p.Value * p.Key.Length);
        foreach ((string piece, double score) in found) Assert.Equal(naive[piece] * piece.Length / total, Math.Exp(score), 1e-9);

        // In order, a prefix before what it begins; and with room for few, the best ones.
        for (int i = 1; i < seeds.Count; i++) Assert.True(seeds[i - 1].SequenceCompareTo(seeds[i]) < 0);
        CandidateSet few = SeedPieces.Find(corpus, rules, options with { SeedPieces = 8 }, null, default);
        Assert.Equal(8, few.Count);
        IEnumerable<int> best = naive.Where(p => p.Key.Length > 1).Select(p => p.Value * p.Key.Length).OrderDescending().Take(4);
        Assert.Equal(best, Enumerable.Range(0, 8).Select(i => corpus.StringOf(few[i])).Where(p => p.Length > 1).Select(p => naive[p] * p.Length).OrderDescending());
    }
}
