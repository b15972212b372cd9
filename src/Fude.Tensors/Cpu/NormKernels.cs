using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>RMSNorm and LayerNorm, a row at a time.</summary>
/// <remarks>Sums run in sixteen float32 lanes (<see cref="ILanes{T}"/>). The variance is that of the deviations from the rounded mean: two
/// passes, as x² − mean² would lose what large means leave.</remarks>
internal static unsafe class NormKernels
{
    internal struct Job
    {
        public float* X;
        public float* Y;
        public float* Gain;
        public float* Bias;
        public int Rows, Width, ItemRows;
        public float Epsilon;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void RmsNorm<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int end = Math.Min(job.Rows, (item + 1) * job.ItemRows);
        for (int row = item * job.ItemRows; row < end; row++)
        {
            float* x = job.X + (nint)row * job.Width, y = job.Y + (nint)row * job.Width;
            float meanSquare = SumOfSquares(x, job.Width, T.Zero) / job.Width;
            T scale = T.Broadcast(1f / MathF.Sqrt(meanSquare + job.Epsilon));
            nint i = 0;
            for (; i <= job.Width - 16; i += 16) T.Store(T.Load(x + i) * scale * T.Load(job.Gain + i), y + i);
            int rest = job.Width - (int)i;
            if (rest > 0) Partial.Store(Partial.Load<T>(x + i, rest) * scale * Partial.Load<T>(job.Gain + i, rest), y + i, rest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void LayerNorm<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int end = Math.Min(job.Rows, (item + 1) * job.ItemRows);
        for (int row = item * job.ItemRows; row < end; row++)
        {
            float* x = job.X + (nint)row * job.Width, y = job.Y + (nint)row * job.Width;
            T mean = T.Broadcast(Sum<T>(x, job.Width) / job.Width);
            float variance = SumOfSquares(x, job.Width, mean) / job.Width;
            T scale = T.Broadcast(1f / MathF.Sqrt(variance + job.Epsilon));
            nint i = 0;
            for (; i <= job.Width - 16; i += 16)
                T.Store(T.MultiplyAdd((T.Load(x + i) - mean) * scale, T.Load(job.Gain + i), T.Load(job.Bias + i)), y + i);
            int rest = job.Width - (int)i;
            if (rest == 0) continue;
            T gain = Partial.Load<T>(job.Gain + i, rest), bias = Partial.Load<T>(job.Bias + i, rest);
            Partial.Store(T.MultiplyAdd((Partial.Load<T>(x + i, rest) - mean) * scale, gain, bias), y + i, rest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static float Sum<T>(float* x, int count)
        where T : unmanaged, ILanes<T>
    {
        T sum = T.Zero;
        nint i = 0;
        for (; i <= count - 16; i += 16) sum += T.Load(x + i);
        if (i < count) sum += Partial.Load<T>(x + i, count - (int)i);
        return T.Sum(sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static float SumOfSquares<T>(float* x, int count, T mean)
        where T : unmanaged, ILanes<T>
    {
        T sum = T.Zero;
        nint i = 0;
        for (; i <= count - 16; i += 16)
        {
            T deviation = T.Load(x + i) - mean;
            sum = T.MultiplyAdd(deviation, deviation, sum);
        }
        int rest = count - (int)i;
        if (rest > 0)
        {
            // The mean is taken from numbers that are there, not from the zeros that fill the lanes.
            float* deviations = stackalloc float[16];
            Partial.Store(Partial.Load<T>(x + i, rest) - mean, deviations, rest);
            T deviation = Partial.Load<T>(deviations, rest);
            sum = T.MultiplyAdd(deviation, deviation, sum);
        }
        return T.Sum(sum);
    }
}
