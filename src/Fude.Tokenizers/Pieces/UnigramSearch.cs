using System.Diagnostics;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Pieces;

/// <summary>
/// The segmentation of greatest probability under a unigram model: Viterbi's algorithm over the lattice of all pieces.
/// Kudo, "Subword Regularization", 2018, arXiv:1804.10959.
/// </summary>
/// <remarks>
/// Sums follow the reference, because equal or nearly equal segmentations are told apart by rounding. SentencePiece stores its sums as
/// float32 but compares a new sum in double; Hugging Face's library has double throughout. In both the first best wins. The lattice is
/// never stored: time is O(length · longest piece), memory one small node for each character since the last place that no piece crosses.
/// </remarks>
internal sealed class UnigramSearch
{
    private const double UnknownPenalty = 10;

    private readonly PieceTrie _trie;
    private readonly double[] _scores;
    private readonly double _unknownScore;
    private readonly bool _single;
    private readonly int _unknownId;

    /// <summary>Prepares the search.</summary>
    /// <param name="pieces">What may stand in text, with its id.</param>
    /// <param name="scores">Log-probabilities by id.</param>
    /// <param name="lowestScore">The lowest one; an unknown character has 10 less.</param>
    /// <param name="unknownId">The id of unknown text.</param>
    /// <param name="single">Whether sums are float32, as SentencePiece has them.</param>
    internal UnigramSearch(IEnumerable<(string Text, int Id)> pieces, double[] scores, double lowestScore, int unknownId, bool single)
    {
        _trie = new(pieces);
        _scores = scores;
        _unknownScore = single ? (float)((float)lowestScore - UnknownPenalty) : lowestScore - UnknownPenalty;
        _single = single;
        _unknownId = unknownId;
    }

    /// <summary>Receives the pieces of the best segmentation in order; an unknown character has the unknown id.</summary>
    internal interface IReceiver
    {
        void Add(int id, int start, int end);
    }

    /// <summary>Cuts [start, end) of well-formed text.</summary>
    internal void Run<TReceiver>(ReadOnlySpan<char> text, int start, int end, Lattice lattice, ref TReceiver receiver)
        where TReceiver : struct, IReceiver, allows ref struct
    {
        if (_single) Run<Single, TReceiver>(text, start, end, lattice, ref receiver);
        else Run<Double, TReceiver>(text, start, end, lattice, ref receiver);
    }

    private void Run<TPrecision, TReceiver>(ReadOnlySpan<char> text, int start, int end, Lattice lattice, ref TReceiver receiver)
        where TPrecision : struct, IPrecision
        where TReceiver : struct, IReceiver, allows ref struct
    {
        PieceTrie trie = _trie;
        double[] scores = _scores;
        int origin = start;          // no piece crosses it, and what is before it has been given away
        int reach = start;           // the farthest end of any piece so far
        double unknownScore = _unknownScore;
        Node[] nodes = lattice.Reserve(Lattice.FlushLength * 2);
        nodes[0] = new() { Score = 0, Start = start, Id = -1 };
        for (int position = start; position < end;)
        {
            if (position == reach && position - origin >= Lattice.FlushLength)
            {
                double carried = nodes[position - origin].Score;
                GiveAway(nodes, origin, position, ref receiver);
                origin = position;
                nodes[0] = new() { Score = carried, Start = position, Id = -1 };
            }
            double soFar = nodes[position - origin].Score;
            int characterEnd = position + (char.IsHighSurrogate(text[position]) ? 2 : 1);
            bool hasCharacter = false;
            int trieNode = PieceTrie.Root;
            for (int at = position; at < end && trie.Step(text[at], ref trieNode, out int id);)
            {
                at++;
                if (id < 0) continue;
                hasCharacter |= at == characterEnd;
                if (at > reach) reach = Reach(ref nodes, lattice, origin, reach, at);
                Offer<TPrecision>(ref nodes[at - origin], scores[id] + soFar, position, id);
            }
            if (!hasCharacter)
            {
                if (characterEnd > reach) reach = Reach(ref nodes, lattice, origin, reach, characterEnd);
                Offer<TPrecision>(ref nodes[characterEnd - origin], TPrecision.Round(unknownScore + soFar), position, _unknownId);
            }
            position = characterEnd;
        }
        GiveAway(nodes, origin, end, ref receiver);
    }

    // Makes the nodes up to the place at, which no piece has reached before.
    private static int Reach(ref Node[] nodes, Lattice lattice, int origin, int reach, int at)
    {
        if (at - origin >= nodes.Length) nodes = lattice.Reserve(at - origin + 1);
        while (reach < at) nodes[++reach - origin].Start = -1;
        return reach;
    }

    private static void Offer<TPrecision>(ref Node node, double score, int start, int id) where TPrecision : struct, IPrecision
    {
        if (node.Start >= 0 && !(score > node.Score)) return;
        node = new() { Score = TPrecision.Round(score), Start = start, Id = id };
    }

    private static void GiveAway<TReceiver>(Node[] nodes, int origin, int end, ref TReceiver receiver)
        where TReceiver : struct, IReceiver, allows ref struct
    {
        // Turn the links round, from "where the piece before ends" to "where this piece ends".
        int next = end;
        for (int at = end; at > origin;)
        {
            ref Node node = ref nodes[at - origin];
            Debug.Assert(node.Start >= origin && node.Start < at, "Every character ends a piece or an unknown.");
            int previous = node.Start;
            node.Start = next;
            next = at;
            at = previous;
        }
        for (int from = origin, at = next; from < end;)
        {
            ref Node node = ref nodes[at - origin];
            receiver.Add(node.Id, from, at);
            from = at;
            at = node.Start;
        }
    }

    private interface IPrecision
    {
        static abstract double Round(double sum);
    }

    private readonly struct Single : IPrecision
    {
        public static double Round(double sum) => (float)sum;
    }

    private readonly struct Double : IPrecision
    {
        public static double Round(double sum) => sum;
    }

    internal struct Node
    {
        public double Score;
        public int Start;
        public int Id;
    }

    /// <summary>The nodes of one search; reused.</summary>
    internal sealed class Lattice
    {
        /// <summary>Pieces are given away at the first clean place after so many characters: the nodes then stay in the nearest cache.</summary>
        internal const int FlushLength = 256;

        private Node[] _nodes = new Node[1024];

        internal long CapacityBytes => _nodes.Length * 16L;

        internal Node[] Reserve(int count)
        {
            if (count > _nodes.Length) Array.Resize(ref _nodes, Math.Max(count, _nodes.Length * 2));
            return _nodes;
        }
    }
}
