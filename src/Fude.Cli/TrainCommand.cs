using System.CommandLine;
using System.CommandLine.Parsing;
using Fude.Models;
using Fude.Tensors;
using Fude.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>fude train: pre-trains a new model, or goes on with one, on token shards.</summary>
internal static class TrainCommand
{
    // So that the tokens of a step, a product of three such numbers, can be counted.
    private const int Most = 1 << 20;

    public static Command Create(Terminal terminal)
    {
        Option<string> output = Text("--out", "DIR", Say("The run's folder: checkpoints, metrics and at the end the folder model. A run that is there goes on.",
            "実行フォルダー。チェックポイント、記録、最後に model フォルダーを書く。途中の実行があれば再開する。"));
        output.Required = true;
        Option<string?> config = Optional("--config", "FILE", Say("config.json of a new model; this or --from is needed.", "新しいモデルの config.json。これか --from が必要。"));
        Option<string?> from = Optional("--from", "MODEL", Say("The folder of a model to go on with (continued pre-training), instead of --config.", "--config の代わりに、継続事前学習の元になるモデルのフォルダー。"));
        Option<string?> tokenizer = Optional("--tokenizer", "DIR", Say("A folder whose tokenizer goes with the model.", "モデルに付けるトークナイザーのフォルダー。"));
        Option<string[]> data = Many("--data", Say("A token shard to learn from (NAME of NAME.bin and NAME.idx); several are read one after another, not mixed.", "学習するシャード（NAME.bin と NAME.idx の NAME）。複数なら混ぜずに順に使う。"));
        data.Required = true;
        Option<string[]> heldOut = Many("--held-out", Say("A token shard that is only evaluated on.", "評価だけに使うシャード。"));
        Option<long> heldOutTokens = Of("--held-out-tokens", Say("Held-out tokens an evaluation reads at most.", "1 回の評価で読むトークン数の上限。"), 65_536L, AtLeast(1L));
        Option<int?> context = Optional<int>(
            "--context", Say("Tokens of a row; the model's context, at most 512, when absent.", "1 行のトークン数。省略時はモデルの文脈長（512 まで）。"), Within(1, Most));
        Option<int> rows = Of("--rows", Say("Rows of a micro-batch: what is in memory at a time.", "マイクロバッチの行数（同時にメモリーに載る量）。"), 4, Within(1, Most));
        Option<int> accumulate = Of("--accumulate", Say("Micro-batches of a step (gradient accumulation).", "1 ステップのマイクロバッチ数（勾配累積）。"), 1, Within(1, Most));
        Option<long?> steps = Optional<long>("--steps", Say("Steps of the whole run; this or --tokens is needed.", "全体のステップ数。これか --tokens が必要。"), AtLeast(1L));
        Option<long?> tokens = Optional<long>("--tokens", Say("Tokens of the whole run, instead of --steps.", "--steps の代わりに、全体のトークン数。"), AtLeast(1L));
        Option<double> rate = Of("--learning-rate", Say("The highest learning rate.", "学習率の最大値。"), 1e-3, AtLeast(0.0));
        Option<long> warmUp = Of("--warmup-steps", Say("Steps over which the rate rises.", "学習率を上げていくステップ数。"), 0L, AtLeast(0L));
        Option<long?> warmUpTokens = Optional<long>("--warmup-tokens", Say("The same in tokens.", "同じくトークン数で。"), AtLeast(0L));
        Option<long?> decay = Optional<long>(
            "--decay-steps", Say("wsd: steps of the decay at the end; a tenth of the run when absent.", "wsd の減衰ステップ数。省略時は全体の 1 割。"), AtLeast(0L));
        Option<double> zLoss = LearningArguments.ZLoss(), smoothing = LearningArguments.LabelSmoothing();
        Option<double?> deviation = Optional<double>(
            "--initial-deviation",
            Say("Standard deviation of a new model's matrices; config.json's initializer_range when absent, or 0.02.", "新しいモデルの行列の標準偏差。省略時は config.json の initializer_range、なければ 0.02。"), Above(0.0));
        LearningArguments learning = new(
            finalRate: 0.1, weightDecay: 0.1, evaluateEvery: 100,
            Say("Chooses the order of documents, a new model's numbers and what is dropped.", "文書の順、初期値、ドロップアウトの乱数の種。"),
            Say("The number format of the model at the end.", "最後に書くモデルの数値形式。"));
        Command command = new("train", Say("Pre-train a model on token shards.", "トークンのシャードでモデルを事前学習する。"))
        {
            output, config, from, tokenizer, data, heldOut, heldOutTokens, context, rows, accumulate, steps, tokens, rate, warmUp, warmUpTokens, decay, zLoss,
            smoothing, deviation,
        };
        learning.AddTo(command, heldOut);
        command.Validators.Add(result =>
        {
            if (result.GetResult(config) is null == result.GetResult(from) is null)
                result.AddError(Say("Give either --config for a new model or --from for one to go on with.", "新しいモデルの --config か、継続元の --from のどちらかを指定してください。"));
            if (result.GetResult(steps) is null == result.GetResult(tokens) is null)
                result.AddError(Say("Give either --steps or --tokens.", "--steps か --tokens のどちらかを指定してください。"));
            if (result.GetResult(decay) is { Implicit: false } && !learning.DecaysAtEnd(result))
                result.AddError(Say("--decay-steps is for --schedule wsd.", "--decay-steps は --schedule wsd と共に使います。"));
            if (result.GetResult(heldOutTokens) is { Implicit: false } && result.GetResult(heldOut) is null)
                result.AddError(Say("--held-out-tokens is for --held-out.", "--held-out-tokens は --held-out と共に使います。"));
            if (result.GetResult(deviation) is not null && result.GetResult(from) is not null)
                result.AddError(Say("--initial-deviation is for a new model (--config).", "--initial-deviation は新しいモデル（--config）用です。"));
            if (result.GetResult(warmUp) is { Implicit: false } && result.GetResult(warmUpTokens) is not null)
                result.AddError(Say("Give either --warmup-steps or --warmup-tokens.", "--warmup-steps か --warmup-tokens のどちらかを指定してください。"));
        });
        command.SetAction((args, stop) => Task.Run(() =>
        {
            OutputPlace.RequireFolder(args.GetRequiredValue(output));
            ModelConfig shape = args.GetValue(config) is { } file ? ModelConfig.Load(file) : ModelFolder.Open(args.GetRequiredValue(from)!).Config;
            int row = args.GetValue(context) ?? Math.Min(512, shape.Context);
            if ((long)args.GetValue(rows) * row > Array.MaxLength)
                throw new Failure(
                    $"--rows {args.GetValue(rows)} of --context {row}: a micro-batch has at most {Array.MaxLength} tokens; --accumulate adds several to a step.",
                    $"--rows {args.GetValue(rows)} × --context {row}: マイクロバッチは {Array.MaxLength} トークンまでです。1 ステップの量は --accumulate で増やしてください。");
            long perStep = (long)args.GetValue(rows) * args.GetValue(accumulate) * row;
            // Steps before the checkpoint may have had another number of tokens.
            (long step, long read) = Checkpoints.StateOf(args.GetRequiredValue(output)) is { } state ? (state.Step, state.Tokens) : (0, 0);
            long all = args.GetValue(tokens) is { } wanted ? StepsFor(wanted, step, read, perStep) : args.GetValue(steps)!.Value;
            long rise = args.GetValue(warmUpTokens) is > 0 and { } rising
                ? Math.Max(0, step + (long)Math.Floor((decimal)(rising - read) / perStep)) : args.GetValue(warmUp);
            if (args.GetValue(decay) is { } last && last > Math.Max(0, all - rise))
                throw Failure.OfUsage(
                    $"--decay-steps {last} is more than the {Math.Max(0, all - rise)} steps that a warm-up of {rise} leaves of {all}.",
                    $"--decay-steps {last} が、全 {all} ステップからウォームアップ {rise} ステップを除いた {Math.Max(0, all - rise)} ステップを超えています。");
            float dropped = learning.Dropout(args);
            PretrainingSettings settings = new()
            {
                Output = args.GetRequiredValue(output),
                Config = args.GetValue(config),
                Base = args.GetValue(from),
                Tokenizer = args.GetValue(tokenizer),
                Shards = args.GetRequiredValue(data),
                HeldOut = args.GetValue(heldOut) ?? [],
                HeldOutTokens = args.GetValue(heldOutTokens),
                Context = row,
                Seed = learning.Seed(args),
                // As transformers begins each family.
                Initial = new InitialNumbers(
                    learning.Seed(args), (float?)args.GetValue(deviation) ?? (args.GetValue(config) is { } begun ? InitialNumbers.DeviationOf(File.ReadAllBytes(begun), begun) : 0), shape is Gpt2Config ? 1 / MathF.Sqrt(2 * shape.Layers) : 1),
                WeightDecay = learning.WeightDecay(args),
                AdamW = learning.AdamW(args),
                SaveFormat = learning.SaveFormat(args),
                Precision = learning.Precision(args),
                Threads = learning.Threads(args),
                Trainer = new TrainerOptions
                {
                    Schedule = new Schedule(args.GetValue(rate), learning.Schedule(args), all, rise, learning.FinalRate(args),
                        args.GetValue(decay) ?? Schedule.DecayOf(all, rise)),
                    RowsPerBatch = args.GetValue(rows),
                    BatchesPerStep = args.GetValue(accumulate),
                    ClipNorm = learning.ClipNorm(args),
                    Loss = new LossForm((float)args.GetValue(smoothing), (float)args.GetValue(zLoss)),
                    Dropout = new DropoutRates(dropped, dropped, dropped),
                    Recomputes = learning.Recomputes(args),
                    Seed = learning.Seed(args),
                    CheckpointEvery = learning.CheckpointEvery(args),
                    KeepCheckpoints = learning.KeepCheckpoints(args),
                    EvaluateEvery = learning.EvaluateEvery(args),
                    Patience = learning.Patience(args),
                    KeepsBest = learning.KeepsBest(args),
                },
            };
            return Run(terminal, settings, stop);
        }, stop));
        return command;
    }

    // The steps of a run that is to read so many tokens in all, of which a checkpoint has read a part in steps of perhaps another size. The last step
    // of a run that is over has read beyond its end, by less than it read.
    private static long StepsFor(long wanted, long step, long read, long perStep) => read >= wanted && read - wanted < Math.Max(perStep, ((read - 1) / step) + 1)
        ? step : Math.Max(1, step + (long)Math.Ceiling((decimal)(wanted - read) / perStep));

    /// <summary>A run from its settings to its model.</summary>
    internal static int Run(Terminal terminal, PretrainingSettings settings, CancellationToken stop)
    {
        using Pretraining run = new(settings);
        long asked = settings.Trainer.Schedule.Steps;
        if (run.State.Step > asked)
            throw new Failure(
                $"{settings.Output}: the run is at step {run.State.Step} already, with {run.State.Tokens:N0} tokens read, but {Count(asked, "step")} are asked for. Ask for as many or more (--steps, --tokens), or begin a run in another folder.",
                $"{settings.Output}: 実行は既にステップ {run.State.Step}（{run.State.Tokens:N0} トークン）まで進んでいますが、{asked} ステップが指定されています。それ以上を指定するか（--steps、--tokens）、別のフォルダーで始めてください。");
        // Steps before the checkpoint may have had another number of tokens.
        double passes = (run.State.Tokens + ((double)(asked - run.State.Step) * run.TokensOfStep)) / run.TokensOfData;
        terminal.Error.WriteLine(Say(
            $"{RunEnd.Millions(run.Model.Count)} weights; {Count(run.TokensOfStep, "token")} a step, {Count(settings.Trainer.Schedule.Steps, "step")} = {passes:F2} passes over {run.TokensOfData:N0} tokens; from step {run.State.Step:N0}",
            $"重み {RunEnd.Millions(run.Model.Count)}、1 ステップ {run.TokensOfStep:N0} トークン × {settings.Trainer.Schedule.Steps:N0} ステップ = {run.TokensOfData:N0} トークンを {passes:F2} 周、ステップ {run.State.Step:N0} から"));
        if (!run.HasTokenizer)
            terminal.Error.WriteLine(Say(
                "note: no --tokenizer: the model is written without one, and whether the shards are of one tokenizer is not checked",
                "注意: --tokenizer がないため、モデルにトークナイザーは付かず、シャードがどのトークナイザーのものかも確認しません"));
        if (run.ShortHeldOut.Count > 0)
            terminal.Error.WriteLine(Say(
                $"note: less than a row of {settings.Context} tokens, not evaluated on: {string.Join(", ", run.ShortHeldOut)}",
                $"注意: 1 行 {settings.Context} トークンに満たないため、評価に使いません: {string.Join("、", run.ShortHeldOut)}"));
        RunEnd.TellAlsoLearnt(terminal.Error, run.HeldOutAlsoLearnt);
        RunEnd.TellLost(terminal.Error, run.LostBest, run.OtherBest, run.IsDone);
        using RunLog log = RunLog.Open(settings.Output, "fude train", Describe(settings), run.State.Step, run.State.Tokens);
        if (!run.IsDone) RunEnd.TellChanges(terminal.Error, log.Changes);
        bool isDone;
        using (TrainingLine line = new(terminal, settings.Trainer.Schedule.Steps, run.State.Tokens, run.Model.FlopsPerToken, () => Roofline.MatrixPeak(run.Device)))
        {
            isDone = run.Run(report =>
            {
                log.Add(report);
                line.Show(report);
            }, stop);
        }
        if (!isDone)
        {
            _ = log.Finish();
            terminal.Error.WriteLine(Say($"stopped after step {run.State.Step:N0}; the same command goes on from there.", $"ステップ {run.State.Step:N0} で中断しました。同じコマンドで再開できます。"));
            return 1;
        }
        RunEnd.Tell(terminal.Error, run.State, settings.Trainer.Schedule.Steps, run.EndedEarly, run.ResultStep);
        string written = string.Join(Say(" and ", " と "), new[] { run.ModelPath, log.Finish() }.OfType<string>());
        terminal.Error.WriteLine(Say($"wrote {written}", $"{written} に書き出しました"));
        return 0;
    }

    private static IEnumerable<KeyValuePair<string, string>> Describe(PretrainingSettings settings)
    {
        TrainerOptions trainer = settings.Trainer;
        Schedule schedule = trainer.Schedule;
        return RunDescription.Of(
        [
            ("config", settings.Config), ("from", settings.Base), ("tokenizer", settings.Tokenizer), ("data", string.Join(", ", settings.Shards)),
            ("held-out", string.Join(", ", settings.HeldOut)), ("context", settings.Context), ("rows", trainer.RowsPerBatch), ("accumulate", trainer.BatchesPerStep),
            ("steps", schedule.Steps), ("learning-rate", schedule.Peak), ("schedule", schedule.Form), ("warmup-steps", schedule.WarmUp),
            ("decay-steps", schedule.Decay), ("final-rate", schedule.Final), ("weight-decay", settings.WeightDecay), ("beta1", settings.AdamW.Beta1),
            ("beta2", settings.AdamW.Beta2), ("epsilon", settings.AdamW.Epsilon), ("clip", trainer.ClipNorm), ("z-loss", trainer.Loss.ZLoss),
            ("label-smoothing", trainer.Loss.LabelSmoothing), ("dropout", trainer.Dropout.Residual), ("recompute", trainer.Recomputes), ("precision", settings.Precision.Name()),
            ("patience", trainer.Patience), ("keep-best", trainer.KeepsBest), ("seed", settings.Seed),
            ("initial-deviation", settings.Initial.Deviation), ("save-format", settings.SaveFormat), ("threads", settings.Threads),
        ]);
    }

    private static Option<string> Text(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    private static Option<string?> Optional(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    private static Option<string[]> Many(string name, string description) =>
        new(name) { HelpName = "NAME...", Description = description, Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = true };
}
