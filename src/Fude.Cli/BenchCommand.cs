using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Fude.Models;
using Fude.Tensors;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>fude bench: how fast a model reads and writes, beside what the machine could do at most in the same minute.</summary>
internal static class BenchCommand
{
    private const int Most = 1_000_000;

    public static Command Create(Terminal terminal)
    {
        Argument<string?> model = new("model")
        {
            HelpName = "MODEL",
            Arity = ArgumentArity.ZeroOrOne,
            Description = Say($"A model's folder or GGUF file; or give --config. {DefaultModel.Name} when both are absent.", $"モデルのフォルダーか GGUF ファイル。代わりに --config も使える。どちらもなければ {DefaultModel.Name}。"),
        };
        Option<string?> config = new("--config")
        {
            HelpName = "FILE",
            Description = Say("A config.json: random weights of that shape are made in memory.", "config.json。この形の乱数の重みをメモリー上に作る。"),
        };
        Option<string?> format = new("--format", FormatArguments.Alias)
        {
            HelpName = FormatArguments.Names,
            Description = Say(
                "Number format: of random weights (bf16 when absent, f32, q8_0, q4_0, …), or what those of MODEL are quantised to.",
                "数値形式。乱数の重みの形式（省略時は bf16。f32、q8_0、q4_0 など）、または MODEL の重みを量子化する形式。"),
        };
        Option<int> prompt = Of("--prompt-tokens", Say("Prompt tokens.", "プロンプトのトークン数。"), 512, Within(0, Most), "-p");
        Option<int> decode = Of("--new-tokens", Say("New tokens.", "新しいトークン数。"), 128, Within(0, Most), "-n");
        Option<int> repetitions = Of("--repetitions", Say("Repetitions; medians are printed.", "繰り返し数。中央値を出す。"), 3, Within(1, Most), "-r");
        Option<Choice<NumberFormat?>> cacheFormat = FormatArguments.KvCache();
        Option<int> depth = Of(
            "--depth", Say("Tokens that are cached before the first new one.", "最初の新しいトークンより前にキャッシュしておくトークン数。"), 0, Within(0, Most), "-d");
        Option<int> batch = Of("--batch", Say("Sequences that are decoded side by side.", "同時に生成する系列の数。"), 1, Within(1, Most), "-b");
        Option<int?> threads = Arguments.Threads();
        Option<bool> json = Arguments.Json();
        Command command = new("bench", Say(
            "Measure prompt and decoding speed beside the machine's roofs.", "プロンプトと生成の速さを、機械の上限と並べて測る。"))
        {
            model, config, format, prompt, decode, depth, batch, repetitions, threads, json, cacheFormat,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(model) is { Tokens.Count: > 0 } && result.GetResult(config) is not null)
                result.AddError(Say("Give either MODEL or --config FILE, not both.", "MODEL と --config FILE は同時に指定できません。"));
        });
        command.SetAction((args, stop) => Task.Run(() =>
        {
            using CpuOps ops = new(args.GetValue(threads) ?? 0);
            ModelFolder? folder = args.GetValue(config) is null ? ModelFolder.Open(DefaultModel.Or(args.GetValue(model))) : null;
            ModelConfig shape = folder?.Config ?? ModelConfig.Load(args.GetValue(config)!);
            int wanted = Math.Max(args.GetValue(prompt), args.GetValue(depth) + args.GetValue(decode) + 1);
            if (wanted > shape.Context)
                throw new Failure(
                    $"the model reads {shape.Context} tokens, but -p {args.GetValue(prompt)} -d {args.GetValue(depth)} -n {args.GetValue(decode)} need {wanted}.",
                    $"モデルの文脈長は {shape.Context} トークンですが、-p {args.GetValue(prompt)} -d {args.GetValue(depth)} -n {args.GetValue(decode)} には {wanted} 必要です。");
            using ProgressLine progress = new(terminal);
            RecordingWeights weights = new(folder is null ? new RandomWeights(Parsed(args.GetValue(format)), seed: 1)
                : args.GetValue(format) is { } name ? folder.OpenWeights(QuantizationMixes.Parse(name), FormatArguments.Progress(progress, stop))
                : folder.OpenWeights());
            using LanguageModel loaded = LanguageModel.Create(shape, weights);
            loaded.KvCacheFormat = args.GetRequiredValue(cacheFormat).Value ?? loaded.KvCacheFormat;
            progress.Clear();
            Measured measured = Measure(loaded, weights.Matrices, ops, args.GetValue(prompt), args.GetValue(decode), args.GetValue(depth), args.GetValue(batch),
                args.GetValue(repetitions), stop);
            if (args.GetValue(json)) WriteJson(terminal.Output, measured);
            else WriteText(terminal.Output, measured);
            return 0;
        }, stop));
        return command;
    }

    /// <summary>What was measured; speeds are medians. MatrixBytes are those of the weights that decoding a token reads, MatrixParameters
    /// the numbers it is multiplied with. A prompt stands beside the roofs of its products: int8 for weights that are multiplied as such, float32 for others.</summary>
    private sealed record Measured(
        string Architecture, long Parameters, string InstructionSet, int Threads, int Prompt, int Decode, int Depth, int Sequences, int Repetitions,
        double PromptPerSecond, double DecodePerSecond, long MatrixBytes, long MatrixParameters, Roofline Roof,
        double PromptRoofFraction, double DecodeRoofFraction, double AllocatedBytesPerToken, string PromptRoof)
    {
        public double DecodeBytesPerSecond => DecodePerSecond / Sequences * MatrixBytes;

        public double PromptFlopsPerSecond => PromptPerSecond * 2 * MatrixParameters;
    }

    /// <summary>Remembers which matrices a model took, and in which format.</summary>
    private sealed class RecordingWeights(IWeightStore store) : IWeightStore
    {
        private readonly Dictionary<string, Weight> _matrices = new(StringComparer.Ordinal);

        public IReadOnlyCollection<Weight> Matrices => _matrices.Values;

        public bool Contains(string name) => store.Contains(name);

        public Weight Matrix(string name, int rows, int columns, bool transposed = false) =>
            _matrices[name] = store.Matrix(name, rows, columns, transposed);

        public Weight Vector(string name, int length) => store.Vector(name, length);

        public void Release(Weight matrix) => store.Release(matrix);

        public void Dispose() => store.Dispose();
    }

    private static Measured Measure(LanguageModel model, IReadOnlyCollection<Weight> matrices, CpuOps ops, int prompt, int decode, int depth, int sequences,
        int repetitions, CancellationToken stop)
    {
        ModelSummary summary = ModelSummary.Of(model.Config);
        List<(double Speed, double LeastSeconds)> prompts = [];
        List<(double Seconds, double Roof)> decodes = [];
        Weight[] read = [.. matrices.Where(summary.IsMultiplied)];
        double[] seconds = new double[decode], roofNow = new double[decode];
        using NativeBuffer probe = Roofline.CreateProbe();
        List<Roofline> roofs = [Roofline.Measure(ops)];
        double allocated = double.MaxValue;
        int[] tokens = [.. Enumerable.Range(0, Math.Max(Math.Max(prompt, depth), sequences)).Select(i => (int)((uint)(i * 2654435761) % (uint)model.Config.Vocabulary))];
        for (int run = 0; run <= repetitions; run++)         // run 0 warms up
        {
            stop.ThrowIfCancellationRequested();
            double promptSeconds = 0;
            if (prompt > 0)
            {
                using KvCache cache = model.CreateCache(ops, prompt);
                Batch batch = Batch.Of(tokens.AsSpan(0, prompt), cache: cache);
                promptSeconds = Time(() => model.Run(ops, batch));
            }
            if (decode > 0)
            {
                KvCache[] caches = [.. Enumerable.Range(0, sequences).Select(_ => model.CreateCache(ops, depth + decode + 1))];
                if (depth > 0)
                    foreach (KvCache cache in caches) model.Run(ops, Batch.Of(tokens.AsSpan(0, depth), cache: cache));
                Batch batch = new(
                    tokens[..sequences], [.. Enumerable.Repeat(depth, sequences)], [.. caches.Select((cache, i) => new Sequence(i, 1, cache))],
                    [.. Enumerable.Range(0, sequences)]);
                model.Run(ops, batch);
                long before = GC.GetTotalAllocatedBytes(precise: true);
                for (int i = 1; i <= decode; i++)
                {
                    batch.Positions.AsSpan().Fill(depth + i);
                    // The roof of this very moment: a shared machine's moves from second to second.
                    roofNow[i - 1] = Roofline.Probe(ops, probe);
                    long started = Stopwatch.GetTimestamp();
                    model.Run(ops, batch);
                    seconds[i - 1] = Stopwatch.GetElapsedTime(started).TotalSeconds;
                }
                allocated = Math.Min(allocated, (GC.GetTotalAllocatedBytes(precise: true) - before) / (double)decode);
                foreach (KvCache cache in caches) cache.Dispose();
            }
            roofs.Add(Roofline.Measure(ops));
            if (run == 0) continue;
            if (prompt > 0) prompts.Add((prompt / promptSeconds, (LeastSeconds(roofs[^2]) + LeastSeconds(roofs[^1])) / 2));
            for (int i = 0; i < decode; i++) decodes.Add((seconds[i], roofNow[i]));
        }
        long bytes = read.Sum(weight => weight.Bytes), parameters = read.Sum(weight => (long)weight.Rows * weight.Columns);
        Roofline roof = new(
            Median(roofs.Select(r => r.OneStreamBytesPerSecond)),
            Median(decode > 0 ? decodes.Select(token => token.Roof) : roofs.Select(r => r.BytesPerSecond)),
            Median(roofs.Select(r => r.FlopsPerSecond)))
        {
            IntegerOpsPerSecond = Median(roofs.Select(r => r.IntegerOpsPerSecond)),
        };
        return new Measured(summary.Architecture, summary.Parameters, ops.InstructionSet, ops.Threads, prompt, decode, depth, sequences, repetitions,
            prompt > 0 ? Median(prompts.Select(run => run.Speed)) : 0, decode > 0 ? sequences / Median(decodes.Select(token => token.Seconds)) : 0,
            bytes, parameters, roof,
            prompt > 0 ? Median(prompts.Select(run => run.Speed * run.LeastSeconds)) : 0,
            decode > 0 ? Median(decodes.Select(token => bytes / token.Seconds / token.Roof)) : 0,
            decode > 0 ? allocated : 0, string.Join(" and ", read.Select(weight => roof.IsInteger(weight.Format) ? "int8" : "float32").Distinct()));

        // What the products of a token take at the roofs.
        double LeastSeconds(Roofline measured) => read.Sum(weight => 2.0 * weight.Rows * weight.Columns / measured.MatrixOpsPerSecond(weight.Format));
    }

    private static void WriteText(TextWriter output, Measured m)
    {
        string roof = m.PromptRoof.Replace(" and ", Say(" and ", " と "), StringComparison.Ordinal);
        string integer = m.Roof.IntegerOpsPerSecond > 0 ? $", int8 {Say("matrix", "行列")} {m.Roof.IntegerOpsPerSecond / 1e9:F0} GOP/s" : "";
        output.WriteLine(Say(
            $"{m.Architecture}, {Count(m.Parameters, "parameter")}, {m.MatrixBytes / 1e9:F2} GB read per token; "
            + $"{m.InstructionSet}, {Count(m.Threads, "thread")}, median of {m.Repetitions}",
            $"{m.Architecture}、パラメーター {m.Parameters:N0} 個、1 トークンあたり {m.MatrixBytes / 1e9:F2} GB を読む。"
            + $"{m.InstructionSet}、{m.Threads} スレッド、{m.Repetitions} 回の中央値"));
        output.WriteLine(Say(
            $"roofs    memory {m.Roof.BytesPerSecond / 1e9:F1} GB/s, float32 matrix {m.Roof.FlopsPerSecond / 1e9:F0} GFLOP/s{integer}",
            $"上限        メモリー {m.Roof.BytesPerSecond / 1e9:F1} GB/s, float32 行列 {m.Roof.FlopsPerSecond / 1e9:F0} GFLOP/s{integer}".Replace(", ", "、", StringComparison.Ordinal)));
        if (m.Prompt > 0)
            output.WriteLine(Say(
                $"prompt   {m.Prompt,5} tokens  {m.PromptPerSecond,9:F1} tokens/s  {m.PromptFlopsPerSecond / 1e9,8:F1} GOP/s    {m.PromptRoofFraction:P1} of the {roof} matrix roof",
                $"プロンプト  {m.Prompt,5} トークン  {m.PromptPerSecond,9:F1} トークン/秒  {m.PromptFlopsPerSecond / 1e9,8:F1} GOP/s    {roof} 行列の上限の {m.PromptRoofFraction:P1}"));
        if (m.Decode > 0)
        {
            string depth = m.Depth > 0 ? Say($", at depth {m.Depth}", $"、深さ {m.Depth}") : "", sequences = m.Sequences > 1 ? Say($", {m.Sequences} sequences", $"、{m.Sequences} 系列") : "";
            output.WriteLine(Say(
                $"decode   {m.Decode,5} tokens  {m.DecodePerSecond,9:F1} tokens/s  {m.DecodeBytesPerSecond / 1e9,8:F1} GB/s     {m.DecodeRoofFraction:P1} of the memory roof, "
                + $"{m.AllocatedBytesPerToken:F0} bytes allocated per token{depth}{sequences}",
                $"生成        {m.Decode,5} トークン  {m.DecodePerSecond,9:F1} トークン/秒  {m.DecodeBytesPerSecond / 1e9,8:F1} GB/s     メモリーの上限の {m.DecodeRoofFraction:P1}、"
                + $"1 トークンあたりの割り当て {m.AllocatedBytesPerToken:F0} バイト{depth}{sequences}"));
        }
    }

    private static void WriteJson(TextWriter output, Measured m) => JsonLine.Write(output, json =>
    {
        json.WriteStartObject();
        json.WriteString("architecture", m.Architecture);
        json.WriteNumber("parameters", m.Parameters);
        json.WriteNumber("bytes_per_token", m.MatrixBytes);
        json.WriteString("instruction_set", m.InstructionSet);
        json.WriteNumber("threads", m.Threads);
        json.WriteNumber("repetitions", m.Repetitions);
        json.WriteNumber("memory_roof_bytes_per_second", m.Roof.BytesPerSecond);
        json.WriteNumber("memory_one_stream_bytes_per_second", m.Roof.OneStreamBytesPerSecond);
        json.WriteNumber("matrix_roof_flops_per_second", m.Roof.FlopsPerSecond);
        json.WriteNumber("integer_roof_ops_per_second", m.Roof.IntegerOpsPerSecond);
        json.WriteNumber("prompt_tokens", m.Prompt);
        json.WriteNumber("prompt_tokens_per_second", m.PromptPerSecond);
        json.WriteNumber("prompt_matrix_roof_fraction", m.PromptRoofFraction);
        json.WriteString("prompt_matrix_roof", m.PromptRoof);
        json.WriteNumber("new_tokens", m.Decode);
        json.WriteNumber("depth", m.Depth);
        json.WriteNumber("sequences", m.Sequences);
        json.WriteNumber("decode_tokens_per_second", m.DecodePerSecond);
        json.WriteNumber("decode_memory_roof_fraction", m.DecodeRoofFraction);
        json.WriteNumber("decode_allocated_bytes_per_token", m.AllocatedBytesPerToken);
        json.WriteEndObject();
    });

    private static double Time(Action work)
    {
        long started = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    private static NumberFormat Parsed(string? name)
    {
        if (name is null) return NumberFormat.BF16;
        if (!char.IsAsciiDigit(name.FirstOrDefault()) && Enum.TryParse(name, ignoreCase: true, out NumberFormat format) && Enum.IsDefined(format)) return format;
        throw new Failure(
            $"--format: '{name}' is no number format of random weights; there are {string.Join(", ", Enum.GetNames<NumberFormat>()).ToLowerInvariant()}.",
            $"--format: '{name}' という乱数の重みの数値形式はありません。{string.Join("、", Enum.GetNames<NumberFormat>()).ToLowerInvariant()} のどれかです。");
    }
}
