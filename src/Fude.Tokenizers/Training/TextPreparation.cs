using System.Text;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Training;

/// <summary>What happens to a line before pieces are matched in it: normalisation, whitespace, the space in front.</summary>
internal sealed class TextPreparation
{
    private readonly UnicodeNormalizer? _normalizer;
    private readonly bool _removeExtra, _dummyPrefix, _suffix;
    private readonly Dictionary<char, string[]> _atomic = [];

    internal TextPreparation(TokenizerTrainerOptions options)
    {
        _normalizer = options.Normalization == TrainerNormalization.Nfkc ? UnicodeNormalizer.Get(NormalizationForm.FormKC) : null;
        (_removeExtra, _dummyPrefix, _suffix) = (options.RemoveExtraWhitespaces, options.AddDummyPrefix, options.TreatWhitespaceAsSuffix);
        foreach (IGrouping<char, VocabularyPiece> group in options.MetaPieces().Where(p => p.Kind != PieceKind.Normal).GroupBy(p => p.Text[0]))
            _atomic[group.Key] = [.. group.Select(p => p.Text).OrderByDescending(t => t.Length)];
    }

    /// <summary>The line with ▁ for spaces; empty when nothing is left of it.</summary>
    internal string Prepare(string line)
    {
        string text = _normalizer?.Normalize(line) ?? line;
        if (_removeExtra) text = WithoutExtraSpaces(text);
        if (text.Length == 0) return text;
        text = text.Replace(' ', PieceRules.Space);
        return !_dummyPrefix ? text : _suffix ? text + PieceRules.Space : PieceRules.Space + text;
    }

    /// <summary>
    /// The code points of a prepared line, with -1 for what is never part of a learnt piece: U+0000, and each occurrence of a special or
    /// user-defined piece (the longest that matches, from left to right).
    /// </summary>
    internal int Decode(ReadOnlySpan<char> text, ref int[] codePoints)
    {
        if (codePoints.Length < text.Length) codePoints = new int[Math.Max(text.Length, codePoints.Length * 2)];
        int count = 0;
        for (int i = 0; i < text.Length;)
        {
            char c = text[i];
            if (_atomic.TryGetValue(c, out string[]? candidates))
            {
                int matched = 0;
                foreach (string candidate in candidates)
                {
                    if (!text[i..].StartsWith(candidate, StringComparison.Ordinal)) continue;
                    matched = candidate.Length;
                    break;
                }
                if (matched > 0)
                {
                    codePoints[count++] = -1;
                    i += matched;
                    continue;
                }
            }
            if (char.IsHighSurrogate(c) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                codePoints[count++] = char.ConvertToUtf32(c, text[i + 1]);
                i += 2;
                continue;
            }
            codePoints[count++] = c == '\0' || char.IsSurrogate(c) ? -1 : c;
            i++;
        }
        return count;
    }

    private static string WithoutExtraSpaces(string text)
    {
        ReadOnlySpan<char> trimmed = text.AsSpan().Trim(' ');
        if (trimmed.Length == text.Length && !text.Contains("  ", StringComparison.Ordinal)) return text;
        StringBuilder result = new(trimmed.Length);
        for (int i = 0; i < trimmed.Length; i++)
            if (trimmed[i] != ' ' || trimmed[i - 1] != ' ') result.Append(trimmed[i]);
        return result.ToString();
    }
}
