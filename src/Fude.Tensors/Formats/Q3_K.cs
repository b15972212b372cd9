using System.Buffers.Binary;

namespace Fude.Tensors;

/// <summary>Super-blocks of 256 numbers in 16 runs of 16: x̂ᵢ = (d·(sᵣ − 32))·(qᵢ − 4), r = ⌊i/16⌋. Read only.</summary>
/// <remarks>
/// 110 bytes: 32 bytes with the third bits of q; 64 bytes with the lower two; 12 bytes of 6-bit scales s; d, a half.
/// Number i = 128·h + 32·k + j (j below 32) has its lower two bits at bits 2k of byte 32·h + j and its third at bit 4·h + k of byte j.
/// Scale r has its lower four bits in byte r mod 8 of the scales, low for r below 8 and high from there on, and its upper two at bits
/// 2·⌊r/4⌋ of byte 8 + r mod 4. d·(s − 32) and the product are each rounded to float32.
/// </remarks>
internal static class Q3_K
{
    public const int Length = 256, Bytes = 110;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            ReadOnlySpan<byte> third = blocks[..32], q = blocks[32..96], scales = blocks[96..108];
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[108..]);
            for (int r = 0; r < 16; r++)
            {
                int low = (scales[r % 8] >> (4 * (r / 8))) & 15, high = (scales[8 + (r % 4)] >> (2 * (r / 4))) & 3;
                float scale = d * ((low | high << 4) - 32);
                int half = r / 8, k = r / 2 % 4, start = 16 * (r % 2);
                for (int j = start; j < start + 16; j++)
                {
                    int value = ((q[(32 * half) + j] >> (2 * k)) & 3) | ((third[j] >> ((4 * half) + k)) & 1) << 2;
                    numbers[(16 * r) + j - start] = scale * (value - 4);
                }
            }
        }
    }
}
