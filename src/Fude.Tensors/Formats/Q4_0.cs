using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Blocks of 32 numbers: x̂ᵢ = d·(qᵢ − 8).</summary>
/// <remarks>
/// 18 bytes: d, a half; 16 bytes, of which byte j holds q of number j in its low and of number j + 16 in its high four bits.
/// The product is rounded once, to float32. d has either sign: the block's extreme lies at q = 0, the longer end of the range.
/// </remarks>
internal static class Q4_0
{
    public const int Length = 32, Bytes = 18;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks);
            ReadOnlySpan<byte> q = blocks[2..Bytes];
            for (int j = 0; j < 16; j++)
            {
                numbers[j] = ((q[j] & 15) - 8) * d;
                numbers[j + 16] = ((q[j] >> 4) - 8) * d;
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
            Vector256<float> d = BlockFit.HalfScale(x, w, -8, 7, reach: 1, q);
            for (int lane = 0; lane < Lanes.Count && blocks.Length > 0; lane++, blocks = blocks[Bytes..])
            {
                BinaryPrimitives.WriteHalfLittleEndian(blocks, (Half)d[lane]);
                Nibbles.Pack(q.Slice(lane * Length, Length), blocks[2..Bytes]);
            }
        }
    }
}
