using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>What this machine can do at best, measured: decoding is bound by the one, prompts by the other.</summary>
/// <param name="OneStreamBytesPerSecond">Reading memory, each thread one place after the other.</param>
/// <param name="BytesPerSecond">Reading memory, each thread at several far-apart places at once: the roof of decoding.</param>
/// <param name="FlopsPerSecond">Float32 multiply-adds in registers, two operations each: the roof of a matrix product.</param>
/// <remarks>Williams, Waterman and Patterson, 2009, "Roofline", doi:10.1145/1498765.1498785.</remarks>
public sealed unsafe record Roofline(double OneStreamBytesPerSecond, double BytesPerSecond, double FlopsPerSecond)
{
    /// <summary>Int8 multiply-adds in the instructions that products of quantised weights use, two operations each: the roof of their prompts. 0 where
    /// they have none of their own.</summary>
    public double IntegerOpsPerSecond { get; init; }

    /// <summary>The roof of a product of many rows with weights in a format: <see cref="IntegerOpsPerSecond"/> where their blocks are multiplied as
    /// they are, <see cref="FlopsPerSecond"/> where they are widened.</summary>
    public double MatrixOpsPerSecond(NumberFormat format) => IsInteger(format) ? IntegerOpsPerSecond : FlopsPerSecond;

    /// <summary>Whether it is the former.</summary>
    public bool IsInteger(NumberFormat format) => IntegerOpsPerSecond > 0 && GroupLayout.Of(format) is not null;

    private const int Streams = 8, Items = 64, Chunk = 4 << 20;
    private const int Rounds = 4096, Accumulators = 16, FewAccumulators = 5;

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
        Roofline roofs = ops.InstructionSet switch
        {
            InstructionSets.Avx512Name or InstructionSets.AmxName => Measure<Lanes512>(ops.Crew),
            InstructionSets.Avx2Name => Measure<Lanes256>(ops.Crew),
            InstructionSets.Vector128Name => Measure<Lanes128>(ops.Crew),
            _ => Measure<LanesScalar>(ops.Crew),
        };
        PeakCode.Loop? integers = ops.InstructionSet switch
        {
            InstructionSets.AmxName => PeakCode.Amx,
            InstructionSets.Avx512Name when VnniTile.IsSupported => PeakCode.Int8,
            _ => null,
        };
        return integers is { } loop ? roofs with { IntegerOpsPerSecond = Peak(ops.Crew, loop) } : roofs;
    }

    /// <summary>Measures <see cref="FlopsPerSecond"/> alone, or of bfloat16 pairs where the device's training products run on these: takes a
    /// third of a second and no memory.</summary>
    public static double MatrixPeak(CpuOps ops)
    {
        ArgumentNullException.ThrowIfNull(ops);
        if (ops.UsesTileProducts) return Peak(ops.Crew, PeakCode.AmxBf16);
        if (ops.UsesPairProducts) return Peak(ops.Crew, PeakCode.Bf16);
        return ops.InstructionSet switch
        {
            InstructionSets.Avx512Name or InstructionSets.AmxName => MatrixPeak<Lanes512>(ops.Crew),
            InstructionSets.Avx2Name => MatrixPeak<Lanes256>(ops.Crew),
            InstructionSets.Vector128Name => MatrixPeak<Lanes128>(ops.Crew),
            _ => MatrixPeak<LanesScalar>(ops.Crew),
        };
    }

    /// <summary>One reading of memory, for a roof that is taken again and again between the steps of what is measured beside it.</summary>
    /// <param name="ops">The device whose threads read.</param>
    /// <param name="memory">From <see cref="CreateProbe"/>.</param>
    /// <returns>Bytes per second, the better of one stream and several streams a thread.</returns>
    public static double Probe(CpuOps ops, NativeBuffer memory)
    {
        ArgumentNullException.ThrowIfNull(ops);
        ArgumentNullException.ThrowIfNull(memory);
        return ops.InstructionSet switch
        {
            InstructionSets.Avx512Name or InstructionSets.AmxName => Probe<Lanes512>(ops.Crew, memory),
            InstructionSets.Avx2Name => Probe<Lanes256>(ops.Crew, memory),
            InstructionSets.Vector128Name => Probe<Lanes128>(ops.Crew, memory),
            _ => Probe<LanesScalar>(ops.Crew, memory),
        };
    }

    /// <summary>Memory for <see cref="Probe"/>: 256 MiB, more than a cache holds, written once so that every page is its own.</summary>
    public static NativeBuffer CreateProbe()
    {
        NativeBuffer memory = new(ProbeBytes);
        new Span<byte>((void*)memory.Address, checked((int)ProbeBytes)).Fill(1);
        return memory;
    }

    private const long ProbeBytes = (long)Items * Chunk;

    private static double Probe<T>(Crew crew, NativeBuffer memory)
        where T : unmanaged, ILanes<T>
    {
        float* sums = stackalloc float[Items * 16];
        Job job = new() { Memory = (float*)memory.Address, Sums = sums };
        return ProbeBytes / Math.Min(Once(crew, &OneStream<T>, &job), Once(crew, &ManyStreams<T>, &job));
    }

    private static Roofline Measure<T>(Crew crew)
        where T : unmanaged, ILanes<T>
    {
        using NativeBuffer memory = CreateProbe();
        float* sums = stackalloc float[Items * 16];
        new Span<float>(sums, Items * 16).Clear();
        Job job = new() { Memory = (float*)memory.Address, Sums = sums };
        double one = Best(crew, &OneStream<T>, &job), many = Best(crew, &ManyStreams<T>, &job);
        return new Roofline(ProbeBytes / one, ProbeBytes / Math.Min(one, many), MatrixPeak<T>(crew));
    }

    private static double MatrixPeak<T>(Crew crew)
        where T : unmanaged, ILanes<T>
    {
        float* sums = stackalloc float[Items * 16];
        new Span<float>(sums, Items * 16).Clear();
        Job job = new() { Sums = sums };
        return T.Registers == 1
            ? Items * (2.0 * 16 * Accumulators * Rounds) / Best(crew, &MultiplyAdds<T>, &job)
            : Items * (2.0 * 16 * FewAccumulators * Rounds) / Best(crew, &FewMultiplyAdds<T>, &job);
    }

    /// <summary>Seconds of the fastest of as many runs as fit in a third of a second.</summary>
    private static double Best(Crew crew, delegate*<void*, int, int, void> work, void* job)
    {
        double best = double.MaxValue;
        long start = Stopwatch.GetTimestamp();
        for (int run = 0; run < 3 || Stopwatch.GetElapsedTime(start).TotalSeconds < 0.33; run++)
        {
            best = Math.Min(best, Once(crew, work, job));
        }
        return best;
    }

    private static double Once(Crew crew, delegate*<void*, int, int, void> work, void* job)
    {
        long begin = Stopwatch.GetTimestamp();
        crew.Run(work, job, Items);
        return Stopwatch.GetElapsedTime(begin).TotalSeconds;
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

    // Where sixteen lanes are several registers: as many sums as stay in the sixteen that AVX2 has.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FewMultiplyAdds<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        Job* job = (Job*)argument;
        T x = T.Broadcast(0.5f), y = T.Load(job->Sums + item * 16);
        T a = y, b = y, c = y, d = y, e = y;
        for (int i = 0; i < Rounds; i++)
        {
            a = T.MultiplyAdd(a, x, y);
            b = T.MultiplyAdd(b, x, y);
            c = T.MultiplyAdd(c, x, y);
            d = T.MultiplyAdd(d, x, y);
            e = T.MultiplyAdd(e, x, y);
        }
        T.Store(a + b + c + d + e, job->Sums + item * 16);
    }

    private static double Peak(Crew crew, PeakCode.Loop loop) => Items * loop.Operations * Rounds / Best(crew, &RunLoop, &loop);

    private static void RunLoop(void* argument, int item, int worker) => PeakCode.Run(*(PeakCode.Loop*)argument, Rounds);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead(float* place)
    {
        if (Sse.IsSupported) Sse.Prefetch0((byte*)place + 1024);
    }
}
