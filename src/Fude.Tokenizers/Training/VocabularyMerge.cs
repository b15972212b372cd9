using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>Makes one unigram vocabulary of several, each trained on texts of one kind, as llm-jp made its tokenizers.</summary>
/// <remarks>
/// The ▁ before Japanese and before symbols is left off, for there are no spaces between Japanese words; equal pieces become one; then EM
/// over the mixed text says how probable each is. A vocabulary that is larger than wished loses its least probable pieces, but no single
/// character, and is estimated once more. ▁ is a piece of the result in any case. Where every digit shall stay alone, pieces of several
/// characters with a digit in them are left out; the trainers' other rules do not matter here.
/// </remarks>
public static class VocabularyMerge
{
    // What is to be thinned out is estimated a little at least, so that a piece the mix does not have is the first to go.
    private const double Least = 1e-12;

    /// <summary>Merges vocabularies.</summary>
    /// <param name="vocabularies">The pieces of each; of them the normal ones count.</param>
    /// <param name="mix">Text of all kinds, in the parts they shall have: the scores are estimated on it.</param>
    /// <param name="options">The special, control, user-defined and byte pieces and runs of spaces of the result, how text is prepared, and threads.</param>
    /// <param name="most">Pieces of the result at most, special ones included; null for all. Single characters all stay.</param>
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
                if (text.Length == 0 || given.Contains(text) || IsRunOfSpaces(text)) continue;
                if (options.SplitDigits && !IsCharacter(text) && text.Any(c => PieceRules.IsDigit(c))) continue;
                probabilities[text] = probabilities.GetValueOrDefault(text) + Math.Exp(piece.Score) / vocabularies.Count;
            }
        }
        if (probabilities.Count == 0) throw new ArgumentException(Say(
            "The vocabularies have no normal piece to merge.",
            "合わせる語彙に通常の語がありません。"), nameof(vocabularies));
        // Without a piece of its own a space would come back as this character.
        if (!given.Contains("▁")) probabilities.TryAdd("▁", 0);
        int characters = probabilities.Keys.Count(IsCharacter), least = given.Count + characters;
        if (most < least)
            throw new ArgumentException(Say(
                $"VocabularySize is {most}, but the vocabularies have {characters} single characters, which stay, and the options ask for {given.Count} further " +
                $"pieces: at least {least}. Ask for a larger vocabulary, or train the vocabularies with a lower CharacterCoverage.",
                $"VocabularySize が {most} ですが、必ず残す 1 文字の語 {characters} 個と、オプションで決まる {given.Count} 語が必要です（合わせて {least} 以上）。" +
                "語彙数を増やすか、合わせる語彙を CharacterCoverage を下げて学習し直してください。"), nameof(most));
        TrainingTextReport report = new(0, 0, 0, 1);
        IReadOnlyList<VocabularyPiece> learnt = Estimated(
            [.. probabilities.OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key, StringComparer.Ordinal)
                .Select(pair => new VocabularyPiece(0, pair.Key, (float)Math.Log(Math.Max(pair.Value, Least)), PieceKind.Normal))]);
        if (most is { } limit && learnt.Count + given.Count > limit) learnt = Estimated(Thinned(learnt, limit - given.Count));
        return TrainedTokenizer.Of(TokenizerModel.Unigram, learnt, options, report);

        IReadOnlyList<VocabularyPiece> Estimated(IReadOnlyList<VocabularyPiece> pieces)
        {
            IReadOnlyList<VocabularyPiece> all = TrainedTokenizer.Of(TokenizerModel.Unigram, pieces, options).Pieces;
            (IReadOnlyList<VocabularyPiece> estimated, TrainingTextReport read) = UnigramTrainer.EstimateAnew(all, mix, options, steps, progress, stop);
            report = read with { Thinnings = Math.Max(read.Thinnings, report.Thinnings) };
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

    /// <summary>Whether a piece is of spaces alone, two or more.</summary>
    internal static bool IsRunOfSpaces(string piece) => piece.Length > 1 && piece.All(c => c == PieceRules.Space);

    // By falling probability; characters stay whatever theirs is, and are no more than that.
    private static VocabularyPiece[] Thinned(IReadOnlyList<VocabularyPiece> pieces, int count)
    {
        int others = count - pieces.Count(piece => IsCharacter(piece.Text));
        return [.. pieces.Where(piece => IsCharacter(piece.Text) || others-- > 0)];
    }

    private static bool IsCharacter(string piece) => piece.Length == 1 || (piece.Length == 2 && char.IsSurrogatePair(piece, 0));
}
