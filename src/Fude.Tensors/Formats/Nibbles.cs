namespace Fude.Tensors;

/// <summary>The halves of bytes in which <see cref="Q4_0"/> and its like keep 32 small numbers.</summary>
internal static class Nibbles
{
    /// <summary>The low four bits of number j and of number j + 16 into byte j.</summary>
    public static void Pack(ReadOnlySpan<byte> q, Span<byte> bytes)
    {
        for (int j = 0; j < 16; j++) bytes[j] = (byte)((q[j] & 15) | (q[j + 16] & 15) << 4);
    }

    /// <summary>The fifth bit of number i at bit i.</summary>
    public static uint FifthBits(ReadOnlySpan<byte> q)
    {
        uint bits = 0;
        for (int i = 0; i < 32; i++) bits |= (uint)((q[i] >> 4) & 1) << i;
        return bits;
    }
}
