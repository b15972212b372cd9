using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Fude.Models;
using Fude.Tensors;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>The options that fude tune and fude dpo share.</summary>
internal sealed class TuningArguments
{
    private readonly Argument<string> _model = Arguments.Model();
    private readonly Option<DataSource[]> _data;
    private readonly Option<string?> _output = new("--out", "--output")
    {
        HelpName = "DIR",
        Description = Say("The run's folder: checkpoints, metrics and at the end the folder model (or adapter). A run that is there goes on.",
            "実行フォルダー。チェックポイント、記録、最後に model（または adapter）を書く。途中の実行があれば再開する。"),
    };
    private readonly Option<string?> _format = new("--format")
    {
        HelpName = "NAME",
        Description = Say(
            $"The prompt format that the model learns; the one it names itself when absent: {string.Join(", ", PromptFormat.All)}, {PromptFormat.TemplateName} (the folder's own).",
            $"学習させるプロンプトの書式。省略時はモデル自身のもの: {string.Join("、", PromptFormat.All)}、{PromptFormat.TemplateName}（フォルダーのもの）。"),
    };
    private readonly Option<string?> _system = new("--system")
    {
        HelpName = "TEXT",
        Description = Say("What the model is told about its task, instead of the format's own words; empty for nothing.", "モデルに与える役割の文。空なら無し。省略時は書式の既定文。"),
    };
    private readonly Option<int?> _rank = new("--lora-rank") { HelpName = "N", Description = Say("Train a low-rank adapter of this rank; all weights when absent.", "このランクの LoRA アダプターだけを学習する。省略時は全重み。") };
    private readonly Option<double?> _alpha = new("--lora-alpha") { HelpName = "X", Description = Say("What it adds is multiplied by alpha / rank; twice the rank when absent.", "アダプターの倍率は alpha / rank。省略時はランクの 2 倍。") };
    private readonly Option<double> _loraDropout = Number("--lora-dropout", 0.0, Say("The share of its inputs that is dropped.", "アダプターの入力のドロップアウト率。"));
    private readonly Option<string?> _targets = new("--lora-targets")
    {
        HelpName = "A,B",
        Description = Say("The layers that are adapted, as q_proj,v_proj; all linear layers of the blocks when absent.", "適用する層（例: q_proj,v_proj）。省略時はブロックの全線形層。"),
    };
    private readonly Option<bool> _rankStabilised = new("--lora-rslora") { Description = Say("alpha / √rank instead of alpha / rank.", "倍率を alpha / √rank にする。") };
    private readonly Option<QuantizationMix?> _weights = FormatArguments.Parsed("--weights");
    private readonly Option<double> _epochs = Number("--epochs", 1.0, Say("How often the data are gone through.", "データを何周するか。"));
    private readonly Option<int> _batch;
    private readonly Option<int> _tokens = Number("--tokens-per-batch", 4096, Say("Tokens in memory at a time; a step may take several such parts.", "一度にメモリーに載せるトークン数。1 ステップはいくつかに分かれることがある。"));
    private readonly Option<double?> _rate = new("--learning-rate") { HelpName = "X" };
    private readonly Option<ScheduleForm> _schedule = new("--schedule")
    {
        HelpName = "cosine|linear|constant|wsd",
        DefaultValueFactory = _ => ScheduleForm.Cosine,
        Description = Say("How the learning rate goes on after the warm-up.", "ウォームアップ後の学習率の変化。"),
        CustomParser = result => result.Tokens[0].Value switch
        {
            "cosine" => ScheduleForm.Cosine,
            "linear" => ScheduleForm.Linear,
            "constant" => ScheduleForm.Constant,
            "wsd" => ScheduleForm.WarmupStableDecay,
            string other => Wrong<ScheduleForm>(result, other),
        },
    };
    private readonly Option<double> _warmUp = Number("--warmup", 0.03, Say("The part of the steps over which the rate rises.", "学習率を上げていくステップの割合。"));
    private readonly Option<double> _final = Number("--final-rate", 0.0, Say("The last rate as a part of the highest.", "最後の学習率（最大値に対する割合）。"));
    private readonly Option<double> _weightDecay = Number("--weight-decay", 0.0, Say("Weight decay of matrices.", "行列の重み減衰。"));
    private readonly Option<double> _beta1 = Number("--beta1", 0.9, "AdamW β₁."), _beta2 = Number("--beta2", 0.95, "AdamW β₂."), _epsilon = Number("--epsilon", 1e-8, "AdamW ε.");
    private readonly Option<double> _clip = Number("--clip", 1.0, Say("The largest norm that gradients keep.", "勾配ノルムの上限。"));
    private readonly Option<double> _dropout = Number("--dropout", 0.0, Say("The share dropped of embeddings, attention and residuals.", "埋め込み、注意、残差のドロップアウト率。"));
    private readonly Option<bool> _recompute = new("--recompute") { Description = Say("Compute blocks again on the way back: less memory, more time, the same numbers.", "逆伝播でブロックを再計算する（省メモリー、結果は同じ）。") };
    private readonly Option<int?> _context = new("--context") { HelpName = "N", Description = Say("Tokens of an example at most; the model's context when absent.", "例の最大トークン数。省略時はモデルの文脈長。") };
    private readonly Option<TooLong> _tooLong;
    private readonly Option<long> _skipBad = Number("--skip-bad", 0L, Say("Broken, empty or unusable records that may be left out, each counted and named.", "壊れた例や空の例を除いてよい上限。件数と場所は報告する。"));
    private readonly Option<string[]> _heldOut = new("--held-out")
    {
        HelpName = "FILE",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = true,
        Description = Say("Examples that are only evaluated on.", "評価だけに使う例のファイル。"),
    };
    private readonly Option<double> _share = Number("--held-out-share", 0.0, Say("The share of the data's records that is only evaluated on, by their hash.", "評価だけに使う例の割合（ハッシュで選ぶ）。"));
    private readonly Option<long> _evaluate = Number("--evaluate-every", 50L, Say("Steps between evaluations on what is held out.", "評価の間隔（ステップ）。"));
    private readonly Option<int> _patience = Number("--patience", 0,
        Say("Evaluations without a better result after which the run ends, with the weights of the best; 0 for never.", "改善のない評価がこの回数続いたら終え、最良の重みを書く。0 なら終えない。"));
    private readonly Option<bool> _keepBest = new("--keep-best")
    {
        Description = Say("Write the weights of the best evaluation at the end, not the last ones.", "最後の重みではなく、評価が最良だった重みを書き出す。"),
    };
    private readonly Option<long> _checkpoint = Number("--checkpoint-every", 100L, Say("Steps between checkpoints.", "チェックポイントの間隔（ステップ）。"));
    private readonly Option<int> _keep = Number("--keep", 2, Say("Checkpoints that stay.", "残すチェックポイントの数。"));
    private readonly Option<ulong> _seed = Number("--seed", 1UL, Say("Chooses the order of examples, the adapter's first numbers and what is dropped.", "例の順、アダプターの初期値、ドロップアウトの乱数の種。"));
    private readonly Option<NumberFormat> _save = new("--save-format")
    {
        HelpName = "f32|bf16|f16",
        DefaultValueFactory = _ => NumberFormat.BF16,
        Description = Say("The number format of the model at the end; adapters are f32.", "最後に書くモデルの数値形式（アダプターは f32）。"),
    };
    private readonly Option<int?> _threads = Arguments.Threads();
    private readonly double _fullRate, _loraRate;

    /// <summary>The options.</summary>
    /// <param name="command">Gets them.</param>
    /// <param name="data">What --data is.</param>
    /// <param name="fullRate">The learning rate when none is given and all weights are trained.</param>
    /// <param name="loraRate">When an adapter is.</param>
    /// <param name="batch">Examples of a step.</param>
    /// <param name="mayCut">Whether examples may be cut and divided.</param>
    public TuningArguments(Command command, string data, double fullRate, double loraRate, int batch, bool mayCut)
    {
        (_fullRate, _loraRate) = (fullRate, loraRate);
        _data = new Option<DataSource[]>("--data")
        {
            HelpName = "FILE[:WEIGHT]",
            Description = data,
            Required = true,
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            CustomParser = result => [.. result.Tokens.Select(token => SourceOf(result, token.Value))],
        };
        _batch = Number("--batch", batch, Say("Examples of a step.", "1 ステップの例の数。"));
        _rate.Description = string.Create(CultureInfo.InvariantCulture,
            $"{Say($"The highest learning rate; {fullRate} when absent, {loraRate} for an adapter.", $"学習率の最大値。省略時は {fullRate}、アダプターなら {loraRate}。")}");
        _tooLong = new Option<TooLong>("--too-long")
        {
            HelpName = mayCut ? "error|skip|cut|split" : "error|skip",
            DefaultValueFactory = _ => TooLong.Error,
            Description = mayCut
                ? Say("Examples longer than the context: an error, left out, their end cut off, or divided between turns. All but errors are counted and named.",
                    "文脈長を超える例の扱い。エラー、除く、末尾を切る、発言の間で分ける。エラー以外は件数と場所を報告する。")
                : Say("Pairs longer than the context: an error, or left out, counted and named.", "文脈長を超える組の扱い。エラーか、除いて件数と場所を報告する。"),
            CustomParser = result => result.Tokens[0].Value switch
            {
                "error" => TooLong.Error,
                "skip" => TooLong.Skip,
                "cut" when mayCut => TooLong.Cut,
                "split" when mayCut => TooLong.Split,
                string other => Wrong<TooLong>(result, other),
            },
        };
        _weights.Description = Say(
            "Quantise the frozen base to this format while it is loaded (QLoRA); as it is stored when absent.", "凍結した元の重みを読み込みながらこの形式に量子化する（QLoRA）。省略時は保存形式のまま。");
        _save.AcceptOnlyFromAmong("f32", "bf16", "f16");
        command.Add(_model);
        foreach (Option option in (Option[])[_data, _output, _format, _system, _rank, _alpha, _loraDropout, _targets, _rankStabilised, _weights, _epochs, _batch,
                     _tokens, _rate, _schedule, _warmUp, _final, _weightDecay, _beta1, _beta2, _epsilon, _clip, _dropout, _recompute, _context, _tooLong, _skipBad,
                     _heldOut, _share, _evaluate, _patience, _keepBest, _checkpoint, _keep, _seed, _save, _threads])
            command.Add(option);
        command.Validators.Add(result =>
        {
            if (result.GetResult(_rank) is null)
                foreach (Option option in (Option[])[_alpha, _targets, _rankStabilised, _weights, _loraDropout])
                    if (result.GetResult(option) is { Implicit: false })
                        result.AddError(Say($"{option.Name} is for an adapter: give --lora-rank too.", $"{option.Name} はアダプター用です。--lora-rank も指定してください。"));
            foreach (Option option in (Option[])[_patience, _keepBest])
                if (result.GetResult(option) is { Implicit: false } && result.GetResult(_heldOut) is null && result.GetResult(_share) is not { Implicit: false })
                    result.AddError(Say($"{option.Name} is for a run that is evaluated: give --held-out or --held-out-share too.",
                        $"{option.Name} は評価のためのものです。--held-out か --held-out-share も指定してください。"));
            if (result.GetResult(_patience).IsGiven(out int evaluations) && evaluations < 0) result.AddError(Say("--patience is at least 0.", "--patience は 0 以上です。"));
            Positive(result, _batch, _tokens, _keep);
            if (result.GetResult(_epochs).IsGiven(out double given) && !(given > 0))
                result.AddError(Say("--epochs is above 0.", "--epochs は 0 より大きい数です。"));
        });
    }

    /// <summary>The number of an option with a value that is taken when it is absent.</summary>
    public static Option<T> Number<T>(string name, T absent, string description) =>
        new(name) { HelpName = typeof(T) == typeof(double) ? "X" : "N", DefaultValueFactory = _ => absent, Description = description };

    /// <summary>Says that a word is none of those that an option takes.</summary>
    public static T? Wrong<T>(ArgumentResult result, string found)
    {
        Option? option = (result.Parent as OptionResult)?.Option;
        string names = option?.HelpName?.Replace("|", ", ", StringComparison.Ordinal) ?? "";
        result.AddError(Say($"{option?.Name}: '{found}' is none of {names}.", $"{option?.Name}: '{found}' は {names} のいずれでもありません。"));
        return default;
    }

    /// <summary>What a run is to be.</summary>
    public TuningSettings Read(ParseResult args, bool needsOutput)
    {
        string? output = args.GetValue(_output);
        if (output is null && needsOutput)
            throw new Failure("--out DIR is missing: the folder that the run is written to.", "--out DIR がありません。実行結果を書くフォルダーを指定してください。");
        int? rank = args.GetValue(_rank);
        LoraSettings? lora = rank is { } r
            ? new LoraSettings(r, args.GetValue(_alpha) ?? 2.0 * r, args.GetValue(_loraDropout),
                args.GetValue(_targets)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries), args.GetValue(_rankStabilised))
            : null;
        return new TuningSettings
        {
            Model = args.GetRequiredValue(_model),
            Output = output ?? "",
            Data = args.GetRequiredValue(_data),
            Format = args.GetValue(_format),
            System = args.GetValue(_system),
            Lora = lora,
            BaseFormat = args.GetValue(_weights),
            Epochs = args.GetValue(_epochs),
            Batch = args.GetValue(_batch),
            TokensPerBatch = args.GetValue(_tokens),
            LearningRate = args.GetValue(_rate) ?? (lora is null ? _fullRate : _loraRate),
            Schedule = args.GetValue(_schedule),
            WarmUp = args.GetValue(_warmUp),
            FinalRate = args.GetValue(_final),
            WeightDecay = args.GetValue(_weightDecay),
            AdamW = new AdamWOptions(args.GetValue(_beta1), args.GetValue(_beta2), args.GetValue(_epsilon)),
            ClipNorm = args.GetValue(_clip),
            Dropout = (float)args.GetValue(_dropout),
            Recomputes = args.GetValue(_recompute),
            Context = args.GetValue(_context),
            TooLong = args.GetValue(_tooLong),
            SkipBad = args.GetValue(_skipBad),
            HeldOut = args.Given(_heldOut) ?? [],
            HeldOutShare = args.GetValue(_share),
            EvaluateEvery = args.GetValue(_evaluate),
            Patience = args.GetValue(_patience),
            KeepsBest = args.GetValue(_keepBest),
            CheckpointEvery = args.GetValue(_checkpoint),
            KeepCheckpoints = args.GetValue(_keep),
            Seed = args.GetValue(_seed),
            SaveFormat = args.GetValue(_save),
            Threads = args.GetValue(_threads) ?? 0,
        };
    }

    private static void Positive(CommandResult result, params ReadOnlySpan<Option<int>> options)
    {
        foreach (Option<int> option in options)
            if (result.GetResult(option).IsGiven(out int value) && value < 1)
                result.AddError(Say($"{option.Name} is at least 1.", $"{option.Name} は 1 以上です。"));
    }

    // A path may hold a colon itself: what follows the last one counts when it is a number and the rest is a file.
    private static DataSource SourceOf(ArgumentResult result, string text)
    {
        int colon = text.LastIndexOf(':');
        if (colon < 1 || File.Exists(text)) return new DataSource(text);
        if (double.TryParse(text.AsSpan(colon + 1), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double weight))
        {
            if (weight is > 0 and <= 1000) return new DataSource(text[..colon], weight);
            result.AddError(Say($"--data: the weight of '{text}' is above 0 and at most 1000.", $"--data: '{text}' の重みは 0 より大きく 1000 以下です。"));
        }
        return new DataSource(text);
    }
}
