namespace Fude.Tensors.Tests;

/// <summary>Attention against softmax(scale·q·kᵀ)·v in double precision; chunks and batches against the whole, bit for bit.</summary>
public sealed class AttentionKernelTests
{
    // More than one block of keys.
    private const int Tokens = 300;

    public static TheoryData<int, int, int, int> Shapes() => new()
    {
        { 2, 2, 16, 0 }, { 4, 2, 20, 0 }, { 6, 1, 80, 0 }, { 2, 2, 128, 7 }, { 4, 4, 8, 33 },
        { 3, 1, 100, 64 }, { 32, 1, 5, 0 }, { 2, 1, 200, 1 }, { 1, 1, 48, 270 },
    };

    [Theory, MemberData(nameof(Shapes))]
    public void Each_token_takes_the_weighted_mean_of_the_values_it_sees(int query, int keyValue, int size, int window)
    {
        Heads heads = new(query, keyValue, size, 1 / MathF.Sqrt(size), window);
        (float[] q, float[] k, float[] v) = Inputs(heads);
        double[] expected = new double[q.Length];
        for (int t = 0; t < Tokens; t++)
            for (int h = 0; h < query; h++)
            {
                int from = window == 0 ? 0 : Math.Max(0, t - window + 1), kvHead = h / (query / keyValue);
                double[] weights = new double[t + 1];
                double total = 0;
                for (int j = from; j <= t; j++)
                {
                    double dot = 0;
                    for (int i = 0; i < size; i++)
                        dot += (double)q[(t * query + h) * size + i] * k[(j * keyValue + kvHead) * size + i];
                    total += weights[j] = Math.Exp(dot * heads.Scale);
                }
                for (int j = from; j <= t; j++)
                    for (int i = 0; i < size; i++)
                        expected[(t * query + h) * size + i] += weights[j] / total * v[(j * keyValue + kvHead) * size + i];
            }
        using CpuOps ops = new(2);
        // Scores of a few units are off by some 1e-6, and so is each weight, relative to itself.
        Numbers.Near(expected, Whole(ops, heads, q, k, v, null), 2e-5);
    }

    [Theory, MemberData(nameof(Shapes))]
    public void A_text_read_in_chunks_or_token_by_token_gives_the_bits_of_one_read_whole(int query, int keyValue, int size, int window)
    {
        Heads heads = new(query, keyValue, size, 1 / MathF.Sqrt(size), window);
        (float[] q, float[] k, float[] v) = Inputs(heads);
        using CpuOps ops = new(2);
        float[] whole = Whole(ops, heads, q, k, v, null);
        using (KvCache cache = ops.CreateCache(1, keyValue * size, Tokens))
            Numbers.SameBits(whole, Whole(ops, heads, q, k, v, cache), "cached");
        foreach (int chunk in (int[])[1, 7, 32, 50])
        {
            using KvCache cache = ops.CreateCache(1, keyValue * size, Tokens);
            float[] parts = new float[q.Length];
            for (int first = 0; first < Tokens; first += chunk)
                Part(ops, heads, q, k, v, cache, first, Math.Min(chunk, Tokens - first)).CopyTo(parts, first * query * size);
            Numbers.SameBits(whole, parts, $"chunks of {chunk}");
        }
    }

    [Fact]
    public void Texts_in_one_batch_do_not_see_each_other()
    {
        Heads heads = new(4, 2, 24, 0.2f);
        (float[] q, float[] k, float[] v) = Inputs(heads);
        using CpuOps ops = new(2);
        int[] lengths = [1, 40, 32, 227];
        List<float> alone = [];
        int first = 0;
        foreach (int length in lengths)
        {
            using KvCache cache = ops.CreateCache(1, 48, length);
            ops.Begin();
            Tensor y = Attend(ops, heads, q, k, v, first, length, [new Sequence(0, length)], 0);
            alone.AddRange(ops.Read(y).ToArray());
            first += length;
        }
        ops.Begin();
        using KvCache second = ops.CreateCache(1, 48, 40), fourth = ops.CreateCache(1, 48, 300);
        Sequence[] sequences = [new(0, 1), new(1, 40, second), new(41, 32), new(73, 227, fourth)];
        Numbers.SameBits(alone.ToArray(), ops.Read(Attend(ops, heads, q, k, v, 0, Tokens, sequences, 0)));
    }

    [Fact]
    public void Every_instruction_set_and_number_of_threads_gives_the_same_bits()
    {
        foreach ((int query, int keyValue, int size, int window) in
            (ReadOnlySpan<(int, int, int, int)>)[(4, 2, 20, 0), (3, 1, 100, 64), (2, 2, 64, 5)])
        {
            Heads heads = new(query, keyValue, size, 1 / MathF.Sqrt(size), window);
            (float[] q, float[] k, float[] v) = Inputs(heads);
            using CpuOps reference = new(1, InstructionSets.Scalar);
            float[] expected = Whole(reference, heads, q, k, v, null);
            foreach (string path in InstructionSets.Supported)
                for (int threads = 1; threads <= 3; threads++)
                {
                    using CpuOps ops = new(threads, path);
                    Numbers.SameBits(expected, Whole(ops, heads, q, k, v, null), $"{path}, {threads} threads");
                }
        }
    }

    public static TheoryData<NumberFormat, int, int, int, int> Caches()
    {
        TheoryData<NumberFormat, int, int, int, int> cases = [];
        foreach (NumberFormat format in (NumberFormat[])[NumberFormat.F16, NumberFormat.BF16, NumberFormat.Q8_0])
            foreach ((int query, int keyValue, int size, int window) in
                ((int, int, int, int)[])[(2, 2, 128, 0), (4, 2, 64, 40), (8, 1, 96, 0), (2, 2, 80, 0), (3, 1, 20, 0)])
                cases.Add(format, query, keyValue, size, window);
        return cases;
    }

    [Theory, MemberData(nameof(Caches))]
    public void A_narrow_cache_gives_the_bits_of_keys_and_values_rounded_beforehand(
        NumberFormat format, int query, int keyValue, int size, int window)
    {
        Heads heads = new(query, keyValue, size, 1 / MathF.Sqrt(size), window);
        (float[] q, float[] k, float[] v) = Inputs(heads);
        float[] roundK = Rounded(format, k, size), roundV = Rounded(format, v, size);
        foreach (string path in InstructionSets.Supported)
        {
            if (path == InstructionSets.Scalar && size > 20) continue;      // a reference that takes its time
            using CpuOps ops = new(2, path);
            float[] expected = Whole(ops, heads, q, roundK, roundV, null);
            foreach (int chunk in (int[])[3, 100, Tokens])
            {
                using KvCache cache = ops.CreateCache(1, keyValue * size, Tokens, format);
                float[] parts = new float[q.Length];
                for (int first = 0; first < Tokens; first += chunk)
                    Part(ops, heads, q, k, v, cache, first, Math.Min(chunk, Tokens - first)).CopyTo(parts, first * query * size);
                Numbers.SameBits(expected, parts, $"{path}, chunks of {chunk}");
            }
        }
    }

    /// <summary>What a cache of that format keeps, head by head.</summary>
    private static float[] Rounded(NumberFormat format, float[] numbers, int size)
    {
        float[] rounded = new float[numbers.Length];
        for (int head = 0; head < numbers.Length; head += size)
            for (int first = head; first < head + size; first += 32)
            {
                int end = Math.Min(head + size, first + 32);
                float scale = (float)(Half)(numbers[first..end].Max(MathF.Abs) / 127);
                for (int i = first; i < end; i++)
                    rounded[i] = format switch
                    {
                        NumberFormat.F16 => (float)(Half)numbers[i],
                        // Ties go to the even number.
                        NumberFormat.BF16 => BitConverter.Int32BitsToSingle(
                            (BitConverter.SingleToInt32Bits(numbers[i]) + 0x7FFF + (BitConverter.SingleToInt32Bits(numbers[i]) >> 16 & 1)) & ~0xFFFF),
                        _ => Math.Clamp(MathF.Round(numbers[i] / scale), -127, 127) * scale,
                    };
            }
        return rounded;
    }

    [Theory, InlineData(NumberFormat.F32, 0), InlineData(NumberFormat.F32, 700), InlineData(NumberFormat.Q8_0, 0)]
    public void Blocks_of_one_head_divided_over_threads_give_the_bits_of_one_thread(NumberFormat format, int window)
    {
        const int Before = 1500;
        Heads heads = new(3, 1, 40, 0.16f, window);
        (float[] q, float[] k, float[] v) = Inputs(heads, Before + 4);
        float[]? expected = null;
        foreach (int threads in (ReadOnlySpan<int>)[1, 2, 3, 5])
        {
            using CpuOps ops = new(threads);
            using KvCache cache = ops.CreateCache(1, 40, Before + 4, format);
            Part(ops, heads, q, k, v, cache, 0, Before);
            float[] found = [.. Part(ops, heads, q, k, v, cache, Before, 1), .. Part(ops, heads, q, k, v, cache, Before + 1, 2)];
            Numbers.SameBits(expected ??= found, found, $"{threads} threads");
        }
    }

    internal static float[] Part(CpuOps ops, Heads heads, float[] q, float[] k, float[] v, KvCache? cache, int first, int count)
    {
        ops.Begin();
        float[] y = ops.Read(Attend(ops, heads, q, k, v, first, count, [new Sequence(0, count, cache)], 0)).ToArray();
        cache?.Advance(count);
        return y;
    }

    internal static (float[] Q, float[] K, float[] V) Inputs(Heads heads, int tokens = Tokens)
    {
        int query = heads.Query * heads.Size, key = heads.KeyValue * heads.Size;
        return (Numbers.Normal(tokens * query, 1), Numbers.Normal(tokens * key, 2, 2), Numbers.Normal(tokens * key, 3));
    }

    private static float[] Whole(CpuOps ops, Heads heads, float[] q, float[] k, float[] v, KvCache? cache) =>
        Part(ops, heads, q, k, v, cache, 0, Tokens);

    private static Tensor Attend(
        CpuOps ops, Heads heads, float[] q, float[] k, float[] v, int first, int count, Sequence[] sequences, int layer)
    {
        int query = heads.Query * heads.Size, key = heads.KeyValue * heads.Size;
        Batch batch = new(new int[count], new int[count], sequences, [0]);
        return ops.Attention(
            ops.Put(q.AsSpan(first * query, count * query), count, query),
            ops.Put(k.AsSpan(first * key, count * key), count, key),
            ops.Put(v.AsSpan(first * key, count * key), count, key),
            heads, batch, layer);
    }
}
