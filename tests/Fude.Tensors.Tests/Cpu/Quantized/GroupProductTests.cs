namespace Fude.Tensors.Tests;

/// <summary>The int8 product on every path against its numeric definition, written once more here, row by row, in plain loops.</summary>
public sealed unsafe class GroupProductTests
{
    private static readonly NumberFormat[] Formats = [.. Enum.GetValues<NumberFormat>().Where(format => GroupLayout.Of(format) is not null)];

    public static TheoryData<string, NumberFormat> Cases() =>
        [.. from path in CpuKernels.Paths.Where(path => path.IsSupported) from format in Formats select (path.Name, format)];

    [Theory, MemberData(nameof(Cases))]
    public void Every_path_gives_the_bits_of_the_definition(string path, NumberFormat format)
    {
        int unit = format.BlockLength();
        foreach ((int rows, int outputs, int units) in (ReadOnlySpan<(int, int, int)>)
            [(1, 1, 1), (1, 75, 3), (2, 16, 9), (3, 33, 2), (5, 20, 1), (8, 130, 2), (9, 17, 3), (14, 40, 17), (33, 32, 1), (50, 100, 5), (70, 33, 2)])
            Compare(path, format, rows, outputs, units * unit, first: 0, of: outputs);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Rows_from_the_middle_of_a_matrix_give_the_same(string path, NumberFormat format)
    {
        foreach (int rows in (ReadOnlySpan<int>)[1, 4, 23])
        {
            Compare(path, format, rows, outputs: 24, format.BlockLength() * 3, first: 24, of: 72);
            Compare(path, format, rows, outputs: 3, format.BlockLength(), first: 15, of: 50);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Numbers_that_are_not_finite_spoil_their_row_and_no_other(string path, NumberFormat format)
    {
        int columns = 2 * format.BlockLength();
        using Matrix w = new(format, 20, columns, seed: 3);
        using CpuOps ops = new(1, path);
        float[] x = Numbers.Normal(11 * columns, seed: 8);
        x[(2 * columns) + 33] = float.NaN;
        x[(5 * columns) + 5] = float.PositiveInfinity;
        ops.Begin();
        ReadOnlySpan<float> y = ops.Read(ops.MatMul(ops.Put(x, 11, columns), w.Grouped));
        for (int i = 0; i < y.Length; i++) Assert.Equal(i / 20 is 2 or 5, float.IsNaN(y[i]));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Kernels_stay_within_their_memory_and_give_the_same_from_one_place_and_from_several(string path, NumberFormat format)
    {
        foreach ((int rows, int outputs, int units) in (ReadOnlySpan<(int, int, int)>)
            [(1, 150, 11), (2, 40, 3), (3, 64, 1), (4, 17, 2), (5, 90, 1), (6, 31, 1), (7, 33, 2), (8, 150, 3), (9, 31, 1), (29, 49, 2), (64, 20, 2), (67, 49, 1)])
        {
            int columns = units * format.BlockLength();
            using Matrix w = new(format, outputs, columns, seed: 21);
            using GuardedMemory x = GuardedMemory.Of(Numbers.Normal(rows * columns, seed: 3));
            float[] expected = Product("scalar", w.Grouped, x, rows, streams: 1);
            for (int streams = 1; streams <= GroupProduct.MaximalStreams; streams++)
                Numbers.SameBits(expected, Product(path, w.Grouped, x, rows, streams), $"{path} {format} {rows} rows, {streams} places");
        }
    }

    public static TheoryData<NumberFormat> Layouts() => [.. Formats];

    // The interpreter shows that the tiles are right; this, that they are given what they take.
    [Theory, MemberData(nameof(Layouts))]
    public void Panels_are_laid_out_as_the_tiles_of_AMX_take_them(NumberFormat format)
    {
        Assert.SkipUnless(AmxTile.Refusal is not null, "This processor has AMX: it is among the paths of the other tests.");
        Assert.SkipUnless(VnniTile.IsSupported, "This processor has no AVX-512 with VNNI.");
        SignedTile.Install();
        CpuKernels kernels = CpuKernels.Paths.Single(path => path.Name == "amx").Make();
        foreach ((int rows, int outputs, int runs) in (ReadOnlySpan<(int, int, int)>)
            [(1, 20, 8), (9, 20, 8), (24, 17, 8), (25, 49, 8), (30, 33, 24), (36, 16, 8), (71, 33, 16), (400, 40, 8)])
        {
            int columns = runs * GroupLayout.Run;
            using Matrix w = new(format, outputs, columns, seed: 5);
            using GuardedMemory x = GuardedMemory.Of(Numbers.Normal(rows * columns, seed: 3));
            Numbers.SameBits(Product("scalar", w.Grouped, x, rows, streams: 1), Product(kernels, w.Grouped, x, rows, streams: 1), $"{format} {rows} rows");
            Assert.False(SignedTile.IsOpen);
        }
    }

    // As in a GGUF file whose queries and keys are of a format that has no int8 kernel, and whose values are of one that has.
    [Fact]
    public void Products_with_and_without_groups_that_run_side_by_side_give_the_bits_of_each_alone()
    {
        const int Rows = 70, Columns = 512, Outputs = 64, Pairs = 4;
        using TestWeights weights = new();
        using Matrix w = new(NumberFormat.Q4_0, Outputs, Columns, seed: 6);
        Weight plain = weights.Random(NumberFormat.F16, Outputs, Columns, seed: 7);
        float[] x = Numbers.Normal(Rows * Columns, seed: 8);
        Factor[] factors = [.. Enumerable.Range(0, 2 * Pairs).Select(i => new Factor(i % 2 == 0 ? plain : w.Grouped))];
        using CpuOps alone = new(1), ops = new(4);
        float[][] expected = new float[2][];
        for (int i = 0; i < expected.Length; i++)
        {
            alone.Begin();
            expected[i] = alone.Read(alone.MatMul(alone.Put(x, Rows, Columns), factors[i].Weight)).ToArray();
        }
        Tensor[] products = new Tensor[factors.Length];
        for (int time = 0; time < 50; time++)
        {
            ops.Begin();
            ops.MatMul(ops.Put(x, Rows, Columns), factors, products);
            for (int i = 0; i < products.Length; i++) Numbers.SameBits(expected[i % 2], ops.Read(products[i]), $"time {time}, product {i}");
        }
    }

    private static float[] Product(string path, Weight w, GuardedMemory x, int rows, int streams) =>
        Product(CpuKernels.Of(path), w, x, rows, streams);

    private static float[] Product(CpuKernels kernels, Weight w, GuardedMemory x, int rows, int streams)
    {
        using GuardedMemory bytes = new(QuantizedRows.Bytes(rows, w.Columns)), y = new((long)rows * w.Rows * sizeof(float));
        using GuardedMemory scratch = new(GroupProduct.ScratchBytes);
        QuantizedRows.Job quantize = new()
        {
            X = (float*)x.Address,
            Target = (byte*)bytes.Address,
            Rows = rows,
            Columns = w.Columns,
            TileRows = GroupProduct.TileRowsFor(rows, kernels.TileCode),
            ItemTiles = 2,
        };
        for (int item = 0; item < QuantizedRows.Items(quantize); item++) kernels.QuantizeRows(&quantize, item, 0);
        GroupProduct.Job job = new()
        {
            X = quantize.Target,
            W = (byte*)w.Address,
            Y = (float*)y.Address,
            Rows = rows,
            Inputs = w.Columns,
            Outputs = w.Rows,
            GroupBytes = (nint)w.Groups!.GroupBytes(w.Columns),
            TileRows = quantize.TileRows,
            Format = w.Format,
            Code = kernels.TileCode,
            Scratch = (byte*)scratch.Address,
        };
        int items = GroupProduct.Plan(ref job, 2, streams);
        for (int item = 0; item < items; item++) kernels.GroupProduct[(int)w.Format](&job, item, 0);
        float[] product = y.Floats.ToArray();
        // Once its routines are made, and with scratch that was used.
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int item = 0; item < items; item++) kernels.GroupProduct[(int)w.Format](&job, item, 0);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Numbers.SameBits(product, y.Floats, "again");
        return product;
    }

    private static void Compare(string path, NumberFormat format, int rows, int outputs, int columns, int first, int of)
    {
        using Matrix w = new(format, of, columns, seed: 12);
        using GuardedMemory bias = GuardedMemory.Of(Numbers.Normal(outputs, seed: 4));
        float[] x = Numbers.Normal(rows * columns, seed: 3, scale: 2);
        for (int i = 0; i < x.Length; i += 41) x[i] *= 20;
        x.AsSpan(0, 32).Clear();
        if (columns > 32) x.AsSpan(32, 32).Fill(1e-36f);
        float[] expected = new float[rows * outputs];
        for (int row = 0; row < rows; row++)
            for (int o = 0; o < outputs; o++)
                expected[(row * outputs) + o] = w.Defined(first + o, x.AsSpan(row * columns, columns)) + bias.Floats[o];
        Weight vector = new("b", NumberFormat.F32, 1, outputs, bias.Address);
        foreach (int threads in (ReadOnlySpan<int>)[1, 3])
        {
            using CpuOps ops = new(threads, path);
            ops.Begin();
            Tensor y = ops.MatMul(ops.Put(x, rows, columns), w.Grouped.Slice(first, outputs), vector);
            Numbers.SameBits(expected, ops.Read(y), $"{path} {format} [{rows}, {columns}] x {outputs} of {of} rows, {threads} threads");
        }
    }

    /// <summary>A matrix in groups, before a page that may not be touched.</summary>
    private sealed class Matrix : IDisposable
    {
        private readonly NumberFormat _format;
        private readonly byte[] _blocks;
        private readonly int _columns;
        private readonly GuardedMemory _memory;

        public Matrix(NumberFormat format, int rows, int columns, ulong seed)
        {
            (_format, _columns) = (format, columns);
            GroupLayout layout = GroupLayout.Of(format)!;
            _blocks = RandomBlocks.Of(format, rows * columns / format.BlockLength(), seed);
            _memory = new GuardedMemory(layout.Bytes(rows, columns));
            fixed (byte* blocks = _blocks)
                for (int group = 0; group < (rows + 15) / 16; group++)
                    layout.Pack(
                        blocks + (group * 16 * format.Bytes(columns)), Math.Min(16, rows - (group * 16)), columns,
                        (byte*)_memory.Address + (group * layout.GroupBytes(columns)));
            Grouped = new Weight("w", format, rows, columns, _memory.Address, firstRow: 0);
        }

        public Weight Grouped { get; }

        /// <summary>One number of the product by the definition. The blocks' scales are found from what a block widens to.</summary>
        public float Defined(int row, ReadOnlySpan<float> x)
        {
            int perScale = _format == NumberFormat.Q6_K ? 16 : 32;
            float sum = 0;
            for (int k = 0; k < _columns; k += 32)
            {
                float max = 0;
                foreach (float number in x.Slice(k, 32)) max = Math.Max(max, Math.Abs(number));
                float scale = max < 1e-30f ? 0 : max / 127f, inverse = max < 1e-30f ? 0 : 127f / max;
                int[] q = [.. x.Slice(k, 32).ToArray().Select(number => (int)Math.Round((double)number * inverse, MidpointRounding.ToEven))];
                float minimum = 0;
                for (int i = 0; i < 32; i += perScale)
                {
                    (float[] levels, float d, minimum) = Levels(row, k + i, perScale);
                    int dot = 0;
                    for (int j = 0; j < perScale; j++) dot += (int)levels[j] * q[i + j];
                    sum = MathF.FusedMultiplyAdd(dot, d * scale, sum);
                }
                if (_format is NumberFormat.Q4_1 or NumberFormat.Q5_1 or NumberFormat.Q4_K or NumberFormat.Q5_K)
                    sum = MathF.FusedMultiplyAdd(minimum, scale * q.Sum(), sum);
            }
            return sum;
        }

        /// <summary>Signed levels, scale and minimum of a run, straight from the GGUF block.</summary>
        private (float[] Levels, float Scale, float Minimum) Levels(int row, int first, int count)
        {
            int length = _format.BlockLength(), bytes = _format.BlockBytes();
            Span<byte> block = _blocks.AsSpan((((row * _columns) + first) / length) * bytes, bytes).ToArray();
            float Half(Span<byte> b, int at) => (float)BitConverter.ToHalf(b[at..]);
            int start = first % length, run = start / 32;
            (float scale, float minimum) = (0, 0);
            // With d = 1 and no minimum a block widens to its signed levels, exactly.
            switch (_format)
            {
                case NumberFormat.Q8_0 or NumberFormat.Q4_0 or NumberFormat.Q5_0:
                    scale = Half(block, 0);
                    BitConverter.TryWriteBytes(block, (Half)1);
                    break;
                case NumberFormat.Q4_1 or NumberFormat.Q5_1:
                    (scale, minimum) = (Half(block, 0), Half(block, 2));
                    BitConverter.TryWriteBytes(block, (Half)1);
                    BitConverter.TryWriteBytes(block[2..], (Half)0);
                    break;
                case NumberFormat.Q4_K or NumberFormat.Q5_K:
                    (int s, int m) = SixBitPairs.Read(block[4..16], run);
                    (scale, minimum) = (Half(block, 0) * s, -(Half(block, 2) * m));
                    BitConverter.TryWriteBytes(block, (Half)1);
                    BitConverter.TryWriteBytes(block[2..], (Half)0);
                    for (int r = 0; r < 4; r++) block[4 + r] = 1;
                    for (int r = 4; r < 8; r++) block[8 + r] = 1;
                    for (int r = 0; r < 4; r++) block[8 + r] = 0;
                    break;
                default:
                    scale = Half(block, 208) * (sbyte)block[192 + (start / 16)];
                    BitConverter.TryWriteBytes(block[208..], (Half)1);
                    block[192..208].Fill(1);
                    break;
            }
            float[] widened = new float[length];
            _format.Widen(block, widened);
            return (widened[start..(start + count)], scale, minimum);
        }

        public void Dispose() => _memory.Dispose();
    }
}
