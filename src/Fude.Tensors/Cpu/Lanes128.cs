using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Sixteen numbers in four 128-bit vectors, portable: Arm, and x86 without AVX2.</summary>
internal readonly unsafe partial struct Lanes128(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d) : ILanes<Lanes128>
{
    private readonly Vector128<float> _a = a, _b = b, _c = c, _d = d;

    public static int Registers => 4;

    public static Lanes128 Zero => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Broadcast(float value)
    {
        Vector128<float> all = Vector128.Create(value);
        return new(all, all, all, all);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Load(float* source) =>
        new(Vector128.Load(source), Vector128.Load(source + 4), Vector128.Load(source + 8), Vector128.Load(source + 12));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadFloat16(ushort* source)
    {
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(Vector128.Load((short*)source));
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(Vector128.Load((short*)source + 8));
        return new(FromHalf(a), FromHalf(b), FromHalf(c), FromHalf(d));
    }

    // The half's exponent and mantissa moved into float32's place read as the number times 2⁻¹¹², subnormals included; multiplying is
    // exact. Infinity and NaN have the largest exponent of both formats and are put together from bits. half is sign-extended.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> FromHalf(Vector128<int> half)
    {
        Vector128<int> bits = (half << 13) & Vector128.Create(unchecked((int)0x8FFFE000));
        Vector128<int> largest = Vector128.Create(0x0F800000);
        return Vector128.ConditionalSelect(
            Vector128.Equals(bits & largest, largest).AsSingle(),
            (bits | Vector128.Create(0x7F800000)).AsSingle(),
            bits.AsSingle() * Vector128.Create(Elementary.TwoTo112));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadBFloat16(ushort* source)
    {
        (Vector128<uint> a, Vector128<uint> b) = Vector128.Widen(Vector128.Load(source));
        (Vector128<uint> c, Vector128<uint> d) = Vector128.Widen(Vector128.Load(source + 8));
        return new((a << 16).AsSingle(), (b << 16).AsSingle(), (c << 16).AsSingle(), (d << 16).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadInt8(sbyte* source)
    {
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.Load(source));
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(low);
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(high);
        return new(
            Vector128.ConvertToSingle(a), Vector128.ConvertToSingle(b), Vector128.ConvertToSingle(c), Vector128.ConvertToSingle(d));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lanes128 value, float* target)
    {
        value._a.Store(target);
        value._b.Store(target + 4);
        value._c.Store(target + 8);
        value._d.Store(target + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator +(Lanes128 left, Lanes128 right) =>
        new(left._a + right._a, left._b + right._b, left._c + right._c, left._d + right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator -(Lanes128 left, Lanes128 right) =>
        new(left._a - right._a, left._b - right._b, left._c - right._c, left._d - right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator *(Lanes128 left, Lanes128 right) =>
        new(left._a * right._a, left._b * right._b, left._c * right._c, left._d * right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 operator /(Lanes128 left, Lanes128 right) =>
        new(left._a / right._a, left._b / right._b, left._c / right._c, left._d / right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 MultiplyAdd(Lanes128 a, Lanes128 b, Lanes128 c) =>
        new(
            Vector128.FusedMultiplyAdd(a._a, b._a, c._a),
            Vector128.FusedMultiplyAdd(a._b, b._b, c._b),
            Vector128.FusedMultiplyAdd(a._c, b._c, c._c),
            Vector128.FusedMultiplyAdd(a._d, b._d, c._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Abs(Lanes128 value) =>
        new(Vector128.Abs(value._a), Vector128.Abs(value._b), Vector128.Abs(value._c), Vector128.Abs(value._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 SelectLess(Lanes128 a, Lanes128 b, Lanes128 ifLess, Lanes128 otherwise) =>
        new(
            Vector128.ConditionalSelect(Vector128.LessThan(a._a, b._a), ifLess._a, otherwise._a),
            Vector128.ConditionalSelect(Vector128.LessThan(a._b, b._b), ifLess._b, otherwise._b),
            Vector128.ConditionalSelect(Vector128.LessThan(a._c, b._c), ifLess._c, otherwise._c),
            Vector128.ConditionalSelect(Vector128.LessThan(a._d, b._d), ifLess._d, otherwise._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 ScaleByPowerOfTwo(Lanes128 value, Lanes128 shifted) =>
        new(
            Scale(value._a, shifted._a), Scale(value._b, shifted._b), Scale(value._c, shifted._c), Scale(value._d, shifted._d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Scale(Vector128<float> value, Vector128<float> shifted)
    {
        Vector128<int> n = shifted.AsInt32() - Vector128.Create(Elementary.IntegerShiftBits), half = n >> 1, bias = Vector128.Create(127);
        return value * ((half + bias) << 23).AsSingle() * ((n - half + bias) << 23).AsSingle();
    }

    // As in Lanes512.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 AddToExponent(Lanes128 value, Lanes128 shifted) =>
        new(
            (value._a.AsInt32() + (shifted._a.AsInt32() << 23)).AsSingle(),
            (value._b.AsInt32() + (shifted._b.AsInt32() << 23)).AsSingle(),
            (value._c.AsInt32() + (shifted._c.AsInt32() << 23)).AsSingle(),
            (value._d.AsInt32() + (shifted._d.AsInt32() << 23)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Lanes128 value)
    {
        Vector128<float> four = (value._a + value._c) + (value._b + value._d);
        return (four[0] + four[2]) + (four[1] + four[3]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SumFour(Lanes128 a, Lanes128 b, Lanes128 c, Lanes128 d, float* sums)
    {
        sums[0] = Sum(a);
        sums[1] = Sum(b);
        sums[2] = Sum(c);
        sums[3] = Sum(d);
    }
}
