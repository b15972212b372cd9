using Fude.Tensors;

namespace Fude.Models.Tests;

/// <summary>A device that keeps what its inner device computed, so that tests see hidden states which a family does not show.</summary>
internal sealed class RecordingOps(IOps inner) : IOps
{
    public float[] Embedded { get; private set; } = [];

    /// <summary>The residual stream after each block.</summary>
    public List<float[]> Blocks { get; } = [];

    /// <summary>What the last norm gave: the final one, once a pass is over.</summary>
    public float[] LastNorm { get; private set; } = [];

    /// <summary>Arguments of each block's attention.</summary>
    public List<(float[] Query, float[] Key, float[] Value, Heads Heads)> Attentions { get; } = [];

    /// <summary>The weights of single products, in their order.</summary>
    public List<Weight> Products { get; } = [];

    public void Begin()
    {
        Products.Clear();
        Blocks.Clear();
        Attentions.Clear();
        inner.Begin();
    }

    public KvCache CreateCache(int layers, int width, int capacity, NumberFormat format = NumberFormat.F32) =>
        inner.CreateCache(layers, width, capacity, format);

    public Tensor Embed(Batch batch, Weight tokens, Weight? positions = null)
    {
        Tensor x = inner.Embed(batch, tokens, positions);
        Embedded = Read(x).ToArray();
        return x;
    }

    public Tensor MatMul(Tensor x, Weight w, Weight? bias = null)
    {
        Products.Add(w);
        return inner.MatMul(x, w, bias);
    }

    public void MatMul(Tensor x, ReadOnlySpan<Factor> factors, Span<Tensor> products) => inner.MatMul(x, factors, products);

    public Tensor RmsNorm(Tensor x, Weight gain, float epsilon) => Normed(inner.RmsNorm(x, gain, epsilon));

    public Tensor LayerNorm(Tensor x, Weight gain, Weight bias, float epsilon) => Normed(inner.LayerNorm(x, gain, bias, epsilon));

    public Tensor Rope(Tensor x, Batch batch, RopeShape shape) => inner.Rope(x, batch, shape);

    public Tensor Attention(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, int layer)
    {
        Attentions.Add((Read(q).ToArray(), Read(k).ToArray(), Read(v).ToArray(), heads));
        return inner.Attention(q, k, v, heads, batch, layer);
    }

    public Tensor SwiGlu(Tensor gate, Tensor up) => inner.SwiGlu(gate, up);

    public Tensor Gelu(Tensor x, GeluForm form) => inner.Gelu(x, form);

    public Tensor Add(Tensor x, Tensor y, float scale = 1) => inner.Add(x, y, scale);

    public Tensor TakeRows(Tensor x, int[] rows) => inner.TakeRows(x, rows);

    public Tensor Run(IBlock block, Tensor x, Batch batch)
    {
        Tensor y = inner.Run(new RecordedBlock(block, this), x, batch);
        Blocks.Add(Read(y).ToArray());
        return y;
    }

    public ReadOnlySpan<float> Read(Tensor x) => inner.Read(x);

    public void Dispose() => inner.Dispose();

    private Tensor Normed(Tensor y)
    {
        LastNorm = Read(y).ToArray();
        return y;
    }

    // Inside a block, too, every operation is to pass by here.
    private sealed class RecordedBlock(IBlock block, RecordingOps ops) : IBlock
    {
        public Tensor Forward(IOps inner, Tensor x, Batch batch) => block.Forward(ops, x, batch);
    }
}
