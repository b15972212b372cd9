using System.Text.Json;

namespace Fude.Models.Tests;

public sealed class GgufSamplingTests
{
    private static readonly ModelConfig Config = ModelConfig.Parse("""
        {"model_type":"llama","vocab_size":128,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":4,"eos_token_id":[2,5]}
        """u8.ToArray());

    private static Dictionary<string, object> Written(string generation) =>
        new(GgufSampling.Write(JsonDocument.Parse(generation).RootElement), StringComparer.Ordinal);

    [Fact]
    public void All_of_a_generation_config_comes_back()
    {
        const string Json = """{"do_sample": true, "temperature": 0.7, "top_k": 40, "max_new_tokens": 128, "stop_strings": ["。"]}""";
        Assert.Equal(Json, GgufSampling.Read(Written(Json), Config, "m.gguf")!.Value.GetRawText());
        Assert.Null(GgufSampling.Read(new Dictionary<string, object>(), Config, "m.gguf"));
        Assert.Empty(GgufSampling.Write(null));
    }

    [Fact]
    public void Llama_cpp_finds_what_it_knows_where_the_model_samples()
    {
        Dictionary<string, object> written = Written(
            """{"do_sample": true, "temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": null, "repetition_penalty": 1.05, "max_new_tokens": 8}""");
        Assert.Equal(
            [("general.sampling.penalty_repeat", 1.05f), ("general.sampling.temp", 0.7f), ("general.sampling.top_k", 40), ("general.sampling.top_p", 0.9f)],
            written.Where(pair => pair.Key.StartsWith("general.", StringComparison.Ordinal)).OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key, pair.Value)));
        Assert.Equal(["fude.generation_config"], Written("""{"temperature": 0.7, "do_sample": false}""").Keys);
    }

    [Fact]
    public void A_file_of_others_is_sampled_as_it_says()
    {
        JsonElement read = GgufSampling.Read(
            new Dictionary<string, object>
            {
                ["general.sampling.temp"] = 0.7f,
                ["general.sampling.top_k"] = 20,
                ["general.sampling.top_p"] = 0.95f,
                ["general.sampling.penalty_repeat"] = 1.1f,
            }, Config, "m.gguf")!.Value;
        Assert.Equal("""{"do_sample":true,"temperature":0.7,"top_k":20,"top_p":0.95,"repetition_penalty":1.1,"eos_token_id":[2,5]}""", read.GetRawText());
        read = GgufSampling.Read(new Dictionary<string, object> { ["general.sampling.temp"] = 0f, ["general.sampling.top_k"] = -1 }, Config, "m.gguf")!.Value;
        Assert.Equal("""{"do_sample":false,"top_k":0,"eos_token_id":[2,5]}""", read.GetRawText());
        foreach ((float given, int expected) in (ReadOnlySpan<(float, int)>)[(-1, 0), (0, 0), (1, 1), (1.5f, 1)])
        {
            read = GgufSampling.Read(new Dictionary<string, object> { ["general.sampling.temp"] = 1f, ["general.sampling.top_p"] = given }, Config, "m.gguf")!.Value;
            Assert.Equal(expected, read.GetProperty("top_p").GetInt32());
        }
    }

    [Theory]
    [InlineData("general.sampling.temp", "warm")]
    [InlineData("general.sampling.temp", float.NaN)]
    [InlineData("general.sampling.top_k", 1.5)]
    [InlineData("general.sampling.top_k", ulong.MaxValue)]
    [InlineData("general.sampling.top_p", true)]
    [InlineData("fude.generation_config", 7)]
    [InlineData("fude.generation_config", "{")]
    [InlineData("fude.generation_config", "[1]")]
    public void A_value_of_another_kind_is_named(string key, object value)
    {
        Dictionary<string, object> metadata = new() { ["general.sampling.temp"] = 1f, [key] = value };
        string message = Assert.Throws<InvalidDataException>(() => GgufSampling.Read(metadata, Config, "m.gguf")).Message;
        Assert.Contains("m.gguf", message, StringComparison.Ordinal);
        Assert.Contains(key, message, StringComparison.Ordinal);
    }
}
