using Fude.Tensors;

namespace Fude.Models;

/// <summary>Hyper-parameters of the Mistral family: the keys and defaults of transformers' MistralConfig.</summary>
public sealed record MistralConfig : ModelConfig
{
    /// <summary>ε of the norms.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Rotary embedding of queries and keys.</summary>
    public required RopeShape Rope { get; init; }

    /// <summary>Keys a token attends to at most, its own included; 0 for all (sliding_window null).</summary>
    public required int Window { get; init; }

    /// <summary>How columns divide into heads.</summary>
    public Heads Heads => new(QueryHeads, KeyValueHeads, HeadSize, 1 / MathF.Sqrt(HeadSize), Window);

    /// <summary>Numbers in a query, all heads together.</summary>
    public int QueryWidth => QueryHeads * HeadSize;

    /// <inheritdoc/>
    public override IReadOnlyList<KeyValuePair<string, string>> HyperParameters => List(
        ("model_type", ModelType), ("vocab_size", Vocabulary), ("hidden_size", Width), ("intermediate_size", Hidden),
        ("num_hidden_layers", Layers), ("num_attention_heads", QueryHeads), ("num_key_value_heads", KeyValueHeads), ("head_dim", HeadSize),
        ("hidden_act", "silu"), ("max_position_embeddings", Context), ("sliding_window", Window == 0 ? null : Window),
        ("rms_norm_eps", NormEpsilon), ("rope_theta", Rope.Theta), ("tie_word_embeddings", TiedHead), ("bos_token_id", BosToken),
        ("eos_token_id", EosTokens), ("pad_token_id", PadToken));

    internal static MistralConfig Read(ConfigReader json)
    {
        RequireSilu(json);
        json.Refuse("rope_scaling", "rope_scaling in Llama only (null in Mistral)", "Llama での rope_scaling（Mistral では null）");
        json.Refuse("attention_bias", "Mistral without biases", "バイアスのない Mistral");
        json.Refuse("partial_rotary_factor", "rotary embeddings over the whole head in Mistral", "Mistral ではヘッド全体の回転位置埋め込み", "1", "1.0");
        int width = json.Count("hidden_size", ConfigReader.MaxWidth);
        int heads = json.Count("num_attention_heads", ConfigReader.MaxWidth);
        int headSize = ReadHeadSize(json, width, heads, "hidden_size", "num_attention_heads", honourHeadDim: true);
        int context = json.Count("max_position_embeddings", ConfigReader.MaxContext, absent: 4096 * 32);
        RopeShape rope = ReadRope(json, headSize, headSize, ref context);
        // Later versions of transformers write scaling here.
        if (rope.Scaling is not null)
            throw json.Unsupported("rope_parameters", "scaled rotary embeddings in Llama only (rope_type \"default\" in Mistral)", "Llama での回転位置埋め込みのスケーリング（Mistral では rope_type が \"default\"）");
        return new MistralConfig
        {
            ModelType = "mistral",
            Vocabulary = json.Count("vocab_size", ConfigReader.MaxVocabulary),
            Width = width,
            Hidden = json.Count("intermediate_size", ConfigReader.MaxWidth),
            Layers = json.Count("num_hidden_layers", ConfigReader.MaxLayers),
            Context = context,
            QueryHeads = heads,
            KeyValueHeads = ReadKeyValueHeads(json, heads, absent: 8),
            HeadSize = headSize,
            NormEpsilon = (float)json.Number("rms_norm_eps", 1e-6, above: 0, max: 1),
            Rope = rope,
            Window = json.Mentions("sliding_window") ? json.CountOrNull("sliding_window", ConfigReader.MaxContext) ?? 0 : 4096,
            TiedHead = json.Flag("tie_word_embeddings", false),
            BosToken = json.Token("bos_token_id", 1),
            EosTokens = json.Tokens("eos_token_id", 2),
            PadToken = json.PadToken(),
        };
    }
}
