using Fude.Tensors;

namespace Fude.Models;

/// <summary>Llama 2: Touvron et al., "Llama 2", 2023, arXiv:2307.09288.</summary>
public sealed class Llama(LlamaConfig config, WeightSource weights) : LanguageModel(weights)
{
    private readonly Weight _embedding = weights.Matrix("model.embed_tokens.weight", config.Vocabulary, config.Width);
    private readonly Block[] _blocks = [.. Enumerable.Range(0, config.Layers)
        .Select(i => new Block(config, i, weights.Under($"model.layers.{i}")))];
    private readonly Weight _norm = weights.Vector("model.norm.weight", config.Width);
    private readonly Linear _head = weights.Head("lm_head", "model.embed_tokens", config);

    /// <inheritdoc/>
    public override LlamaConfig Config => config;

    /// <inheritdoc/>
    public override Tensor Forward(IOps ops, Batch batch)
    {
        Tensor x = ops.Embed(batch, _embedding);                                 // [tokens, width]
        foreach (Block block in _blocks) x = ops.Run(block, x, batch);
        x = ops.TakeRows(x, batch.LogitRows);                                    // only rows whose next token is wanted
        return ops.Linear(ops.RmsNorm(x, _norm, config.NormEpsilon), _head);     // [logit rows, vocabulary]
    }

    private sealed class Block(LlamaConfig config, int layer, WeightSource weights) : IBlock
    {
        private readonly Weight _attentionNorm = weights.Vector("input_layernorm.weight", config.Width);
        private readonly Linear _query = weights.Linear("self_attn.q_proj", config.QueryWidth, config.Width, config.AttentionBias);
        private readonly Linear _key = weights.Linear("self_attn.k_proj", config.KeyValueWidth, config.Width, config.AttentionBias);
        private readonly Linear _value = weights.Linear("self_attn.v_proj", config.KeyValueWidth, config.Width, config.AttentionBias);
        private readonly Linear _output = weights.Linear("self_attn.o_proj", config.Width, config.QueryWidth, config.AttentionBias);
        private readonly Weight _mlpNorm = weights.Vector("post_attention_layernorm.weight", config.Width);
        private readonly Linear _gate = weights.Linear("mlp.gate_proj", config.Hidden, config.Width, config.MlpBias);
        private readonly Linear _up = weights.Linear("mlp.up_proj", config.Hidden, config.Width, config.MlpBias);
        private readonly Linear _down = weights.Linear("mlp.down_proj", config.Width, config.Hidden, config.MlpBias);

        public Tensor Forward(IOps ops, Tensor x, Batch batch)
        {
            Tensor h = ops.RmsNorm(x, _attentionNorm, config.NormEpsilon);
            (Tensor q, Tensor k, Tensor v) = ops.Linear(h, _query, _key, _value);
            (q, k) = (ops.Rope(q, batch, config.Rope), ops.Rope(k, batch, config.Rope));
            x = ops.Add(x, ops.Linear(ops.Attention(q, k, v, config.Heads, batch, layer), _output));

            h = ops.RmsNorm(x, _mlpNorm, config.NormEpsilon);
            (Tensor gate, Tensor up) = ops.Linear(h, _gate, _up);
            return ops.Add(x, ops.Linear(ops.SwiGlu(gate, up), _down));
        }
    }
}
