using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A device that computes nothing and hands out addresses without memory: how much memory a training pass would take on
/// <see cref="CpuOps"/>, known without taking it.</summary>
/// <remarks>
/// Each op takes and gives back what that of <see cref="CpuOps"/> does; <see cref="Tape"/> runs on it as on any device, so what is kept, freed
/// and computed again is counted and not estimated. A test holds the two together to the byte. What the meter hands out must not be read.
/// </remarks>
/// <param name="threads">Threads of the device it stands for: each has scratch of its own.</param>
public sealed class PassMeter(int threads) : ITrainingOps
{
    internal const nint FirstAddress = 1 << 20;
    private long _offset;

    /// <summary>The most bytes that were taken at a time.</summary>
    public long PeakBytes { get; private set; }

    /// <inheritdoc/>
    public void Begin() => _offset = 0;

    /// <inheritdoc/>
    public KvCache CreateCache(int layers, int width, int capacity, NumberFormat format = NumberFormat.F32) =>
        throw new NotSupportedException(
            Say("Training reads whole texts: it has no caches.", "学習ではテキスト全体を読むため、キャッシュはありません。"));

    /// <inheritdoc/>
    public Tensor Embed(Batch batch, Weight tokens, Weight? positions = null)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(tokens);
        return New(batch.Tokens.Length, tokens.Columns);
    }

    /// <inheritdoc/>
    public Tensor MatMul(Tensor x, Weight w, Weight? bias = null) => Multiply(x, w, bias);

    /// <inheritdoc/>
    public void MatMul(Tensor x, ReadOnlySpan<Factor> factors, Span<Tensor> products)
    {
        for (int i = 0; i < factors.Length; i++) products[i] = Multiply(x, factors[i].Weight, factors[i].Bias);
    }

    /// <inheritdoc/>
    public Tensor RmsNorm(Tensor x, Weight gain, float epsilon) => New(x.Rows, x.Columns);

    /// <inheritdoc/>
    public Tensor LayerNorm(Tensor x, Weight gain, Weight bias, float epsilon) => New(x.Rows, x.Columns);

    /// <inheritdoc/>
    public Tensor Rope(Tensor x, Batch batch, RopeShape shape) => x;

    /// <inheritdoc/>
    public Tensor Attention(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, int layer) => Attend(q, k, v, heads, batch, default, out _);

    /// <inheritdoc/>
    public Tensor SwiGlu(Tensor gate, Tensor up) => gate;

    /// <inheritdoc/>
    public Tensor Gelu(Tensor x, GeluForm form) => x;

    /// <inheritdoc/>
    public Tensor Add(Tensor x, Tensor y, float scale = 1) => x;

    /// <inheritdoc/>
    public Tensor TakeRows(Tensor x, int[] rows)
    {
        ArgumentNullException.ThrowIfNull(rows);
        return New(rows.Length, x.Columns);
    }

    /// <inheritdoc/>
    public Tensor Run(IBlock block, Tensor x, Batch batch)
    {
        ArgumentNullException.ThrowIfNull(block);
        long mark = _offset;
        Tensor y = block.Forward(this, x, batch);
        _offset = mark;
        return y.Address - FirstAddress < mark ? y : New(y.Rows, y.Columns);
    }

    /// <summary>There is nothing to read.</summary>
    public ReadOnlySpan<float> Read(Tensor x) => throw new NotSupportedException(
        Say("A meter computes no numbers.", "計測用のデバイスは数値を計算しません。"));

    /// <inheritdoc/>
    public Tensor New(int rows, int columns) => new((nint)(FirstAddress + Take((long)rows * columns * sizeof(float))), rows, columns);

    /// <inheritdoc/>
    public void Clear(Tensor x)
    {
    }

    /// <inheritdoc/>
    public void Scale(Tensor target, Tensor x, float scale)
    {
    }

    /// <inheritdoc/>
    public void AddTo(Tensor target, Tensor x, Tensor y, float scale = 1)
    {
    }

    /// <inheritdoc/>
    public void SwiGluTo(Tensor target, Tensor gate, Tensor up)
    {
    }

    /// <inheritdoc/>
    public void GeluTo(Tensor target, Tensor x, GeluForm form)
    {
    }

    /// <inheritdoc/>
    public void DropoutTo(Tensor target, Tensor x, Dropout dropout)
    {
    }

    /// <inheritdoc/>
    public Tensor Multiply(Tensor x, Weight w, Weight? bias = null)
    {
        ArgumentNullException.ThrowIfNull(w);
        Tensor y = New(x.Rows, w.Rows);
        long mark = _offset;
        Widen(w);
        Product(y, x.Columns);
        _offset = mark;
        return y;
    }

    /// <inheritdoc/>
    public void MultiplyBackward(Tensor x, Weight w, Tensor dy, Tensor? dx, bool adds, Tensor? dw, Tensor? db)
    {
        ArgumentNullException.ThrowIfNull(w);
        long mark = _offset;
        if (dx is { } inputs)
        {
            Widen(w);
            Product(inputs, w.Rows);
        }
        if (dw is { } weights) Product(weights, x.Rows);
        if (db is not null) _ = Take((long)Blocks(dy.Rows) * dy.Columns * sizeof(float));
        _offset = mark;
    }

    /// <inheritdoc/>
    public void EmbedBackward(Batch batch, Tensor dy, Tensor? tokens, Tensor? positions)
    {
    }

    /// <inheritdoc/>
    public void RmsNormBackward(Tensor x, Weight gain, float epsilon, Tensor dy, Tensor? dx, bool adds, Tensor? dgain) => Norm(x, dgain, null);

    /// <inheritdoc/>
    public void LayerNormBackward(Tensor x, Weight gain, float epsilon, Tensor dy, Tensor? dx, bool adds, Tensor? dgain, Tensor? dbias) =>
        Norm(x, dgain, dbias);

    /// <inheritdoc/>
    public Tensor RopeBackward(Tensor dy, Batch batch, RopeShape shape) => dy;

    /// <inheritdoc/>
    public Tensor Attend(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, Dropout dropout, out Tensor logSums)
    {
        logSums = New(q.Rows, heads.Query);
        Tensor y = New(q.Rows, q.Columns);
        Attention(heads, batch);
        return y;
    }

    /// <inheritdoc/>
    public void AttendBackward(
        Tensor q, Tensor k, Tensor v, Tensor logSums, Tensor dy, Heads heads, Batch batch, Dropout dropout,
        Tensor dq, Tensor dk, Tensor dv) => Attention(heads, batch);

    /// <inheritdoc/>
    public void SwiGluBackward(Tensor gate, Tensor up, Tensor dy, Tensor dgate, Tensor dup)
    {
    }

    /// <inheritdoc/>
    public void GeluBackward(Tensor x, GeluForm form, Tensor dy, Tensor dx)
    {
    }

    /// <inheritdoc/>
    public void TakeRowsBackward(Tensor dy, int[] rows, Tensor dx)
    {
    }

    /// <summary>Losses of 0.</summary>
    public void CrossEntropy(Tensor logits, ReadOnlySpan<int> targets, ReadOnlySpan<float> weights, LossForm form, Span<RowLoss> losses) => losses.Clear();

    /// <summary>0.</summary>
    public double SumOfSquares(nint numbers, long count) => 0;

    /// <inheritdoc/>
    public void AdamW(nint values, nint gradients, nint means, nint squares, long count, in AdamWStep step)
    {
    }

    /// <summary>There is nothing to give back.</summary>
    public void Dispose()
    {
    }

    private static int Blocks(int rows) => (rows + NormBackward.BlockRows - 1) / NormBackward.BlockRows;

    private void Norm(Tensor x, Tensor? dgain, Tensor? dbias)
    {
        long mark = _offset, sums = (long)Blocks(x.Rows) * x.Columns * sizeof(float);
        if (dgain is not null) _ = Take(sums);
        if (dbias is not null) _ = Take(sums);
        _offset = mark;
    }

    private void Widen(Weight w)
    {
        if (w.Format != NumberFormat.F32) _ = Take((long)w.Rows * w.Columns * sizeof(float));
    }

    private void Product(Tensor c, int inner)
    {
        if (c.Count == 0) return;
        long mark = _offset;
        _ = Take(MatrixProduct.ScratchBytes * threads);
        _ = Take(MatrixProduct.PackedNumbers(new MatrixProduct.Job { K = inner, N = c.Columns }) * sizeof(float));
        _offset = mark;
    }

    private void Attention(Heads heads, Batch batch)
    {
        long mark = _offset;
        _ = Take(batch.Sequences.Length * 2L * sizeof(int));
        _ = Take(TrainingAttention.ScratchBytes(batch.Sequences.Max(sequence => sequence.Count), heads.Size) * threads);
        _offset = mark;
    }

    private long Take(long bytes)
    {
        long taken = _offset;
        _offset += checked(bytes + Arena.Alignment - 1) & ~(long)(Arena.Alignment - 1);
        PeakBytes = Math.Max(PeakBytes, _offset);
        return taken;
    }
}
