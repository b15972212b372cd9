namespace Fude.Generation;

/// <summary>One text that a model has written.</summary>
public sealed record GenerationResult
{
    /// <summary>Which prompt of the call it continues, from 0.</summary>
    public int PromptIndex { get; init; }

    /// <summary>The prompt's tokens.</summary>
    public required IReadOnlyList<int> PromptIds { get; init; }

    /// <summary>How many of them were not read anew, because the text before began alike: see <see cref="TextGenerator.KeepsLastText"/>.</summary>
    public int KnownPromptTokens { get; init; }

    /// <summary>The new tokens; an end token, and the tokens of a stop string, are among them.</summary>
    public required IReadOnlyList<int> Ids { get; init; }

    /// <summary>
    /// What the new tokens add to the decoded prompt, special tokens left out, stop string cut off; null when the model has no tokenizer.
    /// </summary>
    public string? Text { get; init; }

    /// <summary>Why the text ended.</summary>
    public required FinishReason Finish { get; init; }

    /// <summary>Whether the length limit cut a character that takes several tokens, so that its beginning was dropped from the
    /// text.</summary>
    public bool DroppedCharacter { get; init; }

    /// <summary>Of a beam: its log-probability divided by its new tokens to the power of the length penalty.</summary>
    public double? Score { get; init; }

    /// <summary>Log-probability of each new token; null when not asked for.</summary>
    public IReadOnlyList<float>? LogProbabilities { get; init; }

    /// <summary>The likeliest tokens in each new token's place, best first; null when not asked for.</summary>
    public IReadOnlyList<IReadOnlyList<TokenLogProbability>>? TopLogProbabilities { get; init; }
}

/// <summary>What a stream of text brings: a piece, and with the last one the result.</summary>
/// <param name="Text">The next piece of the text; empty only when <paramref name="Result"/> comes alone.</param>
/// <param name="Result">The whole, at the end; else null.</param>
public readonly record struct GenerationUpdate(string Text, GenerationResult? Result);
