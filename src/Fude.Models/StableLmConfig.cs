using Fude.Tensors;

namespace Fude.Models;

/// <summary>Hyper-parameters of the StableLM family in both dialects: "stablelm" of transformers (StableLmConfig) and the older
/// "stablelm_epoch", whose code came with the checkpoints (rope_pct, norm_eps).</summary>
public sealed record StableLmConfig : ModelConfig
{
    /// <summary>ε of the norms.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Rotary embedding of queries and keys: a quarter of each head in StableLM-3B-4E1T.</summary>
    public required RopeShape Rope { get; init; }

    /// <summary>Whether query, key and value products add a bias.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>How columns divide into heads.</summary>
    public Heads Heads => new(QueryHeads, KeyValueHeads, HeadSize, 1 / MathF.Sqrt(HeadSize));

    private bool IsEpoch => ModelType == "stablelm_epoch";

    /// <inheritdoc/>
    public override bool KeysDependOnLength => Rope.Scaling is RopeScaling.Dynamic;

    /// <inheritdoc/>
    public override IReadOnlyList<KeyValuePair<string, string>> HyperParameters => List(
        ("model_type", ModelType), ("vocab_size", Vocabulary), ("hidden_size", Width), ("intermediate_size", Hidden),
        ("num_hidden_layers", Layers), ("num_attention_heads", QueryHeads), ("num_key_value_heads", KeyValueHeads), ("head_dim", HeadSize),
        ("hidden_act", "silu"), ("max_position_embeddings", Context), (IsEpoch ? "norm_eps" : "layer_norm_eps", NormEpsilon),
        (IsEpoch ? "rope_pct" : "partial_rotary_factor", $"{Rope.Dimensions} of {HeadSize} numbers"), ("rope_theta", Rope.Theta),
        ("rope_scaling", Show(Rope.Scaling)), ("use_qkv_bias", AttentionBias), ("tie_word_embeddings", TiedHead),
        ("bos_token_id", BosToken), ("eos_token_id", EosTokens), ("pad_token_id", PadToken));

    internal static StableLmConfig Read(ConfigReader json)
    {
        bool epoch = json.TextOrNull("model_type") == "stablelm_epoch";
        RequireSilu(json);
        json.Refuse("use_parallel_residual", "the sequential residual (false)", "逐次の残差接続（false）");
        json.Refuse("qk_layernorm", "queries and keys without a norm (false)", "ノルムのないクエリーとキー（false）");
        json.Refuse("rotary_scaling_factor", "a rotary_scaling_factor of 1", "rotary_scaling_factor が 1", "1", "1.0");
        int width = json.Count("hidden_size", ConfigReader.MaxWidth);
        string headsKey = epoch && !json.Has("num_attention_heads") && json.Has("num_heads") ? "num_heads" : "num_attention_heads";
        int heads = json.Count(headsKey, ConfigReader.MaxWidth);
        if (epoch && json.CountOrNull("num_heads", ConfigReader.MaxWidth) is { } other && other != heads)
            throw json.Bad(
                "num_heads", $"is {other}, but num_attention_heads is {heads}; they mean the same",
                $"が {other} ですが、同じ意味の num_attention_heads は {heads} です");
        int headSize = ReadHeadSize(json, width, heads, "hidden_size", headsKey, honourHeadDim: false);
        int context = json.Count("max_position_embeddings", ConfigReader.MaxContext, absent: 4096);

        ConfigReader? parameters = json.Under("rope_parameters");
        ConfigReader withRotary = parameters is not null && parameters.Has("partial_rotary_factor") ? parameters : json;
        string rotaryKey = epoch && !json.Has("partial_rotary_factor") ? "rope_pct" : "partial_rotary_factor";
        double rotary = withRotary.Number(rotaryKey, 0.25, above: 0, max: 1);
        string epsilonKey = epoch && !json.Has("layer_norm_eps") ? "norm_eps" : "layer_norm_eps";
        RopeShape rope = ReadRope(json, headSize, (int)(headSize * rotary), ref context);
        return new StableLmConfig
        {
            ModelType = epoch ? "stablelm_epoch" : "stablelm",
            Vocabulary = json.Count("vocab_size", ConfigReader.MaxVocabulary),
            Width = width,
            Hidden = json.Count("intermediate_size", ConfigReader.MaxWidth),
            Layers = json.Count("num_hidden_layers", ConfigReader.MaxLayers),
            Context = context,
            QueryHeads = heads,
            KeyValueHeads = ReadKeyValueHeads(json, heads, absent: heads),
            HeadSize = headSize,
            NormEpsilon = (float)json.Number(epsilonKey, 1e-5, above: 0, max: 1),
            Rope = rope,
            AttentionBias = json.Flag("use_qkv_bias", false),
            TiedHead = json.Flag("tie_word_embeddings", false),
            BosToken = json.Token("bos_token_id", 0),
            EosTokens = json.Tokens("eos_token_id", epoch ? 2 : 0),
            PadToken = json.PadToken(),
        };
    }
}
