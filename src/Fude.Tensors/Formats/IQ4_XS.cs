using System.Buffers.Binary;

namespace Fude.Tensors;

/// <summary>Super-blocks of 256 numbers in 8 runs of 32: x̂ᵢ = (d·(sᵣ − 32))·v[qᵢ], r = ⌊i/32⌋, with the table v of
/// <see cref="IQ4_NL"/>. Read only.</summary>
/// <remarks>
/// 136 bytes: d, a half; a 16-bit word with the upper two bits of sᵣ at bits 2r; 4 bytes with the lower four, those of even runs low and
/// of odd runs high; 128 bytes of q: run r has bytes 16·r to 16·r + 15, of which byte j holds number j low and number j + 16 high.
/// d·(s − 32) and the product are each rounded to float32.
/// </remarks>
internal static class IQ4_XS
{
    public const int Length = 256, Bytes = 136;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks);
            int upper = BinaryPrimitives.ReadUInt16LittleEndian(blocks[2..]);
            ReadOnlySpan<byte> lower = blocks[4..8], q = blocks[8..Bytes];
            for (int r = 0; r < 8; r++)
            {
                int s = ((lower[r / 2] >> (4 * (r % 2))) & 15) | ((upper >> (2 * r)) & 3) << 4;
                float scale = d * (s - 32);
                for (int j = 0; j < 16; j++)
                {
                    numbers[(32 * r) + j] = scale * IQ4_NL.Values[q[(16 * r) + j] & 15];
                    numbers[(32 * r) + j + 16] = scale * IQ4_NL.Values[q[(16 * r) + j] >> 4];
                }
            }
        }
    }
}
