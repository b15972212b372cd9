using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

internal readonly unsafe partial struct Lanes256 : IBlockLanes<Lanes256>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Dot(Lanes256 sums, Lanes256 u, Lanes256 s, bool isWide) => AvxVnni.IsSupported
        ? new(
            AvxVnni.MultiplyWideningAndAdd(sums._a.AsInt32(), u._a.AsByte(), s._a.AsSByte()).AsSingle(),
            AvxVnni.MultiplyWideningAndAdd(sums._b.AsInt32(), u._b.AsByte(), s._b.AsSByte()).AsSingle())
        : DotWithoutVnni(sums, u, s, isWide);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Lanes256 DotWithoutVnni(Lanes256 sums, Lanes256 u, Lanes256 s, bool isWide) =>
        new(Dot(sums._a, u._a, s._a, isWide), Dot(sums._b, u._b, s._b, isWide));

    // VPMADDUBSW adds pairs of products in 16 bits: 2·127·127 fits, 2·255·127 does not. The eighth bit goes a way of its own.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Dot(Vector256<float> sums, Vector256<float> u, Vector256<float> s, bool isWide)
    {
        Vector256<byte> bytes = u.AsByte();
        Vector256<byte> low = isWide ? bytes & Vector256.Create((byte)127) : bytes;
        Vector256<int> sum = sums.AsInt32()
            + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(low, s.AsSByte()), Vector256<short>.One);
        if (!isWide) return sum.AsSingle();
        Vector256<byte> eighth = (bytes.AsUInt16() >>> 7).AsByte() & Vector256<byte>.One;
        return (sum + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(eighth, s.AsSByte()), Vector256.Create((short)128))).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 BroadcastInt(int value)
    {
        Vector256<float> all = Vector256.Create(value).AsSingle();
        return new(all, all);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 ToFloat(Lanes256 ints) =>
        new(Avx.ConvertToVector256Single(ints._a.AsInt32()), Avx.ConvertToVector256Single(ints._b.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LowHalves(Lanes256 bytes) => Bits(bytes, 0, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 HighHalves(Lanes256 bytes) => Bits(bytes, -4, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Bits(Lanes256 bytes, int up, byte mask) => new(Bits(bytes._a, up, mask), Bits(bytes._b, up, mask));

    // As in Lanes128.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Bits(Vector256<float> bytes, int up, byte mask)
    {
        Vector256<uint> words = bytes.AsUInt32(), kept = Vector256.Create(mask).AsUInt32();
        if (up == 0) return (words & kept).AsSingle();
        return ((up > 0 ? words << up : words >>> -up) & kept).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Or(Lanes256 left, Lanes256 right) => new(left._a | right._a, left._b | right._b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 AddBytes(Lanes256 value, byte addend)
    {
        Vector256<byte> all = Vector256.Create(addend);
        return new((value._a.AsByte() + all).AsSingle(), (value._b.AsByte() + all).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadUnsignedBytes(byte* source) =>
        new(
            Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(source)),
            Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(source + 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadSignedBytes(sbyte* source) =>
        new(
            Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(source)),
            Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(source + 8)));

    // Pack instructions saturate: what is packed are the lowest bytes, sign-extended. They work within halves of 128 bits.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreLowBytes(Lanes256 ints, sbyte* target)
    {
        Vector256<int> a = (ints._a.AsInt32() << 24) >> 24, b = (ints._b.AsInt32() << 24) >> 24;
        Vector256<short> words = Avx2.Permute4x64(Avx2.PackSignedSaturate(a, b).AsInt64(), 0b11_01_10_00).AsInt16();
        Sse2.PackSignedSaturate(words.GetLower(), words.GetUpper()).Store(target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Max(Lanes256 value)
    {
        Vector256<float> eight = Avx.Max(value._a, value._b);
        Vector128<float> four = Sse.Max(eight.GetLower(), eight.GetUpper());
        Vector128<float> two = Sse.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 2, 3)));
        return Math.Max(two[0], two[1]);
    }
}
