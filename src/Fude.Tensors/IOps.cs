namespace Fude.Tensors;

/// <summary>A part of a model whose temporaries are freed, or later recomputed, together: one transformer layer.</summary>
public interface IBlock
{
    /// <summary>Adds the block's contribution to the residual stream.</summary>
    /// <param name="ops">The device.</param>
    /// <param name="x">[tokens, width], the residual stream; consumed.</param>
    /// <param name="batch">The tokens.</param>
    /// <returns>[tokens, width], the residual stream after the block.</returns>
    Tensor Forward(IOps ops, Tensor x, Batch batch);
}

/// <summary>The form of the Gaussian error linear unit.</summary>
public enum GeluForm
{
    /// <summary>x·Φ(x) with the error function: "gelu".</summary>
    Erf,

    /// <summary>½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))): "gelu_new", "gelu_fast", "gelu_pytorch_tanh".</summary>
    Tanh,
}

/// <summary>What a product multiplies x by, and adds to it: x·Wᵀ + b.</summary>
/// <param name="Weight">[out, in] in any number format.</param>
/// <param name="Bias">[out], or null.</param>
public readonly record struct Factor(Weight Weight, Weight? Bias = null);

/// <summary>
/// The closed set of operations every model family is written in. Calling one computes it (CPU) or enqueues it (GPU): there is no graph.
/// </summary>
/// <remarks>
/// Every row of a result depends on its own row (attention: on its own sequence) alone and is summed in one fixed order, whatever else
/// is in the batch and however many threads there are. An op whose remarks say that it consumes an argument may write the result over it.
/// </remarks>
public interface IOps : IDisposable
{
    /// <summary>Starts a forward pass: frees every tensor made before.</summary>
    void Begin();

    /// <summary>An empty cache of keys and values in this device's memory.</summary>
    /// <param name="layers">Layers of the model.</param>
    /// <param name="width">Numbers in a key, all heads together; a value has as many.</param>
    /// <param name="capacity">Positions it can hold at most. Memory is taken as it fills.</param>
    /// <param name="format">How numbers are kept: F32, F16, BF16 or Q8_0. Anything but F32 rounds them, and so changes results a little.</param>
    /// <exception cref="NotSupportedException">Another format.</exception>
    KvCache CreateCache(int layers, int width, int capacity, NumberFormat format = NumberFormat.F32);

    /// <summary>The embedding of each token, plus that of its position where the family learns positions.</summary>
    /// <param name="batch">The tokens.</param>
    /// <param name="tokens">[vocabulary, width].</param>
    /// <param name="positions">[context, width], or null.</param>
    /// <returns>[tokens, width].</returns>
    Tensor Embed(Batch batch, Weight tokens, Weight? positions = null);

    /// <summary>y = x·Wᵀ + b.</summary>
    /// <param name="x">[tokens, in]; left as it was.</param>
    /// <param name="w">[out, in] in any number format.</param>
    /// <param name="bias">[out], or null.</param>
    /// <returns>[tokens, out].</returns>
    Tensor MatMul(Tensor x, Weight w, Weight? bias = null);

    /// <summary>yᵢ = x·Wᵢᵀ + bᵢ for several weights that read the same x: queries, keys and values; gate and up.</summary>
    /// <param name="x">[tokens, in]; left as it was.</param>
    /// <param name="factors">Each [out, in], in number formats and with outputs of their own.</param>
    /// <param name="products">As many as there are factors; receives a [tokens, out] for each.</param>
    /// <remarks>The numbers are those of one <see cref="MatMul(Tensor, Weight, Weight?)"/> after the other; x is prepared once, and no
    /// thread waits between two products.</remarks>
    void MatMul(Tensor x, ReadOnlySpan<Factor> factors, Span<Tensor> products);

    /// <summary>Scales each row to unit root mean square: yᵢ = gᵢ · xᵢ / √(mean(x²) + ε).</summary>
    /// <param name="x">[tokens, width]; left as it was.</param>
    /// <param name="gain">[width], g.</param>
    /// <param name="epsilon">ε &gt; 0, added to the mean square.</param>
    /// <returns>[tokens, width].</returns>
    /// <remarks>Zhang and Sennrich, 2019, arXiv:1910.07467, eq. 4.</remarks>
    Tensor RmsNorm(Tensor x, Weight gain, float epsilon);

    /// <summary>Scales each row to mean 0 and variance 1: yᵢ = gᵢ · (xᵢ − mean(x)) / √(var(x) + ε) + bᵢ.</summary>
    /// <param name="x">[tokens, width]; left as it was.</param>
    /// <param name="gain">[width], g.</param>
    /// <param name="bias">[width], b.</param>
    /// <param name="epsilon">ε &gt; 0, added to the (biased) variance.</param>
    /// <returns>[tokens, width].</returns>
    /// <remarks>Ba, Kiros and Hinton, 2016, arXiv:1607.06450.</remarks>
    Tensor LayerNorm(Tensor x, Weight gain, Weight bias, float epsilon);

    /// <summary>Rotates the first <see cref="RopeShape.Dimensions"/> numbers of every head by angles that grow with the token's position.</summary>
    /// <param name="x">[tokens, heads · head size]; consumed.</param>
    /// <param name="batch">The tokens and their positions.</param>
    /// <param name="shape">Head size, rotated dimensions, frequencies.</param>
    /// <returns>[tokens, heads · head size].</returns>
    /// <remarks>Su et al., 2021, arXiv:2104.09864, in the half-rotation layout of Hugging Face checkpoints: dimension i turns with
    /// dimension i + Dimensions/2.</remarks>
    Tensor Rope(Tensor x, Batch batch, RopeShape shape);

    /// <summary>Causal attention of every token to its own sequence: softmax(scale·q·kᵀ)·v, head by head.</summary>
    /// <param name="q">[tokens, query heads · size]; left as it was.</param>
    /// <param name="k">[tokens, key heads · size]; appended to the sequence's cache when it has one.</param>
    /// <param name="v">[tokens, key heads · size]; likewise.</param>
    /// <param name="heads">How columns divide into heads, scale and window.</param>
    /// <param name="batch">The sequences.</param>
    /// <param name="layer">Which layer of the caches is meant.</param>
    /// <returns>[tokens, query heads · size].</returns>
    /// <remarks>A token of a cached sequence is key number <see cref="KvCache.Length"/> + its place in the sequence; what was cached
    /// counts as keys 0 … Length−1. Keys are walked in blocks at fixed absolute places, so a prompt read in chunks gives the bits of one
    /// read whole.</remarks>
    Tensor Attention(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, int layer);

    /// <summary>The gated unit of Llama's feed-forward layer: silu(gate) · up, silu(x) = x / (1 + e⁻ˣ).</summary>
    /// <param name="gate">[tokens, hidden]; consumed.</param>
    /// <param name="up">[tokens, hidden]; left as it was.</param>
    /// <returns>[tokens, hidden].</returns>
    /// <remarks>Shazeer, 2020, arXiv:2002.05202.</remarks>
    Tensor SwiGlu(Tensor gate, Tensor up);

    /// <summary>The Gaussian error linear unit, number by number.</summary>
    /// <param name="x">[tokens, hidden]; consumed.</param>
    /// <param name="form">With the error function or its tanh approximation.</param>
    /// <returns>[tokens, hidden].</returns>
    /// <remarks>Hendrycks and Gimpel, 2016, arXiv:1606.08415.</remarks>
    Tensor Gelu(Tensor x, GeluForm form);

    /// <summary>x + scale·y.</summary>
    /// <param name="x">[tokens, width]; consumed.</param>
    /// <param name="y">[tokens, width]; left as it was.</param>
    /// <param name="scale">1 for a residual stream, α/r for a low-rank adapter.</param>
    /// <returns>[tokens, width].</returns>
    Tensor Add(Tensor x, Tensor y, float scale = 1);

    /// <summary>The rows that are asked for, in that order.</summary>
    /// <param name="x">[tokens, width]; left as it was.</param>
    /// <param name="rows">Indices of rows.</param>
    /// <returns>[rows, width].</returns>
    Tensor TakeRows(Tensor x, int[] rows);

    /// <summary>Runs a block and frees every tensor it made except its result.</summary>
    /// <param name="block">The block.</param>
    /// <param name="x">[tokens, width], the residual stream; consumed.</param>
    /// <param name="batch">The tokens.</param>
    /// <returns>[tokens, width].</returns>
    Tensor Run(IBlock block, Tensor x, Batch batch);

    /// <summary>The numbers of a tensor, row after row; waits for the device where it computes behind the caller's back.</summary>
    /// <param name="x">A tensor of this device.</param>
    /// <returns>Valid as long as the tensor is.</returns>
    /// <exception cref="OverflowException">It has more numbers than a span can hold.</exception>
    ReadOnlySpan<float> Read(Tensor x);
}
