using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Scales, and minima, for which rounding a run of numbers to few levels loses least: Σ wᵢ·(xᵢ − x̂ᵢ)², x̂ᵢ = d·qᵢ + m.</summary>
/// <remarks>
/// For given d and m the best levels are the nearest ones, so the search is over d and m alone. It tries ranges somewhat narrower and wider
/// than the run's extremes, rounds, and takes for these levels the d and m of least squares, whose error follows from the sums without
/// another pass. The extremes themselves, plain rounding to nearest, are the first candidate; a later one must be better.
/// Products and sums are rounded one by one (no fused multiply-add): every machine finds the same blocks.
/// </remarks>
internal static class BlockFit
{
    /// <summary>d as a half, m = 0, levels from <paramref name="low"/> to <paramref name="high"/>.</summary>
    /// <param name="x">Eight runs.</param>
    /// <param name="w">How much each number counts.</param>
    /// <param name="low">Lowest level, below 0; the longer end of the range.</param>
    /// <param name="high">Highest level.</param>
    /// <param name="reach">The extremes are put up to so many levels further in or out.</param>
    /// <param name="q">Receives level − low, run after run.</param>
    public static Vector256<float> HalfScale(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, float low, float high, float reach, Span<byte> q)
    {
        Vector256<float> extreme = Extreme(x);
        // A range without a longer end needs no sign.
        Vector256<float> best = Lanes.RoundToHalf(low == -high ? Vector256.Abs(extreme) / high : extreme / low);
        Vector256<float> error = Error(x, w, best, Vector256<float>.Zero, low, high, out _);

        Vector256<float> candidate = Lanes.RoundToHalf(Scale(x, w, extreme, low, high, reach));
        if (low == -high) candidate = Vector256.Abs(candidate);
        for (int round = 0; round < 2; round++)
        {
            Vector256<float> found = Error(x, w, candidate, Vector256<float>.Zero, low, high, out Sums sums);
            Vector256<float> better = Vector256.LessThan(found, error);
            best = Vector256.ConditionalSelect(better, candidate, best);
            error = Vector256.ConditionalSelect(better, found, error);
            candidate = Lanes.RoundToHalf(Lanes.Ratio(sums.XQ, sums.QQ));
        }
        Round(x, best, Vector256<float>.Zero, low, high, q);
        return best;
    }

    /// <summary>d and m as halves, levels from 0 to <paramref name="levels"/>.</summary>
    public static (Vector256<float> Scale, Vector256<float> Minimum) HalfScaleAndMinimum(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, float levels, Span<byte> q)
    {
        (Vector256<float> low, Vector256<float> high) = Range(x);
        Vector256<float> scale = Lanes.RoundToHalf((high - low) / levels), minimum = Lanes.RoundToHalf(low);
        Vector256<float> error = Error(x, w, scale, minimum, 0, levels, out _);

        (Vector256<float> d, Vector256<float> m) = ScaleAndMinimum(x, w, low, high, levels, atMostZero: false);
        for (int round = 0; round < 2; round++)
        {
            (d, m) = (Lanes.RoundToHalf(d), Lanes.RoundToHalf(m));
            Vector256<float> found = Error(x, w, d, m, 0, levels, out Sums sums);
            Vector256<float> better = Vector256.LessThan(found, error);
            scale = Vector256.ConditionalSelect(better, d, scale);
            minimum = Vector256.ConditionalSelect(better, m, minimum);
            error = Vector256.ConditionalSelect(better, found, error);
            d = Lanes.Ratio(sums.XQ, sums.QQ);         // with m as it was rounded
        }
        Round(x, scale, minimum, 0, levels, q);
        return (scale, minimum);
    }

    /// <summary>The number of greatest magnitude in each run, with its sign.</summary>
    public static Vector256<float> Extreme(ReadOnlySpan<Vector256<float>> x)
    {
        (Vector256<float> low, Vector256<float> high) = Range(x);
        return Vector256.ConditionalSelect(Vector256.GreaterThan(high, -low), high, low);
    }

    /// <summary>The least and the greatest number of each run.</summary>
    public static (Vector256<float> Low, Vector256<float> High) Range(ReadOnlySpan<Vector256<float>> x)
    {
        Vector256<float> low = x[0], high = x[0];
        foreach (Vector256<float> number in x[1..])
        {
            low = Vector256.MinNative(low, number);
            high = Vector256.MaxNative(high, number);
        }
        return (low, high);
    }

    /// <summary>The real d of least error, m = 0.</summary>
    public static Vector256<float> Scale(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, Vector256<float> extreme, float low, float high, float reach)
    {
        const int Steps = 8;
        Vector256<float> lowest = Vector256.Create(low), highest = Vector256.Create(high);
        Vector256<float> inverse = Lanes.Ratio(Vector256<float>.One, Usable(extreme));
        Vector256<float> scale = extreme / low, mostGain = Vector256<float>.Zero;
        for (int step = -Steps; step <= Steps; step++)
        {
            Vector256<float> factor = inverse * (low + (reach * step / Steps));
            Vector256<float> xq = Vector256<float>.Zero, qq = Vector256<float>.Zero;
            for (int i = 0; i < x.Length; i++)
            {
                Vector256<float> q = Vector256.ClampNative(Vector256.Round(x[i] * factor), lowest, highest), wq = w[i] * q;
                xq += wq * x[i];
                qq += wq * q;
            }
            // With d = xq/qq the error is Σwx² − xq²/qq.
            Vector256<float> d = Lanes.Ratio(xq, qq), gain = xq * d, better = Vector256.GreaterThan(gain, mostGain);
            scale = Vector256.ConditionalSelect(better, d, scale);
            mostGain = Vector256.ConditionalSelect(better, gain, mostGain);
        }
        return scale;
    }

    /// <summary>The real d and m of least error, with m at most 0 where that is asked for.</summary>
    public static (Vector256<float> Scale, Vector256<float> Minimum) ScaleAndMinimum(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, Vector256<float> low, Vector256<float> high, float levels,
        bool atMostZero)
    {
        const int Steps = 20;
        if (atMostZero) low = Vector256.MinNative(low, Vector256<float>.Zero);
        Vector256<float> highest = Vector256.Create(levels), range = high - low;
        Vector256<float> inverse = Lanes.Ratio(Vector256<float>.One, Usable(range));

        // In terms of y = x − low, which is not negative, no sum cancels.
        Vector256<float> sumW = Vector256<float>.Zero, sumY = Vector256<float>.Zero, sumYY = Vector256<float>.Zero;
        for (int i = 0; i < x.Length; i++)
        {
            Vector256<float> y = x[i] - low, wy = w[i] * y;
            sumW += w[i];
            sumY += wy;
            sumYY += wy * y;
        }

        Vector256<float> scale = range / levels, minimum = Vector256<float>.Zero, least = Vector256.Create(float.PositiveInfinity);
        for (int step = 0; step <= Steps; step++)
        {
            Vector256<float> factor = inverse * (levels - 1 + (0.1f * step));
            Vector256<float> sumQ = Vector256<float>.Zero, sumQQ = Vector256<float>.Zero, sumYQ = Vector256<float>.Zero;
            for (int i = 0; i < x.Length; i++)
            {
                Vector256<float> y = x[i] - low;
                Vector256<float> q = Vector256.MinNative(Vector256.Round(y * factor), highest), wq = w[i] * q;
                sumQ += wq;
                sumQQ += wq * q;
                sumYQ += wq * y;
            }
            // The normal equations; where all levels are nearly one, they say nothing, and only d is fitted.
            Vector256<float> product = sumW * sumQQ, determinant = product - (sumQ * sumQ);
            Vector256<float> solvable = Vector256.GreaterThan(determinant, product * 1e-4f);
            Vector256<float> d = Lanes.Ratio((sumW * sumYQ) - (sumY * sumQ), determinant);
            Vector256<float> m = Lanes.Ratio((sumQQ * sumY) - (sumQ * sumYQ), determinant);
            if (atMostZero) solvable &= Vector256.LessThanOrEqual(m + low, Vector256<float>.Zero);
            Vector256<float> nextM = atMostZero ? Vector256.ClampNative(m, Vector256<float>.Zero, -low) : Vector256<float>.Zero;
            m = Vector256.ConditionalSelect(solvable, m, nextM);
            d = Vector256.ConditionalSelect(solvable, d, Lanes.Ratio(sumYQ - (m * sumQ), sumQQ));
            Vector256<float> error = sumYY - (2 * ((d * sumYQ) + (m * sumY))) + (d * d * sumQQ) + (2 * d * m * sumQ) + (m * m * sumW);
            Vector256<float> better = Vector256.LessThan(error, least);
            scale = Vector256.ConditionalSelect(better, d, scale);
            minimum = Vector256.ConditionalSelect(better, m, minimum);
            least = Vector256.ConditionalSelect(better, error, least);
        }
        return (scale, minimum + low);
    }

    /// <summary>What least squares needs to know: Σ w·(x − m)·q and Σ w·q².</summary>
    internal readonly record struct Sums(Vector256<float> XQ, Vector256<float> QQ);

    /// <summary>The error of rounding to the nearest levels.</summary>
    public static Vector256<float> Error(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, Vector256<float> d, Vector256<float> m, float low, float high,
        out Sums sums)
    {
        Vector256<float> lowest = Vector256.Create(low), highest = Vector256.Create(high), inverse = Lanes.Inverse(d);
        Vector256<float> error = Vector256<float>.Zero, xq = Vector256<float>.Zero, qq = Vector256<float>.Zero;
        for (int i = 0; i < x.Length; i++)
        {
            Vector256<float> y = x[i] - m, q = Vector256.ClampNative(Vector256.Round(y * inverse), lowest, highest);
            Vector256<float> rest = y - (d * q), wq = w[i] * q;
            error += w[i] * rest * rest;
            xq += wq * y;
            qq += wq * q;
        }
        sums = new Sums(xq, qq);
        return error;
    }

    /// <summary>The nearest levels, less the lowest, as bytes, run after run.</summary>
    public static void Round(
        ReadOnlySpan<Vector256<float>> x, Vector256<float> d, Vector256<float> m, float low, float high, Span<byte> q)
    {
        Vector256<float> lowest = Vector256.Create(low), highest = Vector256.Create(high), inverse = Lanes.Inverse(d);
        for (int i = 0; i < x.Length; i++)
        {
            Vector256<int> level = Vector256.ConvertToInt32(
                Vector256.ClampNative(Vector256.Round((x[i] - m) * inverse), lowest, highest) - lowest);
            for (int lane = 0; lane < Lanes.Count; lane++) q[(lane * x.Length) + i] = (byte)level[lane];
        }
    }

    // Runs whose numbers are all below what any half can scale count as zeros: their inverse would overflow.
    private static Vector256<float> Usable(Vector256<float> extent) =>
        Vector256.ConditionalSelect(
            Vector256.GreaterThan(Vector256.Abs(extent), Vector256.Create(1e-20f)), extent, Vector256<float>.Zero);
}
