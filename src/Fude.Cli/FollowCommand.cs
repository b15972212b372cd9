using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Fude.Generation;
using Fude.Models;
using Fude.Tokenizers.Training;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude follow: how many instructions a model follows, of those whose answers can be checked.</summary>
internal static class FollowCommand
{
    private const int AtOnce = 32, DefaultLimit = 100, DefaultNewTokens = 128;

    /// <summary>An instruction, what the model answered, whether it ended by itself, and whether that is what was asked for.</summary>
    private sealed record Answered(MinedInstruction Instruction, string Answer, bool HasEnded, bool IsFollowed);

    public static Command Create(Terminal terminal)
    {
        Argument<string> model = Arguments.Model();
        Argument<string[]> files = new("files")
        {
            HelpName = "FILE",
            Arity = ArgumentArity.OneOrMore,
            Description = Say(
                "Instructions with what their answers are checked by, as fude corpus instructions makes them (JSONL, also gzip).",
                "答えの確かめ方が付いた指示。fude corpus instructions で作ったもの（JSONL、gzip 圧縮も可）。"),
        };
        Option<int> limit = NumberOption.Of("--limit", Say(
            "Instructions of each task at most, chosen by their hash; 0 for all.", "種類ごとの指示の数の上限。ハッシュ値で選ぶ。0 ならすべて。"), DefaultLimit, NumberOption.AtLeast(0));
        Option<int> tokens = NumberOption.Of("--max-new-tokens", Say(
            "Tokens of an answer at most; one that has not ended by then is not followed.", "応答のトークン数の上限。そこまでに終わらない応答は、守れたものに数えない。"), DefaultNewTokens, NumberOption.AtLeast(1), "-n");
        Option<string?> format = Arguments.PromptFormatName(Say(
            $"The prompt format; guessed from the model when absent: {string.Join(", ", PromptFormat.All)}, {PromptFormat.TemplateName} (the folder's own).",
            $"プロンプトの書式。省略時はモデルから推定: {string.Join("、", PromptFormat.All)}、{PromptFormat.TemplateName}（モデルのフォルダーのもの）。"));
        Option<string?> adapter = Arguments.Adapter();
        Option<int?> threads = Arguments.Threads();
        Option<int> skipBad = NumberOption.Of(
            "--skip-bad", Say("Broken lines to pass over before one is an error.", "読み飛ばしてよい壊れた行の数。"), 0, NumberOption.AtLeast(0));
        Option<string?> output = new("--out")
        {
            HelpName = "FILE",
            Description = Say(
                "Write the table to a file: .json or Markdown; or every answer, and whether it ended by itself (\"finish\": \"stop\", not \"length\"): .jsonl.",
                "表をファイルに書く（.json 以外は Markdown）。.jsonl ならすべての応答を、自分で終わったか（\"finish\" が \"stop\" か \"length\" か）と共に書く。"),
        };
        Option<bool> force = new("--force") { Description = Say("Replace a file that is there.", "既にあるファイルを置き換える。") };
        Option<bool> json = Arguments.Json();
        Command command = new("follow", Say(
            "Count how many instructions a model follows, where that can be checked: words, numbers of items, exact texts. It answers with its likeliest tokens, and has to end by itself.",
            "モデルが守れた指示の数を、確かめられるもの（言葉、個数、正確な文など）について数える。応答は最も確からしいトークンで作り、自分で終わったものだけを数える。"))
        { model, files, limit, tokens, format, adapter, threads, skipBad, output, force, json };
        FormatArguments weights = FormatArguments.AddTo(command, FormatArguments.Alias);      // --format is that of the prompt
        command.SetAction((args, stop) => Task.Run(async () =>
        {
            if (args.GetValue(output) is { } place)
            {
                if (place.EndsWith(".gz", StringComparison.OrdinalIgnoreCase))
                    throw Failure.OfUsage(
                        $"--out {place} would be packed by its name, and it is not: leave off .gz.", $"--out {place}: gzip では書き出しません。末尾の .gz を外してください。");
                OutputPlace.RequireFile(place);
                OutputPlace.RequireApart(place, [.. args.GetRequiredValue(files), args.GetRequiredValue(model), .. args.GetValue(adapter) is { } part ? (string[])[part] : []]);
                OutputPlace.RequireNew(place, args.GetValue(force));
            }
            DataTally tally = new(args.GetValue(skipBad));
            List<MinedInstruction> instructions = Chosen(args.GetRequiredValue(files).SelectMany(file => MinedInstructions.Read(file, tally)), args.GetValue(limit), stop);
            TuneCommand.ReportLeftOut(terminal.Error, tally);
            if (instructions.Count == 0)
                throw new Failure(
                    $"{string.Join(", ", args.GetRequiredValue(files))}: no line has a \"check\" to check an answer by; fude corpus instructions writes such files.",
                    $"{string.Join(", ", args.GetRequiredValue(files))}: 答えの確かめ方（\"check\"）のある行がありません。fude corpus instructions でそのようなファイルを作れます。");
            using TextGenerator generator = weights.LoadGenerator(
                args, args.GetRequiredValue(model), args.GetValue(adapter), args.GetValue(threads) ?? 0, terminal, stop);
            PromptFormatGuess guess = args.GetValue(format) is { } name
                ? new(PromptFormat.Named(name, generator.Folder), IsSure: true, "")
                : PromptFormat.Guess(generator.Folder, args.GetValue(adapter));
            if (!guess.IsSure)
                terminal.Error.WriteLine(Say(
                    $"note: prompt format {guess.Format} is a guess. {guess.Reason} --format NAME chooses another.",
                    $"注意: プロンプト書式 {guess.Format} は推定です。{guess.Reason}--format NAME で変えられます。"));
            Answered[] answers = await AnswerAsync(terminal, generator, guess.Format, instructions, args.GetValue(tokens), stop).ConfigureAwait(false);
            if (answers.Count(answer => !answer.HasEnded) is > 0 and int endless)
                terminal.Error.WriteLine(Say(
                    $"note: {Count(endless, "answer")} of {answers.Length:N0} had not ended at the limit of {Count(args.GetValue(tokens), "token")} or of the context, and {(endless == 1 ? "counts" : "count")} as not followed",
                    $"注意: {answers.Length:N0} 件のうち {endless:N0} 件の応答は、上限の {args.GetValue(tokens):N0} トークンか文脈長までに終わらなかったため、守れたものに数えません"));
            terminal.Output.Write(args.GetValue(json) ? Json(answers) : Markdown(answers));
            if (args.GetValue(output) is { } path)
                AtomicFile.Write(path, Encoding.UTF8.GetBytes(
                    path.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase) ? Lines(answers)
                    : path.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? Json(answers) : Markdown(answers)));
            return 0;
        }, stop));
        return command;
    }

    // Of each task so many, each once, in the order of their hashes: which, does not depend on the others.
    private static List<MinedInstruction> Chosen(IEnumerable<MinedInstruction> all, int limit, CancellationToken stop)
    {
        Dictionary<string, SortedSet<(ulong Hash, MinedInstruction Instruction)>> tasks = [];
        Comparer<(ulong Hash, MinedInstruction)> byHash = Comparer<(ulong Hash, MinedInstruction)>.Create((one, other) => one.Hash.CompareTo(other.Hash));
        foreach (MinedInstruction one in all)
        {
            stop.ThrowIfCancellationRequested();
            if (!tasks.TryGetValue(one.Task, out SortedSet<(ulong, MinedInstruction)>? chosen)) tasks.Add(one.Task, chosen = new(byHash));
            if (chosen.Add((one.Hash, one)) && limit > 0 && chosen.Count > limit) _ = chosen.Remove(chosen.Max);
        }
        return [.. tasks.OrderBy(task => Place(task.Key)).ThenBy(task => task.Key, StringComparer.Ordinal).SelectMany(task => task.Value.Select(one => one.Instruction))];
    }

    private static int Place(string task)
    {
        int place = InstructionMiner.Tasks.ToList().IndexOf(task);
        return place < 0 ? int.MaxValue : place;
    }

    private static async Task<Answered[]> AnswerAsync(
        Terminal terminal, TextGenerator generator, PromptFormat format, List<MinedInstruction> instructions, int tokens, CancellationToken stop)
    {
        // Whatever generation_config.json says of how to write; what it forbids to write stays forbidden.
        GenerationOptions greedy = new()
        {
            DoSample = false,
            NumBeams = 1,
            NumBeamGroups = 1,
            DiversityPenalty = 0,
            NumReturnSequences = 1,
            RepetitionPenalty = 1,
            PresencePenalty = 0,
            FrequencyPenalty = 0,
            NoRepeatNgramSize = 0,
            MinNewTokens = 0,
            MinLength = 0,
        };
        using ProgressLine progress = new(terminal);
        IProgress<int> told = progress.Of(Say("answering", "応答中"), instructions.Count);
        Answered[] answers = new Answered[instructions.Count];
        for (int first = 0; first < answers.Length; first += AtOnce)
        {
            told.Report(first);
            await Task.WhenAll(Enumerable.Range(first, Math.Min(AtOnce, answers.Length - first)).Select(async i =>
            {
                Prompt prompt = format.Write(instructions[i].Question);
                int[] ids = generator.Encode(prompt.Text, prompt.AddSpecialTokens);
                int room = generator.Config.Context - ids.Length;
                // An instruction that leaves no room for an answer has none.
                GenerationResult? result = room < 1
                    ? null : (await generator.GenerateAsync(ids, greedy with { MaxNewTokens = Math.Min(tokens, room) }, stop).ConfigureAwait(false))[0];
                string answer = result?.Text?.Trim() ?? "";
                // What is cut off, as endless repetition is, may have the form that was asked for, and is no answer.
                bool hasEnded = result?.Finish == FinishReason.Stop;
                answers[i] = new Answered(instructions[i], answer, hasEnded, hasEnded && instructions[i].Check.IsMetBy(answer));
            })).ConfigureAwait(false);
        }
        progress.Clear();
        return answers;
    }

    private static IEnumerable<(string Task, int Count, int Followed)> Rows(Answered[] answers) =>
    [
        .. answers.GroupBy(answer => answer.Instruction.Task).Select(task => (task.Key.Length > 0 ? task.Key : "–", task.Count(), task.Count(answer => answer.IsFollowed))),
        (Say("all", "全体"), answers.Length, answers.Count(answer => answer.IsFollowed)),
    ];

    private static string Markdown(Answered[] answers) => TextTable.Write(
    [
        [Say("task", "種類"), Say("instructions", "指示"), Say("followed", "守れた数"), "%"],
        .. Rows(answers).Select(row => (string[])
        [
            Failure.OneLine(row.Task.Replace("|", "\\|", StringComparison.Ordinal)), row.Count.ToString("N0", CultureInfo.InvariantCulture),
            row.Followed.ToString("N0", CultureInfo.InvariantCulture), (100.0 * row.Followed / row.Count).ToString("F1", CultureInfo.InvariantCulture),
        ]),
    ]);

    private static string Json(Answered[] answers)
    {
        using StringWriter text = new() { NewLine = "\n" };
        JsonLine.Write(text, json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("tasks");
            foreach (IGrouping<string, Answered> task in answers.GroupBy(answer => answer.Instruction.Task))
            {
                json.WriteStartObject();
                json.WriteString("task", task.Key);
                json.WriteNumber("instructions", task.Count());
                json.WriteNumber("followed", task.Count(answer => answer.IsFollowed));
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteNumber("instructions", answers.Length);
            json.WriteNumber("followed", answers.Count(answer => answer.IsFollowed));
            json.WriteEndObject();
        });
        return text.ToString();
    }

    private static string Lines(Answered[] answers)
    {
        using StringWriter text = new() { NewLine = "\n" };
        foreach (Answered answer in answers)
            JsonLine.Write(text, json =>
            {
                json.WriteStartObject();
                json.WriteString("task", answer.Instruction.Task);
                json.WriteString("instruction", answer.Instruction.Question);
                json.WriteString("answer", answer.Answer);
                json.WriteString("finish", answer.HasEnded ? "stop" : "length");
                json.WriteBoolean("followed", answer.IsFollowed);
                json.WritePropertyName("check");
                answer.Instruction.Check.WriteTo(json);
                json.WriteString("reference", answer.Instruction.Answer);
                json.WriteEndObject();
            });
        return text.ToString();
    }
}
