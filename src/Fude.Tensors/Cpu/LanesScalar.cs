using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Sixteen numbers in a plain array: the reference that the other lanes must equal bit for bit.</summary>
[InlineArray(16)]
internal unsafe partial struct LanesScalar : ILanes<LanesScalar>
{
    private float _first;

    public static int Registers => 16;

    public static LanesScalar Zero => default;

    public static LanesScalar Broadcast(float value)
    {
        LanesScalar result = default;
        for (int j = 0; j < 16; j++) result[j] = value;
        return result;
    }

    public static LanesScalar Load(float* source)
    {
        LanesScalar result = default;
        for (int j = 0; j < 16; j++) result[j] = source[j];
        return result;
    }

    public static LanesScalar LoadFloat16(ushort* source)
    {
        LanesScalar result = default;
        for (int j = 0; j < 16; j++) result[j] = (float)BitConverter.UInt16BitsToHalf(source[j]);
        return result;
    }

    public static LanesScalar LoadBFloat16(ushort* source)
    {
        LanesScalar result = default;
        for (int j = 0; j < 16; j++) result[j] = BitConverter.UInt32BitsToSingle((uint)source[j] << 16);
        return result;
    }

    public static LanesScalar LoadInt8(sbyte* source)
    {
        LanesScalar result = default;
        for (int j = 0; j < 16; j++) result[j] = source[j];
        return result;
    }

    public static void Store(LanesScalar value, float* target)
    {
        for (int j = 0; j < 16; j++) target[j] = value[j];
    }

    public static LanesScalar operator +(LanesScalar left, LanesScalar right)
    {
        for (int j = 0; j < 16; j++) left[j] += right[j];
        return left;
    }

    public static LanesScalar operator -(LanesScalar left, LanesScalar right)
    {
        for (int j = 0; j < 16; j++) left[j] -= right[j];
        return left;
    }

    public static LanesScalar operator *(LanesScalar left, LanesScalar right)
    {
        for (int j = 0; j < 16; j++) left[j] *= right[j];
        return left;
    }

    public static LanesScalar operator /(LanesScalar left, LanesScalar right)
    {
        for (int j = 0; j < 16; j++) left[j] /= right[j];
        return left;
    }

    public static LanesScalar MultiplyAdd(LanesScalar a, LanesScalar b, LanesScalar c)
    {
        for (int j = 0; j < 16; j++) c[j] = MathF.FusedMultiplyAdd(a[j], b[j], c[j]);
        return c;
    }

    public static LanesScalar Abs(LanesScalar value)
    {
        for (int j = 0; j < 16; j++) value[j] = MathF.Abs(value[j]);
        return value;
    }

    public static LanesScalar SelectLess(LanesScalar a, LanesScalar b, LanesScalar ifLess, LanesScalar otherwise)
    {
        for (int j = 0; j < 16; j++) if (a[j] < b[j]) otherwise[j] = ifLess[j];
        return otherwise;
    }

    public static LanesScalar ScaleByPowerOfTwo(LanesScalar value, LanesScalar shifted)
    {
        for (int j = 0; j < 16; j++)
        {
            int n = BitConverter.SingleToInt32Bits(shifted[j]) - Elementary.IntegerShiftBits, half = n >> 1;
            value[j] *= BitConverter.Int32BitsToSingle((half + 127) << 23);
            value[j] *= BitConverter.Int32BitsToSingle((n - half + 127) << 23);
        }
        return value;
    }

    public static LanesScalar AddToExponent(LanesScalar value, LanesScalar shifted)
    {
        for (int j = 0; j < 16; j++)
            value[j] = BitConverter.Int32BitsToSingle(
                BitConverter.SingleToInt32Bits(value[j]) + (BitConverter.SingleToInt32Bits(shifted[j]) << 23));
        return value;
    }

    public static float Sum(LanesScalar value)
    {
        for (int width = 8; width > 0; width /= 2)
            for (int j = 0; j < width; j++) value[j] += value[j + width];
        return value[0];
    }

    public static void SumFour(LanesScalar a, LanesScalar b, LanesScalar c, LanesScalar d, float* sums)
    {
        sums[0] = Sum(a);
        sums[1] = Sum(b);
        sums[2] = Sum(c);
        sums[3] = Sum(d);
    }
}
