using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Text;

/// <summary>A regular expression of a tokenizer file (Oniguruma's syntax, as Ruby has it) that finds its matches in linear time.</summary>
/// <remarks>
/// The patterns of GPT-2, Llama 3 and their kin are scanned by hand. Others are translated for .NET: without backtracking where they
/// have no look-around. .NET sees UTF-16, so a text with surrogate pairs is shown to it with one stand-in of the same kind for each.
/// </remarks>
internal abstract class TextPattern
{
    private static readonly SearchValues<char> Syntax = SearchValues.Create(@"\^$.|?*+()[]{}");

    /// <summary>Appends all matches in order.</summary>
    internal abstract void FindAll(ReadOnlySpan<char> text, List<Stretch> matches);

    /// <summary>The pattern of a literal.</summary>
    internal static TextPattern OfLiteral(string literal) => new Literal(literal);

    /// <summary>The pattern of a regular expression.</summary>
    /// <exception cref="NotSupportedException">It has something that fude cannot translate.</exception>
    internal static TextPattern OfRegex(string regex, string source) => regex switch
    {
        @"(?<!\n)^" => new BeginOfText(""),
        @"(?<!\n)^ " => new BeginOfText(" "),
        _ when WordPattern.Find(regex) is WordPattern known => known,
        _ when regex.Length > 0 && !regex.AsSpan().ContainsAny(Syntax) => new Literal(regex),
        _ => new Translated(regex, source),
    };

    internal sealed class Literal(string literal) : TextPattern
    {
        internal string Text => literal;

        internal override void FindAll(ReadOnlySpan<char> text, List<Stretch> matches)
        {
            if (literal.Length == 0) return;
            for (int at = 0, next; (next = text[at..].IndexOf(literal)) >= 0; at += next + literal.Length)
                matches.Add(new(at + next, at + next + literal.Length, true));
        }
    }

    /// <summary>`(?&lt;!\n)^` and a literal: ^ is the beginning of any line, but not after a line feed: so the beginning of the text.</summary>
    internal sealed class BeginOfText(string literal) : TextPattern
    {
        internal string Text => literal;

        internal override void FindAll(ReadOnlySpan<char> text, List<Stretch> matches)
        {
            if (text.StartsWith(literal)) matches.Add(new(0, literal.Length, true));
        }
    }

    private sealed class Translated : TextPattern
    {
        // Only patterns with look-around may backtrack; a hostile one must come to an end.
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

        private readonly Regex _regex;
        private readonly string _source;

        internal Translated(string regex, string source)
        {
            _source = source;
            string translated = Oniguruma.Translate(regex, source);
            const RegexOptions Options = RegexOptions.CultureInvariant;
            try
            {
                _regex = new(translated, Options | RegexOptions.NonBacktracking);
            }
            catch (NotSupportedException)
            {
                _regex = new(translated, Options, Patience);
            }
            catch (ArgumentException e)
            {
                throw new NotSupportedException(Say(
                    $"{source}: the regular expression {regex} cannot be translated for .NET: {e.Message}",
                    $"{source}: 正規表現 {regex} を .NET 用に変換できません: {e.Message}"), e);
            }
        }

        internal override void FindAll(ReadOnlySpan<char> text, List<Stretch> matches)
        {
            try
            {
                if (!WellFormed.HasSurrogates(text))
                {
                    foreach (ValueMatch match in _regex.EnumerateMatches(text)) matches.Add(new(match.Index, match.Index + match.Length, true));
                    return;
                }
                char[] shown = ArrayPool<char>.Shared.Rent(text.Length);
                int[] places = ArrayPool<int>.Shared.Rent(text.Length + 1);
                int count = 0;
                for (int i = 0, length; i < text.Length; i += length)
                {
                    int codePoint = WellFormed.CodePointAt(text, i, out length);
                    places[count] = i;
                    shown[count++] = length == 1 ? text[i] : Oniguruma.StandIn(codePoint);
                }
                places[count] = text.Length;
                foreach (ValueMatch match in _regex.EnumerateMatches(shown.AsSpan(0, count)))
                    matches.Add(new(places[match.Index], places[match.Index + match.Length], true));
                ArrayPool<char>.Shared.Return(shown);
                ArrayPool<int>.Shared.Return(places);
            }
            catch (RegexMatchTimeoutException e)
            {
                throw new InvalidDataException(Say(
                    $"{_source}: the regular expression {e.Pattern} does not come to an end in 20 seconds.",
                    $"{_source}: 正規表現 {e.Pattern} の照合が 20 秒たっても終わりません。"), e);
            }
        }
    }
}

/// <summary>Oniguruma's regular expressions in terms of .NET's.</summary>
internal static class Oniguruma
{
    /// <summary>Translates what means something else in .NET, or nothing.</summary>
    internal static string Translate(string regex, string source)
    {
        StringBuilder output = new(regex.Length + 16);
        int classes = 0;
        for (int i = 0; i < regex.Length; i++)
        {
            char c = regex[i];
            if (char.IsSurrogate(c)) throw Unsupported(Say("a character beyond U+FFFF", "U+FFFF を超える文字"));
            switch (c)
            {
                case '\\':
                    if (++i == regex.Length) throw Unsupported(Say(@"a \ at the end", @"末尾の \"));
                    output.Append(regex[i] switch
                    {
                        'h' => classes > 0 ? "0-9a-fA-F" : "[0-9a-fA-F]",
                        'w' => classes > 0 ? @"\p{L}\p{M}\p{Nd}\p{Pc}" : @"[\p{L}\p{M}\p{Nd}\p{Pc}]",
                        'W' when classes == 0 => @"[^\p{L}\p{M}\p{Nd}\p{Pc}]",
                        'd' => @"\p{Nd}",
                        'D' => @"\P{Nd}",
                        'z' or 'Z' or 'A' or 'b' or 'B' or 's' or 'S' or 'n' or 'r' or 't' or 'f' or 'v' or 'e' or 'a' or 'x' or 'u' => @"\" + regex[i],
                        'p' or 'P' => Property(ref i),
                        char literal when !char.IsAsciiLetterOrDigit(literal) => @"\" + literal,
                        char other => throw Unsupported(@"\" + other),
                    });
                    break;
                case '[':
                    if (classes > 0) throw Unsupported(Say("a class inside a class", "文字クラスの入れ子"));
                    classes++;
                    output.Append(c);
                    break;
                case ']':
                    classes = Math.Max(0, classes - 1);
                    output.Append(c);
                    break;
                case '&' when classes > 0 && i + 1 < regex.Length && regex[i + 1] == '&':
                    throw Unsupported(Say("an intersection of classes (&&)", "文字クラスの共通部分（&&）"));
                // A line begins after every line feed, but not where the text ends.
                case '^' when classes == 0:
                    output.Append(@"(?:\A|(?<=\n)(?!\z))");
                    break;
                case '$' when classes == 0:
                    output.Append(@"(?=\n|\z)");
                    break;
                case '+' when classes == 0 && i > 0 && regex[i - 1] is ('+' or '*' or '?') && !IsEscaped(i - 1):
                    throw Unsupported(Say("a possessive quantifier", "強欲な量指定子"));
                default:
                    output.Append(c);
                    break;
            }
        }
        return output.ToString();

        string Property(ref int at)
        {
            if (at + 1 >= regex.Length || regex[at + 1] != '{') throw Unsupported(Say(@"\p without {", @"{ のない \p"));
            int end = regex.IndexOf('}', at);
            if (end < 0) throw Unsupported(Say(@"\p{ without }", @"} のない \p{"));
            string name = regex[(at + 2)..end];
            char kind = regex[at];
            if (name.StartsWith('^')) (name, kind) = (name[1..], kind == 'p' ? 'P' : 'p');
            string category = name switch
            {
                "L" or "Letter" or "Lu" or "Ll" or "Lt" or "Lm" or "Lo" or "M" or "Mark" or "Mn" or "Mc" or "Me" or "N" or "Number" or "Nd" or "Nl" or "No"
                    or "P" or "Punctuation" or "Pc" or "Pd" or "Ps" or "Pe" or "Pi" or "Pf" or "Po" or "S" or "Symbol" or "Sm" or "Sc" or "Sk" or "So"
                    or "Z" or "Separator" or "Zs" or "Zl" or "Zp" or "C" or "Other" or "Cc" or "Cf" => name.Length > 2 ? name[..1] : name,
                _ => throw Unsupported($@"\{kind}{{{name}}}"),
            };
            if (name == "Other") category = "C";
            at = end;
            return $@"\{kind}{{{category}}}";
        }

        bool IsEscaped(int at)
        {
            int backslashes = 0;
            while (at - 1 - backslashes >= 0 && regex[at - 1 - backslashes] == '\\') backslashes++;
            return backslashes % 2 == 1;
        }

        NotSupportedException Unsupported(string what) => new(Say(
            $"{source}: the regular expression {regex} has {what}, which fude cannot translate; it supports literals, classes, " +
            @"\p{general category}, \s \w \d \h, groups, quantifiers, look-around and the patterns of GPT-2, Llama 3 and Qwen 2.",
            $"{source}: 正規表現 {regex} の一部（{what}）に対応していません。使えるのは文字、文字クラス、" +
            @"\p{一般カテゴリー}、\s \w \d \h、グループ、量指定子、先読みと後読み、GPT-2 と Llama 3 と Qwen 2 のパターンです。"));
    }

    /// <summary>
    /// A character of the basic plane of the same general category (by the tables of .NET, as its expressions have it), and one that no
    /// pattern is likely to name.
    /// </summary>
    internal static char StandIn(int codePoint) => CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
    {
        UnicodeCategory.UppercaseLetter => '\uA726',
        UnicodeCategory.LowercaseLetter => '\uA727',
        UnicodeCategory.TitlecaseLetter => '\u1F88',
        UnicodeCategory.ModifierLetter => '\uA717',
        UnicodeCategory.OtherLetter => '\uA4D0',
        UnicodeCategory.NonSpacingMark => '\uA66F',
        UnicodeCategory.SpacingCombiningMark => '\uA823',
        UnicodeCategory.EnclosingMark => '\uA670',
        UnicodeCategory.DecimalDigitNumber => '\uA620',
        UnicodeCategory.LetterNumber => '\uA6E6',
        UnicodeCategory.OtherNumber => '\uA830',
        UnicodeCategory.ConnectorPunctuation => '\u2040',
        UnicodeCategory.DashPunctuation => '\u2E17',
        UnicodeCategory.OpenPunctuation => '\u2E26',
        UnicodeCategory.ClosePunctuation => '\u2E27',
        UnicodeCategory.InitialQuotePunctuation => '\u2E02',
        UnicodeCategory.FinalQuotePunctuation => '\u2E03',
        UnicodeCategory.OtherPunctuation => '\uA6F2',
        UnicodeCategory.MathSymbol => '\u29B0',
        UnicodeCategory.CurrencySymbol => '\uA838',
        UnicodeCategory.ModifierSymbol => '\uA720',
        UnicodeCategory.OtherSymbol => '\uA828',
        UnicodeCategory.Format => '\u206A',
        UnicodeCategory.PrivateUse => '\uE000',
        _ => '\u0378',
    };
}
