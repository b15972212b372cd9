using System.Diagnostics;

namespace Fude.Tokenizers.Training;

/// <summary>
/// All segmentations of a stretch of text into the pieces of a model. One lattice serves one thread, stretch after stretch.
/// </summary>
/// <remarks>
/// The forward-backward sums are those of log space, taken in a scaled linear space, so that an edge costs two multiplications and no
/// exponential: each character of a piece weighs e^scale more, which cancels out in every posterior, and the running sums are brought
/// back to 1 at fixed positions. Where numbers still leave the range of a double, the stretch is done again with logarithms.
/// Expected counts are fixed-point integers, so that their sums do not depend on the order of the stretches, nor on who adds them.
/// </remarks>
internal sealed unsafe class UnigramLattice
{
    private const int LeastBlock = 32;
    private const double Tiny = 1e-250, Huge = 1e250;

    private readonly CandidateModel _model;
    private readonly double[] _weights;       // e^(score + scale·length) of each piece
    private readonly double _scale, _unknownWeight;
    private readonly int _block;              // no piece is longer, so an edge crosses one rescaling at most

    private double[] _forward = [], _backward = [], _rescaling = [];
    private int[] _firstEdge = [], _edgePieces = [], _edgeEnds = [], _bestPiece = [], _bestStart = [];
    private double[] _edgeWeights = [];

    /// <param name="model">The model.</param>
    /// <param name="scale">Nats that a character is expected to cost; any number gives the same results, a near one quickly.</param>
    /// <param name="weights">What <see cref="Weights"/> gives for the model and the scale: made once, shared by all threads.</param>
    internal UnigramLattice(CandidateModel model, double scale, double[]? weights = null)
    {
        (_model, _scale) = (model, scale);
        _weights = weights ?? Weights(model, scale);
        _unknownWeight = Math.Exp(model.UnknownScore + scale);
        _block = Math.Max(LeastBlock, model.LongestPiece);
    }

    internal static double[] Weights(CandidateModel model, double scale)
    {
        double[] weights = new double[model.Pieces.Count];
        for (int i = 0; i < weights.Length; i++) weights[i] = Math.Exp(model.Pieces.Scores[i] + (scale * model.Pieces.Length(i)));
        return weights;
    }

    /// <summary>
    /// Adds weight · P(piece is used | text) · <paramref name="unit"/>, rounded, to the expected count of each piece, for each of its places.
    /// </summary>
    /// <param name="text">Character numbers, at least one.</param>
    /// <param name="weight">How often the text occurs.</param>
    /// <param name="unit">What 1 is in the fixed-point counts.</param>
    /// <param name="expected">A count for each piece, or empty to add nothing.</param>
    /// <returns>ln P(text), summed over all segmentations.</returns>
    internal double Expect(ReadOnlySpan<int> text, double weight, double unit, Span<long> expected)
    {
        int n = text.Length;
        Reserve(n);
        double scaledWeight = weight * unit;
        fixed (CandidateTrie.Node* nodes = _model.Trie.Nodes)
        fixed (double* weights = _weights, forward = _forward, backward = _backward, edgeWeights = _edgeWeights)
        fixed (int* characters = text, firstEdge = _firstEdge, edgePieces = _edgePieces, edgeEnds = _edgeEnds)
        fixed (long* counts = expected)
        {
            int edges = 0;
            double logRescaling = 0;
            new Span<double>(forward, n + 1).Clear();
            forward[0] = 1;
            for (int i = 0; i < n; i++)
            {
                if (i % _block == 0 && i > 0) logRescaling += Rescale(forward, i, n);
                double here = forward[i];
                firstEdge[i] = edges;
                int node = 0;
                for (int k = i; k < n; k++)
                {
                    int child = nodes[node].Base + characters[k];
                    if (nodes[child].Check != node) break;
                    node = child;
                    int piece = nodes[node].Piece;
                    if (piece < 0) continue;
                    double weightOfPiece = weights[piece];
                    forward[k + 1] += here * weightOfPiece;
                    edgePieces[edges] = piece;
                    edgeEnds[edges] = k + 1;
                    edgeWeights[edges++] = weightOfPiece;
                }
                if (edges == firstEdge[i] || edgeEnds[firstEdge[i]] != i + 1)
                {
                    forward[i + 1] += here * _unknownWeight;
                    edgePieces[edges] = -1;
                    edgeEnds[edges] = i + 1;
                    edgeWeights[edges++] = _unknownWeight;
                }
            }
            firstEdge[n] = edges;
            double total = forward[n];
            if (!(total is > Tiny and < Huge)) return ExpectInLogSpace(text, scaledWeight, expected);
            if (!expected.IsEmpty)
            {
                double perTotal = scaledWeight / total;
                backward[n] = 1;
                for (int i = n - 1; i >= 0; i--)
                {
                    double sum = 0, here = forward[i] * perTotal;
                    for (int e = firstEdge[i]; e < firstEdge[i + 1]; e++)
                    {
                        double after = edgeWeights[e] * backward[edgeEnds[e]];
                        sum += after;
                        int piece = edgePieces[e];
                        if (piece >= 0) counts[piece] += (long)((here * after) + 0.5);
                    }
                    backward[i] = sum;

                    // From here on to the left, sums are taken in the block before: bring what they reach into its scale.
                    if (i % _block == 0 && i > 0)
                        for (int k = i; k <= Math.Min(n, i + _block); k++) backward[k] *= _rescaling[i / _block];
                }
                double check = backward[0];
                Debug.Assert(Math.Abs((check / total) - 1) < 1e-6, "forward and backward sums differ");
            }
            return Math.Log(total) - logRescaling - (_scale * n);
        }
    }

    /// <summary>The same in log space: slow, and never out of range.</summary>
    internal double ExpectInLogSpace(ReadOnlySpan<int> text, double scaledWeight, Span<long> expected)
    {
        int n = text.Length;
        Reserve(n);
        _forward.AsSpan(0, n + 1).Fill(double.NegativeInfinity);
        _backward.AsSpan(0, n + 1).Fill(double.NegativeInfinity);
        _forward[0] = _backward[n] = 0;
        for (int i = 0; i < n; i++)
            foreach ((int piece, int end) in Edges(text, i)) _forward[end] = LogAdd(_forward[end], _forward[i] + Score(piece));
        double total = _forward[n];
        if (expected.IsEmpty) return total;
        for (int i = n - 1; i >= 0; i--)
        {
            foreach ((int piece, int end) in Edges(text, i))
            {
                double after = Score(piece) + _backward[end];
                _backward[i] = LogAdd(_backward[i], after);
                if (piece >= 0) expected[piece] += (long)((scaledWeight * Math.Exp(_forward[i] + after - total)) + 0.5);
            }
        }
        return total;
    }

    /// <summary>The most probable segmentation; of equal ones, that whose last piece is longest, and so on backwards.</summary>
    /// <param name="text">Character numbers.</param>
    /// <param name="segmentation">Gets the pieces in their order, -1 for a character that is none.</param>
    /// <param name="without">A piece that may not be used, or -1.</param>
    /// <returns>The sum of the scores.</returns>
    internal double Best(ReadOnlySpan<int> text, List<int> segmentation, int without = -1)
    {
        int n = text.Length;
        Reserve(n);
        CandidateSet pieces = _model.Pieces;
        fixed (CandidateTrie.Node* nodes = _model.Trie.Nodes)
        fixed (double* best = _forward, scores = pieces.Scores)
        fixed (int* characters = text, bestPiece = _bestPiece, bestStart = _bestStart)
        {
            new Span<double>(best, n + 1).Fill(double.NegativeInfinity);
            best[0] = 0;
            for (int i = 0; i < n; i++)
            {
                double here = best[i];
                int node = 0;
                bool single = false;
                for (int k = i; k < n; k++)
                {
                    int child = nodes[node].Base + characters[k];
                    if (nodes[child].Check != node) break;
                    node = child;
                    int piece = nodes[node].Piece;
                    if (piece < 0 || piece == without) continue;
                    single |= k == i;
                    double score = here + scores[piece];
                    if (!(score > best[k + 1])) continue;
                    best[k + 1] = score;
                    bestPiece[k + 1] = piece;
                    bestStart[k + 1] = i;
                }
                if (single || !(here + _model.UnknownScore > best[i + 1])) continue;
                best[i + 1] = here + _model.UnknownScore;
                bestPiece[i + 1] = -1;
                bestStart[i + 1] = i;
            }
            segmentation.Clear();
            for (int end = n; end > 0; end = bestStart[end]) segmentation.Add(bestPiece[end]);
            segmentation.Reverse();
            return best[n];
        }
    }

    private double Score(int piece) => piece < 0 ? _model.UnknownScore : _model.Pieces.Scores[piece];

    private List<(int Piece, int End)> Edges(ReadOnlySpan<int> text, int start)
    {
        List<(int Piece, int End)> edges = [];
        ReadOnlySpan<CandidateTrie.Node> nodes = _model.Trie.Nodes;
        int node = 0;
        bool single = false;
        for (int k = start; k < text.Length; k++)
        {
            int child = nodes[node].Base + text[k];
            if (nodes[child].Check != node) break;
            node = child;
            if (nodes[node].Piece < 0) continue;
            single |= k == start;
            edges.Add((nodes[node].Piece, k + 1));
        }
        if (!single) edges.Add((-1, start + 1));
        return edges;
    }

    /// <summary>Divides the sums that edges from position <paramref name="i"/> on build upon by the greatest of them.</summary>
    /// <returns>ln of what they were multiplied with.</returns>
    private double Rescale(double* forward, int i, int n)
    {
        int end = Math.Min(n, i + _block);
        double greatest = 0;
        for (int k = i; k <= end; k++) greatest = Math.Max(greatest, forward[k]);
        double factor = greatest is > Tiny and < Huge ? 1 / greatest : 1;
        for (int k = i; k <= end; k++) forward[k] *= factor;
        _rescaling[i / _block] = factor;
        return Math.Log(factor);
    }

    private void Reserve(int n)
    {
        if (_forward.Length > n) return;
        int size = Math.Max(256, (n + 1) * 2);
        _forward = new double[size];
        _backward = new double[size];
        _rescaling = new double[(size / _block) + 2];
        _firstEdge = new int[size + 1];
        _bestPiece = new int[size];
        _bestStart = new int[size];
        int edges = checked(size * (_model.LongestPiece + 1));
        _edgePieces = new int[edges];
        _edgeEnds = new int[edges];
        _edgeWeights = new double[edges];
    }

    private static double LogAdd(double a, double b)
    {
        if (a < b) (a, b) = (b, a);
        return double.IsNegativeInfinity(b) ? a : a + Math.Log(1 + Math.Exp(b - a));
    }
}
