using System.Buffers;

namespace Fude.Tokenizers.Training;

/// <summary>
/// Which stretches of text may be a piece: length, whitespace, script and digits, with the meaning of SentencePiece's options. Since most of
/// these rules speak of two neighbours only, text can be cut where no piece could cross, and equal stretches counted once: what unigram
/// likelihood and BPE see is exactly the same, in far fewer characters.
/// </summary>
internal sealed class PieceRules : ISegmentation
{
    /// <summary>▁ (U+2581), as which a space stands in pieces.</summary>
    internal const char Space = '\u2581';

    /// <summary>Both halves of surrogate pairs.</summary>
    internal static readonly SearchValues<char> Surrogates = SearchValues.Create([.. Enumerable.Range(0xD800, 0x800).Select(c => (char)c)]);

    // Scripts as pieces see them: kana is Han, and what goes with any script has none.
    private const byte AnyScript = 0xFF;

    private readonly bool _whitespaceOnly, _suffix, _splitByWhitespace, _splitByScript, _splitByNumber, _splitDigits;
    private readonly int _maxLength;

    internal PieceRules(TokenizerTrainerOptions options)
    {
        _whitespaceOnly = options.AllowWhitespaceOnlyPieces && options.WhitespaceRuns == 0;
        _suffix = options.TreatWhitespaceAsSuffix;
        _splitByWhitespace = options.SplitByWhitespace;
        _splitByScript = options.SplitByUnicodeScript;
        _splitByNumber = options.SplitByNumber;
        _splitDigits = options.SplitDigits;
        _maxLength = options.MaxPieceLength;
    }

    internal static bool IsDigit(int codePoint) => codePoint is (>= '0' and <= '9') or (>= 0xFF10 and <= 0xFF19);

    /// <summary>The script that a piece sees at a character, given the one it saw before.</summary>
    internal byte Script(int codePoint, byte before)
    {
        if (codePoint == Space) return before;
        byte script = UnicodeScripts.Of(codePoint);
        if (script is UnicodeScripts.Hiragana or UnicodeScripts.Katakana || codePoint == 0x30FC) script = UnicodeScripts.Han;      // ー is Common
        else if (script == UnicodeScripts.Inherited) script = before;
        return !_splitByNumber && IsDigit(codePoint) ? AnyScript : script;
    }

    /// <summary>The script before the first character.</summary>
    internal static byte NoScript => AnyScript;

    /// <summary>Whether no piece holds both of two neighbours, given the scripts seen at each.</summary>
    internal bool MustCut(int left, int right, byte leftScript, byte rightScript)
    {
        if (_splitDigits && (IsDigit(left) || IsDigit(right))) return true;
        bool leftSpace = left == Space, rightSpace = right == Space;
        if (!leftSpace && !rightSpace)
            return _splitByScript && leftScript != AnyScript && rightScript != AnyScript && leftScript != rightScript;
        if (_whitespaceOnly && leftSpace && rightSpace) return false;
        return _splitByWhitespace && (_suffix ? leftSpace : rightSpace);
    }

    /// <inheritdoc/>
    public void MarkCuts(ReadOnlySpan<int> codePoints, Span<bool> cuts)
    {
        byte before = NoScript;
        for (int i = 0; i < codePoints.Length; i++)
        {
            byte script = Script(codePoints[i], before);
            cuts[i] = i > 0 && MustCut(codePoints[i - 1], codePoints[i], before, script);
            before = script;
        }
    }

    /// <summary>Whether the code points may be a piece.</summary>
    internal bool IsValid(ReadOnlySpan<int> piece)
    {
        if (piece.IsEmpty || piece.Length > _maxLength) return false;
        if (piece.Length == 1) return piece[0] != 0;

        bool allSpaces = !piece.ContainsAnyExcept((int)Space);
        if (allSpaces && _whitespaceOnly) return true;
        byte before = NoScript;
        for (int i = 0; i < piece.Length; i++)
        {
            int c = piece[i];
            if (c == 0) return false;
            if (c == Space)
            {
                // A space stands at one end of the piece, or inside it when pieces may span words; never at the other end.
                bool last = i == piece.Length - 1, first = i == 0;
                if (_suffix ? !last && (_splitByWhitespace || first) : !first && (_splitByWhitespace || last)) return false;
                continue;
            }
            if (_splitDigits && IsDigit(c)) return false;
            byte script = Script(c, before);
            if (_splitByScript && script != AnyScript && before != AnyScript && script != before) return false;
            before = script;
        }
        return true;
    }
}
