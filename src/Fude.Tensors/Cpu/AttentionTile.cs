using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>The two products of attention, tile by tile: scores of some queries with a page of keys, and weighted sums of values.</summary>
/// <remarks>
/// A score is one fused multiply-add after the other along the head, from +0 on; a weighted sum is one after the other from key to key. So
/// neither depends on the tile it is computed in. Up to <see cref="Rows"/> queries meet the keys together; a single one has loops of
/// its own, as memory is what it waits for. The methods with the loops call nothing: a call would make the compiler keep the lanes in
/// memory.
/// </remarks>
internal static unsafe class AttentionTile
{
    /// <summary>Queries of a strip, which lie as [size][Rows].</summary>
    internal const int Rows = 8;

    /// <summary>Floats from the scores of one query to those of the next: a block of keys.</summary>
    internal const int Stride = AttentionKernel.Block;

    private const int Page = AttentionKernel.Page;

    /// <summary>Rows of scores and sums that the products of so many rows may write.</summary>
    public static int Written(int rows) => rows == 1 ? 1 : rows <= 4 ? 4 : Rows;

    /// <summary>Scores of a strip with the keys of one page.</summary>
    /// <param name="queries">[size][<see cref="Rows"/>]; of one query [size].</param>
    /// <param name="rows">How many of them count.</param>
    /// <param name="keys">A page of one head.</param>
    /// <param name="ahead">The page that is read next: few rows wait for memory alone.</param>
    /// <param name="size">Numbers in a head.</param>
    /// <param name="scores">[rows][32], rows <see cref="Stride"/> apart; <see cref="Written"/> may be written.</param>
    public static void Scores<T, TStored>(float* queries, int rows, byte* keys, byte* ahead, int size, float* scores)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        if (rows == 1)
        {
            OneScores<T, TStored>(queries, keys, ahead, size, scores);
            return;
        }
        if (T.Registers == 1)
        {
            if (rows <= 4) FourByTwoScores<T, TStored>(queries, keys, ahead, size, scores);
            else EightScores<T, TStored>(queries, keys, size, scores);
            return;
        }
        for (int row = 0; row < rows; row += 4)
            for (int half = 0; half < Page; half += 16)
                FourScores<T, TStored>(queries + row, keys, half, size, scores + row * Stride + half);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightScores<T, TStored>(float* q, byte* keys, int size, float* s)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1;
        a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = e0 = e1 = f0 = f1 = g0 = g1 = h0 = h1 = T.Zero;
        byte* scales = keys + (nint)size * Page * TStored.Size;
        for (int group = 0; group < size; group += 32, scales += Page * sizeof(ushort))
        {
            T scaleX = T.Zero, scaleY = T.Zero;
            if (TStored.HasScales) (scaleX, scaleY) = (T.LoadFloat16((ushort*)scales), T.LoadFloat16((ushort*)scales + 16));
            int end = Math.Min(size, group + 32);
            for (nint i = group; i < end; i++)
            {
                T x = TStored.Load<T>(keys, i * Page), y = TStored.Load<T>(keys, i * Page + 16);
                if (TStored.HasScales) (x, y) = (x * scaleX, y * scaleY);
                float* u = q + i * Rows;
                T z = T.Broadcast(u[0]);
                (a0, a1) = (T.MultiplyAdd(z, x, a0), T.MultiplyAdd(z, y, a1));
                z = T.Broadcast(u[1]);
                (b0, b1) = (T.MultiplyAdd(z, x, b0), T.MultiplyAdd(z, y, b1));
                z = T.Broadcast(u[2]);
                (c0, c1) = (T.MultiplyAdd(z, x, c0), T.MultiplyAdd(z, y, c1));
                z = T.Broadcast(u[3]);
                (d0, d1) = (T.MultiplyAdd(z, x, d0), T.MultiplyAdd(z, y, d1));
                z = T.Broadcast(u[4]);
                (e0, e1) = (T.MultiplyAdd(z, x, e0), T.MultiplyAdd(z, y, e1));
                z = T.Broadcast(u[5]);
                (f0, f1) = (T.MultiplyAdd(z, x, f0), T.MultiplyAdd(z, y, f1));
                z = T.Broadcast(u[6]);
                (g0, g1) = (T.MultiplyAdd(z, x, g0), T.MultiplyAdd(z, y, g1));
                z = T.Broadcast(u[7]);
                (h0, h1) = (T.MultiplyAdd(z, x, h0), T.MultiplyAdd(z, y, h1));
            }
        }
        T.Store(a0, s);
        T.Store(a1, s + 16);
        T.Store(b0, s + Stride);
        T.Store(b1, s + Stride + 16);
        T.Store(c0, s + 2 * Stride);
        T.Store(c1, s + 2 * Stride + 16);
        T.Store(d0, s + 3 * Stride);
        T.Store(d1, s + 3 * Stride + 16);
        T.Store(e0, s + 4 * Stride);
        T.Store(e1, s + 4 * Stride + 16);
        T.Store(f0, s + 5 * Stride);
        T.Store(f1, s + 5 * Stride + 16);
        T.Store(g0, s + 6 * Stride);
        T.Store(g1, s + 6 * Stride + 16);
        T.Store(h0, s + 7 * Stride);
        T.Store(h1, s + 7 * Stride + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourScores<T, TStored>(float* q, byte* keys, int half, int size, float* s)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a, b, c, d;
        a = b = c = d = T.Zero;
        byte* scales = keys + (nint)size * Page * TStored.Size;
        for (int group = 0; group < size; group += 32, scales += Page * sizeof(ushort))
        {
            T scale = TStored.HasScales ? T.LoadFloat16((ushort*)scales + half) : T.Zero;
            int end = Math.Min(size, group + 32);
            for (nint i = group; i < end; i++)
            {
                T x = TStored.Load<T>(keys, i * Page + half);
                if (TStored.HasScales) x *= scale;
                float* u = q + i * Rows;
                a = T.MultiplyAdd(T.Broadcast(u[0]), x, a);
                b = T.MultiplyAdd(T.Broadcast(u[1]), x, b);
                c = T.MultiplyAdd(T.Broadcast(u[2]), x, c);
                d = T.MultiplyAdd(T.Broadcast(u[3]), x, d);
            }
        }
        T.Store(a, s);
        T.Store(b, s + Stride);
        T.Store(c, s + 2 * Stride);
        T.Store(d, s + 3 * Stride);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByTwoScores<T, TStored>(float* q, byte* keys, byte* ahead, int size, float* s)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a0, a1, b0, b1, c0, c1, d0, d1;
        a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = T.Zero;
        byte* scales = keys + (nint)size * Page * TStored.Size;
        for (int group = 0; group < size; group += 32, scales += Page * sizeof(ushort))
        {
            T scaleX = T.Zero, scaleY = T.Zero;
            if (TStored.HasScales) (scaleX, scaleY) = (T.LoadFloat16((ushort*)scales), T.LoadFloat16((ushort*)scales + 16));
            int end = Math.Min(size, group + 32);
            for (nint i = group; i < end; i++)
            {
                Ahead<TStored>(ahead, i * Page);
                T x = TStored.Load<T>(keys, i * Page), y = TStored.Load<T>(keys, i * Page + 16);
                if (TStored.HasScales) (x, y) = (x * scaleX, y * scaleY);
                float* u = q + i * Rows;
                T z = T.Broadcast(u[0]);
                (a0, a1) = (T.MultiplyAdd(z, x, a0), T.MultiplyAdd(z, y, a1));
                z = T.Broadcast(u[1]);
                (b0, b1) = (T.MultiplyAdd(z, x, b0), T.MultiplyAdd(z, y, b1));
                z = T.Broadcast(u[2]);
                (c0, c1) = (T.MultiplyAdd(z, x, c0), T.MultiplyAdd(z, y, c1));
                z = T.Broadcast(u[3]);
                (d0, d1) = (T.MultiplyAdd(z, x, d0), T.MultiplyAdd(z, y, d1));
            }
        }
        T.Store(a0, s);
        T.Store(a1, s + 16);
        T.Store(b0, s + Stride);
        T.Store(b1, s + Stride + 16);
        T.Store(c0, s + 2 * Stride);
        T.Store(c1, s + 2 * Stride + 16);
        T.Store(d0, s + 3 * Stride);
        T.Store(d1, s + 3 * Stride + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneScores<T, TStored>(float* q, byte* keys, byte* ahead, int size, float* s)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a = T.Zero, b = T.Zero;
        byte* scales = keys + (nint)size * Page * TStored.Size;
        for (int group = 0; group < size; group += 32, scales += Page * sizeof(ushort))
        {
            T scaleX = T.Zero, scaleY = T.Zero;
            if (TStored.HasScales) (scaleX, scaleY) = (T.LoadFloat16((ushort*)scales), T.LoadFloat16((ushort*)scales + 16));
            int end = Math.Min(size, group + 32);
            for (nint i = group; i < end; i++)
            {
                Ahead<TStored>(ahead, i * Page);
                T x = TStored.Load<T>(keys, i * Page), y = TStored.Load<T>(keys, i * Page + 16);
                if (TStored.HasScales) (x, y) = (x * scaleX, y * scaleY);
                T u = T.Broadcast(q[i]);
                (a, b) = (T.MultiplyAdd(u, x, a), T.MultiplyAdd(u, y, b));
            }
        }
        T.Store(a, s);
        T.Store(b, s + 16);
    }

    // Thirty-two numbers: two cache lines of float32, one or half of one in the narrower formats. A prefetch of nothing does no harm.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead<TStored>(byte* numbers, nint index)
        where TStored : struct, ICachedNumbers
    {
        if (!Sse.IsSupported) return;
        byte* place = numbers + index * TStored.Size;
        Sse.Prefetch0(place);
        if (TStored.Size > 2) Sse.Prefetch0(place + 64);
    }

    /// <summary>sums += weights · values for a strip, key after key.</summary>
    /// <param name="weights">[rows] of scores turned into weights, <see cref="Stride"/> apart, by the key's number in the block.</param>
    /// <param name="rows">How many count; <see cref="Written"/> may be written.</param>
    /// <param name="pages">The values of each page of the block.</param>
    /// <param name="ahead">The page that is read next.</param>
    /// <param name="from">The first key's number in the block.</param>
    /// <param name="to">One beyond the last.</param>
    /// <param name="padded">Numbers from one value to the next.</param>
    /// <param name="scales">[padded / 32 up][block] where the format has them.</param>
    /// <param name="sums">[rows][padded].</param>
    public static void Values<T, TStored>(
        float* weights, int rows, byte** pages, byte* ahead, int from, int to, int padded, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        int i = 0;
        for (; T.Registers == 1 && rows <= 4 && i <= padded - 32; i += 32, scales += Stride)
            FourByTwo<T, TStored>(weights, pages, ahead, from, to, padded, i, scales, sums + i);
        for (; T.Registers == 1 && rows > 4 && i < padded; i += 32, scales += Stride)
        {
            if (i + 16 < padded) EightByTwo<T, TStored>(weights, pages, from, to, padded, i, scales, sums + i);
            else EightByOne<T, TStored>(weights, pages, from, to, padded, i, scales, sums + i);
        }
        for (; i < padded; i += 16, scales += i % 32 == 0 ? Stride : 0)
            for (int row = 0; row < rows; row += 4)
                FourByOne<T, TStored>(weights + row * Stride, pages, from, to, padded, i, scales, sums + row * (nint)padded + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightByTwo<T, TStored>(float* weights, byte** pages, int from, int to, nint padded, int place, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        float* p = sums;
        T a0 = T.Load(p), a1 = T.Load(p + 16);
        p += padded;
        T b0 = T.Load(p), b1 = T.Load(p + 16);
        p += padded;
        T c0 = T.Load(p), c1 = T.Load(p + 16);
        p += padded;
        T d0 = T.Load(p), d1 = T.Load(p + 16);
        p += padded;
        T e0 = T.Load(p), e1 = T.Load(p + 16);
        p += padded;
        T f0 = T.Load(p), f1 = T.Load(p + 16);
        p += padded;
        T g0 = T.Load(p), g1 = T.Load(p + 16);
        p += padded;
        T h0 = T.Load(p), h1 = T.Load(p + 16);
        for (int page = from / Page; page * Page < to; page++)
        {
            byte* values = pages[page];
            int end = Math.Min(to, (page + 1) * Page);
            int key = Math.Max(from, page * Page);
            nint index = (key - page * Page) * padded + place;
            for (float* w = weights + key, last = weights + end; w < last; w++, index += padded)
            {
                T x = TStored.Load<T>(values, index), y = TStored.Load<T>(values, index + 16);
                if (TStored.HasScales)
                {
                    T scale = T.Broadcast(scales[w - weights]);
                    (x, y) = (x * scale, y * scale);
                }
                T z = T.Broadcast(w[0]);
                (a0, a1) = (T.MultiplyAdd(z, x, a0), T.MultiplyAdd(z, y, a1));
                z = T.Broadcast(w[Stride]);
                (b0, b1) = (T.MultiplyAdd(z, x, b0), T.MultiplyAdd(z, y, b1));
                z = T.Broadcast(w[2 * Stride]);
                (c0, c1) = (T.MultiplyAdd(z, x, c0), T.MultiplyAdd(z, y, c1));
                z = T.Broadcast(w[3 * Stride]);
                (d0, d1) = (T.MultiplyAdd(z, x, d0), T.MultiplyAdd(z, y, d1));
                z = T.Broadcast(w[4 * Stride]);
                (e0, e1) = (T.MultiplyAdd(z, x, e0), T.MultiplyAdd(z, y, e1));
                z = T.Broadcast(w[5 * Stride]);
                (f0, f1) = (T.MultiplyAdd(z, x, f0), T.MultiplyAdd(z, y, f1));
                z = T.Broadcast(w[6 * Stride]);
                (g0, g1) = (T.MultiplyAdd(z, x, g0), T.MultiplyAdd(z, y, g1));
                z = T.Broadcast(w[7 * Stride]);
                (h0, h1) = (T.MultiplyAdd(z, x, h0), T.MultiplyAdd(z, y, h1));
            }
        }
        p = sums;
        T.Store(a0, p);
        T.Store(a1, p + 16);
        p += padded;
        T.Store(b0, p);
        T.Store(b1, p + 16);
        p += padded;
        T.Store(c0, p);
        T.Store(c1, p + 16);
        p += padded;
        T.Store(d0, p);
        T.Store(d1, p + 16);
        p += padded;
        T.Store(e0, p);
        T.Store(e1, p + 16);
        p += padded;
        T.Store(f0, p);
        T.Store(f1, p + 16);
        p += padded;
        T.Store(g0, p);
        T.Store(g1, p + 16);
        p += padded;
        T.Store(h0, p);
        T.Store(h1, p + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightByOne<T, TStored>(float* weights, byte** pages, int from, int to, nint padded, int place, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a = T.Load(sums), b = T.Load(sums + padded), c = T.Load(sums + 2 * padded), d = T.Load(sums + 3 * padded);
        T e = T.Load(sums + 4 * padded), f = T.Load(sums + 5 * padded), g = T.Load(sums + 6 * padded), h = T.Load(sums + 7 * padded);
        for (int page = from / Page; page * Page < to; page++)
        {
            byte* values = pages[page];
            int end = Math.Min(to, (page + 1) * Page);
            for (int key = Math.Max(from, page * Page); key < end; key++)
            {
                T x = TStored.Load<T>(values, (key - page * Page) * padded + place);
                if (TStored.HasScales) x *= T.Broadcast(scales[key]);
                float* w = weights + key;
                a = T.MultiplyAdd(T.Broadcast(w[0]), x, a);
                b = T.MultiplyAdd(T.Broadcast(w[Stride]), x, b);
                c = T.MultiplyAdd(T.Broadcast(w[2 * Stride]), x, c);
                d = T.MultiplyAdd(T.Broadcast(w[3 * Stride]), x, d);
                e = T.MultiplyAdd(T.Broadcast(w[4 * Stride]), x, e);
                f = T.MultiplyAdd(T.Broadcast(w[5 * Stride]), x, f);
                g = T.MultiplyAdd(T.Broadcast(w[6 * Stride]), x, g);
                h = T.MultiplyAdd(T.Broadcast(w[7 * Stride]), x, h);
            }
        }
        T.Store(a, sums);
        T.Store(b, sums + padded);
        T.Store(c, sums + 2 * padded);
        T.Store(d, sums + 3 * padded);
        T.Store(e, sums + 4 * padded);
        T.Store(f, sums + 5 * padded);
        T.Store(g, sums + 6 * padded);
        T.Store(h, sums + 7 * padded);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByTwo<T, TStored>(
        float* weights, byte** pages, byte* ahead, int from, int to, nint padded, int place, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        float* p = sums;
        T a0 = T.Load(p), a1 = T.Load(p + 16);
        p += padded;
        T b0 = T.Load(p), b1 = T.Load(p + 16);
        p += padded;
        T c0 = T.Load(p), c1 = T.Load(p + 16);
        p += padded;
        T d0 = T.Load(p), d1 = T.Load(p + 16);
        for (int page = from / Page; page * Page < to; page++)
        {
            byte* values = pages[page];
            int end = Math.Min(to, (page + 1) * Page);
            for (int key = Math.Max(from, page * Page); key < end; key++)
            {
                nint index = (key - page * Page) * padded + place;
                Ahead<TStored>(ahead, index);
                T x = TStored.Load<T>(values, index), y = TStored.Load<T>(values, index + 16);
                if (TStored.HasScales)
                {
                    T scale = T.Broadcast(scales[key]);
                    (x, y) = (x * scale, y * scale);
                }
                float* w = weights + key;
                T z = T.Broadcast(w[0]);
                (a0, a1) = (T.MultiplyAdd(z, x, a0), T.MultiplyAdd(z, y, a1));
                z = T.Broadcast(w[Stride]);
                (b0, b1) = (T.MultiplyAdd(z, x, b0), T.MultiplyAdd(z, y, b1));
                z = T.Broadcast(w[2 * Stride]);
                (c0, c1) = (T.MultiplyAdd(z, x, c0), T.MultiplyAdd(z, y, c1));
                z = T.Broadcast(w[3 * Stride]);
                (d0, d1) = (T.MultiplyAdd(z, x, d0), T.MultiplyAdd(z, y, d1));
            }
        }
        p = sums;
        T.Store(a0, p);
        T.Store(a1, p + 16);
        p += padded;
        T.Store(b0, p);
        T.Store(b1, p + 16);
        p += padded;
        T.Store(c0, p);
        T.Store(c1, p + 16);
        p += padded;
        T.Store(d0, p);
        T.Store(d1, p + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByOne<T, TStored>(float* weights, byte** pages, int from, int to, nint padded, int place, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a = T.Load(sums), b = T.Load(sums + padded), c = T.Load(sums + 2 * padded), d = T.Load(sums + 3 * padded);
        for (int page = from / Page; page * Page < to; page++)
        {
            byte* values = pages[page];
            int end = Math.Min(to, (page + 1) * Page);
            for (int key = Math.Max(from, page * Page); key < end; key++)
            {
                T x = TStored.Load<T>(values, (key - page * Page) * padded + place);
                if (TStored.HasScales) x *= T.Broadcast(scales[key]);
                float* w = weights + key;
                a = T.MultiplyAdd(T.Broadcast(w[0]), x, a);
                b = T.MultiplyAdd(T.Broadcast(w[Stride]), x, b);
                c = T.MultiplyAdd(T.Broadcast(w[2 * Stride]), x, c);
                d = T.MultiplyAdd(T.Broadcast(w[3 * Stride]), x, d);
            }
        }
        T.Store(a, sums);
        T.Store(b, sums + padded);
        T.Store(c, sums + 2 * padded);
        T.Store(d, sums + 3 * padded);
    }

    /// <summary>sums += weights · values for one query, key after key.</summary>
    /// <param name="weights">By the key's number in the block.</param>
    /// <param name="pages">The values of each page of the block.</param>
    /// <param name="ahead">The page that is read next.</param>
    /// <param name="from">The first key's number in the block.</param>
    /// <param name="to">One beyond the last.</param>
    /// <param name="padded">Numbers from one value to the next.</param>
    /// <param name="scales">[padded / 32 up][block] where the format has them.</param>
    /// <param name="sums">[padded].</param>
    public static void RowValues<T, TStored>(
        float* weights, byte** pages, byte* ahead, int from, int to, int padded, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        int i = 0;
        for (; T.Registers == 1 && i <= padded - 128; i += 128)
            OneByEight<T, TStored>(weights, pages, ahead, from, to, padded, i, scales + i / 32 * Stride, sums + i);
        for (; i <= padded - 64; i += 64) OneByFour<T, TStored>(weights, pages, ahead, from, to, padded, i, scales + i / 32 * Stride, sums + i);
        for (; i < padded; i += 16) OneByOne<T, TStored>(weights, pages, from, to, padded, i, scales + i / 32 * Stride, sums + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByEight<T, TStored>(
        float* weights, byte** pages, byte* ahead, int from, int to, nint padded, int place, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a = T.Load(sums), b = T.Load(sums + 16), c = T.Load(sums + 32), d = T.Load(sums + 48);
        T e = T.Load(sums + 64), f = T.Load(sums + 80), g = T.Load(sums + 96), h = T.Load(sums + 112);
        for (int page = from / Page; page * Page < to; page++)
        {
            byte* values = pages[page];
            int end = Math.Min(to, (page + 1) * Page);
            for (int key = Math.Max(from, page * Page); key < end; key++)
            {
                nint index = (key - page * Page) * padded + place;
                Ahead<TStored>(ahead, index);
                Ahead<TStored>(ahead, index + 32);
                Ahead<TStored>(ahead, index + 64);
                Ahead<TStored>(ahead, index + 96);
                T u = T.Broadcast(weights[key]);
                T x = TStored.Load<T>(values, index), y = TStored.Load<T>(values, index + 16);
                T z = TStored.Load<T>(values, index + 32), w = TStored.Load<T>(values, index + 48);
                if (TStored.HasScales)
                {
                    T scale = T.Broadcast(scales[key]), next = T.Broadcast(scales[key + Stride]);
                    (x, y, z, w) = (x * scale, y * scale, z * next, w * next);
                }
                a = T.MultiplyAdd(u, x, a);
                b = T.MultiplyAdd(u, y, b);
                c = T.MultiplyAdd(u, z, c);
                d = T.MultiplyAdd(u, w, d);
                (x, y) = (TStored.Load<T>(values, index + 64), TStored.Load<T>(values, index + 80));
                (z, w) = (TStored.Load<T>(values, index + 96), TStored.Load<T>(values, index + 112));
                if (TStored.HasScales)
                {
                    T scale = T.Broadcast(scales[key + 2 * Stride]), next = T.Broadcast(scales[key + 3 * Stride]);
                    (x, y, z, w) = (x * scale, y * scale, z * next, w * next);
                }
                e = T.MultiplyAdd(u, x, e);
                f = T.MultiplyAdd(u, y, f);
                g = T.MultiplyAdd(u, z, g);
                h = T.MultiplyAdd(u, w, h);
            }
        }
        T.Store(a, sums);
        T.Store(b, sums + 16);
        T.Store(c, sums + 32);
        T.Store(d, sums + 48);
        T.Store(e, sums + 64);
        T.Store(f, sums + 80);
        T.Store(g, sums + 96);
        T.Store(h, sums + 112);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByFour<T, TStored>(
        float* weights, byte** pages, byte* ahead, int from, int to, nint padded, int place, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a = T.Load(sums), b = T.Load(sums + 16), c = T.Load(sums + 32), d = T.Load(sums + 48);
        for (int page = from / Page; page * Page < to; page++)
        {
            byte* values = pages[page];
            int end = Math.Min(to, (page + 1) * Page);
            for (int key = Math.Max(from, page * Page); key < end; key++)
            {
                nint index = (key - page * Page) * padded + place;
                Ahead<TStored>(ahead, index);
                Ahead<TStored>(ahead, index + 32);
                T u = T.Broadcast(weights[key]);
                T x = TStored.Load<T>(values, index), y = TStored.Load<T>(values, index + 16);
                T z = TStored.Load<T>(values, index + 32), w = TStored.Load<T>(values, index + 48);
                if (TStored.HasScales)
                {
                    T scale = T.Broadcast(scales[key]), next = T.Broadcast(scales[key + Stride]);
                    (x, y, z, w) = (x * scale, y * scale, z * next, w * next);
                }
                a = T.MultiplyAdd(u, x, a);
                b = T.MultiplyAdd(u, y, b);
                c = T.MultiplyAdd(u, z, c);
                d = T.MultiplyAdd(u, w, d);
            }
        }
        T.Store(a, sums);
        T.Store(b, sums + 16);
        T.Store(c, sums + 32);
        T.Store(d, sums + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByOne<T, TStored>(float* weights, byte** pages, int from, int to, nint padded, int place, float* scales, float* sums)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        T a = T.Load(sums);
        for (int page = from / Page; page * Page < to; page++)
        {
            byte* values = pages[page];
            int end = Math.Min(to, (page + 1) * Page);
            for (int key = Math.Max(from, page * Page); key < end; key++)
            {
                T x = TStored.Load<T>(values, (key - page * Page) * padded + place);
                if (TStored.HasScales) x *= T.Broadcast(scales[key]);
                a = T.MultiplyAdd(T.Broadcast(weights[key]), x, a);
            }
        }
        T.Store(a, sums);
    }
}
