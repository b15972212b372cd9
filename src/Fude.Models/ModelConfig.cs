namespace Fude.Models;

/// <summary>The hyper-parameters that every family has, as config.json gives them.</summary>
public abstract record ModelConfig
{
    /// <summary>config.json's model_type: llama, mistral, stablelm, stablelm_epoch, gpt2.</summary>
    public required string ModelType { get; init; }

    /// <summary>Rows of the embedding; may exceed the tokenizer's entries, which alone may be sampled.</summary>
    public required int Vocabulary { get; init; }

    /// <summary>Numbers in the residual stream of a token.</summary>
    public required int Width { get; init; }

    /// <summary>Transformer blocks.</summary>
    public required int Layers { get; init; }

    /// <summary>Positions the model can read.</summary>
    public required int Context { get; init; }

    /// <summary>Numbers in a key (a value has as many), all heads together.</summary>
    public abstract int KeyValueWidth { get; }

    /// <summary>bos_token_id, or null.</summary>
    public int? BosToken { get; init; }

    /// <summary>eos_token_id, one or several; empty when config.json has none.</summary>
    public IReadOnlyList<int> EosTokens { get; init; } = [];

    /// <summary>pad_token_id, or null.</summary>
    public int? PadToken { get; init; }
}
