using Fude.Tensors;

namespace Fude.Models;

/// <summary>GPT-2: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.</summary>
/// <remarks>Checkpoints hold its matrices as [in, out] (Conv1D) and queries, keys and values in one. Those of the original repository
/// leave "transformer." away from every name.</remarks>
public sealed class Gpt2(Gpt2Config config, WeightSource weights) : LanguageModel(weights)
{
    private readonly Weight _tokens = Trunk(weights).Matrix("wte.weight", config.Vocabulary, config.Width);
    private readonly Weight _positions = Trunk(weights).Matrix("wpe.weight", config.Context, config.Width);
    private readonly Block[] _blocks = [.. Enumerable.Range(0, config.Layers)
        .Select(i => new Block(config, i, Trunk(weights).Under($"h.{i}")))];
    private readonly Norm _norm = Trunk(weights).Norm("ln_f", config.Width, config.NormEpsilon);
    private readonly Linear _head = weights.Head("lm_head", Trunk(weights).Prefix + "wte", config);

    /// <inheritdoc/>
    public override Gpt2Config Config => config;

    /// <inheritdoc/>
    public override Tensor Forward(IOps ops, Batch batch)
    {
        Tensor x = ops.Embed(batch, _tokens, _positions);                        // [tokens, width]
        foreach (Block block in _blocks) x = ops.Run(block, x, batch);
        x = ops.TakeRows(x, batch.LogitRows);                                    // only rows whose next token is wanted
        return ops.Linear(ops.LayerNorm(x, _norm), _head);                       // [logit rows, vocabulary]
    }

    private static WeightSource Trunk(WeightSource weights) => weights.Contains("wte.weight") ? weights : weights.Under("transformer");

    private sealed class Block : IBlock
    {
        private readonly int _layer;
        private readonly Heads _heads;
        private readonly GeluForm _gelu;
        private readonly Norm _attentionNorm, _mlpNorm;
        private readonly Linear _query, _key, _value, _output, _expand, _contract;

        public Block(Gpt2Config config, int layer, WeightSource weights)
        {
            (_layer, _heads, _gelu) = (layer, config.HeadsOf(layer), config.Gelu);
            int width = config.Width;
            _attentionNorm = weights.Norm("ln_1", width, config.NormEpsilon);
            Linear fused = weights.Linear("attn.c_attn", 3 * width, width, bias: true, transposed: true);
            (_query, _key, _value) = (fused.Slice(0, width), fused.Slice(width, width), fused.Slice(2 * width, width));
            _output = weights.Linear("attn.c_proj", width, width, bias: true, transposed: true);
            _mlpNorm = weights.Norm("ln_2", width, config.NormEpsilon);
            _expand = weights.Linear("mlp.c_fc", config.Hidden, width, bias: true, transposed: true);
            _contract = weights.Linear("mlp.c_proj", width, config.Hidden, bias: true, transposed: true);
        }

        public Tensor Forward(IOps ops, Tensor x, Batch batch)
        {
            Tensor h = ops.LayerNorm(x, _attentionNorm);
            (Tensor q, Tensor k, Tensor v) = ops.Linear(h, _query, _key, _value);
            x = ops.Add(x, ops.Linear(ops.Attention(q, k, v, _heads, batch, _layer), _output));

            h = ops.LayerNorm(x, _mlpNorm);
            return ops.Add(x, ops.Linear(ops.Gelu(ops.Linear(h, _expand), _gelu), _contract));
        }
    }
}
