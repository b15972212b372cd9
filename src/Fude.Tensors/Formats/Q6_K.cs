using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Super-blocks of 256 numbers in 16 runs of 16: x̂ᵢ = (d·sᵣ)·(qᵢ − 32), r = ⌊i/16⌋.</summary>
/// <remarks>
/// 210 bytes: 128 bytes with the lower four bits of q; 64 bytes with the upper two; 16 signed bytes s; d, a half.
/// Number i = 128·h + 32·k + j (j below 32) has its lower bits in byte 64·h + 32·(k mod 2) + j, low for k below 2 and high from there on,
/// and its upper two at bits 2k of byte 32·h + j. d·s and the product are each rounded to float32.
/// </remarks>
internal static class Q6_K
{
    public const int Length = 256, Bytes = 210;

    public static void Widen(ReadOnlySpan<byte> blocks, Span<float> numbers)
    {
        for (; numbers.Length > 0; blocks = blocks[Bytes..], numbers = numbers[Length..])
        {
            ReadOnlySpan<byte> lower = blocks[..128], upper = blocks[128..192], scales = blocks[192..208];
            float d = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[208..]);
            for (int r = 0; r < 16; r++)
            {
                float scale = d * (sbyte)scales[r];
                int half = r / 8, k = r / 2 % 4, start = 16 * (r % 2);
                for (int j = start; j < start + 16; j++)
                {
                    int low = (lower[(64 * half) + (32 * (k % 2)) + j] >> (4 * (k / 2))) & 15,
                        high = (upper[(32 * half) + j] >> (2 * k)) & 3;
                    numbers[(16 * r) + j - start] = scale * ((low | high << 4) - 32);
                }
            }
        }
    }

    public static void Narrow(ReadOnlySpan<float> numbers, Span<byte> blocks, ReadOnlySpan<float> importance)
    {
        Span<Vector256<float>> x = stackalloc Vector256<float>[32], w = stackalloc Vector256<float>[32];
        Span<byte> levels = stackalloc byte[Length];
        for (int first = 0; first < numbers.Length; first += Length, blocks = blocks[Bytes..])
        {
            Lanes.Load(numbers, importance, first, x[..16], w[..16]);               // runs 0 to 7
            Lanes.Load(numbers, importance, first + 128, x[16..], w[16..]);         // runs 8 to 15
            (float d, Vector256<float> front, Vector256<float> back) = SuperBlockFit.Scales(x, w, levels);
            blocks[..192].Clear();
            for (int i = 0; i < Length; i++)
            {
                int half = i / 128, k = i / 32 % 4, j = i % 32;
                blocks[(64 * half) + (32 * (k % 2)) + j] |= (byte)((levels[i] & 15) << (4 * (k / 2)));
                blocks[128 + (32 * half) + j] |= (byte)((levels[i] >> 4) << (2 * k));
            }
            for (int r = 0; r < 8; r++)
            {
                blocks[192 + r] = (byte)(sbyte)front[r];
                blocks[200 + r] = (byte)(sbyte)back[r];
            }
            BinaryPrimitives.WriteHalfLittleEndian(blocks[208..], (Half)d);
        }
    }
}
