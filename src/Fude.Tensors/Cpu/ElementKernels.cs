using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>The ops that treat every number by itself: SwiGLU, GELU, addition.</summary>
internal static unsafe class ElementKernels
{
    internal struct Job
    {
        /// <summary>One operand.</summary>
        public float* X;

        /// <summary>The other operand, or null.</summary>
        public float* Y;

        /// <summary>Written; may be X.</summary>
        public float* Target;
        public long Count;
        public float Scale;
    }

    /// <summary>Numbers of one item; a multiple of 16.</summary>
    internal const int ItemCount = 16384;

    private interface IFunction
    {
        static abstract T Of<T>(T x, T y, T scale)
            where T : unmanaged, ILanes<T>;
    }

    private readonly struct GatedUnit : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Of<T>(T x, T y, T scale)
            where T : unmanaged, ILanes<T> => Elementary.Silu(x) * y;
    }

    private readonly struct ErfUnit : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Of<T>(T x, T y, T scale)
            where T : unmanaged, ILanes<T> => Elementary.GeluErf(x);
    }

    private readonly struct TanhUnit : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Of<T>(T x, T y, T scale)
            where T : unmanaged, ILanes<T> => Elementary.GeluTanh(x);
    }

    private readonly struct Sum : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static T Of<T>(T x, T y, T scale)
            where T : unmanaged, ILanes<T> => T.MultiplyAdd(scale, y, x);
    }

    /// <summary>x = silu(x)·y.</summary>
    internal static void SwiGlu<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, GatedUnit>(ref *(Job*)job, item);

    /// <summary>x = gelu(x) with the error function.</summary>
    internal static void GeluErf<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, ErfUnit>(ref *(Job*)job, item);

    /// <summary>x = gelu(x) with tanh.</summary>
    internal static void GeluTanh<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, TanhUnit>(ref *(Job*)job, item);

    /// <summary>x = x + scale·y, rounded once.</summary>
    internal static void Add<T>(void* job, int item, int worker)
        where T : unmanaged, ILanes<T> => Map<T, Sum>(ref *(Job*)job, item);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Map<T, TFunction>(ref Job job, int item)
        where T : unmanaged, ILanes<T>
        where TFunction : struct, IFunction
    {
        long from = (long)item * ItemCount;
        nint count = (nint)Math.Min(ItemCount, job.Count - from), i = 0;
        float* x = job.X + from, y = job.Y is null ? x : job.Y + from, target = job.Target + from;
        T scale = T.Broadcast(job.Scale);
        for (; i <= count - 16; i += 16) T.Store(TFunction.Of(T.Load(x + i), T.Load(y + i), scale), target + i);
        int rest = (int)(count - i);
        if (rest > 0) Partial.Store(TFunction.Of(Partial.Load<T>(x + i, rest), Partial.Load<T>(y + i, rest), scale), target + i, rest);
    }
}
