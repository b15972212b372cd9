namespace Fude.Generation;

/// <summary>A text that a beam search has finished.</summary>
/// <param name="Score">Log-probability divided by length to the power of the length penalty.</param>
/// <param name="Ids">New tokens, the ending eos among them.</param>
/// <param name="LogProbabilities">Of each, under the model itself; null when not asked for.</param>
/// <param name="Finish">Why it ended.</param>
internal sealed record BeamHypothesis(double Score, int[] Ids, float[]? LogProbabilities, FinishReason Finish);

/// <summary>The best finished texts of one group of beams.</summary>
/// <param name="size">How many are kept.</param>
/// <param name="settings">Length penalty and early stopping.</param>
/// <param name="maxNewTokens">Length of the longest text.</param>
internal sealed class BeamHypotheses(int size, GenerationSettings settings, int maxNewTokens)
{
    private readonly List<BeamHypothesis> _kept = [];
    private double _worst = 1e9;

    public IReadOnlyList<BeamHypothesis> Kept => _kept;

    /// <summary>Σ log p / length^penalty.</summary>
    public double Score(float sumLogProbabilities, int newTokens) => sumLogProbabilities / Math.Pow(newTokens, settings.LengthPenalty);

    /// <summary>Keeps a text if it is among the best so far.</summary>
    public void Add(BeamHypothesis hypothesis)
    {
        if (_kept.Count >= size && !(hypothesis.Score > _worst)) return;
        _kept.Add(hypothesis);
        if (_kept.Count <= size)
        {
            _worst = Math.Min(hypothesis.Score, _worst);
            return;
        }
        int worst = 0;
        for (int i = 1; i < _kept.Count; i++)
            if (_kept[i].Score < _kept[worst].Score) worst = i;
        _kept.RemoveAt(worst);
        _worst = _kept.Min(kept => kept.Score);
    }

    /// <summary>Whether no running beam can, or is likely to, become better than what is kept.</summary>
    /// <param name="bestSum">The best running log-probability.</param>
    /// <param name="newTokens">Tokens it is of.</param>
    public bool IsDone(float bestSum, int newTokens)
    {
        if (_kept.Count < size) return false;
        // With a positive penalty the longest text divides by most, and so loses least.
        bool hopesForLength = settings.EarlyStopping == EarlyStopping.Never && settings.LengthPenalty > 0;
        return settings.EarlyStopping == EarlyStopping.WhenEnough || _worst >= Score(bestSum, hopesForLength ? maxNewTokens : newTokens);
    }
}
