namespace Fude.Generation;

/// <summary>Why a text ended.</summary>
public enum FinishReason
{
    /// <summary>The model wrote an end token, or a stop string.</summary>
    Stop,

    /// <summary>The longest allowed text was reached.</summary>
    Length,
}

/// <summary>A token and how likely the model found it.</summary>
/// <param name="Token">The id.</param>
/// <param name="LogProbability">Natural logarithm of its probability, before penalties and temperature.</param>
public readonly record struct TokenLogProbability(int Token, float LogProbability);

/// <summary>The new tokens of one text.</summary>
internal sealed record DecodedSequence
{
    /// <summary>Which prompt of the request it continues.</summary>
    public required int Prompt { get; init; }

    /// <summary>Tokens of the prompt that were not read anew.</summary>
    public int KnownPromptTokens { get; init; }

    /// <summary>New tokens; the ending eos is among them.</summary>
    public required int[] Ids { get; init; }

    public required FinishReason Finish { get; init; }

    /// <summary>A beam's score.</summary>
    public double? Score { get; init; }

    /// <summary>Of each new token; null when not asked for.</summary>
    public float[]? LogProbabilities { get; init; }

    /// <summary>The likeliest tokens at each place, best first; null when not asked for.</summary>
    public TokenLogProbability[][]? TopLogProbabilities { get; init; }
}
