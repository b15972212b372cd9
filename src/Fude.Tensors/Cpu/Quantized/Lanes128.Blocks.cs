using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

internal readonly unsafe partial struct Lanes128 : IBlockLanes<Lanes128>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Dot(Lanes128 sums, Lanes128 u, Lanes128 s, bool isWide) =>
        new(Dot(sums._a, u._a, s._a), Dot(sums._b, u._b, s._b), Dot(sums._c, u._c, s._c), Dot(sums._d, u._d, s._d));

    // The four bytes of a lane one after the other, each widened to the whole lane by shifts.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Dot(Vector128<float> sums, Vector128<float> u, Vector128<float> s)
    {
        Vector128<int> sum = sums.AsInt32(), low = Vector128.Create(255), bytes = u.AsInt32(), signed = s.AsInt32();
        sum += (bytes & low) * ((signed << 24) >> 24);
        sum += ((bytes >>> 8) & low) * ((signed << 16) >> 24);
        sum += ((bytes >>> 16) & low) * ((signed << 8) >> 24);
        sum += (bytes >>> 24) * (signed >> 24);
        return sum.AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 BroadcastInt(int value) => All(Vector128.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Lanes128 All(Vector128<int> value) => new(value.AsSingle(), value.AsSingle(), value.AsSingle(), value.AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 ToFloat(Lanes128 ints) =>
        new(
            Vector128.ConvertToSingle(ints._a.AsInt32()),
            Vector128.ConvertToSingle(ints._b.AsInt32()),
            Vector128.ConvertToSingle(ints._c.AsInt32()),
            Vector128.ConvertToSingle(ints._d.AsInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LowHalves(Lanes128 bytes) => Bits(bytes, 0, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 HighHalves(Lanes128 bytes) => Bits(bytes, -4, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Bits(Lanes128 bytes, int up, byte mask) =>
        new(Bits(bytes._a, up, mask), Bits(bytes._b, up, mask), Bits(bytes._c, up, mask), Bits(bytes._d, up, mask));

    // The mask removes what a shift of whole lanes carries from one byte into the next.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Bits(Vector128<float> bytes, int up, byte mask)
    {
        Vector128<uint> words = bytes.AsUInt32();
        return ((up >= 0 ? words << up : words >>> -up) & Vector128.Create(mask).AsUInt32()).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 Or(Lanes128 left, Lanes128 right) =>
        new(left._a | right._a, left._b | right._b, left._c | right._c, left._d | right._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 AddBytes(Lanes128 value, byte addend)
    {
        Vector128<byte> all = Vector128.Create(addend);
        return new(
            (value._a.AsByte() + all).AsSingle(),
            (value._b.AsByte() + all).AsSingle(),
            (value._c.AsByte() + all).AsSingle(),
            (value._d.AsByte() + all).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadUnsignedBytes(byte* source)
    {
        (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(Vector128.Load(source));
        (Vector128<uint> a, Vector128<uint> b) = Vector128.Widen(low);
        (Vector128<uint> c, Vector128<uint> d) = Vector128.Widen(high);
        return ToFloat(new(a.AsSingle(), b.AsSingle(), c.AsSingle(), d.AsSingle()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes128 LoadSignedBytes(sbyte* source)
    {
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.Load(source));
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(low);
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(high);
        return ToFloat(new(a.AsSingle(), b.AsSingle(), c.AsSingle(), d.AsSingle()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreLowBytes(Lanes128 ints, sbyte* target) =>
        Vector128.Narrow(
            Vector128.Narrow(ints._a.AsInt32(), ints._b.AsInt32()), Vector128.Narrow(ints._c.AsInt32(), ints._d.AsInt32())).Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Max(Lanes128 value)
    {
        Vector128<float> four = Vector128.MaxNative(Vector128.MaxNative(value._a, value._b), Vector128.MaxNative(value._c, value._d));
        Vector128<float> two = Vector128.MaxNative(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 2, 3)));
        return Math.Max(two[0], two[1]);
    }
}
