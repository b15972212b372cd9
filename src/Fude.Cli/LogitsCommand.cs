using System.CommandLine;
using Fude.Models;
using Fude.Tensors;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude logits: the raw scores of every next token.</summary>
internal static class LogitsCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string> model = Arguments.Model();
        Option<int[]?> ids = Arguments.Ids();
        ids.Required = true;
        Option<bool> all = new("--all")
        {
            Description = Say("Logits after every token, not only after the last.", "最後のトークンだけでなく、各トークンの後のロジットを出す。"),
        };
        Option<string?> adapter = Arguments.Adapter();
        Option<int?> threads = Arguments.Threads();
        Option<bool> json = Arguments.Json();
        Command command = new("logits", Say("Print the raw scores of the next token.", "次のトークンの生のスコア（ロジット）を出力する。"))
        {
            model, ids, all, adapter, threads, json,
        };
        FormatArguments format = FormatArguments.AddTo(command);
        // One forward pass cannot be stopped half-way, only left behind.
        command.SetAction((args, stop) => Task.Run(() =>
        {
            using LanguageModel loaded = format.Load(args, args.GetRequiredValue(model), args.GetValue(adapter), terminal, stop);
            return Run(terminal, loaded, args.GetRequiredValue(ids)!, args.GetValue(all), args.GetValue(threads), args.GetValue(json));
        }, stop).WaitAsync(stop));
        return command;
    }

    private static int Run(Terminal terminal, LanguageModel model, int[] ids, bool all, int? threads, bool json)
    {
        using CpuOps ops = new(threads ?? 0);
        using KvCache? cache = model.KvCacheFormat == NumberFormat.F32 ? null : model.CreateCache(ops, ids.Length);
        Tensor logits = model.Run(ops, Batch.Of(ids, allLogits: all, cache));
        ReadOnlySpan<float> values = ops.Read(logits);

        if (json)
        {
            float[] numbers = values.ToArray();
            JsonLine.Write(terminal.Output, writer =>
            {
                writer.WriteStartObject();
                writer.WriteStartArray("logits");
                for (int row = 0; row < logits.Rows; row++)
                {
                    writer.WriteStartArray();
                    foreach (float value in numbers.AsSpan(row * logits.Columns, logits.Columns)) writer.WriteFloat(value);
                    writer.WriteEndArray();
                }
                writer.WriteEndArray();
                writer.WriteEndObject();
            });
            return 0;
        }

        for (int row = 0; row < logits.Rows; row++)
        {
            if (row > 0) terminal.Output.WriteLine();
            PrintBest(terminal.Output, values.Slice(row * logits.Columns, logits.Columns), all ? row : ids.Length - 1);
        }
        return 0;
    }

    private static void PrintBest(TextWriter output, ReadOnlySpan<float> logits, int position)
    {
        float[] values = logits.ToArray();
        double largest = values.Max();
        double total = values.Sum(value => Math.Exp(value - largest));
        output.WriteLine(Say($"after token {position}:    id    logit  probability", $"トークン {position} の後:    ID  ロジット  確率"));
        foreach (int id in Enumerable.Range(0, values.Length).OrderByDescending(id => values[id]).Take(10))
            output.WriteLine($"{id,24} {values[id],8:F3}  {Math.Exp(values[id] - largest) / total:P2}");
    }
}
