namespace Fude.Tokenizers.Training;

/// <summary>A unigram language model over the pieces of a set: a segmentation's probability is the product of its pieces' (Kudo, 2018).</summary>
internal sealed class CandidateModel
{
    // What SentencePiece takes from the lowest score for a character that has no piece.
    private const double UnknownPenalty = 10;

    /// <param name="pieces">The pieces and their scores.</param>
    /// <param name="alphabet">Above every character number.</param>
    /// <param name="trie">The trie of these pieces if there is one already: scores may have changed, pieces not.</param>
    internal CandidateModel(CandidateSet pieces, int alphabet, CandidateTrie? trie = null)
    {
        Pieces = pieces;
        Trie = trie ?? new CandidateTrie(pieces, alphabet);
        UnknownScore = pieces.Scores.Min() - UnknownPenalty;
        for (int i = 0; i < pieces.Count; i++) LongestPiece = Math.Max(LongestPiece, pieces.Length(i));
    }

    internal CandidateSet Pieces { get; }

    internal CandidateTrie Trie { get; }

    internal int LongestPiece { get; }

    /// <summary>The score of a character that is no piece.</summary>
    internal double UnknownScore { get; }
}
