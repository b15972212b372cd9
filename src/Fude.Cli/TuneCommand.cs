using System.CommandLine;
using System.Globalization;
using Fude.Generation;
using Fude.Models;
using Fude.Tensors;
using Fude.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>fude tune: teaches a model to follow instructions and to converse, all of it or an adapter beside it.</summary>
internal static class TuneCommand
{
    private const int AuditedByDefault = 3, FewSteps = 10;

    public static Command Create(Terminal terminal)
    {
        Command command = new("tune", Say(
            "Tune a model on instructions or conversations: all weights, or a LoRA adapter.", "指示や会話でモデルを調整する（全重み、または LoRA アダプター）。"));
        TuningArguments common = new(command, Say(
            "JSONL (also .gz) of instruction/input/output, question/answer, prompt/completion, messages, conversations, utterances, or trees of Open Assistant; several files are mixed, each of its examples taken WEIGHT times an epoch.",
            "instruction/input/output、question/answer、prompt/completion、messages、conversations、utterances、Open Assistant の木の JSONL（.gz も可）。複数なら混ぜ、各例を 1 周に WEIGHT 回使う。"),
            fullRate: 2e-5, loraRate: 2e-4, batch: 32, mayCut: true);
        Option<bool> last = new("--last-answer-only")
        {
            Description = Say("Learn the last answer of each conversation only; all answers when absent.", "会話の最後の応答だけを学習する。省略時はすべての応答。"),
        };
        Option<bool> allReplies = new("--all-replies")
        {
            Description = Say("Of trees, learn every reply once; the best ranked path when absent.", "木のすべての返答を一度ずつ学習する。省略時は最上位の枝だけ。"),
        };
        Option<bool> second = new("--second-speaker-only")
        {
            Description = Say("Of conversations of two people, be the second to speak; each of the two in turn when absent.", "二人の会話では後に話す人だけをモデルとする。省略時は両方の立場で読む。"),
        };
        Option<double> smoothing = LearningArguments.LabelSmoothing(), zLoss = LearningArguments.ZLoss();
        Option<string?> generation = new("--generation-config")
        {
            HelpName = "FILE",
            Description = Say("The generation_config.json that goes with the model; that of MODEL when absent.", "モデルに添える generation_config.json。省略時は MODEL のもの。"),
        };
        Option<string[]> replay = new("--replay")
        {
            HelpName = "SHARD...",
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            Description = Say("Token shards of texts like those the model was pre-trained on: pieces of them are mixed in, so that it does not forget them.",
                "事前学習と同種のテキストのトークンシャード。一部を混ぜて学習し、忘れないようにする。"),
        };
        Option<double> replayShare = Of("--replay-share", Say("The share of --replay among all tokens.", "全トークンに占める --replay の割合。"), 0.25, PartBetween);
        Option<int?> audit = new("--audit")
        {
            HelpName = "N",
            Arity = ArgumentArity.ZeroOrOne,
            CustomParser = result => result.Tokens.Count == 0 ? AuditedByDefault : Parse(result, AtLeast(1)),
            Description = Say($"Train nothing: show of each file the first N examples ({AuditedByDefault} when absent), with the tokens that are learnt marked.",
                $"学習せず、各ファイルの最初の N 例（省略時 {AuditedByDefault}）について、学習するトークンに印を付けて見せる。"),
        };
        Option<bool> json = new("--json") { Description = Say("With --audit: one JSON object an example.", "--audit の結果を 1 例 1 行の JSON で出力する。") };
        foreach (Option option in (Option[])[last, allReplies, second, replay, replayShare, smoothing, zLoss, generation, audit, json]) command.Add(option);
        command.Validators.Add(result =>
        {
            if (result.GetResult(replayShare) is { Implicit: false } && result.GetResult(replay) is null)
                result.AddError(Say("--replay-share is for --replay.", "--replay-share は --replay と共に使います。"));
            if (result.GetResult(json) is { Implicit: false } && result.GetResult(audit) is null)
                result.AddError(Say("--json is for --audit.", "--json は --audit と共に使います。"));
            if (result.GetResult(audit) is null) common.RequireOutput(result);
        });
        command.SetAction((args, stop) => Task.Run(() =>
        {
            bool isAudit = args.GetResult(audit) is not null;
            TuningSettings settings = common.Read(args, needsOutput: !isAudit) with
            {
                LastAnswerOnly = args.GetValue(last),
                Reader = new DialogueReader { TakesAllReplies = args.GetValue(allReplies), TakesBothSpeakers = !args.GetValue(second) },
                Loss = new LossForm((float)args.GetValue(smoothing), (float)args.GetValue(zLoss)),
                Replay = args.Given(replay) ?? [],
                ReplayShare = args.GetValue(replayShare),
                GenerationConfig = args.GetValue(generation),
            };
            if (settings.GenerationConfig is { } file)
            {
                if (settings.Lora is not null)
                    throw new Failure("--generation-config goes with a whole model, not with an adapter.", "--generation-config は全重みの学習用です。アダプターには付けられません。");
                _ = GenerationOptions.Load(file);       // a bad one is told before hours are spent
            }
            return isAudit ? TuningAudit.Run(terminal, settings, args.GetValue(audit) ?? AuditedByDefault, args.GetValue(json), stop) : Run(terminal, settings, "fude tune", stop);
        }, stop));
        return command;
    }

    /// <summary>A run from its settings to its model; also one of preferences.</summary>
    internal static int Run(Terminal terminal, TuningSettings settings, string title, CancellationToken stop)
    {
        TuningData data;
        using (ProgressLine reading = new(terminal))
            data = new TuningData(settings, new Counter(count => reading.Draw(Say($"reading: {Count(count, "example")}", $"読み込み中: {count:N0} 例"))), stop);
        terminal.Error.WriteLine(Say($"prompt format {data.Encoder.Format}", $"プロンプト書式 {data.Encoder.Format}"));
        foreach (SourceSummary source in data.Sources) terminal.Error.WriteLine(Describe(source));
        ReportLeftOut(terminal.Error, data);
        if (settings.HeldOutShare > 0 && data.HeldOut.Count + data.HeldOutPairs.Count == 0)
            terminal.Error.WriteLine(Say(
                $"note: a share of {settings.HeldOutShare} of so few records is none: nothing is held out",
                $"注意: レコードが少なく、割合 {settings.HeldOutShare} では 0 件のため、検証用に除かれたものはありません"));
        RunEnd.TellAlsoLearnt(terminal.Error, data.HeldOutAlsoLearnt, data.HeldOut.Count + data.HeldOutPairs.Count);
        if (settings.BaseFormat is { } format) FormatArguments.TellQuantizedTwice(terminal.Error, data.Folder, format);
        using ProgressLine loading = new(terminal);
        int toJudge = data.Pairs.Sum(source => source.Count) + data.HeldOutPairs.Count;
        using Tuning run = new(settings, data, FormatArguments.Progress(loading, stop),
            done => loading.Draw(Say($"reference: {done:N0} of {toJudge:N0} pairs judged", $"参照モデルの評価: {done:N0} / {toJudge:N0} 組")), stop);
        loading.Clear();
        terminal.Error.WriteLine(Say(
            $"{RunEnd.Millions(run.Model.Count)} trained weights{(run.Model.IsAdapter ? " of an adapter" : "")}; {Count(run.Schedule.Steps, "step")} of {Count(run.ExamplesOfStep, "example")}{(run.IsResumed ? $", from step {run.State.Step:N0} on" : "")}",
            $"学習する重み {RunEnd.Millions(run.Model.Count)}{(run.Model.IsAdapter ? "（アダプター）" : "")}、{run.ExamplesOfStep:N0} 例 × {run.Schedule.Steps:N0} ステップ{(run.IsResumed ? $"、ステップ {run.State.Step:N0} から再開" : "")}"));
        if (!run.IsDone && run.Schedule.Steps < FewSteps)
            terminal.Error.WriteLine(Say(
                $"note: little is learnt in {Count(run.Schedule.Steps, "step")}: a smaller --batch or more --epochs give more of them, and a higher --learning-rate (now {settings.LearningRate:0.########}) teaches more in each",
                $"注意: {run.Schedule.Steps:N0} ステップではほとんど学習されません。--batch を小さくするか --epochs を増やすとステップ数が増え、--learning-rate（今は {settings.LearningRate:0.########}）を上げると 1 ステップで多く学習します"));
        RunEnd.TellLost(terminal.Error, run.LostBest, run.OtherBest, run.IsDone);
        using RunLog log = RunLog.Open(settings.Output, title, Describe(settings, data), run.State.Step, run.State.Tokens);
        if (!run.IsDone) RunEnd.TellChanges(terminal.Error, log.Changes);
        bool isDone;
        using (TrainingLine line = new(terminal, run.Schedule.Steps, run.State.Tokens, run.Model.FlopsPerToken, () => Roofline.MatrixPeak(run.Device)))
        {
            isDone = run.Run(report =>
            {
                log.Add(report, [.. run.LastStep]);
                line.Show(report);
            }, stop);
        }
        if (!isDone)
        {
            _ = log.Finish();
            terminal.Error.WriteLine(Say($"stopped after step {run.State.Step:N0}; the same command goes on from there.", $"ステップ {run.State.Step:N0} で中断しました。同じコマンドで再開できます。"));
            return 1;
        }
        RunEnd.Tell(terminal.Error, run.State, run.Schedule.Steps, run.EndedEarly, run.ResultStep);
        if (run.Evaluate() is { } loss)
            terminal.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Say("loss on what is held out", "検証用の例の損失")} {loss:F4}"));
        ReportLeftOut(terminal.Error, data);
        string written = string.Join(Say(" and ", " と "), new[] { run.ResultPath, log.Finish() }.OfType<string>());
        string use = run.Model.IsAdapter ? $"fude chat {settings.Model}{(settings.BaseFormat is { } weights ? $" {FormatArguments.Alias} {weights.ToString().ToLowerInvariant()}" : "")} --adapter {run.ResultPath}" : $"fude chat {run.ResultPath}";
        terminal.Error.WriteLine(Say($"wrote {written}. Try: {use}", $"{written} に書き出しました。試すには: {use}"));
        return 0;
    }

    /// <summary>Says what was left out or changed, with reasons, counts and first places.</summary>
    public static void ReportLeftOut(TextWriter output, TuningData data)
    {
        ReportLeftOut(output, data.Tally);
        if (data.Encoder.Straddling > 0)
            output.WriteLine(Say(
                $"note: {data.Encoder.Straddling:N0} tokens straddle the border of prompt and answer; they are learnt, but generation meets other tokens there. --audit shows them.",
                $"注意: プロンプトと応答の境目をまたぐトークンが {data.Encoder.Straddling:N0} 個あります。学習しますが、生成時にはそこが別のトークンに分かれます。--audit で確かめられます。"));
    }

    /// <summary>Says what records were left out or changed.</summary>
    public static void ReportLeftOut(TextWriter output, DataTally tally)
    {
        foreach ((string reason, long count, string places) in tally.BadByReason)
            output.WriteLine(Failure.OneLine(Say($"left out: {count:N0} ({reason}): {places}", $"除外 {count:N0} 件（{reason}）: {places}")));
        foreach ((string reason, long count, string places) in tally.Notes)
            output.WriteLine(Failure.OneLine(Say($"note: {count:N0} ({reason}): {places}", $"注意 {count:N0} 件（{reason}）: {places}")));
    }

    private static string Describe(SourceSummary source)
    {
        string weight = source.Weight.ToString(CultureInfo.InvariantCulture), heldOut = source.HeldOut > 0 ? Say($", {source.HeldOut:N0} held out", $"、検証用 {source.HeldOut:N0} 例") : "";
        return Say(
            $"{source.File}: {Count(source.Examples, "example")} × {weight}{heldOut}; {Count(source.Tokens, "token")}, {source.Trained:N0} of them learnt; the longest has {source.Longest:N0}",
            $"{source.File}: {source.Examples:N0} 例 × {weight}{heldOut}、{source.Tokens:N0} トークン（うち学習 {source.Trained:N0}）、最長 {source.Longest:N0}");
    }

    private static IEnumerable<KeyValuePair<string, string>> Describe(TuningSettings settings, TuningData data)
    {
        List<(string Name, object? Value)> all =
        [
            ("model", settings.Model), ("data", string.Join(", ", settings.Data.Select(source => $"{source.File}:{source.Weight.ToString(CultureInfo.InvariantCulture)}"))),
            ("replay", string.Join(", ", settings.Replay)), ("replay-share", settings.Replay.Count > 0 ? settings.ReplayShare : null),
            ("format", data.Encoder.Format), ("system", settings.System), ("held-out", string.Join(", ", settings.HeldOut)), ("held-out-share", settings.HeldOutShare),
            ("context", settings.Context ?? data.Folder.Config.Context), ("too-long", settings.TooLong), ("lora-rank", settings.Lora?.Rank), ("lora-alpha", settings.Lora?.Alpha),
            ("lora-dropout", settings.Lora?.Dropout), ("lora-targets", settings.Lora?.Targets is { } targets ? string.Join(", ", targets) : null), ("weights", settings.BaseFormat),
            ("preference-loss", settings.Preference), ("epochs", settings.Epochs), ("batch", settings.Batch), ("tokens-per-batch", settings.Preference is null ? settings.TokensPerBatch : null),
            ("learning-rate", settings.LearningRate), ("schedule", settings.Schedule), ("warmup", settings.WarmUp), ("final-rate", settings.FinalRate),
            ("weight-decay", settings.WeightDecay), ("beta1", settings.AdamW.Beta1), ("beta2", settings.AdamW.Beta2), ("epsilon", settings.AdamW.Epsilon),
            ("clip", settings.ClipNorm), ("label-smoothing", settings.Loss.LabelSmoothing), ("z-loss", settings.Loss.ZLoss), ("dropout", settings.Dropout),
            ("precision", settings.Precision.Name()),
            ("patience", settings.Patience), ("keep-best", settings.KeepsBest), ("seed", settings.Seed), ("save-format", settings.SaveFormat),
        ];
        foreach (SourceSummary source in data.Sources)
            all.Add(($"examples of {source.File}", $"{source.Examples}, {source.HeldOut} held out, {source.Tokens} tokens, {source.Trained} learnt"));
        foreach ((string reason, long count, string places) in data.Tally.BadByReason) all.Add(($"left out: {reason}", $"{count}: {places}"));
        foreach ((string reason, long count, string places) in data.Tally.Notes) all.Add(($"note: {reason}", $"{count}: {places}"));
        return RunDescription.Of(all);
    }

    internal sealed class Counter(Action<int> report) : IProgress<int>
    {
        public void Report(int value) => report(value);
    }
}
