namespace Fude.Tensors.Tests;

/// <summary>Each op against its equation in double precision, and against itself: other batches give the same bits.</summary>
public sealed class CpuOpsTests
{
    // Odd ones, and those around one and two sets of lanes.
    private static readonly int[] Widths = [1, 15, 16, 17, 31, 32, 33, 100];

    private static readonly NumberFormat[] Plain = [NumberFormat.F32, NumberFormat.F16, NumberFormat.BF16];

    public static TheoryData<NumberFormat, int> FormatsAndWidths() =>
        new(from format in Plain from width in (int[])[.. Widths, 1024, 1041, 4096] select (format, width));

    public static TheoryData<int> AllWidths() => new(Widths);

    [Theory, MemberData(nameof(FormatsAndWidths))]
    public void A_product_is_the_sum_of_products_plus_the_bias(NumberFormat format, int width)
    {
        using TestWeights weights = new();
        using CpuOps ops = new(2);
        foreach ((int rows, int outputs) in (ReadOnlySpan<(int, int)>)[(1, 1), (1, 37), (3, 5), (6, 8), (7, 33), (13, 70)])
        {
            Weight w = weights.Random(format, outputs, width, seed: 1), bias = weights.Random(NumberFormat.F32, 1, outputs, seed: 2);
            float[] x = Numbers.Normal(rows * width, seed: 3);
            double[] expected = new double[rows * outputs], values = Numbers.Values(w), biases = Numbers.Values(bias);
            for (int r = 0; r < rows; r++)
                for (int o = 0; o < outputs; o++)
                {
                    expected[r * outputs + o] = biases[o];
                    for (int k = 0; k < width; k++) expected[r * outputs + o] += x[r * width + k] * values[o * width + k];
                }
            ops.Begin();
            // Each of 16 lanes rounds its partial sum, of size about √width, width/16 times: far below 2e-7·width.
            Numbers.Near(expected, ops.Read(ops.MatMul(ops.Put(x, rows, width), w, bias)), 1e-6 + 2e-7 * width);
        }
    }

    [Theory, MemberData(nameof(FormatsAndWidths))]
    public void A_row_alone_gives_the_bits_it_gives_in_a_batch(NumberFormat format, int width)
    {
        const int Outputs = 45;
        using TestWeights weights = new();
        using CpuOps ops = new(2);
        Weight w = weights.Random(format, Outputs, width, seed: 4), bias = weights.Random(NumberFormat.F32, 1, Outputs, seed: 5);
        float[] x = Numbers.Normal(40 * width, seed: 6), alone = new float[40 * Outputs];
        for (int r = 0; r < 40; r++)
        {
            ops.Begin();
            ops.Read(ops.MatMul(ops.Put(x.AsSpan(r * width, width), 1, width), w, bias)).CopyTo(alone.AsSpan(r * Outputs));
        }
        for (int rows = 2; rows <= 40; rows++)
        {
            ops.Begin();
            Tensor y = ops.MatMul(ops.Put(x.AsSpan(0, rows * width), rows, width), w, bias);
            Numbers.SameBits(alone.AsSpan(0, rows * Outputs), ops.Read(y), $"{rows} rows");
        }
    }

    [Fact]
    public void More_rows_than_a_panel_give_the_bits_of_each_alone()
    {
        // More rows than an item has, and a row longer than a panel's stretch.
        const int Rows = 271, Outputs = 38, Width = 4100;
        using TestWeights weights = new();
        using CpuOps ops = new(2);
        Weight w = weights.Random(NumberFormat.BF16, Outputs, Width, seed: 7);
        float[] x = Numbers.Normal(Rows * Width, seed: 8);
        float[] together = ops.Read(ops.MatMul(ops.Put(x, Rows, Width), w)).ToArray();
        for (int r = 0; r < Rows; r++)
        {
            ops.Begin();
            Tensor y = ops.MatMul(ops.Put(x.AsSpan(r * Width, Width), 1, Width), w);
            Numbers.SameBits(together.AsSpan(r * Outputs, Outputs), ops.Read(y), $"row {r}");
        }
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3)]
    public void Several_products_of_one_x_give_the_bits_of_each_alone(int threads)
    {
        using TestWeights weights = new();
        using CpuOps ops = new(threads);
        Weight bias = weights.Random(NumberFormat.F32, 1, 45, seed: 1), quantised = weights.Random(NumberFormat.Q8_0, 70, 1024, seed: 2);
        Factor[] all =
        [
            new(weights.Random(NumberFormat.BF16, 45, 1024, seed: 3), bias), new(quantised), new(weights.Random(NumberFormat.F32, 1, 1024, seed: 4)),
            new(weights.Random(NumberFormat.Q4_0, 200, 1024, seed: 5)), new(weights.Random(NumberFormat.F16, 45, 1024, seed: 6), bias),
        ];
        Tensor[] products = new Tensor[all.Length];
        foreach (int rows in (ReadOnlySpan<int>)[0, 1, 7, 30])
        {
            ops.Begin();
            Tensor x = ops.Put(Numbers.Normal(Math.Max(rows, 1) * 1024, seed: 7), rows, 1024);
            ops.MatMul(x, all, products);
            for (int i = 0; i < all.Length; i++)
                Numbers.SameBits(ops.Read(ops.MatMul(x, all[i].Weight, all[i].Bias)), ops.Read(products[i]), $"product {i} of {rows} rows");
            ops.MatMul(x, [], []);
        }
    }

    [Theory, MemberData(nameof(AllWidths))]
    public void Rms_norm_divides_by_the_root_mean_square(int width)
    {
        using TestWeights weights = new();
        using CpuOps ops = new(1);
        Weight gain = weights.Random(NumberFormat.F32, 1, width, seed: 1);
        float[] x = Numbers.Normal(3 * width, seed: 2, scale: 5);
        double[] expected = new double[x.Length], g = Numbers.Values(gain);
        for (int r = 0; r < 3; r++)
        {
            double square = 0;
            for (int i = 0; i < width; i++) square += (double)x[r * width + i] * x[r * width + i];
            for (int i = 0; i < width; i++) expected[r * width + i] = g[i] * x[r * width + i] / Math.Sqrt(square / width + 1e-5f);
        }
        // A handful of float32 roundings of numbers up to about 10.
        Numbers.Near(expected, ops.Read(ops.RmsNorm(ops.Put(x, 3, width), gain, 1e-5f)), 5e-6);
    }

    [Theory, MemberData(nameof(AllWidths))]
    public void Layer_norm_takes_the_mean_away_and_divides_by_the_deviation(int width)
    {
        using TestWeights weights = new();
        using CpuOps ops = new(1);
        Weight gain = weights.Random(NumberFormat.F32, 1, width, seed: 1), bias = weights.Random(NumberFormat.F32, 1, width, seed: 2);
        float[] x = Numbers.Normal(3 * width, seed: 3);
        for (int i = 0; i < x.Length; i++) x[i] += 10;
        double[] expected = new double[x.Length], g = Numbers.Values(gain), b = Numbers.Values(bias);
        for (int r = 0; r < 3; r++)
        {
            double mean = 0, variance = 0;
            for (int i = 0; i < width; i++) mean += x[r * width + i] / (double)width;
            for (int i = 0; i < width; i++) variance += Math.Pow(x[r * width + i] - mean, 2) / width;
            for (int i = 0; i < width; i++)
                expected[r * width + i] = g[i] * (x[r * width + i] - mean) / Math.Sqrt(variance + 1e-5f) + b[i];
        }
        // The mean of 10 is known to 1e-6; a width of 1 has no deviation to divide that by but √ε = 0.003.
        Numbers.Near(expected, ops.Read(ops.LayerNorm(ops.Put(x, 3, width), gain, bias, 1e-5f)), width == 1 ? 1e-3 : 1e-5);
    }

    [Fact]
    public void Swiglu_gelu_and_add_are_their_equations_number_by_number()
    {
        using CpuOps ops = new(2);
        const int Rows = 3, Width = 16401;
        float[] x = Numbers.Normal(Rows * Width, seed: 1, scale: 3), y = Numbers.Normal(Rows * Width, seed: 2);
        double[] gated = new double[x.Length], erf = new double[x.Length], tanh = new double[x.Length], sum = new double[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            double u = x[i];
            gated[i] = u / (1 + Math.Exp(-u)) * y[i];
            erf[i] = u * (u < 0 ? ErrorFunction.Complement(-u / Math.Sqrt(2)) : 2 - ErrorFunction.Complement(u / Math.Sqrt(2))) / 2;
            tanh[i] = 0.5 * u * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (u + 0.044715 * u * u * u)));
            sum[i] = u + 0.25 * y[i];
        }
        // Numbers up to about 50, a few roundings each.
        Numbers.Near(gated, ops.Read(ops.SwiGlu(ops.Put(x, Rows, Width), ops.Put(y, Rows, Width))), 1e-5);
        Numbers.Near(erf, ops.Read(ops.Gelu(ops.Put(x, Rows, Width), GeluForm.Erf)), 2e-6);
        Numbers.Near(tanh, ops.Read(ops.Gelu(ops.Put(x, Rows, Width), GeluForm.Tanh)), 2e-6);
        Numbers.Near(sum, ops.Read(ops.Add(ops.Put(x, Rows, Width), ops.Put(y, Rows, Width), 0.25f)), 2e-6);
    }

    [Theory, MemberData(nameof(FormatsAndWidths))]
    public void An_embedding_is_the_tokens_row_plus_the_positions_row(NumberFormat format, int width)
    {
        using TestWeights weights = new();
        using CpuOps ops = new(2);
        Weight tokens = weights.Random(format, 11, width, seed: 1), positions = weights.Random(format, 7, width, seed: 2);
        Batch batch = new([10, 0, 3, 10], [6, 0, 1, 2], [new Sequence(0, 4)], [3]);
        double[] t = Numbers.Values(tokens), p = Numbers.Values(positions);
        double[] plain = new double[4 * width], placed = new double[4 * width];
        for (int r = 0; r < 4; r++)
            for (int i = 0; i < width; i++)
            {
                plain[r * width + i] = t[batch.Tokens[r] * width + i];
                placed[r * width + i] = (float)t[batch.Tokens[r] * width + i] + (float)p[batch.Positions[r] * width + i];
            }
        Numbers.Near(plain, ops.Read(ops.Embed(batch, tokens)), 0);
        Numbers.Near(placed, ops.Read(ops.Embed(batch, tokens, positions)), 0);
    }

    [Fact]
    public void Taking_rows_copies_them_in_the_order_asked_for()
    {
        using CpuOps ops = new(1);
        Tensor x = ops.Put([0, 1, 10, 11, 20, 21], 3, 2);
        Assert.Equal([20f, 21, 0, 1, 20, 21], ops.Read(ops.TakeRows(x, [2, 0, 2])).ToArray());
        Assert.Empty(ops.Read(ops.TakeRows(x, [])).ToArray());
    }

    [Fact]
    public void A_half_precision_weight_is_read_exactly_for_all_65536_patterns()
    {
        using TestWeights weights = new();
        float[] numbers = new float[65536];
        for (int i = 0; i < numbers.Length; i++) numbers[i] = (float)BitConverter.UInt16BitsToHalf((ushort)i);
        Weight half = weights.Of(NumberFormat.F16, 4096, 16, numbers);
        int[] all = [.. Enumerable.Range(0, 4096)];
        foreach (string path in InstructionSets.Supported)
        {
            using CpuOps ops = new(1, path);
            ReadOnlySpan<float> read = ops.Read(ops.Embed(new Batch(all, all, [new Sequence(0, 4096)], [0]), half));
            for (int i = 0; i < numbers.Length; i++)
                Assert.True(
                    numbers[i].Equals(read[i]) && float.IsNegative(numbers[i]) == float.IsNegative(read[i]), $"{path}: pattern {i:x4}");
        }
    }

    private sealed class Doubling(int waste, bool inPlace) : IBlock
    {
        public Tensor Forward(IOps ops, Tensor x, Batch batch)
        {
            int[] rows = new int[x.Rows];
            for (int i = 0; i < rows.Length; i++) rows[i] = i;
            Tensor copy = ops.TakeRows(x, rows);
            for (int i = 0; i < waste; i++) copy = ops.TakeRows(copy, rows);
            return inPlace ? ops.Add(x, copy) : ops.Add(copy, x);
        }
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_block_keeps_its_result_and_frees_the_rest(bool inPlace)
    {
        using CpuOps ops = new(1);
        float[] numbers = Numbers.Normal(5 * 10007, seed: 1);
        Batch batch = Batch.Of(new int[5]);
        Doubling block = new(waste: 30, inPlace);
        for (int pass = 0; pass < 3; pass++)
        {
            ops.Begin();
            Tensor x = ops.Put(numbers, 5, 10007), y = ops.Run(block, x, batch);
            for (int i = 0; i < 3; i++) y = ops.Run(block, y, batch);
            nint end = ops.New(1, 1).Address;
            float[] expected = [.. numbers.Select(number => 16 * number)];
            Numbers.SameBits(expected, ops.Read(y));
            // Once the arena is one block, tensors follow each other: x, and with a new result one more a block.
            if (pass == 2) Assert.InRange(end - x.Address, 0, (inPlace ? 1 : 5) * (5 * 10007 * 4 + 64));
        }
    }

    [Fact]
    public void What_does_not_fit_is_refused_at_the_door()
    {
        using TestWeights weights = new();
        using CpuOps ops = new(1);
        Tensor x = ops.Put(new float[8], 2, 4);
        Weight w = weights.Random(NumberFormat.F32, 3, 5, 1), gain = weights.Random(NumberFormat.F32, 1, 5, 1);
        Batch batch = Batch.Of([0, 1]);
        Assert.Contains("4 against 5", Assert.Throws<ArgumentException>(() => ops.MatMul(x, w)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => ops.MatMul(x, [new Factor(w)], new Tensor[1]));
        Assert.Throws<ArgumentException>(() => ops.MatMul(x, [new Factor(w)], new Tensor[2]));
        Assert.Throws<ArgumentException>(() => ops.RmsNorm(x, gain, 1e-5f));
        Assert.Throws<ArgumentException>(() => ops.LayerNorm(x, gain, gain, 1e-5f));
        Assert.Throws<ArgumentException>(() => ops.Add(x, ops.Put(new float[4], 1, 4)));
        Assert.Throws<ArgumentException>(() => ops.TakeRows(x, [2]));
        Assert.Throws<ArgumentException>(() => ops.Embed(Batch.Of([3]), w));
        Assert.Throws<ArgumentException>(() => ops.Embed(Batch.Of([-1]), w));
        Assert.Throws<ArgumentException>(() => ops.Read(default));
        Assert.Throws<ArgumentException>(() => ops.Rope(x, batch, new RopeShape(3, 2, 10000)));
        Assert.Throws<ArgumentException>(() => ops.Rope(x, batch, new RopeShape(4, 3, 10000)));
        Assert.Throws<ArgumentException>(() => ops.Rope(x, batch with { Positions = [0, -1] }, new RopeShape(4, 2, 10000)));
        Assert.Throws<ArgumentException>(() => ops.Attention(x, x, x, new Heads(3, 2, 2, 1), batch, 0));
        Assert.Throws<ArgumentException>(() => ops.Attention(x, x, x, new Heads(1, 1, 4, 1), batch with { Sequences = [new(0, 1)] }, 0));
        Assert.Throws<ArgumentException>(() => ops.Attention(x, x, x, new Heads(1, 1, 4, 1), batch with { Sequences = [new(0, 3)] }, 0));
        Batch swapped = batch with { Sequences = [new(1, 1), new(0, 1)] };
        Assert.Throws<ArgumentException>(() => ops.Attention(x, x, x, new Heads(1, 1, 4, 1), swapped, 0));
    }
}
