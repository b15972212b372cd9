using System.Text.Json;
using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class TorchRandomTests
{
    private static readonly JsonElement Streams = Read("streams.json").GetProperty("streams");
    private static readonly JsonElement Multinomials = Read("multinomial.json").GetProperty("cases");

    public static TheoryData<int> StreamIndices() => new(Enumerable.Range(0, Streams.GetArrayLength()));

    public static TheoryData<int, TorchRandomPath> MultinomialIndices() =>
        new(from i in Enumerable.Range(0, Multinomials.GetArrayLength()) from path in Enum.GetValues<TorchRandomPath>() select (i, path));

    [Theory, MemberData(nameof(StreamIndices))]
    public void Raw_outputs_are_torchs_also_around_refills(int index)
    {
        JsonElement stream = Streams[index];
        TorchRandom random = Seeded(stream);
        uint[] outputs = [.. Enumerable.Range(0, 1251).Select(_ => random.NextUInt32())];
        foreach (JsonProperty range in stream.GetProperty("raw_uint32").EnumerateObject())
        {
            int first = int.Parse(range.Name.Split("..")[0], System.Globalization.CultureInfo.InvariantCulture);
            uint[] expected = [.. range.Value.EnumerateArray().Select(e => e.GetUInt32())];
            Assert.Equal(expected, outputs[first..(first + expected.Length)]);
        }
    }

    [Theory, MemberData(nameof(StreamIndices))]
    public void Uniform_numbers_are_torchs_bit_for_bit(int index)
    {
        JsonElement stream = Streams[index];
        TorchRandom random = Seeded(stream);
        Assert.Equal(Floats(stream, "rand_float32_20"), Enumerable.Range(0, 20).Select(_ => random.NextSingle()));
        random = Seeded(stream);
        Assert.Equal(stream.GetProperty("rand_float64_8").EnumerateArray().Select(e => e.GetDouble()),
            Enumerable.Range(0, 8).Select(_ => random.NextDouble()));
    }

    [Theory, MemberData(nameof(StreamIndices))]
    public void Exponential_numbers_are_torchs_bit_for_bit_on_both_paths(int index)
    {
        JsonElement stream = Streams[index];
        float[] numbers = new float[20];
        Seeded(stream).FillExponential(numbers);
        Assert.Equal(Floats(stream, "exponential_float32_20"), numbers);
        new TorchRandom(stream.GetProperty("seed").GetInt64(), TorchRandomPath.Mkl).FillExponential(numbers);
        Assert.Equal(Floats(stream, "exponential_float32_20_torch_2_1_x86_mkl"), numbers);
    }

    [Theory, MemberData(nameof(StreamIndices))]
    public void Normal_numbers_are_torchs_to_a_millionth(int index)
    {
        JsonElement stream = Streams[index];
        foreach (JsonProperty property in stream.EnumerateObject().Where(p =>
            p.Name.StartsWith("randn_float32_", StringComparison.Ordinal)))
        {
            float[] expected = Floats(stream, property.Name), numbers = new float[expected.Length];
            Seeded(stream).FillNormal(numbers);
            for (int i = 0; i < numbers.Length; i++) Assert.Equal(expected[i], numbers[i], 2e-6f * Math.Max(1, Math.Abs(expected[i])));
        }
    }

    [Theory, MemberData(nameof(StreamIndices))]
    public void Permutations_integers_and_coins_are_torchs(int index)
    {
        JsonElement stream = Streams[index];
        foreach (JsonProperty property in stream.EnumerateObject().Where(p => p.Name.StartsWith("randperm_", StringComparison.Ordinal)))
            Assert.Equal(Integers(property.Value), Seeded(stream).Permutation(property.Value.GetArrayLength()));
        TorchRandom random = Seeded(stream);
        Assert.Equal(Integers(stream.GetProperty("randint_0_1000_x8")),
            Enumerable.Range(0, 8).Select(_ => (int)random.NextInteger(0, 1000)));
        float[] coins = new float[20];
        Seeded(stream).FillBernoulli(coins, 0.9);
        Assert.Equal(Floats(stream, "bernoulli_0.9_float32_20 (default path)"), coins);
    }

    [Theory, MemberData(nameof(MultinomialIndices))]
    public void Multinomial_draws_are_torchs_on_both_paths(int index, TorchRandomPath path)
    {
        JsonElement data = Multinomials[index];
        (int rows, int columns) = (data.GetProperty("shape")[0].GetInt32(), data.GetProperty("shape")[1].GetInt32());
        float[] probabilities = ReadTensor("multinomial_probs.safetensors", data.GetProperty("probs").GetString()!);
        TorchRandom random = new(data.GetProperty("seed").GetInt64(), path);
        List<int> drawn = [];
        for (int draw = 0; draw < data.GetProperty("draws").GetInt32(); draw++)
        {
            TorchRandom.Multinomial call = random.BeginMultinomial(columns);
            for (int row = 0; row < rows; row++)
            {
                // Numbers with p = 0 are left out: passing over them must use up as much randomness as racing them.
                int[] ids = [.. Enumerable.Range(0, columns).Where(i => probabilities[row * columns + i] > 0)];
                float[] p = [.. ids.Select(i => probabilities[row * columns + i])];
                drawn.Add(ids[call.Race(ids, p)]);
            }
        }
        string key = path == TorchRandomPath.Mkl ? "tokens_per_draw_torch_2_1_x86_mkl" : "tokens_per_draw";
        Assert.Equal(Flatten(data.GetProperty(key)), drawn);
    }

    [Theory, InlineData(TorchRandomPath.Default), InlineData(TorchRandomPath.Mkl)]
    public void A_row_passed_over_uses_up_as_much_as_a_row_drawn(TorchRandomPath path)
    {
        int[] ids = [3, 250, 400];
        TorchRandom drawing = new(7, path), skipping = new(7, path);
        TorchRandom.Multinomial drawn = drawing.BeginMultinomial(401), skipped = skipping.BeginMultinomial(401);
        drawn.Race(ids, [1, 1, 1]);
        skipped.Skip();
        float[] a = [1, 2, 3], b = [1, 2, 3];
        drawn.Race(ids, a);
        skipped.Race(ids, b);
        Assert.Equal(a, b);
        Assert.Equal(drawing.NextUInt32(), skipping.NextUInt32());
    }

    [Theory, InlineData(TorchRandomPath.Default, "names_default_path_as_published"),
        InlineData(TorchRandomPath.Mkl, "names_mkl_path_as_published_torch_2_1_and_later_on_x86")]
    public void A_published_experiment_gives_the_published_names(TorchRandomPath path, string key)
    {
        JsonElement data = Read("bigram_names.json");
        float[][] rows = [.. data.GetProperty("counts").EnumerateArray().Select(row =>
        {
            float[] counts = [.. row.EnumerateArray().Select(e => e.GetSingle())];
            float sum = counts.Sum();
            return counts.Select(c => c / sum).ToArray();
        })];
        int[] all = [.. Enumerable.Range(0, 27)];
        TorchRandom random = new(data.GetProperty("seed").GetInt64(), path);
        foreach (JsonElement expected in data.GetProperty(key).EnumerateArray())
        {
            string name = "";
            for (int letter = 0; ;)
            {
                letter = random.BeginMultinomial(27).Race(all, [.. rows[letter]]);
                if (letter == 0) break;
                name += (char)('a' + letter - 1);
            }
            Assert.Equal(expected.GetString(), name);
        }
    }

    [Fact]
    public void Bernoulli_numbers_of_the_MKL_path_are_refused() =>
        Assert.Throws<NotSupportedException>(() => new TorchRandom(1, TorchRandomPath.Mkl).FillBernoulli(new float[1], 0.5));

    private static TorchRandom Seeded(JsonElement stream) => new(stream.GetProperty("seed").GetInt64());

    private static float[] Floats(JsonElement of, string name) => [.. of.GetProperty(name).EnumerateArray().Select(e => e.GetSingle())];

    private static IEnumerable<int> Integers(JsonElement array) => array.EnumerateArray().Select(e => e.GetInt32());

    private static IEnumerable<int> Flatten(JsonElement array) =>
        array.EnumerateArray().SelectMany(e => e.ValueKind == JsonValueKind.Array ? Flatten(e) : [e.GetInt32()]);

    private static JsonElement Read(string file) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestFolders.Golden, "sampling", file))).RootElement;

    // Read by hand, so that this test does not lean on the reader of weight files.
    private static float[] ReadTensor(string file, string name)
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(TestFolders.Golden, "sampling", file));
        int header = (int)BitConverter.ToInt64(bytes);
        JsonElement offsets = JsonDocument.Parse(bytes.AsMemory(8, header)).RootElement.GetProperty(name).GetProperty("data_offsets");
        ReadOnlySpan<byte> data = bytes.AsSpan(8 + header)[offsets[0].GetInt32()..offsets[1].GetInt32()];
        return System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(data).ToArray();
    }
}
