using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class CandidateTrieTests
{
    internal static CandidateSet SetOf(IEnumerable<int[]> pieces, Func<int[], double>? score = null)
    {
        int[][] sorted = [.. pieces.OrderBy(p => p, Comparer<int[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)))];
        return new CandidateSet
        {
            Characters = [.. sorted.SelectMany(p => p)],
            Starts = [0, .. sorted.Select((_, i) => sorted.Take(i + 1).Sum(p => p.Length))],
            Scores = [.. sorted.Select(p => score?.Invoke(p) ?? 0)],
        };
    }

    internal static List<int[]> RandomPieces(Random random, int alphabet, int count, int longest)
    {
        Dictionary<string, int[]> pieces = [];
        for (int i = 0; i < count; i++)
        {
            int[] piece = new int[random.Next(1, longest + 1)];
            for (int k = 0; k < piece.Length; k++) piece[k] = 1 + Math.Min(random.Next(alphabet), random.Next(alphabet));
            pieces[string.Join(' ', piece)] = piece;
        }
        return [.. pieces.Values];
    }

    [Theory]
    [InlineData(1, 3, 20)]
    [InlineData(2, 30, 500)]
    [InlineData(3, 3000, 5000)]
    public void Every_piece_is_found_and_nothing_else(int seed, int alphabet, int count)
    {
        Random random = new(seed);
        CandidateSet set = SetOf(RandomPieces(random, alphabet, count, longest: 6));
        CandidateTrie trie = new(set, alphabet + 1);
        for (int piece = 0; piece < set.Count; piece++) Assert.Equal(piece, Find(set[piece]));
        HashSet<string> known = [.. Enumerable.Range(0, set.Count).Select(p => string.Join(' ', set[p].ToArray()))];
        foreach (int[] other in RandomPieces(random, alphabet, count, longest: 7))
            if (!known.Contains(string.Join(' ', other))) Assert.Equal(-1, Find(other));

        int Find(ReadOnlySpan<int> text)
        {
            int node = 0;
            foreach (int character in text)
            {
                int child = trie.Nodes[node].Base + character;
                if (trie.Nodes[child].Check != node) return -1;
                node = child;
            }
            return trie.Nodes[node].Piece;
        }
    }

    [Fact]
    public void Text_is_cut_exactly_where_no_piece_reaches_across()
    {
        Random random = new(4);
        for (int round = 0; round < 50; round++)
        {
            List<int[]> pieces = RandomPieces(random, 6, 12, longest: 4);
            CandidateTrie trie = new(SetOf(pieces), 7);
            int[] text = new int[60];
            for (int i = 0; i < text.Length; i++) text[i] = random.Next(1, 7);
            bool[] cuts = new bool[text.Length];
            trie.MarkCuts(text, cuts);
            for (int i = 1; i < text.Length; i++)
            {
                bool crossed = pieces.Any(p => Enumerable.Range(Math.Max(0, i - p.Length + 1), Math.Min(i, p.Length - 1))
                    .Any(start => start + p.Length > i && text.AsSpan(start).StartsWith(p)));
                Assert.Equal(!crossed, cuts[i]);
            }
        }
    }
}
