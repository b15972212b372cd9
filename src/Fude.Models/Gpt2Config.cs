using Fude.Tensors;

namespace Fude.Models;

/// <summary>Hyper-parameters of the GPT-2 family: the keys and defaults of transformers' GPT2Config.</summary>
public sealed record Gpt2Config : ModelConfig
{
    /// <summary>ε of the norms.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Form of the feed-forward layer's Gaussian unit: exact in llm-jp's models.</summary>
    public required GeluForm Gelu { get; init; }

    /// <summary>activation_function as config.json spells it.</summary>
    public required string Activation { get; init; }

    /// <summary>Whether scores are divided by √(head size).</summary>
    public bool ScalesAttention { get; init; } = true;

    /// <summary>Whether scores of block i (from 0) are also divided by i + 1.</summary>
    public bool ScalesAttentionByLayer { get; init; }

    /// <summary>How columns divide into heads, in one block.</summary>
    public Heads HeadsOf(int layer)
    {
        float scale = ScalesAttention ? 1 / MathF.Sqrt(HeadSize) : 1;
        return new Heads(QueryHeads, QueryHeads, HeadSize, ScalesAttentionByLayer ? scale / (layer + 1) : scale);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<KeyValuePair<string, string>> HyperParameters => List(
        ("model_type", ModelType), ("vocab_size", Vocabulary), ("n_embd", Width), ("n_inner", Hidden), ("n_layer", Layers),
        ("n_head", QueryHeads), ("head_dim", HeadSize), ("n_positions", Context), ("activation_function", Activation),
        ("layer_norm_epsilon", NormEpsilon), ("scale_attn_weights", ScalesAttention),
        ("scale_attn_by_inverse_layer_idx", ScalesAttentionByLayer), ("tie_word_embeddings", TiedHead), ("bos_token_id", BosToken),
        ("eos_token_id", EosTokens), ("pad_token_id", PadToken));

    internal static Gpt2Config Read(ConfigReader json)
    {
        json.Refuse("add_cross_attention", "decoders without cross attention (false)", "クロスアテンションのないデコーダー（false）");
        string activation = json.TextOrNull("activation_function") ?? "gelu_new";
        GeluForm gelu = activation switch
        {
            "gelu" => GeluForm.Erf,
            "gelu_new" or "gelu_fast" or "gelu_pytorch_tanh" => GeluForm.Tanh,
            _ => throw json.Unsupported(
                "activation_function", "\"gelu\", \"gelu_new\", \"gelu_fast\" and \"gelu_pytorch_tanh\"",
                "\"gelu\"、\"gelu_new\"、\"gelu_fast\"、\"gelu_pytorch_tanh\""),
        };
        // A fused query-key-value matrix has three times as many rows, a feed-forward layer usually four: both stay in range.
        int width = json.Count("n_embd", ConfigReader.MaxWidth);
        int heads = json.Count("n_head", ConfigReader.MaxWidth);
        int headSize = ReadHeadSize(json, width, heads, "n_embd", "n_head", honourHeadDim: false);
        return new Gpt2Config
        {
            ModelType = "gpt2",
            Vocabulary = json.Count("vocab_size", ConfigReader.MaxVocabulary),
            Width = width,
            Hidden = json.CountOrNull("n_inner", 4 * ConfigReader.MaxWidth) ?? 4 * width,
            Layers = json.Count("n_layer", ConfigReader.MaxLayers),
            Context = json.Count("n_positions", ConfigReader.MaxContext, absent: 1024),
            QueryHeads = heads,
            KeyValueHeads = heads,
            HeadSize = headSize,
            NormEpsilon = (float)json.Number("layer_norm_epsilon", 1e-5, above: 0, max: 1),
            Gelu = gelu,
            Activation = activation,
            ScalesAttention = json.Flag("scale_attn_weights", true),
            ScalesAttentionByLayer = json.Flag("scale_attn_by_inverse_layer_idx", false),
            TiedHead = json.Flag("tie_word_embeddings", true),
            BosToken = json.Token("bos_token_id", 50256),
            EosTokens = json.Tokens("eos_token_id", 50256),
            PadToken = json.PadToken(),
        };
    }
}
