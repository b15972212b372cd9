using System.Runtime.CompilerServices;

namespace Fude.Tensors;

internal unsafe partial struct LanesScalar : IBlockLanes<LanesScalar>
{
    [InlineArray(64)]
    private struct SixtyFourBytes
    {
        private byte _first;
    }

    private static ref SixtyFourBytes Bytes(ref LanesScalar value) => ref Unsafe.As<LanesScalar, SixtyFourBytes>(ref value);

    public static LanesScalar Dot(LanesScalar sums, LanesScalar u, LanesScalar s, bool isWide)
    {
        for (int j = 0; j < 16; j++)
        {
            int sum = BitConverter.SingleToInt32Bits(sums[j]);
            for (int i = 4 * j; i < (4 * j) + 4; i++) sum += Bytes(ref u)[i] * (sbyte)Bytes(ref s)[i];
            sums[j] = BitConverter.Int32BitsToSingle(sum);
        }
        return sums;
    }

    public static LanesScalar BroadcastInt(int value) => Broadcast(BitConverter.Int32BitsToSingle(value));

    public static LanesScalar ToFloat(LanesScalar ints)
    {
        for (int j = 0; j < 16; j++) ints[j] = BitConverter.SingleToInt32Bits(ints[j]);
        return ints;
    }

    public static LanesScalar LowHalves(LanesScalar bytes) => Bits(bytes, 0, 15);

    public static LanesScalar HighHalves(LanesScalar bytes) => Bits(bytes, -4, 15);

    public static LanesScalar Bits(LanesScalar bytes, int up, byte mask)
    {
        foreach (ref byte value in (Span<byte>)Bytes(ref bytes)) value = (byte)((up >= 0 ? value << up : value >> -up) & mask);
        return bytes;
    }

    public static LanesScalar Or(LanesScalar left, LanesScalar right)
    {
        for (int i = 0; i < 64; i++) Bytes(ref left)[i] |= Bytes(ref right)[i];
        return left;
    }

    public static LanesScalar AddBytes(LanesScalar value, byte addend)
    {
        foreach (ref byte number in (Span<byte>)Bytes(ref value)) number += addend;
        return value;
    }

    public static LanesScalar LoadUnsignedBytes(byte* source)
    {
        LanesScalar result = default;
        for (int j = 0; j < 16; j++) result[j] = source[j];
        return result;
    }

    public static LanesScalar LoadSignedBytes(sbyte* source)
    {
        LanesScalar result = default;
        for (int j = 0; j < 16; j++) result[j] = source[j];
        return result;
    }

    public static void StoreLowBytes(LanesScalar ints, sbyte* target)
    {
        for (int j = 0; j < 16; j++) target[j] = (sbyte)BitConverter.SingleToInt32Bits(ints[j]);
    }

    public static float Max(LanesScalar value)
    {
        float max = value[0];
        for (int j = 1; j < 16; j++) max = value[j] > max ? value[j] : max;
        return max;
    }
}
