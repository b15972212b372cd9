using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class UnigramLatticeTests
{
    private const double Unit = 1L << 40;

    private static (CandidateModel Model, List<int[]> Pieces) RandomModel(Random random, bool allCharacters)
    {
        List<int[]> pieces = CandidateTrieTests.RandomPieces(random, 3, 12, longest: 4);
        if (allCharacters)
            for (int c = 1; c <= 3; c++)
                if (!pieces.Any(p => p.Length == 1 && p[0] == c)) pieces.Add([c]);
        CandidateSet set = CandidateTrieTests.SetOf(pieces, _ => -8 * random.NextDouble());
        return (new CandidateModel(set, 4), pieces);
    }

    private static int[] RandomText(Random random, int length)
    {
        int[] text = new int[length];
        for (int i = 0; i < length; i++) text[i] = random.Next(1, 4);
        return text;
    }

    /// <summary>All segmentations: the pieces (-1: a character that is none) and the sum of their scores.</summary>
    private static IEnumerable<(int[] Pieces, double Score)> AllSegmentations(CandidateModel model, int[] text)
    {
        if (text.Length == 0)
        {
            yield return ([], 0);
            yield break;
        }
        bool single = false;
        for (int piece = 0; piece < model.Pieces.Count; piece++)
        {
            if (!text.AsSpan().StartsWith(model.Pieces[piece])) continue;
            single |= model.Pieces.Length(piece) == 1;
            foreach ((int[] rest, double score) in AllSegmentations(model, text[model.Pieces.Length(piece)..]))
                yield return ([piece, .. rest], score + model.Pieces.Scores[piece]);
        }
        if (single) yield break;
        foreach ((int[] rest, double score) in AllSegmentations(model, text[1..])) yield return ([-1, .. rest], score + model.UnknownScore);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Expectations_are_those_of_all_segmentations(bool allCharacters)
    {
        Random random = new(11);
        for (int round = 0; round < 100; round++)
        {
            (CandidateModel model, _) = RandomModel(random, allCharacters);
            int[] text = RandomText(random, random.Next(1, 9));
            (int[] Pieces, double Score)[] all = [.. AllSegmentations(model, text)];
            double total = all.Sum(s => Math.Exp(s.Score));
            double[] naive = new double[model.Pieces.Count];
            foreach ((int[] pieces, double score) in all)
                foreach (int piece in pieces)
                    if (piece >= 0) naive[piece] += 3 * Math.Exp(score) / total;

            foreach (double scale in (double[])[0, 4])
            {
                long[] expected = new long[naive.Length];
                Assert.Equal(Math.Log(total), new UnigramLattice(model, scale).Expect(text, 3, Unit, expected), 1e-9);
                for (int i = 0; i < naive.Length; i++) Assert.Equal(naive[i], expected[i] / Unit, 1e-9);
            }
            long[] inLogSpace = new long[naive.Length];
            Assert.Equal(Math.Log(total), new UnigramLattice(model, 0).ExpectInLogSpace(text, 3 * Unit, inLogSpace), 1e-9);
            for (int i = 0; i < naive.Length; i++) Assert.Equal(naive[i], inLogSpace[i] / Unit, 1e-9);
        }
    }

    [Fact]
    public void The_best_segmentation_is_the_best_of_all()
    {
        Random random = new(12);
        List<int> segmentation = [];
        for (int round = 0; round < 200; round++)
        {
            (CandidateModel model, _) = RandomModel(random, allCharacters: round % 2 == 0);
            int[] text = RandomText(random, random.Next(1, 9));
            double best = AllSegmentations(model, text).Max(s => s.Score);
            UnigramLattice lattice = new(model, 0);
            Assert.Equal(best, lattice.Best(text, segmentation), 1e-9);
            Assert.Equal(best, segmentation.Sum(p => p < 0 ? model.UnknownScore : model.Pieces.Scores[p]), 1e-9);
            Assert.Equal(text.Length, segmentation.Sum(p => p < 0 ? 1 : model.Pieces.Length(p)));
        }
    }

    [Fact]
    public void The_best_segmentation_without_a_piece_does_not_use_it()
    {
        Random random = new(13);
        List<int> segmentation = [];
        for (int round = 0; round < 100; round++)
        {
            (CandidateModel model, _) = RandomModel(random, allCharacters: true);
            UnigramLattice lattice = new(model, 0);
            for (int piece = 0; piece < model.Pieces.Count; piece++)
            {
                if (model.Pieces.Length(piece) == 1) continue;
                int[] text = model.Pieces[piece].ToArray();
                double best = AllSegmentations(model, text).Where(s => s.Pieces.Length > 1).Max(s => s.Score);
                Assert.Equal(best, lattice.Best(text, segmentation, without: piece), 1e-9);
                Assert.Equal(best, segmentation.Sum(p => model.Pieces.Scores[p]), 1e-9);
                Assert.Equal(text, segmentation.SelectMany(p => model.Pieces[p].ToArray()));
                Assert.DoesNotContain(piece, segmentation);
            }
        }
    }

    // 3000 characters underflow by far without rescaling, and with a scale that is wrong by 60 nats a character, even within a block.
    [Theory]
    [InlineData(0)]
    [InlineData(2.5)]
    [InlineData(60)]
    [InlineData(-60)]
    public void Long_texts_are_summed_as_in_log_space(double scale)
    {
        Random random = new(14);
        (CandidateModel model, _) = RandomModel(random, allCharacters: true);
        int[] text = RandomText(random, 3000);
        long[] expected = new long[model.Pieces.Count], reference = new long[model.Pieces.Count];
        const double Coarser = 1L << 30;
        double log = new UnigramLattice(model, 0).ExpectInLogSpace(text, Coarser, reference);
        Assert.Equal(log, new UnigramLattice(model, scale).Expect(text, 1, Coarser, expected), Math.Abs(log) * 1e-12);
        for (int i = 0; i < reference.Length; i++) Assert.Equal(reference[i] / Coarser, expected[i] / Coarser, 1e-5);
        Assert.Equal(text.Length, expected.Select((count, i) => count / Coarser * model.Pieces.Length(i)).Sum(), 1e-3);
    }
}
