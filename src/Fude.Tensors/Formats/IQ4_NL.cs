using System.Buffers.Binary;

namespace Fude.Tensors;

/// <summary>Blocks of 32 numbers: x̂ᵢ = d·v[qᵢ] with a table v of 16 unevenly spaced values. Read only.</summary>
/// <remarks>
/// 18 bytes: d, a half; 16 bytes, of which byte j holds q of number j in its low and of number j + 16 in its high four bits.
/// The product is rounded once, to float32.
/// </remarks>
internal static class IQ4_NL
{
    public const int Length = 32, Bytes = 18;

    /// <summary>The values: denser around 0, where the numbers are.</summary>
    public static ReadOnlySpan<sbyte> Values => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks);
            ReadOnlySpan<byte> q = blocks[2..Bytes];
            for (int j = 0; j < 16; j++)
            {
                numbers[j] = d * Values[q[j] & 15];
                numbers[j + 16] = d * Values[q[j] >> 4];
            }
        }
    }
}
