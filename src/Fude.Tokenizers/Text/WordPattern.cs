using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Text;

/// <summary>The patterns that cut text into words before byte-level BPE, scanned by hand: one look at each character.</summary>
internal abstract class WordPattern : TextPattern
{
    private const string Gpt2Regex = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    private const string Llama3Regex =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Qwen2Regex =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>GPT-2's own, which ByteLevel has built in.</summary>
    internal static WordPattern Gpt2 { get; } = new Gpt2Words();

    /// <summary>What GGUF files call it.</summary>
    internal abstract string GgufName { get; }

    /// <summary>A pattern that is known by heart, or null.</summary>
    internal static WordPattern? Find(string regex) => regex switch
    {
        Gpt2Regex => Gpt2,
        Llama3Regex => new Llama3Words(3),
        Qwen2Regex => new Llama3Words(1),
        _ => null,
    };

    internal sealed override void FindAll(ReadOnlySpan<char> text, List<Stretch> matches)
    {
        // Every character is a letter, a number, white space or something else: the words cover the whole text.
        for (int at = 0; at < text.Length;)
        {
            int end = EndOfWord(text, at);
            matches.Add(new(at, end, true));
            at = end;
        }
    }

    private protected abstract int EndOfWord(ReadOnlySpan<char> text, int at);

    private enum Kind : byte
    {
        Other,
        Letter,
        Number,
        Space,
    }

    private static readonly Kind[] BasicKinds = MakeKinds();

    private static Kind[] MakeKinds()
    {
        Kind[] kinds = new Kind[char.MaxValue + 1];
        for (int c = 0; c < kinds.Length; c++) kinds[c] = FindKind(c);
        return kinds;
    }

    private static Kind FindKind(int codePoint) =>
        CodePoint.IsLetter(codePoint) ? Kind.Letter : CodePoint.IsNumber(codePoint) ? Kind.Number : CodePoint.IsWhiteSpace(codePoint) ? Kind.Space : Kind.Other;

    private static Kind KindAt(ReadOnlySpan<char> text, int at, out int length)
    {
        char c = text[at];
        if (!char.IsHighSurrogate(c))
        {
            length = 1;
            return BasicKinds[c];
        }
        return FindKind(WellFormed.CodePointAt(text, at, out length));
    }

    private static int EndOf(Kind kind, ReadOnlySpan<char> text, int at)
    {
        while (at < text.Length && KindAt(text, at, out int length) == kind) at += length;
        return at;
    }

    private static int EndOfContraction(ReadOnlySpan<char> text, int at, bool ignoresCase)
    {
        if (text[at] != '\'' || at + 1 == text.Length) return at;
        char first = Lower(text[at + 1], ignoresCase), second = at + 2 < text.Length ? Lower(text[at + 2], ignoresCase) : '\0';
        if (first is 's' or 't' or 'm' or 'd') return at + 2;
        return (first, second) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? at + 3 : at;

        // U+017F ſ and U+212A K are s and k without case.
        static char Lower(char c, bool ignoresCase) => !ignoresCase ? c : c == 'ſ' ? 's' : c is >= 'A' and <= 'Z' ? (char)(c | 0x20) : c;
    }

    // \s+(?!\S)|\s+ : white space but the last of it, which belongs to the next word, if one follows and something is left.
    private static int EndOfSpace(ReadOnlySpan<char> text, int at)
    {
        int end = EndOf(Kind.Space, text, at);
        return end == text.Length || end - at == 1 ? end : end - 1;
    }

    private sealed class Gpt2Words : WordPattern
    {
        internal override string GgufName => "gpt-2";

        private protected override int EndOfWord(ReadOnlySpan<char> text, int at)
        {
            int contraction = EndOfContraction(text, at, ignoresCase: false);
            if (contraction > at) return contraction;
            int first = text[at] == ' ' && at + 1 < text.Length ? at + 1 : at;
            Kind kind = KindAt(text, first, out int length);
            if (kind != Kind.Space) return EndOf(kind, text, first + length);
            return EndOfSpace(text, at);
        }
    }

    /// <summary>Llama 3's; numbers of at most so many digits.</summary>
    private sealed class Llama3Words(int digits) : WordPattern
    {
        internal override string GgufName => digits == 3 ? "llama-bpe" : "qwen2";

        private protected override int EndOfWord(ReadOnlySpan<char> text, int at)
        {
            int contraction = EndOfContraction(text, at, ignoresCase: true);
            if (contraction > at) return contraction;

            Kind kind = KindAt(text, at, out int length);
            int second = at + length;
            if (kind == Kind.Letter) return EndOf(Kind.Letter, text, second);
            if (kind != Kind.Number && text[at] is not ('\r' or '\n') && second < text.Length && KindAt(text, second, out int letter) == Kind.Letter)
                return EndOf(Kind.Letter, text, second + letter);

            if (kind == Kind.Number)
            {
                int end = second;
                for (int i = 1; i < digits && end < text.Length && KindAt(text, end, out int digit) == Kind.Number; i++) end += digit;
                return end;
            }

            int mark = text[at] == ' ' && second < text.Length ? second : at;
            if (KindAt(text, mark, out int markLength) == Kind.Other)
            {
                int end = EndOf(Kind.Other, text, mark + markLength);
                while (end < text.Length && text[end] is ('\r' or '\n')) end++;
                return end;
            }

            // \s*[\r\n]+ : up to the last line end of this white space.
            int spaces = EndOf(Kind.Space, text, at);
            int lineEnd = text[at..spaces].LastIndexOfAny('\r', '\n');
            return lineEnd >= 0 ? at + lineEnd + 1 : EndOfSpace(text, at);
        }
    }
}
