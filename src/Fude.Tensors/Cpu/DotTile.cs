using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>Dot products of some rows with some other rows, all at once, so that each number loaded is used several times.</summary>
/// <remarks>
/// Every dot product has sixteen lanes of its own which run through the whole row (<see cref="ILanes{T}"/>): its bits do not depend on the
/// tile it is computed in. A row may be walked in pieces; between them the lanes rest in <c>carry</c>, unrounded and unsummed.
/// </remarks>
internal static unsafe class DotTile
{
    /// <summary>Rows of x and of w that the tile of these lanes takes.</summary>
    public static (int X, int W) Shape<T>()
        where T : unmanaged, ILanes<T> => T.Registers == 1 ? (6, 4) : (2, 2);

    /// <summary>Rows of w that a single row of x meets at once: as many streams through memory.</summary>
    public static int Streams<T>()
        where T : unmanaged, ILanes<T> => T.Registers == 1 ? 8 : 4;

    /// <summary>One tile: sums[i·W + j] = Σ x[i][k]·w[j][k], k from 0 to count.</summary>
    /// <param name="x">X pointers to float32 rows.</param>
    /// <param name="w">W pointers to rows of stored numbers.</param>
    /// <param name="count">Numbers in this piece; a multiple of 16 unless it is the last one.</param>
    /// <param name="carry">[X·W][16] lanes between pieces; not used when the piece is first and last.</param>
    /// <param name="first">Whether the lanes begin at 0.</param>
    /// <param name="last">Whether the lanes are summed.</param>
    /// <param name="sums">[X·W], written when the piece is the last.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run<T, TStored>(float** x, byte** w, int count, float* carry, bool first, bool last, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        if (T.Registers == 1) SixByFour<T, TStored>(x, w, count, carry, first, last, sums);
        else TwoByTwo<T, TStored>(x, w, count, carry, first, last, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixByFour<T, TStored>(float** x, byte** w, int count, float* carry, bool first, bool last, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        T a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, e0, e1, e2, e3, f0, f1, f2, f3;
        if (first)
        {
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = T.Zero;
            d0 = d1 = d2 = d3 = e0 = e1 = e2 = e3 = f0 = f1 = f2 = f3 = T.Zero;
        }
        else
        {
            (a0, a1, a2, a3) = (T.Load(carry), T.Load(carry + 16), T.Load(carry + 32), T.Load(carry + 48));
            (b0, b1, b2, b3) = (T.Load(carry + 64), T.Load(carry + 80), T.Load(carry + 96), T.Load(carry + 112));
            (c0, c1, c2, c3) = (T.Load(carry + 128), T.Load(carry + 144), T.Load(carry + 160), T.Load(carry + 176));
            (d0, d1, d2, d3) = (T.Load(carry + 192), T.Load(carry + 208), T.Load(carry + 224), T.Load(carry + 240));
            (e0, e1, e2, e3) = (T.Load(carry + 256), T.Load(carry + 272), T.Load(carry + 288), T.Load(carry + 304));
            (f0, f1, f2, f3) = (T.Load(carry + 320), T.Load(carry + 336), T.Load(carry + 352), T.Load(carry + 368));
        }
        float* xa = x[0], xb = x[1], xc = x[2], xd = x[3], xe = x[4], xf = x[5];
        byte* w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        nint k = 0;
        for (; k <= count - 16; k += 16)
        {
            T v0 = TStored.Load<T>(w0, k), v1 = TStored.Load<T>(w1, k), v2 = TStored.Load<T>(w2, k), v3 = TStored.Load<T>(w3, k);
            T u = T.Load(xa + k);
            (a0, a1, a2, a3) = (T.MultiplyAdd(u, v0, a0), T.MultiplyAdd(u, v1, a1), T.MultiplyAdd(u, v2, a2), T.MultiplyAdd(u, v3, a3));
            u = T.Load(xb + k);
            (b0, b1, b2, b3) = (T.MultiplyAdd(u, v0, b0), T.MultiplyAdd(u, v1, b1), T.MultiplyAdd(u, v2, b2), T.MultiplyAdd(u, v3, b3));
            u = T.Load(xc + k);
            (c0, c1, c2, c3) = (T.MultiplyAdd(u, v0, c0), T.MultiplyAdd(u, v1, c1), T.MultiplyAdd(u, v2, c2), T.MultiplyAdd(u, v3, c3));
            u = T.Load(xd + k);
            (d0, d1, d2, d3) = (T.MultiplyAdd(u, v0, d0), T.MultiplyAdd(u, v1, d1), T.MultiplyAdd(u, v2, d2), T.MultiplyAdd(u, v3, d3));
            u = T.Load(xe + k);
            (e0, e1, e2, e3) = (T.MultiplyAdd(u, v0, e0), T.MultiplyAdd(u, v1, e1), T.MultiplyAdd(u, v2, e2), T.MultiplyAdd(u, v3, e3));
            u = T.Load(xf + k);
            (f0, f1, f2, f3) = (T.MultiplyAdd(u, v0, f0), T.MultiplyAdd(u, v1, f1), T.MultiplyAdd(u, v2, f2), T.MultiplyAdd(u, v3, f3));
        }
        int rest = count - (int)k;
        if (rest > 0)
        {
            T v0 = TStored.LoadPartial<T>(w0, k, rest), v1 = TStored.LoadPartial<T>(w1, k, rest);
            T v2 = TStored.LoadPartial<T>(w2, k, rest), v3 = TStored.LoadPartial<T>(w3, k, rest);
            T u = Partial.Load<T>(xa + k, rest);
            (a0, a1, a2, a3) = (T.MultiplyAdd(u, v0, a0), T.MultiplyAdd(u, v1, a1), T.MultiplyAdd(u, v2, a2), T.MultiplyAdd(u, v3, a3));
            u = Partial.Load<T>(xb + k, rest);
            (b0, b1, b2, b3) = (T.MultiplyAdd(u, v0, b0), T.MultiplyAdd(u, v1, b1), T.MultiplyAdd(u, v2, b2), T.MultiplyAdd(u, v3, b3));
            u = Partial.Load<T>(xc + k, rest);
            (c0, c1, c2, c3) = (T.MultiplyAdd(u, v0, c0), T.MultiplyAdd(u, v1, c1), T.MultiplyAdd(u, v2, c2), T.MultiplyAdd(u, v3, c3));
            u = Partial.Load<T>(xd + k, rest);
            (d0, d1, d2, d3) = (T.MultiplyAdd(u, v0, d0), T.MultiplyAdd(u, v1, d1), T.MultiplyAdd(u, v2, d2), T.MultiplyAdd(u, v3, d3));
            u = Partial.Load<T>(xe + k, rest);
            (e0, e1, e2, e3) = (T.MultiplyAdd(u, v0, e0), T.MultiplyAdd(u, v1, e1), T.MultiplyAdd(u, v2, e2), T.MultiplyAdd(u, v3, e3));
            u = Partial.Load<T>(xf + k, rest);
            (f0, f1, f2, f3) = (T.MultiplyAdd(u, v0, f0), T.MultiplyAdd(u, v1, f1), T.MultiplyAdd(u, v2, f2), T.MultiplyAdd(u, v3, f3));
        }
        if (last)
        {
            T.SumFour(a0, a1, a2, a3, sums);
            T.SumFour(b0, b1, b2, b3, sums + 4);
            T.SumFour(c0, c1, c2, c3, sums + 8);
            T.SumFour(d0, d1, d2, d3, sums + 12);
            T.SumFour(e0, e1, e2, e3, sums + 16);
            T.SumFour(f0, f1, f2, f3, sums + 20);
            return;
        }
        StoreFour(a0, a1, a2, a3, carry);
        StoreFour(b0, b1, b2, b3, carry + 64);
        StoreFour(c0, c1, c2, c3, carry + 128);
        StoreFour(d0, d1, d2, d3, carry + 192);
        StoreFour(e0, e1, e2, e3, carry + 256);
        StoreFour(f0, f1, f2, f3, carry + 320);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TwoByTwo<T, TStored>(float** x, byte** w, int count, float* carry, bool first, bool last, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        T a0 = T.Zero, a1 = T.Zero, b0 = T.Zero, b1 = T.Zero;
        if (!first) (a0, a1, b0, b1) = (T.Load(carry), T.Load(carry + 16), T.Load(carry + 32), T.Load(carry + 48));
        float* xa = x[0], xb = x[1];
        byte* w0 = w[0], w1 = w[1];
        nint k = 0;
        for (; k <= count - 16; k += 16)
        {
            T v0 = TStored.Load<T>(w0, k), v1 = TStored.Load<T>(w1, k);
            T u = T.Load(xa + k);
            (a0, a1) = (T.MultiplyAdd(u, v0, a0), T.MultiplyAdd(u, v1, a1));
            u = T.Load(xb + k);
            (b0, b1) = (T.MultiplyAdd(u, v0, b0), T.MultiplyAdd(u, v1, b1));
        }
        int rest = count - (int)k;
        if (rest > 0)
        {
            T v0 = TStored.LoadPartial<T>(w0, k, rest), v1 = TStored.LoadPartial<T>(w1, k, rest);
            T u = Partial.Load<T>(xa + k, rest);
            (a0, a1) = (T.MultiplyAdd(u, v0, a0), T.MultiplyAdd(u, v1, a1));
            u = Partial.Load<T>(xb + k, rest);
            (b0, b1) = (T.MultiplyAdd(u, v0, b0), T.MultiplyAdd(u, v1, b1));
        }
        if (last) T.SumFour(a0, a1, b0, b1, sums);
        else StoreFour(a0, a1, b0, b1, carry);
    }

    /// <summary>One row of x with <see cref="Streams"/> rows of w that lie far apart: sums[j] = Σ x[k]·w[j][k].</summary>
    /// <param name="x">A float32 row.</param>
    /// <param name="w">Streams pointers to rows of stored numbers.</param>
    /// <param name="count">Numbers in a row.</param>
    /// <param name="sums">[Streams].</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void RunRow<T, TStored>(float* x, byte** w, int count, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        if (T.Registers == 1) OneByEight<T, TStored>(x, w, count, sums);
        else OneByFour<T, TStored>(x, w, count, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByEight<T, TStored>(float* x, byte** w, int count, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        T a0 = T.Zero, a1 = T.Zero, a2 = T.Zero, a3 = T.Zero, a4 = T.Zero, a5 = T.Zero, a6 = T.Zero, a7 = T.Zero;
        byte* w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], w4 = w[4], w5 = w[5], w6 = w[6], w7 = w[7];
        nint k = 0;
        for (; k <= count - 32; k += 32)
        {
            T u = T.Load(x + k), v = T.Load(x + k + 16);
            Ahead<TStored>(w0, k);
            a0 = T.MultiplyAdd(v, TStored.Load<T>(w0, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w0, k), a0));
            Ahead<TStored>(w1, k);
            a1 = T.MultiplyAdd(v, TStored.Load<T>(w1, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w1, k), a1));
            Ahead<TStored>(w2, k);
            a2 = T.MultiplyAdd(v, TStored.Load<T>(w2, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w2, k), a2));
            Ahead<TStored>(w3, k);
            a3 = T.MultiplyAdd(v, TStored.Load<T>(w3, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w3, k), a3));
            Ahead<TStored>(w4, k);
            a4 = T.MultiplyAdd(v, TStored.Load<T>(w4, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w4, k), a4));
            Ahead<TStored>(w5, k);
            a5 = T.MultiplyAdd(v, TStored.Load<T>(w5, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w5, k), a5));
            Ahead<TStored>(w6, k);
            a6 = T.MultiplyAdd(v, TStored.Load<T>(w6, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w6, k), a6));
            Ahead<TStored>(w7, k);
            a7 = T.MultiplyAdd(v, TStored.Load<T>(w7, k + 16), T.MultiplyAdd(u, TStored.Load<T>(w7, k), a7));
        }
        for (; k < count; k += 16)
        {
            int rest = Math.Min(16, count - (int)k);
            T u = Partial.Load<T>(x + k, rest);
            a0 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w0, k, rest), a0);
            a1 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w1, k, rest), a1);
            a2 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w2, k, rest), a2);
            a3 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w3, k, rest), a3);
            a4 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w4, k, rest), a4);
            a5 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w5, k, rest), a5);
            a6 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w6, k, rest), a6);
            a7 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w7, k, rest), a7);
        }
        T.SumFour(a0, a1, a2, a3, sums);
        T.SumFour(a4, a5, a6, a7, sums + 4);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByFour<T, TStored>(float* x, byte** w, int count, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        T a0 = T.Zero, a1 = T.Zero, a2 = T.Zero, a3 = T.Zero;
        byte* w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        nint k = 0;
        for (; k <= count - 16; k += 16)
        {
            T u = T.Load(x + k);
            a0 = T.MultiplyAdd(u, TStored.Load<T>(w0, k), a0);
            a1 = T.MultiplyAdd(u, TStored.Load<T>(w1, k), a1);
            a2 = T.MultiplyAdd(u, TStored.Load<T>(w2, k), a2);
            a3 = T.MultiplyAdd(u, TStored.Load<T>(w3, k), a3);
        }
        int rest = count - (int)k;
        if (rest > 0)
        {
            T u = Partial.Load<T>(x + k, rest);
            a0 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w0, k, rest), a0);
            a1 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w1, k, rest), a1);
            a2 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w2, k, rest), a2);
            a3 = T.MultiplyAdd(u, TStored.LoadPartial<T>(w3, k, rest), a3);
        }
        T.SumFour(a0, a1, a2, a3, sums);
    }

    // The next row of a stream follows this one, so reading ahead runs over its end; a prefetch of nothing does no harm.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead<TStored>(byte* w, nint k)
        where TStored : struct, IStoredNumbers
    {
        if (Sse.IsSupported) Sse.Prefetch0(w + k * TStored.Size + 1024);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreFour<T>(T a, T b, T c, T d, float* target)
        where T : unmanaged, ILanes<T>
    {
        T.Store(a, target);
        T.Store(b, target + 16);
        T.Store(c, target + 32);
        T.Store(d, target + 48);
    }
}
