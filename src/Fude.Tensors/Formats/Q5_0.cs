using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Blocks of 32 numbers: x̂ᵢ = d·(qᵢ − 16).</summary>
/// <remarks>
/// 22 bytes: d, a half; 4 bytes, a little-endian word whose bit i is the fifth bit of number i's q; 16 bytes with the other four, of which
/// byte j holds those of number j low and those of number j + 16 high. The product is rounded once, to float32. d has either sign, as in
/// <see cref="Q4_0"/>.
/// </remarks>
internal static class Q5_0
{
    public const int Length = 32, Bytes = 22;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks);
            uint fifth = BinaryPrimitives.ReadUInt32LittleEndian(blocks[2..]);
            ReadOnlySpan<byte> q = blocks[6..Bytes];
            for (int j = 0; j < 16; j++)
            {
                numbers[j] = (((q[j] & 15) | (int)((fifth >> j) & 1) << 4) - 16) * d;
                numbers[j + 16] = (((q[j] >> 4) | (int)((fifth >> (j + 16)) & 1) << 4) - 16) * d;
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
            Vector256<float> d = BlockFit.HalfScale(x, w, -16, 15, reach: 1, q);
            for (int lane = 0; lane < Lanes.Count && blocks.Length > 0; lane++, blocks = blocks[Bytes..])
            {
                BinaryPrimitives.WriteHalfLittleEndian(blocks, (Half)d[lane]);
                BinaryPrimitives.WriteUInt32LittleEndian(blocks[2..], Nibbles.FifthBits(q.Slice(lane * Length, Length)));
                Nibbles.Pack(q.Slice(lane * Length, Length), blocks[6..Bytes]);
            }
        }
    }
}
