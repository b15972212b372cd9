namespace Fude.Tensors.Tests;

/// <summary>Products of numbers rounded to bfloat16: what rounds is stated bit by bit, and every way to compute them gives the same bits.</summary>
public sealed unsafe class Bf16ProductTests
{
    private static readonly ProductPrecision[] Rounded = [ProductPrecision.Bf16, ProductPrecision.Bf16Tiles];

    [Theory]
    [InlineData(0x3F80_0000, 0x3F80_0000)]      // 1
    [InlineData(0x3F80_8000, 0x3F80_0000)]      // a tie goes to the even neighbour, below
    [InlineData(0x3F81_8000, 0x3F82_0000)]      // and above
    [InlineData(0x3F80_8001, 0x3F81_0000)]
    [InlineData(0xBF80_7FFF, 0xBF80_0000)]
    [InlineData(0x3FFF_FFFF, 0x4000_0000)]      // into the next power of two
    [InlineData(0x7F7F_FFFF, 0x7F80_0000)]      // into infinity
    [InlineData(0xFF80_0000, 0xFF80_0000)]
    [InlineData(0x7F80_0001, 0x7FC0_0000)]      // no number, though its upper half is that of infinity
    [InlineData(0xFFFF_FFFF, 0x7FC0_0000)]
    [InlineData(0x2380_0000, 0x2380_0000)]      // 2⁻⁵⁶ is the smallest that counts
    [InlineData(0x237F_FFFF, 0)]
    [InlineData(0xA37F_FFFF, 0)]
    [InlineData(0x0000_0001, 0)]
    [InlineData(0x8000_0000, 0)]
    public void A_number_is_rounded_to_the_nearest_bfloat16(uint number, uint expected)
    {
        float[] numbers = [.. Enumerable.Repeat(BitConverter.UInt32BitsToSingle(number), 19)];
        Assert.Equal(expected, Bf16Numbers.Round(numbers[0]));
        fixed (float* first = numbers) Bf16Numbers.RoundAll(first, numbers.Length);
        Assert.All(numbers, rounded => Assert.Equal(expected, BitConverter.SingleToUInt32Bits(rounded)));
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 5, 7)]
    [InlineData(12, 16, 32)]
    [InlineData(33, 17, 65)]        // the second chain of a block is one number
    [InlineData(13, 255, 33)]       // an odd number of k: the last pair is half there
    [InlineData(24, 257, 64)]       // in the second piece too
    [InlineData(100, 600, 40)]
    [InlineData(300, 131, 270)]
    public void Every_way_to_compute_them_gives_the_same_bits(int rows, int inputs, int outputs)
    {
        float[] x = Awkward(rows * inputs, 1), w = Awkward(outputs * inputs, 2), dy = Awkward(rows * outputs, 3), held = Numbers.Normal(outputs * inputs, 4);
        foreach (ProductPrecision products in Rounded)
        {
            float[][] expected = Compute(new CpuOps(1, InstructionSets.Scalar) { Precision = products }, x, w, dy, held, rows, inputs, outputs);
            foreach (string path in InstructionSets.Supported)
                foreach (int threads in (ReadOnlySpan<int>)[1, 2, 3])
                {
                    float[][] found = Compute(new CpuOps(threads, path) { Precision = products }, x, w, dy, held, rows, inputs, outputs);
                    for (int i = 0; i < expected.Length; i++) Numbers.SameBits(expected[i], found[i], $"{products}, {path}, {threads} threads, result {i}");
                }
        }
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(5, 3, 7)]
    [InlineData(12, 32, 32)]
    [InlineData(13, 33, 47)]
    [InlineData(200, 70, 300)]
    public void Nothing_beyond_the_matrices_is_touched(int m, int n, int k)
    {
        float[] a = Numbers.Normal(m * k, 1), b = Numbers.Normal(k * n, 2), c = Numbers.Normal(m * n, 3);
        foreach (bool turnsA in (ReadOnlySpan<bool>)[false, true])
            foreach (bool turnsB in (ReadOnlySpan<bool>)[false, true])
            {
                float[]? chained = null, inBlocks = null;
                foreach (string path in InstructionSets.Supported)
                {
                    TrainingKernels kernels = TrainingKernels.Of(path);
                    _ = Guarded(rounds: false, false, MatrixProduct.Rows, MatrixProduct.LargestItemRows, &MatrixProduct.Pack, kernels.Product, turnsA, turnsB);
                    float[] found = Guarded(rounds: true, false, MatrixProduct.Rows, MatrixProduct.LargestItemRows, &MatrixProduct.Pack, kernels.Product, turnsA, turnsB);
                    Numbers.SameBits(chained ??= found, found, path);
                    found = Guarded(rounds: true, true, MatrixProduct.Rows, MatrixProduct.LargestItemRows, &MatrixProduct.Pack, kernels.Product, turnsA, turnsB);
                    Numbers.SameBits(inBlocks ??= found, found, path);
                }
                if (Bf16Tile.IsSupported)
                    Numbers.SameBits(chained!, Guarded(true, false, Bf16Tile.Rows, Bf16Product.LargestItemRows, &Bf16Product.Pack, &Bf16Product.Run, turnsA, turnsB));
                // The packing for AMX is in AVX-512; its tiles are put in here by hand, and interpreted below.
                if (InstructionSets.IsSupported(InstructionSets.Avx512Name))
                    Numbers.SameBits(inBlocks!, Guarded(
                        true, true, AmxProduct.Rows, Bf16Product.LargestItemRows, &AmxProduct.Pack, &AmxProduct.Run<PlainBlocks>, turnsA, turnsB));
            }

        float[] Guarded(
            bool rounds, bool inBlocks, int tileRows, int largestRows, delegate*<void*, int, int, void> pack, delegate*<void*, int, int, void> run, bool turnsA, bool turnsB)
        {
            using GuardedMemory left = GuardedMemory.Of(a), right = GuardedMemory.Of(b), sum = GuardedMemory.Of(c);
            MatrixProduct.Job job = new()
            {
                A = new() { Numbers = (float*)left.Address, RowStride = turnsA ? 1 : k, ColumnStride = turnsA ? m : 1 },
                B = new() { Numbers = (float*)right.Address, RowStride = turnsB ? 1 : n, ColumnStride = turnsB ? k : 1 },
                C = (float*)sum.Address,
                CStride = n,
                M = m,
                N = n,
                K = k,
                Adds = true,
                Rounds = rounds,
                InBlocks = inBlocks,
            };
            using GuardedMemory packed = new(MatrixProduct.PackedNumbers(job) * sizeof(float)), scratch = new(MatrixProduct.ScratchBytes);
            job.Packed = (float*)packed.Address;
            job.Scratch = (byte*)scratch.Address;
            int items = MatrixProduct.Plan(ref job, 1, tileRows, largestRows);
            for (int item = 0; item < MatrixProduct.PackItems(job); item++) pack(&job, item, 0);
            for (int item = 0; item < items; item++) run(&job, item, 0);
            return sum.Floats.ToArray();
        }
    }

    [Theory, InlineData(1), InlineData(2), InlineData(8)]
    public void The_routine_in_amx_s_tiles_has_the_bits_of_the_definition(int blocks)
    {
        int numbers = AmxProduct.Rows * AmxProduct.Block / 2 * blocks;
        float[] values = Awkward(4 * numbers, 7);
        uint[] strip = Pairs(0), panel = Pairs(2 * numbers);
        float[] expected = new float[AmxProduct.Rows * AmxProduct.Columns], found = new float[expected.Length];
        byte* configuration = stackalloc byte[AmxTile.ConfigurationBytes];
        PeakCode.Describe(new Span<byte>(configuration, AmxTile.ConfigurationBytes));
        fixed (uint* a = strip, b = panel)
        fixed (float* plain = expected, tiles = found)
        {
            PlainBlocks.Multiply(a, b, plain, blocks);
            InstructionInterpreter interpreter = new();
            interpreter.Allow(configuration, AmxTile.ConfigurationBytes);
            interpreter.Allow(a, strip.Length * sizeof(uint));
            interpreter.Allow(b, panel.Length * sizeof(uint));
            interpreter.Allow(tiles, found.Length * sizeof(float), mayWrite: true);
            interpreter.Run(MachineCode.Assemble(AmxTile.WriteOpening), (nint)configuration);
            interpreter.Run(MachineCode.Assemble(AmxBlocks.Write), (nint)a, (nint)b, (nint)tiles, blocks);
            interpreter.Run(MachineCode.Assemble(AmxTile.WriteClosing));
            Assert.False(interpreter.HasTiles);
            Assert.Equal(4 * blocks, interpreter.Counts[Iced.Intel.Mnemonic.Tdpbf16ps]);
        }
        Numbers.SameBits(expected, found);

        uint[] Pairs(int first) => [.. Enumerable.Range(0, numbers).Select(i => Bf16Numbers.Pair(values[first + 2 * i], values[first + 2 * i + 1]))];
    }

    // The definition, pair by pair.
    private readonly struct PlainBlocks : IBlockTile
    {
        public static void Open()
        {
        }

        public static void Multiply(uint* strip, uint* panel, float* sums, long blocks)
        {
            for (int row = 0; row < AmxProduct.Rows; row++)
                for (int column = 0; column < AmxProduct.Columns; column++)
                {
                    float sum = 0;
                    for (int block = 0; block < blocks; block++)
                    {
                        float first = 0, second = 0;
                        for (int pair = 0; pair < 16; pair++)
                        {
                            uint a = strip[(block * 32 + row) * 16 + pair], b = panel[((block * 2 + column / 16) * 16 + pair) * 16 + column % 16];
                            first = MathF.FusedMultiplyAdd(Upper(a), Upper(b), first);
                            second = MathF.FusedMultiplyAdd(Upper(a << 16), Upper(b << 16), second);
                        }
                        sum += first + second;
                    }
                    sums[row * AmxProduct.Columns + column] = sum;
                }

            static float Upper(uint pair) => BitConverter.UInt32BitsToSingle(pair & 0xFFFF_0000);
        }

        public static void Close()
        {
        }
    }

    [Fact]
    public void They_are_the_products_of_the_rounded_numbers()
    {
        const int Rows = 9, Inputs = 300, Outputs = 35;
        float[] x = Numbers.Normal(Rows * Inputs, 1), w = Numbers.Normal(Outputs * Inputs, 2), dy = Numbers.Normal(Rows * Outputs, 3);
        float[] held = new float[Outputs * Inputs];
        float[][][] all = [.. Rounded.Select(products => Compute(new CpuOps(2) { Precision = products }, x, w, dy, held, Rows, Inputs, Outputs))];
        fixed (float* p = x) Bf16Numbers.RoundAll(p, x.Length);
        fixed (float* p = w) Bf16Numbers.RoundAll(p, w.Length);
        fixed (float* p = dy) Bf16Numbers.RoundAll(p, dy.Length);
        double[] y = new double[Rows * Outputs], dx = new double[Rows * Inputs], dw = new double[Outputs * Inputs];
        for (int i = 0; i < Rows; i++)
            for (int o = 0; o < Outputs; o++)
                for (int k = 0; k < Inputs; k++)
                {
                    y[i * Outputs + o] += (double)x[i * Inputs + k] * w[o * Inputs + k];
                    dx[i * Inputs + k] += (double)dy[i * Outputs + o] * w[o * Inputs + k];
                    dw[o * Inputs + k] += (double)dy[i * Outputs + o] * x[i * Inputs + k];
                }
        // Only the sums round, and their 300 terms are of size 1; numbers rounded differently would be off by 2⁻⁹ of a term.
        foreach (float[][] found in all)
        {
            Numbers.Near(y, found[0], 2e-5);
            Numbers.Near(dx, found[1], 2e-5);
            Numbers.Near(dw, found[2], 2e-5);
        }
    }

    [Fact]
    public void No_number_and_infinity_are_not_lost()
    {
        float[] x = [.. Enumerable.Repeat(1f, 12 * 16)], w = [.. Enumerable.Repeat(0.5f, 32 * 16)], dy = new float[12 * 32], held = new float[32 * 16];
        (x[3], x[16]) = (float.NaN, float.PositiveInfinity);
        foreach ((string path, ProductPrecision products) in InstructionSets.Supported.SelectMany(path => Rounded.Select(products => (path, products))))
        {
            float[] y = Compute(new CpuOps(1, path) { Precision = products }, x, w, dy, held, 12, 16, 32)[0];
            Assert.All(y[..32], number => Assert.True(float.IsNaN(number)));
            Assert.All(y[32..64], number => Assert.Equal(float.PositiveInfinity, number));
            Assert.All(y[64..], number => Assert.Equal(8f, number));
        }
    }

    // y, dx (added to what was there), dw (likewise).
    private static float[][] Compute(CpuOps ops, float[] x, float[] w, float[] dy, float[] held, int rows, int inputs, int outputs)
    {
        using TestWeights weights = new();
        using (ops)
        {
            ops.Begin();
            Weight weight = weights.Of(NumberFormat.F32, outputs, inputs, w);
            Tensor input = ops.Put(x, rows, inputs), gradient = ops.Put(dy, rows, outputs), dx = ops.New(rows, inputs), dw = ops.Put(held, outputs, inputs);
            float[] y = ops.Read(ops.Multiply(input, weight)).ToArray();
            ops.MultiplyBackward(input, weight, gradient, dx, adds: false, dw, null);
            return [y, ops.Read(dx).ToArray(), ops.Read(dw).ToArray()];
        }
    }

    // Numbers of every size, some of them too small to count, some that cancel.
    private static float[] Awkward(int count, int seed)
    {
        float[] numbers = Numbers.Normal(count, seed);
        for (int i = 0; i < count; i++)
            numbers[i] *= (i % 7) switch { 0 => 1e-17f, 1 => 1e-20f, 2 => 1e-38f, 3 => 1e4f, _ => 1 };
        for (int i = 5; i < count; i += 11) numbers[i] = -numbers[i - 1];
        return numbers;
    }
}
