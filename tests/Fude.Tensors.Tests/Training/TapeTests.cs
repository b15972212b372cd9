namespace Fude.Tensors.Tests;

/// <summary>The tape: what is recorded, shared, frozen and computed again.</summary>
public sealed class TapeTests : IDisposable
{
    private const int Tokens = 12, Width = 16, Vocabulary = 20;
    private static readonly Batch Batch = new([.. Enumerable.Range(0, Tokens).Select(i => i * 7 % Vocabulary)], [.. Enumerable.Range(0, Tokens)],
        [new Sequence(0, 5), new Sequence(5, 7)], [.. Enumerable.Range(0, Tokens)]);

    private static readonly int[] Targets = [.. Enumerable.Range(0, Tokens).Select(i => i * 3 % Vocabulary)];
    private static readonly float[] Even = [.. Enumerable.Repeat(1f / Tokens, Tokens)];
    private readonly TestWeights _weights = new();

    [Fact]
    public void Tied_weights_and_slices_of_one_matrix_have_one_gradient()
    {
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1, scale: 0.3f);
        Weight fused = _weights.Random(NumberFormat.F32, 2 * Width, Width, seed: 2, scale: 0.3f);
        double Forward(IOps ops, Weight first, Weight second, Weight head, Tape tape)
        {
            Tensor x = ops.Embed(Batch, embedding);
            x = ops.Add(ops.MatMul(x, first), ops.MatMul(x, second));
            return tape.CrossEntropy(ops.MatMul(x, head), Targets, Even);
        }

        using CpuOps device = new(2);
        using Gradients together = new([embedding, fused]);
        Tape tape = new(device, together);
        tape.Begin();
        _ = Forward(tape, fused.Slice(0, Width), fused.Slice(Width, Width), embedding, tape);
        tape.Backward();

        // The same numbers in four weights: their gradients add up to those of the two.
        Weight head = Copy(embedding, 0, Vocabulary), upper = Copy(fused, 0, Width), lower = Copy(fused, Width, Width);
        using Gradients apart = new([embedding, head, upper, lower]);
        tape = new(device, apart);
        tape.Begin();
        _ = Forward(tape, upper, lower, head, tape);
        tape.Backward();
        for (int i = 0; i < Vocabulary * Width; i++) Assert.Equal(apart.Numbers(0)[i] + apart.Numbers(1)[i], together.Numbers(0)[i], 1e-6);
        for (int i = 0; i < Width * Width; i++)
        {
            Assert.Equal(apart.Numbers(2)[i], together.Numbers(1)[i], 1e-6);
            Assert.Equal(apart.Numbers(3)[i], together.Numbers(1)[Width * Width + i], 1e-6);
        }
    }

    [Fact]
    public void Several_products_of_one_x_have_the_gradients_of_each_alone()
    {
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1, scale: 0.3f);
        Weight gate = _weights.Random(NumberFormat.F32, Width, Width, seed: 2), up = _weights.Random(NumberFormat.F32, Width, Width, seed: 3);
        Weight bias = _weights.Random(NumberFormat.F32, 1, Width, seed: 4);
        using CpuOps device = new(2);
        using Gradients gradients = new([embedding, gate, up, bias]);
        Numbers.SameBits(Pass(isOne: false), Pass(isOne: true));

        float[] Pass(bool isOne)
        {
            Tape tape = new(device, gradients);
            gradients.Clear();
            tape.Begin();
            Tensor x = tape.Embed(Batch, embedding);
            Tensor[] products = new Tensor[2];
            if (isOne) tape.MatMul(x, [new(gate), new(up, bias)], products);
            else products = [tape.MatMul(x, gate), tape.MatMul(x, up, bias)];
            _ = tape.CrossEntropy(tape.MatMul(tape.SwiGlu(products[0], products[1]), embedding), Targets, Even);
            tape.Backward();
            return [.. gradients.Numbers(0), .. gradients.Numbers(1), .. gradients.Numbers(2), .. gradients.Numbers(3)];
        }
    }

    [Fact]
    public void What_is_frozen_gets_no_gradient_and_a_pass_without_trained_weights_is_refused()
    {
        Weight embedding = _weights.Random(NumberFormat.BF16, Vocabulary, Width, seed: 1), head = _weights.Random(NumberFormat.F16, Vocabulary, Width, seed: 2);
        Weight gain = _weights.Random(NumberFormat.F32, 1, Width, seed: 3);
        using CpuOps device = new(2);
        using Gradients gradients = new([gain]), none = new([]);
        foreach (long postpone in (ReadOnlySpan<long>)[0, long.MaxValue])
        {
            Tape tape = new(device, gradients) { PostponeAboveBytes = postpone };
            tape.Begin();
            _ = tape.CrossEntropy(tape.MatMul(tape.RmsNorm(tape.Embed(Batch, embedding), gain, 1e-5f), head), Targets, Even);
            tape.Backward();
            Assert.Contains(gradients.Numbers(0).ToArray(), number => number != 0);
            Assert.Null(gradients.Of(embedding));

            Tape frozen = new(device, none) { PostponeAboveBytes = postpone };
            frozen.Begin();
            Tensor logits = frozen.MatMul(frozen.RmsNorm(frozen.Embed(Batch, embedding), gain, 1e-5f), head);
            Assert.Throws<InvalidOperationException>(() => frozen.CrossEntropy(logits, Targets, Even));
        }
        Assert.Throws<ArgumentException>(() => new Gradients([embedding]));
        Assert.Throws<ArgumentException>(() => new Gradients([gain, gain]));
    }

    [Fact]
    public void Logits_computed_piece_by_piece_give_the_bits_of_those_computed_whole()
    {
        // Two and a half pieces of 256 rows.
        const int Count = 640;
        Batch batch = new([.. Enumerable.Range(0, Count).Select(i => i * 7 % Vocabulary)], [.. Enumerable.Range(0, Count)], [new Sequence(0, Count)], []);
        int[] targets = [.. Enumerable.Range(0, Count).Select(i => i * 3 % Vocabulary)];
        float[] weights = Numbers.Normal(Count, seed: 4);
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1), head = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 2);
        Weight bias = _weights.Random(NumberFormat.F32, 1, Vocabulary, seed: 3);
        (double whole, float[] wholeGradients) = Pass(long.MaxValue);
        (double pieces, float[] pieceGradients) = Pass(0);
        Assert.Equal(whole, pieces);
        Numbers.SameBits(wholeGradients, pieceGradients);

        (double, float[]) Pass(long postpone)
        {
            using CpuOps device = new(2);
            using Gradients gradients = new([embedding, head, bias]);
            Tape tape = new(device, gradients) { PostponeAboveBytes = postpone };
            tape.Begin();
            Tensor logits = tape.MatMul(tape.Embed(batch, embedding), head, bias);
            RowLoss[] scores = tape.Score(logits, targets), losses = new RowLoss[Count];
            double loss = tape.CrossEntropy(logits, targets, weights, default, losses);
            Assert.Equal(scores, losses);
            tape.Backward();
            return (loss, [.. gradients.Numbers(0), .. gradients.Numbers(1), .. gradients.Numbers(2)]);
        }
    }

    [Fact]
    public void A_product_that_was_put_off_can_be_read_and_used()
    {
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1), head = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 2);
        using CpuOps device = new(2);
        using Gradients gradients = new([embedding, head]);
        float[] first = Pass(0), second = Pass(long.MaxValue);
        Numbers.SameBits(second, first);

        float[] Pass(long postpone)
        {
            Tape tape = new(device, gradients) { PostponeAboveBytes = postpone };
            gradients.Clear();
            tape.Begin();
            Tensor x = tape.Embed(Batch, embedding), logits = tape.MatMul(x, head);
            float[] numbers = tape.Read(logits).ToArray();
            logits = tape.Add(logits, tape.MatMul(x, head), 0.5f);
            _ = tape.CrossEntropy(logits, Targets, Even);
            tape.Backward();
            return [.. numbers, .. gradients.Numbers(0), .. gradients.Numbers(1)];
        }
    }

    /// <summary>A block whose input has three uses, one of which turns it in place.</summary>
    private sealed class Turning(Weight gain, Weight w) : IBlock
    {
        public Tensor Forward(IOps ops, Tensor x, Batch batch)
        {
            Tensor h = ops.RmsNorm(x, gain, 1e-5f), y = ops.Gelu(ops.MatMul(h, w), GeluForm.Erf);
            x = ops.Add(x, y);
            Tensor z = ops.Rope(ops.MatMul(h, w), batch, new RopeShape(Width, Width, 100));
            x = ops.Add(x, ops.SwiGlu(z, h), 0.5f);
            return ops.Add(ops.Rope(x, batch, new RopeShape(Width, 4, 100)), y);
        }
    }

    [Theory, InlineData(0f), InlineData(0.25f)]
    public void Blocks_computed_again_give_the_same_bits_with_any_number_of_threads(float dropout)
    {
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1, scale: 0.5f);
        Weight gain = _weights.Random(NumberFormat.F32, 1, Width, seed: 3), w = _weights.Random(NumberFormat.F32, Width, Width, seed: 4, scale: 0.3f);
        IBlock block = new Turning(gain, w);
        float[]? expected = null;
        foreach (bool recomputes in (ReadOnlySpan<bool>)[false, true])
            foreach (int threads in (ReadOnlySpan<int>)[1, 2, 3])
            {
                using CpuOps device = new(threads);
                using Gradients gradients = new([embedding, gain, w]);
                Tape tape = new(device, gradients) { Recomputes = recomputes, Rates = new DropoutRates(dropout, dropout, dropout), Seed = 5 };
                for (int pass = 0; pass < 2; pass++)
                {
                    tape.Begin();
                    Tensor x = tape.Embed(Batch, embedding);
                    for (int i = 0; i < 3; i++) x = tape.Run(block, x, Batch);
                    double loss = tape.CrossEntropy(tape.MatMul(x, embedding), Targets, Even);
                    Assert.True(double.IsFinite(loss));
                    tape.Backward();
                }
                float[] found = [.. gradients.Numbers(0), .. gradients.Numbers(1), .. gradients.Numbers(2)];
                Numbers.SameBits(expected ??= found, found, $"{threads} threads, {(recomputes ? "computed again" : "kept")}");
            }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_block_that_failed_once_is_recorded_the_next_time(bool recomputes)
    {
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1, scale: 0.5f);
        Weight gain = _weights.Random(NumberFormat.F32, 1, Width, seed: 3), w = _weights.Random(NumberFormat.F32, Width, Width, seed: 4, scale: 0.3f);
        IBlock block = new Turning(gain, w);
        using CpuOps device = new(2);
        Numbers.SameBits(Gradients(fails: false), Gradients(fails: true));

        float[] Gradients(bool fails)
        {
            using Gradients gradients = new([embedding, gain, w]);
            Tape tape = new(device, gradients) { Recomputes = recomputes };
            if (fails)
            {
                tape.Begin();
                Tensor x = tape.Embed(Batch, embedding);
                Assert.Throws<NotFiniteNumberException>(() => tape.Run(new Failing(), x, Batch));
            }
            tape.Begin();
            Tensor y = tape.Run(block, tape.Embed(Batch, embedding), Batch);
            _ = tape.CrossEntropy(tape.MatMul(y, embedding), Targets, Even);
            tape.Backward();
            return [.. gradients.Numbers(0), .. gradients.Numbers(1), .. gradients.Numbers(2)];
        }
    }

    private sealed class Failing : IBlock
    {
        public Tensor Forward(IOps ops, Tensor x, Batch batch) => throw new NotFiniteNumberException();
    }

    [Fact]
    public void A_gradient_along_a_direction_is_what_the_loss_changes_by()
    {
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1, scale: 0.5f);
        Weight gain = _weights.Random(NumberFormat.F32, 1, Width, seed: 3), w = _weights.Random(NumberFormat.F32, Width, Width, seed: 4, scale: 0.3f);
        IBlock block = new Turning(gain, w);
        using CpuOps device = new(2);
        Weight[] all = [embedding, gain, w];
        using Gradients gradients = new(all);
        Tape tape = new(device, gradients);
        _ = Loss();
        tape.Backward();
        for (int i = 0; i < all.Length; i++)
        {
            float[] gradient = gradients.Numbers(i).ToArray(), kept = all[i].ToFloats();
            double norm = Math.Sqrt(gradient.Sum(number => (double)number * number));
            // Losses are off by some 1e-7 and divided by the step; the third derivative times step² is of the same size.
            double step = 2e-3;
            double above = Shifted(step), below = Shifted(-step);
            Assert.Equal(norm, (above - below) / (2 * step), 1e-3 * (1 + norm));

            double Shifted(double by)
            {
                Span<float> numbers = all[i].Floats();
                for (int j = 0; j < numbers.Length; j++) numbers[j] = kept[j] + (float)(by * gradient[j] / norm);
                double loss = Loss();
                kept.CopyTo(numbers);
                return loss;
            }
        }

        double Loss()
        {
            tape.Begin();
            Tensor x = tape.Run(block, tape.Run(block, tape.Embed(Batch, embedding), Batch), Batch);
            return tape.CrossEntropy(tape.MatMul(x, embedding), Targets, Even);
        }
    }

    [Fact]
    public void A_pass_that_is_not_recorded_keeps_nothing_and_has_no_loss_to_walk_back_from()
    {
        Weight embedding = _weights.Random(NumberFormat.F32, Vocabulary, Width, seed: 1);
        using CpuOps device = new(1);
        using Gradients gradients = new([embedding]);
        Tape tape = new(device, gradients) { IsRecording = false, Rates = new DropoutRates(Embedding: 0.5f) };
        tape.Begin();
        Tensor logits = tape.MatMul(tape.Embed(Batch, embedding), embedding);
        Assert.Throws<InvalidOperationException>(() => tape.CrossEntropy(logits, Targets, Even));
        RowLoss[] first = tape.Score(logits, Targets);
        tape.Begin();
        Assert.Equal(first, tape.Score(tape.MatMul(tape.Embed(Batch, embedding), embedding), Targets));
        KvCache cache = tape.CreateCache(1, 4, 8);
        Tensor q = device.New(1, 4);
        Assert.Throws<ArgumentException>(() => tape.Attention(q, q, q, new Heads(1, 1, 4, 1), Batch.Of([1], cache: cache), 0));
        cache.Dispose();
    }

    public void Dispose() => _weights.Dispose();

    private Weight Copy(Weight weight, int first, int rows) => _weights.Of(NumberFormat.F32, rows, Width, weight.Slice(first, rows).ToFloats());
}
