namespace Fude.Tokenizers.Text;

/// <summary>What the bytes at some place are: a character, the beginning of one, or neither.</summary>
internal enum Utf8Verdict
{
    /// <summary>A whole character.</summary>
    Character,

    /// <summary>The bytes end inside a character that is right so far.</summary>
    Unfinished,

    /// <summary>No character begins like this.</summary>
    Malformed,
}

/// <summary>UTF-8, byte by byte, for text that comes in pieces.</summary>
internal static class Utf8Reader
{
    /// <summary>Judges the beginning of <paramref name="bytes"/> (not empty).</summary>
    /// <param name="bytes">The bytes.</param>
    /// <param name="codePoint">The character, if there is a whole one.</param>
    /// <param name="length">
    /// The bytes of the character; else those of the longest beginning that could belong to a character, at least 1 (what one U+FFFD
    /// stands for by the practice of Unicode, WHATWG and Rust's from_utf8_lossy).
    /// </param>
    internal static Utf8Verdict Read(ReadOnlySpan<byte> bytes, out int codePoint, out int length)
    {
        byte lead = bytes[0];
        (codePoint, length) = (lead, 1);
        if (lead < 0x80) return Utf8Verdict.Character;
        int count = lead switch { >= 0xC2 and <= 0xDF => 2, >= 0xE0 and <= 0xEF => 3, >= 0xF0 and <= 0xF4 => 4, _ => 0 };
        if (count == 0) return Utf8Verdict.Malformed;
        codePoint = lead & (0xFF >> (count + 1));
        for (; length < count; length++)
        {
            if (length == bytes.Length) return Utf8Verdict.Unfinished;
            byte trail = bytes[length];
            // The second byte excludes overlong forms, surrogates and what is beyond U+10FFFF.
            (int low, int high) = length > 1 ? (0x80, 0xBF) : lead switch
            {
                0xE0 => (0xA0, 0xBF),
                0xED => (0x80, 0x9F),
                0xF0 => (0x90, 0xBF),
                0xF4 => (0x80, 0x8F),
                _ => (0x80, 0xBF),
            };
            if (trail < low || trail > high) return Utf8Verdict.Malformed;
            codePoint = (codePoint << 6) | (trail & 0x3F);
        }
        return Utf8Verdict.Character;
    }

    /// <summary>How many bytes at the end are an unfinished character; 0 when the text ends whole.</summary>
    internal static int UnfinishedAtEnd(ReadOnlySpan<byte> bytes)
    {
        for (int count = 1; count <= Math.Min(3, bytes.Length); count++)
        {
            byte lead = bytes[^count];
            if ((lead & 0xC0) == 0x80) continue;
            return Read(bytes[^count..], out _, out int length) == Utf8Verdict.Unfinished && length == count ? count : 0;
        }
        return 0;
    }

    /// <summary>Writes a code point as UTF-8 and tells how many bytes it took.</summary>
    internal static int Write(int codePoint, Span<byte> bytes)
    {
        switch (codePoint)
        {
            case < 0x80:
                bytes[0] = (byte)codePoint;
                return 1;
            case < 0x800:
                bytes[0] = (byte)(0xC0 | (codePoint >> 6));
                bytes[1] = (byte)(0x80 | (codePoint & 0x3F));
                return 2;
            case < 0x10000:
                bytes[0] = (byte)(0xE0 | (codePoint >> 12));
                bytes[1] = (byte)(0x80 | ((codePoint >> 6) & 0x3F));
                bytes[2] = (byte)(0x80 | (codePoint & 0x3F));
                return 3;
            default:
                bytes[0] = (byte)(0xF0 | (codePoint >> 18));
                bytes[1] = (byte)(0x80 | ((codePoint >> 12) & 0x3F));
                bytes[2] = (byte)(0x80 | ((codePoint >> 6) & 0x3F));
                bytes[3] = (byte)(0x80 | (codePoint & 0x3F));
                return 4;
        }
    }
}
