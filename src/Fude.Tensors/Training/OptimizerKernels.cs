using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>AdamW, and the norm that gradients are clipped by.</summary>
internal static unsafe class OptimizerKernels
{
    internal struct Job
    {
        public float* Values;
        public float* Gradients;
        public float* Means;
        public float* Squares;
        public double* Sums;
        public long Count;
        public float Shrink, Beta1, Beta2, Rest1, Rest2, RootOfCorrection2, Epsilon, StepSize, GradientScale;
    }

    /// <summary>Numbers of one item; a multiple of 8.</summary>
    internal const int ItemCount = 65536;

    /// <summary>Sums[item] = Σ x² of the item's numbers, in eight lanes of double precision.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void SumOfSquares(void* argument, int item, int worker)
    {
        ref Job job = ref *(Job*)argument;
        long from = (long)item * ItemCount;
        int count = (int)Math.Min(ItemCount, job.Count - from), i = 0;
        float* x = job.Gradients + from;
        Vector256<double> low = Vector256<double>.Zero, high = low;
        for (; i <= count - 8; i += 8)
        {
            (Vector256<double> a, Vector256<double> b) = Vector256.Widen(Vector256.Load(x + i));
            low += a * a;
            high += b * b;
        }
        low += high;
        double sum = low[0] + low[2] + (low[1] + low[3]);
        for (; i < count; i++) sum += (double)x[i] * x[i];
        job.Sums[item] = sum;
    }

    // Square roots and quotients are correctly rounded everywhere, and nothing is contracted: the same bits on every machine.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void AdamW(void* argument, int item, int worker)
    {
        ref Job job = ref *(Job*)argument;
        long from = (long)item * ItemCount;
        int count = (int)Math.Min(ItemCount, job.Count - from), i = 0;
        float* w = job.Values + from, g = job.Gradients + from, m = job.Means + from, v = job.Squares + from;
        for (; i <= count - 8; i += 8)
        {
            Vector256<float> gradient = Vector256.Load(g + i) * job.GradientScale;
            Vector256<float> mean = (Vector256.Load(m + i) * job.Beta1) + (gradient * job.Rest1);
            Vector256<float> square = (Vector256.Load(v + i) * job.Beta2) + (gradient * gradient * job.Rest2);
            mean.Store(m + i);
            square.Store(v + i);
            Vector256<float> root = (Vector256.Sqrt(square) / job.RootOfCorrection2) + Vector256.Create(job.Epsilon);
            ((Vector256.Load(w + i) * job.Shrink) - (mean / root * job.StepSize)).Store(w + i);
        }
        for (; i < count; i++)
        {
            float gradient = g[i] * job.GradientScale;
            float decayed = m[i] * job.Beta1, added = gradient * job.Rest1;
            m[i] = decayed + added;
            decayed = v[i] * job.Beta2;
            added = gradient * gradient * job.Rest2;
            v[i] = decayed + added;
            float root = (MathF.Sqrt(v[i]) / job.RootOfCorrection2) + job.Epsilon;
            float kept = w[i] * job.Shrink, step = m[i] / root * job.StepSize;
            w[i] = kept - step;
        }
    }
}
