using System.Runtime.CompilerServices;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>The op set on the processor: float32 activations, weights in any <see cref="NumberFormat"/>.</summary>
/// <remarks>
/// A result has the same bits whatever the instruction set (<see cref="InstructionSets"/>), the number of threads, the batch and the
/// machine: sums run in sixteen fixed lanes and one fixed tree, and the elementary functions are fude's own. A device is used by one
/// thread at a time; several devices may live side by side. Once warm, no op allocates managed memory.
/// </remarks>
public sealed unsafe partial class CpuOps : ITrainingOps
{
    // Below this many numbers an op is done before another thread has heard of it.
    private const long ParallelNumbers = 32768;

    private readonly Crew _crew;
    private readonly Arena _arena = new();
    private readonly CpuKernels _kernels;
    private readonly List<RopeTable> _ropes = [];
    private long _attentionCalls;
    private bool _disposed;

    /// <summary>A device of some threads.</summary>
    /// <param name="threads">How many compute, the calling one included; 0 for as many as there are processors.</param>
    /// <exception cref="NotSupportedException"><c>FUDE_ISA</c> names an instruction set that is not possible here.</exception>
    public CpuOps(int threads = 0)
        : this(threads, InstructionSets.Selected)
    {
    }

    internal CpuOps(int threads, string instructionSet)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(threads, 4096);
        InstructionSet = instructionSet;
        _kernels = CpuKernels.Of(instructionSet);
        _crew = new Crew(threads == 0 ? Environment.ProcessorCount : threads);
    }

    /// <summary>Threads that compute, the calling one included.</summary>
    public int Threads => _crew.Threads;

    /// <summary>The name of the instruction set in use, one of <see cref="InstructionSets.Supported"/>.</summary>
    public string InstructionSet { get; }

    internal Crew Crew => _crew;

    /// <summary>The most memory that temporaries have taken at a time since the last <see cref="Begin"/>, once the device is warm.</summary>
    internal long PeakBytes => _arena.Peak;

    /// <inheritdoc/>
    public void Begin()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _arena.Clear();
    }

    /// <inheritdoc/>
    public KvCache CreateCache(int layers, int width, int capacity, NumberFormat format = NumberFormat.F32) =>
        new CpuKvCache(layers, width, capacity, format);

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">Widths differ, or a token or position has no row in its table.</exception>
    public Tensor Embed(Batch batch, Weight tokens, Weight? positions = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(tokens);
        CheckIndices(batch.Tokens, tokens.Rows, "Token id", tokens.Name);
        if (positions is not null)
        {
            if (positions.Columns != tokens.Columns) throw Mismatch(positions.Name, positions.Columns, tokens.Name, tokens.Columns);
            if (batch.Positions.Length != batch.Tokens.Length)
                throw Mismatch("positions", batch.Positions.Length, "tokens", batch.Tokens.Length);
            CheckIndices(batch.Positions, positions.Rows, "Position", positions.Name);
        }
        Tensor y = New(batch.Tokens.Length, tokens.Columns);
        Gather(y, batch.Tokens, tokens, adds: false);
        if (positions is not null) Gather(y, batch.Positions, positions, adds: true);
        return y;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The widths of x, w and bias do not fit each other.</exception>
    public Tensor MatMul(Tensor x, Weight w, Weight? bias = null)
    {
        Tensor y = default;
        MatMul(x, [new Factor(w, bias)], new Span<Tensor>(ref y));
        return y;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The widths of x, weights and biases do not fit each other, or there are not as many places for
    /// products as factors.</exception>
    public void MatMul(Tensor x, ReadOnlySpan<Factor> factors, Span<Tensor> products)
    {
        Check(x);
        if (products.Length != factors.Length) throw Mismatch("products", products.Length, "factors", factors.Length);
        long panelBytes = 0;
        bool isGrouped = false, isPlain = false;
        for (int i = 0; i < factors.Length; i++)
        {
            (Weight w, Weight? bias) = factors[i];
            ArgumentNullException.ThrowIfNull(w, nameof(factors));
            if (x.Columns != w.Columns) throw Mismatch("x", x.Columns, w.Name, w.Columns);
            if (bias is not null) CheckVector(bias, w.Rows, w.Name);
            if (w.Groups is not null) isGrouped = true;
            else isPlain = true;
            if (w.Groups is null && w.Format.IsQuantized()) panelBytes = WidenedRows.PanelBytes(w.Columns);
        }
        for (int i = 0; i < factors.Length; i++) products[i] = New(x.Rows, factors[i].Weight.Rows);
        if (x.Rows == 0) return;      // a chunk of a prompt whose logits nobody wants

        Arena.Mark mark = _arena.Now;
        Products.Job job = new() { Parts = (Products.Part*)_arena.Take((long)factors.Length * sizeof(Products.Part)), Count = factors.Length };
        // A thread works on one item at a time: products of one kind share its scratch. The two kinds differ in its size, so each finds a thread's
        // at another place, and while one thread ends the one kind, another begins the other.
        byte* scratch = isPlain && x.Rows > MatMulKernel.FewRows ? (byte*)_arena.Take(MatMulKernel.ScratchBytes * Threads) : null;
        byte* groupScratch = isGrouped && x.Rows > GroupProduct.FewRowsFor(_kernels.TileCode)
            ? (byte*)_arena.Take(GroupProduct.ScratchBytes * Threads)
            : null;
        byte* panels = panelBytes > 0 ? (byte*)_arena.Take(panelBytes * Threads) : null;
        QuantizedRows.Job bytes = isGrouped ? Quantize(x) : default;
        float* packed = x.Rows > MatMulKernel.FewRows && isPlain ? Pack(x) : null;
        int items = 0;
        for (int i = 0; i < factors.Length; i++)
        {
            (Weight w, Weight? bias) = factors[i];
            if (w.Groups is not null)
            {
                ref Products.Part grouped = ref job.Parts[i];
                grouped = new()
                {
                    FirstItem = items,
                    Work = _kernels.GroupProduct[(int)w.Format],
                    Grouped = new()
                    {
                        X = bytes.Target,
                        W = (byte*)w.Address,
                        Bias = bias is null ? null : (float*)bias.Address,
                        Y = (float*)products[i].Address,
                        Rows = x.Rows,
                        Inputs = x.Columns,
                        Outputs = w.Rows,
                        FirstRow = w.FirstRow,
                        GroupBytes = (nint)w.Groups.GroupBytes(w.Columns),
                        TileRows = bytes.TileRows,
                        Format = w.Format,
                        Code = _kernels.TileCode,
                        Scratch = groupScratch,
                    },
                };
                items = checked(items + GroupProduct.Plan(ref grouped.Grouped, Threads));
                continue;
            }
            MatMulKernel.Job product = new()
            {
                X = (float*)x.Address,
                W = (byte*)w.Address,
                Bias = bias is null ? null : (float*)bias.Address,
                Y = (float*)products[i].Address,
                Rows = x.Rows,
                Inputs = x.Columns,
                Outputs = w.Rows,
                Packed = packed,
                Scratch = scratch,
            };
            ref Products.Part part = ref job.Parts[i];
            part = new() { FirstItem = items };
            if (w.Format.IsQuantized())
            {
                items = checked(items + WidenedRows.Plan(ref product, Threads));
                part.Work = &WidenedRows.MatMul;
                part.Widened = new()
                {
                    Product = product,
                    Kernel = _kernels.MatMul[(int)NumberFormat.F32],
                    Format = w.Format,
                    RowBytes = (nint)w.Format.Bytes(w.Columns),
                    Panels = panels,
                };
            }
            else
            {
                items = checked(items + MatMulKernel.Plan(ref product, w.Format, Threads));
                part.Work = _kernels.MatMul[(int)w.Format];
                part.Direct = product;
            }
        }
        _crew.Run(&Products.Run, &job, items);
        _arena.Release(mark);
    }

    /// <summary>x in strips, for kernels of many rows.</summary>
    private float* Pack(Tensor x)
    {
        MatMulKernel.Job job = new()
        {
            X = (float*)x.Address,
            Rows = x.Rows,
            Inputs = x.Columns,
            Packed = (float*)_arena.Take(MatMulKernel.PackedFloats(x.Rows, x.Columns) * sizeof(float)),
        };
        _crew.Run(&MatMulKernel.Pack, &job, MatMulKernel.Strips(x.Rows));
        return job.Packed;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The widths of x and gain differ.</exception>
    public Tensor RmsNorm(Tensor x, Weight gain, float epsilon)
    {
        Check(x);
        CheckVector(gain, x.Columns, "x");
        return Norm(_kernels.RmsNorm, x, gain, null, epsilon);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The widths of x, gain and bias differ.</exception>
    public Tensor LayerNorm(Tensor x, Weight gain, Weight bias, float epsilon)
    {
        Check(x);
        CheckVector(gain, x.Columns, "x");
        CheckVector(bias, x.Columns, "x");
        return Norm(_kernels.LayerNorm, x, gain, bias, epsilon);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The shape does not fit x, or a position is negative or above 2²⁴.</exception>
    public Tensor Rope(Tensor x, Batch batch, RopeShape shape) => Rotate(x, batch, shape, turnsBack: false);

    private Tensor Rotate(Tensor x, Batch batch, RopeShape shape, bool turnsBack)
    {
        Check(x);
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(shape);
        CheckBatch(x, batch);
        RopeTable table = TableOf(shape);
        if (x.Columns % shape.HeadSize != 0)
            throw new ArgumentException($"x has {x.Columns} columns, which do not divide into heads of {shape.HeadSize}.", nameof(x));
        if (batch.Positions.Length != x.Rows) throw Mismatch("positions", batch.Positions.Length, "tokens", x.Rows);
        CheckIndices(batch.Positions, RopeTable.LargestPosition + 1, "Position", "rotary embeddings");

        if (shape.Scaling is not RopeScaling.Dynamic)
        {
            Turn(x, batch.Positions, 0, x.Rows, table, 0, turnsBack);
            return x;
        }
        foreach (Sequence sequence in batch.Sequences)
            Turn(x, batch.Positions, sequence.First, sequence.Count, table, sequence.Extent, turnsBack);
        return x;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">q, k, v, heads, batch and caches do not fit each other.</exception>
    /// <exception cref="InvalidOperationException">A cache is full.</exception>
    public Tensor Attention(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, int layer)
    {
        CheckAttention(q, k, v, heads, batch);
        Tensor y = New(q.Rows, q.Columns);
        Arena.Mark mark = _arena.Now;
        AttentionKernel.Job job = new()
        {
            Q = (float*)q.Address,
            K = (float*)k.Address,
            V = (float*)v.Address,
            Y = (float*)y.Address,
            Texts = (AttentionKernel.Text*)_arena.Take((long)batch.Sequences.Length * sizeof(AttentionKernel.Text)),
            TextCount = batch.Sequences.Length,
            QueryHeads = heads.Query,
            KeyHeads = heads.KeyValue,
            Size = heads.Size,
            Window = heads.Window,
            Scale = heads.Scale,
        };
        job.ScratchBytes = AttentionKernel.ScratchBytes(job);
        _attentionCalls++;
        int items = 0;
        bool appends = false;
        for (int i = 0; i < batch.Sequences.Length; i++)
        {
            Sequence sequence = batch.Sequences[i];
            ref AttentionKernel.Text text = ref job.Texts[i];
            text = new() { First = sequence.First, Count = sequence.Count, ItemsBefore = items };
            if (sequence.Cache is not null) Find(sequence, heads, layer, ref text);
            else MakePages(heads, ref text);
            items = checked(items + AttentionKernel.Plan(job, ref text, Threads));
            if (text.Runs > 1)
            {
                text.Partials = (float*)_arena.Take(AttentionKernel.PartialFloats(job, text) * sizeof(float));
                text.Waiting = (int*)_arena.Take(text.Ranges * (long)sizeof(int));
                new Span<int>(text.Waiting, text.Ranges).Fill(text.Runs);
            }
            appends |= text.Runs == 0;
        }
        job.Scratch = (byte*)_arena.Take(job.ScratchBytes * Threads);
        if (appends) _crew.Run(&AttentionKernel.Append, &job, checked(job.TextCount * job.KeyHeads));
        _crew.Run(_kernels.Attention, &job, items);
        _arena.Release(mark);
        return y;
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public Tensor SwiGlu(Tensor gate, Tensor up)
    {
        CheckSame(gate, up);
        return Map(_kernels.SwiGlu, gate, up, 1);
    }

    /// <inheritdoc/>
    public Tensor Gelu(Tensor x, GeluForm form)
    {
        Check(x);
        return Map(Of(form, _kernels.GeluErf, _kernels.GeluTanh), x, default, 1);
    }

    private static delegate*<void*, int, int, void> Of(GeluForm form, delegate*<void*, int, int, void> erf, delegate*<void*, int, int, void> tanh) => form switch
    {
        GeluForm.Erf => erf,
        GeluForm.Tanh => tanh,
        _ => throw new ArgumentOutOfRangeException(nameof(form), form, "Neither Erf nor Tanh."),
    };

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public Tensor Add(Tensor x, Tensor y, float scale = 1)
    {
        CheckSame(x, y);
        return Map(_kernels.Add, x, y, scale);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">An index is not that of a row.</exception>
    public Tensor TakeRows(Tensor x, int[] rows)
    {
        Check(x);
        ArgumentNullException.ThrowIfNull(rows);
        CheckIndices(rows, x.Rows, "Row", "x");
        Tensor y = New(rows.Length, x.Columns);
        long bytes = (long)x.Columns * sizeof(float);
        for (int i = 0; i < rows.Length; i++)
            Buffer.MemoryCopy((byte*)x.Address + rows[i] * bytes, (byte*)y.Address + i * bytes, bytes, bytes);
        return y;
    }

    /// <inheritdoc/>
    public Tensor Run(IBlock block, Tensor x, Batch batch)
    {
        ArgumentNullException.ThrowIfNull(block);
        Arena.Mark mark = _arena.Now;
        Tensor y = block.Forward(this, x, batch);
        bool isNew = _arena.IsAfter(mark, y.Address);
        _arena.Release(mark);
        if (!isNew) return y;
        // The result moves down to where the block's temporaries began; it may overlap its new place.
        long bytes = y.Count * sizeof(float);
        void* target = _arena.Take(bytes);
        Buffer.MemoryCopy((void*)y.Address, target, bytes, bytes);
        return y with { Address = (nint)target };
    }

    /// <inheritdoc/>
    public ReadOnlySpan<float> Read(Tensor x)
    {
        Check(x);
        return new ReadOnlySpan<float>((void*)x.Address, checked((int)x.Count));
    }

    /// <summary>Takes the memory that a pass is known to need at once: a device that has to find it out takes up to half as much again.</summary>
    /// <param name="bytes">From <see cref="PassMeter.PeakBytes"/>.</param>
    public void Reserve(long bytes)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _arena.Reserve(bytes);
    }

    /// <summary>Stops the threads and gives the memory back; caches live on until they are disposed.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _crew.Dispose();
        _arena.Dispose();
        foreach (RopeTable table in _ropes) table.Dispose();
    }

    /// <summary>A tensor with any contents.</summary>
    internal Tensor New(int rows, int columns) => new((nint)_arena.Take((long)rows * columns * sizeof(float)), rows, columns);

    private void CheckAttention(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch)
    {
        Check(q);
        Check(k);
        Check(v);
        ArgumentNullException.ThrowIfNull(batch);
        CheckBatch(q, batch);
        if (heads.Query <= 0 || heads.KeyValue <= 0 || heads.Size <= 0 || heads.Query % heads.KeyValue != 0)
            throw new ArgumentException($"{heads.Query} query heads do not divide into {heads.KeyValue} groups.", nameof(heads));
        if (heads.Window < 0) throw new ArgumentException($"A window has 1 key or more, or is 0 for all; it is {heads.Window}.", nameof(heads));
        if (!(heads.Scale > 0)) throw new ArgumentException($"The scale of q·k is {heads.Scale}; it has to be above 0.", nameof(heads));
        int queryWidth = checked(heads.Query * heads.Size), keyWidth = heads.KeyValue * heads.Size;
        if (q.Columns != queryWidth) throw Mismatch("q", q.Columns, "its heads", queryWidth);
        if (k.Columns != keyWidth) throw Mismatch("k", k.Columns, "its heads", keyWidth);
        if (v.Columns != keyWidth) throw Mismatch("v", v.Columns, "its heads", keyWidth);
        if (k.Rows != q.Rows || v.Rows != q.Rows)
            throw new ArgumentException($"q, k and v have {q.Rows}, {k.Rows} and {v.Rows} rows.", nameof(k));
    }

    /// <summary>Rounds the rows of x to bytes, in the arena.</summary>
    private QuantizedRows.Job Quantize(Tensor x)
    {
        QuantizedRows.Job rows = new()
        {
            X = (float*)x.Address,
            Target = (byte*)_arena.Take(QuantizedRows.Bytes(x.Rows, x.Columns)),
            Rows = x.Rows,
            Columns = x.Columns,
            TileRows = GroupProduct.TileRowsFor(x.Rows, _kernels.TileCode),
            ItemTiles = (int)Math.Max(1, ParallelNumbers / 8 / x.Columns),
        };
        _crew.Run(_kernels.QuantizeRows, &rows, QuantizedRows.Items(rows));
        return rows;
    }

    private void Gather(Tensor y, int[] indices, Weight table, bool adds)
    {
        fixed (int* first = indices)
        {
            EmbedKernel.Job job = new()
            {
                Indices = first,
                Table = (byte*)table.Address,
                Y = (float*)y.Address,
                Rows = y.Rows,
                Width = y.Columns,
                ItemRows = RowsOfAnItem(y),
                Adds = adds,
            };
            if (table.Format.IsQuantized())
            {
                nint rowBytes = (nint)table.Format.Bytes(table.Columns);
                WidenedRows.EmbedJob widened = new()
                {
                    Rows = job,
                    Format = table.Format,
                    RowBytes = rowBytes,
                    IsGrouped = table.Groups is not null,
                    FirstRow = table.FirstRow,
                };
                _crew.Run(&WidenedRows.Embed, &widened, Items(y, job.ItemRows));
            }
            else _crew.Run(_kernels.Embed[(int)table.Format], &job, Items(y, job.ItemRows));
        }
    }

    private Tensor Norm(delegate*<void*, int, int, void> kernel, Tensor x, Weight gain, Weight? bias, float epsilon)
    {
        Tensor y = New(x.Rows, x.Columns);
        NormKernels.Job job = new()
        {
            X = (float*)x.Address,
            Y = (float*)y.Address,
            Gain = (float*)gain.Address,
            Bias = bias is null ? null : (float*)bias.Address,
            Rows = x.Rows,
            Width = x.Columns,
            ItemRows = RowsOfAnItem(x),
            Epsilon = epsilon,
        };
        _crew.Run(kernel, &job, Items(x, job.ItemRows));
        return y;
    }

    private void Turn(Tensor x, int[] positions, int first, int count, RopeTable table, int extent, bool turnsBack)
    {
        if (count == 0) return;
        int lowest = positions[first], highest = lowest;
        for (int i = first; i < first + count; i++)
        {
            lowest = Math.Min(lowest, positions[i]);
            highest = Math.Max(highest, positions[i]);
        }
        Tensor rows = new(x.Address + (nint)((long)first * x.Columns * sizeof(float)), count, x.Columns);
        fixed (int* position = positions)
        {
            RopeKernel.Job job = new()
            {
                X = (float*)rows.Address,
                Positions = position + first,
                Table = table.Rows(lowest, highest, extent == 0 ? highest + 1 : extent),
                FirstPosition = lowest,
                Rows = count,
                Width = x.Columns,
                HeadSize = table.Shape.HeadSize,
                Half = table.Half,
                ItemRows = RowsOfAnItem(rows),
                TurnsBack = turnsBack,
            };
            _crew.Run(_kernels.Rope, &job, Items(rows, job.ItemRows));
        }
    }

    private Tensor Map(delegate*<void*, int, int, void> kernel, Tensor x, Tensor y, float scale) => MapTo(x, kernel, x, y, scale);

    private Tensor MapTo(Tensor target, delegate*<void*, int, int, void> kernel, Tensor x, Tensor y, float scale)
    {
        ElementKernels.Job job = new()
        {
            X = (float*)x.Address,
            Y = (float*)y.Address,
            Target = (float*)target.Address,
            Count = x.Count,
            Scale = scale,
        };
        int items = checked((int)((x.Count + ElementKernels.ItemCount - 1) / ElementKernels.ItemCount));
        _crew.Run(kernel, &job, items);
        return target;
    }

    /// <summary>Pages for a text without a cache, which live as long as the call.</summary>
    private void MakePages(Heads heads, ref AttentionKernel.Text text)
    {
        HeadLayout layout = new(NumberFormat.F32, heads.Size);
        int pages = (text.Count + AttentionKernel.Page - 1) / AttentionKernel.Page;
        long bytes = heads.KeyValue * (layout.KeyBytes + layout.ValueBytes);
        text.Pages = (nint*)_arena.Take((long)pages * sizeof(nint));
        byte* memory = (byte*)_arena.Take(checked(pages * bytes));
        for (int page = 0; page < pages; page++) text.Pages[page] = (nint)(memory + page * bytes);
    }

    /// <summary>Makes room in the cache and says where its pages are.</summary>
    private void Find(Sequence sequence, Heads heads, int layer, ref AttentionKernel.Text text)
    {
        if (sequence.Cache is not CpuKvCache cache)
            throw new ArgumentException($"A cache of {sequence.Cache!.GetType().Name} is not of this device.", nameof(sequence));
        if (cache.LastCall == _attentionCalls)
            throw new ArgumentException("Two sequences of a batch have the same cache: fork it, or join them.", nameof(sequence));
        cache.Prepare(sequence.Count, heads, layer);
        cache.LastCall = _attentionCalls;
        text.FirstKey = cache.Length;
        text.Format = cache.Format;

        // Only pages that some token of the batch still sees.
        int seen = heads.Window > 0 ? Math.Max(0, cache.Length - heads.Window + 1) : 0;
        int pages = (cache.Length + sequence.Count - 1) / AttentionKernel.Page + 1;
        text.FirstPage = seen / AttentionKernel.Page;
        text.Pages = (nint*)_arena.Take((long)(pages - text.FirstPage) * sizeof(nint));
        for (int page = text.FirstPage; page < pages; page++) text.Pages[page - text.FirstPage] = (nint)cache.Heads(page, layer);
    }

    private RopeTable TableOf(RopeShape shape)
    {
        foreach (RopeTable known in _ropes)
            if (ReferenceEquals(known.Shape, shape)) return known;
        foreach (RopeTable known in _ropes)
            if (known.Shape == shape) return known;
        if (shape.Dimensions <= 0 || shape.Dimensions % 2 != 0 || shape.Dimensions > shape.HeadSize)
            throw new ArgumentException(
                $"{shape.Dimensions} of {shape.HeadSize} numbers of a head cannot turn: an even number of them can.", nameof(shape));
        if (!(shape.Theta > 0) || !float.IsNormal(shape.Theta))
            throw new ArgumentException(Say(
                $"A base of {shape.Theta} gives no frequencies.", $"回転位置埋め込みの底 {shape.Theta} からは周波数を求められません。"), nameof(shape));
        if (shape.Scaling is RopeScaling.Dynamic { Context: <= 0 } || (shape.Scaling is RopeScaling.Dynamic && shape.Dimensions <= 2))
            throw new ArgumentException(Say(
                "Dynamic scaling needs a training context and more than 2 dimensions.",
                "dynamic のスケーリングには、学習時の文脈長と、2 より多い次元が必要です。"), nameof(shape));
        RopeTable table = new(shape);
        _ropes.Add(table);
        return table;
    }

    private int RowsOfAnItem(Tensor x) => Math.Max(1, x.Count < ParallelNumbers
        ? x.Rows
        : Math.Min((x.Rows + Threads - 1) / Threads, (int)(ParallelNumbers / 2 / x.Columns)));

    private static int Items(Tensor x, int itemRows) => (x.Rows + itemRows - 1) / itemRows;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Check(Tensor x, [CallerArgumentExpression(nameof(x))] string? name = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (x.Address == 0 || x.Rows < 0 || x.Columns <= 0) throw new ArgumentException("Not a tensor of this device.", name);
    }

    private void CheckSame(Tensor x, Tensor y)
    {
        Check(x);
        Check(y);
        if (x.Rows != y.Rows || x.Columns != y.Columns)
            throw new ArgumentException($"The shapes [{x.Rows}, {x.Columns}] and [{y.Rows}, {y.Columns}] differ.", nameof(y));
    }

    private static void CheckVector(Weight vector, int length, string other)
    {
        ArgumentNullException.ThrowIfNull(vector);
        if (vector.Format != NumberFormat.F32 || vector.Rows != 1)
            throw new ArgumentException(
                $"{vector.Name} is [{vector.Rows}, {vector.Columns}] in {vector.Format}; a vector of float32 is needed.", nameof(vector));
        if (vector.Columns != length) throw Mismatch(vector.Name, vector.Columns, other, length);
    }

    private static void CheckIndices(int[] indices, int rows, string what, string table)
    {
        foreach (int index in indices)
            if ((uint)index >= (uint)rows)
                throw new ArgumentException($"{what} {index} is not within the {rows} rows of {table}.", nameof(indices));
    }

    private static void CheckBatch(Tensor x, Batch batch)
    {
        if (batch.Tokens.Length != x.Rows) throw Mismatch("the tensor's rows", x.Rows, "tokens", batch.Tokens.Length);
        int next = 0;
        foreach (Sequence sequence in batch.Sequences)
        {
            if (sequence.First != next || sequence.Count <= 0 || sequence.Count > x.Rows - next)
                throw new ArgumentException(
                    $"The sequences do not cover the batch in order: one begins at token {sequence.First} with {sequence.Count} tokens, "
                    + $"expected is {next}.",
                    nameof(batch));
            next += sequence.Count;
        }
        if (next != x.Rows) throw new ArgumentException($"The sequences cover {next} of {x.Rows} tokens.", nameof(batch));
    }

    private static ArgumentException Mismatch(string a, int widthA, string b, int widthB) =>
        new($"{a} and {b} do not fit: {widthA} against {widthB}.");
}
