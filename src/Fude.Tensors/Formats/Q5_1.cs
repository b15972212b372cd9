using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Blocks of 32 numbers: x̂ᵢ = d·qᵢ + m.</summary>
/// <remarks>
/// 24 bytes: d and m, halves; 4 bytes, a little-endian word whose bit i is the fifth bit of number i's q; 16 bytes with the other four, of
/// which byte j holds those of number j low and those of number j + 16 high. The product is rounded to float32, then the sum.
/// </remarks>
internal static class Q5_1
{
    public const int Length = 32, Bytes = 24;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks), m = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[2..]);
            uint fifth = BinaryPrimitives.ReadUInt32LittleEndian(blocks[4..]);
            ReadOnlySpan<byte> q = blocks[8..Bytes];
            for (int j = 0; j < 16; j++)
            {
                numbers[j] = (((q[j] & 15) | (int)((fifth >> j) & 1) << 4) * d) + m;
                numbers[j + 16] = (((q[j] >> 4) | (int)((fifth >> (j + 16)) & 1) << 4) * d) + m;
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
            (Vector256<float> d, Vector256<float> m) = BlockFit.HalfScaleAndMinimum(x, w, 31, q);
            for (int lane = 0; lane < Lanes.Count && blocks.Length > 0; lane++, blocks = blocks[Bytes..])
            {
                BinaryPrimitives.WriteHalfLittleEndian(blocks, (Half)d[lane]);
                BinaryPrimitives.WriteHalfLittleEndian(blocks[2..], (Half)m[lane]);
                BinaryPrimitives.WriteUInt32LittleEndian(blocks[4..], Nibbles.FifthBits(q.Slice(lane * Length, Length)));
                Nibbles.Pack(q.Slice(lane * Length, Length), blocks[8..Bytes]);
            }
        }
    }
}
