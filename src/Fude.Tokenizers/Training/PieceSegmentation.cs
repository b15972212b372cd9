using System.Text;

namespace Fude.Tokenizers.Training;

/// <summary>Cuts text where no piece of a given vocabulary reaches across.</summary>
internal sealed class PieceSegmentation : ISegmentation
{
    private readonly Dictionary<int, int> _numberOf = [];       // code points of the pieces, by their order
    private readonly CandidateTrie _trie;

    internal PieceSegmentation(IEnumerable<string> pieces)
    {
        List<int[]> numbered = [];
        foreach (string piece in pieces)
        {
            int[] characters = [.. piece.EnumerateRunes().Select(r => r.Value)];
            for (int i = 0; i < characters.Length; i++)
            {
                CodePoints.Add(characters[i]);
                if (!_numberOf.TryGetValue(characters[i], out int number)) _numberOf[characters[i]] = number = _numberOf.Count + 1;
                characters[i] = number;
            }
            numbered.Add(characters);
        }
        _trie = new CandidateTrie(Sorted(numbered, out _), _numberOf.Count + 1);
    }

    /// <summary>Every code point that a piece holds.</summary>
    internal HashSet<int> CodePoints { get; } = [];

    /// <inheritdoc/>
    public void MarkCuts(ReadOnlySpan<int> codePoints, Span<bool> cuts)
    {
        int[] numbers = new int[codePoints.Length];
        for (int i = 0; i < numbers.Length; i++) numbers[i] = _numberOf.GetValueOrDefault(codePoints[i]);
        _trie.MarkCuts(numbers, cuts);
    }

    /// <summary>The pieces in the numbers of a corpus, and the id of each.</summary>
    internal static (CandidateSet Pieces, int[] Ids) Number(TrainingCorpus corpus, Dictionary<string, int> idOf, Func<int, float> score)
    {
        Dictionary<int, int> numberOf = [];
        for (int i = 1; i < corpus.Alphabet.Length; i++) numberOf[corpus.Alphabet[i]] = i;
        List<int[]> numbered = [];
        List<int> ids = [];
        foreach ((string piece, int id) in idOf)
        {
            numbered.Add([.. piece.EnumerateRunes().Select(r => numberOf[r.Value])]);
            ids.Add(id);
        }
        CandidateSet sorted = Sorted(numbered, out int[] order);
        int[] sortedIds = [.. order.Select(i => ids[i])];
        for (int i = 0; i < sortedIds.Length; i++) sorted.Scores[i] = score(sortedIds[i]);
        return (sorted, sortedIds);
    }

    private static CandidateSet Sorted(List<int[]> pieces, out int[] order)
    {
        order = [.. Enumerable.Range(0, pieces.Count)];
        Array.Sort(order, (a, b) => pieces[a].AsSpan().SequenceCompareTo(pieces[b]));
        List<int> characters = [], starts = [];
        foreach (int i in order)
        {
            starts.Add(characters.Count);
            characters.AddRange(pieces[i]);
        }
        starts.Add(characters.Count);
        return new CandidateSet { Characters = [.. characters], Starts = [.. starts], Scores = new double[pieces.Count] };
    }
}
