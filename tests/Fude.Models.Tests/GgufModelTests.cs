using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

public sealed class GgufModelTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fude-gguf-model-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>A small model's file with some metadata and tensors changed.</summary>
    private string Changed(
        string family, Func<KeyValuePair<string, object>, KeyValuePair<string, object>?> metadata,
        Func<NewGgufTensor, NewGgufTensor?>? tensors = null, IEnumerable<KeyValuePair<string, object>>? more = null,
        IEnumerable<NewGgufTensor>? moreTensors = null)
    {
        string good = Path.Combine(_folder, "good.gguf"), changed = Path.Combine(_folder, "changed.gguf");
        ModelConfig config = ModelConfig.Parse(System.Text.Encoding.UTF8.GetBytes(TinyModels.Configs[family]));
        GgufExport.Write(config, () => new RandomWeights(NumberFormat.F16), null, family, good, QuantizationMix.F16);
        using Gguf gguf = Gguf.Open(good);
        Gguf.Write(
            changed,
            [.. gguf.Metadata.Select(pair => metadata(pair)).OfType<KeyValuePair<string, object>>(), .. more ?? []],
            [.. gguf.Tensors.Values.Select(tensor => NewGgufTensor.Of(tensor)).Select(tensor => tensors is null ? tensor : tensors(tensor))
                .OfType<NewGgufTensor>(), .. moreTensors ?? []]);
        return changed;
    }

    private static Func<KeyValuePair<string, object>, KeyValuePair<string, object>?> Without(string key) =>
        pair => pair.Key == key ? null : pair;

    private static Func<KeyValuePair<string, object>, KeyValuePair<string, object>?> With(string key, object value) =>
        pair => pair.Key == key ? new(key, value) : pair;

    [Theory]
    [InlineData("general.architecture")]
    [InlineData("llama.embedding_length")]
    [InlineData("llama.block_count")]
    [InlineData("llama.context_length")]
    [InlineData("llama.feed_forward_length")]
    [InlineData("llama.attention.head_count")]
    [InlineData("llama.attention.layer_norm_rms_epsilon")]
    public void A_missing_key_is_named(string key)
    {
        string path = Changed("llama", Without(key));
        string message = Assert.Throws<InvalidDataException>(() => GgufModel.Open(path)).Message;
        Assert.Contains(key, message, StringComparison.Ordinal);
        Assert.Contains(path, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Absurd_metadata_gives_errors_alone()
    {
        foreach ((string key, object value) in (ReadOnlySpan<(string, object)>)[
            ("llama.embedding_length", 0u), ("llama.embedding_length", uint.MaxValue), ("llama.embedding_length", "48"),
            ("llama.block_count", ulong.MaxValue), ("llama.block_count", 1_000_000u), ("llama.attention.head_count", 0u),
            ("llama.attention.head_count", 7u), ("llama.attention.head_count", -1), ("llama.attention.head_count_kv", 4u),
            ("llama.attention.layer_norm_rms_epsilon", float.NaN), ("llama.attention.layer_norm_rms_epsilon", -1f),
            ("llama.rope.freq_base", 0f), ("llama.rope.freq_base", float.NaN), ("llama.context_length", 0u), ("llama.feed_forward_length", true)])
        {
            string path = Changed("llama", With(key, value));
            Exception error = Assert.ThrowsAny<Exception>(() => GgufModel.Open(path));
            Assert.True(error is InvalidDataException or NotSupportedException, $"{key} {value}: {error}");
            Assert.Contains(path, error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Variants_that_fude_does_not_compute_are_refused()
    {
        foreach ((string family, string key, object value) in (ReadOnlySpan<(string, string, object)>)[
            ("llama", "general.architecture", "qwen2"), ("llama", "llama.rope.dimension_count", 4u), ("llama", "llama.expert_count", 8u),
            ("llama", "llama.attention.value_length", 16u), ("llama", "llama.rope.scaling.type", "yarn")])
        {
            string path = Changed(family, Without(key), more: [new(key, value)]);
            Assert.Contains(path, Assert.Throws<NotSupportedException>(() => GgufModel.Open(path)).Message, StringComparison.Ordinal);
        }
        string frequencies = Changed("llama", Without(""), moreTensors: [Zeros("rope_freqs.weight", 4)]);
        Assert.Contains("rope_freqs", Assert.Throws<NotSupportedException>(() => GgufModel.Open(frequencies)).Message,
            StringComparison.Ordinal);
    }

    // llama.cpp's own saving writes "linear" and 0 where there is no scaling; its loading takes a factor without a type for linear.
    [Theory]
    [InlineData("linear", 0f, null)]
    [InlineData("linear", null, null)]
    [InlineData("none", 2f, null)]
    [InlineData(null, 0f, null)]
    [InlineData(null, 2f, 2f)]
    [InlineData("linear", 2f, 2f)]
    public void Scaling_of_the_rotary_embedding_is_read_as_llama_cpp_reads_it(string? type, float? factor, float? expected)
    {
        List<KeyValuePair<string, object>> more = [];
        if (type is not null) more.Add(new("llama.rope.scaling.type", type));
        if (factor is { } said) more.Add(new("llama.rope.scaling.factor", said));
        RopeScaling? found = ((LlamaConfig)GgufModel.Open(Changed("llama", Without(""), more: more)).Config).Rope.Scaling;
        RopeScaling? wanted = expected is { } linear ? new RopeScaling.Linear(linear) : null;
        Assert.Equal(wanted, found);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(uint.MaxValue)]
    public void A_token_of_minus_one_is_none(object none)
    {
        string[] keys = ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.padding_token_id"];
        string path = Changed("llama", pair => keys.Contains(pair.Key) ? null : pair, more: keys.Select(key => new KeyValuePair<string, object>(key, none)));
        ModelConfig config = GgufModel.Open(path).Config;
        Assert.Equal((null, null), (config.BosToken, config.PadToken));
        Assert.Empty(config.EosTokens);
    }

    // llama.cpp's converter says true wherever config.json says nothing, and llama.cpp looks for the norm.
    [Fact]
    public void The_residual_of_a_StableLM_is_parallel_where_the_second_norm_is_missing_whatever_the_metadata_says()
    {
        string sequential = Changed("stablelm", With("stablelm.use_parallel_residual", true));
        using (LanguageModel model = GgufModel.Open(sequential).LoadModel()) Assert.IsType<StableLm>(model);
        string parallel = Changed("stablelm", With("stablelm.use_parallel_residual", false),
            tensor => tensor.Name.Contains("ffn_norm", StringComparison.Ordinal) ? null : tensor);
        Assert.Contains("use_parallel_residual", Assert.Throws<NotSupportedException>(() => GgufModel.Open(parallel)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_too_few_too_many_or_of_another_shape_is_named()
    {
        string few = Changed("mistral", Without(""), tensor => tensor.Name == "blk.1.ffn_down.weight" ? null : tensor);
        Assert.Contains("blk.1.ffn_down.weight", Failure(few), StringComparison.Ordinal);
        string many = Changed("mistral", Without(""), moreTensors: [Zeros("blk.0.attn_q_norm.weight", 8)]);
        Assert.Contains("attn_q_norm", Failure(many), StringComparison.Ordinal);
        string other = Changed("mistral", With("llama.feed_forward_length", 81u));
        Assert.Contains("ffn_gate", Failure(other), StringComparison.Ordinal);

        static string Failure(string path) => Assert.Throws<InvalidDataException>(() => GgufModel.Open(path).LoadModel()).Message;
    }

    private static NewGgufTensor Zeros(string name, int length) =>
        new(name, NumberFormat.F32, [length], stream => stream.Write(new byte[4 * length]));

    [Theory]
    [InlineData("llama")]
    [InlineData("stablelm")]
    [InlineData("gpt2")]
    public void Weights_have_the_names_that_they_are_asked_for_by(string family)
    {
        GgufModel model = GgufModel.Open(Changed(family, Without("")));
        using IWeightStore weights = model.OpenWeights();
        foreach (GgufEntry entry in GgufNames.Of(model.Config))
        {
            Weight weight = entry.IsVector ? weights.Vector(entry.Name, entry.Columns) : weights.Matrix(entry.Name, entry.Rows, entry.Columns);
            Assert.Equal((entry.Name, entry.Rows, entry.Columns), (weight.Name, weight.Rows, weight.Columns));
        }
    }

    [Fact]
    public void A_file_without_weights_is_no_model()
    {
        string? path = TestFolders.SharedData("llama2-tokenizer/ggml-vocab-llama-spm.gguf");
        Assert.SkipWhen(path is null, "needs shared beside the checkout");
        string message = Assert.Throws<InvalidDataException>(() => GgufModel.Open(path!)).Message;
        Assert.Contains("vocabulary", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_GPT_2_file_of_others_is_computed_with_the_tanh_form()
    {
        string path = Changed("gpt2", Without("fude.activation_function"));
        Assert.Equal("gelu_new", ((Gpt2Config)GgufModel.Open(path).Config).Activation);
        using LanguageModel model = GgufModel.Open(path).LoadModel();
        Assert.Equal(128, model.Config.Vocabulary);
    }
}
