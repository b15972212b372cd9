using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Blocks of 32 numbers: x̂ᵢ = d·qᵢ + m.</summary>
/// <remarks>
/// 20 bytes: d and m, halves; 16 bytes, of which byte j holds q of number j in its low and of number j + 16 in its high four bits.
/// The product is rounded to float32, then the sum: no fused multiply-add.
/// </remarks>
internal static class Q4_1
{
    public const int Length = 32, Bytes = 20;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks), m = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[2..]);
            ReadOnlySpan<byte> q = blocks[4..Bytes];
            for (int j = 0; j < 16; j++)
            {
                numbers[j] = ((q[j] & 15) * d) + m;
                numbers[j + 16] = ((q[j] >> 4) * d) + m;
            }
        }
    }

    public static void Narrow(ReadOnlySpan<float> numbers, Span<byte> blocks, ReadOnlySpan<float> importance)
    {
        Span<Vector256<float>> x = stackalloc Vector256<float>[Length], w = stackalloc Vector256<float>[Length];
        Span<byte> q = stackalloc byte[Lanes.Count * Length];
        for (int first = 0; first < numbers.Length; first += Lanes.Count * Length)
        {
            Lanes.Load(numbers, importance, first, x, w);
            (Vector256<float> d, Vector256<float> m) = BlockFit.HalfScaleAndMinimum(x, w, 15, q);
            for (int lane = 0; lane < Lanes.Count && blocks.Length > 0; lane++, blocks = blocks[Bytes..])
            {
                BinaryPrimitives.WriteHalfLittleEndian(blocks, (Half)d[lane]);
                BinaryPrimitives.WriteHalfLittleEndian(blocks[2..], (Half)m[lane]);
                Nibbles.Pack(q.Slice(lane * Length, Length), blocks[4..Bytes]);
            }
        }
    }
}
