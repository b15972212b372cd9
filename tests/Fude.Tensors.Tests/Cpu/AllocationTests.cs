namespace Fude.Tensors.Tests;

public sealed class AllocationTests
{
    /// <summary>Every op once, as a layer has them.</summary>
    private sealed class Everything(Weight square, Weight gain, Weight bias, RopeShape[] shapes) : IBlock
    {
        public Tensor Forward(IOps ops, Tensor x, Batch batch)
        {
            Tensor h = ops.RmsNorm(x, gain, 1e-5f);
            Tensor q = ops.MatMul(h, square, bias), k = ops.MatMul(h, square), v = ops.MatMul(ops.LayerNorm(x, gain, bias, 1e-5f), square);
            foreach (RopeShape shape in shapes) (q, k) = (ops.Rope(q, batch, shape), ops.Rope(k, batch, shape));
            x = ops.Add(x, ops.Attention(q, k, v, new Heads(8, 8, 32, 0.2f, 100), batch, 0));
            Span<Tensor> products = stackalloc Tensor[2];
            ops.MatMul(x, [new(square), new(square, bias)], products);
            h = ops.SwiGlu(products[0], products[1]);
            return ops.Add(x, ops.Gelu(ops.Gelu(h, GeluForm.Erf), GeluForm.Tanh), 0.5f);
        }
    }

    [Theory, InlineData(1), InlineData(2)]
    public void Once_warm_no_op_allocates_managed_memory(int threads)
    {
        using TestWeights weights = new();
        using CpuOps ops = new(threads);
        Weight square = weights.Random(NumberFormat.BF16, 256, 256, 1, 0.05f), table = weights.Random(NumberFormat.F16, 50, 256, 2);
        Weight gain = weights.Random(NumberFormat.F32, 1, 256, 3), bias = weights.Random(NumberFormat.F32, 1, 256, 4);
        // The last one has new frequencies at every step.
        RopeShape[] shapes = [new(32, 32, 10000), new(32, 16, 10000, new RopeScaling.Dynamic(2, 10))];
        Everything block = new(square, gain, bias, shapes);
        using KvCache first = ops.CreateCache(1, 256, 200), second = ops.CreateCache(1, 256, 200);
        Batch batch = new([1, 2], [0, 0], [new Sequence(0, 1, first), new Sequence(1, 1, second)], [0, 1]);
        void Step(int position)
        {
            (batch.Positions[0], batch.Positions[1]) = (position, position);
            ops.Begin();
            Tensor x = ops.Run(block, ops.Embed(batch, table, table), batch);
            ops.Read(ops.TakeRows(x, batch.LogitRows));
            first.Advance(1);
            second.Advance(1);
        }
        for (int position = 0; position < 5; position++) Step(position);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int position = 5; position < 50; position++) Step(position);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    // Groups of few rows, of several tiles, and of panels.
    public static TheoryData<NumberFormat, int> Products() =>
        [.. from format in Enum.GetValues<NumberFormat>() from rows in (int[])[1, 4, 8, 20, 100] select (format, rows)];

    [Theory, MemberData(nameof(Products))]
    public void No_product_allocates_managed_memory_in_whatever_format_and_for_however_many_rows(NumberFormat format, int rows)
    {
        const int Columns = 512, Outputs = 100;
        byte[] bytes = new byte[format.Bytes(Columns) * Outputs];
        bytes.AsSpan().Fill(0x2c);
        using NativeBuffer stored = new(bytes.Length);
        System.Runtime.InteropServices.Marshal.Copy(bytes, 0, stored.Address, bytes.Length);
        using CpuWeights weights = new(new OneMatrix(new Weight("w", format, Outputs, Columns, stored.Address)));
        Weight w = weights.Matrix("w", Outputs, Columns);
        using CpuOps ops = new(1);      // all of it on this thread
        float[] x = Numbers.Normal(rows * Columns, seed: 1);
        void Step()
        {
            ops.Begin();
            ops.MatMul(ops.Put(x, rows, Columns), w);
        }
        for (int warm = 0; warm < 3; warm++) Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 0; step < 10; step++) Step();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private sealed class OneMatrix(Weight matrix) : IWeightStore
    {
        public bool Contains(string name) => true;

        public Weight Matrix(string name, int rows, int columns, bool transposed = false) => matrix;

        public Weight Vector(string name, int length) => throw new NotSupportedException();

        public void Release(Weight matrix)
        {
        }

        public void Dispose()
        {
        }
    }
}
