namespace Fude.Tensors.Tests;

/// <summary>Attention against softmax(scale·q·kᵀ)·v in double precision; chunks and batches against the whole, bit for bit.</summary>
public sealed class AttentionKernelTests
{
    private const int Tokens = 150;

    public static TheoryData<int, int, int, int> Shapes() => new()
    {
        { 2, 2, 16, 0 }, { 4, 2, 20, 0 }, { 6, 1, 80, 0 }, { 2, 2, 128, 7 }, { 4, 4, 8, 33 },
        { 3, 1, 100, 64 }, { 32, 1, 5, 0 }, { 2, 1, 200, 1 },
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
        int[] lengths = [1, 40, 32, 77];
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
        using KvCache second = ops.CreateCache(1, 48, 40), fourth = ops.CreateCache(1, 48, 100);
        Sequence[] sequences = [new(0, 1), new(1, 40, second), new(41, 32), new(73, 77, fourth)];
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
