using System.Buffers.Binary;

namespace Fude.Tensors;

/// <summary>Super-blocks of 256 numbers in 16 runs of 16: x̂ᵢ = (d·sᵣ)·qᵢ − dmin·mᵣ, r = ⌊i/16⌋. Read only.</summary>
/// <remarks>
/// 84 bytes: 16 bytes, of which byte r holds sᵣ in its low and mᵣ in its high four bits; 64 bytes of q; d and dmin, halves.
/// Number i = 128·h + 32·k + j (j below 32) is the two bits 2k of byte 32·h + j.
/// d·s, dmin·m, the product and the difference are each rounded to float32.
/// </remarks>
internal static class Q2_K
{
    public const int Length = 256, Bytes = 84;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            ReadOnlySpan<byte> scales = blocks[..16], q = blocks[16..80];
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[80..]),
                dmin = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[82..]);
            for (int r = 0; r < 16; r++)
            {
                float scale = d * (scales[r] & 15), minimum = dmin * (scales[r] >> 4);
                int shift = 2 * (r / 2 % 4), start = (32 * (r / 8)) + (16 * (r % 2));
                for (int j = 0; j < 16; j++) numbers[(16 * r) + j] = (scale * ((q[start + j] >> shift) & 3)) - minimum;
            }
        }
    }
}
