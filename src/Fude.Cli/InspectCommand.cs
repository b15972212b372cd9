using System.CommandLine;
using System.Globalization;
using Fude.Models;
using Fude.Tensors;
using Fude.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>fude inspect: what a model is, how large it is, and whether this machine can run it; config.json is enough.</summary>
internal static class InspectCommand
{
    private static readonly NumberFormat[] Formats = [NumberFormat.F32, NumberFormat.BF16, NumberFormat.F16];
    private static readonly QuantizationMix[] Mixes = [QuantizationMix.Q8_0, QuantizationMix.Q4_K_M];

    /// <summary>What the weights take in one way to keep them.</summary>
    /// <param name="Name">Its name in JSON.</param>
    /// <param name="Label">Its name for people.</param>
    /// <param name="Bytes">Bytes of all weights.</param>
    /// <param name="IsQuantized">Whether they are quantised.</param>
    private readonly record struct Need(string Name, string Label, long Bytes, bool IsQuantized);

    public static Command Create(Terminal terminal)
    {
        Argument<string?> model = Arguments.ModelOrDefault();
        Option<bool> tensors = new("--tensors")
        {
            Description = Say("List every weight with its shape.", "すべての重みと形を一覧にする。"),
        };
        Option<bool> train = new("--train")
        {
            Description = Say("Show what training takes of memory instead.", "代わりに、学習に必要なメモリーを表示する。"),
        };
        Option<int> rows = Of("--rows", Say("--train: rows of a micro-batch.", "--train: マイクロバッチの行数。"), 4, AtLeast(1));
        Option<int?> context = Optional<int>(
            "--context", Say("--train: tokens of a row; the model's context when absent.", "--train: 1 行のトークン数。省略時はモデルの文脈長。"), AtLeast(1));
        Option<bool> recompute = new("--recompute")
        {
            Description = Say("--train: blocks are recomputed in the backward pass (activation checkpointing).", "--train: 逆伝播でブロックを再計算する。"),
        };
        Option<int?> rank = Optional<int>(
            "--lora-rank", Say("--train: only an adapter of this rank is trained.", "--train: このランクの LoRA アダプターだけを学習する。"), Within(1, 1 << 20));
        Option<string?> targets = new("--lora-targets")
        {
            HelpName = "A,B",
            Description = Say("--lora-rank: the layers that are adapted; all linear layers of the blocks when absent.", "--lora-rank: 適用する層。省略時はブロックの全線形層。"),
        };
        Option<QuantizationMix?> weights = FormatArguments.Parsed(FormatArguments.Alias);
        weights.Description = Say("--train: the base beside an adapter is quantised to this format (QLoRA); as it is stored when absent.",
            "--train: アダプターを学習する元の重みをこの形式に量子化する（QLoRA）。省略時は保存形式のまま。");
        Option<string?> lora = new("--adapter-config")
        {
            HelpName = "FILE",
            Description = Say("--train: only the adapter of this adapter_config.json is trained.", "--train: この adapter_config.json のアダプターだけを学習する。"),
        };
        Option<int?> threads = Arguments.Threads();
        Option<bool> json = Arguments.Json();
        Command command = new("inspect", Say(
            "Show what a model is and what it needs; its weights need not be there.",
            "モデルの構造と必要なメモリーを表示する。重みがなくてもよい。"))
        {
            model, tensors, train, rows, context, recompute, rank, targets, weights, lora, threads, json,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(rank) is not null && result.GetResult(lora) is not null)
                result.AddError(Say("Give either --lora-rank or --adapter-config, not both.", "--lora-rank と --adapter-config は同時に指定できません。"));
            if (result.GetResult(targets) is not null && result.GetResult(rank) is null)
                result.AddError(Say("--lora-targets is for an adapter: give --lora-rank too.", "--lora-targets はアダプター用です。--lora-rank も指定してください。"));
            if (result.GetResult(weights) is not null && result.GetResult(rank) is null && result.GetResult(lora) is null)
                result.AddError(Say("--weights is for an adapter: give --lora-rank or --adapter-config too.", "--weights はアダプター用です。--lora-rank か --adapter-config も指定してください。"));
            if (result.GetResult(train) is not null) return;
            foreach (Option option in (Option[])[rows, context, recompute, rank, targets, weights, lora, threads])
                if (result.GetResult(option) is { Implicit: false })
                    result.AddError(Say($"{option.Name} says how a model is trained: give --train with it.", $"{option.Name} は学習の設定です。--train と一緒に指定してください。"));
        });
        command.SetAction(args =>
        {
            ModelFolder folder = ModelFolder.Open(DefaultModel.Or(args.GetValue(model)));
            if (args.GetValue(train))
            {
                ReadOnlyMemory<byte>? adapter = args.GetValue(lora) is { } file ? TextInput.ReadBytes(file)
                    : args.GetValue(rank) is { } r ? new LoraSettings(r, Targets: TuningArguments.NamesOf(args.GetValue(targets))).ToAdapterConfig(folder.Config, folder.Path)
                    : (ReadOnlyMemory<byte>?)null;
                TrainingFootprint footprint = TrainingFootprint.Of(folder, args.GetValue(rows), args.GetValue(context) ?? folder.Config.Context,
                    args.GetValue(recompute), args.GetValue(threads) ?? 0, adapter, args.GetValue(weights));
                if (args.GetValue(json)) WriteJson(terminal.Output, footprint);
                else WriteText(terminal.Output, footprint);
                return 0;
            }
            if (args.GetValue(json)) WriteJson(terminal.Output, folder, args.GetValue(tensors));
            else WriteText(terminal.Output, folder, args.GetValue(tensors));
            return 0;
        });
        return command;
    }

    private static void WriteText(TextWriter output, ModelFolder folder, bool tensors)
    {
        ModelSummary summary = ModelSummary.Of(folder.Config);
        long available = ModelSummary.AvailableMemoryBytes(), cache = summary.KeyValueBytesPerToken * summary.Config.Context;
        long narrowCache = summary.Config.CacheBytes(NumberFormat.F16, summary.Config.Context);
        List<(string Name, string Value)> rows =
        [
            (Say("architecture", "アーキテクチャー"), summary.Architecture),
            (Say("parameters", "パラメーター数"), summary.Parameters.ToString("N0", CultureInfo.InvariantCulture)),
            .. summary.Config.HyperParameters.Select(pair => (pair.Key, pair.Value)),
            (Say("tokenizer", "トークナイザー"), Tokenizer(folder)),
            (Say("weights", "重み"), folder.HasWeights ? Stored(folder) : Say("none in the folder", "フォルダーにない")),
            (Say("keys and values", "KV キャッシュ"), Say(
                $"{summary.KeyValueBytesPerToken:N0} bytes a token, {Size(cache)} for the whole context; {Size(narrowCache)} beside quantised weights",
                $"1 トークン {summary.KeyValueBytesPerToken:N0} バイト、文脈全体で {Size(cache)}（重みが量子化されていれば {Size(narrowCache)}）")),
        ];
        foreach (Need need in Needs(folder, summary))
        {
            string fits = summary.Fits(need.Bytes, need.IsQuantized, summary.Config.Context, available) ? Say("fits, with the whole context", "文脈全体と共に収まる")
                : summary.Fits(need.Bytes, need.IsQuantized, 0, available) ? Say("fits, with a shorter context", "文脈を短くすれば収まる")
                : Say("does not fit", "収まらない");
            rows.Add((need.Label, $"{Bytes(need.Bytes)}: {fits}"));
        }
        rows.Add((Say("available memory", "使えるメモリー"), Size(available)));

        WriteRows(output, rows);
        if (!tensors) return;
        output.WriteLine();
        foreach (Weight weight in summary.Weights) output.WriteLine($"{weight.Name}  {Shape(weight)}");
    }

    private static void WriteText(TextWriter output, TrainingFootprint footprint)
    {
        long available = ModelSummary.AvailableMemoryBytes();
        WriteRows(output,
        [
            (Say("weights", "重み"), Bytes(footprint.WeightBytes)),
            (Say("gradients", "勾配"), Bytes(footprint.GradientBytes)),
            (Say("AdamW's moments", "AdamW のモーメント"), Bytes(footprint.OptimizerBytes)),
            (Say("activations and scratch", "活性値と作業域"), Bytes(footprint.PassBytes)),
            (Say("in all", "合計"), $"{Bytes(footprint.TotalBytes)}: {(footprint.TotalBytes <= available ? Say("fits", "収まる") : Say("does not fit", "収まらない"))}"),
            (Say("available memory", "使えるメモリー"), Size(available)),
        ]);
    }

    private static IEnumerable<Need> Needs(ModelFolder folder, ModelSummary summary)
    {
        if (folder.StoredFormats() is { Count: > 0 } stored)
            yield return new("stored", Say("as stored", "保存時のまま"), stored.Sum(format => format.Bytes),
                stored.Any(format => Enum.TryParse(format.Format, out NumberFormat known) && known.IsQuantized()));
        foreach (NumberFormat format in Formats) yield return new(format.ToString(), format.ToString(), summary.BytesIn(format), false);
        foreach (QuantizationMix mix in Mixes) yield return new(mix.ToString(), mix.ToString(), summary.BytesIn(mix), true);
    }

    private static void WriteJson(TextWriter output, TrainingFootprint footprint) => JsonLine.Write(output, json =>
    {
        json.WriteStartObject();
        json.WriteNumber("weight_bytes", footprint.WeightBytes);
        json.WriteNumber("gradient_bytes", footprint.GradientBytes);
        json.WriteNumber("optimizer_bytes", footprint.OptimizerBytes);
        json.WriteNumber("pass_bytes", footprint.PassBytes);
        json.WriteNumber("total_bytes", footprint.TotalBytes);
        json.WriteNumber("available_memory_bytes", ModelSummary.AvailableMemoryBytes());
        json.WriteEndObject();
    });

    private static void WriteRows(TextWriter output, IReadOnlyList<(string Name, string Value)> rows)
    {
        int width = rows.Max(row => LineEditor.Cells(row.Name));
        foreach ((string name, string value) in rows)
            output.WriteLine($"{name}{new string(' ', width - LineEditor.Cells(name))}  {value}");
    }

    private static void WriteJson(TextWriter output, ModelFolder folder, bool tensors)
    {
        ModelSummary summary = ModelSummary.Of(folder.Config);
        long available = ModelSummary.AvailableMemoryBytes();
        List<Need> needs = [.. Needs(folder, summary)];
        JsonLine.Write(output, json =>
        {
            json.WriteStartObject();
            json.WriteString("architecture", summary.Architecture);
            json.WriteString("model_type", summary.Config.ModelType);
            json.WriteNumber("parameters", summary.Parameters);
            json.WriteStartObject("hyper_parameters");
            foreach ((string name, string value) in summary.Config.HyperParameters)
            {
                json.WritePropertyName(name);
                // Numbers, booleans, null and lists are JSON already; names are not.
                if (double.TryParse(value, CultureInfo.InvariantCulture, out _) || value is "true" or "false" or "null" || value.StartsWith('['))
                    json.WriteRawValue(value);
                else json.WriteStringValue(value);
            }
            json.WriteEndObject();
            json.WriteStartObject("bytes");
            foreach (Need need in needs) json.WriteNumber(need.Name, need.Bytes);
            json.WriteEndObject();
            json.WriteNumber("kv_bytes_per_token", summary.KeyValueBytesPerToken);
            json.WriteNumber("available_memory_bytes", available);
            json.WriteStartObject("fits");
            foreach (Need need in needs) json.WriteBoolean(need.Name, summary.Fits(need.Bytes, need.IsQuantized, summary.Config.Context, available));
            json.WriteEndObject();
            json.WriteBoolean("has_weights", folder.HasWeights);
            json.WriteStartObject("stored");
            foreach ((string format, int count, long bytes) in folder.StoredFormats())
            {
                json.WriteStartObject(format);
                json.WriteNumber("tensors", count);
                json.WriteNumber("bytes", bytes);
                json.WriteEndObject();
            }
            json.WriteEndObject();
            if (tensors)
            {
                json.WriteStartObject("tensors");
                foreach (Weight weight in summary.Weights)
                {
                    json.WriteStartArray(weight.Name);
                    if (weight.Rows > 1) json.WriteNumberValue(weight.Rows);
                    json.WriteNumberValue(weight.Columns);
                    json.WriteEndArray();
                }
                json.WriteEndObject();
            }
            json.WriteEndObject();
        });
    }

    private static string Stored(ModelFolder folder) => string.Join(Say(", ", "、"), folder.StoredFormats().Select(format => Say(
        $"{format.Format} {Size(format.Bytes)} ({format.Tensors} tensors)", $"{format.Format} {Size(format.Bytes)}（{format.Tensors} テンソル）")));

    // What the model is and needs does not depend on it: one that cannot be read is told among the rest.
    private static string Tokenizer(ModelFolder folder)
    {
        try
        {
            if (!folder.HasTokenizer) return Say("none in the folder", "フォルダーにない");
            int unused = folder.Config.Vocabulary - folder.Tokenizer.VocabularySize;
            return Say(
                $"{folder.Tokenizer.VocabularySize:N0} entries{(unused > 0 ? $"; the last {unused} rows of the embedding are never sampled" : "")}",
                $"{folder.Tokenizer.VocabularySize:N0} 項目{(unused > 0 ? $"（埋め込みの末尾 {unused} 行は選ばれない）" : "")}");
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
            return Failure.OneLine(Say($"cannot be read: {e.Message}", $"読み込めません: {e.Message}"));
        }
    }

    private static string Shape(Weight weight) => weight.Rows == 1 ? $"[{weight.Columns}]" : $"[{weight.Rows}, {weight.Columns}]";

    private static string Bytes(long bytes) => Say($"{bytes:N0} bytes ({Size(bytes)})", $"{bytes:N0} バイト（{Size(bytes)}）");

    private static string Size(long bytes) => bytes switch
    {
        >= 1L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):F2} GiB"),
        >= 1L << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 20):F1} MiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:F1} KiB"),
    };
}
