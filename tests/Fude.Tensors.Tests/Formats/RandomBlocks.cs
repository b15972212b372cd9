using System.Buffers.Binary;

namespace Fude.Tensors.Tests;

/// <summary>Blocks of random bits whose scales are finite numbers.</summary>
internal static class RandomBlocks
{
    /// <summary>Where the halves of a block are; every other bit may be anything.</summary>
    public static int[] Halves(NumberFormat format) => format switch
    {
        NumberFormat.Q8_0 or NumberFormat.Q4_0 or NumberFormat.Q5_0 or NumberFormat.IQ4_NL or NumberFormat.IQ4_XS => [0],
        NumberFormat.Q4_1 or NumberFormat.Q5_1 or NumberFormat.Q4_K or NumberFormat.Q5_K => [0, 2],
        NumberFormat.Q2_K => [80, 82],
        NumberFormat.Q3_K => [108],
        NumberFormat.Q6_K => [208],
        _ => throw new ArgumentOutOfRangeException(nameof(format)),
    };

    public static byte[] Of(NumberFormat format, int blocks, ulong seed)
    {
        byte[] bytes = new byte[format.BlockBytes() * blocks];
        ulong state = seed;
        for (int i = 0; i < bytes.Length; i++)
        {
            // Knuth's MMIX generator; its upper bits are the good ones.
            state = (state * 6364136223846793005) + 1442695040888963407;
            bytes[i] = (byte)(state >> 56);
        }
        for (int block = 0; block < blocks; block++)
            foreach (int at in Halves(format))
            {
                Span<byte> half = bytes.AsSpan((block * format.BlockBytes()) + at, 2);
                // Clears the exponent's top bit: below 2, neither infinite nor NaN, sometimes subnormal.
                BinaryPrimitives.WriteUInt16LittleEndian(half, (ushort)(BinaryPrimitives.ReadUInt16LittleEndian(half) & 0xBFFF));
            }
        return bytes;
    }
}
