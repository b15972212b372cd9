using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>Makes one unigram vocabulary of several, each trained on texts of one kind, as llm-jp made its tokenizers.</summary>
/// <remarks>
/// The ▁ before Japanese and before symbols is left off, for there are no spaces between Japanese words; equal pieces become one; then EM
/// over the mixed text says how probable each is. A vocabulary that is larger than wished loses its least probable pieces, but no single
/// character, and is estimated once more.
/// </remarks>
public static class VocabularyMerge
{
    // What is to be thinned out is estimated a little at least, so that a piece the mix does not have is the first to go.
    private const double Least = 1e-12;

    /// <summary>Merges vocabularies.</summary>
    /// <param name="vocabularies">The pieces of each; of them the normal ones count.</param>
    /// <param name="mix">Text of all kinds, in the parts they shall have: the scores are estimated on it.</param>
    /// <param name="options">The special, control, user-defined and byte pieces and runs of spaces of the result, how text is prepared, and threads.</param>
    /// <param name="most">Pieces of the result at most, special ones included; null for all.</param>
    /// <param name="steps">EM steps of an estimation.</param>
    /// <param name="progress">Hears how far the work is.</param>
    /// <param name="stop">Ends the work early.</param>
    /// <exception cref="ArgumentException">There is nothing to merge, or an option is out of range.</exception>
    /// <exception cref="InvalidDataException">The text is empty or broken.</exception>
    public static TrainedTokenizer Merge(
        IReadOnlyList<IEnumerable<VocabularyPiece>> vocabularies, TrainingText mix, TokenizerTrainerOptions options, int? most = null, int steps = 4,
        IProgress<TrainingProgress>? progress = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(vocabularies);
        ArgumentNullException.ThrowIfNull(mix);
        ArgumentNullException.ThrowIfNull(options);
        HashSet<string> given = [.. options.MetaPieces().Select(piece => piece.Text)];
        Dictionary<string, double> probabilities = new(StringComparer.Ordinal);
        foreach (IEnumerable<VocabularyPiece> vocabulary in vocabularies)
        {
            foreach (VocabularyPiece piece in vocabulary)
            {
                if (piece.Kind != PieceKind.Normal) continue;
                string text = WithoutSpace(piece.Text);
                // Runs of spaces are pieces of their own kind: they are asked for, not learnt.
                if (text.Length == 0 || given.Contains(text) || (text.Length > 1 && text.All(c => c == PieceRules.Space))) continue;
                probabilities[text] = probabilities.GetValueOrDefault(text) + Math.Exp(piece.Score) / vocabularies.Count;
            }
        }
        if (probabilities.Count == 0) throw new ArgumentException(Say(
            "The vocabularies have no normal piece to merge.",
            "合わせる語彙に通常の語がありません。"), nameof(vocabularies));
        IReadOnlyList<VocabularyPiece> learnt = Estimated(
            [.. probabilities.OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal)
                .Select(pair => new VocabularyPiece(0, pair.Key, (float)Math.Log(Math.Max(pair.Value, Least)), PieceKind.Normal))]);
        if (most is { } limit && learnt.Count + given.Count > limit) learnt = Estimated(Thinned(learnt, limit - given.Count));
        return TrainedTokenizer.Of(TokenizerModel.Unigram, learnt, options);

        IReadOnlyList<VocabularyPiece> Estimated(IReadOnlyList<VocabularyPiece> pieces)
        {
            IReadOnlyList<VocabularyPiece> all = TrainedTokenizer.Of(TokenizerModel.Unigram, pieces, options).Pieces;
            IReadOnlyList<VocabularyPiece> estimated = UnigramTrainer.Reestimate(all, mix, options, steps, progress, stop);
            return [.. estimated.Skip(given.Count).OrderByDescending(piece => piece.Score).ThenBy(piece => piece.Text, StringComparer.Ordinal)];
        }
    }

    /// <summary>A piece without the ▁ before it, unless a letter of a script that parts words by spaces follows.</summary>
    internal static string WithoutSpace(string piece)
    {
        if (piece.Length < 2 || piece[0] != PieceRules.Space || piece[1] == PieceRules.Space) return piece;
        byte script = UnicodeScripts.Of(char.ConvertToUtf32(piece, 1));
        return script is UnicodeScripts.Han or UnicodeScripts.Hiragana or UnicodeScripts.Katakana or UnicodeScripts.Common or UnicodeScripts.Inherited
            ? piece[1..]
            : piece;
    }

    // By falling probability; characters stay whatever theirs is.
    private static VocabularyPiece[] Thinned(IReadOnlyList<VocabularyPiece> pieces, int count)
    {
        int characters = pieces.Count(IsCharacter);
        if (characters > count)
            throw new ArgumentException(Say(
                $"The result shall have {count} learnt pieces, but the vocabularies have {characters} single characters, which stay. Ask for more pieces, or train " +
                "the vocabularies with a lower CharacterCoverage.",
                $"学習した語を {count} 個にするとの指定ですが、必ず残す 1 文字の語だけで {characters} 個あります。" +
                "語彙数を増やすか、合わせる語彙を CharacterCoverage を下げて学習し直してください。"), nameof(count));
        int others = count - characters;
        return [.. pieces.Where(piece => IsCharacter(piece) || others-- > 0)];
    }

    private static bool IsCharacter(VocabularyPiece piece) => piece.Text.Length == 1 || (piece.Text.Length == 2 && char.IsSurrogatePair(piece.Text, 0));
}
