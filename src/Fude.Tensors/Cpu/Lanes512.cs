using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>Sixteen numbers in one zmm register: AVX-512.</summary>
internal readonly unsafe struct Lanes512(Vector512<float> value) : ILanes<Lanes512>
{
    private readonly Vector512<float> _value = value;

    public static int Registers => 1;

    public static Lanes512 Zero => default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Broadcast(float value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Load(float* source) => new(Vector512.Load(source));

    // As in Lanes128.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadFloat16(ushort* source)
    {
        Vector512<int> half = Avx512F.ConvertToVector512Int32(Vector256.Load((short*)source));
        Vector512<int> bits = (half << 13) & Vector512.Create(unchecked((int)0x8FFFE000));
        Vector512<int> largest = Vector512.Create(0x0F800000);
        return new(Vector512.ConditionalSelect(
            Vector512.Equals(bits & largest, largest).AsSingle(),
            (bits | Vector512.Create(0x7F800000)).AsSingle(),
            bits.AsSingle() * Vector512.Create(Elementary.TwoTo112)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadBFloat16(ushort* source) =>
        new((Avx512F.ConvertToVector512Int32(Vector256.Load(source)) << 16).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadInt8(sbyte* source) =>
        new(Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(Vector128.Load(source))));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lanes512 value, float* target) => value._value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator +(Lanes512 left, Lanes512 right) => new(left._value + right._value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator -(Lanes512 left, Lanes512 right) => new(left._value - right._value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator *(Lanes512 left, Lanes512 right) => new(left._value * right._value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator /(Lanes512 left, Lanes512 right) => new(left._value / right._value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 MultiplyAdd(Lanes512 a, Lanes512 b, Lanes512 c) => new(Avx512F.FusedMultiplyAdd(a._value, b._value, c._value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Abs(Lanes512 value) => new(Vector512.Abs(value._value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 SelectLess(Lanes512 a, Lanes512 b, Lanes512 ifLess, Lanes512 otherwise) =>
        new(Vector512.ConditionalSelect(Vector512.LessThan(a._value, b._value), ifLess._value, otherwise._value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 ScaleByPowerOfTwo(Lanes512 value, Lanes512 shifted)
    {
        Vector512<int> n = shifted._value.AsInt32() - Vector512.Create(Elementary.IntegerShiftBits);
        Vector512<int> half = n >> 1, bias = Vector512.Create(127);
        return new(value._value * ((half + bias) << 23).AsSingle() * ((n - half + bias) << 23).AsSingle());
    }

    // Of IntegerShift no bit remains.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 AddToExponent(Lanes512 value, Lanes512 shifted) =>
        new((value._value.AsInt32() + (shifted._value.AsInt32() << 23)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Lanes512 value)
    {
        Vector256<float> eight = value._value.GetLower() + value._value.GetUpper();
        Vector128<float> four = eight.GetLower() + eight.GetUpper();
        Vector128<float> two = four + Vector128.Shuffle(four, Vector128.Create(2, 3, 2, 3));
        return two[0] + two[1];
    }

    // Two registers of eight partial sums each, then one with a quarter for every number, folded within the quarters.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SumFour(Lanes512 a, Lanes512 b, Lanes512 c, Lanes512 d, float* sums)
    {
        // Quarters: [a0 a1 b0 b1] + [a2 a3 b2 b3], likewise c and d.
        Vector512<float> ab = Avx512F.Shuffle4x128(a._value, b._value, 0b01_00_01_00)
            + Avx512F.Shuffle4x128(a._value, b._value, 0b11_10_11_10);
        Vector512<float> cd = Avx512F.Shuffle4x128(c._value, d._value, 0b01_00_01_00)
            + Avx512F.Shuffle4x128(c._value, d._value, 0b11_10_11_10);
        // [a b c d] = even quarters + odd quarters.
        Vector512<float> four = Avx512F.Shuffle4x128(ab, cd, 0b10_00_10_00) + Avx512F.Shuffle4x128(ab, cd, 0b11_01_11_01);
        four += Avx512F.Permute4x32(four, 0b11_10_11_10);
        four += Avx512F.Permute4x32(four, 0b01_01_01_01);
        Vector512<int> firsts = Vector512.Create(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        Avx512F.PermuteVar16x32(four, firsts).GetLower().GetLower().Store(sums);
    }
}
