using System.Runtime.CompilerServices;

namespace Fude.Tokenizers.Text;

/// <summary>
/// Text on its way from the caller to tokens. When it is tracked, every character knows the range of the original text it stands for;
/// when it is not, only the characters are kept.
/// </summary>
internal sealed class TextBuffer
{
    private char[] _characters = new char[256];
    private int[] _starts = [];
    private int[] _ends = [];

    internal int Length { get; private set; }

    /// <summary>Whether source ranges are kept. Set by <see cref="Clear"/>.</summary>
    internal bool Tracked { get; private set; }

    internal ReadOnlySpan<char> Span => _characters.AsSpan(0, Length);

    internal long CapacityBytes => ((long)_characters.Length * sizeof(char)) + (((long)_starts.Length + _ends.Length) * sizeof(int));

    internal void Clear(bool tracked)
    {
        Length = 0;
        Tracked = tracked;
        if (tracked && _starts.Length < _characters.Length) GrowSources();
    }

    /// <summary>Where in the original text the character at <paramref name="index"/> begins.</summary>
    internal int StartOf(int index) => _starts[index];

    /// <summary>Where in the original text the character at <paramref name="index"/> ends.</summary>
    internal int EndOf(int index) => _ends[index];

    /// <summary>The range of the original text that [start, end) of this buffer stands for; empty for an empty range.</summary>
    internal (int Start, int End) SourceOf(int start, int end)
    {
        if (start < end) return (_starts[start], Math.Max(_starts[start], _ends[end - 1]));
        int at = start < Length ? _starts[start] : Length > 0 ? _ends[Length - 1] : 0;
        return (at, at);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Append(char character, int start, int end)
    {
        if (Length == _characters.Length) Grow(Length + 1);
        if (Tracked) (_starts[Length], _ends[Length]) = (start, end);
        _characters[Length++] = character;
    }

    /// <summary>Appends text that all stands for one source range.</summary>
    internal void Append(ReadOnlySpan<char> text, int start, int end)
    {
        foreach (char character in text) Append(character, start, end);
    }

    internal void AppendCodePoint(int codePoint, int start, int end)
    {
        if (codePoint < 0x10000)
        {
            Append((char)codePoint, start, end);
            return;
        }
        Append((char)(0xD800 + ((codePoint - 0x10000) >> 10)), start, end);
        Append((char)(0xDC00 + ((codePoint - 0x10000) & 0x3FF)), start, end);
    }

    /// <summary>Appends a piece of the original text, which begins there at <paramref name="offset"/>.</summary>
    internal void AppendOriginal(ReadOnlySpan<char> text, int offset)
    {
        text.CopyTo(Reserve(text.Length));
        if (!Tracked) return;
        for (int i = 0; i < text.Length; i++)
        {
            // Both halves of a surrogate pair stand for the whole character.
            bool isLow = char.IsLowSurrogate(text[i]) && i > 0, isHigh = char.IsHighSurrogate(text[i]) && i + 1 < text.Length;
            (_starts[Length - text.Length + i], _ends[Length - text.Length + i]) = (offset + i - (isLow ? 1 : 0), offset + i + (isHigh ? 2 : 1));
        }
    }

    /// <summary>Appends [start, end) of another buffer, sources included.</summary>
    internal void Append(TextBuffer other, int start, int end)
    {
        other.Span[start..end].CopyTo(Reserve(end - start));
        if (!Tracked) return;
        other._starts.AsSpan(start, end - start).CopyTo(_starts.AsSpan(Length - (end - start)));
        other._ends.AsSpan(start, end - start).CopyTo(_ends.AsSpan(Length - (end - start)));
    }

    /// <summary>Room for <paramref name="count"/> more characters, to be written by the caller; sources, if tracked, stay unset.</summary>
    internal Span<char> Reserve(int count)
    {
        if (Length + count > _characters.Length) Grow(Length + count);
        Length += count;
        return _characters.AsSpan(Length - count, count);
    }

    /// <summary>What was appended from <paramref name="start"/> on, to be changed in place.</summary>
    internal Span<char> WrittenSince(int start) => _characters.AsSpan(start, Length - start);

    internal void Truncate(int length) => Length = length;

    private void Grow(int length)
    {
        Array.Resize(ref _characters, Math.Max(length, _characters.Length * 2));
        if (Tracked) GrowSources();
    }

    private void GrowSources()
    {
        Array.Resize(ref _starts, _characters.Length);
        Array.Resize(ref _ends, _characters.Length);
    }
}
