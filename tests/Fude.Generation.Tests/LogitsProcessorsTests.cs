using System.Text.Json;

namespace Fude.Generation.Tests;

public sealed class LogitsProcessorsTests
{
    private static readonly JsonElement Cases = GoldenJson.Read("processors/processors.json").GetProperty("cases");

    public static TheoryData<string> Names() => new(Cases.EnumerateArray().Select(c => c.GetProperty("case").GetString()!));

    /// <summary>Every class of processors.json: the option it belongs to is set, all others are neutral, and the whole chain
    /// runs.</summary>
    [Theory, MemberData(nameof(Names))]
    public void Each_processor_gives_the_reference_logits(string name)
    {
        JsonElement data = Cases.EnumerateArray().Single(c => c.GetProperty("case").GetString() == name);
        string kind = data.GetProperty("class").GetString()!;
        bool warps = kind.EndsWith("Warper", StringComparison.Ordinal);
        Assert.Equal(data.GetProperty("logits_in").GetArrayLength(), data.GetProperty("input_ids").GetArrayLength());
        for (int row = 0; row < data.GetProperty("logits_in").GetArrayLength(); row++)
        {
            int[] history = GoldenJson.Integers(data.GetProperty("input_ids")[row]);
            float[] logits = GoldenJson.Floats(data.GetProperty("logits_in")[row]);
            (GenerationSettings settings, int promptLength) = Settings(kind, data.GetProperty("params"), history.Length, logits.Length);
            if (warps)
                logits = Warped(logits, settings, kind == "TopKLogitsWarper" || kind == "TopPLogitsWarper" ? Keep(data) : 1);
            else
                new LogitsProcessors(logits.Length).Apply(settings, logits, history, promptLength);
            GoldenJson.AssertNear(GoldenJson.Floats(data.GetProperty("logits_out")[row]), logits);
        }
    }

    [Fact]
    public void Presence_and_frequency_count_the_new_tokens_only()
    {
        float[] logits = [1, 1, 1, 1];
        new LogitsProcessors(4).PenaliseFrequency(logits, [2, 3, 3], presence: 0.5f, frequency: 0.25f);
        Assert.Equal([1, 1, 0.25f, 0], logits);
    }

    [Fact]
    public void Counts_are_forgotten_between_calls()
    {
        LogitsProcessors processors = new(4);
        for (int i = 0; i < 2; i++)
        {
            float[] logits = [1, -1, 1, 1];
            processors.PenaliseRepetition(logits, [1, 1, 2], 2);
            Assert.Equal([1, -2, 0.5f, 1], logits);
        }
    }

    [Fact]
    public void Ids_beyond_the_tokenizer_are_passed_over()
    {
        float[] logits = [1, 1];
        new LogitsProcessors(4).PenaliseRepetition(logits, [3, 0], 2);
        LogitsProcessors.Ban(logits, [3]);
        LogitsProcessors.BanRepeatedNgrams(logits, [3, 0, 3], 1);
        Assert.Equal([float.NegativeInfinity, 1], logits);
    }

    private static int Keep(JsonElement data) =>
        data.GetProperty("params").TryGetProperty("min_tokens_to_keep", out JsonElement keep) ? keep.GetInt32() : 1;

    private static float[] Warped(float[] logits, GenerationSettings settings, int keep)
    {
        Candidates candidates = new(logits.Length);
        if (keep == 1)
        {
            Assert.True(candidates.Warp(logits, settings));
        }
        else
        {
            candidates.Take(logits, 1, settings.TopK == 0 ? 0 : Math.Max(settings.TopK, keep));
            if (settings.TopP < 1) candidates.TopP((float)(1 - settings.TopP), keep);
        }
        return GoldenJson.Scatter(candidates, logits.Length);
    }

    private static (GenerationSettings Settings, int PromptLength) Settings(string kind, JsonElement parameters, int length, int vocabulary)
    {
        int promptLength = length, maxLength = 1000;
        Dictionary<string, object?> json = new() { ["top_k"] = 0 };
        foreach (JsonProperty parameter in parameters.EnumerateObject())
        {
            switch (parameter.Name)
            {
                case "min_tokens_to_keep": break;
                case "prompt_length_to_skip" or "input_ids_seq_length" or "begin_index": promptLength = parameter.Value.GetInt32(); break;
                case "max_length": maxLength = parameter.Value.GetInt32(); break;
                default: json[parameter.Name] = parameter.Value; break;
            }
        }
        if (kind == "InfNanRemoveLogitsProcessor") json["remove_invalid_values"] = true;
        if (kind == "LogitNormalization") json["renormalize_logits"] = true;
        GenerationOptions options = GenerationConfigFile.Read(JsonSerializer.SerializeToElement(json), "the case");
        return (GenerationSettings.Resolve(options with { MaxLength = maxLength }, promptLength, vocabulary, 2000), promptLength);
    }
}
