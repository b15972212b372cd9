using System.Numerics;

namespace Fude.Generation;

/// <summary>The tokens that may still be drawn: transformers' warpers take some away one after the other, in its order.</summary>
/// <param name="vocabulary">Rows of the model's logits.</param>
/// <remarks>
/// After top-k fifty or so tokens are left, and what follows costs nothing. Without it every pass is over the whole vocabulary, but none
/// sorts it. Only logits above −∞ are candidates at all.
/// </remarks>
internal sealed class Candidates(int vocabulary)
{
    private readonly int[] _ids = new int[vocabulary];
    private readonly float[] _logits = new float[vocabulary];
    private readonly float[] _weights = new float[vocabulary];
    private readonly float[] _keys = new float[vocabulary];
    private readonly Selection _selection = new(vocabulary);
    private int _count;

    /// <summary>Ascending ids.</summary>
    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, _count);

    /// <summary>Their warped logits.</summary>
    public ReadOnlySpan<float> Logits => _logits.AsSpan(0, _count);

    /// <summary>Takes a row of logits through temperature, top-k, top-p, min-p, typical, epsilon and eta, as the settings ask.</summary>
    /// <returns>False when every logit is −∞.</returns>
    public bool Warp(ReadOnlySpan<float> logits, GenerationSettings settings)
    {
        int keep = settings.MinTokensToKeep;
        Take(logits, settings.Temperature, settings.TopK == 0 ? 0 : Math.Max(settings.TopK, keep));
        if (_count == 0) return false;
        if (settings.TopP < 1) TopP((float)(1 - settings.TopP), keep);
        if (settings.MinP is float minP) MinP(minP, keep);
        if (settings.TypicalP < 1) Typical(settings.TypicalP, keep);
        if (settings.EpsilonCutoff is > 0 and < 1) Epsilon(settings.EpsilonCutoff, keep);
        if (settings.EtaCutoff is > 0 and < 1) Eta(settings.EtaCutoff, keep);
        if (settings.RenormalizeLogits) VectorMath.LogSoftMax(_logits.AsSpan(0, _count));
        return true;
    }

    /// <summary>The softmax of what is left, in float32; the caller may write over it.</summary>
    public Span<float> Probabilities()
    {
        Span<float> p = _weights.AsSpan(0, _count);
        double sum = VectorMath.ExpSum(Logits, VectorMath.Max(Logits), p);
        VectorMath.Divide(p, (float)sum);
        return p;
    }

    /// <summary>Divides by the temperature and keeps the k largest, with those equal to the last of them (k = 0: all).</summary>
    internal void Take(ReadOnlySpan<float> logits, float temperature, int k)
    {
        _count = 0;
        float threshold = k > 0 && k < logits.Length ? _selection.KthLargest(logits, k) : float.NegativeInfinity;
        // Logits that differ may be equal once divided, and then both stay: so pass a little more than the threshold, and look closely.
        float rough = threshold - MathF.Abs(threshold) * 1e-6f;
        threshold /= temperature;
        int i = 0;
        for (; i + Vector<float>.Count <= logits.Length; i += Vector<float>.Count)
            if (Vector.GreaterThanOrEqualAny(new Vector<float>(logits[i..]), new Vector<float>(rough)))
                for (int j = i; j < i + Vector<float>.Count; j++) Consider(j, logits[j] / temperature, threshold);
        for (; i < logits.Length; i++) Consider(i, logits[i] / temperature, threshold);
    }

    private void Consider(int id, float logit, float threshold)
    {
        if (!(logit >= threshold) || float.IsNegativeInfinity(logit)) return;
        (_ids[_count], _logits[_count]) = (id, logit);
        _count++;
    }

    /// <summary>Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020, arXiv:1904.09751.</summary>
    /// <param name="rest">1 − p: the unlikeliest tokens that together have at most this probability go.</param>
    /// <param name="keep">Tokens that stay in any case.</param>
    internal void TopP(float rest, int keep)
    {
        Span<float> p = Probabilities();
        (float key, int equalBefore) = _selection.Crossing(Logits, p, rest);
        int kept = 0;
        Span<float> stays = p;      // from here on 1 for what stays
        for (int i = 0; i < _count; i++)
        {
            bool stay = _logits[i] > key || (_logits[i] == key && equalBefore-- <= 0);
            stays[i] = stay ? 1 : 0;
            kept += stay ? 1 : 0;
        }
        if (kept < keep) MarkLargest(Logits, keep, stays, firstOfEquals: false);
        Compact(stays);
    }

    /// <summary>Nguyen et al., "Min-p sampling", 2024, arXiv:2407.01082.</summary>
    internal void MinP(float minP, int keep)
    {
        Span<float> p = Probabilities();
        float scaled = minP * VectorMath.Max(p);
        int kept = Mark(p, scaled);
        if (kept < keep) MarkLargest(Logits, keep, p, firstOfEquals: true);
        Compact(p);
    }

    /// <summary>Meister et al., "Locally Typical Sampling", 2023, arXiv:2202.00666.</summary>
    internal void Typical(float mass, int keep)
    {
        Span<float> p = Probabilities(), keys = _keys.AsSpan(0, _count);
        Logits.CopyTo(keys);
        VectorMath.LogSoftMax(keys);
        float entropy = VectorMath.Entropy(keys);
        for (int i = 0; i < keys.Length; i++) keys[i] = MathF.Abs(-keys[i] - entropy);
        (float key, _) = _selection.Crossing(keys, p, MathF.BitDecrement(mass));      // "not below the mass" is "above the float before it"
        int kept = 0;
        for (int i = 0; i < keys.Length; i++)
        {
            p[i] = keys[i] <= key ? 1 : 0;
            kept += (int)p[i];
            keys[i] = -keys[i];
        }
        if (kept < keep) MarkLargest(keys, keep, p, firstOfEquals: true);
        Compact(p);
    }

    /// <summary>Hewitt et al., "Truncation Sampling as Language Model Desmoothing", 2022, arXiv:2210.15191: a fixed cutoff.</summary>
    internal void Epsilon(float cutoff, int keep)
    {
        Span<float> p = Probabilities();
        float kth = _selection.KthLargest(Logits, keep);
        for (int i = 0; i < p.Length; i++) p[i] = p[i] >= cutoff || _logits[i] >= kth ? 1 : 0;
        Compact(p);
    }

    /// <summary>The same paper's cutoff that follows the entropy: min(η, √η·e^−H).</summary>
    internal void Eta(float eta, int keep)
    {
        Span<float> logs = _keys.AsSpan(0, _count);
        Logits.CopyTo(logs);
        VectorMath.LogSoftMax(logs);
        Epsilon(MathF.Min(eta, MathF.Sqrt(eta) * VectorMath.Exp(-VectorMath.Entropy(logs))), keep);
    }

    private static int Mark(Span<float> p, float cutoff)
    {
        int kept = 0;
        foreach (ref float x in p)
        {
            bool stay = !(x < cutoff);
            x = stay ? 1 : 0;
            kept += stay ? 1 : 0;
        }
        return kept;
    }

    /// <summary>Marks the largest few as staying; rare, and then few, so a scan for each will do.</summary>
    private static void MarkLargest(ReadOnlySpan<float> keys, int count, Span<float> stays, bool firstOfEquals)
    {
        (float last, int lastIndex) = (float.PositiveInfinity, firstOfEquals ? -1 : int.MaxValue);
        for (int round = 0; round < Math.Min(count, keys.Length); round++)
        {
            int best = -1;
            for (int i = 0; i < keys.Length; i++)
            {
                bool after = keys[i] < last || (keys[i] == last && (firstOfEquals ? i > lastIndex : i < lastIndex));
                if (after && (best < 0 || keys[i] > keys[best] || (keys[i] == keys[best] && !firstOfEquals))) best = i;
            }
            stays[best] = 1;
            (last, lastIndex) = (keys[best], best);
        }
    }

    private void Compact(ReadOnlySpan<float> stays)
    {
        int count = 0;
        for (int i = 0; i < _count; i++)
        {
            if (stays[i] == 0) continue;
            (_ids[count], _logits[count]) = (_ids[i], _logits[i]);
            count++;
        }
        _count = count;
    }
}
