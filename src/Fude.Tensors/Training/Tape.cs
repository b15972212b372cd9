namespace Fude.Tensors;

/// <summary>Which numbers are dropped while training, none at first; in brackets what configurations of models call them.</summary>
/// <param name="Embedding">Of what <see cref="IOps.Embed"/> gives (embd_pdrop).</param>
/// <param name="Attention">Of the weights after the softmax (attn_pdrop, attention_dropout).</param>
/// <param name="Residual">Of what is added to the residual stream in a block (resid_pdrop).</param>
/// <param name="Adapter">Of the inputs of low-rank adapters (lora_dropout).</param>
public sealed record DropoutRates(float Embedding = 0, float Attention = 0, float Residual = 0, float Adapter = 0);

/// <summary>The op set that remembers: a forward pass on it can be walked back to the gradients of the trained weights.</summary>
/// <remarks>
/// It wraps a device and records a closure for each op; that is all of automatic differentiation here. What no trained weight had a part in
/// is neither recorded nor differentiated, so a frozen base costs only the way through it. Ops that may consume an argument do so
/// only when nothing else needs it. A gradient is found by the address of its tensor; one that reaches several arguments unchanged
/// (<see cref="Add"/>) is shared and counted, and copied only when one of them is added to. <see cref="Run"/> is the boundary of recomputation:
/// with <see cref="Recomputes"/> a block keeps its input alone and is computed again in the backward pass (activation checkpointing), which
/// gives the same bits for less memory and a third more work. Not thread-safe: one pass at a time. The device belongs to its owner and is not disposed here.
/// </remarks>
public sealed class Tape(ITrainingOps device, Gradients gradients) : IOps
{
    // Logits are computed and forgotten so many bytes at a time; a piece is a multiple of the pieces that sums over rows are taken in, so
    // that their bits do not depend on it.
    private const long PieceBytes = 64L << 20;

    private readonly Dictionary<nint, GradientSlot> _gradientOf = [];
    private readonly HashSet<nint> _tracked = [];

    // Results that no op has read yet: these may be overwritten.
    private readonly HashSet<nint> _unread = [];
    private readonly Dictionary<nint, Tensor> _computed = [];
    private HashSet<nint> _droppedInputs = [];
    private List<Action> _steps = [];
    private (Tensor Handle, Tensor X, Weight Weight, Weight? Bias)? _postponed;
    private nint _residualStream;
    private bool _skipsRecording;
    private int _blocks, _block, _draws;

    /// <summary>A gradient, and how many tensors it is at the same time the gradient of.</summary>
    private sealed class GradientSlot(Tensor tensor)
    {
        public Tensor Tensor { get; } = tensor;

        public int References { get; set; } = 1;
    }

    private sealed class DelegateBlock(Func<Tensor> work) : IBlock
    {
        public Tensor Forward(IOps ops, Tensor x, Batch batch) => work();
    }

    /// <summary>The device that computes.</summary>
    public ITrainingOps Device => device;

    /// <summary>Where the gradients of weights are added to.</summary>
    public Gradients Gradients => gradients;

    /// <summary>Whether a pass is recorded; false for evaluation, which then keeps nothing and drops nothing.</summary>
    public bool IsRecording { get; set; } = true;

    /// <summary>Whether blocks are recomputed in the backward pass instead of being kept (activation checkpointing).</summary>
    public bool Recomputes { get; set; }

    /// <summary>What is dropped from a recorded pass.</summary>
    public DropoutRates Rates { get; set; } = new();

    /// <summary>Chooses what is dropped: to be another one in each pass.</summary>
    public ulong Seed { get; set; }

    /// <summary>Names the weights whose inputs <see cref="DropoutRates.Adapter"/> is about: the A of low-rank adapters.</summary>
    public void DropInputsOf(IEnumerable<Weight> weights) => _droppedInputs = [.. weights.Select(weight => weight.Address)];

    /// <inheritdoc/>
    public void Begin()
    {
        device.Begin();
        Forget();
    }

    /// <inheritdoc/>
    public KvCache CreateCache(int layers, int width, int capacity, NumberFormat format = NumberFormat.F32) =>
        device.CreateCache(layers, width, capacity, format);

    /// <inheritdoc/>
    public Tensor Embed(Batch batch, Weight tokens, Weight? positions = null)
    {
        Tensor y = device.Embed(batch, tokens, positions);
        Tensor? dtokens = gradients.Of(tokens), dpositions = positions is null ? null : gradients.Of(positions);
        Record(y, dtokens is not null || dpositions is not null, () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            device.EmbedBackward(batch, dy.Tensor, dtokens, dpositions);
            dy.References--;
        });
        return Dropped(y, Rates.Embedding, mayOverwrite: true);
    }

    /// <inheritdoc/>
    public Tensor MatMul(Tensor x, Weight w, Weight? bias = null)
    {
        ArgumentNullException.ThrowIfNull(w);
        x = Keep(x);
        if (_droppedInputs.Contains(w.Address)) x = Dropped(x, Rates.Adapter, mayOverwrite: false);
        long bytes = (long)x.Rows * w.Rows * sizeof(float);
        if (_block == 0 && bytes > PostponeAboveBytes && w.Columns == x.Columns && _postponed is null)
        {
            // The logits of many rows: perhaps only their loss is wanted.
            Tensor handle = device.New(1, 1) with { Rows = x.Rows, Columns = w.Rows };
            _postponed = (handle, x, w, bias);
            return handle;
        }
        return Multiply(x, w, bias);
    }

    /// <inheritdoc/>
    public void MatMul(Tensor x, ReadOnlySpan<Factor> factors, Span<Tensor> products)
    {
        if (products.Length != factors.Length)
            throw new ArgumentException($"There are {products.Length} places for {factors.Length} products.", nameof(products));
        for (int i = 0; i < factors.Length; i++) products[i] = MatMul(x, factors[i].Weight, factors[i].Bias);
    }

    /// <inheritdoc/>
    public Tensor RmsNorm(Tensor x, Weight gain, float epsilon)
    {
        x = Keep(x);
        Tensor y = device.RmsNorm(x, gain, epsilon);
        Tensor? dgain = gradients.Of(gain);
        Record(y, IsTracked(x) || dgain is not null, () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            (Tensor? dx, bool adds) = GradientTarget(x);
            device.RmsNormBackward(x, gain, epsilon, dy.Tensor, dx, adds, dgain);
            dy.References--;
        });
        return y;
    }

    /// <inheritdoc/>
    public Tensor LayerNorm(Tensor x, Weight gain, Weight bias, float epsilon)
    {
        x = Keep(x);
        Tensor y = device.LayerNorm(x, gain, bias, epsilon);
        Tensor? dgain = gradients.Of(gain), dbias = gradients.Of(bias);
        Record(y, IsTracked(x) || dgain is not null || dbias is not null, () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            (Tensor? dx, bool adds) = GradientTarget(x);
            device.LayerNormBackward(x, gain, epsilon, dy.Tensor, dx, adds, dgain, dbias);
            dy.References--;
        });
        return y;
    }

    /// <inheritdoc/>
    public Tensor Rope(Tensor x, Batch batch, RopeShape shape)
    {
        x = Overwritable(x);
        Tensor y = device.Rope(x, batch, shape);
        Record(y, IsTracked(x), () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            AddGradient(x, device.RopeBackward(Unshared(dy), batch, shape));
        });
        return y;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A sequence has a cache: training reads whole texts.</exception>
    public Tensor Attention(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, int layer)
    {
        (q, k, v) = (Keep(q), Keep(k), Keep(v));
        Dropout dropout = Draw(Rates.Attention);
        Tensor y = device.Attend(q, k, v, heads, batch, dropout, out Tensor logSums);
        Record(y, IsTracked(q) || IsTracked(k) || IsTracked(v), () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            Tensor dq = Like(q), dk = Like(k), dv = Like(v);
            device.AttendBackward(q, k, v, logSums, dy.Tensor, heads, batch, dropout, dq, dk, dv);
            dy.References--;
            AddGradient(q, dq);
            AddGradient(k, dk);
            AddGradient(v, dv);
        });
        return y;
    }

    /// <inheritdoc/>
    public Tensor SwiGlu(Tensor gate, Tensor up)
    {
        (gate, up) = (Keep(gate), Keep(up));
        Tensor y = Like(gate);
        device.SwiGluTo(y, gate, up);
        Record(y, IsTracked(gate) || IsTracked(up), () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            Tensor dgate = Like(gate), dup = Like(up);
            device.SwiGluBackward(gate, up, dy.Tensor, dgate, dup);
            dy.References--;
            AddGradient(gate, dgate);
            AddGradient(up, dup);
        });
        return y;
    }

    /// <inheritdoc/>
    public Tensor Gelu(Tensor x, GeluForm form)
    {
        x = Keep(x);
        Tensor y = Like(x);
        device.GeluTo(y, x, form);
        Record(y, IsTracked(x), () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            Tensor dx = Unshared(dy);
            device.GeluBackward(x, form, dx, dx);
            AddGradient(x, dx);
        });
        return y;
    }

    /// <inheritdoc/>
    public Tensor Add(Tensor x, Tensor y, float scale = 1)
    {
        bool isStream = _block != 0 && x.Address == _residualStream, mayOverwrite = _unread.Contains(x.Address), isUnread = _unread.Contains(y.Address);
        (x, y) = (Keep(x), Keep(y));
        if (isStream) y = Dropped(y, Rates.Residual, isUnread);
        Tensor z = x;
        if (mayOverwrite) z = device.Add(x, y, scale);
        else device.AddTo(z = Like(x), x, y, scale);
        if (isStream) _residualStream = z.Address;
        bool trackedX = IsTracked(x), trackedY = IsTracked(y);
        Record(z, trackedX || trackedY, () =>
        {
            if (TakeGradient(z) is not { } dz) return;
            if (trackedY)
            {
                if (scale == 1)
                {
                    AddSharedGradient(y, dz);
                }
                else
                {
                    Tensor dy = Like(y);
                    device.Scale(dy, dz.Tensor, scale);
                    AddGradient(y, dy);
                }
            }
            if (trackedX) AddSharedGradient(x, dz);
            dz.References--;
        });
        return z;
    }

    /// <inheritdoc/>
    public Tensor TakeRows(Tensor x, int[] rows)
    {
        x = Keep(x);
        Tensor y = device.TakeRows(x, rows);
        Record(y, IsTracked(x), () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            (Tensor? dx, bool adds) = GradientTarget(x);
            if (!adds) device.Clear(dx!.Value);
            device.TakeRowsBackward(dy.Tensor, rows, dx!.Value);
            dy.References--;
        });
        return y;
    }

    /// <inheritdoc/>
    public Tensor Run(IBlock block, Tensor x, Batch batch)
    {
        ArgumentNullException.ThrowIfNull(block);
        x = Keep(x);
        int number = ++_blocks;
        if (IsRecording && !_skipsRecording && !Recomputes)
        {
            List<Action> steps = [];
            Tensor result = RunBlock(number, steps, block, x, batch);
            _steps.Add(() => BackwardOfBlock(x, result, batch, () => RunBackward(steps)));
            return result;
        }
        bool isTracked = false, wasSilent = _skipsRecording;
        Tensor y = device.Run(new DelegateBlock(() =>
        {
            _skipsRecording = true;
            try
            {
                Tensor made = RunBlock(number, [], block, x, batch);
                isTracked = IsTracked(made);
                return made;
            }
            finally
            {
                _skipsRecording = wasSilent;
            }
        }), x, batch);
        Track(y, isTracked);
        if (!IsRecording || _skipsRecording || !isTracked) return y;
        _steps.Add(() => BackwardOfBlock(x, y, batch, () =>
        {
            GradientSlot dy = TakeGradient(y)!;
            List<Action> steps = [];
            Tensor again = RunBlock(number, steps, block, x, batch);
            _gradientOf[again.Address] = dy;
            RunBackward(steps);
        }));
        return y;
    }

    /// <inheritdoc/>
    public ReadOnlySpan<float> Read(Tensor x) => device.Read(Keep(x));

    /// <summary>Log-probabilities of the targets, without a gradient. The logits stay what they were.</summary>
    /// <param name="logits">[rows, vocabulary], from this pass.</param>
    /// <param name="targets">The token expected of each row.</param>
    /// <exception cref="ArgumentException">There are not as many targets as rows, or one is not in the vocabulary.</exception>
    public RowLoss[] Score(Tensor logits, ReadOnlySpan<int> targets)
    {
        RowLoss[] losses = new RowLoss[logits.Rows];
        _ = Loss(logits, targets, [], default, losses);
        return losses;
    }

    /// <summary>Σ weight·loss over rows of logits, and the beginning of the backward pass.</summary>
    /// <param name="logits">[rows, vocabulary], from this pass; not to be used again.</param>
    /// <param name="targets">The token expected of each row.</param>
    /// <param name="weights">What the loss of each row counts: 1 / rows for their mean, 0 for a masked one.</param>
    /// <param name="form">Label smoothing and z-loss.</param>
    /// <param name="losses">[rows], receives the loss of each row; or empty.</param>
    /// <returns>The sum, in nats.</returns>
    /// <exception cref="ArgumentException">There are not as many targets, weights or losses as rows, or a target is not in the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">The pass is not recorded, or no trained weight had a part in the logits.</exception>
    public double CrossEntropy(
        Tensor logits, ReadOnlySpan<int> targets, ReadOnlySpan<float> weights, LossForm form = default, Span<RowLoss> losses = default)
    {
        if (!IsRecording) throw new InvalidOperationException("The pass is not recorded, so its loss has no gradient: use Score.");
        if (weights.Length != logits.Rows)
            throw new ArgumentException($"There are {weights.Length} weights for {logits.Rows} rows of logits.", nameof(weights));
        return Loss(logits, targets, weights, form, losses.IsEmpty ? new RowLoss[logits.Rows] : losses);
    }

    /// <summary>Walks the pass back: adds to <see cref="Gradients"/> what the losses since <see cref="Begin"/> have there.</summary>
    public void Backward()
    {
        if (_postponed is not null) throw new InvalidOperationException("There is no loss to walk back from: call CrossEntropy first.");
        RunBackward(_steps);
        Forget();
    }

    /// <summary>The device is its owner's to dispose.</summary>
    public void Dispose() => Forget();

    /// <summary>Products outside blocks that are larger are put off until it is known what they are for.</summary>
    internal long PostponeAboveBytes { get; set; } = 16L << 20;

    /// <summary>Rows of logits that exist at a time.</summary>
    private int PieceRows(int columns) =>
        (int)Math.Max(1, Math.Min(PostponeAboveBytes * 4, PieceBytes) / ((long)columns * sizeof(float) * MatrixProduct.Piece)) * MatrixProduct.Piece;

    private double Loss(Tensor logits, ReadOnlySpan<int> targets, ReadOnlySpan<float> weights, LossForm form, Span<RowLoss> losses)
    {
        if (targets.Length != logits.Rows)
            throw new ArgumentException($"There are {targets.Length} targets for {logits.Rows} rows of logits.", nameof(targets));
        bool hasGradient = !weights.IsEmpty;
        if (_postponed is { } postponed && postponed.Handle.Address == logits.Address)
        {
            (_, Tensor x, Weight w, Weight? bias) = postponed;
            Tensor? dw = hasGradient ? gradients.Of(w) : null, db = hasGradient && bias is not null ? gradients.Of(bias) : null;
            (Tensor? dx, bool adds) = hasGradient ? GradientTarget(x) : default;
            if (hasGradient && dx is null && dw is null && db is null) throw Untracked();
            Batch none = new([], [], [], []);
            int rows = PieceRows(w.Rows);
            for (int first = 0; first < x.Rows; first += rows)
            {
                int count = Math.Min(rows, x.Rows - first), begin = first;
                // Spans cannot be captured: the piece's numbers go through arrays.
                int[] pieceTargets = targets.Slice(first, count).ToArray();
                float[] pieceWeights = hasGradient ? weights.Slice(first, count).ToArray() : [];
                RowLoss[] pieceLosses = new RowLoss[count];
                _ = device.Run(new DelegateBlock(() =>
                {
                    Tensor inputs = Rows(x, begin, count), piece = device.Multiply(inputs, w, bias);
                    device.CrossEntropy(piece, pieceTargets, pieceWeights, form, pieceLosses);
                    if (hasGradient)
                        device.MultiplyBackward(inputs, w, piece, dx is { } whole ? Rows(whole, begin, count) : null, adds, dw, db);
                    return x;
                }), x, none);
                pieceLosses.CopyTo(losses[first..]);
            }
            if (hasGradient) _postponed = null;
        }
        else
        {
            logits = Keep(logits);
            if (hasGradient)
            {
                if (!IsTracked(logits)) throw Untracked();
                device.CrossEntropy(logits, targets, weights, form, losses);
                AddGradient(logits, logits);
            }
            else
            {
                Tensor copy = Like(logits);
                device.Scale(copy, logits, 1);
                device.CrossEntropy(copy, targets, [], form, losses);
            }
        }
        double sum = 0;
        for (int i = 0; i < weights.Length; i++) if (weights[i] != 0) sum += weights[i] * losses[i].Loss;
        return sum;
    }

    private static InvalidOperationException Untracked() => new("No trained weight had a part in the logits: there is nothing to learn.");

    private static Tensor Rows(Tensor x, int first, int count) =>
        new(x.Address + (nint)((long)first * x.Columns * sizeof(float)), count, x.Columns);

    private Tensor Multiply(Tensor x, Weight w, Weight? bias)
    {
        Tensor y = device.Multiply(x, w, bias);
        Tensor? dw = gradients.Of(w), db = bias is null ? null : gradients.Of(bias);
        Record(y, IsTracked(x) || dw is not null || db is not null, () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            (Tensor? dx, bool adds) = GradientTarget(x);
            device.MultiplyBackward(x, w, dy.Tensor, dx, adds, dw, db);
            dy.References--;
        });
        return y;
    }

    /// <summary>Runs a block that has a number, with the steps of its own it records and the random numbers of its own it drops by.</summary>
    private Tensor RunBlock(int number, List<Action> steps, IBlock block, Tensor x, Batch batch)
    {
        (List<Action> outerSteps, int outerBlock, int outerDraws, nint outerStream) = (_steps, _block, _draws, _residualStream);
        (_steps, _block, _draws, _residualStream) = (steps, number, 0, x.Address);
        try
        {
            return block.Forward(this, x, batch);
        }
        finally
        {
            (_steps, _block, _draws, _residualStream) = (outerSteps, outerBlock, outerDraws, outerStream);
        }
    }

    /// <summary>Walks a block back and frees what that took, except the gradient of the block's input.</summary>
    private void BackwardOfBlock(Tensor x, Tensor y, Batch batch, Action walk)
    {
        if (!_gradientOf.ContainsKey(y.Address)) return;
        GradientSlot? dx = null;
        Tensor kept = device.Run(new DelegateBlock(() =>
        {
            walk();
            dx = TakeGradient(x);
            return dx?.Tensor ?? x;
        }), x, batch);
        if (dx is not null) _gradientOf[x.Address] = new GradientSlot(kept);
    }

    private static void RunBackward(List<Action> steps)
    {
        for (int i = steps.Count - 1; i >= 0; i--) steps[i]();
    }

    /// <summary>Notes a result, and how its gradient goes back to what it was made of.</summary>
    private void Record(Tensor y, bool isTracked, Action back)
    {
        Track(y, isTracked);
        _ = _unread.Add(y.Address);
        if (isTracked && IsRecording && !_skipsRecording) _steps.Add(back);
    }

    private void Track(Tensor y, bool isTracked)
    {
        if (isTracked) _ = _tracked.Add(y.Address);
        else _ = _tracked.Remove(y.Address);
    }

    private bool IsTracked(Tensor x) => _tracked.Contains(x.Address);

    /// <summary>An argument that is read, and that the backward pass may need: from now on it stays as it is.</summary>
    private Tensor Keep(Tensor x)
    {
        x = Materialize(x);
        _ = _unread.Remove(x.Address);
        return x;
    }

    /// <summary>An argument that may be overwritten: itself, or a copy where something else needs it.</summary>
    private Tensor Overwritable(Tensor x)
    {
        x = Materialize(x);
        if (_unread.Contains(x.Address)) return x;
        Tensor copy = Like(x);
        device.Scale(copy, x, 1);
        Record(copy, IsTracked(x), () =>
        {
            if (TakeGradient(copy) is not { } slot) return;
            AddSharedGradient(x, slot);
            slot.References--;
        });
        return copy;
    }

    /// <summary>The product behind a handle, if x is one.</summary>
    private Tensor Materialize(Tensor x)
    {
        if (_postponed is { } postponed && postponed.Handle.Address == x.Address)
        {
            _postponed = null;
            _computed[x.Address] = Multiply(postponed.X, postponed.Weight, postponed.Bias);
        }
        return _computed.GetValueOrDefault(x.Address, x);
    }

    private Dropout Draw(float rate) =>
        rate > 0 && IsRecording ? new Dropout(rate, Seed * 0x9E3779B97F4A7C15 + ((ulong)_block << 32) + (ulong)_draws++) : default;

    private Tensor Dropped(Tensor x, float rate, bool mayOverwrite)
    {
        Dropout dropout = Draw(rate);
        if (dropout.Rate == 0) return x;
        Tensor y = mayOverwrite ? x : Like(x);
        device.DropoutTo(y, x, dropout);
        Record(y, IsTracked(x), () =>
        {
            if (TakeGradient(y) is not { } dy) return;
            Tensor dx = Unshared(dy);
            device.DropoutTo(dx, dx, dropout);
            AddGradient(x, dx);
        });
        _ = _unread.Remove(y.Address);
        return y;
    }

    private Tensor Like(Tensor x) => device.New(x.Rows, x.Columns);

    private GradientSlot? TakeGradient(Tensor y) => _gradientOf.Remove(y.Address, out GradientSlot? slot) ? slot : null;

    /// <summary>Where the gradient of x is to go, and whether to add there; null when x needs none.</summary>
    private (Tensor? Gradient, bool Adds) GradientTarget(Tensor x)
    {
        if (!IsTracked(x)) return (null, false);
        if (_gradientOf.ContainsKey(x.Address)) return (OwnGradient(x), true);
        Tensor gradient = Like(x);
        _gradientOf[x.Address] = new GradientSlot(gradient);
        return (gradient, false);
    }

    /// <summary>Adds a gradient that is nobody else's.</summary>
    private void AddGradient(Tensor x, Tensor gradient)
    {
        if (!IsTracked(x)) return;
        if (!_gradientOf.ContainsKey(x.Address))
        {
            _gradientOf[x.Address] = new GradientSlot(gradient);
            return;
        }
        Tensor sum = OwnGradient(x);
        device.AddTo(sum, sum, gradient);
    }

    /// <summary>Adds a gradient that others hold too.</summary>
    private void AddSharedGradient(Tensor x, GradientSlot gradient)
    {
        if (!IsTracked(x)) return;
        if (_gradientOf.TryAdd(x.Address, gradient))
        {
            gradient.References++;
            return;
        }
        Tensor sum = OwnGradient(x);
        device.AddTo(sum, sum, gradient.Tensor);
    }

    /// <summary>The gradient of x so far, for x alone.</summary>
    private Tensor OwnGradient(Tensor x)
    {
        GradientSlot slot = _gradientOf[x.Address];
        if (slot.References == 1) return slot.Tensor;
        slot = new GradientSlot(Unshared(slot));
        _gradientOf[x.Address] = slot;
        return slot.Tensor;
    }

    /// <summary>A gradient that its last holder may overwrite.</summary>
    private Tensor Unshared(GradientSlot slot)
    {
        if (slot.References-- == 1) return slot.Tensor;
        Tensor copy = Like(slot.Tensor);
        device.Scale(copy, slot.Tensor, 1);
        return copy;
    }

    private void Forget()
    {
        _steps.Clear();
        _gradientOf.Clear();
        _tracked.Clear();
        _unread.Clear();
        _computed.Clear();
        _postponed = null;
        (_blocks, _block, _draws, _residualStream) = (0, 0, 0, 0);
    }
}
