using Fude.Models;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>What a training run will take of memory, known from the model's configuration.</summary>
/// <param name="WeightBytes">The model's weights, those of an adapter included.</param>
/// <param name="GradientBytes">Gradients of the trained ones.</param>
/// <param name="OptimizerBytes">AdamW's first and second moments of them.</param>
/// <param name="PassBytes">Activations and scratch of a pass forth and back, at the most.</param>
/// <remarks>The program itself, about 60 MB, and its copies of the token ids come to it.</remarks>
public sealed record TrainingFootprint(long WeightBytes, long GradientBytes, long OptimizerBytes, long PassBytes)
{
    /// <summary>All of it.</summary>
    public long TotalBytes => WeightBytes + GradientBytes + OptimizerBytes + PassBytes;

    /// <summary>Works it out by one pass over shapes, in which nothing is computed and no memory taken.</summary>
    /// <param name="config">The model.</param>
    /// <param name="rows">Rows of a micro-batch.</param>
    /// <param name="context">Tokens of a row; at most the model's context.</param>
    /// <param name="recomputes">Whether blocks are recomputed in the backward pass (activation checkpointing).</param>
    /// <param name="threads">Threads that compute; 0 for as many as there are processors.</param>
    /// <param name="adapterConfig">The text of an adapter_config.json: only the adapter is trained. Null for all weights.</param>
    /// <param name="format">The format of the frozen matrices beside an adapter; what is trained is float32.</param>
    /// <param name="rates">What is dropped.</param>
    /// <exception cref="ArgumentException">A length is out of range.</exception>
    public static TrainingFootprint Of(
        ModelConfig config, int rows, int context, bool recomputes, int threads = 0, ReadOnlyMemory<byte>? adapterConfig = null,
        NumberFormat format = NumberFormat.F32, DropoutRates? rates = null) =>
        Of(config, rows, context, recomputes, threads, adapterConfig, _ => format, rates);

    /// <summary>The same of a model's folder or GGUF file: beside an adapter its matrices stay as they are stored, or are quantised.</summary>
    /// <inheritdoc cref="Of(ModelConfig, int, int, bool, int, ReadOnlyMemory{byte}?, NumberFormat, DropoutRates?)"/>
    /// <param name="folder">The model, whose weights need not be there: they count as float32 then, unless they are quantised.</param>
    /// <param name="rows">Rows of a micro-batch.</param>
    /// <param name="context">Tokens of a row; at most the model's context.</param>
    /// <param name="recomputes">Whether blocks are recomputed in the backward pass (activation checkpointing).</param>
    /// <param name="threads">Threads that compute; 0 for as many as there are processors.</param>
    /// <param name="adapterConfig">The text of an adapter_config.json: only the adapter is trained. Null for all weights.</param>
    /// <param name="mix">What the frozen matrices are quantised to while they are loaded (QLoRA); null for as they are stored.</param>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    public static TrainingFootprint Of(
        ModelFolder folder, int rows, int context, bool recomputes, int threads = 0, ReadOnlyMemory<byte>? adapterConfig = null, QuantizationMix? mix = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return Of(folder.Config, rows, context, recomputes, threads, adapterConfig, adapterConfig is null ? _ => NumberFormat.F32 : folder.MatrixFormats(mix), rates: null);
    }

    private static TrainingFootprint Of(
        ModelConfig config, int rows, int context, bool recomputes, int threads, ReadOnlyMemory<byte>? adapterConfig, Func<string, NumberFormat> formatOf, DropoutRates? rates)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (rows < 1) throw new ArgumentException(Say($"A micro-batch of {rows} rows is none.", $"マイクロバッチの行数が {rows} です。1 以上にしてください。"), nameof(rows));
        if (context < 1 || context > config.Context)
            throw new ArgumentException(Say(
                $"Rows of {context} tokens (--context) are not from 1 to the model's context of {config.Context}.",
                $"1 行が {context} トークンです（--context）。1 からモデルの文脈長 {config.Context} までにしてください。"), nameof(context));
        if ((long)rows * context > Array.MaxLength)
            throw new ArgumentException(Say(
                $"A micro-batch of {rows} rows of {context} tokens is too large: {Array.MaxLength} tokens are the most.",
                $"マイクロバッチの {rows} 行 × {context} トークンは大きすぎます。上限は {Array.MaxLength} トークンです。"), nameof(rows));
        int count = rows * context;
        ShapeWeights weights = adapterConfig is null ? new() : new(formatOf), small = new();
        using LanguageModel model = adapterConfig is { } adapter
            ? LanguageModel.Create(config, weights, LoraAdapter.Create(adapter, small))
            : LanguageModel.Create(config, weights);
        using Gradients gradients = new(adapterConfig is null ? weights.Weights : small.Weights, hasMemory: false);
        using PassMeter meter = new(threads == 0 ? Environment.ProcessorCount : threads);
        using Tape tape = new(meter, gradients) { Recomputes = recomputes, Rates = rates ?? new() };
        tape.DropInputsOf(small.Weights.Where(weight => weight.Name.Contains(".lora_A.", StringComparison.Ordinal)));
        int[] all = [.. Enumerable.Range(0, count)];
        Batch batch = new(new int[count], [.. all.Select(i => i % context)],
            [.. Enumerable.Range(0, rows).Select(row => new Sequence(row * context, context))], all);
        Tensor logits = model.Run(tape, batch);
        float[] ones = new float[count];
        Array.Fill(ones, 1f / count);
        _ = tape.CrossEntropy(logits, new int[count], ones);
        tape.Backward();
        long trained = gradients.Count * sizeof(float);
        return new TrainingFootprint(Bytes(weights) + Bytes(small), trained, 2 * trained, meter.PeakBytes);
    }

    private static long Bytes(ShapeWeights weights) => weights.Weights.Sum(weight => weight.Bytes);
}
