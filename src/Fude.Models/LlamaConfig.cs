using Fude.Tensors;

namespace Fude.Models;

/// <summary>Hyper-parameters of the Llama family: the keys and defaults of transformers' LlamaConfig.</summary>
public sealed record LlamaConfig : ModelConfig
{
    /// <summary>ε of the norms; 1e-5 in Llama 2, 1e-6 in ELYZA's models.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Rotary embedding of queries and keys.</summary>
    public required RopeShape Rope { get; init; }

    /// <summary>Whether query, key, value and output products add a bias.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Whether the feed-forward products add a bias.</summary>
    public bool MlpBias { get; init; }

    /// <summary>How columns divide into heads.</summary>
    public Heads Heads => new(QueryHeads, KeyValueHeads, HeadSize, 1 / MathF.Sqrt(HeadSize));

    /// <summary>Numbers in a query, all heads together.</summary>
    public int QueryWidth => QueryHeads * HeadSize;

    /// <inheritdoc/>
    public override bool KeysDependOnLength => Rope.Scaling is RopeScaling.Dynamic;

    /// <inheritdoc/>
    public override IReadOnlyList<KeyValuePair<string, string>> HyperParameters => List(
        ("model_type", ModelType), ("vocab_size", Vocabulary), ("hidden_size", Width), ("intermediate_size", Hidden),
        ("num_hidden_layers", Layers), ("num_attention_heads", QueryHeads), ("num_key_value_heads", KeyValueHeads), ("head_dim", HeadSize),
        ("hidden_act", "silu"), ("max_position_embeddings", Context), ("rms_norm_eps", NormEpsilon), ("rope_theta", Rope.Theta),
        ("rope_scaling", Show(Rope.Scaling)), ("attention_bias", AttentionBias), ("mlp_bias", MlpBias), ("tie_word_embeddings", TiedHead),
        ("bos_token_id", BosToken), ("eos_token_id", EosTokens), ("pad_token_id", PadToken));

    internal static LlamaConfig Read(ConfigReader json)
    {
        RequireSilu(json);
        json.Refuse("partial_rotary_factor", "rotary embeddings over the whole head in Llama", "Llama ではヘッド全体の回転位置埋め込み", "1", "1.0");
        int width = json.Count("hidden_size", ConfigReader.MaxWidth);
        int heads = json.Count("num_attention_heads", ConfigReader.MaxWidth);
        int headSize = ReadHeadSize(json, width, heads, "hidden_size", "num_attention_heads", honourHeadDim: true);
        int context = json.Count("max_position_embeddings", ConfigReader.MaxContext, absent: 2048);
        RopeShape rope = ReadRope(json, headSize, headSize, ref context);
        return new LlamaConfig
        {
            ModelType = "llama",
            Vocabulary = json.Count("vocab_size", ConfigReader.MaxVocabulary),
            Width = width,
            Hidden = json.Count("intermediate_size", ConfigReader.MaxWidth),
            Layers = json.Count("num_hidden_layers", ConfigReader.MaxLayers),
            Context = context,
            QueryHeads = heads,
            KeyValueHeads = ReadKeyValueHeads(json, heads, absent: heads),
            HeadSize = headSize,
            NormEpsilon = (float)json.Number("rms_norm_eps", 1e-6, above: 0, max: 1),
            Rope = rope,
            AttentionBias = json.Flag("attention_bias", false),
            MlpBias = json.Flag("mlp_bias", false),
            TiedHead = json.Flag("tie_word_embeddings", false),
            BosToken = json.Token("bos_token_id", 1),
            EosTokens = json.Tokens("eos_token_id", 2),
            PadToken = json.PadToken(),
        };
    }
}
