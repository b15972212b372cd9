using Fude.Tensors;

namespace Fude.Models;

/// <summary>A linear layer: y = x·Wᵀ + b, and what a low-rank adapter adds to it.</summary>
/// <param name="Weight">[out, in].</param>
/// <param name="Bias">[out], or null.</param>
/// <param name="Adapter">Low-rank matrices beside the weight, or null.</param>
public sealed record Linear(Weight Weight, Weight? Bias = null, LowRank? Adapter = null)
{
    internal Factor Factor => new(Weight, Bias);

    /// <summary>The layer that gives some neighbouring outputs of this one: the queries of a fused query-key-value layer.</summary>
    public Linear Slice(int firstRow, int rows) =>
        new(Weight.Slice(firstRow, rows), Bias?.SliceVector(firstRow, rows), Adapter?.Slice(firstRow, rows));
}

/// <summary>What a low-rank adapter adds to a linear layer: scale · (x·Aᵀ)·Bᵀ.</summary>
/// <param name="Down">A: [rank, in].</param>
/// <param name="Up">B: [out, rank].</param>
/// <param name="Scale">α/r, or α/√r.</param>
/// <param name="Owner">The adapter, which can be switched off.</param>
/// <remarks>Hu et al., 2021, arXiv:2106.09685.</remarks>
public sealed record LowRank(Weight Down, Weight Up, float Scale, LoraAdapter Owner)
{
    internal LowRank Slice(int firstRow, int rows) => this with { Up = Up.Slice(firstRow, rows) };
}

/// <summary>Linear layers as model families use them.</summary>
public static class LinearExtensions
{
    /// <summary>y = x·Wᵀ + b + scale·(x·Aᵀ)·Bᵀ, the last where an adapter is loaded and switched on.</summary>
    /// <param name="ops">The device.</param>
    /// <param name="x">[tokens, in]; left as it was.</param>
    /// <param name="linear">The layer.</param>
    /// <returns>[tokens, out].</returns>
    public static Tensor Linear(this IOps ops, Tensor x, Linear linear) =>
        ops.Adapted(x, ops.MatMul(x, linear.Weight, linear.Bias), linear);

    /// <summary>Two layers that read the same x, in one pass over it.</summary>
    /// <param name="ops">The device.</param>
    /// <param name="x">[tokens, in]; left as it was.</param>
    /// <param name="first">A layer.</param>
    /// <param name="second">Another.</param>
    /// <returns>[tokens, out] of each.</returns>
    public static (Tensor First, Tensor Second) Linear(this IOps ops, Tensor x, Linear first, Linear second)
    {
        Span<Tensor> y = stackalloc Tensor[2];
        ops.MatMul(x, [first.Factor, second.Factor], y);
        return (ops.Adapted(x, y[0], first), ops.Adapted(x, y[1], second));
    }

    /// <summary>Three layers that read the same x, in one pass over it.</summary>
    /// <param name="ops">The device.</param>
    /// <param name="x">[tokens, in]; left as it was.</param>
    /// <param name="first">A layer.</param>
    /// <param name="second">Another.</param>
    /// <param name="third">Another.</param>
    /// <returns>[tokens, out] of each.</returns>
    public static (Tensor First, Tensor Second, Tensor Third) Linear(this IOps ops, Tensor x, Linear first, Linear second, Linear third)
    {
        Span<Tensor> y = stackalloc Tensor[3];
        ops.MatMul(x, [first.Factor, second.Factor, third.Factor], y);
        // Slices of a fused layer have one A, whose product, and in training what is dropped from its input, is one too.
        Tensor? down = first.Adapter is { Owner.IsOn: true, Down: var a } && second.Adapter?.Down == a && third.Adapter?.Down == a ? ops.MatMul(x, a) : null;
        return (ops.Adapted(x, y[0], first, down), ops.Adapted(x, y[1], second, down), ops.Adapted(x, y[2], third, down));
    }

    /// <summary>y + scale·(x·Aᵀ)·Bᵀ where an adapter is loaded and switched on; y is consumed. <paramref name="down"/> is x·Aᵀ, where it is there already.</summary>
    private static Tensor Adapted(this IOps ops, Tensor x, Tensor y, Linear linear, Tensor? down = null) =>
        linear.Adapter is { Owner.IsOn: true } adapter
            ? ops.Add(y, ops.MatMul(down ?? ops.MatMul(x, adapter.Down), adapter.Up), adapter.Scale)
            : y;

    /// <summary>The linear layer of that name, with the adapter's matrices for it where the weights carry an adapter.</summary>
    /// <param name="weights">Where the weights come from.</param>
    /// <param name="name">The module's name, without ".weight".</param>
    /// <param name="outputs">Rows of the weight.</param>
    /// <param name="inputs">Columns of the weight.</param>
    /// <param name="bias">Whether it adds a bias.</param>
    /// <param name="transposed">Whether files hold [inputs, outputs] (GPT-2's Conv1D).</param>
    public static Linear Linear(
        this WeightSource weights, string name, int outputs, int inputs, bool bias = false, bool transposed = false)
    {
        Weight weight = weights.Matrix($"{name}.weight", outputs, inputs, transposed);
        return new(weight, bias ? weights.Vector($"{name}.bias", outputs) : null, weights.AdapterOf(name, weight, transposed));
    }

    /// <summary>The layer from the last norm to the logits: its own weight, or that of the word embedding (tie_word_embeddings).</summary>
    internal static Linear Head(this WeightSource weights, string name, string embedding, ModelConfig config)
    {
        if (!config.TiedHead) return weights.Linear(name, config.Vocabulary, config.Width);
        Weight weight = weights.Matrix($"{embedding}.weight", config.Vocabulary, config.Width);
        return new(weight, null, weights.AdapterOf(name, weight));
    }

    private static LowRank? AdapterOf(this WeightSource weights, string name, Weight weight, bool transposed = false) =>
        weights.Store is AdaptedWeights adapted ? adapted.Adapter.For(weights.Prefix + name, weight, transposed, adapted.HasNumbers) : null;
}
