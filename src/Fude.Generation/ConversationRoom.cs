namespace Fude.Generation;

/// <summary>How a conversation and its next answer share the model's context. What a caller asks for is done or fails; what only
/// generation_config.json asks for gives way.</summary>
public static class ConversationRoom
{
    /// <summary>Tokens that a prompt may have before its first turns are left out, so that an answer has room behind it: as many as the caller asks
    /// for; of an answer whose length nobody or only generation_config.json says, a quarter of the context at most.</summary>
    /// <param name="asked">What the caller sets.</param>
    /// <param name="defaults">What the model's generation_config.json sets.</param>
    /// <param name="newTokens">New tokens of an answer whose length nobody says.</param>
    /// <param name="context">Tokens that the model reads. The last new one is not read.</param>
    public static int LongestPrompt(GenerationOptions asked, GenerationOptions defaults, int newTokens, int context)
    {
        ArgumentNullException.ThrowIfNull(asked);
        if (asked.MaxNewTokens is { } wanted) return context + 1 - Math.Clamp(wanted, 1, context);
        GenerationOptions all = asked.Over(defaults);
        int most = all is { MaxNewTokens: null, MaxLength: { } length } ? Math.Clamp(length, 2, context + 1) : context + 1;
        return most - Math.Clamp(all.MaxNewTokens ?? newTokens, 1, Math.Max(1, most / 4));
    }

    /// <summary>The options of a call: those of the caller, and new tokens as many as there is room for where he sets no length.</summary>
    /// <inheritdoc cref="LongestPrompt"/>
    /// <param name="asked">What the caller sets.</param>
    /// <param name="defaults">What the model's generation_config.json sets.</param>
    /// <param name="newTokens">New tokens of an answer whose length nobody says.</param>
    /// <param name="promptLength">Tokens of the prompt.</param>
    /// <param name="context">Tokens that the model reads. The last new one is not read.</param>
    public static GenerationOptions Fit(GenerationOptions asked, GenerationOptions defaults, int newTokens, int promptLength, int context)
    {
        ArgumentNullException.ThrowIfNull(asked);
        if (asked.MaxNewTokens is not null || asked.MaxLength is not null) return asked;
        GenerationOptions all = asked.Over(defaults);
        if (all is { MaxNewTokens: null, MaxLength: { } length }) return length > context + 1 ? asked with { MaxLength = context + 1 } : asked;
        return asked with { MaxNewTokens = Math.Min(all.MaxNewTokens ?? newTokens, Math.Max(1, context + 1 - promptLength)) };
    }
}
