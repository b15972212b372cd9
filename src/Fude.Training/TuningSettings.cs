using System.Globalization;
using Fude.Models;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A file of examples.</summary>
/// <param name="File">JSONL or a JSON array, also packed by gzip.</param>
/// <param name="Weight">How often an epoch takes each of its examples: see <see cref="Mixture"/>.</param>
public readonly record struct DataSource(string File, double Weight = 1);

/// <summary>What a model is tuned with and how: on instructions, or on preferences.</summary>
public sealed record TuningSettings
{
    /// <summary><see cref="TokensPerBatch"/> where nobody sets it.</summary>
    public const int UsualTokensPerBatch = 4096;

    /// <summary>The model's folder; with an adapter it may be a GGUF file.</summary>
    public required string Model { get; init; }

    /// <summary>The run's folder: checkpoints, metrics, and at the end the folder "model", or "adapter".</summary>
    public required string Output { get; init; }

    /// <summary>The examples.</summary>
    public required IReadOnlyList<DataSource> Data { get; init; }

    /// <summary>Files of examples that are only evaluated on.</summary>
    public IReadOnlyList<string> HeldOut { get; init; } = [];

    /// <summary>The share of the data's records that is only evaluated on: see <see cref="Dialogue.IsHeldOut"/>.</summary>
    public double HeldOutShare { get; init; }

    /// <summary>Token shards of texts like those the model was pre-trained on, made with its tokenizer: pieces of them are mixed in and learnt
    /// whole, others in each epoch, so that the model does not forget them. Not for preferences.</summary>
    public IReadOnlyList<string> Replay { get; init; } = [];

    /// <summary>The share of them among all tokens of an epoch.</summary>
    public double ReplayShare { get; init; } = 0.25;

    /// <summary>The name of the prompt format; null for the one that the model itself names.</summary>
    public string? Format { get; init; }

    /// <summary>What the model is told about its task instead of the format's own words.</summary>
    public string? System { get; init; }

    /// <summary>Tokens of an example at most; null for the model's context.</summary>
    public int? Context { get; init; }

    /// <summary>What is done with longer ones.</summary>
    public TooLong TooLong { get; init; }

    /// <summary>Whether only the last answer of each conversation is learnt.</summary>
    public bool LastAnswerOnly { get; init; }

    /// <summary>Records that may be bad before one is an error.</summary>
    public long SkipBad { get; init; }

    /// <summary>How records are read.</summary>
    public DialogueReader Reader { get; init; } = new();

    /// <summary>The generation_config.json that goes with the model; null for that of <see cref="Model"/>, if it has one.</summary>
    public string? GenerationConfig { get; init; }

    /// <summary>The adapter that is trained; null to train all weights.</summary>
    public LoraSettings? Lora { get; init; }

    /// <summary>The number formats that the frozen base is quantised to while it is loaded; null for those it is stored in.</summary>
    public QuantizationMix? BaseFormat { get; init; }

    /// <summary>The loss of preferences; null to learn instructions.</summary>
    public PreferenceLoss? Preference { get; init; }

    /// <summary>How often the data are gone through.</summary>
    public double Epochs { get; init; } = 1;

    /// <summary>Examples of a step.</summary>
    public int Batch { get; init; } = 32;

    /// <summary>Tokens of a micro-batch at most: what is in memory at a time.</summary>
    public int TokensPerBatch { get; init; } = UsualTokensPerBatch;

    /// <summary>The highest learning rate.</summary>
    public required double LearningRate { get; init; }

    /// <summary>How it goes on after the warm-up.</summary>
    public ScheduleForm Schedule { get; init; } = ScheduleForm.Cosine;

    /// <summary>The part of the steps over which it rises.</summary>
    public double WarmUp { get; init; } = 0.03;

    /// <summary>The last rate as a part of the highest.</summary>
    public double FinalRate { get; init; }

    /// <summary>λ of matrices; gains and biases do not decay.</summary>
    public double WeightDecay { get; init; }

    /// <summary>β₁, β₂ and ε.</summary>
    public AdamWOptions AdamW { get; init; } = new();

    /// <summary>Gradient clipping: the norm over all gradients above which they are scaled down to it; 0 for none.</summary>
    public double ClipNorm { get; init; } = 1;

    /// <summary>Label smoothing and z-loss, of instructions.</summary>
    public LossForm Loss { get; init; }

    /// <summary>What is dropped of embeddings, attention and residuals; the adapter's share is <see cref="LoraSettings.Dropout"/>.</summary>
    public float Dropout { get; init; }

    /// <summary>Whether blocks are recomputed in the backward pass instead of being kept (activation checkpointing).</summary>
    public bool Recomputes { get; init; }

    /// <summary>Chooses the order of examples, the adapter's first numbers and what is dropped.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Steps between checkpoints; the last step has one in any case.</summary>
    public long CheckpointEvery { get; init; } = 100;

    /// <summary>Checkpoints that stay.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    /// <summary>Steps between evaluations on what is held out; 0 for none.</summary>
    public long EvaluateEvery { get; init; }

    /// <inheritdoc cref="TrainerOptions.Patience"/>
    public int Patience { get; init; }

    /// <inheritdoc cref="TrainerOptions.KeepsBest"/>
    public bool KeepsBest { get; init; }

    /// <summary>The number format of the model at the end: F32, BF16 or F16. Checkpoints and adapters are float32.</summary>
    public NumberFormat SaveFormat { get; init; } = NumberFormat.F32;

    /// <inheritdoc cref="CpuOps.Precision"/>
    public ProductPrecision Precision { get; init; }

    /// <summary>Threads, 0 for one per core. The result does not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Refuses numbers that are out of their range, before anything is read.</summary>
    internal void Check()
    {
        Require(LearningRate is > 0 and <= 1e6, Say("learning rate", "学習率"), LearningRate, Say("above 0 and at most 1000000", "0 より大きく 1000000 以下"));
        Require(Epochs is > 0 and <= 1e6, Say("number of epochs", "周回数"), Epochs, Say("above 0 and at most 1000000", "0 より大きく 1000000 以下"));
        Require(Batch > 0, Say("batch", "バッチ"), Batch, Say("at least 1", "1 以上"));
        Require(TokensPerBatch > 0, Say("number of tokens in memory at a time", "一度にメモリーに載せるトークン数"), TokensPerBatch, Say("at least 1", "1 以上"));
        Require(Context is null or > 1, Say("context", "文脈長"), Context ?? 0, Say("at least 2", "2 以上"));
        Require(WarmUp is >= 0 and <= 1, Say("warm-up", "ウォームアップ"), WarmUp, Say("a part of the steps, from 0 to 1", "ステップ全体に対する割合で 0 から 1 まで"));
        Require(FinalRate is >= 0 and <= 1, Say("final rate", "最後の学習率"), FinalRate, Say("a part of the highest, from 0 to 1", "最大値に対する割合で 0 から 1 まで"));
        Require(WeightDecay is >= 0 and < 1e6, Say("weight decay", "重み減衰"), WeightDecay, Say("from 0 on", "0 以上"));
        Require(ClipNorm >= 0, Say("largest norm of gradients", "勾配ノルムの上限"), ClipNorm, Say("0, for no limit, or more", "0（上限なし）以上"));
        Require(Dropout is >= 0 and < 1, Say("dropout", "ドロップアウト率"), Dropout, Say("from 0 to below 1", "0 以上 1 未満"));
        Require(HeldOutShare is >= 0 and < 1, Say("share to hold out", "評価用の割合"), HeldOutShare, Say("from 0 to below 1", "0 以上 1 未満"));
        Require(ReplayShare is > 0 and < 1, Say("share to replay", "混ぜるテキストの割合"), ReplayShare, Say("above 0 and below 1", "0 より大きく 1 未満"));
        Require(SkipBad >= 0, Say("number of bad records", "除いてよい不良レコードの数"), SkipBad, Say("from 0 on", "0 以上"));
        Require(CheckpointEvery > 0, Say("number of steps between checkpoints", "チェックポイントの間隔（ステップ）"), CheckpointEvery, Say("at least 1", "1 以上"));
        Require(KeepCheckpoints > 0, Say("number of checkpoints that stay", "残すチェックポイントの数"), KeepCheckpoints, Say("at least 1", "1 以上"));
        Require(EvaluateEvery >= 0, Say("number of steps between evaluations", "評価の間隔（ステップ）"), EvaluateEvery, Say("from 0 on", "0 以上"));
        Require(Patience >= 0, Say("patience", "改善を待つ評価の回数"), Patience, Say("from 0 on", "0 以上"));
        Require(Preference is null or { Beta: > 0, LabelSmoothing: >= 0 and < 0.5 }, Say("preference loss", "選好の損失"), double.NaN,
            Say("of a beta above 0 and a label smoothing from 0 to below 0.5", "beta は 0 より大きく、ラベル平滑化は 0 以上 0.5 未満"));
        Require(Preference is null or { LabelSmoothing: 0 } or { Form: PreferenceForm.Sigmoid }, Say("label smoothing of preferences", "選好のラベル平滑化"),
            Preference?.LabelSmoothing ?? 0, Say("0 but for the sigmoid loss", "sigmoid 以外の損失では 0"));

        static void Require(bool holds, string what, double found, string expected)
        {
            if (!holds)
                throw new ArgumentException(Say(
                    string.Create(CultureInfo.InvariantCulture, $"The {what} is {(double.IsNaN(found) ? "not" : $"{found}; it has to be")} {expected}."),
                    string.Create(CultureInfo.InvariantCulture, $"{what}が{(double.IsNaN(found) ? "正しくありません" : $" {found} です")}（必要: {expected}）。")));
        }
    }
}
