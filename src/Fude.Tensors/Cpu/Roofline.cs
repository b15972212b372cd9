using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>What this machine can do at best, measured: decoding is bound by the one, prompts by the other.</summary>
/// <param name="OneStreamBytesPerSecond">Reading memory, each thread one place after the other.</param>
/// <param name="BytesPerSecond">Reading memory, each thread at several far-apart places at once: the roof of decoding.</param>
/// <param name="FlopsPerSecond">Float32 multiply-adds in registers, two operations each: the roof of a matrix product.</param>
/// <remarks>Williams, Waterman and Patterson, 2009, "Roofline", doi:10.1145/1498765.1498785.</remarks>
public sealed unsafe record Roofline(double OneStreamBytesPerSecond, double BytesPerSecond, double FlopsPerSecond)
{
    private const int Streams = 8, Items = 64, Chunk = 4 << 20;
    private const int Rounds = 4096, Accumulators = 16;

    private struct Job
    {
        public float* Memory;

        /// <summary>Keeps the results from being dropped.</summary>
        public float* Sums;
    }

    /// <summary>Measures with all threads of a device; takes about a second and 256 MiB.</summary>
    public static Roofline Measure(CpuOps ops)
    {
        ArgumentNullException.ThrowIfNull(ops);
        return ops.InstructionSet switch
        {
            InstructionSets.Avx512Name => Measure<Lanes512>(ops.Crew),
            InstructionSets.Avx2Name => Measure<Lanes256>(ops.Crew),
            InstructionSets.Vector128Name => Measure<Lanes128>(ops.Crew),
            _ => Measure<LanesScalar>(ops.Crew),
        };
    }

    private static Roofline Measure<T>(Crew crew)
        where T : unmanaged, ILanes<T>
    {
        const long Bytes = (long)Items * Chunk;
        float* memory = (float*)NativeMemory.AlignedAlloc((nuint)Bytes, 4096);
        float* sums = (float*)NativeMemory.AllocZeroed((nuint)(Items * 16), sizeof(float));
        try
        {
            new Span<byte>(memory, checked((int)Bytes)).Fill(1);
            Job job = new() { Memory = memory, Sums = sums };
            double one = Best(crew, &OneStream<T>, &job), many = Best(crew, &ManyStreams<T>, &job);
            double rounds = Best(crew, &MultiplyAdds<T>, &job);
            return new Roofline(Bytes / one, Bytes / Math.Min(one, many), Items * (2.0 * 16 * Accumulators * Rounds) / rounds);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
            NativeMemory.Free(sums);
        }
    }

    /// <summary>Seconds of the fastest of as many runs as fit in a third of a second.</summary>
    private static double Best(Crew crew, delegate*<void*, int, int, void> work, void* job)
    {
        double best = double.MaxValue;
        long start = Stopwatch.GetTimestamp();
        for (int run = 0; run < 3 || Stopwatch.GetElapsedTime(start).TotalSeconds < 0.33; run++)
        {
            long begin = Stopwatch.GetTimestamp();
            crew.Run(work, job, Items);
            best = Math.Min(best, Stopwatch.GetElapsedTime(begin).TotalSeconds);
        }
        return best;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneStream<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        Job* job = (Job*)argument;
        float* from = job->Memory + (nint)item * (Chunk / sizeof(float)), to = from + Chunk / sizeof(float);
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        for (; from < to; from += 64)
        {
            a += T.Load(from);
            b += T.Load(from + 16);
            c += T.Load(from + 32);
            d += T.Load(from + 48);
        }
        T.Store(a + b + c + d, job->Sums + item * 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ManyStreams<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        const nint Apart = Chunk / sizeof(float) / Streams;
        Job* job = (Job*)argument;
        float* p = job->Memory + (nint)item * (Chunk / sizeof(float)), q = p + 4 * Apart;
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        for (nint i = 0; i < Apart; i += 16)
        {
            Ahead(p + i);
            Ahead(p + Apart + i);
            Ahead(p + 2 * Apart + i);
            Ahead(p + 3 * Apart + i);
            Ahead(q + i);
            Ahead(q + Apart + i);
            Ahead(q + 2 * Apart + i);
            Ahead(q + 3 * Apart + i);
            a += T.Load(p + i) + T.Load(q + i);
            b += T.Load(p + Apart + i) + T.Load(q + Apart + i);
            c += T.Load(p + 2 * Apart + i) + T.Load(q + 2 * Apart + i);
            d += T.Load(p + 3 * Apart + i) + T.Load(q + 3 * Apart + i);
        }
        T.Store(a + b + c + d, job->Sums + item * 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MultiplyAdds<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        Job* job = (Job*)argument;
        T x = T.Broadcast(0.5f), y = T.Load(job->Sums + item * 16);
        T a0 = y, a1 = y, a2 = y, a3 = y, a4 = y, a5 = y, a6 = y, a7 = y, b0 = y, b1 = y, b2 = y, b3 = y, b4 = y, b5 = y, b6 = y, b7 = y;
        for (int i = 0; i < Rounds; i++)
        {
            (a0, a1, a2, a3) = (T.MultiplyAdd(a0, x, y), T.MultiplyAdd(a1, x, y), T.MultiplyAdd(a2, x, y), T.MultiplyAdd(a3, x, y));
            (a4, a5, a6, a7) = (T.MultiplyAdd(a4, x, y), T.MultiplyAdd(a5, x, y), T.MultiplyAdd(a6, x, y), T.MultiplyAdd(a7, x, y));
            (b0, b1, b2, b3) = (T.MultiplyAdd(b0, x, y), T.MultiplyAdd(b1, x, y), T.MultiplyAdd(b2, x, y), T.MultiplyAdd(b3, x, y));
            (b4, b5, b6, b7) = (T.MultiplyAdd(b4, x, y), T.MultiplyAdd(b5, x, y), T.MultiplyAdd(b6, x, y), T.MultiplyAdd(b7, x, y));
        }
        T.Store(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + b0 + b1 + b2 + b3 + b4 + b5 + b6 + b7, job->Sums + item * 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead(float* place)
    {
        if (Sse.IsSupported) Sse.Prefetch0((byte*)place + 1024);
    }
}
