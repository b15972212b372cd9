using System.Globalization;
using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using Fude.Tensors;
using Perfolizer.Horology;

namespace Fude.Bench;

/// <summary>Each op of the processor's device at the shapes of a 1.3B model, in BenchmarkDotNet, beside the roofs it is bound by.</summary>
/// <remarks>Roofs are measured before and after each op, since a shared machine's bandwidth changes from minute to minute; the op's fastest
/// iteration counts, and the better of its roofs. <c>kernels [--threads N] [WORD...]</c>: the ops whose names have every word; FUDE_ISA
/// chooses the path.</remarks>
internal static class KernelBench
{
    public static int Run(string[] args)
    {
        List<string> words = [.. args];
        int threads = words.IndexOf("--threads");
        if (threads >= 0 && threads + 1 < words.Count)
        {
            KernelBenchmarks.Threads = int.Parse(words[threads + 1], CultureInfo.InvariantCulture);
            words.RemoveRange(threads, 2);
        }
        KernelBenchmarks.Words = words;
        if (!KernelBenchmarks.Cases.Any())
        {
            Console.Error.WriteLine($"no op's name has the words {string.Join(", ", words)}; there are MatMul, RmsNorm, LayerNorm, Rope, Add, SwiGlu, Gelu, Embed, Attention, number formats and shapes.");
            return 2;
        }
        string artifacts = Path.Combine(Path.GetTempPath(), "fude-kernels");
        ManualConfig config = ManualConfig.CreateEmpty()
            .AddJob(Job.Default.WithToolchain(InProcessNoEmitToolchain.Instance)
                .WithWarmupCount(2).WithIterationCount(7).WithIterationTime(TimeInterval.FromMilliseconds(100)))
            .AddColumnProvider(DefaultColumnProviders.Params)
            .AddColumn(
                StatisticColumn.Min, StatisticColumn.Median,
                new RoofColumn("GB/s, of memory", 0, "What it reads and writes if nothing is in a cache, beside reading memory at several places a thread",
                    (kernel, roofs) => (kernel.Bytes, roofs.BytesPerSecond)),
                new RoofColumn("GFLOP/s, of float32", 1, "Operations, two for a multiply-add, beside float32 multiply-adds in registers",
                    (kernel, roofs) => (kernel.Flops, roofs.FlopsPerSecond)),
                new RoofColumn("GOP/s, of int8", 2, "Products of weights that are multiplied as int8: operations beside int8 multiply-adds in registers",
                    (kernel, roofs) => kernel.Format is { } format && roofs.IsInteger(format) ? (kernel.Flops, roofs.IntegerOpsPerSecond) : null))
            .AddDiagnoser(MemoryDiagnoser.Default).AddColumnProvider(DefaultColumnProviders.Metrics)
            .AddLogger(ConsoleLogger.Default)
            .WithSummaryStyle(SummaryStyle.Default.WithMaxParameterColumnWidth(80))
            .WithOptions(ConfigOptions.DisableOptimizationsValidator | ConfigOptions.DisableLogFile)
            .WithArtifactsPath(artifacts);
        Summary summary = BenchmarkRunner.Run<KernelBenchmarks>(config);
        return summary.Reports.Length > 0 && summary.Reports.All(report => report.Success) ? 0 : 1;
    }

    /// <summary>The rate of an op's fastest iteration, and what part of the roof it is.</summary>
    private sealed class RoofColumn(string name, int priority, string legend, Func<KernelCase, Roofline, (double Work, double Roof)?> measure) : IColumn
    {
        public string Id => name;

        public string ColumnName => name;

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => priority;

        public bool IsNumeric => false;

        public UnitType UnitType => UnitType.Dimensionless;

        public string Legend => legend;

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
        {
            KernelCase kernel = (KernelCase)benchmarkCase.Parameters[nameof(KernelBenchmarks.Case)];
            if (summary[benchmarkCase]?.ResultStatistics is not { } times || !KernelBenchmarks.Roofs.TryGetValue(kernel.Name, out Roofline? roofline)) return "?";
            if (measure(kernel, roofline) is not { } measured) return "";
            double rate = measured.Work / (times.Min / 1e9);
            return string.Create(CultureInfo.InvariantCulture, $"{rate / 1e9:F1}, {rate / measured.Roof:P0}");
        }

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

        public bool IsAvailable(Summary summary) => true;
    }
}

/// <summary>What BenchmarkDotNet runs.</summary>
public class KernelBenchmarks
{
    private static KernelInputs? _inputs;
    private static CpuOps _ops = null!;     // the one of the op that runs

    internal static int Threads { get; set; } = Environment.ProcessorCount;

    internal static IReadOnlyList<string> Words { get; set; } = [];

    internal static Dictionary<string, Roofline> Roofs { get; } = new(StringComparer.Ordinal);

    /// <summary>The ops that were asked for.</summary>
    public static IEnumerable<KernelCase> Cases => KernelCase.All.Where(kernel => Words.All(word => kernel.Name.Contains(word, StringComparison.OrdinalIgnoreCase)));

    /// <summary>The op.</summary>
    [ParamsSource(nameof(Cases))]
    public KernelCase Case { get; set; } = null!;

    /// <summary>Makes the device and measures the roofs.</summary>
    [GlobalSetup]
    public void Begin()
    {
        _ops = new CpuOps(Threads);
        _inputs ??= new KernelInputs();
        _inputs.Rows = Case.Rows;
        Roofs[Case.Name] = Roofline.Measure(_ops);
    }

    /// <summary>The op, once.</summary>
    [Benchmark]
    public nint Op()
    {
        _ops.Begin();
        return Case.Op(_ops, _inputs!).Address;
    }

    /// <summary>Measures the roofs again.</summary>
    [GlobalCleanup]
    public void End()
    {
        Roofline before = Roofs[Case.Name], after = Roofline.Measure(_ops);
        Roofs[Case.Name] = new Roofline(
            Math.Max(before.OneStreamBytesPerSecond, after.OneStreamBytesPerSecond),
            Math.Max(before.BytesPerSecond, after.BytesPerSecond),
            Math.Max(before.FlopsPerSecond, after.FlopsPerSecond))
        {
            IntegerOpsPerSecond = Math.Max(before.IntegerOpsPerSecond, after.IntegerOpsPerSecond),
        };
        KernelCase.Free();
        _ops.Dispose();
    }
}

/// <summary>Activations of some rows, and where weights are: cut from memory far larger than the caches, each time another piece, so that none
/// is found in a cache.</summary>
internal sealed unsafe class KernelInputs
{
    private const long Size = 512L << 20;
    private const int MostRows = 2048;
    private readonly nint _weights = (nint)NativeMemory.AlignedAlloc((nuint)Size, 4096);
    private readonly nint _x = Filled(MostRows * KernelCase.Width), _y = Filled(MostRows * KernelCase.Hidden);
    private Weight[] _pieces = [];
    private int _next;

    // 0x2c10 is a small number in every format.
    public KernelInputs() => new Span<ushort>((void*)_weights, (int)(Size / 2)).Fill(0x2c10);

    public int Rows
    {
        get;
        set
        {
            field = value;
            Batch = Batch.Of(new int[value]);
        }
    }

    public Tensor X => new(_x, Rows, KernelCase.Width);

    public Tensor Y => new(_y, Rows, KernelCase.Hidden);

    public Batch Batch { get; private set; } = null!;

    public Weight Next(NumberFormat format, int rows, int columns)
    {
        if (_pieces.Length == 0 || (_pieces[0].Format, _pieces[0].Rows, _pieces[0].Columns) != (format, rows, columns))
        {
            GroupLayout? layout = GroupLayout.Of(format);
            long bytes = layout?.Bytes(rows, columns) ?? rows * format.Bytes(columns);
            _pieces = new Weight[(int)Math.Min(Size / bytes, 4096)];
            for (int i = 0; i < _pieces.Length; i++)
                _pieces[i] = layout is null
                    ? new(format.ToString(), format, rows, columns, _weights + (nint)(i * bytes))
                    : new(format.ToString(), format, rows, columns, _weights + (nint)(i * bytes), firstRow: 0);
        }
        return _pieces[_next++ % _pieces.Length];
    }

    private static nint Filled(int count)
    {
        nint memory = (nint)NativeMemory.AlignedAlloc((nuint)count * sizeof(float), 4096);
        new Span<float>((void*)memory, count).Fill(0.1f);
        return memory;
    }
}

/// <summary>An op at a shape.</summary>
public sealed unsafe class KernelCase
{
    internal const int Width = 2048, Hidden = 8192, HeadSize = 128, Context = 2000;
    private static readonly Heads Heads = new(Width / HeadSize, Width / HeadSize, HeadSize, 0.088f);

    private KernelCase(string name, int rows, double bytes, double flops, Func<CpuOps, KernelInputs, Tensor> op) =>
        (Name, Rows, Bytes, Flops, Op) = (name, rows, bytes, flops, op);

    internal string Name { get; }

    internal int Rows { get; }

    internal double Bytes { get; }

    internal double Flops { get; }

    internal Func<CpuOps, KernelInputs, Tensor> Op { get; }

    /// <summary>That of the weights of a product.</summary>
    internal NumberFormat? Format { get; private init; }

    internal static IEnumerable<KernelCase> All => [.. Products(), .. RowOps(), .. Attentions()];

    /// <summary>The op and its shape.</summary>
    public override string ToString() => Name;

    /// <summary>Gives the caches of attention back, which belong to one device.</summary>
    internal static void Free()
    {
        _empty?.Dispose();
        _empty = null;
        Deep.Free();
    }

    private static IEnumerable<KernelCase> Products()
    {
        NumberFormat[] formats =
            [NumberFormat.BF16, NumberFormat.F16, NumberFormat.F32, NumberFormat.Q8_0, NumberFormat.Q4_0, NumberFormat.Q4_1, NumberFormat.Q5_0,
             NumberFormat.Q5_1, NumberFormat.Q4_K, NumberFormat.Q5_K, NumberFormat.Q6_K];
        foreach (NumberFormat format in formats)
            foreach (int rows in (int[])[1, 4, 8, 16, 32, 512])
                foreach ((int outputs, int inputs) in ((int, int)[])[(Width, Width), (Hidden, Width), (Width, Hidden)])
                    yield return new KernelCase(
                        $"MatMul {format} [{rows}, {inputs}] x [{outputs}, {inputs}]", rows,
                        outputs * format.Bytes(inputs), 2.0 * rows * inputs * outputs,
                        (ops, data) => ops.MatMul(inputs == Width ? data.X : data.Y, data.Next(format, outputs, inputs)))
                    {
                        Format = format,
                    };
    }

    // Bytes: what is read and written, if nothing is found in a cache.
    private static IEnumerable<KernelCase> RowOps()
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
                (ops, data) => ops.Embed(data.Batch, data.Next(NumberFormat.BF16, 1000, Width)));
        }
    }

    private static Weight Vector(KernelInputs data) => data.Next(NumberFormat.F32, 1, Width);

    private static readonly RopeShape Shape = new(HeadSize, HeadSize, 10000);

    private static IEnumerable<KernelCase> Attentions()
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

        public static void Free()
        {
            _last?.Cache.Dispose();
            _last = null;
        }

        public static Deep Of(CpuOps ops, Heads heads, NumberFormat format)
        {
            if (_last is not null && _last.Cache.Format == format && _last.Heads == heads) return _last;
            Free();
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
}
