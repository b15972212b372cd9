using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>Sixteen numbers in two ymm registers: AVX2 and FMA.</summary>
internal readonly unsafe partial struct Lanes256(Vector256<float> a, Vector256<float> b) : ILanes<Lanes256>
{
    private readonly Vector256<float> _a = a, _b = b;

    public static int Registers => 2;

    public static Lanes256 Zero => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Broadcast(float value)
    {
        Vector256<float> all = Vector256.Create(value);
        return new(all, all);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Load(float* source) => new(Vector256.Load(source), Vector256.Load(source + 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadFloat16(ushort* source) =>
        new(FromHalf(Avx2.ConvertToVector256Int32((short*)source)), FromHalf(Avx2.ConvertToVector256Int32((short*)source + 8)));

    // As in Lanes128.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> FromHalf(Vector256<int> half)
    {
        Vector256<int> bits = (half << 13) & Vector256.Create(unchecked((int)0x8FFFE000));
        Vector256<int> largest = Vector256.Create(0x0F800000);
        return Vector256.ConditionalSelect(
            Vector256.Equals(bits & largest, largest).AsSingle(),
            (bits | Vector256.Create(0x7F800000)).AsSingle(),
            bits.AsSingle() * Vector256.Create(Elementary.TwoTo112));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadBFloat16(ushort* source) =>
        new(
            (Avx2.ConvertToVector256Int32(source) << 16).AsSingle(),
            (Avx2.ConvertToVector256Int32(source + 8) << 16).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadInt8(sbyte* source) =>
        new(
            Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(source)),
            Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(source + 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lanes256 value, float* target)
    {
        value._a.Store(target);
        value._b.Store(target + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator +(Lanes256 left, Lanes256 right) => new(left._a + right._a, left._b + right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator -(Lanes256 left, Lanes256 right) => new(left._a - right._a, left._b - right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator *(Lanes256 left, Lanes256 right) => new(left._a * right._a, left._b * right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator /(Lanes256 left, Lanes256 right) => new(left._a / right._a, left._b / right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 MultiplyAdd(Lanes256 a, Lanes256 b, Lanes256 c) =>
        new(Fma.MultiplyAdd(a._a, b._a, c._a), Fma.MultiplyAdd(a._b, b._b, c._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Abs(Lanes256 value) => new(Vector256.Abs(value._a), Vector256.Abs(value._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 SelectLess(Lanes256 a, Lanes256 b, Lanes256 ifLess, Lanes256 otherwise) =>
        new(
            Vector256.ConditionalSelect(Vector256.LessThan(a._a, b._a), ifLess._a, otherwise._a),
            Vector256.ConditionalSelect(Vector256.LessThan(a._b, b._b), ifLess._b, otherwise._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 ScaleByPowerOfTwo(Lanes256 value, Lanes256 shifted) =>
        new(Scale(value._a, shifted._a), Scale(value._b, shifted._b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Scale(Vector256<float> value, Vector256<float> shifted)
    {
        Vector256<int> n = shifted.AsInt32() - Vector256.Create(Elementary.IntegerShiftBits), half = n >> 1, bias = Vector256.Create(127);
        return value * ((half + bias) << 23).AsSingle() * ((n - half + bias) << 23).AsSingle();
    }

    // As in Lanes512.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 AddToExponent(Lanes256 value, Lanes256 shifted) =>
        new(
            (value._a.AsInt32() + (shifted._a.AsInt32() << 23)).AsSingle(),
            (value._b.AsInt32() + (shifted._b.AsInt32() << 23)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Lanes256 value)
    {
        Vector256<float> eight = value._a + value._b;
        Vector128<float> four = eight.GetLower() + eight.GetUpper();
        Vector128<float> two = four + Vector128.Shuffle(four, Vector128.Create(2, 3, 2, 3));
        return two[0] + two[1];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SumFour(Lanes256 a, Lanes256 b, Lanes256 c, Lanes256 d, float* sums)
    {
        sums[0] = Sum(a);
        sums[1] = Sum(b);
        sums[2] = Sum(c);
        sums[3] = Sum(d);
    }
}
