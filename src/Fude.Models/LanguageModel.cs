using Fude.Tensors;

namespace Fude.Models;

/// <summary>A decoder-only transformer: token ids to logits. One file a family; nothing here knows of devices or number formats.</summary>
public abstract class LanguageModel : IDisposable
{
    /// <summary>The hyper-parameters, from config.json.</summary>
    public abstract ModelConfig Config { get; }

    /// <summary>The family's equations.</summary>
    /// <returns>[batch.LogitRows, vocabulary] raw logits.</returns>
    public abstract Tensor Forward(IOps ops, Batch batch);

    /// <summary>An empty cache of this model's shape.</summary>
    public KvCache CreateCache(IOps ops, int capacity) => ops.CreateCache(Config.Layers, Config.KeyValueWidth, capacity);

    /// <summary>One forward pass: checks the batch, frees what the last pass made, computes, and lets the caches grow.</summary>
    /// <param name="ops">The device.</param>
    /// <param name="batch">The tokens.</param>
    /// <returns>[batch.LogitRows, vocabulary] raw logits, valid until the next pass on this device.</returns>
    /// <exception cref="ArgumentException">A token id or a position is out of the model's range.</exception>
    public Tensor Run(IOps ops, Batch batch)
    {
        foreach (int token in batch.Tokens)
            if ((uint)token >= (uint)Config.Vocabulary)
                throw new ArgumentException($"Token id {token} is not in the model's vocabulary of {Config.Vocabulary}.", nameof(batch));
        foreach (int position in batch.Positions)
            if ((uint)position >= (uint)Config.Context)
                throw new ArgumentException($"Position {position} is beyond the model's context of {Config.Context} tokens.", nameof(batch));
        ops.Begin();
        Tensor logits = Forward(ops, batch);
        foreach (Sequence sequence in batch.Sequences) sequence.Cache?.Advance(sequence.Count);
        return logits;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the weights' memory back.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }
}
