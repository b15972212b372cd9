using System.CommandLine;
using System.Text.Json;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers;
using Fude.Tokenizers.Files;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude perplexity: how well a model predicts a text.</summary>
internal static class PerplexityCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string> model = Arguments.Model();
        Option<string?> idsFile = new("--ids-file")
        {
            HelpName = "FILE",
            Description = Say("The text's token ids, a JSON array.", "テキストのトークン ID（JSON の配列）。"),
        };
        Option<string?> textFile = new("--text-file")
        {
            HelpName = "FILE",
            Description = Say(
                "The text, UTF-8. No begin token stands before it, so numbers of tools that put one there differ; --ids-file takes ids of your own choice.",
                "テキスト（UTF-8）。前に開始トークンは付けない（付ける他のツールとは値が異なる）。付けるなら --ids-file で ID を渡す。"),
        };
        Option<int?> context = Arguments.Window(), stride = Arguments.Stride();
        Option<string?> adapter = Arguments.Adapter();
        Option<int?> threads = Arguments.Threads();
        Option<bool> json = Arguments.Json();
        Command command = new("perplexity", Say("Measure how well a model predicts a text.", "モデルがテキストをどれだけ予測できるか測る。"))
        {
            model, idsFile, textFile, context, stride, adapter, threads, json,
        };
        FormatArguments format = FormatArguments.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetResult(idsFile) is null == result.GetResult(textFile) is null)
                result.AddError(Say("Give either --ids-file or --text-file.", "--ids-file か --text-file のどちらかを指定してください。"));
        });
        command.SetAction((args, stop) => Task.Run(() =>
        {
            ModelFolder folder = ModelFolder.Open(args.GetRequiredValue(model));
            int[] ids = args.GetValue(idsFile) is { } file
                ? ReadIds(file)
                : folder.Tokenizer.Encode(TextInput.ReadFile(args.GetValue(textFile)!), addSpecialTokens: false);
            if (ids.Length < 2)
            {
                string read = (args.GetValue(idsFile) ?? args.GetValue(textFile))!;
                throw new Failure(
                    $"{read}: has {Count(ids.Length, "token")}; the second is the first that is predicted, so two are needed.",
                    $"{read}: トークンが {ids.Length} 個しかありません。予測するのは 2 個目からなので、2 個以上必要です。");
            }
            if (Array.FindIndex(ids, id => (uint)id >= (uint)folder.Config.Vocabulary) is >= 0 and int beyond)
                throw new Failure(
                    $"{args.GetValue(idsFile) ?? args.GetValue(textFile)}: token {beyond + 1} is {ids[beyond]}, but the model's vocabulary has {folder.Config.Vocabulary} entries.",
                    $"{args.GetValue(idsFile) ?? args.GetValue(textFile)}: {beyond + 1} 番目のトークンが {ids[beyond]} ですが、モデルの語彙は {folder.Config.Vocabulary} 語です。");
            Arguments.RequireWindow(args.GetValue(context), args.GetValue(stride), folder.Config);
            using LanguageModel loaded = format.Load(args, folder.Path, args.GetValue(adapter), terminal, stop);
            return Run(terminal, loaded, ids, args.GetValue(context), args.GetValue(stride), args.GetValue(threads), args.GetValue(json), stop);
        }, stop));
        return command;
    }

    private static int Run(Terminal terminal, LanguageModel model, int[] ids, int? context, int? stride, int? threads, bool json,
        CancellationToken stop)
    {
        using CpuOps ops = new(threads ?? 0);
        int window = context ?? Math.Min(model.Config.Context, Math.Max(2, ids.Length));
        using ProgressLine progress = new(terminal);
        Perplexity result = Perplexity.Measure(model, ops, ids, window, stride ?? Math.Max(1, window / 2),
            progress.Of(Say("scored", "採点済み"), ids.Length), stop);
        progress.Clear();
        if (!json)
        {
            terminal.Output.WriteLine(Say(
                $"perplexity {result.Value:F4} over {Count(result.ScoredTokens, "token")} ({result.TotalLossNats / result.ScoredTokens:F4} nats a token)",
                $"パープレキシティ {result.Value:F4}（{result.ScoredTokens} トークン、1 トークンあたり {result.TotalLossNats / result.ScoredTokens:F4} nats）"));
            return 0;
        }
        JsonLine.Write(terminal.Output, writer =>
        {
            writer.WriteStartObject();
            writer.WriteReal("perplexity", result.Value);
            writer.WriteNumber("tokens", result.ScoredTokens);
            writer.WriteEndObject();
        });
        return 0;
    }

    private static int[] ReadIds(string file)
    {
        byte[] json = TextInput.ReadBytes(file);
        if (json.AsSpan().StartsWith("\uFEFF"u8)) json = json[3..];
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Array) throw Wrong(Say($"it holds {Wording.KindOf(root.ValueKind)}", $"中身が{Wording.KindOf(root.ValueKind)}です"));
            List<int> ids = [];
            foreach (JsonElement element in root.EnumerateArray())
            {
                if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt32(out int id))
                    throw Wrong(Say($"element {ids.Count + 1} is no token id", $"{ids.Count + 1} 番目の要素がトークン ID ではありません"));
                ids.Add(id);
            }
            return [.. ids];
        }
        catch (JsonException e)
        {
            throw Wrong(JsonMistake.InFile(e, json));
        }

        Failure Wrong(string what) => new(
            $"{file} is not a JSON array of token ids, as in [1, 2, 3]: {what}.",
            $"{file} はトークン ID の JSON 配列（[1, 2, 3] など）として読めません: {what}。");
    }
}
