using System.Runtime.InteropServices;

namespace Fude.Tensors;

// The backward pass. What holds of the forward ops holds here: the same bits on every instruction set and with any number of threads.
public sealed unsafe partial class CpuOps
{
    private TrainingKernels? _training;

    private TrainingKernels Training => _training ??= TrainingKernels.Of(InstructionSet);

    /// <summary>What the matrix products of training (<see cref="Multiply"/> and <see cref="MultiplyBackward"/>) take their numbers as; products and
    /// sums are float32, and so is all else.</summary>
    /// <remarks>The results have the same bits on every machine, but for those of a NaN, which is one on all.</remarks>
    public ProductPrecision Precision { get; set; }

    /// <summary>Whether products run in instructions for pairs of bfloat16 numbers.</summary>
    internal bool UsesPairProducts =>
        Precision == ProductPrecision.Bf16 && InstructionSet is InstructionSets.Avx512Name or InstructionSets.AmxName && Bf16Tile.IsSupported;

    /// <summary>Whether they run in AMX's tiles.</summary>
    internal bool UsesTileProducts => Precision == ProductPrecision.Bf16Tiles && InstructionSet == InstructionSets.AmxName && AmxBlocks.IsSupported;

    Tensor ITrainingOps.New(int rows, int columns) => New(rows, columns);

    /// <inheritdoc/>
    public void Clear(Tensor x)
    {
        Check(x);
        NativeMemory.Clear((void*)x.Address, (nuint)(x.Count * sizeof(float)));
    }

    /// <inheritdoc/>
    public void Scale(Tensor target, Tensor x, float scale)
    {
        CheckSame(target, x);
        Back(Training.Scale, new ElementBackward.Job { Dy = (float*)x.Address, Dx = (float*)target.Address, Count = x.Count, Factor = scale });
    }

    /// <inheritdoc/>
    public void AddTo(Tensor target, Tensor x, Tensor y, float scale = 1)
    {
        CheckSame(target, x);
        CheckSame(x, y);
        _ = MapTo(target, _kernels.Add, x, y, scale);
    }

    /// <inheritdoc/>
    public void SwiGluTo(Tensor target, Tensor gate, Tensor up)
    {
        CheckSame(target, gate);
        CheckSame(gate, up);
        _ = MapTo(target, _kernels.SwiGlu, gate, up, 1);
    }

    /// <inheritdoc/>
    public void GeluTo(Tensor target, Tensor x, GeluForm form)
    {
        CheckSame(target, x);
        _ = MapTo(target, Of(form, _kernels.GeluErf, _kernels.GeluTanh), x, default, 1);
    }

    /// <inheritdoc/>
    public void DropoutTo(Tensor target, Tensor x, Dropout dropout)
    {
        CheckSame(target, x);
        CheckRate(dropout);
        DropoutKernel.Job job = new() { X = (float*)x.Address, Target = (float*)target.Address, Count = x.Count, Dropout = dropout };
        _crew.Run(&DropoutKernel.Run, &job, Parts(x.Count, DropoutKernel.ItemCount));
    }

    /// <inheritdoc/>
    public Tensor Multiply(Tensor x, Weight w, Weight? bias = null)
    {
        Check(x);
        ArgumentNullException.ThrowIfNull(w);
        if (x.Columns != w.Columns) throw Mismatch("x", x.Columns, w.Name, w.Columns);
        if (bias is not null) CheckVector(bias, w.Rows, w.Name);
        Tensor y = New(x.Rows, w.Rows);
        Arena.Mark mark = _arena.Now;
        Tensor weight = Widened(w);
        if (bias is not null)
            for (int row = 0; row < x.Rows; row++)
                Buffer.MemoryCopy((void*)bias.Address, (float*)y.Address + (nint)row * y.Columns, bias.Bytes, bias.Bytes);
        Product(Straight(x), Turned(weight), y, x.Columns, adds: bias is not null);
        _arena.Release(mark);
        return y;
    }

    /// <inheritdoc/>
    public void MultiplyBackward(Tensor x, Weight w, Tensor dy, Tensor? dx, bool adds, Tensor? dw, Tensor? db)
    {
        Check(x);
        Check(dy);
        ArgumentNullException.ThrowIfNull(w);
        if (x.Columns != w.Columns) throw Mismatch("x", x.Columns, w.Name, w.Columns);
        if (dy.Columns != w.Rows) throw Mismatch("dy", dy.Columns, w.Name, w.Rows);
        if (dy.Rows != x.Rows) throw Mismatch("dy", dy.Rows, "x", x.Rows);
        Arena.Mark mark = _arena.Now;
        if (dx is { } inputs)
        {
            CheckSame(x, inputs);
            Product(Straight(dy), Straight(Widened(w)), inputs, w.Rows, adds);
        }
        if (dw is { } weights)
        {
            if (weights.Rows != w.Rows || weights.Columns != w.Columns)
                throw new ArgumentException($"The gradient is [{weights.Rows}, {weights.Columns}], but {w.Name} is [{w.Rows}, {w.Columns}].", nameof(dw));
            Product(Turned(dy), Straight(x), weights, x.Rows, adds: true);
        }
        if (db is { } bias) SumRows(dy, bias);
        _arena.Release(mark);
    }

    /// <inheritdoc/>
    public void EmbedBackward(Batch batch, Tensor dy, Tensor? tokens, Tensor? positions)
    {
        Check(dy);
        ArgumentNullException.ThrowIfNull(batch);
        if (tokens is { } tokenRows) AddRows(dy, batch.Tokens, tokenRows);
        if (positions is { } positionRows) AddRows(dy, batch.Positions, positionRows);
    }

    /// <inheritdoc/>
    public void RmsNormBackward(Tensor x, Weight gain, float epsilon, Tensor dy, Tensor? dx, bool adds, Tensor? dgain)
    {
        CheckVector(gain, x.Columns, "x");
        NormBack(x, gain, epsilon, dy, dx, adds, dgain, null, isCentred: false);
    }

    /// <inheritdoc/>
    public void LayerNormBackward(Tensor x, Weight gain, float epsilon, Tensor dy, Tensor? dx, bool adds, Tensor? dgain, Tensor? dbias)
    {
        CheckVector(gain, x.Columns, "x");
        NormBack(x, gain, epsilon, dy, dx, adds, dgain, dbias, isCentred: true);
    }

    /// <inheritdoc/>
    public Tensor RopeBackward(Tensor dy, Batch batch, RopeShape shape) => Rotate(dy, batch, shape, turnsBack: true);

    /// <inheritdoc/>
    public Tensor Attend(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, Dropout dropout, out Tensor logSums)
    {
        CheckAttention(q, k, v, heads, batch);
        CheckRate(dropout);
        logSums = New(q.Rows, heads.Query);
        Tensor y = New(q.Rows, q.Columns);
        TrainingAttention.Job job = new() { Y = (float*)y.Address, LogSums = (float*)logSums.Address };
        Attend(Training.Attend, ref job, q, k, v, heads, batch, dropout);
        return y;
    }

    /// <inheritdoc/>
    public void AttendBackward(
        Tensor q, Tensor k, Tensor v, Tensor logSums, Tensor dy, Heads heads, Batch batch, Dropout dropout,
        Tensor dq, Tensor dk, Tensor dv)
    {
        CheckAttention(q, k, v, heads, batch);
        CheckRate(dropout);
        CheckSame(q, dy);
        CheckSame(q, dq);
        CheckSame(k, dk);
        CheckSame(v, dv);
        Check(logSums);
        if (logSums.Rows != q.Rows || logSums.Columns != heads.Query) throw Mismatch("logSums", logSums.Columns, "query heads", heads.Query);
        TrainingAttention.Job job = new()
        {
            LogSums = (float*)logSums.Address,
            Dy = (float*)dy.Address,
            Dq = (float*)dq.Address,
            Dk = (float*)dk.Address,
            Dv = (float*)dv.Address,
        };
        Attend(Training.AttendBackward, ref job, q, k, v, heads, batch, dropout);
    }

    /// <inheritdoc/>
    public void SwiGluBackward(Tensor gate, Tensor up, Tensor dy, Tensor dgate, Tensor dup)
    {
        CheckSame(gate, up);
        CheckSame(gate, dy);
        CheckSame(gate, dgate);
        CheckSame(gate, dup);
        Back(Training.SwiGlu, new ElementBackward.Job
        {
            X = (float*)gate.Address,
            Up = (float*)up.Address,
            Dy = (float*)dy.Address,
            Dx = (float*)dgate.Address,
            Dup = (float*)dup.Address,
            Count = gate.Count,
        });
    }

    /// <inheritdoc/>
    public void GeluBackward(Tensor x, GeluForm form, Tensor dy, Tensor dx)
    {
        CheckSame(x, dy);
        CheckSame(x, dx);
        Back(Of(form, Training.GeluErf, Training.GeluTanh), new ElementBackward.Job
        {
            X = (float*)x.Address,
            Dy = (float*)dy.Address,
            Dx = (float*)dx.Address,
            Count = x.Count,
        });
    }

    /// <inheritdoc/>
    public void TakeRowsBackward(Tensor dy, int[] rows, Tensor dx)
    {
        Check(dy);
        ArgumentNullException.ThrowIfNull(rows);
        AddRows(dy, rows, dx);
    }

    /// <inheritdoc/>
    public void CrossEntropy(Tensor logits, ReadOnlySpan<int> targets, ReadOnlySpan<float> weights, LossForm form, Span<RowLoss> losses)
    {
        Check(logits);
        if (targets.Length != logits.Rows) throw Mismatch("targets", targets.Length, "logits", logits.Rows);
        if (losses.Length != logits.Rows) throw Mismatch("losses", losses.Length, "logits", logits.Rows);
        if (!weights.IsEmpty && weights.Length != logits.Rows) throw Mismatch("weights", weights.Length, "logits", logits.Rows);
        if (!(form.LabelSmoothing is >= 0 and < 1) || !(form.ZLoss >= 0) || !float.IsFinite(form.ZLoss))
            throw new ArgumentException($"Label smoothing {form.LabelSmoothing} and z-loss {form.ZLoss} are not from 0 to below 1 and from 0 on.", nameof(form));
        foreach (int target in targets)
            if ((uint)target >= (uint)logits.Columns)
                throw new ArgumentException($"Target {target} is not within the {logits.Columns} columns of the logits.", nameof(targets));
        fixed (int* target = targets)
        fixed (float* weight = weights)
        fixed (RowLoss* loss = losses)
        {
            CrossEntropyKernel.Job job = new()
            {
                Logits = (float*)logits.Address,
                Targets = target,
                Weights = weights.IsEmpty ? null : weight,
                Losses = loss,
                Vocabulary = logits.Columns,
                Form = form,
            };
            _crew.Run(Training.CrossEntropy, &job, logits.Rows);
        }
    }

    /// <inheritdoc/>
    public double SumOfSquares(nint numbers, long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        Arena.Mark mark = _arena.Now;
        int items = Parts(count, OptimizerKernels.ItemCount);
        OptimizerKernels.Job job = new() { Gradients = (float*)numbers, Count = count, Sums = (double*)_arena.Take(items * sizeof(double)) };
        _crew.Run(&OptimizerKernels.SumOfSquares, &job, items);
        double sum = 0;
        for (int i = 0; i < items; i++) sum += job.Sums[i];
        _arena.Release(mark);
        return sum;
    }

    /// <inheritdoc/>
    public void AdamW(nint values, nint gradients, nint means, nint squares, long count, in AdamWStep step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(step.Step);
        double correction1 = 1 - Math.Pow(step.Beta1, step.Step), correction2 = 1 - Math.Pow(step.Beta2, step.Step);
        OptimizerKernels.Job job = new()
        {
            Values = (float*)values,
            Gradients = (float*)gradients,
            Means = (float*)means,
            Squares = (float*)squares,
            Count = count,
            Shrink = (float)(1 - step.LearningRate * step.WeightDecay),
            Beta1 = (float)step.Beta1,
            Beta2 = (float)step.Beta2,
            Rest1 = (float)(1 - step.Beta1),
            Rest2 = (float)(1 - step.Beta2),
            RootOfCorrection2 = (float)Math.Sqrt(correction2),
            Epsilon = (float)step.Epsilon,
            StepSize = (float)(step.LearningRate / correction1),
            GradientScale = step.GradientScale,
        };
        _crew.Run(&OptimizerKernels.AdamW, &job, Parts(count, OptimizerKernels.ItemCount));
    }

    private static int Parts(long count, int size) => checked((int)((count + size - 1) / size));

    private static MatrixProduct.Operand Straight(Tensor x) => new() { Numbers = (float*)x.Address, RowStride = x.Columns, ColumnStride = 1 };

    private static MatrixProduct.Operand Turned(Tensor x) => new() { Numbers = (float*)x.Address, RowStride = 1, ColumnStride = x.Columns };

    private void Product(MatrixProduct.Operand a, MatrixProduct.Operand b, Tensor c, int inner, bool adds)
    {
        if (c.Count == 0) return;
        Arena.Mark mark = _arena.Now;
        MatrixProduct.Job job = new()
        {
            A = a,
            B = b,
            C = (float*)c.Address,
            CStride = c.Columns,
            M = c.Rows,
            N = c.Columns,
            K = inner,
            Adds = adds,
            Rounds = Precision != ProductPrecision.F32,
            InBlocks = Precision == ProductPrecision.Bf16Tiles,
            Scratch = (byte*)_arena.Take(MatrixProduct.ScratchBytes * Threads),
        };
        job.Packed = (float*)_arena.Take(MatrixProduct.PackedNumbers(job) * sizeof(float));
        if (UsesTileProducts)
        {
            int items = MatrixProduct.Plan(ref job, Threads, AmxProduct.Rows, Bf16Product.LargestItemRows);
            _crew.Run(&AmxProduct.Pack, &job, MatrixProduct.PackItems(job));
            _crew.Run(&AmxProduct.Run<AmxBlocks>, &job, items);
        }
        else if (UsesPairProducts)
        {
            int tiles = MatrixProduct.Plan(ref job, Threads, Bf16Tile.Rows, Bf16Product.LargestItemRows);
            _crew.Run(&Bf16Product.Pack, &job, MatrixProduct.PackItems(job));
            _crew.Run(&Bf16Product.Run, &job, tiles);
        }
        else
        {
            int items = MatrixProduct.Plan(ref job, Threads);
            _crew.Run(&MatrixProduct.Pack, &job, MatrixProduct.PackItems(job));
            _crew.Run(Training.Product, &job, items);
        }
        _arena.Release(mark);
    }

    /// <summary>The numbers of a weight as float32: where they lie, or unpacked into the arena.</summary>
    private Tensor Widened(Weight w)
    {
        if (w.Format == NumberFormat.F32) return new Tensor(w.Address, w.Rows, w.Columns);
        Tensor wide = New(w.Rows, w.Columns);
        WidenJob job = new() { Weight = GCHandle.Alloc(w), Target = (float*)wide.Address };
        try
        {
            _crew.Run(&WidenRows, &job, Parts(w.Rows, WidenJob.ItemRows));
        }
        finally
        {
            job.Weight.Free();
        }
        return wide;
    }

    private static void WidenRows(void* argument, int item, int worker)
    {
        ref WidenJob job = ref *(WidenJob*)argument;
        Weight w = (Weight)job.Weight.Target!;
        int first = item * WidenJob.ItemRows, end = Math.Min(w.Rows, first + WidenJob.ItemRows);
        for (int row = first; row < end; row++) w.ReadRow(row, new Span<float>(job.Target + (nint)row * w.Columns, w.Columns));
    }

    private struct WidenJob
    {
        /// <summary>Rows of one item.</summary>
        public const int ItemRows = 32;

        public GCHandle Weight;
        public float* Target;
    }

    private void Back(delegate*<void*, int, int, void> kernel, ElementBackward.Job job) =>
        _crew.Run(kernel, &job, Parts(job.Count, ElementBackward.ItemCount));

    private void AddRows(Tensor dy, int[] indices, Tensor target)
    {
        Check(target);
        if (target.Columns != dy.Columns) throw Mismatch("the gradient", target.Columns, "dy", dy.Columns);
        if (indices.Length != dy.Rows) throw Mismatch("indices", indices.Length, "dy", dy.Rows);
        CheckIndices(indices, target.Rows, "Row", "the gradient");
        fixed (int* index = indices)
        {
            ElementBackward.RowsJob job = new()
            {
                Indices = index,
                Dy = (float*)dy.Address,
                Target = (float*)target.Address,
                Rows = dy.Rows,
                Width = dy.Columns,
            };
            _crew.Run(Training.AddRows, &job, Parts(dy.Columns, ElementBackward.ItemColumns));
        }
    }

    private void SumRows(Tensor dy, Tensor sum)
    {
        Check(sum);
        if (sum.Count != dy.Columns) throw Mismatch("the gradient", sum.Columns, "dy", dy.Columns);
        Arena.Mark mark = _arena.Now;
        int blocks = Parts(dy.Rows, NormBackward.BlockRows);
        NormBackward.Job job = new()
        {
            Dy = (float*)dy.Address,
            Rows = dy.Rows,
            Width = dy.Columns,
            BiasSums = (float*)New(blocks, dy.Columns).Address,
        };
        _crew.Run(Training.SumRows, &job, blocks);
        NormBackward.AddBlocks(job.BiasSums, blocks, dy.Columns, (float*)sum.Address);
        _arena.Release(mark);
    }

    private void NormBack(Tensor x, Weight gain, float epsilon, Tensor dy, Tensor? dx, bool adds, Tensor? dgain, Tensor? dbias, bool isCentred)
    {
        CheckSame(x, dy);
        if (dx is { } inputs) CheckSame(x, inputs);
        if (dgain is { } gains && gains.Count != x.Columns) throw Mismatch("dgain", gains.Columns, "x", x.Columns);
        if (dbias is { } biases && biases.Count != x.Columns) throw Mismatch("dbias", biases.Columns, "x", x.Columns);
        Arena.Mark mark = _arena.Now;
        int blocks = Parts(x.Rows, NormBackward.BlockRows);
        NormBackward.Job job = new()
        {
            X = (float*)x.Address,
            Gain = (float*)gain.Address,
            Dy = (float*)dy.Address,
            Dx = (float*)(dx?.Address ?? 0),
            GainSums = dgain is null ? null : (float*)New(blocks, x.Columns).Address,
            BiasSums = dbias is null ? null : (float*)New(blocks, x.Columns).Address,
            Rows = x.Rows,
            Width = x.Columns,
            Epsilon = epsilon,
            Adds = adds,
            IsCentred = isCentred,
        };
        _crew.Run(Training.Norm, &job, blocks);
        if (dgain is { } gainSum) NormBackward.AddBlocks(job.GainSums, blocks, x.Columns, (float*)gainSum.Address);
        if (dbias is { } biasSum) NormBackward.AddBlocks(job.BiasSums, blocks, x.Columns, (float*)biasSum.Address);
        _arena.Release(mark);
    }

    private void Attend(
        delegate*<void*, int, int, void> kernel, ref TrainingAttention.Job job, Tensor q, Tensor k, Tensor v, Heads heads, Batch batch,
        Dropout dropout)
    {
        Arena.Mark mark = _arena.Now;
        job.Q = (float*)q.Address;
        job.K = (float*)k.Address;
        job.V = (float*)v.Address;
        job.QueryHeads = heads.Query;
        job.KeyHeads = heads.KeyValue;
        job.Size = heads.Size;
        job.Window = heads.Window;
        job.Scale = heads.Scale;
        job.Dropout = dropout;
        job.Texts = (int*)_arena.Take(batch.Sequences.Length * 2L * sizeof(int));
        for (int i = 0; i < batch.Sequences.Length; i++)
        {
            Sequence sequence = batch.Sequences[i];
            if (sequence.Cache is not null)
                throw new ArgumentException("Training reads whole texts: a sequence of the batch has a cache.", nameof(batch));
            (job.Texts[2 * i], job.Texts[2 * i + 1]) = (sequence.First, sequence.Count);
            job.Longest = Math.Max(job.Longest, sequence.Count);
        }
        job.ScratchBytes = TrainingAttention.ScratchBytes(job.Longest, heads.Size);
        job.Scratch = (byte*)_arena.Take(checked(job.ScratchBytes * Threads));
        fixed (TrainingAttention.Job* pinned = &job) _crew.Run(kernel, pinned, checked(batch.Sequences.Length * heads.KeyValue));
        _arena.Release(mark);
    }

    private static void CheckRate(Dropout dropout)
    {
        if (!(dropout.Rate is >= 0 and < 1)) throw new ArgumentException($"A dropout rate of {dropout.Rate} is not from 0 to below 1.", nameof(dropout));
    }
}
