using System.CommandLine;
using System.Globalization;
using Fude.Models;
using Fude.Tensors;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude inspect: what a model is, how large it is, and whether this machine can run it; config.json is enough.</summary>
internal static class InspectCommand
{
    private static readonly NumberFormat[] Formats = [NumberFormat.F32, NumberFormat.BF16, NumberFormat.F16];

    public static Command Create(Terminal terminal)
    {
        Argument<string> model = Arguments.Model();
        Option<bool> tensors = new("--tensors")
        {
            Description = Say("List every weight with its shape.", "すべての重みと形を一覧にする。"),
        };
        Option<bool> json = Arguments.Json();
        Command command = new("inspect", Say(
            "Show what a model is and what it needs; its weights need not be there.",
            "モデルの構造と必要なメモリーを表示する。重みがなくてもよい。"))
        {
            model, tensors, json,
        };
        command.SetAction(args =>
        {
            ModelFolder folder = ModelFolder.Open(args.GetRequiredValue(model));
            if (args.GetValue(json)) WriteJson(terminal.Output, folder, args.GetValue(tensors));
            else WriteText(terminal.Output, folder, args.GetValue(tensors));
            return 0;
        });
        return command;
    }

    private static void WriteText(TextWriter output, ModelFolder folder, bool tensors)
    {
        ModelSummary summary = ModelSummary.Of(folder.Config);
        long available = ModelSummary.AvailableMemoryBytes();
        List<(string Name, string Value)> rows =
        [
            (Say("architecture", "アーキテクチャー"), summary.Architecture),
            (Say("parameters", "パラメーター数"), summary.Parameters.ToString("N0", CultureInfo.InvariantCulture)),
            .. summary.Config.HyperParameters.Select(pair => (pair.Key, pair.Value)),
            (Say("tokenizer", "トークナイザー"), Tokenizer(folder)),
            (Say("weights", "重み"), folder.HasWeights ? Say("present", "あり") : Say("none in the folder", "フォルダーにない")),
            (Say("keys and values", "KV キャッシュ"), Say(
                $"{summary.KeyValueBytesPerToken:N0} bytes a token, {Size(summary.KeyValueBytesPerToken * summary.Config.Context)} for the whole context",
                $"1 トークン {summary.KeyValueBytesPerToken:N0} バイト、文脈全体で {Size(summary.KeyValueBytesPerToken * summary.Config.Context)}")),
        ];
        foreach (NumberFormat format in Formats)
        {
            string fits = summary.Fits(format, summary.Config.Context, available) ? Say("fits, with the whole context", "文脈全体と共に収まる")
                : summary.Fits(format, 0, available) ? Say("fits, with a shorter context", "文脈を短くすれば収まる")
                : Say("does not fit", "収まらない");
            rows.Add((format.ToString(), $"{summary.BytesIn(format):N0} bytes ({Size(summary.BytesIn(format))}): {fits}"));
        }
        rows.Add((Say("available memory", "使えるメモリー"), Size(available)));

        int width = rows.Max(row => LineEditor.Cells(row.Name));
        foreach ((string name, string value) in rows)
            output.WriteLine($"{name}{new string(' ', width - LineEditor.Cells(name))}  {value}");
        if (!tensors) return;
        output.WriteLine();
        foreach (Weight weight in summary.Weights) output.WriteLine($"{weight.Name}  {Shape(weight)}");
    }

    private static void WriteJson(TextWriter output, ModelFolder folder, bool tensors)
    {
        ModelSummary summary = ModelSummary.Of(folder.Config);
        long available = ModelSummary.AvailableMemoryBytes();
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
            foreach (NumberFormat format in Formats) json.WriteNumber(format.ToString(), summary.BytesIn(format));
            json.WriteEndObject();
            json.WriteNumber("kv_bytes_per_token", summary.KeyValueBytesPerToken);
            json.WriteNumber("available_memory_bytes", available);
            json.WriteStartObject("fits");
            foreach (NumberFormat format in Formats) json.WriteBoolean(format.ToString(), summary.Fits(format, summary.Config.Context, available));
            json.WriteEndObject();
            json.WriteBoolean("has_weights", folder.HasWeights);
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

    private static string Tokenizer(ModelFolder folder)
    {
        if (!folder.HasTokenizer) return Say("none in the folder", "フォルダーにない");
        int unused = folder.Config.Vocabulary - folder.Tokenizer.VocabularySize;
        return Say(
            $"{folder.Tokenizer.VocabularySize:N0} entries{(unused > 0 ? $"; the last {unused} rows of the embedding are never sampled" : "")}",
            $"{folder.Tokenizer.VocabularySize:N0} 項目{(unused > 0 ? $"（埋め込みの末尾 {unused} 行は選ばれない）" : "")}");
    }

    private static string Shape(Weight weight) => weight.Rows == 1 ? $"[{weight.Columns}]" : $"[{weight.Rows}, {weight.Columns}]";

    private static string Size(long bytes) => bytes switch
    {
        >= 1L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):F2} GiB"),
        >= 1L << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 20):F1} MiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:F1} KiB"),
    };
}
