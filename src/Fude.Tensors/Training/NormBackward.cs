using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>The backward pass of RMSNorm and LayerNorm, and sums over rows.</summary>
/// <remarks>Sums over tokens are taken in blocks of <see cref="BlockRows"/> rows, which are then added in order: the same bits however the
/// blocks are shared out.</remarks>
internal static unsafe class NormBackward
{
    /// <summary>Rows of one item.</summary>
    internal const int BlockRows = 64;

    internal struct Job
    {
        public float* X;
        public float* Gain;
        public float* Dy;

        /// <summary>Null when not wanted.</summary>
        public float* Dx;

        /// <summary>[blocks, width] sums of each block's rows; null when not wanted.</summary>
        public float* GainSums, BiasSums;
        public int Rows, Width;
        public float Epsilon;

        /// <summary>Whether dx is added to.</summary>
        public bool Adds;

        /// <summary>Whether the mean is taken away first: LayerNorm.</summary>
        public bool IsCentred;
    }

    /// <summary>With x̂ = (x − mean)·s and h = gain∘dy: dx = s·(h − mean(h) − x̂·mean(h∘x̂)); RMSNorm has no means of x and h.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Run<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int width = job.Width, end = Math.Min(job.Rows, (item + 1) * BlockRows);
        float* gainSums = job.GainSums is null ? null : job.GainSums + (nint)item * width;
        float* biasSums = job.BiasSums is null ? null : job.BiasSums + (nint)item * width;
        if (gainSums is not null) new Span<float>(gainSums, width).Clear();
        if (biasSums is not null) new Span<float>(biasSums, width).Clear();
        for (int row = item * BlockRows; row < end; row++)
        {
            float* x = job.X + (nint)row * width, dy = job.Dy + (nint)row * width;
            T mean = T.Broadcast(job.IsCentred ? NormKernels.Sum<T>(x, width) / width : 0);
            float variance = NormKernels.SumOfSquares(x, width, mean) / width;
            T scale = T.Broadcast(1f / MathF.Sqrt(variance + job.Epsilon)), sum = T.Zero, product = T.Zero;
            for (int i = 0; i < width; i += 16)
            {
                int count = Math.Min(16, width - i);
                T d = Load<T>(dy + i, count), normal = (Load<T>(x + i, count) - mean) * scale, h = d * Load<T>(job.Gain + i, count);
                sum += h;
                product = T.MultiplyAdd(h, normal, product);
                if (gainSums is not null) Store(T.MultiplyAdd(d, normal, Load<T>(gainSums + i, count)), gainSums + i, count);
                if (biasSums is not null) Store(Load<T>(biasSums + i, count) + d, biasSums + i, count);
            }
            if (job.Dx is null) continue;
            T middle = T.Broadcast(job.IsCentred ? T.Sum(sum) / width : 0), slope = T.Broadcast(T.Sum(product) / width);
            float* dx = job.Dx + (nint)row * width;
            for (int i = 0; i < width; i += 16)
            {
                int count = Math.Min(16, width - i);
                T normal = (Load<T>(x + i, count) - mean) * scale, h = Load<T>(dy + i, count) * Load<T>(job.Gain + i, count);
                T d = (h - middle - normal * slope) * scale;
                Store(job.Adds ? Load<T>(dx + i, count) + d : d, dx + i, count);
            }
        }
    }

    /// <summary>BiasSums = the sum of each block's rows of Dy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void SumRows<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int width = job.Width, first = item * BlockRows, end = Math.Min(job.Rows, first + BlockRows);
        for (int i = 0; i < width; i += 16)
        {
            int count = Math.Min(16, width - i);
            T sum = T.Zero;
            for (int row = first; row < end; row++) sum += Load<T>(job.Dy + (nint)row * width + i, count);
            Store(sum, job.BiasSums + (nint)item * width + i, count);
        }
    }

    /// <summary>Adds the blocks' sums to a gradient, block after block.</summary>
    internal static void AddBlocks(float* sums, int blocks, int width, float* gradient)
    {
        for (int block = 0; block < blocks; block++, sums += width)
            for (int i = 0; i < width; i++) gradient[i] += sums[i];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Load<T>(float* source, int count)
        where T : unmanaged, ILanes<T> => count == 16 ? T.Load(source) : Partial.Load<T>(source, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T>(T value, float* target, int count)
        where T : unmanaged, ILanes<T>
    {
        if (count == 16) T.Store(value, target);
        else Partial.Store(value, target, count);
    }
}
