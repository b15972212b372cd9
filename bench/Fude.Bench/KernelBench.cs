using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Fude.Tensors;

namespace Fude.Bench;

/// <summary>Each op of the processor's device at the shapes of a 1.3B model, beside the roof it is bound by.</summary>
/// <remarks>Roofs are measured before, between and after the rounds, since a shared machine's bandwidth changes from minute to minute;
/// both they and the ops count with their best round. <c>kernels [THREADS] [ROUNDS] [NAME]</c>; FUDE_ISA
/// chooses the path.</remarks>
internal static unsafe class KernelBench
{
    private const int Width = 2048, Hidden = 8192, HeadSize = 128, Context = 2000;
    private static readonly Heads Heads = new(Width / HeadSize, Width / HeadSize, HeadSize, 0.088f);

    private sealed record Case(string Name, int Rows, double Bytes, double Flops, Func<CpuOps, Inputs, Tensor> Op);

    /// <summary>Two activations and a batch of their rows, and where weights are.</summary>
    private sealed record Inputs(Tensor X, Tensor Y, Batch Batch, WeightPool Pool);

    /// <summary>Weights cut from memory far larger than the caches, each time another piece: none is found in a cache.</summary>
    private sealed class WeightPool : IDisposable
    {
        private const long Size = 512L << 20;
        private readonly nint _memory = (nint)NativeMemory.AlignedAlloc((nuint)Size, 4096);
        private long _next;

        // 0x2c10 is a small number in every format.
        public WeightPool() => new Span<ushort>((void*)_memory, (int)(Size / 2)).Fill(0x2c10);

        public Weight Next(NumberFormat format, int rows, int columns)
        {
            GroupLayout? layout = GroupLayout.Of(format);
            long bytes = layout?.Bytes(rows, columns) ?? rows * format.Bytes(columns);
            if (_next + bytes > Size) _next = 0;
            nint address = _memory + (nint)_next;
            Weight weight = layout is null
                ? new(format.ToString(), format, rows, columns, address)
                : new(format.ToString(), format, rows, columns, address, firstRow: 0);
            _next += bytes;
            return weight;
        }

        public void Dispose() => NativeMemory.AlignedFree((void*)_memory);
    }

    public static int Run(string[] args)
    {
        int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : Environment.ProcessorCount;
        int rounds = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 5;
        string filter = args.Length > 2 ? args[2] : "";
        using CpuOps ops = new(threads);
        using WeightPool pool = new();
        List<Case> cases = [.. Products(), .. Rows(), .. Attentions()];
        cases.RemoveAll(c => !c.Name.Contains(filter, StringComparison.OrdinalIgnoreCase));
        double[] best = new double[cases.Count];
        Array.Fill(best, double.MaxValue);
        Roofline roof = Roofline.Measure(ops);
        for (int round = 0; round < rounds; round++)
        {
            for (int i = 0; i < cases.Count; i++) best[i] = Math.Min(best[i], Seconds(ops, cases[i], pool));
            Roofline again = Roofline.Measure(ops);
            roof = new Roofline(
                Math.Max(roof.OneStreamBytesPerSecond, again.OneStreamBytesPerSecond),
                Math.Max(roof.BytesPerSecond, again.BytesPerSecond),
                Math.Max(roof.FlopsPerSecond, again.FlopsPerSecond));
        }
        Console.WriteLine(
            $"{ops.InstructionSet}, {threads} threads: {roof.BytesPerSecond / 1e9:F1} GB/s "
            + $"({roof.OneStreamBytesPerSecond / 1e9:F1} one stream a thread), {roof.FlopsPerSecond / 1e9:F0} GFLOP/s");
        for (int i = 0; i < cases.Count; i++)
        {
            Case c = cases[i];
            double bandwidth = c.Bytes / best[i], speed = c.Flops / best[i];
            Console.WriteLine(
                $"{c.Name,-44} {best[i] * 1e6,9:F1} us {bandwidth / 1e9,7:F1} GB/s {bandwidth / roof.BytesPerSecond,6:P0} "
                + $"{speed / 1e9,7:F0} GFLOP/s {speed / roof.FlopsPerSecond,6:P0}");
        }
        return 0;
    }

    private static IEnumerable<Case> Products()
    {
        NumberFormat[] formats =
            [NumberFormat.BF16, NumberFormat.F16, NumberFormat.F32, NumberFormat.Q8_0, NumberFormat.Q4_0, NumberFormat.Q4_1, NumberFormat.Q5_0,
             NumberFormat.Q5_1, NumberFormat.Q4_K, NumberFormat.Q5_K, NumberFormat.Q6_K];
        foreach (NumberFormat format in formats)
            foreach (int rows in (int[])[1, 4, 8, 16, 32, 512])
                foreach ((int outputs, int inputs) in ((int, int)[])[(Width, Width), (Hidden, Width), (Width, Hidden)])
                    yield return new Case(
                        $"MatMul {format} [{rows}, {inputs}] x [{outputs}, {inputs}]", rows,
                        outputs * format.Bytes(inputs), 2.0 * rows * inputs * outputs,
                        (ops, data) => ops.MatMul(inputs == Width ? data.X : data.Y, data.Pool.Next(format, outputs, inputs)));
    }

    // Bytes: what is read and written, if nothing is found in a cache.
    private static IEnumerable<Case> Rows()
    {
        foreach (int rows in (int[])[1, 512])
        {
            yield return new($"RmsNorm [{rows}, {Width}]", rows, 8.0 * rows * Width, 4.0 * rows * Width,
                (ops, data) => ops.RmsNorm(data.X, Vector(data), 1e-5f));
            yield return new($"LayerNorm [{rows}, {Width}]", rows, 8.0 * rows * Width, 7.0 * rows * Width,
                (ops, data) => ops.LayerNorm(data.X, Vector(data), Vector(data), 1e-5f));
            yield return new($"Rope [{rows}, {Width}]", rows, 8.0 * rows * Width, 3.0 * rows * Width,
                (ops, data) => ops.Rope(data.X, data.Batch, Shape));
            yield return new($"Add [{rows}, {Width}]", rows, 12.0 * rows * Width, 2.0 * rows * Width,
                (ops, data) => ops.Add(data.X, data.X));
            yield return new($"SwiGlu [{rows}, {Hidden}]", rows, 12.0 * rows * Hidden, 20.0 * rows * Hidden,
                (ops, data) => ops.SwiGlu(data.Y, data.Y));
            yield return new($"Gelu erf [{rows}, {Hidden}]", rows, 8.0 * rows * Hidden, 40.0 * rows * Hidden,
                (ops, data) => ops.Gelu(data.Y, GeluForm.Erf));
            yield return new($"Gelu tanh [{rows}, {Hidden}]", rows, 8.0 * rows * Hidden, 25.0 * rows * Hidden,
                (ops, data) => ops.Gelu(data.Y, GeluForm.Tanh));
            yield return new($"Embed BF16 [{rows}, {Width}]", rows, 6.0 * rows * Width, rows * Width,
                (ops, data) => ops.Embed(data.Batch, data.Pool.Next(NumberFormat.BF16, 1000, Width)));
        }
    }

    private static Weight Vector(Inputs data) => data.Pool.Next(NumberFormat.F32, 1, Width);

    private static readonly RopeShape Shape = new(HeadSize, HeadSize, 10000);

    private static IEnumerable<Case> Attentions()
    {
        foreach (NumberFormat format in (NumberFormat[])[NumberFormat.F32, NumberFormat.F16, NumberFormat.BF16, NumberFormat.Q8_0])
        {
            foreach ((Heads heads, string name) in ((Heads, string)[])[(Heads, "16 heads"), (Grouped, "32 heads of 8 groups")])
                yield return new($"Attention {format}, 1 token after {Context}, {name}", 1,
                    2.0 * Context * format.Bytes(heads.KeyValue * HeadSize), 4.0 * Context * heads.Query * HeadSize,
                    (ops, data) =>
                    {
                        Deep deep = Deep.Of(ops, heads, format);
                        Tensor q = data.Y with { Columns = heads.Query * HeadSize }, k = data.X with { Columns = heads.KeyValue * HeadSize };
                        return ops.Attention(q, k, k, heads, data.Batch with { Sequences = [new Sequence(0, 1, deep.Cache)] }, deep.NextLayer());
                    });
            foreach (int tokens in (int[])[512, 2048])
                yield return new($"Attention {format}, {tokens} tokens into a cache", tokens, 16.0 * tokens * Width,
                    2.0 * tokens * (tokens + 1) * Width, (ops, data) =>
                    {
                        // Never advanced: it is filled anew each time, in the same memory.
                        if (_empty is null || _empty.Capacity != tokens || _empty.Format != format)
                        {
                            _empty?.Dispose();
                            _empty = ops.CreateCache(1, Width, tokens, format);
                        }
                        KvCache cache = _empty;
                        return ops.Attention(data.X, data.X, data.X, Heads, data.Batch with { Sequences = [new Sequence(0, tokens, cache)] }, 0);
                    });
        }
        foreach (int tokens in (int[])[512, 2048])
            yield return new($"Attention, {tokens} tokens without a cache", tokens, 16.0 * tokens * Width, 2.0 * tokens * (tokens + 1) * Width,
                (ops, data) => ops.Attention(data.X, data.X, data.X, Heads, data.Batch, 0));
    }

    private static KvCache? _empty;

    private static readonly Heads Grouped = new(32, 8, HeadSize, 0.088f);

    /// <summary>A text of many tokens in so many layers that none is found in a processor's cache.</summary>
    private sealed record Deep(KvCache Cache, Heads Heads, int Layers)
    {
        private static Deep? _last;
        private int _layer;

        public int NextLayer() => _layer++ % Layers;

        public static Deep Of(CpuOps ops, Heads heads, NumberFormat format)
        {
            if (_last is not null && _last.Cache.Format == format && _last.Heads == heads) return _last;
            _last?.Cache.Dispose();
            int width = heads.KeyValue * HeadSize, layers = (int)((256L << 20) / (2 * Context * format.Bytes(width)));
            KvCache cache = ops.CreateCache(layers, width, Context + 1, format);
            Tensor k = ops.New(Context, width), q = ops.New(Context, heads.Query * HeadSize);
            new Span<float>((void*)k.Address, Context * width).Fill(0.1f);
            new Span<float>((void*)q.Address, Context * heads.Query * HeadSize).Fill(0.1f);
            for (int i = 0; i < layers; i++) ops.Attention(q, k, k, heads, Batch.Of(new int[Context], cache: cache), i);
            cache.Advance(Context);
            return _last = new Deep(cache, heads, layers);
        }
    }

    private static double Seconds(CpuOps ops, Case c, WeightPool pool)
    {
        double best = double.MaxValue, spent = 0;
        for (int run = 0; run < 3 || (spent < 0.1 && run < 200); run++)
        {
            ops.Begin();
            Tensor x = ops.New(c.Rows, Width), y = ops.New(c.Rows, Hidden);
            new Span<float>((void*)x.Address, (int)x.Count).Fill(0.1f);
            new Span<float>((void*)y.Address, (int)y.Count).Fill(0.1f);
            Inputs inputs = new(x, y, Batch.Of(new int[c.Rows]), pool);
            // Ops of a few rows are below the clock's grain: several together.
            int calls = c.Rows == 1 ? 20 : 1;
            long start = Stopwatch.GetTimestamp();
            for (int call = 0; call < calls; call++) c.Op(ops, inputs);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds / calls;
            (best, spent) = (Math.Min(best, seconds), spent + seconds);
        }
        return best;
    }
}
