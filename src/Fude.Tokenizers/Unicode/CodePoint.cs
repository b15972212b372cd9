using System.Globalization;
using System.Text;

namespace Fude.Tokenizers.Unicode;

/// <summary>
/// What tokenizers ask of a code point, answered from fude's own tables of Unicode 15.0.0, so that no answer depends on ICU or on the
/// version of .NET. Code points are plain integers; surrogates have category Surrogate, and whatever is no code point is unassigned.
/// </summary>
internal static class CodePoint
{
    private const int LetterMask =
        1 << (int)UnicodeCategory.UppercaseLetter | 1 << (int)UnicodeCategory.LowercaseLetter | 1 << (int)UnicodeCategory.TitlecaseLetter
        | 1 << (int)UnicodeCategory.ModifierLetter | 1 << (int)UnicodeCategory.OtherLetter;

    private const int MarkMask =
        1 << (int)UnicodeCategory.NonSpacingMark | 1 << (int)UnicodeCategory.SpacingCombiningMark | 1 << (int)UnicodeCategory.EnclosingMark;

    private const int NumberMask =
        1 << (int)UnicodeCategory.DecimalDigitNumber | 1 << (int)UnicodeCategory.LetterNumber | 1 << (int)UnicodeCategory.OtherNumber;

    private const int PunctuationMask =
        1 << (int)UnicodeCategory.ConnectorPunctuation | 1 << (int)UnicodeCategory.DashPunctuation
        | 1 << (int)UnicodeCategory.OpenPunctuation | 1 << (int)UnicodeCategory.ClosePunctuation | 1 << (int)UnicodeCategory.InitialQuotePunctuation
        | 1 << (int)UnicodeCategory.FinalQuotePunctuation | 1 << (int)UnicodeCategory.OtherPunctuation;

    private const int SymbolMask =
        1 << (int)UnicodeCategory.MathSymbol | 1 << (int)UnicodeCategory.CurrencySymbol | 1 << (int)UnicodeCategory.ModifierSymbol
        | 1 << (int)UnicodeCategory.OtherSymbol;

    /// <summary>The general category.</summary>
    internal static UnicodeCategory Category(int codePoint) =>
        (uint)codePoint > 0x10FFFF
            ? UnicodeCategory.OtherNotAssigned
            : (UnicodeCategory)(UnicodeTables.Characters[codePoint] & UnicodeTables.CategoryBits);

    /// <summary>L: \p{L}.</summary>
    internal static bool IsLetter(int codePoint) => IsIn(LetterMask, codePoint);

    /// <summary>M, of any kind: what Hugging Face's StripAccents removes (there by Unicode 9; pass that version for the same).</summary>
    internal static bool IsMark(int codePoint, UnicodeVersion version = UnicodeVersion.Unicode15) =>
        IsIn(MarkMask, codePoint)
        && (version == UnicodeVersion.Unicode15 || (UnicodeTables.Characters[codePoint] & UnicodeTables.NewerThanUnicode9) == 0);

    /// <summary>Mn: what BertNormalizer's strip_accents removes.</summary>
    internal static bool IsNonspacingMark(int codePoint) => Category(codePoint) == UnicodeCategory.NonSpacingMark;

    /// <summary>N: \p{N}, Rust's char::is_numeric. ½, ① and Ⅷ are numbers, 五 is a letter.</summary>
    internal static bool IsNumber(int codePoint) => IsIn(NumberMask, codePoint);

    /// <summary>P: \p{P}. Not the ASCII symbols $ + &lt; = &gt; ^ ` | ~.</summary>
    internal static bool IsPunctuation(int codePoint) => IsIn(PunctuationMask, codePoint);

    /// <summary>S: \p{S}.</summary>
    internal static bool IsSymbol(int codePoint) => IsIn(SymbolMask, codePoint);

    /// <summary>Cc: Rust's char::is_control.</summary>
    internal static bool IsControl(int codePoint) => Category(codePoint) == UnicodeCategory.Control;

    /// <summary>The property White_Space: \s, Rust's char::is_whitespace. The ideographic space is, the zero-width space is not.</summary>
    internal static bool IsWhiteSpace(int codePoint) => Has(UnicodeTables.WhiteSpace, codePoint);

    /// <summary>The property Alphabetic: Rust's char::is_alphabetic.</summary>
    internal static bool IsAlphabetic(int codePoint) => Has(UnicodeTables.Alphabetic, codePoint);

    /// <summary>\w as Unicode's regular expressions (UTS 18) and Rust's have it: Alphabetic, M, Nd, Pc and the two joiners.</summary>
    internal static bool IsWord(int codePoint) =>
        IsAlphabetic(codePoint) || codePoint is 0x200C or 0x200D
        || IsIn(MarkMask | 1 << (int)UnicodeCategory.DecimalDigitNumber | 1 << (int)UnicodeCategory.ConnectorPunctuation, codePoint);

    /// <summary>
    /// The full lowercase mapping of one code point without its context, as Rust's char::to_lowercase: only İ (U+0130) becomes two, i
    /// and U+0307; Σ is σ wherever it stands.
    /// </summary>
    /// <param name="codePoint">Any code point.</param>
    /// <param name="second">The second code point of the mapping, or 0 when it has one only.</param>
    internal static int ToLower(int codePoint, out int second)
    {
        second = 0;
        if ((uint)codePoint < 0x80) return codePoint is >= 'A' and <= 'Z' ? codePoint | 0x20 : codePoint;
        if (!Has(UnicodeTables.HasLowercase, codePoint) || !UnicodeTables.TryLower(codePoint, out int lower)) return codePoint;
        if (codePoint == 0x130) second = 0x307;
        return lower;
    }

    /// <summary>The text with each of its characters lowered by itself; lone surrogates become U+FFFD.</summary>
    internal static string ToLower(string text)
    {
        StringBuilder lower = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            AppendTo(lower, ToLower(rune.Value, out int second));
            if (second != 0) AppendTo(lower, second);
        }
        return lower.ToString();

        static void AppendTo(StringBuilder builder, int codePoint)
        {
            Span<char> chars = stackalloc char[2];
            builder.Append(chars[..new Rune(codePoint).EncodeToUtf16(chars)]);
        }
    }

    private static bool IsIn(int categories, int codePoint) => (categories >> (int)Category(codePoint) & 1) != 0;

    private static bool Has(int property, int codePoint) =>
        (uint)codePoint <= 0x10FFFF && (UnicodeTables.Characters[codePoint] & property) != 0;
}
