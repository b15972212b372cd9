using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Two levels of scales for 256 numbers: a half for all of them, times a small whole number for each run.</summary>
/// <remarks>
/// First every run gets the real scale of least error (<see cref="BlockFit"/>), and the half is such that the largest of them is the
/// largest whole number. Then, by turns: each run takes the whole numbers, near its own, of least error; and the half takes its value of
/// least squares for the levels found. A turn that makes nothing better is the last. Plain rounding, with every run's extremes as
/// range, starts the comparison.
/// </remarks>
internal static class SuperBlockFit
{
    private const int Turns = 4;

    /// <summary>x̂ = d·s·q − dmin·m, with 8 runs of 32, s and m from 0 to 63, q from 0 to <paramref name="levels"/>.</summary>
    /// <param name="x">The runs.</param>
    /// <param name="w">How much each number counts.</param>
    /// <param name="levels">15 or 31.</param>
    /// <param name="q">Receives the levels, run after run.</param>
    public static (float Scale, float Minimum, Vector256<float> S, Vector256<float> M) ScalesAndMinima(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, float levels, Span<byte> q)
    {
        (Vector256<float> low, Vector256<float> high) = BlockFit.Range(x);
        Vector256<float> atMostZero = Vector256.MinNative(low, Vector256<float>.Zero);
        Pairs best = Whole((high - atMostZero) / levels, -atMostZero);
        best = best with { Error = Lanes.Sum(BlockFit.Error(x, w, best.Scale * best.S, -best.Minimum * best.M, 0, levels, out _)) };

        (Vector256<float> scales, Vector256<float> minima) = BlockFit.ScaleAndMinimum(x, w, low, high, levels, atMostZero: true);
        Pairs candidate = Whole(scales, -minima);
        for (int turn = 0; turn < Turns; turn++)
        {
            candidate = Nearby(x, w, candidate, levels);
            if (!(candidate.Error < best.Error)) break;
            best = candidate;
            (float d, float dmin) = LeastSquares(x, w, candidate, levels);
            candidate = candidate with { Scale = d, Minimum = dmin };
        }
        BlockFit.Round(x, best.Scale * best.S, -best.Minimum * best.M, 0, levels, q);
        return (best.Scale, best.Minimum, best.S, best.M);
    }

    /// <summary>x̂ = d·s·q, with 16 runs of 16, s from −128 to 127, q from −32 to 31.</summary>
    /// <param name="x">Runs 0 to 7, then runs 8 to 15.</param>
    /// <param name="w">How much each number counts.</param>
    /// <param name="q">Receives q + 32, run after run.</param>
    public static (float Scale, Vector256<float> Front, Vector256<float> Back) Scales(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, Span<byte> q)
    {
        ReadOnlySpan<Vector256<float>> x0 = x[..16], x1 = x[16..], w0 = w[..16], w1 = w[16..];
        Vector256<float> extreme0 = BlockFit.Extreme(x0), extreme1 = BlockFit.Extreme(x1);
        Singles best = WholeOf(extreme0 / -32, extreme1 / -32);
        best = best with { Error = Lanes.Sum(ErrorOf(x0, w0, best.Scale * best.Front) + ErrorOf(x1, w1, best.Scale * best.Back)) };

        Singles candidate = WholeOf(
            BlockFit.Scale(x0, w0, extreme0, -32, 31, reach: 1), BlockFit.Scale(x1, w1, extreme1, -32, 31, reach: 1));
        for (int turn = 0; turn < Turns; turn++)
        {
            (Vector256<float> front, Vector256<float> error0) = Nearby(x0, w0, candidate.Scale, candidate.Front);
            (Vector256<float> back, Vector256<float> error1) = Nearby(x1, w1, candidate.Scale, candidate.Back);
            candidate = new Singles(candidate.Scale, front, back, Lanes.Sum(error0 + error1));
            if (!(candidate.Error < best.Error)) break;
            best = candidate;

            // d of least squares: Σ w·x·(s·q) / Σ w·(s·q)².
            _ = BlockFit.Error(x0, w0, best.Scale * front, Vector256<float>.Zero, -32, 31, out BlockFit.Sums sums0);
            _ = BlockFit.Error(x1, w1, best.Scale * back, Vector256<float>.Zero, -32, 31, out BlockFit.Sums sums1);
            float xq = Lanes.Sum((sums0.XQ * front) + (sums1.XQ * back));
            float qq = Lanes.Sum((sums0.QQ * front * front) + (sums1.QQ * back * back));
            candidate = candidate with { Scale = ToHalf(qq > 0 ? xq / qq : best.Scale) };
        }
        BlockFit.Round(x0, best.Scale * best.Front, Vector256<float>.Zero, -32, 31, q[..128]);
        BlockFit.Round(x1, best.Scale * best.Back, Vector256<float>.Zero, -32, 31, q[128..]);
        return (best.Scale, best.Front, best.Back);
    }

    private readonly record struct Pairs(float Scale, float Minimum, Vector256<float> S, Vector256<float> M, float Error);

    private readonly record struct Singles(float Scale, Vector256<float> Front, Vector256<float> Back, float Error);

    private static Pairs Whole(Vector256<float> scales, Vector256<float> minima)
    {
        float d = ToHalf(Most(scales) / 63), dmin = ToHalf(Most(minima) / 63);
        return new Pairs(d, dmin, Nearest(scales, d, 0, 63), Nearest(minima, dmin, 0, 63), float.PositiveInfinity);
    }

    private static Singles WholeOf(Vector256<float> front, Vector256<float> back)
    {
        // The scale of greatest magnitude, with its sign, becomes −128: the longer end of the range.
        float extreme = 0;
        for (int lane = 0; lane < 2 * Lanes.Count; lane++)
        {
            float scale = lane < Lanes.Count ? front[lane] : back[lane - Lanes.Count];
            if (MathF.Abs(scale) > MathF.Abs(extreme)) extreme = scale;
        }
        float d = ToHalf(extreme / -128);
        return new Singles(d, Nearest(front, d, -128, 127), Nearest(back, d, -128, 127), float.PositiveInfinity);
    }

    private static Vector256<float> Nearest(Vector256<float> x, float d, float low, float high) =>
        d == 0
            ? Vector256<float>.Zero
            : Vector256.ClampNative(Vector256.Round(x / d), Vector256.Create(low), Vector256.Create(high));

    private static float Most(Vector256<float> x)
    {
        float most = 0;
        for (int lane = 0; lane < Lanes.Count; lane++) most = MathF.Max(most, x[lane]);
        return most;
    }

    private static float ToHalf(float x) => (float)(Half)Math.Clamp(x, -65504f, 65504f);

    private static Vector256<float> ErrorOf(ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, Vector256<float> d) =>
        BlockFit.Error(x, w, d, Vector256<float>.Zero, -32, 31, out _);

    // The whole numbers of each run that are best with the halves as they are, one step around.
    private static Pairs Nearby(ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, Pairs pairs, float levels)
    {
        Vector256<float> s = pairs.S, m = pairs.M, least = Vector256.Create(float.PositiveInfinity), top = Vector256.Create(63f);
        for (int a = -1; a <= 1; a++)
        {
            for (int b = -1; b <= 1; b++)
            {
                Vector256<float> trialS = Vector256.ClampNative(pairs.S + Vector256.Create((float)a), Vector256<float>.Zero, top);
                Vector256<float> trialM = Vector256.ClampNative(pairs.M + Vector256.Create((float)b), Vector256<float>.Zero, top);
                Vector256<float> error = BlockFit.Error(x, w, pairs.Scale * trialS, -pairs.Minimum * trialM, 0, levels, out _);
                Vector256<float> better = Vector256.LessThan(error, least);
                s = Vector256.ConditionalSelect(better, trialS, s);
                m = Vector256.ConditionalSelect(better, trialM, m);
                least = Vector256.ConditionalSelect(better, error, least);
            }
        }
        return pairs with { S = s, M = m, Error = Lanes.Sum(least) };
    }

    private static (Vector256<float> S, Vector256<float> Error) Nearby(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, float scale, Vector256<float> start)
    {
        Vector256<float> s = start, least = ErrorOf(x, w, scale * start);
        foreach (int a in (ReadOnlySpan<int>)[-1, 1])
        {
            Vector256<float> trial = Vector256.ClampNative(
                start + Vector256.Create((float)a), Vector256.Create(-128f), Vector256.Create(127f));
            Vector256<float> error = ErrorOf(x, w, scale * trial), better = Vector256.LessThan(error, least);
            s = Vector256.ConditionalSelect(better, trial, s);
            least = Vector256.ConditionalSelect(better, error, least);
        }
        return (s, least);
    }

    // d and dmin that minimise Σ w·(x − d·u + dmin·m)² with u = s·q: two normal equations.
    private static (float Scale, float Minimum) LeastSquares(
        ReadOnlySpan<Vector256<float>> x, ReadOnlySpan<Vector256<float>> w, Pairs pairs, float levels)
    {
        Vector256<float> inverse = Lanes.Inverse(pairs.Scale * pairs.S), offset = pairs.Minimum * pairs.M, top = Vector256.Create(levels);
        Vector256<float> sumW = Vector256<float>.Zero, sumQ = sumW, sumQQ = sumW, sumXQ = sumW, sumX = sumW;
        for (int i = 0; i < x.Length; i++)
        {
            Vector256<float> q = Vector256.ClampNative(Vector256.Round((x[i] + offset) * inverse), Vector256<float>.Zero, top),
                wq = w[i] * q;
            sumW += w[i];
            sumQ += wq;
            sumQQ += wq * q;
            sumXQ += wq * x[i];
            sumX += w[i] * x[i];
        }
        double uu = Lanes.Sum(pairs.S * pairs.S * sumQQ), um = Lanes.Sum(pairs.S * pairs.M * sumQ),
            mm = Lanes.Sum(pairs.M * pairs.M * sumW);
        double xu = Lanes.Sum(pairs.S * sumXQ), xm = Lanes.Sum(pairs.M * sumX);
        double determinant = (uu * mm) - (um * um);
        if (!(determinant > 1e-5 * uu * mm))
            return (uu > 0 && mm == 0 ? ToHalf((float)Math.Max(xu / uu, 0)) : pairs.Scale, pairs.Minimum);
        double d = ((xu * mm) - (xm * um)) / determinant, dmin = ((xu * um) - (xm * uu)) / determinant;
        return (ToHalf((float)Math.Max(d, 0)), ToHalf((float)Math.Max(dmin, 0)));
    }
}
