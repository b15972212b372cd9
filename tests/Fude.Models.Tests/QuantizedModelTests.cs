using Fude.Tensors;

namespace Fude.Models.Tests;

/// <summary>Models whose matrices are multiplied as int8 blocks, against the same matrices multiplied as float32, and to the bit against
/// themselves.</summary>
[Collection("alone")]
public sealed class QuantizedModelTests
{
    private static readonly NumberFormat[] Formats =
        [NumberFormat.Q8_0, NumberFormat.Q4_0, NumberFormat.Q4_1, NumberFormat.Q5_0, NumberFormat.Q5_1, NumberFormat.Q4_K, NumberFormat.Q5_K,
         NumberFormat.Q6_K];

    public static TheoryData<string, NumberFormat> Cases() =>
        [.. from config in TinyModels.Configs from format in Formats select (config.Key, format)];

    [Theory, MemberData(nameof(Cases))]
    public void Logits_are_close_to_those_of_the_same_numbers_in_float32(string family, NumberFormat format)
    {
        ModelConfig config = TinyModels.Wide(family);
        // The same blocks: random weights depend on seed, name and format alone.
        using LanguageModel bytes = LanguageModel.Create(config, new RandomWeights(format, seed: 3));
        using LanguageModel floats = LanguageModel.CreateAsStored(config, new RandomWeights(format, seed: 3));
        using CpuOps ops = new(2);
        int[] text = TinyModels.Text(length: 60, seed: 9);
        float[] found = bytes.Logits(ops, Passes.Batch([text])), expected = floats.Logits(ops, Passes.Batch([text]));
        Assert.NotEqual(expected, found);
        double error = 0, size = 0;
        for (int i = 0; i < found.Length; i++)
            (error, size) = (error + Math.Pow(found[i] - expected[i], 2), size + Math.Pow(expected[i], 2));
        // Rounding activations to 1 in 127 of their block's largest is off by some 0.3 % in a product, 0.6 % after two layers.
        Assert.InRange(Math.Sqrt(error / size), 0, 0.012);
        double divergence = 0;
        for (int row = 0; row < text.Length; row++)
            divergence += Divergence(expected.AsSpan(row * TinyModels.Vocabulary, TinyModels.Vocabulary),
                found.AsSpan(row * TinyModels.Vocabulary, TinyModels.Vocabulary)) / text.Length;
        Assert.InRange(divergence, 0, 2e-5);
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_text_gives_the_same_bits_however_it_is_read_and_on_however_many_threads(string family, NumberFormat format)
    {
        using LanguageModel model = LanguageModel.Create(TinyModels.Wide(family), new RandomWeights(format, seed: 3));
        model.KvCacheFormat = NumberFormat.F32;     // a pass without a cache rounds no keys and values
        int[] text = TinyModels.Text(length: 45, seed: 9);
        foreach (int threads in (ReadOnlySpan<int>)[1, 2])
        {
            using CpuOps ops = new(threads);
            LanguageModelTests.RequireSameBitsHoweverRead(model, ops, text, [1, 2, 3, 5, 8, 9, 17], $"{family} {format}");
        }
        using CpuOps one = new(1), two = new(2);
        Assert.Equal(model.Logits(one, Passes.Batch([text])), model.Logits(two, Passes.Batch([text])));
    }

    [Theory, InlineData(NumberFormat.Q8_0, NumberFormat.F16), InlineData(NumberFormat.Q4_K, NumberFormat.F16), InlineData(NumberFormat.Q6_K, NumberFormat.F16),
        InlineData(NumberFormat.BF16, NumberFormat.F32), InlineData(NumberFormat.F16, NumberFormat.F32), InlineData(NumberFormat.F32, NumberFormat.F32)]
    public void Keys_and_values_are_kept_in_float16_beside_quantised_weights(NumberFormat weights, NumberFormat expected)
    {
        using LanguageModel model = LanguageModel.Create(TinyModels.Wide("llama"), new RandomWeights(weights));
        Assert.Equal(expected, model.KvCacheFormat);
        model.KvCacheFormat = NumberFormat.Q8_0;
        Assert.Equal(NumberFormat.Q8_0, model.KvCacheFormat);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Decoding_allocates_nothing_on_the_managed_heap(string family, NumberFormat format)
    {
        using LanguageModel model = LanguageModel.Create(TinyModels.Wide(family), new RandomWeights(format));
        using CpuOps ops = new(2);
        using KvCache cache = model.CreateCache(ops, 500);
        Batch batch = new([1], [0], [new Sequence(0, 1, cache)], [0]);
        for (int i = 0; i < 50; i++) Step();
        long least = long.MaxValue;         // see AllocationTests
        for (int round = 0; round < 8 && least > 0; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 20; i++) Step();
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        Assert.Equal(0, least);

        void Step()
        {
            batch.Positions[0] = cache.Length;
            model.Run(ops, batch);
        }
    }

    /// <summary>Kullback-Leibler divergence of the second distribution from the first, in nats.</summary>
    private static double Divergence(ReadOnlySpan<float> expected, ReadOnlySpan<float> found)
    {
        double sumP = 0, sumQ = 0, divergence = 0;
        foreach (float logit in expected) sumP += Math.Exp(logit);
        foreach (float logit in found) sumQ += Math.Exp(logit);
        for (int i = 0; i < expected.Length; i++)
            divergence += Math.Exp(expected[i]) / sumP * (expected[i] - Math.Log(sumP) - found[i] + Math.Log(sumQ));
        return divergence;
    }
}
