using System.Buffers;

namespace Fude.Tokenizers.Text;

/// <summary>The policy for lone surrogates, which no tokenizer knows: each becomes U+FFFD, so lengths and offsets stay as they are.</summary>
internal static class WellFormed
{
    internal const char Replacement = '\uFFFD';

    // Not IndexOfAnyInRange: until the JIT has optimised that, each call boxes its bounds.
    private static readonly SearchValues<char> Surrogates = SearchValues.Create([.. Enumerable.Range(0xD800, 0x800).Select(c => (char)c)]);

    /// <summary>Whether the text has surrogates, paired or not.</summary>
    internal static bool HasSurrogates(ReadOnlySpan<char> text) => text.ContainsAny(Surrogates);

    /// <summary>Where the first lone surrogate stands, or -1.</summary>
    internal static int IndexOfLoneSurrogate(ReadOnlySpan<char> text)
    {
        int at = 0;
        while (true)
        {
            int next = text[at..].IndexOfAny(Surrogates);
            if (next < 0) return -1;
            at += next;
            if (!char.IsHighSurrogate(text[at]) || at + 1 == text.Length || !char.IsLowSurrogate(text[at + 1])) return at;
            at += 2;
        }
    }

    /// <summary>Replaces every lone surrogate in place.</summary>
    internal static void Repair(Span<char> text)
    {
        for (int at = IndexOfLoneSurrogate(text), next; at >= 0; at += next)
        {
            text[at] = Replacement;
            next = IndexOfLoneSurrogate(text[at..]);
            if (next < 0) break;
        }
    }

    /// <summary>The text itself, or a repaired copy of it in <paramref name="scratch"/> when it has a lone surrogate.</summary>
    internal static ReadOnlySpan<char> Of(ReadOnlySpan<char> text, ref char[] scratch)
    {
        if (IndexOfLoneSurrogate(text) < 0) return text;
        if (scratch.Length < text.Length) scratch = new char[text.Length];
        Span<char> copy = scratch.AsSpan(0, text.Length);
        text.CopyTo(copy);
        Repair(copy);
        return copy;
    }

    /// <summary>A well-formed string.</summary>
    internal static string Of(string text)
    {
        if (IndexOfLoneSurrogate(text) < 0) return text;
        char[] copy = text.ToCharArray();
        Repair(copy);
        return new(copy);
    }

    /// <summary>The code point at <paramref name="index"/> of well-formed text, and how many chars it has.</summary>
    internal static int CodePointAt(ReadOnlySpan<char> text, int index, out int length)
    {
        char first = text[index];
        if (!char.IsHighSurrogate(first) || index + 1 >= text.Length)
        {
            length = 1;
            return first;
        }
        length = 2;
        return char.ConvertToUtf32(first, text[index + 1]);
    }

    /// <summary>The code point that ends before <paramref name="index"/> of well-formed text.</summary>
    internal static int CodePointBefore(ReadOnlySpan<char> text, int index) =>
        char.IsLowSurrogate(text[index - 1]) && index >= 2 ? char.ConvertToUtf32(text[index - 2], text[index - 1]) : text[index - 1];
}
