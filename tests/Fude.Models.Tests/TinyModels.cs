using System.Text;
using Fude.Tensors;

namespace Fude.Models.Tests;

/// <summary>One small model of each family with random weights, long enough a context for several blocks of keys.</summary>
internal static class TinyModels
{
    public const int Vocabulary = 128;

    public static IReadOnlyDictionary<string, string> Configs { get; } = new Dictionary<string, string>
    {
        ["llama"] = """
            {"model_type":"llama","vocab_size":128,"hidden_size":48,"intermediate_size":80,"num_hidden_layers":2,"num_attention_heads":6,
             "num_key_value_heads":2,"max_position_embeddings":512,"attention_bias":true,"tie_word_embeddings":true}
            """,
        ["mistral"] = """
            {"model_type":"mistral","vocab_size":128,"hidden_size":48,"intermediate_size":80,"num_hidden_layers":2,"num_attention_heads":6,
             "num_key_value_heads":2,"max_position_embeddings":512,"sliding_window":70}
            """,
        ["stablelm"] = """
            {"model_type":"stablelm","vocab_size":128,"hidden_size":64,"intermediate_size":80,"num_hidden_layers":2,"num_attention_heads":4,
             "num_key_value_heads":4,"max_position_embeddings":512,"use_qkv_bias":true}
            """,
        ["gpt2"] = """
            {"model_type":"gpt2","vocab_size":128,"n_embd":48,"n_layer":2,"n_head":4,"n_positions":512,"activation_function":"gelu"}
            """,
    };

    /// <summary>The same families as wide as a super-block of 256 numbers, so that they can be of any number format.</summary>
    public static ModelConfig Wide(string family)
    {
        string config = Configs[family];
        foreach ((string key, int from, int to) in (ReadOnlySpan<(string, int, int)>)
            [("hidden_size", 48, 256), ("hidden_size", 64, 256), ("n_embd", 48, 256), ("intermediate_size", 80, 512),
             ("num_attention_heads", 6, 8), ("num_attention_heads", 4, 8), ("num_key_value_heads", 4, 8), ("n_head", 4, 8)])
            config = config.Replace($"\"{key}\":{from},", $"\"{key}\":{to},", StringComparison.Ordinal);
        return ModelConfig.Parse(Encoding.UTF8.GetBytes(config));
    }

    public static LanguageModel Create(string family, NumberFormat format = NumberFormat.BF16) =>
        LanguageModel.Create(ModelConfig.Parse(Encoding.UTF8.GetBytes(Configs[family])), new RandomWeights(format));

    public static int[] Text(int length, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(Vocabulary))];
    }
}
