using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>The 12 bytes in which <see cref="Q4_K"/> and <see cref="Q5_K"/> keep eight pairs of a 6-bit scale and a 6-bit
/// minimum.</summary>
/// <remarks>
/// Pairs 0 to 3: the scale is the low six bits of byte r, the minimum those of byte 4 + r. Pairs 4 to 7: byte 4 + r holds the low four bits
/// of the scale (low) and of the minimum (high); the upper two bits of the scale are the top of byte r − 4, those of the minimum of byte r.
/// </remarks>
internal static class SixBitPairs
{
    public static (int Scale, int Minimum) Read(ReadOnlySpan<byte> bytes, int r) => r < 4
        ? (bytes[r] & 63, bytes[4 + r] & 63)
        : ((bytes[4 + r] & 15) | (bytes[r - 4] >> 6) << 4, (bytes[4 + r] >> 4) | (bytes[r] >> 6) << 4);

    public static void Write(Vector256<float> scales, Vector256<float> minima, Span<byte> bytes)
    {
        for (int r = 0; r < 4; r++)
        {
            int low = (int)scales[r], high = (int)scales[r + 4], lowMinimum = (int)minima[r], highMinimum = (int)minima[r + 4];
            bytes[r] = (byte)(low | (high >> 4) << 6);
            bytes[r + 4] = (byte)(lowMinimum | (highMinimum >> 4) << 6);
            bytes[r + 8] = (byte)((high & 15) | (highMinimum & 15) << 4);
        }
    }
}
