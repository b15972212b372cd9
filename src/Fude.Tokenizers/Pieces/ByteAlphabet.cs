namespace Fude.Tokenizers.Pieces;

/// <summary>GPT-2's printable characters for the 256 bytes: printable Latin-1 as itself, the rest from U+0100 on.</summary>
internal static class ByteAlphabet
{
    private static readonly char[] OfByte = Make();
    private static readonly short[] ByteOf = Invert();

    /// <summary>The character of each byte.</summary>
    internal static ReadOnlySpan<char> Characters => OfByte;

    /// <summary>The byte of a character, or -1.</summary>
    internal static int Find(char character) => character < ByteOf.Length ? ByteOf[character] : -1;

    private static char[] Make()
    {
        char[] characters = new char[256];
        int next = 0x100;
        for (int b = 0; b < 256; b++) characters[b] = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE ? (char)b : (char)next++;
        return characters;
    }

    private static short[] Invert()
    {
        short[] bytes = new short[0x200];
        Array.Fill(bytes, (short)-1);
        for (int b = 0; b < 256; b++) bytes[OfByte[b]] = (short)b;
        return bytes;
    }
}
