using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Fude.Tensors;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude train: pre-trains a new model, or goes on with one, on token shards.</summary>
internal static class TrainCommand
{
    public static Command Create(Terminal terminal)
    {
        Option<string> output = Text("--out", "DIR", Say("The run's folder: checkpoints, metrics and at the end the folder model. A run that is there goes on.",
            "実行フォルダー。チェックポイント、記録、最後に model フォルダーを書く。途中の実行があれば再開する。"));
        output.Required = true;
        Option<string?> config = Optional("--config", "FILE", Say("config.json of a new model.", "新しいモデルの config.json。"));
        Option<string?> from = Optional("--from", "MODEL", Say("The folder of a model to go on with (continued pre-training).", "継続事前学習の元になるモデルのフォルダー。"));
        Option<string?> tokenizer = Optional("--tokenizer", "DIR", Say("A folder whose tokenizer goes with the model.", "モデルに付けるトークナイザーのフォルダー。"));
        Option<string[]> data = Many("--data", Say("A token shard to learn from (NAME of NAME.bin and NAME.idx); several are folds.", "学習するシャード（NAME.bin と NAME.idx の NAME）。複数なら順に使う。"));
        data.Required = true;
        Option<string[]> heldOut = Many("--held-out", Say("A token shard that is only evaluated on.", "評価だけに使うシャード。"));
        Option<long> heldOutTokens = Number("--held-out-tokens", 65_536L, Say("Held-out tokens an evaluation reads at most.", "1 回の評価で読むトークン数の上限。"));
        Option<int> context = Number("--context", 512, Say("Tokens of a row.", "1 行のトークン数。"));
        Option<int> rows = Number("--rows", 4, Say("Rows of a micro-batch: what is in memory at a time.", "マイクロバッチの行数（同時にメモリーに載る量）。"));
        Option<int> accumulate = Number("--accumulate", 1, Say("Micro-batches of a step.", "1 ステップのマイクロバッチ数。"));
        Option<long> steps = Number("--steps", 0L, Say("Steps of the whole run.", "全体のステップ数。"));
        Option<long> tokens = Number("--tokens", 0L, Say("Tokens of the whole run, instead of --steps.", "--steps の代わりに、全体のトークン数。"));
        Option<double> rate = Number("--learning-rate", 1e-3, Say("The highest learning rate.", "学習率の最大値。"));
        Option<ScheduleForm> schedule = new("--schedule")
        {
            HelpName = "cosine|linear|constant|wsd",
            DefaultValueFactory = _ => ScheduleForm.Cosine,
            Description = Say("How the learning rate goes on after the warm-up; wsd: warm-up, stable, decay.", "ウォームアップ後の学習率の変化。wsd は一定の後に減衰。"),
            CustomParser = result => ScheduleOf(result.Tokens[0].Value) is { } form ? form : Wrong(result.AddError, result.Tokens[0].Value),
        };
        Option<long> warmUp = Number("--warmup-steps", 0L, Say("Steps over which the rate rises.", "学習率を上げていくステップ数。"));
        Option<long> warmUpTokens = Number("--warmup-tokens", 0L, Say("The same in tokens.", "同じくトークン数で。"));
        Option<long> decay = Number("--decay-steps", 0L, Say("wsd: steps of the decay at the end; a tenth of the run when absent.", "wsd の減衰ステップ数。省略時は全体の 1 割。"));
        Option<double> final = Number("--final-rate", 0.1, Say("The last rate as a part of the highest.", "最後の学習率（最大値に対する割合）。"));
        Option<double> weightDecay = Number("--weight-decay", 0.1, Say("Weight decay of matrices.", "行列の重み減衰。"));
        Option<double> beta1 = Number("--beta1", 0.9, "AdamW β₁."), beta2 = Number("--beta2", 0.95, "AdamW β₂."), epsilon = Number("--epsilon", 1e-8, "AdamW ε.");
        Option<double> clip = Number("--clip", 1.0, Say("The largest norm that gradients keep.", "勾配ノルムの上限。"));
        Option<double> zLoss = Number("--z-loss", 0.0, Say("Weight of the z-loss.", "z-loss の重み。"));
        Option<double> smoothing = Number("--label-smoothing", 0.0, Say("Label smoothing.", "ラベル平滑化。"));
        Option<double> dropout = Number("--dropout", 0.0, Say("The share dropped of embeddings, attention and residuals.", "埋め込み、注意、残差のドロップアウト率。"));
        Option<bool> recompute = new("--recompute") { Description = Say("Compute blocks again on the way back: less memory, more time, the same numbers.", "逆伝播でブロックを再計算する（省メモリー、結果は同じ）。") };
        Option<long> checkpoint = Number("--checkpoint-every", 100L, Say("Steps between checkpoints.", "チェックポイントの間隔（ステップ）。"));
        Option<int> keep = Number("--keep", 2, Say("Checkpoints that stay.", "残すチェックポイントの数。"));
        Option<long> evaluate = Number("--evaluate-every", 100L, Say("Steps between evaluations.", "評価の間隔（ステップ）。"));
        Option<int> patience = Number("--patience", 0, Say("Evaluations without a better result after which the run ends, with the weights of the best; 0 for never.", "改善のない評価がこの回数続いたら終え、最良の重みを書く。0 なら終えない。"));
        Option<bool> keepBest = new("--keep-best") { Description = Say("Write the weights of the best evaluation at the end, not the last ones.", "最後の重みではなく、評価が最良だった重みを書き出す。") };
        Option<ulong> seed = Number("--seed", 1UL, Say("Chooses the order of documents, a new model's numbers and what is dropped.", "文書の順、初期値、ドロップアウトの乱数の種。"));
        Option<double> deviation = Number("--initial-deviation", 0.02, Say("Standard deviation of a new model's matrices.", "新しいモデルの行列の標準偏差。"));
        Option<NumberFormat> save = new("--save-format")
        {
            HelpName = "f32|bf16|f16",
            DefaultValueFactory = _ => NumberFormat.BF16,
            Description = Say("The number format of the model at the end.", "最後に書くモデルの数値形式。"),
        };
        save.AcceptOnlyFromAmong("f32", "bf16", "f16");
        Option<int?> threads = Arguments.Threads();
        Command command = new("train", Say("Pre-train a model on token shards.", "トークンのシャードでモデルを事前学習する。"))
        {
            output, config, from, tokenizer, data, heldOut, heldOutTokens, context, rows, accumulate, steps, tokens, rate, schedule, warmUp, warmUpTokens,
            decay, final, weightDecay, beta1, beta2, epsilon, clip, zLoss, smoothing, dropout, recompute, checkpoint, keep, evaluate, patience, keepBest, seed,
            deviation, save, threads,
        };
        command.Validators.Add(result =>
        {
            if (result.GetResult(config) is null == result.GetResult(from) is null)
                result.AddError(Say("Give either --config for a new model or --from for one to go on with.", "新しいモデルの --config か、継続元の --from のどちらかを指定してください。"));
            if (result.GetResult(steps) is { Implicit: false } == result.GetResult(tokens) is { Implicit: false })
                result.AddError(Say("Give either --steps or --tokens.", "--steps か --tokens のどちらかを指定してください。"));
            foreach (Option<int> one in (Option<int>[])[context, rows, accumulate, keep]) Require(result, one, value => value >= 1, "at least 1", "1 以上");
            foreach (Option<long> one in (Option<long>[])[steps, tokens, checkpoint, heldOutTokens]) Require(result, one, value => value >= 1, "at least 1", "1 以上");
            foreach (Option<long> one in (Option<long>[])[warmUp, warmUpTokens, decay, evaluate]) Require(result, one, value => value >= 0, "at least 0", "0 以上");
            Require(result, patience, value => value >= 0, "at least 0", "0 以上");
            foreach (Option one in (Option[])[patience, keepBest])
                if (result.GetResult(one) is { Implicit: false } && result.GetResult(heldOut) is null)
                    result.AddError(Say($"{one.Name} is for a run that is evaluated: give --held-out too.", $"{one.Name} は評価のためのものです。--held-out も指定してください。"));
            foreach (Option<double> one in (Option<double>[])[epsilon, deviation, clip])
                Require(result, one, value => value > 0 && double.IsFinite(value), "a number above 0", "0 より大きい数");
            foreach (Option<double> one in (Option<double>[])[rate, final, weightDecay, zLoss])
                Require(result, one, value => value >= 0 && double.IsFinite(value), "a number of at least 0", "0 以上の数");
            foreach (Option<double> one in (Option<double>[])[beta1, beta2, smoothing, dropout])
                Require(result, one, value => value is >= 0 and < 1, "from 0 to below 1", "0 以上 1 未満");
        });
        command.SetAction((args, stop) => Task.Run(() =>
        {
            long perStep = (long)args.GetValue(rows) * args.GetValue(accumulate) * args.GetValue(context);
            long all = args.GetValue(tokens) > 0 ? (args.GetValue(tokens) + perStep - 1) / perStep : args.GetValue(steps);
            long rise = args.GetValue(warmUpTokens) > 0 ? args.GetValue(warmUpTokens) / perStep : args.GetValue(warmUp);
            float dropped = (float)args.GetValue(dropout);
            PretrainingSettings settings = new()
            {
                Output = args.GetRequiredValue(output),
                Config = args.GetValue(config),
                Base = args.GetValue(from),
                Tokenizer = args.GetValue(tokenizer),
                Shards = args.GetRequiredValue(data),
                HeldOut = args.GetValue(heldOut) ?? [],
                HeldOutTokens = args.GetValue(heldOutTokens),
                Context = args.GetValue(context),
                Seed = args.GetValue(seed),
                Initial = new InitialNumbers(args.GetValue(seed), (float)args.GetValue(deviation)),
                WeightDecay = args.GetValue(weightDecay),
                AdamW = new AdamWOptions(args.GetValue(beta1), args.GetValue(beta2), args.GetValue(epsilon)),
                SaveFormat = args.GetValue(save),
                Threads = args.GetValue(threads) ?? 0,
                Trainer = new TrainerOptions
                {
                    Schedule = new Schedule(args.GetValue(rate), args.GetValue(schedule), all, Math.Min(rise, all), args.GetValue(final),
                        args.GetValue(decay) > 0 ? args.GetValue(decay) : Math.Max(1, all / 10)),
                    RowsPerBatch = args.GetValue(rows),
                    BatchesPerStep = args.GetValue(accumulate),
                    ClipNorm = args.GetValue(clip),
                    Loss = new LossForm((float)args.GetValue(smoothing), (float)args.GetValue(zLoss)),
                    Dropout = new DropoutRates(dropped, dropped, dropped),
                    Recomputes = args.GetValue(recompute),
                    Seed = args.GetValue(seed),
                    CheckpointEvery = args.GetValue(checkpoint),
                    KeepCheckpoints = args.GetValue(keep),
                    EvaluateEvery = args.GetValue(evaluate),
                    Patience = args.GetValue(patience),
                    KeepsBest = args.GetValue(keepBest),
                },
            };
            return Run(terminal, settings, stop);
        }, stop));
        return command;
    }

    /// <summary>A run from its settings to its model.</summary>
    internal static int Run(Terminal terminal, PretrainingSettings settings, CancellationToken stop)
    {
        using Pretraining run = new(settings);
        terminal.Error.WriteLine(Say(
            $"{run.Model.Count / 1e6:F1} M weights; {run.TokensOfStep:N0} tokens a step, {settings.Trainer.Schedule.Steps:N0} steps = {(double)settings.Trainer.Schedule.Steps * run.TokensOfStep / run.TokensOfData:F2} passes over {run.TokensOfData:N0} tokens; from step {run.State.Step:N0}",
            $"重み {run.Model.Count / 1e6:F1} M、1 ステップ {run.TokensOfStep:N0} トークン × {settings.Trainer.Schedule.Steps:N0} ステップ = {run.TokensOfData:N0} トークンを {(double)settings.Trainer.Schedule.Steps * run.TokensOfStep / run.TokensOfData:F2} 回、ステップ {run.State.Step:N0} から"));
        RunEnd.TellLost(terminal.Error, run.LostBest);
        using RunLog log = RunLog.Open(settings.Output, "fude train", Describe(settings), run.State.Step, run.State.Tokens);
        bool isDone;
        using (TrainingLine line = new(terminal, settings.Trainer.Schedule.Steps, run.State.Tokens, run.Model.FlopsPerToken, Roofline.MatrixPeak(run.Device)))
        {
            isDone = run.Run(report =>
            {
                log.Add(report);
                line.Show(report);
            }, stop);
        }
        if (!isDone)
        {
            if (run.State.Step > 0) _ = log.Finish();      // before the first step there is nothing to report
            terminal.Error.WriteLine(Say($"stopped after step {run.State.Step:N0}; the same command goes on from there.", $"ステップ {run.State.Step:N0} で中断しました。同じコマンドで再開できます。"));
            return 1;
        }
        string page = log.Finish();
        RunEnd.Tell(terminal.Error, run.State, settings.Trainer.Schedule.Steps, run.EndedEarly, run.ResultStep);
        terminal.Error.WriteLine(Say($"wrote {run.ModelPath} and {page}", $"{run.ModelPath} と {page} に書き出しました"));
        return 0;
    }

    private static IEnumerable<KeyValuePair<string, string>> Describe(PretrainingSettings settings)
    {
        TrainerOptions trainer = settings.Trainer;
        Schedule schedule = trainer.Schedule;
        (string Name, object? Value)[] all =
        [
            ("config", settings.Config), ("from", settings.Base), ("tokenizer", settings.Tokenizer), ("data", string.Join(", ", settings.Shards)),
            ("held-out", string.Join(", ", settings.HeldOut)), ("context", settings.Context), ("rows", trainer.RowsPerBatch), ("accumulate", trainer.BatchesPerStep),
            ("steps", schedule.Steps), ("learning-rate", schedule.Peak), ("schedule", schedule.Form), ("warmup-steps", schedule.WarmUp),
            ("decay-steps", schedule.Decay), ("final-rate", schedule.Final), ("weight-decay", settings.WeightDecay), ("beta1", settings.AdamW.Beta1),
            ("beta2", settings.AdamW.Beta2), ("epsilon", settings.AdamW.Epsilon), ("clip", trainer.ClipNorm), ("z-loss", trainer.Loss.ZLoss),
            ("label-smoothing", trainer.Loss.LabelSmoothing), ("dropout", trainer.Dropout.Residual), ("recompute", trainer.Recomputes), ("patience", trainer.Patience), ("keep-best", trainer.KeepsBest), ("seed", settings.Seed),
            ("initial-deviation", settings.Initial.Deviation), ("save-format", settings.SaveFormat), ("threads", settings.Threads),
        ];
        return all.Where(one => one.Value is not (null or "")).Select(one => KeyValuePair.Create(one.Name, string.Create(CultureInfo.InvariantCulture, $"{one.Value}")));
    }

    private static void Require<T>(CommandResult result, Option<T> option, Predicate<T> isRight, string english, string japanese)
        where T : struct, IParsable<T>
    {
        if (result.GetResult(option).IsGiven(out T value) && !isRight(value)) result.AddError(Say($"{option.Name} is {english}.", $"{option.Name} は{japanese}です。"));
    }

    private static ScheduleForm? ScheduleOf(string name) => name switch
    {
        "cosine" => ScheduleForm.Cosine,
        "linear" => ScheduleForm.Linear,
        "constant" => ScheduleForm.Constant,
        "wsd" => ScheduleForm.WarmupStableDecay,
        _ => null,
    };

    private static ScheduleForm Wrong(Action<string> addError, string found)
    {
        addError(Say($"--schedule: '{found}' is none of cosine, linear, constant, wsd.", $"--schedule: '{found}' は cosine、linear、constant、wsd のいずれでもありません。"));
        return default;
    }

    private static Option<string> Text(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    private static Option<string?> Optional(string name, string help, string description) => new(name) { HelpName = help, Description = description };

    private static Option<string[]> Many(string name, string description) => new(name) { HelpName = "NAME", Description = description, Arity = ArgumentArity.OneOrMore };

    private static Option<T> Number<T>(string name, T absent, string description) =>
        new(name) { HelpName = "N", DefaultValueFactory = _ => absent, Description = description };
}
