using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Blocks of 32 numbers: x̂ᵢ = d·qᵢ.</summary>
/// <remarks>
/// 34 bytes: d, a half; 32 signed bytes q. The product is rounded once, to float32.
/// The quantiser keeps to −127 … 127, so that |q| is a byte's magnitude too, and to d ≥ 0.
/// </remarks>
internal static class Q8_0
{
    public const int Length = 32, Bytes = 34;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks);
            ReadOnlySpan<byte> q = blocks[2..Bytes];
            for (int i = 0; i < Length; i++) numbers[i] = (sbyte)q[i] * d;
        }
    }

    public static void Narrow(ReadOnlySpan<float> numbers, Span<byte> blocks, ReadOnlySpan<float> importance)
    {
        Span<Vector256<float>> x = stackalloc Vector256<float>[Length], w = stackalloc Vector256<float>[Length];
        Span<byte> q = stackalloc byte[Lanes.Count * Length];
        for (int first = 0; first < numbers.Length; first += Lanes.Count * Length)
        {
            Lanes.Load(numbers, importance, first, x, w);
            Vector256<float> d = BlockFit.HalfScale(x, w, -127, 127, reach: 0.5f, q);
            for (int lane = 0; lane < Lanes.Count && blocks.Length > 0; lane++, blocks = blocks[Bytes..])
            {
                BinaryPrimitives.WriteHalfLittleEndian(blocks, (Half)d[lane]);
                for (int i = 0; i < Length; i++) blocks[2 + i] = (byte)(q[(lane * Length) + i] - 127);
            }
        }
    }
}
