namespace Fude.Generation;

/// <summary>
/// Changes the logits of the next token by what has been written so far: the processors of transformers 4.41, in its order, in place.
/// </summary>
/// <param name="vocabulary">Rows of the model's logits.</param>
/// <remarks>
/// A span of logits may be shorter than the vocabulary: ids beyond it are no tokens of the tokenizer and are never chosen, so what is
/// asked of them is without effect. <c>history</c> is prompt and new tokens together.
/// </remarks>
internal sealed class LogitsProcessors(int vocabulary)
{
    private readonly int[] _count = new int[vocabulary];      // all 0 between calls

    /// <summary>Applies every processor that the settings ask for.</summary>
    /// <param name="settings">What is asked.</param>
    /// <param name="logits">Raw logits, or log-probabilities in a beam search.</param>
    /// <param name="history">Prompt and new tokens.</param>
    /// <param name="promptLength">How many of them are the prompt's.</param>
    /// <param name="otherGroups">Tokens that earlier groups of beams have chosen for this place.</param>
    public void Apply(GenerationSettings settings, Span<float> logits, ReadOnlySpan<int> history, int promptLength,
        ReadOnlySpan<int> otherGroups = default)
    {
        int newTokens = history.Length - promptLength;
        AddSequenceBias(logits, history, settings.SequenceBias);
        foreach (int token in otherGroups)
            if (token < logits.Length) logits[token] -= settings.DiversityPenalty;
        if (settings.RepetitionPenalty != 1) PenaliseRepetition(logits, history, settings.RepetitionPenalty);
        if (settings.PresencePenalty != 0 || settings.FrequencyPenalty != 0)
            PenaliseFrequency(logits, history[promptLength..], settings.PresencePenalty, settings.FrequencyPenalty);
        if (settings.NoRepeatNgramSize > 0) BanRepeatedNgrams(logits, history, settings.NoRepeatNgramSize);
        AddSequenceBias(logits, history, settings.BadWords);
        if (history.Length < settings.MinLength || newTokens < settings.MinNewTokens) Ban(logits, settings.EosTokens);
        if (settings.ForcedBosToken is int bos && history.Length == 1) Force(logits, [bos]);
        if (settings.ForcedEosTokens.Length > 0 && history.Length == settings.MaxLength - 1) Force(logits, settings.ForcedEosTokens);
        if (settings.RemoveInvalidValues) RemoveInvalid(logits);
        if (settings.ExponentialDecay is { } decay) FavourEnd(logits, settings.EosTokens, newTokens, decay);
        Ban(logits, settings.SuppressTokens);
        // A forced first token moves the beginning one token further.
        int begin = promptLength > 1 || settings.ForcedBosToken is null ? promptLength : promptLength + 1;
        if (history.Length == begin) Ban(logits, settings.BeginSuppressTokens);
        if (settings.RenormalizeLogits) VectorMath.LogSoftMax(logits);
    }

    /// <summary>Whether <see cref="Apply"/> would leave every logit as it is, so that nothing need be copied for it.</summary>
    public static bool AreNone(GenerationSettings settings) =>
        settings is
        {
            SequenceBias.Length: 0, BadWords.Length: 0, RepetitionPenalty: 1, PresencePenalty: 0, FrequencyPenalty: 0, NoRepeatNgramSize: 0,
            MinLength: 0, MinNewTokens: 0, ForcedBosToken: null, ForcedEosTokens.Length: 0, RemoveInvalidValues: false,
            ExponentialDecay: null,
            SuppressTokens.Length: 0, BeginSuppressTokens.Length: 0, RenormalizeLogits: false, NumBeamGroups: 1,
        };

    /// <summary>Adds each bias to the last id of its sequence where the ids before it end the history; several add up.</summary>
    internal static void AddSequenceBias(Span<float> logits, ReadOnlySpan<int> history, SequenceBias[] biases)
    {
        foreach (SequenceBias bias in biases)
        {
            ReadOnlySpan<int> ids = (int[])bias.Ids;
            // The reference passes over a sequence longer than the history, though its prefix might still match.
            if (ids.Length > 1 && ids.Length > history.Length) continue;
            int last = ids[^1];
            if (last < logits.Length && history.EndsWith(ids[..^1])) logits[last] += (float)bias.Bias;
        }
    }

    /// <summary>Keskar et al., "CTRL", 2019, arXiv:1909.05858: once for each distinct token.</summary>
    internal void PenaliseRepetition(Span<float> logits, ReadOnlySpan<int> history, float penalty)
    {
        foreach (int token in history)
        {
            if (token >= logits.Length || _count[token]++ > 0) continue;
            ref float logit = ref logits[token];
            logit = logit < 0 ? logit * penalty : logit / penalty;
        }
        foreach (int token in history) _count[token] = 0;
    }

    /// <summary>OpenAI's penalties: logit − count·frequency − (count &gt; 0)·presence.</summary>
    internal void PenaliseFrequency(Span<float> logits, ReadOnlySpan<int> newTokens, float presence, float frequency)
    {
        foreach (int token in newTokens) _count[token]++;
        foreach (int token in newTokens)
        {
            if (token < logits.Length && _count[token] > 0) logits[token] -= _count[token] * frequency + presence;
            _count[token] = 0;
        }
    }

    /// <summary>Bans every token that would complete a run of <paramref name="size"/> tokens that is already there.</summary>
    internal static void BanRepeatedNgrams(Span<float> logits, ReadOnlySpan<int> history, int size)
    {
        int prefix = size - 1;
        if (history.Length < size) return;
        ReadOnlySpan<int> end = history[^prefix..];
        for (int i = 0; i + prefix < history.Length; i++)
        {
            if (prefix > 0 && (history[i] != end[0] || !history.Slice(i, prefix).SequenceEqual(end))) continue;
            int token = history[i + prefix];
            if (token < logits.Length) logits[token] = float.NegativeInfinity;
        }
    }

    internal static void Ban(Span<float> logits, ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens)
            if (token < logits.Length) logits[token] = float.NegativeInfinity;
    }

    internal static void Force(Span<float> logits, ReadOnlySpan<int> tokens)
    {
        logits.Fill(float.NegativeInfinity);
        foreach (int token in tokens)
            if (token < logits.Length) logits[token] = 0;
    }

    internal static void RemoveInvalid(Span<float> logits)
    {
        foreach (ref float logit in logits)
            logit = float.IsNaN(logit) ? 0 : Math.Clamp(logit, float.MinValue, float.MaxValue);
    }

    internal static void FavourEnd(Span<float> logits, ReadOnlySpan<int> eos, int newTokens, ExponentialDecay decay)
    {
        if (newTokens <= decay.Start) return;
        float growth = (float)(Math.Pow(decay.Factor, newTokens - decay.Start) - 1);
        for (int i = 0; i < eos.Length; i++)
            if (eos[i] < logits.Length && !eos[..i].Contains(eos[i])) logits[eos[i]] += Math.Abs(logits[eos[i]]) * growth;
    }
}
