namespace Fude.Tensors.Tests;

/// <summary>Each op's backward pass against central differences of its equation in double precision, and against itself: other instruction sets
/// and threads give the same bits.</summary>
public sealed class BackwardTests
{
    private delegate float[][] Backward(CpuOps ops, float[][] arguments, float[] dy);

    // One row an op: its arguments, its equation, and its backward pass. Central differences in double precision are off by some 1e-9; the
    // kernels round each of some dozen terms of size 1.
    private sealed record Row(string Name, int[] Sizes, Func<double[][], double[]> Equation, Backward Backward, double Tolerance = 2e-5);

    private static readonly Heads Plain = new(2, 2, 5, 0.6f), Grouped = new(4, 2, 6, 0.5f), Windowed = new(2, 1, 8, 0.7f, Window: 4);
    private static readonly Batch Packed = Texts(1, 9, 4), Long = Texts(70, 3, 130);

    private static readonly Row[] Rows =
    [
        Product(3, 5, 7), Product(9, 20, 33), Product(2, 300, 3),
        Norm("RmsNorm", 4, 19, isCentred: false), Norm("LayerNorm", 70, 4, isCentred: true), Norm("LayerNorm", 3, 33, isCentred: true),
        new("Rope", [14 * 12], x => Rotate(x[0], 14, 12, 6, 4), (ops, x, dy) =>
            [Read(ops, ops.RopeBackward(ops.Put(dy, 14, 12), Packed, new RopeShape(6, 4, 100)))]),
        Attention("Attend", Plain, Packed), Attention("Attend, grouped", Grouped, Packed), Attention("Attend, windowed", Windowed, Packed),
        new("SwiGlu", [50, 50], x => Map(x[0], (g, i) => g / (1 + Math.Exp(-g)) * x[1][i]), (ops, x, dy) =>
        {
            Tensor dgate = ops.New(2, 25), dup = ops.New(2, 25);
            ops.SwiGluBackward(ops.Put(x[0], 2, 25), ops.Put(x[1], 2, 25), ops.Put(dy, 2, 25), dgate, dup);
            return [Read(ops, dgate), Read(ops, dup)];
        }),
        new("Gelu, erf", [50], x => Map(x[0], (u, _) => u * (u < 0 ? 1 - Half(u) : Half(u))), (ops, x, dy) => Gelu(ops, x[0], dy, GeluForm.Erf)),
        new("Gelu, tanh", [50], x => Map(x[0], (u, _) => 0.5 * u * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (u + 0.044715 * u * u * u)))),
            (ops, x, dy) => Gelu(ops, x[0], dy, GeluForm.Tanh)),
        new("Embed", [6 * 7, 9 * 7], x => [.. Enumerable.Range(0, 14 * 7).Select(i =>
            x[0][Packed.Tokens[i / 7] * 7 + i % 7] + x[1][Packed.Positions[i / 7] * 7 + i % 7])], (ops, x, dy) =>
        {
            Tensor tokens = Zeros(ops, 6, 7), positions = Zeros(ops, 9, 7);
            ops.EmbedBackward(Packed, ops.Put(dy, 14, 7), tokens, positions);
            return [Read(ops, tokens), Read(ops, positions)];
        }),
        new("TakeRows", [5 * 70], x => [.. ((int[])[1, 1, 4]).SelectMany(row => x[0][(row * 70)..(row * 70 + 70)])], (ops, x, dy) =>
        {
            Tensor dx = Zeros(ops, 5, 70);
            ops.TakeRowsBackward(ops.Put(dy, 3, 70), [1, 1, 4], dx);
            return [Read(ops, dx)];
        }),
        Loss("CrossEntropy", default), Loss("CrossEntropy, smoothed", new LossForm(0.1f, 0)), Loss("CrossEntropy, z-loss", new LossForm(0, 0.01f)),
        Loss("CrossEntropy, both", new LossForm(0.2f, 0.03f)),
    ];

    public static TheoryData<int, string> Ops() => new(Rows.Select((row, i) => (i, row.Name)));

    [Theory, MemberData(nameof(Ops))]
    public void Gradients_are_those_of_the_equation(int index, string name)
    {
        Row row = Rows[index];
        Assert.Equal(name, row.Name);
        float[][] arguments = [.. row.Sizes.Select((size, i) => Numbers.Normal(size, seed: index * 10 + i + 1))];
        double[][] exact = [.. arguments.Select(argument => Array.ConvertAll(argument, number => (double)number))];
        float[] dy = Numbers.Normal(row.Equation(exact).Length, seed: 99);
        using CpuOps ops = new(2);
        float[][] gradients = row.Backward(ops, arguments, dy);
        const double Step = 1e-5;
        for (int a = 0; a < arguments.Length; a++)
        {
            double[] expected = new double[exact[a].Length];
            for (int i = 0; i < expected.Length; i++)
            {
                double kept = exact[a][i];
                exact[a][i] = kept + Step;
                double above = Dot(row.Equation(exact), dy);
                exact[a][i] = kept - Step;
                expected[i] = (above - Dot(row.Equation(exact), dy)) / (2 * Step);
                exact[a][i] = kept;
            }
            Numbers.Near(expected, gradients[a], row.Tolerance);
        }
    }

    [Fact]
    public void A_query_that_sees_one_key_has_no_gradient_at_all()
    {
        // Its weight is 1 whatever query and key are. A rest of rounding would be a whole step to AdamW.
        foreach ((Heads heads, Batch batch) in (ReadOnlySpan<(Heads, Batch)>)[(Windowed with { Window = 1 }, Long), (Grouped, Texts(1, 1, 1))])
        {
            int rows = batch.Tokens.Length, queryWidth = heads.Query * heads.Size, keyWidth = heads.KeyValue * heads.Size;
            foreach (string path in InstructionSets.Supported)
            {
                using CpuOps ops = new(1, path);
                ops.Begin();
                Tensor q = ops.Put(Numbers.Normal(rows * queryWidth, seed: 1), rows, queryWidth);
                Tensor k = ops.Put(Numbers.Normal(rows * keyWidth, seed: 2), rows, keyWidth), v = ops.Put(Numbers.Normal(rows * keyWidth, seed: 3), rows, keyWidth);
                _ = ops.Attend(q, k, v, heads, batch, default, out Tensor sums);
                Tensor dq = ops.New(rows, queryWidth), dk = ops.New(rows, keyWidth), dv = ops.New(rows, keyWidth);
                ops.AttendBackward(q, k, v, sums, ops.Put(Numbers.Normal(rows * queryWidth, seed: 4), rows, queryWidth), heads, batch, default, dq, dk, dv);
                Assert.Equal(-1, ops.Read(dq).IndexOfAnyExcept(0f));
                Assert.Equal(-1, ops.Read(dk).IndexOfAnyExcept(0f));
                Assert.NotEqual(-1, ops.Read(dv).IndexOfAnyExcept(0f));
            }
        }
    }

    // Blocks, strips and items in number: what is shared out must not show.
    private static readonly Row[] Large =
    [
        Product(300, 130, 70), Product(100, 600, 40), Norm("RmsNorm", 200, 100, isCentred: false), Norm("LayerNorm", 200, 100, isCentred: true),
        Attention("Attend", Grouped, Long), Attention("Attend, windowed", Windowed with { Window = 70 }, Long),
        Rows.Single(row => row.Name == "Embed"), Rows.Single(row => row.Name == "SwiGlu"), Rows.Single(row => row.Name == "Gelu, erf"),
        Rows.Single(row => row.Name == "Gelu, tanh"), Rows.Single(row => row.Name == "CrossEntropy, both"), Rows.Single(row => row.Name == "Rope"),
    ];

    public static TheoryData<int, string> LargeOps() => new(Large.Select((row, i) => (i, row.Name)));

    [Theory, MemberData(nameof(LargeOps))]
    public void Every_instruction_set_and_number_of_threads_gives_the_same_bits(int index, string name)
    {
        Row row = Large[index];
        Assert.Equal(name, row.Name);
        float[][] arguments = [.. row.Sizes.Select((size, i) => Numbers.Normal(size, seed: index * 10 + i + 1))];
        double[][] exact = [.. arguments.Select(argument => Array.ConvertAll(argument, number => (double)number))];
        float[] dy = Numbers.Normal(row.Equation(exact).Length, seed: 99);
        using CpuOps reference = new(1, InstructionSets.Scalar);
        float[][] expected = row.Backward(reference, arguments, dy);
        foreach (string path in InstructionSets.Supported)
            foreach (int threads in (ReadOnlySpan<int>)[1, 2, 3])
            {
                using CpuOps ops = new(threads, path);
                float[][] found = row.Backward(ops, arguments, dy);
                for (int a = 0; a < expected.Length; a++) Numbers.SameBits(expected[a], found[a], $"{path}, {threads} threads, argument {a}");
            }
    }

    [Fact]
    public void Products_take_weights_in_any_format()
    {
        using TestWeights weights = new();
        using CpuOps ops = new(2);
        foreach (NumberFormat format in (ReadOnlySpan<NumberFormat>)[NumberFormat.F32, NumberFormat.F16, NumberFormat.BF16])
        {
            Weight w = weights.Random(format, 40, 50, seed: 1), wide = weights.Of(NumberFormat.F32, 40, 50, w.ToFloats());
            float[] x = Numbers.Normal(13 * 50, seed: 2), dy = Numbers.Normal(13 * 40, seed: 3);
            ops.Begin();
            Tensor dx = ops.New(13, 50), expected = ops.New(13, 50), input = ops.Put(x, 13, 50);
            Numbers.SameBits(ops.Read(ops.Multiply(input, wide)), ops.Read(ops.Multiply(input, w)));
            ops.MultiplyBackward(input, w, ops.Put(dy, 13, 40), dx, false, null, null);
            ops.MultiplyBackward(input, wide, ops.Put(dy, 13, 40), expected, false, null, null);
            Numbers.SameBits(ops.Read(expected), ops.Read(dx));
            // The other way to multiply rounds the sum of 50 terms elsewhere.
            Numbers.Near(Array.ConvertAll(ops.Read(ops.MatMul(input, w)).ToArray(), y => (double)y), ops.Read(ops.Multiply(input, w)), 2e-5);
        }
    }

    [Fact]
    public void Attention_that_trains_is_attention()
    {
        foreach ((Heads heads, Batch batch) in (ReadOnlySpan<(Heads, Batch)>)[(Grouped, Long), (Windowed, Long), (Plain, Packed), (Windowed with { Window = 66 }, Long)])
        {
            int rows = batch.Tokens.Length, queryWidth = heads.Query * heads.Size, keyWidth = heads.KeyValue * heads.Size;
            using CpuOps ops = new(2);
            Tensor q = ops.Put(Numbers.Normal(rows * queryWidth, seed: 1), rows, queryWidth);
            Tensor k = ops.Put(Numbers.Normal(rows * keyWidth, seed: 2), rows, keyWidth), v = ops.Put(Numbers.Normal(rows * keyWidth, seed: 3), rows, keyWidth);
            float[] expected = ops.Read(ops.Attention(q, k, v, heads, batch, 0)).ToArray();
            // Exponents of a few units are off by some 1e-6, and so is each weight, relative to itself.
            Numbers.Near(Array.ConvertAll(expected, y => (double)y), ops.Read(ops.Attend(q, k, v, heads, batch, default, out _)), 2e-5);
        }
    }

    [Fact]
    public void Dropping_from_attention_weights_has_the_gradient_of_what_was_kept()
    {
        Heads heads = new(2, 1, 4, 0.5f);
        Batch batch = Texts(6, 11);
        Dropout dropout = new(0.4f, 77);
        float[] q = Numbers.Normal(17 * 8, seed: 1), k = Numbers.Normal(17 * 4, seed: 2), v = Numbers.Normal(17 * 4, seed: 3), dy = Numbers.Normal(17 * 8, seed: 4);
        using CpuOps ops = new(2);
        double Value(float[] q, float[] k, float[] v)
        {
            ops.Begin();
            Tensor y = ops.Attend(ops.Put(q, 17, 8), ops.Put(k, 17, 4), ops.Put(v, 17, 4), heads, batch, dropout, out _);
            return Dot(Array.ConvertAll(ops.Read(y).ToArray(), number => (double)number), dy);
        }

        ops.Begin();
        Tensor tq = ops.Put(q, 17, 8), tk = ops.Put(k, 17, 4), tv = ops.Put(v, 17, 4);
        Tensor whole = ops.Attend(tq, tk, tv, heads, batch, default, out _), result = ops.Attend(tq, tk, tv, heads, batch, dropout, out Tensor sums);
        Assert.NotEqual(ops.Read(whole).ToArray(), ops.Read(result).ToArray());
        Tensor dq = ops.New(17, 8), dk = ops.New(17, 4), dv = ops.New(17, 4);
        ops.AttendBackward(tq, tk, tv, sums, ops.Put(dy, 17, 8), heads, batch, dropout, dq, dk, dv);
        float[][] arguments = [q, k, v], gradients = [ops.Read(dq).ToArray(), ops.Read(dk).ToArray(), ops.Read(dv).ToArray()];
        // Differences of float32 sums of some 100 terms: 1e-5 / 2e-2, and the third derivative times step².
        const float Step = 1e-2f;
        for (int a = 0; a < 3; a++)
            for (int i = 0; i < arguments[a].Length; i++)
            {
                float kept = arguments[a][i];
                arguments[a][i] = kept + Step;
                double above = Value(q, k, v);
                arguments[a][i] = kept - Step;
                double below = Value(q, k, v);
                arguments[a][i] = kept;
                Assert.Equal((above - below) / (2 * Step), gradients[a][i], 3e-3);
            }
    }

    [Fact]
    public void Dropout_keeps_its_share_scaled_up_and_knows_it_again()
    {
        using CpuOps one = new(1), three = new(3);
        const int Count = 200_000;
        float[] x = Numbers.Normal(Count, seed: 5), first = Drop(one, 0.3f, 1), again = Drop(three, 0.3f, 1), other = Drop(one, 0.3f, 2);
        Numbers.SameBits(first, again);
        int dropped = 0, both = 0;
        for (int i = 0; i < Count; i++)
        {
            Assert.True(first[i] == 0 || first[i] == x[i] * (1 / (1 - 0.3f)));
            if (first[i] == 0) dropped++;
            if (first[i] == 0 && other[i] == 0) both++;
        }
        // Five standard deviations of a binomial count: 5·√(200000·0.3·0.7) = 1025 and 5·√(200000·0.09·0.91) = 640.
        Assert.InRange(dropped, 60_000 - 1025, 60_000 + 1025);
        Assert.InRange(both, 18_000 - 640, 18_000 + 640);

        float[] Drop(CpuOps ops, float rate, ulong key)
        {
            ops.Begin();
            Tensor target = ops.New(500, 400);
            ops.DropoutTo(target, ops.Put(x, 500, 400), new Dropout(rate, key));
            return ops.Read(target).ToArray();
        }
    }

    [Fact]
    public void Logits_that_are_no_numbers_give_a_loss_that_is_none()
    {
        using CpuOps ops = new(1);
        foreach (float bad in (ReadOnlySpan<float>)[float.NaN, float.PositiveInfinity])
        {
            float[] logits = Numbers.Normal(40, seed: 1);
            logits[17] = bad;
            RowLoss[] losses = new RowLoss[2];
            ops.CrossEntropy(ops.Put(logits, 2, 20), [3, 4], [1, 1], default, losses);
            Assert.False(double.IsNaN(losses[1].Loss));
            Assert.False(double.IsFinite(losses[0].Loss));
        }
    }

    [Fact]
    public void Wrong_shapes_are_refused()
    {
        using CpuOps ops = new(1);
        using TestWeights weights = new();
        Tensor x = ops.Put(new float[12], 3, 4);
        Weight w = weights.Random(NumberFormat.F32, 5, 4, seed: 1);
        Assert.Throws<ArgumentException>(() => ops.MultiplyBackward(x, w, x, null, false, null, null));
        Assert.Throws<ArgumentException>(() => ops.CrossEntropy(x, [0, 1], [], default, new RowLoss[3]));
        Assert.Throws<ArgumentException>(() => ops.CrossEntropy(x, [0, 1, 4], [], default, new RowLoss[3]));
        Assert.Throws<ArgumentException>(() => ops.CrossEntropy(x, [0, 1, 2], [], new LossForm(1), new RowLoss[3]));
        Assert.Throws<ArgumentException>(() => ops.DropoutTo(x, x, new Dropout(1, 0)));
        Assert.Throws<ArgumentException>(() => ops.TakeRowsBackward(x, [0, 1, 3], x));
        Assert.Throws<ArgumentException>(() => ops.SwiGluBackward(x, ops.Put(new float[12], 4, 3), x, x, x));
    }

    private static Row Product(int rows, int inputs, int outputs) => new($"Multiply {rows}·{inputs}·{outputs}", [rows * inputs, outputs * inputs, outputs], x =>
    {
        double[] y = new double[rows * outputs];
        for (int r = 0; r < rows; r++)
            for (int o = 0; o < outputs; o++)
            {
                double sum = x[2][o];
                for (int k = 0; k < inputs; k++) sum += x[0][r * inputs + k] * x[1][o * inputs + k];
                y[r * outputs + o] = sum;
            }
        return y;
    }, (ops, x, dy) =>
    {
        using TestWeights weights = new();
        Weight w = weights.Of(NumberFormat.F32, outputs, inputs, x[1]);
        ops.Begin();
        Tensor dx = ops.New(rows, inputs), dw = Zeros(ops, outputs, inputs), db = Zeros(ops, 1, outputs);
        ops.MultiplyBackward(ops.Put(x[0], rows, inputs), w, ops.Put(dy, rows, outputs), dx, adds: false, dw, db);
        return [Read(ops, dx), Read(ops, dw), Read(ops, db)];
    });

    private static Row Norm(string name, int rows, int width, bool isCentred) => new(name, isCentred ? [rows * width, width, width] : [rows * width, width], x =>
    {
        double[] y = new double[rows * width];
        for (int r = 0; r < rows; r++)
        {
            double[] row = x[0][(r * width)..(r * width + width)];
            double mean = isCentred ? row.Average() : 0, scale = 1 / Math.Sqrt(row.Average(number => (number - mean) * (number - mean)) + 1e-3);
            for (int i = 0; i < width; i++) y[r * width + i] = (row[i] - mean) * scale * x[1][i] + (isCentred ? x[2][i] : 0);
        }
        return y;
    }, (ops, x, dy) =>
    {
        using TestWeights weights = new();
        Weight gain = weights.Of(NumberFormat.F32, 1, width, x[1]);
        ops.Begin();
        Tensor input = ops.Put(x[0], rows, width), slope = ops.Put(dy, rows, width), dx = ops.New(rows, width), dgain = Zeros(ops, 1, width), dbias = Zeros(ops, 1, width);
        if (!isCentred)
        {
            ops.RmsNormBackward(input, gain, 1e-3f, slope, dx, adds: false, dgain);
            return [Read(ops, dx), Read(ops, dgain)];
        }
        ops.LayerNormBackward(input, gain, 1e-3f, slope, dx, adds: false, dgain, dbias);
        return [Read(ops, dx), Read(ops, dgain), Read(ops, dbias)];
    }, Tolerance: 1e-4);        // with 4 numbers in a row the scale is up to 30, and so are the terms

    private static Row Attention(string name, Heads heads, Batch batch)
    {
        int rows = batch.Tokens.Length, queryWidth = heads.Query * heads.Size, keyWidth = heads.KeyValue * heads.Size, group = heads.Query / heads.KeyValue;
        return new(name, [rows * queryWidth, rows * keyWidth, rows * keyWidth], x =>
        {
            double[] y = new double[rows * queryWidth];
            foreach (Sequence text in batch.Sequences)
                for (int t = 0; t < text.Count; t++)
                    for (int h = 0; h < heads.Query; h++)
                    {
                        int from = heads.Window == 0 ? 0 : Math.Max(0, t - heads.Window + 1);
                        double[] weights = new double[t + 1];
                        for (int j = from; j <= t; j++)
                        {
                            double dot = 0;
                            for (int i = 0; i < heads.Size; i++)
                                dot += x[0][(text.First + t) * queryWidth + h * heads.Size + i] * x[1][(text.First + j) * keyWidth + h / group * heads.Size + i];
                            weights[j] = Math.Exp(dot * heads.Scale);
                        }
                        double total = weights.Sum();
                        for (int j = from; j <= t; j++)
                            for (int i = 0; i < heads.Size; i++)
                                y[(text.First + t) * queryWidth + h * heads.Size + i] += weights[j] / total * x[2][(text.First + j) * keyWidth + h / group * heads.Size + i];
                    }
            return y;
        }, (ops, x, dy) =>
        {
            ops.Begin();
            Tensor q = ops.Put(x[0], rows, queryWidth), k = ops.Put(x[1], rows, keyWidth), v = ops.Put(x[2], rows, keyWidth);
            _ = ops.Attend(q, k, v, heads, batch, default, out Tensor sums);
            Tensor dq = ops.New(rows, queryWidth), dk = ops.New(rows, keyWidth), dv = ops.New(rows, keyWidth);
            ops.AttendBackward(q, k, v, sums, ops.Put(dy, rows, queryWidth), heads, batch, default, dq, dk, dv);
            return [Read(ops, dq), Read(ops, dk), Read(ops, dv)];
        });
    }

    // dy is what the loss of each row counts.
    private static Row Loss(string name, LossForm form) => new(name, [4 * 37], x => [.. Enumerable.Range(0, 4).Select(r =>
    {
        double[] row = x[0][(r * 37)..(r * 37 + 37)];
        double logZ = Math.Log(row.Sum(Math.Exp));
        return (1 - form.LabelSmoothing) * (logZ - row[9 * r]) + form.LabelSmoothing * (logZ - row.Average()) + form.ZLoss * logZ * logZ;
    })], (ops, x, dy) =>
    {
        Tensor logits = ops.Put(x[0], 4, 37);
        ops.CrossEntropy(logits, [0, 9, 18, 27], dy, form, new RowLoss[4]);
        return [Read(ops, logits)];
    });

    private static float[][] Gelu(CpuOps ops, float[] x, float[] dy, GeluForm form)
    {
        Tensor dx = ops.New(2, 25);
        ops.GeluBackward(ops.Put(x, 2, 25), form, ops.Put(dy, 2, 25), dx);
        return [Read(ops, dx)];
    }

    private static double[] Rotate(double[] x, int rows, int width, int size, int dimensions)
    {
        double[] y = [.. x];
        for (int r = 0; r < rows; r++)
            for (int head = 0; head < width; head += size)
                for (int i = 0; i < dimensions / 2; i++)
                {
                    double angle = Packed.Positions[r] * Math.Pow(100, -2.0 * i / dimensions);
                    int a = r * width + head + i, b = a + dimensions / 2;
                    (y[a], y[b]) = (x[a] * Math.Cos(angle) - x[b] * Math.Sin(angle), x[b] * Math.Cos(angle) + x[a] * Math.Sin(angle));
                }
        return y;
    }

    private static double Half(double u) => 1 - 0.5 * ErrorFunction.Complement(Math.Abs(u) / Math.Sqrt(2));

    private static double[] Map(double[] x, Func<double, int, double> function) => [.. x.Select(function)];

    private static double Dot(double[] y, float[] dy) => y.Zip(dy, (a, b) => a * b).Sum();

    private static Tensor Zeros(CpuOps ops, int rows, int columns)
    {
        Tensor x = ops.New(rows, columns);
        ops.Clear(x);
        return x;
    }

    private static float[] Read(CpuOps ops, Tensor x) => ops.Read(x).ToArray();

    /// <summary>Texts of these lengths in one batch; the tokens are small numbers.</summary>
    private static Batch Texts(params int[] lengths)
    {
        List<int> tokens = [], positions = [];
        List<Sequence> sequences = [];
        foreach (int length in lengths)
        {
            sequences.Add(new Sequence(tokens.Count, length));
            for (int i = 0; i < length; i++)
            {
                tokens.Add(tokens.Count * 5 % 6);
                positions.Add(i);
            }
        }
        return new Batch([.. tokens], [.. positions], [.. sequences], []);
    }
}
