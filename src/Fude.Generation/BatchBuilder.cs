using System.Runtime.InteropServices;
using Fude.Tensors;

namespace Fude.Generation;

/// <summary>Gathers the tokens of one step from all requests; makes a new <see cref="Batch"/> only when its shape has changed.</summary>
internal sealed class BatchBuilder
{
    private readonly List<int> _tokens = [], _positions = [], _logitRows = [];
    private readonly List<Sequence> _sequences = [];
    private Batch _batch = new([], [], [], []);

    /// <summary>Tokens gathered so far.</summary>
    public int Count => _tokens.Count;

    /// <summary>Rows of logits asked for so far.</summary>
    public int LogitRows => _logitRows.Count;

    public void Clear()
    {
        _tokens.Clear();
        _positions.Clear();
        _logitRows.Clear();
        _sequences.Clear();
    }

    /// <summary>Adds the tokens that come next in a text.</summary>
    /// <param name="tokens">At least one.</param>
    /// <param name="cache">What they continue.</param>
    /// <param name="extent">Length of the prompt they belong to; 0 for new tokens.</param>
    /// <param name="wantsLogits">Whether the logits after the last of them are wanted.</param>
    public void Add(ReadOnlySpan<int> tokens, KvCache cache, int extent, bool wantsLogits)
    {
        _sequences.Add(new Sequence(_tokens.Count, tokens.Length, cache, extent));
        _tokens.AddRange(tokens);
        for (int i = 0; i < tokens.Length; i++) _positions.Add(cache.Length + i);
        if (wantsLogits) _logitRows.Add(_tokens.Count - 1);
    }

    /// <summary>The batch of what was added.</summary>
    public Batch Build()
    {
        Batch batch = _batch;
        if (batch.Tokens.Length != _tokens.Count || batch.Sequences.Length != _sequences.Count
            || batch.LogitRows.Length != _logitRows.Count)
            batch = _batch = new(new int[_tokens.Count], new int[_tokens.Count], new Sequence[_sequences.Count], new int[_logitRows.Count]);
        CollectionsMarshal.AsSpan(_tokens).CopyTo(batch.Tokens);
        CollectionsMarshal.AsSpan(_positions).CopyTo(batch.Positions);
        CollectionsMarshal.AsSpan(_sequences).CopyTo(batch.Sequences);
        CollectionsMarshal.AsSpan(_logitRows).CopyTo(batch.LogitRows);
        return batch;
    }
}
