using System.Text;
using System.Text.Json.Nodes;
using Fude.Tensors;

namespace Fude.Models.Tests;

public sealed class ModelConfigTests
{
    private const string Llama = """
        {"model_type":"llama","vocab_size":100,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4}
        """;
    private const string Mistral = """
        {"model_type":"mistral","vocab_size":100,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":8}
        """;
    private const string StableLm = """
        {"model_type":"stablelm","vocab_size":100,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4}
        """;
    private const string Epoch = """
        {"model_type":"stablelm_epoch","vocab_size":100,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_heads":4}
        """;
    private const string Gpt2 = """{"model_type":"gpt2","vocab_size":100,"n_embd":64,"n_layer":2,"n_head":4}""";

    private static readonly Dictionary<string, string> Bases =
        new() { ["llama"] = Llama, ["mistral"] = Mistral, ["stablelm"] = StableLm, ["stablelm_epoch"] = Epoch, ["gpt2"] = Gpt2 };

    private static T Parse<T>(string json) where T : ModelConfig => Assert.IsType<T>(ModelConfig.Parse(Encoding.UTF8.GetBytes(json), "here/config.json"));

    // A family's minimal configuration with keys added, changed or (undefined) taken away.
    private static string With(string family, string changes)
    {
        JsonObject json = JsonNode.Parse(Bases[family])!.AsObject();
        foreach ((string key, JsonNode? value) in JsonNode.Parse(changes)!.AsObject())
            if (value?.GetValueKind() == System.Text.Json.JsonValueKind.String && value.GetValue<string>() == "(absent)") json.Remove(key);
            else json[key] = value?.DeepClone();
        return json.ToJsonString();
    }

    [Fact]
    public void Absent_keys_of_llama_have_the_defaults_of_transformers()
    {
        LlamaConfig config = Parse<LlamaConfig>(Llama);
        Assert.Equal((10_000f, 16, null), (config.Rope.Theta, config.Rope.Dimensions, config.Rope.Scaling));
        Assert.Equal((4, 4, 16), (config.QueryHeads, config.KeyValueHeads, config.HeadSize));
        Assert.Equal((1e-6f, 2048), (config.NormEpsilon, config.Context));
        Assert.False(config.AttentionBias || config.MlpBias || config.TiedHead);
        Assert.Equal((1, null), (config.BosToken, config.PadToken));
        Assert.Equal([2], config.EosTokens);
        Assert.Equal(new Heads(4, 4, 16, 0.25f), config.Heads);
    }

    [Fact]
    public void Absent_keys_of_mistral_have_the_defaults_of_transformers()
    {
        MistralConfig config = Parse<MistralConfig>(Mistral);
        Assert.Equal((8, 4096, 131_072, 1e-6f), (config.KeyValueHeads, config.Window, config.Context, config.NormEpsilon));
        Assert.Equal(0, Parse<MistralConfig>(With("mistral", """{"sliding_window":null}""")).Window);
        Assert.Equal(7, Parse<MistralConfig>(With("mistral", """{"sliding_window":7}""")).Heads.Window);
        Assert.Equal(8, Parse<MistralConfig>(With("mistral", """{"num_key_value_heads":null}""")).KeyValueHeads);
        Assert.Equal(1e6f, Parse<MistralConfig>(With("mistral", """{"rope_parameters":{"rope_type":"default","rope_theta":1000000.0}}""")).Rope.Theta);
        Assert.Equal((32, 256), (Parse<MistralConfig>(With("mistral", """{"head_dim":32}""")).HeadSize,
            Parse<MistralConfig>(With("mistral", """{"head_dim":32}""")).QueryWidth));
    }

    [Fact]
    public void Absent_keys_of_both_stablelm_dialects_have_their_defaults()
    {
        StableLmConfig config = Parse<StableLmConfig>(StableLm), epoch = Parse<StableLmConfig>(Epoch);
        Assert.Equal((4, 16, 10_000f, 1e-5f, 4096), (config.Rope.Dimensions, config.Rope.HeadSize, config.Rope.Theta, config.NormEpsilon, config.Context));
        Assert.Equal(config.Rope, epoch.Rope);
        Assert.Equal((4, 1e-5f, false), (epoch.QueryHeads, epoch.NormEpsilon, epoch.AttentionBias));
        Assert.Equal([0], config.EosTokens);
        Assert.Equal([2], epoch.EosTokens);
    }

    [Fact]
    public void The_stablelm_dialects_say_the_same_in_their_own_words()
    {
        StableLmConfig config = Parse<StableLmConfig>(With("stablelm",
            """{"partial_rotary_factor":0.5,"layer_norm_eps":0.001,"use_qkv_bias":true,"num_key_value_heads":2,"use_parallel_residual":false}"""));
        StableLmConfig epoch = Parse<StableLmConfig>(With("stablelm_epoch",
            """{"rope_pct":0.5,"norm_eps":0.001,"use_qkv_bias":true,"num_key_value_heads":2,"num_attention_heads":4,"rotary_scaling_factor":1.0}"""));
        Assert.Equal((8, 0.001f, true, 2), (config.Rope.Dimensions, config.NormEpsilon, config.AttentionBias, config.KeyValueHeads));
        Assert.Equal((8, 0.001f, true, 2), (epoch.Rope.Dimensions, epoch.NormEpsilon, epoch.AttentionBias, epoch.KeyValueHeads));
    }

    [Fact]
    public void Absent_keys_of_gpt2_have_the_defaults_of_transformers()
    {
        Gpt2Config config = Parse<Gpt2Config>(Gpt2);
        Assert.Equal((256, 1024, GeluForm.Tanh, 1e-5f, true), (config.Hidden, config.Context, config.Gelu, config.NormEpsilon, config.TiedHead));
        Assert.Equal(0.25f, config.HeadsOf(1).Scale);
        Assert.Equal([50256], config.EosTokens);
        Assert.Equal(256, Parse<Gpt2Config>(With("gpt2", """{"n_inner":null,"n_ctx":17}""")).Hidden);
    }

    [Fact]
    public void Attention_of_gpt2_is_scaled_as_the_configuration_says()
    {
        Assert.Equal(1f, Parse<Gpt2Config>(With("gpt2", """{"scale_attn_weights":false}""")).HeadsOf(1).Scale);
        Assert.Equal(0.125f, Parse<Gpt2Config>(With("gpt2", """{"scale_attn_by_inverse_layer_idx":true}""")).HeadsOf(1).Scale);
    }

    [Theory]
    [InlineData("gelu", GeluForm.Erf)]
    [InlineData("gelu_new", GeluForm.Tanh)]
    [InlineData("gelu_fast", GeluForm.Tanh)]
    [InlineData("gelu_pytorch_tanh", GeluForm.Tanh)]
    public void Each_gelu_of_gpt2_is_known(string name, GeluForm form) =>
        Assert.Equal(form, Parse<Gpt2Config>(With("gpt2", $$"""{"activation_function":"{{name}}"}""")).Gelu);

    [Fact]
    public void End_of_text_tokens_may_be_one_or_several_or_none()
    {
        Assert.Equal([1, 2], Parse<LlamaConfig>(With("llama", """{"eos_token_id":[1,2]}""")).EosTokens);
        Assert.Equal([9], Parse<LlamaConfig>(With("llama", """{"eos_token_id":9}""")).EosTokens);
        Assert.Empty(Parse<LlamaConfig>(With("llama", """{"eos_token_id":null}""")).EosTokens);
        Assert.Null(Parse<LlamaConfig>(With("llama", """{"pad_token_id":-1}""")).PadToken);
    }

    [Fact]
    public void Rope_scaling_is_read_in_its_old_and_new_spelling()
    {
        LlamaConfig linear = Parse<LlamaConfig>(With("llama", """{"rope_scaling":{"type":"linear","factor":2.5},"max_position_embeddings":400}"""));
        Assert.Equal((new RopeScaling.Linear(2.5f), 1000), (linear.Rope.Scaling, linear.Context));
        LlamaConfig dynamic = Parse<LlamaConfig>(With("llama", """{"rope_scaling":{"rope_type":"dynamic","factor":4},"max_position_embeddings":400}"""));
        Assert.Equal((new RopeScaling.Dynamic(4, 400), 1600), (dynamic.Rope.Scaling, dynamic.Context));
        LlamaConfig llama3 = Parse<LlamaConfig>(With("llama", """
            {"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192},
             "max_position_embeddings":131072,"rope_theta":500000.0}
            """));
        Assert.Equal((new RopeScaling.Llama3(8, 1, 4, 8192), 131_072, 500_000f), (llama3.Rope.Scaling, llama3.Context, llama3.Rope.Theta));
        Assert.Null(Parse<LlamaConfig>(With("llama", """{"rope_scaling":{"rope_type":"default"}}""")).Rope.Scaling);
        LlamaConfig later = Parse<LlamaConfig>(With("llama", """{"rope_parameters":{"rope_type":"default","rope_theta":1000000.0}}"""));
        Assert.Equal((1e6f, null), (later.Rope.Theta, later.Rope.Scaling));
    }

    [Theory]
    [InlineData("llama", """{"hidden_act":"gelu"}""", "hidden_act", "silu")]
    [InlineData("llama", """{"rope_scaling":{"type":"yarn","factor":2.0}}""", "rope_scaling.type", "llama3")]
    [InlineData("llama", """{"rope_scaling":{"factor":2.0}}""", "rope_scaling.type", "linear")]
    [InlineData("llama", """{"quantization_config":{"bits":4}}""", "quantization_config", "unquantised")]
    [InlineData("llama", """{"partial_rotary_factor":0.5}""", "partial_rotary_factor", "whole head")]
    [InlineData("llama", """{"model_type":"mixtral"}""", "model_type", "stablelm_epoch")]
    [InlineData("mistral", """{"hidden_act":"relu"}""", "hidden_act", "silu")]
    [InlineData("mistral", """{"rope_scaling":{"type":"linear","factor":2.0}}""", "rope_scaling", "Llama")]
    [InlineData("mistral", """{"rope_parameters":{"rope_type":"dynamic","factor":2.0,"rope_theta":10000.0}}""", "rope_parameters", "Llama")]
    [InlineData("stablelm", """{"use_parallel_residual":true}""", "use_parallel_residual", "sequential")]
    [InlineData("stablelm", """{"qk_layernorm":true}""", "qk_layernorm", "without a norm")]
    [InlineData("stablelm_epoch", """{"rotary_scaling_factor":2.0}""", "rotary_scaling_factor", "1")]
    [InlineData("gpt2", """{"activation_function":"relu"}""", "activation_function", "gelu_fast")]
    [InlineData("gpt2", """{"add_cross_attention":true}""", "add_cross_attention", "without cross")]
    public void What_would_change_the_result_and_is_not_supported_is_an_error(string family, string changes, string key, string supported)
    {
        Fails.With<NotSupportedException>(() => Parse<ModelConfig>(With(family, changes)), "here/config.json", key, supported);
    }

    [Theory]
    [InlineData("""{"model_type":"\ud800"}""")]
    [InlineData("""{"\udc00":1,"model_type":"llama"}""")]
    [InlineData("""{"model_type":"llama","rope_scaling":{"type":"lin\ud800ear"}}""")]
    [InlineData("{\"model_type\":\"\u00ff\"}")]
    public void Strings_that_are_no_text_are_an_error_of_the_file(string latin) =>
        Fails.With<InvalidDataException>(() => ModelConfig.Parse(Encoding.Latin1.GetBytes(latin), "here/config.json"), "here/config.json", "UTF-8");

    [Theory]
    [InlineData("llama", """{"model_type":"(absent)"}""", "model_type")]
    [InlineData("llama", """{"vocab_size":"(absent)"}""", "vocab_size")]
    [InlineData("llama", """{"vocab_size":0}""", "vocab_size")]
    [InlineData("llama", """{"vocab_size":-5}""", "vocab_size")]
    [InlineData("llama", """{"vocab_size":1000000000000}""", "vocab_size")]
    [InlineData("llama", """{"vocab_size":1e30}""", "vocab_size")]
    [InlineData("llama", """{"vocab_size":"many"}""", "vocab_size")]
    [InlineData("llama", """{"vocab_size":null}""", "vocab_size")]
    [InlineData("llama", """{"hidden_size":[64]}""", "hidden_size")]
    [InlineData("llama", """{"hidden_size":64.5}""", "hidden_size")]
    [InlineData("llama", """{"num_attention_heads":5}""", "num_attention_heads")]
    [InlineData("llama", """{"num_attention_heads":0}""", "num_attention_heads")]
    [InlineData("llama", """{"num_key_value_heads":3}""", "num_key_value_heads")]
    [InlineData("llama", """{"num_key_value_heads":8}""", "num_key_value_heads")]
    [InlineData("llama", """{"head_dim":1000000}""", "head_dim")]
    [InlineData("llama", """{"num_attention_heads":1024,"head_dim":4096}""", "num_attention_heads")]
    [InlineData("llama", """{"head_dim":15}""", "rotary")]
    [InlineData("llama", """{"num_hidden_layers":1000000000}""", "num_hidden_layers")]
    [InlineData("llama", """{"intermediate_size":"(absent)"}""", "intermediate_size")]
    [InlineData("llama", """{"max_position_embeddings":0}""", "max_position_embeddings")]
    [InlineData("llama", """{"max_position_embeddings":1000000000000}""", "max_position_embeddings")]
    [InlineData("llama", """{"rms_norm_eps":0}""", "rms_norm_eps")]
    [InlineData("llama", """{"rms_norm_eps":"small"}""", "rms_norm_eps")]
    [InlineData("llama", """{"rms_norm_eps":-1e-6}""", "rms_norm_eps")]
    [InlineData("llama", """{"rope_theta":0}""", "rope_theta")]
    [InlineData("llama", """{"rope_scaling":"linear"}""", "rope_scaling")]
    [InlineData("llama", """{"rope_scaling":{"type":"linear"}}""", "rope_scaling.factor")]
    [InlineData("llama", """{"rope_scaling":{"type":"dynamic","factor":-1}}""", "rope_scaling.factor")]
    [InlineData("llama", """{"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":1,"original_max_position_embeddings":8192}}""", "rope_scaling.high_freq_factor")]
    [InlineData("llama", """{"attention_bias":1}""", "attention_bias")]
    [InlineData("llama", """{"tie_word_embeddings":"yes"}""", "tie_word_embeddings")]
    [InlineData("llama", """{"eos_token_id":[1,"two"]}""", "eos_token_id")]
    [InlineData("llama", """{"eos_token_id":-2}""", "eos_token_id")]
    [InlineData("llama", """{"model_type":7}""", "model_type")]
    [InlineData("mistral", """{"sliding_window":0}""", "sliding_window")]
    [InlineData("mistral", """{"sliding_window":"wide"}""", "sliding_window")]
    [InlineData("stablelm", """{"partial_rotary_factor":0}""", "partial_rotary_factor")]
    [InlineData("stablelm", """{"partial_rotary_factor":1.5}""", "partial_rotary_factor")]
    [InlineData("stablelm", """{"partial_rotary_factor":0.2}""", "rotary")]
    [InlineData("stablelm_epoch", """{"num_attention_heads":8}""", "num_heads")]
    [InlineData("stablelm_epoch", """{"num_heads":"(absent)"}""", "num_attention_heads")]
    [InlineData("gpt2", """{"n_head":7}""", "n_head")]
    [InlineData("gpt2", """{"n_layer":"(absent)"}""", "n_layer")]
    [InlineData("gpt2", """{"n_inner":0}""", "n_inner")]
    [InlineData("gpt2", """{"n_embd":"(absent)"}""", "n_embd")]
    [InlineData("gpt2", """{"layer_norm_epsilon":null}""", "layer_norm_epsilon")]
    public void An_absurd_or_missing_value_is_an_error_that_names_file_and_key(string family, string changes, string key)
    {
        Fails.With<InvalidDataException>(() => Parse<ModelConfig>(With(family, changes)), "here/config.json", key);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{\"model_type\":\"llama\",}")]
    [InlineData("\u0000\u0001\u0002")]
    public void What_is_not_a_JSON_object_is_an_error(string text) =>
        Fails.With<InvalidDataException>(() => Parse<ModelConfig>(text), "here/config.json");

    [Fact]
    public void JSON_nested_without_end_is_an_error() =>
        Assert.Throws<InvalidDataException>(() => Parse<ModelConfig>("{\"model_type\":" + new string('[', 1_000_000)));

    [Fact]
    public void Every_hyper_parameter_is_listed_with_the_value_in_force()
    {
        IReadOnlyList<KeyValuePair<string, string>> list = Parse<LlamaConfig>(With("llama", """{"eos_token_id":[1,2],"rms_norm_eps":1e-5}""")).HyperParameters;
        Assert.Contains(new("rms_norm_eps", "1E-05"), list);
        Assert.Contains(new("eos_token_id", "[1, 2]"), list);
        Assert.Contains(new("rope_scaling", "null"), list);
        Assert.Contains(new("tie_word_embeddings", "false"), list);
        foreach (string family in Bases.Keys) Assert.NotEmpty(ModelConfig.Parse(Encoding.UTF8.GetBytes(Bases[family])).HyperParameters);
    }
}
