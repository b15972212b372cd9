namespace Fude.Tensors;

/// <summary>A run of neighbouring tokens of a <see cref="Batch"/> that belong to one text, each attending to those before it.</summary>
/// <param name="First">Index in the batch of its first token.</param>
/// <param name="Count">Its tokens in this batch, at least 1.</param>
/// <param name="Cache">The keys and values of the text so far, which the tokens continue; null when the text begins here and is not
/// going to be continued (training, scoring).</param>
/// <param name="Extent">Tokens of the whole text this run is read as a part of: the prompt's length while a prompt is prefilled, in
/// one chunk or several. 0 stands for "it ends with this run". Only rotary embeddings with dynamic scaling depend on it.</param>
public readonly record struct Sequence(int First, int Count, KvCache? Cache = null, int Extent = 0);

/// <summary>What one forward pass reads: a flat list of tokens, without padding. Prefill, a chunk of it, one decoding step, many users
/// at once and packed training documents are all the same call.</summary>
/// <param name="Tokens">[tokens] ids.</param>
/// <param name="Positions">[tokens] position of each token in its text, from 0, for position embeddings.</param>
/// <param name="Sequences">Which tokens belong together; together they cover the batch, in order.</param>
/// <param name="LogitRows">Indices into the batch of the tokens whose next-token logits are wanted, ascending.</param>
/// <remarks>The arrays may be reused for the next step with other numbers in them: decoding allocates nothing.</remarks>
public sealed record Batch(int[] Tokens, int[] Positions, Sequence[] Sequences, int[] LogitRows)
{
    /// <summary>One text, from its beginning or continuing a cache; logits for every token, or only for the last.</summary>
    /// <param name="tokens">At least one id.</param>
    /// <param name="allLogits">Whether logits of every token are wanted, not of the last alone.</param>
    /// <param name="cache">The text so far, which the tokens continue; null for one that begins here.</param>
    public static Batch Of(ReadOnlySpan<int> tokens, bool allLogits = false, KvCache? cache = null)
    {
        int start = cache?.Length ?? 0;
        int[] positions = new int[tokens.Length];
        for (int i = 0; i < positions.Length; i++) positions[i] = start + i;
        int[] rows = allLogits ? new int[tokens.Length] : [tokens.Length - 1];
        if (allLogits) for (int i = 0; i < rows.Length; i++) rows[i] = i;
        return new Batch(tokens.ToArray(), positions, [new Sequence(0, tokens.Length, cache)], rows);
    }
}
