using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>The backward pass of the ops that treat every number by itself, and of gathered rows.</summary>
internal static unsafe class ElementBackward
{
    internal struct Job
    {
        public float* X;
        public float* Up;
        public float* Dy;
        public float* Dx;
        public float* Dup;
        public long Count;
        public float Factor;
    }

    /// <summary>Rows that are added to those they came from.</summary>
    internal struct RowsJob
    {
        public int* Indices;
        public float* Dy;
        public float* Target;
        public int Rows, Width;
    }

    /// <summary>Numbers of one item; a multiple of 16.</summary>
    internal const int ItemCount = 16384;

    /// <summary>Columns of one item of <see cref="AddRows"/>.</summary>
    internal const int ItemColumns = 64;

    private interface IFunction
    {
        /// <summary>The gradients of the two arguments.</summary>
        static abstract (T X, T Up) Of<T>(T x, T up, T dy, T factor)
            where T : unmanaged, ILanes<T>;
    }

    // silu(x)' = σ·(1 + x·(1 − σ))
    private readonly struct GatedUnit : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static (T X, T Up) Of<T>(T x, T up, T dy, T factor)
            where T : unmanaged, ILanes<T>
        {
            T one = T.Broadcast(1f), sigma = one / (one + Elementary.Exp(T.Zero - x));
            return (dy * up * sigma * T.MultiplyAdd(x, one - sigma, one), dy * x * sigma);
        }
    }

    // (x·Φ)' = Φ + x·φ
    private readonly struct ErfUnit : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static (T X, T Up) Of<T>(T x, T up, T dy, T factor)
            where T : unmanaged, ILanes<T>
        {
            T tail = T.Broadcast(0.5f) * Elementary.Erfc(T.Abs(x) * T.Broadcast(0.70710678f));
            T whole = T.SelectLess(x, T.Zero, tail, T.Broadcast(1f) - tail);
            T density = Elementary.Exp(x * x * T.Broadcast(-0.5f)) * T.Broadcast(0.39894228f);
            return (dy * T.MultiplyAdd(x, density, whole), T.Zero);
        }
    }

    // (x·σ(2u))' = σ + x·σ·(1 − σ)·(2u)'
    private readonly struct TanhUnit : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static (T X, T Up) Of<T>(T x, T up, T dy, T factor)
            where T : unmanaged, ILanes<T>
        {
            T one = T.Broadcast(1f), square = x * x, cube = square * x;
            T twice = T.MultiplyAdd(cube, T.Broadcast(0.044715f), x) * T.Broadcast(1.59576912f);
            T sigma = one / (one + Elementary.Exp(T.Zero - twice));
            T slope = T.MultiplyAdd(square, T.Broadcast(0.134145f), one) * T.Broadcast(1.59576912f);
            return (dy * T.MultiplyAdd(x * sigma * (one - sigma), slope, sigma), T.Zero);
        }
    }

    private readonly struct Scaled : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static (T X, T Up) Of<T>(T x, T up, T dy, T factor)
            where T : unmanaged, ILanes<T> => (dy * factor, T.Zero);
    }

    internal static void SwiGlu<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, GatedUnit>(ref *(Job*)job, item);

    internal static void GeluErf<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, ErfUnit>(ref *(Job*)job, item);

    internal static void GeluTanh<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, TanhUnit>(ref *(Job*)job, item);

    /// <summary>dx = factor·dy.</summary>
    internal static void Scale<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, Scaled>(ref *(Job*)job, item);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Map<T, TFunction>(ref Job job, int item)
        where T : unmanaged, ILanes<T>
        where TFunction : struct, IFunction
    {
        long from = (long)item * ItemCount;
        nint count = (nint)Math.Min(ItemCount, job.Count - from), i = 0;
        float* dy = job.Dy + from, x = job.X is null ? dy : job.X + from, up = job.Up is null ? dy : job.Up + from, dx = job.Dx + from;
        float* dup = job.Dup is null ? null : job.Dup + from;
        T factor = T.Broadcast(job.Factor);
        for (; i <= count - 16; i += 16)
        {
            (T a, T b) = TFunction.Of(T.Load(x + i), T.Load(up + i), T.Load(dy + i), factor);
            T.Store(a, dx + i);
            if (dup is not null) T.Store(b, dup + i);
        }
        int rest = (int)(count - i);
        if (rest == 0) return;
        (T first, T second) = TFunction.Of(Partial.Load<T>(x + i, rest), Partial.Load<T>(up + i, rest), Partial.Load<T>(dy + i, rest), factor);
        Partial.Store(first, dx + i, rest);
        if (dup is not null) Partial.Store(second, dup + i, rest);
    }

    /// <summary>Target[Indices[r]] += Dy[r] for every row in order; an item has some of the columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void AddRows<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref RowsJob job = ref *(RowsJob*)argument;
        int first = item * ItemColumns, end = Math.Min(job.Width, first + ItemColumns);
        for (int row = 0; row < job.Rows; row++)
        {
            float* dy = job.Dy + (nint)row * job.Width, target = job.Target + (nint)job.Indices[row] * job.Width;
            int i = first;
            for (; i <= end - 16; i += 16) T.Store(T.Load(target + i) + T.Load(dy + i), target + i);
            for (; i < end; i++) target[i] += dy[i];
        }
    }
}
