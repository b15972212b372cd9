using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Super-blocks of 256 numbers in 8 runs of 32: x̂ᵢ = (d·sᵣ)·qᵢ − dmin·mᵣ, r = ⌊i/32⌋.</summary>
/// <remarks>
/// 144 bytes: d and dmin, halves; 12 bytes of 6-bit scales s and minima m (<see cref="SixBitPairs"/>); 128 bytes of q: number
/// i = 64·g + j (j below 32) is the low four bits of byte 32·g + j, number 64·g + 32 + j the high four.
/// d·s, dmin·m, the product and the difference are each rounded to float32.
/// </remarks>
internal static class Q4_K
{
    public const int Length = 256, Bytes = 144;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks),
                dmin = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[2..]);
            ReadOnlySpan<byte> pairs = blocks[4..16], q = blocks[16..Bytes];
            for (int r = 0; r < 8; r++)
            {
                (int s, int m) = SixBitPairs.Read(pairs, r);
                float scale = d * s, minimum = dmin * m;
                int shift = 4 * (r % 2), start = 32 * (r / 2);
                for (int j = 0; j < 32; j++) numbers[(32 * r) + j] = (scale * ((q[start + j] >> shift) & 15)) - minimum;
            }
        }
    }

    public static void Narrow(ReadOnlySpan<float> numbers, Span<byte> blocks, ReadOnlySpan<float> importance)
    {
        Span<Vector256<float>> x = stackalloc Vector256<float>[32], w = stackalloc Vector256<float>[32];
        Span<byte> levels = stackalloc byte[Length];
        for (int first = 0; first < numbers.Length; first += Length, blocks = blocks[Bytes..])
        {
            Lanes.Load(numbers, importance, first, x, w);
            (float d, float dmin, Vector256<float> s, Vector256<float> m) = SuperBlockFit.ScalesAndMinima(x, w, 15, levels);
            BinaryPrimitives.WriteHalfLittleEndian(blocks, (Half)d);
            BinaryPrimitives.WriteHalfLittleEndian(blocks[2..], (Half)dmin);
            SixBitPairs.Write(s, m, blocks[4..16]);
            Span<byte> q = blocks[16..Bytes];
            for (int g = 0; g < 4; g++)
                for (int j = 0; j < 32; j++) q[(32 * g) + j] = (byte)(levels[(64 * g) + j] | levels[(64 * g) + 32 + j] << 4);
        }
    }
}
