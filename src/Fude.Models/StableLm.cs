using Fude.Tensors;

namespace Fude.Models;

/// <summary>StableLM-3B-4E1T: Tow et al., 2023, https://huggingface.co/stabilityai/stablelm-3b-4e1t. Llama's layers with LayerNorms that
/// have a bias, and rotary embeddings over a part of each head.</summary>
public sealed class StableLm(StableLmConfig config, WeightSource weights) : LanguageModel(weights)
{
    private readonly Weight _embedding = weights.Matrix("model.embed_tokens.weight", config.Vocabulary, config.Width);
    private readonly Block[] _blocks = [.. Enumerable.Range(0, config.Layers)
        .Select(i => new Block(config, i, weights.Under($"model.layers.{i}")))];
    private readonly Norm _norm = weights.Norm("model.norm", config.Width, config.NormEpsilon);
    private readonly Linear _head = weights.Head("lm_head", "model.embed_tokens", config);

    /// <inheritdoc/>
    public override StableLmConfig Config => config;

    /// <inheritdoc/>
    public override Tensor Forward(IOps ops, Batch batch)
    {
        Tensor x = ops.Embed(batch, _embedding);                                 // [tokens, width]
        foreach (Block block in _blocks) x = ops.Run(block, x, batch);
        x = ops.TakeRows(x, batch.LogitRows);                                    // only rows whose next token is wanted
        return ops.Linear(ops.LayerNorm(x, _norm), _head);                       // [logit rows, vocabulary]
    }

    private sealed class Block(StableLmConfig config, int layer, WeightSource weights) : IBlock
    {
        private readonly Norm _attentionNorm = weights.Norm("input_layernorm", config.Width, config.NormEpsilon);
        private readonly Linear _query = weights.Linear("self_attn.q_proj", config.Width, config.Width, config.AttentionBias);
        private readonly Linear _key = weights.Linear("self_attn.k_proj", config.KeyValueWidth, config.Width, config.AttentionBias);
        private readonly Linear _value = weights.Linear("self_attn.v_proj", config.KeyValueWidth, config.Width, config.AttentionBias);
        private readonly Linear _output = weights.Linear("self_attn.o_proj", config.Width, config.Width);
        private readonly Norm _mlpNorm = weights.Norm("post_attention_layernorm", config.Width, config.NormEpsilon);
        private readonly Linear _gate = weights.Linear("mlp.gate_proj", config.Hidden, config.Width);
        private readonly Linear _up = weights.Linear("mlp.up_proj", config.Hidden, config.Width);
        private readonly Linear _down = weights.Linear("mlp.down_proj", config.Width, config.Hidden);

        public Tensor Forward(IOps ops, Tensor x, Batch batch)
        {
            Tensor h = ops.LayerNorm(x, _attentionNorm);
            (Tensor q, Tensor k, Tensor v) = ops.Linear(h, _query, _key, _value);
            (q, k) = (ops.Rope(q, batch, config.Rope), ops.Rope(k, batch, config.Rope));
            x = ops.Add(x, ops.Linear(ops.Attention(q, k, v, config.Heads, batch, layer), _output));

            h = ops.LayerNorm(x, _mlpNorm);
            (Tensor gate, Tensor up) = ops.Linear(h, _gate, _up);
            return ops.Add(x, ops.Linear(ops.SwiGlu(gate, up), _down));
        }
    }
}
