using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>Dot products of some rows with some other rows, all at once, so that each number loaded is used several times.</summary>
/// <remarks>
/// Every dot product has sixteen lanes of its own which run through the whole row (<see cref="ILanes{T}"/>): its bits do not depend on the
/// tile it is computed in. The methods with the loops call nothing: a call would make the compiler keep the lanes in memory. So what
/// does not fill sixteen lanes is added by the methods around them.
/// </remarks>
internal static unsafe class DotTile
{
    /// <summary>Rows of x and of w in the largest tile.</summary>
    public const int MaxX = 6, MaxW = 4;

    /// <summary>Rows of x and of w that the tile of these lanes takes.</summary>
    public static (int X, int W) Shape<T>()
        where T : unmanaged, ILanes<T> => T.Registers == 1 ? (MaxX, MaxW) : (2, 2);

    /// <summary>Rows of w that a single row of x meets at once: as many streams through memory.</summary>
    /// <remarks>Four chains hide the latency of an addition; with more streams than four the prefetchers of Zen 5 fall behind.</remarks>
    public const int Streams = 4;

    /// <summary>One tile: sums[i·W + j] = Σ x[i][k]·w[j][k], k from 0 to count.</summary>
    /// <param name="x">X pointers to float32 rows.</param>
    /// <param name="w">W pointers to rows of stored numbers.</param>
    /// <param name="count">Numbers in a row.</param>
    /// <param name="carry">[X·W][16], a place to work in.</param>
    /// <param name="sums">[X·W].</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Run<T, TStored>(float** x, byte** w, int count, float* carry, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        int full = count & ~15;
        bool sum = full == count;
        if (T.Registers == 1) SixByFour<T, TStored>(x, w, full, carry, sum, sums);
        else TwoByTwo<T, TStored>(x, w, full, carry, sum, sums);
        if (!sum) Finish<T, TStored>(x, w, full, count - full, carry, sums);
    }

    // Adds the numbers that do not fill sixteen lanes, and sums.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Finish<T, TStored>(float** x, byte** w, int from, int rest, float* carry, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        (int rows, int columns) = Shape<T>();
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                sums[i * columns + j] = Finish<T, TStored>(x[i], w[j], from, rest, carry + (i * columns + j) * 16);
    }

    private static float Finish<T, TStored>(float* x, byte* w, int from, int rest, float* carry)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers =>
        T.Sum(T.MultiplyAdd(Partial.Load<T>(x + from, rest), TStored.LoadPartial<T>(w, from, rest), T.Load(carry)));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixByFour<T, TStored>(float** x, byte** w, int count, float* carry, bool sum, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        T a0 = T.Zero, a1 = T.Zero, a2 = T.Zero, a3 = T.Zero;
        T b0 = T.Zero, b1 = T.Zero, b2 = T.Zero, b3 = T.Zero;
        T c0 = T.Zero, c1 = T.Zero, c2 = T.Zero, c3 = T.Zero;
        T d0 = T.Zero, d1 = T.Zero, d2 = T.Zero, d3 = T.Zero;
        T e0 = T.Zero, e1 = T.Zero, e2 = T.Zero, e3 = T.Zero;
        T f0 = T.Zero, f1 = T.Zero, f2 = T.Zero, f3 = T.Zero;
        float* xa = x[0], xb = x[1], xc = x[2], xd = x[3], xe = x[4], xf = x[5];
        byte* w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        for (nint k = 0; k < count; k += 16)
        {
            Ahead(w0 + k * TStored.Size, w1 + k * TStored.Size, w2 + k * TStored.Size, w3 + k * TStored.Size, 1024);
            T v0 = TStored.Load<T>(w0, k), v1 = TStored.Load<T>(w1, k), v2 = TStored.Load<T>(w2, k), v3 = TStored.Load<T>(w3, k);
            T u = T.Load(xa + k);
            a0 = T.MultiplyAdd(u, v0, a0);
            a1 = T.MultiplyAdd(u, v1, a1);
            a2 = T.MultiplyAdd(u, v2, a2);
            a3 = T.MultiplyAdd(u, v3, a3);
            u = T.Load(xb + k);
            b0 = T.MultiplyAdd(u, v0, b0);
            b1 = T.MultiplyAdd(u, v1, b1);
            b2 = T.MultiplyAdd(u, v2, b2);
            b3 = T.MultiplyAdd(u, v3, b3);
            u = T.Load(xc + k);
            c0 = T.MultiplyAdd(u, v0, c0);
            c1 = T.MultiplyAdd(u, v1, c1);
            c2 = T.MultiplyAdd(u, v2, c2);
            c3 = T.MultiplyAdd(u, v3, c3);
            u = T.Load(xd + k);
            d0 = T.MultiplyAdd(u, v0, d0);
            d1 = T.MultiplyAdd(u, v1, d1);
            d2 = T.MultiplyAdd(u, v2, d2);
            d3 = T.MultiplyAdd(u, v3, d3);
            u = T.Load(xe + k);
            e0 = T.MultiplyAdd(u, v0, e0);
            e1 = T.MultiplyAdd(u, v1, e1);
            e2 = T.MultiplyAdd(u, v2, e2);
            e3 = T.MultiplyAdd(u, v3, e3);
            u = T.Load(xf + k);
            f0 = T.MultiplyAdd(u, v0, f0);
            f1 = T.MultiplyAdd(u, v1, f1);
            f2 = T.MultiplyAdd(u, v2, f2);
            f3 = T.MultiplyAdd(u, v3, f3);
        }
        if (sum)
        {
            T.SumFour(a0, a1, a2, a3, sums);
            T.SumFour(b0, b1, b2, b3, sums + 4);
            T.SumFour(c0, c1, c2, c3, sums + 8);
            T.SumFour(d0, d1, d2, d3, sums + 12);
            T.SumFour(e0, e1, e2, e3, sums + 16);
            T.SumFour(f0, f1, f2, f3, sums + 20);
            return;
        }
        T.Store(a0, carry);
        T.Store(a1, carry + 16);
        T.Store(a2, carry + 32);
        T.Store(a3, carry + 48);
        T.Store(b0, carry + 64);
        T.Store(b1, carry + 80);
        T.Store(b2, carry + 96);
        T.Store(b3, carry + 112);
        T.Store(c0, carry + 128);
        T.Store(c1, carry + 144);
        T.Store(c2, carry + 160);
        T.Store(c3, carry + 176);
        T.Store(d0, carry + 192);
        T.Store(d1, carry + 208);
        T.Store(d2, carry + 224);
        T.Store(d3, carry + 240);
        T.Store(e0, carry + 256);
        T.Store(e1, carry + 272);
        T.Store(e2, carry + 288);
        T.Store(e3, carry + 304);
        T.Store(f0, carry + 320);
        T.Store(f1, carry + 336);
        T.Store(f2, carry + 352);
        T.Store(f3, carry + 368);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TwoByTwo<T, TStored>(float** x, byte** w, int count, float* carry, bool sum, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        T a0 = T.Zero, a1 = T.Zero;
        T b0 = T.Zero, b1 = T.Zero;
        float* xa = x[0], xb = x[1];
        byte* w0 = w[0], w1 = w[1];
        for (nint k = 0; k < count; k += 16)
        {
            T v0 = TStored.Load<T>(w0, k), v1 = TStored.Load<T>(w1, k);
            T u = T.Load(xa + k);
            a0 = T.MultiplyAdd(u, v0, a0);
            a1 = T.MultiplyAdd(u, v1, a1);
            u = T.Load(xb + k);
            b0 = T.MultiplyAdd(u, v0, b0);
            b1 = T.MultiplyAdd(u, v1, b1);
        }
        if (sum)
        {
            T.SumFour(a0, a1, b0, b1, sums);
            return;
        }
        T.Store(a0, carry);
        T.Store(a1, carry + 16);
        T.Store(b0, carry + 32);
        T.Store(b1, carry + 48);
    }

    /// <summary>One row of x with <see cref="Streams"/> rows of w: sums[j] = Σ x[k]·w[j][k].</summary>
    /// <param name="x">A float32 row.</param>
    /// <param name="w">Streams pointers to rows of stored numbers.</param>
    /// <param name="count">Numbers in a row.</param>
    /// <param name="carry">[Streams][16], a place to work in.</param>
    /// <param name="sums">[Streams].</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void RunRow<T, TStored>(float* x, byte** w, int count, float* carry, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        int full = count & ~15;
        bool sum = full == count;
        OneByFour<T, TStored>(x, w, full, carry, sum, sums);
        if (sum) return;
        for (int j = 0; j < Streams; j++) sums[j] = Finish<T, TStored>(x, w[j], full, count - full, carry + j * 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByFour<T, TStored>(float* x, byte** w, int count, float* carry, bool sum, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        T a0 = T.Zero, a1 = T.Zero, a2 = T.Zero, a3 = T.Zero;
        byte* w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        for (nint k = 0; k < count; k += 16)
        {
            // A whole page ahead: the processor's own prefetchers stop at the page's end.
            Ahead(w0 + k * TStored.Size, w1 + k * TStored.Size, w2 + k * TStored.Size, w3 + k * TStored.Size, 4096);
            T u = T.Load(x + k);
            a0 = T.MultiplyAdd(u, TStored.Load<T>(w0, k), a0);
            a1 = T.MultiplyAdd(u, TStored.Load<T>(w1, k), a1);
            a2 = T.MultiplyAdd(u, TStored.Load<T>(w2, k), a2);
            a3 = T.MultiplyAdd(u, TStored.Load<T>(w3, k), a3);
        }
        if (sum)
        {
            T.SumFour(a0, a1, a2, a3, sums);
            return;
        }
        T.Store(a0, carry);
        T.Store(a1, carry + 16);
        T.Store(a2, carry + 32);
        T.Store(a3, carry + 48);
    }

    // The processor does not look ahead far enough in w by itself, least of all with six rows of x to read besides. The rows of a stream
    // follow one another, so this runs on into the next; a prefetch of nothing does no harm.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead(byte* w0, byte* w1, byte* w2, byte* w3, nint bytes)
    {
        if (!Sse.IsSupported) return;
        Sse.Prefetch0(w0 + bytes);
        Sse.Prefetch0(w1 + bytes);
        Sse.Prefetch0(w2 + bytes);
        Sse.Prefetch0(w3 + bytes);
    }
}
