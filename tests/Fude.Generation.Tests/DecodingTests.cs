using System.Text.Json;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Generation.Tests;

/// <summary>Greedy search, sampling and beams against generate() of transformers 4.41.2, token for token.</summary>
public sealed class DecodingTests(DecodingTests.OpenModels models) : IClassFixture<DecodingTests.OpenModels>
{
    private static readonly string[] Models = ["llama-mha", "llama-gqa", "stablelm", "stablelm-epoch-bf16", "gpt2-gelu"];
    private static readonly Dictionary<string, JsonElement> Goldens = Models
        .Where(name => TestFolders.FindGolden($"generate/{name}.json") is not null)
        .ToDictionary(name => name, name => GoldenJson.Read($"generate/{name}.json").GetProperty("cases"));

    public static TheoryData<string, string> Cases() =>
        new(from model in Goldens from data in model.Value.EnumerateArray() select (model.Key, data.GetProperty("case").GetString()!));

    [Theory, MemberData(nameof(Cases))]
    public void Generation_gives_the_reference_tokens(string model, string name)
    {
        JsonElement data = Goldens[model].EnumerateArray().Single(c => c.GetProperty("case").GetString() == name);
        TestModel tiny = models.Open(model);
        GenerationOptions options = OptionsOf(data);
        Check(tiny, data, options, data.GetProperty("sequences"));
        if (data.TryGetProperty("sequences_torch_2_1_x86_mkl", out JsonElement mkl))
            Check(tiny, data, options with { TorchRandom = TorchRandomPath.Mkl }, mkl);
    }

    private static void Check(TestModel tiny, JsonElement data, GenerationOptions options, JsonElement sequences)
    {
        (int[][] padded, int[][] prompts) = PromptsOf(data);
        // Chunks of three tokens: prompts longer than that are read in several steps.
        IReadOnlyList<DecodedSequence> results = tiny.Run(new(prompts, options) { CountLeftPadding = true }, prefillTokens: 3);
        Assert.Equal(sequences.GetArrayLength(), results.Count);
        for (int i = 0; i < results.Count; i++)
        {
            int[] expected = GoldenJson.Integers(sequences[i]);
            int[] found = [.. padded[results[i].Prompt], .. results[i].Ids];
            Assert.Equal(expected, (int[])[.. found, .. Enumerable.Repeat(options.PadTokenId!.Value,
                Math.Max(0, expected.Length - found.Length))]);
            if (data.TryGetProperty("sequences_scores", out JsonElement scores))
            {
                float score = GoldenJson.Float(scores[i]);
                Assert.Equal(score, results[i].Score!.Value, 2e-5 + 1e-5 * Math.Abs(score));
            }
        }
    }

    internal static (int[][] Padded, int[][] Prompts) PromptsOf(JsonElement data)
    {
        int[][] padded = [.. data.GetProperty("input_ids").EnumerateArray().Select(GoldenJson.Integers)];
        int[][] mask = [.. data.GetProperty("attention_mask").EnumerateArray().Select(GoldenJson.Integers)];
        return (padded, [.. padded.Select((ids, row) => ids.Where((_, i) => mask[row][i] == 1).ToArray())]);
    }

    internal static GenerationOptions OptionsOf(JsonElement data)
    {
        GenerationOptions options = GenerationConfigFile.Read(data.GetProperty("kwargs"), data.GetProperty("case").GetString()!);
        return data.TryGetProperty("torch_manual_seed", out JsonElement seed) ? options with { TorchSeed = seed.GetInt64() } : options;
    }

    /// <summary>Each model is opened once for all its cases.</summary>
    public sealed class OpenModels : IDisposable
    {
        private readonly Dictionary<string, TestModel> _models = [];

        internal TestModel Open(string name)
        {
            if (!_models.TryGetValue(name, out TestModel? model)) _models[name] = model = TestModel.Open(name);
            return model;
        }

        public void Dispose()
        {
            foreach (TestModel model in _models.Values) model.Dispose();
        }
    }
}
