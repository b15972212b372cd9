using System.Runtime.InteropServices;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>The numbers of <see cref="AdamW"/>.</summary>
/// <param name="Beta1">Decay of the mean of gradients.</param>
/// <param name="Beta2">Decay of the mean of squared gradients; 0.95 for language models, 0.999 in Kingma and Ba, 2014.</param>
/// <param name="Epsilon">Added to the root of the latter.</param>
public sealed record AdamWOptions(double Beta1 = 0.9, double Beta2 = 0.95, double Epsilon = 1e-8);

/// <summary>Some parameters and how they are treated.</summary>
/// <param name="Includes">Whether a parameter belongs to the group; the first group that it belongs to counts.</param>
/// <param name="WeightDecay">λ: each step takes η·λ of the weight away.</param>
/// <param name="RateFactor">What the learning rate is multiplied by.</param>
public sealed record ParameterGroup(Func<Parameter, bool> Includes, double WeightDecay, double RateFactor = 1)
{
    /// <summary>The same decay for every parameter.</summary>
    public static IReadOnlyList<ParameterGroup> Uniform(double weightDecay) => [new(_ => true, weightDecay)];

    /// <summary>As transformers.Trainer groups them: no decay of biases and of the gains of norms; embeddings do decay.</summary>
    public static IReadOnlyList<ParameterGroup> AsTransformersTrainer(double weightDecay) =>
        [new(parameter => parameter.IsVector, 0), new(_ => true, weightDecay)];
}

/// <summary>AdamW: Loshchilov and Hutter, 2019, arXiv:1711.05101, step for step as torch.optim.AdamW.</summary>
public sealed unsafe class AdamW : IDisposable
{
    private readonly TrainableModel _model;
    private readonly AdamWOptions _options;
    private readonly (double Decay, double Factor)[] _treatments;
    private readonly NativeBuffer _means, _squares;

    /// <summary>An optimiser whose moments are 0.</summary>
    /// <param name="model">What it trains.</param>
    /// <param name="options">β₁, β₂ and ε.</param>
    /// <param name="groups">Decay and rate of each parameter.</param>
    /// <exception cref="ArgumentException">A number is out of its range, or a parameter is in no group.</exception>
    public AdamW(TrainableModel model, AdamWOptions options, IReadOnlyList<ParameterGroup> groups)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(groups);
        if (!(options.Beta1 is >= 0 and < 1) || !(options.Beta2 is >= 0 and < 1) || !((float)options.Epsilon > 0))
            throw new ArgumentException(Say(
                $"beta1 {options.Beta1}, beta2 {options.Beta2}, epsilon {options.Epsilon}: betas are from 0 to below 1, epsilon is above 0 also as a float32.",
                $"beta1 {options.Beta1}、beta2 {options.Beta2}、epsilon {options.Epsilon}: beta は 0 以上 1 未満、epsilon は float32 でも 0 より大きい数でなければなりません。"), nameof(options));
        (_model, _options) = (model, options);
        _treatments = [.. model.Parameters.Select(parameter => groups.FirstOrDefault(group => group.Includes(parameter)) is { } group
            ? (group.WeightDecay, group.RateFactor)
            : throw new ArgumentException($"{parameter.Name} is in no group.", nameof(groups)))];
        long bytes = model.Gradients.Count * sizeof(float);
        _means = new NativeBuffer(bytes);
        try
        {
            _squares = new NativeBuffer(bytes);
        }
        catch
        {
            _means.Dispose();
            throw;
        }
        NativeMemory.Clear((void*)_means.Address, (nuint)bytes);
        NativeMemory.Clear((void*)_squares.Address, (nuint)bytes);
    }

    /// <summary>Steps taken.</summary>
    public long Steps { get; private set; }

    /// <summary>The Euclidean norm of all gradients together.</summary>
    public double GradientNorm(ITrainingOps device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return Math.Sqrt(device.SumOfSquares(_model.Gradients.Address, _model.Gradients.Count));
    }

    /// <summary>What gradients are multiplied by so that their norm is at most a limit, as torch.nn.utils.clip_grad_norm_ has it; a limit of 0 is
    /// none, as transformers' max_grad_norm has it.</summary>
    public static float Clipping(double norm, double limit) => limit > 0 ? (float)Math.Min(1, limit / (norm + 1e-6)) : 1;

    /// <summary>One step along the gradients.</summary>
    /// <param name="device">Computes.</param>
    /// <param name="learningRate">η.</param>
    /// <param name="gradientScale">What gradients are multiplied by: see <see cref="Clipping"/>.</param>
    public void Step(ITrainingOps device, double learningRate, float gradientScale = 1)
    {
        ArgumentNullException.ThrowIfNull(device);
        Steps++;
        for (int i = 0; i < _treatments.Length; i++)
        {
            nint offset = (nint)(_model.Gradients.OffsetOf(i) * sizeof(float));
            AdamWStep step = new(learningRate * _treatments[i].Factor, _options.Beta1, _options.Beta2, _options.Epsilon, _treatments[i].Decay,
                gradientScale, Steps);
            device.AdamW(_model.Parameters[i].Weight.Address, _model.Gradients.Address + offset, _means.Address + offset,
                _squares.Address + offset, _model.Parameters[i].Count, step);
        }
    }

    /// <summary>Writes the first and second moments: with the weights and <see cref="Steps"/> all that the next step depends on.</summary>
    public void Save(string file)
    {
        List<NewTensor> tensors = [];
        for (int i = 0; i < _treatments.Length; i++)
        {
            nint offset = (nint)(_model.Gradients.OffsetOf(i) * sizeof(float));
            Parameter parameter = _model.Parameters[i];
            tensors.Add(parameter.Stored($"exp_avg.{parameter.Name}", _means.Address + offset));
            tensors.Add(parameter.Stored($"exp_avg_sq.{parameter.Name}", _squares.Address + offset));
        }
        SafeTensors.Write(file, tensors);
    }

    /// <summary>Takes the moments that <see cref="Save"/> wrote.</summary>
    /// <param name="file">The file.</param>
    /// <param name="steps">The steps they are of.</param>
    /// <exception cref="InvalidDataException">They are of another model.</exception>
    public void Restore(string file, long steps)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(steps);
        using Checkpoint checkpoint = Checkpoint.Open(file);
        for (int i = 0; i < _treatments.Length; i++)
        {
            nint offset = (nint)(_model.Gradients.OffsetOf(i) * sizeof(float));
            Parameter parameter = _model.Parameters[i];
            parameter.Restore(checkpoint, $"exp_avg.{parameter.Name}", _means.Address + offset);
            parameter.Restore(checkpoint, $"exp_avg_sq.{parameter.Name}", _squares.Address + offset);
        }
        Steps = steps;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _means.Dispose();
        _squares.Dispose();
    }
}
