using System.CommandLine;
using System.CommandLine.Parsing;
using Fude.Tensors;
using Fude.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>The options of every command that trains: fude train, fude tune, fude dpo.</summary>
/// <param name="finalRate">The last learning rate when none is given, as a part of the highest.</param>
/// <param name="weightDecay">λ when none is given.</param>
/// <param name="evaluateEvery">Steps between evaluations when none are given.</param>
/// <param name="seed">What --seed chooses.</param>
/// <param name="saveFormat">What --save-format is.</param>
internal sealed class LearningArguments(double finalRate, double weightDecay, long evaluateEvery, string seed, string saveFormat)
{
    /// <summary>A part that is never all of it, also as the float32 that is computed with, which rounds a part that is all but whole to the whole.</summary>
    public static NumberRange<double> Part { get; } = PartBelow(1) with { Holds = part => part >= 0 && (float)part < 1 };

    private readonly Option<Choice<ScheduleForm>> _schedule = WordOption.Of(
        "--schedule", Say("How the learning rate goes on after the warm-up; wsd: warm-up, stable, decay.", "ウォームアップ後の学習率の変化。wsd は一定の後に減衰。"),
        ("cosine", ScheduleForm.Cosine), ("linear", ScheduleForm.Linear), ("constant", ScheduleForm.Constant), ("wsd", ScheduleForm.WarmupStableDecay));
    private readonly Option<double> _finalRate = Of(
        "--final-rate", Say("The last rate as a part of the highest.", "最後の学習率（最大値に対する割合）。"), finalRate, Within(0.0, 1.0));
    private readonly Option<double> _weightDecay = Of("--weight-decay", Say("Weight decay of matrices.", "行列の重み減衰。"), weightDecay, AtLeast(0.0));
    private readonly Option<double> _beta1 = Of("--beta1", Say("AdamW's β₁.", "AdamW の β₁。"), 0.9, PartBelow(1));
    private readonly Option<double> _beta2 = Of("--beta2", Say("AdamW's β₂.", "AdamW の β₂。"), 0.95, PartBelow(1));
    private readonly Option<double> _epsilon = Of("--epsilon", Say("AdamW's ε.", "AdamW の ε。"), 1e-8, Above(0.0));
    private readonly Option<double> _clip = Of("--clip", Say("Gradient clipping: the norm above which gradients are scaled down to it; 0 for none.", "勾配クリッピング（勾配ノルムの上限）。0 なら無し。"), 1.0, AtLeast(0.0));
    private readonly Option<double> _dropout = Of(
        "--dropout", Say("The share dropped of embeddings, attention and residuals, whatever config.json says of dropout.", "埋め込み、注意、残差のドロップアウト率（config.json の値は使わない）。"), 0.0, Part);
    private readonly Option<bool> _recompute = new("--recompute")
    {
        Description = Say("Recompute blocks in the backward pass (activation checkpointing): less memory, more time, the same numbers.", "逆伝播でブロックを再計算する（活性値の再計算。省メモリー、結果は同じ）。"),
    };
    private readonly Option<Choice<ProductPrecision>> _precision = WordOption.Of(
        "--precision", Say("What the layers' matrix products take their numbers as. bf16 rounds them; sums, weights and memory stay float32. Training is about 1.5 times as fast with AVX512_BF16, a little slower without. bf16-tiles sums as AMX does, for processors that have it (FUDE_ISA=amx). A run keeps the one it began with.",
            "層の行列積の入力の精度。bf16 は入力だけを丸め、和、重み、メモリー量は float32 のまま。学習は AVX512_BF16 があれば約 1.5 倍速く、なければ少し遅い。bf16-tiles は AMX と同じ順で和をとり、AMX のあるプロセッサー（FUDE_ISA=amx）向け。再開時には変えられない。"), [.. Enum.GetValues<ProductPrecision>().Select(precision => (precision.Name(), precision))]);
    private readonly Option<long> _evaluate = Of(
        "--evaluate-every", Say("Steps between evaluations on what is held out; 0 for none.", "検証用データで評価する間隔（ステップ）。0 なら評価しない。"), evaluateEvery, AtLeast(0L));
    private readonly Option<int> _patience = Of(
        "--patience", Say("Evaluations without a better result after which the run ends, with the weights of the best; 0 for never.",
            "改善のない評価がこの回数続いたら終え、最良の重みを書く。0 なら終えない。"), 0, AtLeast(0));
    private readonly Option<bool> _keepBest = new("--keep-best")
    {
        Description = Say("Write the weights of the best evaluation at the end, not the last ones.", "最後の重みではなく、評価が最良だった重みを書き出す。"),
    };
    private readonly Option<long> _checkpoint = Of("--checkpoint-every", Say("Steps between checkpoints.", "チェックポイントの間隔（ステップ）。"), 100L, AtLeast(1L));
    private readonly Option<int> _keep = Of("--keep", Say("Checkpoints that stay.", "残すチェックポイントの数。"), 2, AtLeast(1));
    private readonly Option<ulong> _seed = Of("--seed", seed, 1UL);
    private readonly Option<Choice<NumberFormat>> _save = WordOption.Of(
        "--save-format", saveFormat, ("bf16", NumberFormat.BF16), ("f16", NumberFormat.F16), ("f32", NumberFormat.F32));
    private readonly Option<int?> _threads = Arguments.Threads();

    /// <summary>Adds them to a command.</summary>
    /// <param name="command">Gets them.</param>
    /// <param name="heldOut">Its options that say what is held out; those of evaluation need one of them.</param>
    public void AddTo(Command command, params Option[] heldOut)
    {
        foreach (Option option in (Option[])
        [
            _schedule, _finalRate, _weightDecay, _beta1, _beta2, _epsilon, _clip, _dropout, _recompute, _precision, _evaluate, _patience, _keepBest, _checkpoint, _keep, _seed,
            _save, _threads,
        ])
            command.Add(option);
        command.Validators.Add(result =>
        {
            if (result.GetResult(_finalRate) is { Implicit: false } && result.GetResult(_schedule) is { Implicit: false } schedule && !schedule.Errors.Any()
                && result.GetRequiredValue(_schedule).Value == ScheduleForm.Constant)
                result.AddError(Say(
                    "--final-rate is for a rate that falls: with --schedule constant it stays as it is.",
                    "--final-rate は学習率が下がる場合のためのものです。--schedule constant では変わりません。"));
            if (result.GetResult(_evaluate) is { Implicit: false, Errors: var errors } && !errors.Any() && result.GetValue(_evaluate) == 0)
                foreach (Option option in (Option[])[_patience, _keepBest])
                    if (result.GetResult(option) is { Implicit: false })
                        result.AddError(Say(
                            $"{option.Name} is for a run that is evaluated, but --evaluate-every is 0.",
                            $"{option.Name} は評価のためのものですが、--evaluate-every が 0 です。"));
            if (Array.Exists(heldOut, option => result.GetResult(option) is { Implicit: false })) return;
            bool evaluates = result.GetResult(_evaluate) is { Implicit: false, Errors: var wrong } && !wrong.Any() && result.GetValue(_evaluate) > 0;
            foreach (Option option in (Option[])[.. evaluates ? (Option[])[_evaluate] : [], _patience, _keepBest])
                if (result.GetResult(option) is { Implicit: false })
                    result.AddError(Say(
                        $"{option.Name} is for a run that is evaluated: give {string.Join(" or ", heldOut.Select(one => one.Name))} too.",
                        $"{option.Name} は評価のためのものです。{string.Join(" か ", heldOut.Select(one => one.Name))} も指定してください。"));
        });
    }

    /// <summary>Whether the schedule is the one that decays at its end; also where it is none that there is, which is told by itself.</summary>
    public bool DecaysAtEnd(SymbolResult result) =>
        result.GetResult(_schedule) is { } schedule && (schedule.Errors.Any() || result.GetRequiredValue(_schedule).Value == ScheduleForm.WarmupStableDecay);

    public ScheduleForm Schedule(ParseResult args) => args.GetRequiredValue(_schedule).Value;

    public double FinalRate(ParseResult args) => args.GetValue(_finalRate);

    public double WeightDecay(ParseResult args) => args.GetValue(_weightDecay);

    public AdamWOptions AdamW(ParseResult args) => new(args.GetValue(_beta1), args.GetValue(_beta2), args.GetValue(_epsilon));

    public double ClipNorm(ParseResult args) => args.GetValue(_clip);

    public float Dropout(ParseResult args) => (float)args.GetValue(_dropout);

    public bool Recomputes(ParseResult args) => args.GetValue(_recompute);

    public ProductPrecision Precision(ParseResult args) => args.GetRequiredValue(_precision).Value;

    public long EvaluateEvery(ParseResult args) => args.GetValue(_evaluate);

    public int Patience(ParseResult args) => args.GetValue(_patience);

    public bool KeepsBest(ParseResult args) => args.GetValue(_keepBest);

    public long CheckpointEvery(ParseResult args) => args.GetValue(_checkpoint);

    public int KeepCheckpoints(ParseResult args) => args.GetValue(_keep);

    public ulong Seed(ParseResult args) => args.GetValue(_seed);

    public NumberFormat SaveFormat(ParseResult args) => args.GetRequiredValue(_save).Value;

    public int Threads(ParseResult args) => args.GetValue(_threads) ?? 0;

    /// <summary>--label-smoothing, of the cross-entropy.</summary>
    public static Option<double> LabelSmoothing() => Of("--label-smoothing", Say("Label smoothing.", "ラベル平滑化。"), 0.0, Part);

    /// <summary>--z-loss.</summary>
    public static Option<double> ZLoss() => Of("--z-loss", Say("Weight of the z-loss.", "z-loss の重み。"), 0.0, Within(0.0, 1e6));
}
