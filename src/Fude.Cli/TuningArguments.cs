using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Fude.Models;
using Fude.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>The options that fude tune and fude dpo share.</summary>
internal sealed class TuningArguments
{
    private readonly Argument<string> _model = Arguments.ModelToTune();
    private readonly Option<DataSource[]> _data;
    private readonly Option<string?> _output = new("--out", "--output")
    {
        HelpName = "DIR",
        Description = Say("The run's folder: checkpoints, metrics and at the end the folder model (or adapter). A run that is there goes on.",
            "実行フォルダー。チェックポイント、記録、最後に model（または adapter）を書く。途中の実行があれば再開する。"),
    };
    private readonly Option<string?> _format = Arguments.PromptFormatName(Say(
        $"The prompt format that the model learns; the one it names itself when absent: {string.Join(", ", PromptFormat.All)}, {PromptFormat.TemplateName} (the folder's own).",
        $"学習させるプロンプトの書式。省略時はモデル自身のもの: {string.Join("、", PromptFormat.All)}、{PromptFormat.TemplateName}（フォルダーのもの）。"));
    private readonly Option<string?> _system = new("--system")
    {
        HelpName = "TEXT",
        Description = Say("What the model is told about its task, instead of the format's own words; empty for nothing.", "モデルに与える役割の文。空なら無し。省略時は書式の既定文。"),
    };
    private readonly Option<int?> _rank = Optional<int>(
        "--lora-rank", Say("Train a low-rank adapter of this rank; all weights when absent.", "このランクの LoRA アダプターだけを学習する。省略時は全重み。"), Within(1, 1 << 20));
    private readonly Option<double?> _alpha = Optional<double>(
        "--lora-alpha", Say("What it adds is multiplied by alpha / rank; twice the rank when absent.", "アダプターの倍率は alpha / rank。省略時はランクの 2 倍。"),
        Within(0.0, LoraSettings.MostAlpha) with { Holds = alpha => alpha is > 0 and <= LoraSettings.MostAlpha, English = $"above 0 and at most {LoraSettings.MostAlpha:0}", Japanese = $"0 より大きく {LoraSettings.MostAlpha:0} 以下" });
    private readonly Option<double> _loraDropout = Of(
        "--lora-dropout", Say("The share of its inputs that is dropped.", "アダプターの入力のドロップアウト率。"), 0.0, LearningArguments.Part);
    private readonly Option<string?> _targets = new("--lora-targets")
    {
        HelpName = "A,B",
        Description = Say("The layers that are adapted, as q_proj,v_proj; all linear layers of the blocks when absent.", "適用する層（例: q_proj,v_proj）。省略時はブロックの全線形層。"),
    };
    private readonly Option<bool> _rankStabilised = new("--lora-rslora") { Description = Say("alpha / √rank instead of alpha / rank.", "倍率を alpha / √rank にする。") };
    private readonly Option<QuantizationMix?> _weights = FormatArguments.Parsed("--weights");
    private readonly Option<double> _epochs = Of("--epochs", Say("How often the data are gone through.", "データを何周するか。"), 1.0, Above(0.0));
    private readonly Option<int> _batch;
    private readonly Option<int> _tokens = Of(
        "--tokens-per-batch", Say("Tokens in memory at a time; a step may take several such parts.", "一度にメモリーに載せるトークン数。1 ステップはいくつかに分かれることがある。"), TuningSettings.UsualTokensPerBatch, AtLeast(1));
    private readonly Option<double?> _rate;
    private readonly Option<double> _warmUp = Of("--warmup", Say("The part of the steps over which the rate rises.", "学習率を上げていくステップの割合。"), 0.03, Within(0.0, 1.0));
    private readonly Option<int?> _context = Optional<int>(
        "--context", Say("Tokens of an example at most; the model's context when absent.", "例の最大トークン数。省略時はモデルの文脈長。"), AtLeast(2));
    private readonly Option<Choice<TooLong>> _tooLong;
    private readonly Option<long> _skipBad = Of(
        "--skip-bad", Say("Broken, empty or unusable records that may be left out, each counted and named.", "壊れた例や空の例を除いてよい上限。件数と場所は報告する。"), 0L, AtLeast(0L));
    private readonly Option<string[]> _heldOut = new("--held-out")
    {
        HelpName = "FILE...",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = true,
        Description = Say("Examples that are only evaluated on.", "評価だけに使う例のファイル。"),
    };
    private readonly Option<double> _share = Of(
        "--held-out-share", Say("The share of the data's records that is only evaluated on, by their hash.", "評価だけに使う例の割合（ハッシュで選ぶ）。"), 0.0, PartBelow(1));
    private readonly LearningArguments _learning = new(
        finalRate: 0, weightDecay: 0, evaluateEvery: 50,
        Say("Chooses the order of examples, the adapter's first numbers and what is dropped.", "例の順、アダプターの初期値、ドロップアウトの乱数の種。"),
        Say("The number format of the model at the end; adapters are f32.", "最後に書くモデルの数値形式（アダプターは f32）。"));
    private readonly double _fullRate, _loraRate;
    private readonly bool _dividesSteps;

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
            HelpName = "FILE[:WEIGHT]...",
            Description = data,
            Required = true,
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            CustomParser = result => [.. result.Tokens.Select(token => SourceOf(result, token.Value))],
        };
        _batch = Of("--batch", Say("Examples of a step.", "1 ステップの例の数。"), batch, AtLeast(1));
        (string full, string adapter) = (fullRate.ToString("0.########", CultureInfo.InvariantCulture), loraRate.ToString("0.########", CultureInfo.InvariantCulture));
        _rate = Optional<double>(
            "--learning-rate", Say($"The highest learning rate; {full} when absent, {adapter} for an adapter.", $"学習率の最大値。省略時は {full}、アダプターなら {adapter}。"), Above(0.0));
        _tooLong = mayCut
            ? WordOption.Of("--too-long",
                Say("Examples longer than the context: an error, left out, their end cut off, or divided between turns. All but errors are counted and named.",
                    "文脈長を超える例の扱い。エラー、除く、末尾を切る、発言の間で分ける。エラー以外は件数と場所を報告する。"),
                ("error", TooLong.Error), ("skip", TooLong.Skip), ("cut", TooLong.Cut), ("split", TooLong.Split))
            : WordOption.Of("--too-long",
                Say("Pairs longer than the context: an error, or left out, counted and named.", "文脈長を超える組の扱い。エラーか、除いて件数と場所を報告する。"),
                ("error", TooLong.Error), ("skip", TooLong.Skip));
        _weights.Description = Say(
            "Quantise the frozen base to this format while it is loaded (QLoRA); as it is stored when absent.", "凍結した元の重みを読み込みながらこの形式に量子化する（QLoRA）。省略時は保存形式のまま。");
        command.Add(_model);
        foreach (Option option in (Option[])[_data, _output, _format, _system, _rank, _alpha, _loraDropout, _targets, _rankStabilised, _weights, _epochs, _batch,
                     _rate, _warmUp, _context, _tooLong, _skipBad, _heldOut, _share])
            command.Add(option);
        // A pass of preferences holds one pair.
        _dividesSteps = mayCut;
        if (_dividesSteps) command.Add(_tokens);
        _learning.AddTo(command, _heldOut, _share);
        command.Validators.Add(result =>
        {
            if (result.GetResult(_rank) is null)
                foreach (Option option in (Option[])[_alpha, _targets, _rankStabilised, _weights, _loraDropout])
                    if (result.GetResult(option) is { Implicit: false })
                        result.AddError(Say($"{option.Name} is for an adapter: give --lora-rank too.", $"{option.Name} はアダプター用です。--lora-rank も指定してください。"));
        });
    }

    /// <summary>Has a command line that names no folder to write be wrong.</summary>
    public void RequireOutput(CommandResult result)
    {
        if (result.GetResult(_output) is null)
            result.AddError(Say("--out DIR is missing: the folder that the run is written to.", "--out DIR がありません。実行結果を書くフォルダーを指定してください。"));
    }

    /// <summary>What a run is to be.</summary>
    public TuningSettings Read(ParseResult args, bool needsOutput)
    {
        string? output = args.GetValue(_output);
        if (needsOutput) OutputPlace.RequireFolder(output!);
        int? rank = args.GetValue(_rank);
        LoraSettings? lora = rank is { } r
            ? new LoraSettings(r, args.GetValue(_alpha) ?? 2.0 * r, args.GetValue(_loraDropout),
                NamesOf(args.GetValue(_targets)), args.GetValue(_rankStabilised))
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
            TokensPerBatch = _dividesSteps ? args.GetValue(_tokens) : TuningSettings.UsualTokensPerBatch,
            LearningRate = args.GetValue(_rate) ?? (lora is null ? _fullRate : _loraRate),
            Schedule = _learning.Schedule(args),
            WarmUp = args.GetValue(_warmUp),
            FinalRate = _learning.FinalRate(args),
            WeightDecay = _learning.WeightDecay(args),
            AdamW = _learning.AdamW(args),
            ClipNorm = _learning.ClipNorm(args),
            Dropout = _learning.Dropout(args),
            Recomputes = _learning.Recomputes(args),
            Context = args.GetValue(_context),
            TooLong = args.GetRequiredValue(_tooLong).Value,
            SkipBad = args.GetValue(_skipBad),
            HeldOut = args.Given(_heldOut) ?? [],
            HeldOutShare = args.GetValue(_share),
            EvaluateEvery = _learning.EvaluateEvery(args),
            Patience = _learning.Patience(args),
            KeepsBest = _learning.KeepsBest(args),
            CheckpointEvery = _learning.CheckpointEvery(args),
            KeepCheckpoints = _learning.KeepCheckpoints(args),
            Seed = _learning.Seed(args),
            SaveFormat = _learning.SaveFormat(args),
            Precision = _learning.Precision(args),
            Threads = _learning.Threads(args),
        };
    }

    /// <summary>The layers of --lora-targets; null where it is absent.</summary>
    public static string[]? NamesOf(string? targets) => targets?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

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
