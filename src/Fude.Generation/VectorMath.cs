using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Fude.Generation;

/// <summary>Reductions over a row of logits.</summary>
/// <remarks>
/// Exponentials and their sums are always taken eight at a time, the last few filled up with −∞, and summed in float64 in one order: what
/// is drawn depends neither on the width of the processor's registers nor on the platform's mathematical library.
/// </remarks>
internal static class VectorMath
{
    /// <summary>The index of the largest number, the first of equals; −1 when there is none above −∞ (NaN counts as none).</summary>
    public static int ArgMax(ReadOnlySpan<float> x)
    {
        float max = Max(x);
        return float.IsNegativeInfinity(max) ? -1 : x.IndexOf(max);
    }

    /// <summary>The largest number; −∞ when there is none (NaN counts as none).</summary>
    public static float Max(ReadOnlySpan<float> x)
    {
        Vector<float> best = new(float.NegativeInfinity);
        ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(x);
        foreach (Vector<float> v in vectors) best = Vector.MaxNumber(best, v);
        float max = float.NegativeInfinity;
        for (int i = 0; i < Vector<float>.Count; i++) max = float.MaxNumber(max, best[i]);
        for (int i = vectors.Length * Vector<float>.Count; i < x.Length; i++) max = float.MaxNumber(max, x[i]);
        return max;
    }

    /// <summary>Whether a number is NaN or +∞: a model whose weights or activations went wrong.</summary>
    public static bool HasInvalid(ReadOnlySpan<float> x)
    {
        Vector<float> limit = new(float.MaxValue);
        ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(x);
        foreach (Vector<float> v in vectors)
            if (!Vector.LessThanOrEqualAll(v, limit)) return true;      // false for NaN
        for (int i = vectors.Length * Vector<float>.Count; i < x.Length; i++)
            if (!(x[i] <= float.MaxValue)) return true;
        return false;
    }

    /// <summary>yᵢ = e^(xᵢ − shift); returns Σ yᵢ.</summary>
    public static double ExpSum(ReadOnlySpan<float> x, float shift, Span<float> y)
    {
        Vector256<float> s = Vector256.Create(shift);
        Vector256<double> sum = default;
        int i = 0;
        for (; i + 8 <= x.Length; i += 8)
        {
            Vector256<float> e = Vector256.Exp(Vector256.Create(x[i..]) - s);
            e.CopyTo(y[i..]);
            sum += Pairs(e);
        }
        if (i < x.Length)
        {
            Vector256<float> e = Vector256.Exp(Last(x[i..]) - s);
            for (int j = i; j < x.Length; j++) y[j] = e[j - i];
            sum += Pairs(e);
        }
        return Sum(sum);
    }

    /// <summary>log Σ e^xᵢ; −∞ for a row of −∞.</summary>
    public static double LogSumExp(ReadOnlySpan<float> x)
    {
        float max = Max(x);
        if (float.IsNegativeInfinity(max)) return double.NegativeInfinity;
        Vector256<float> s = Vector256.Create(max);
        Vector256<double> sum = default;
        int i = 0;
        for (; i + 8 <= x.Length; i += 8) sum += Pairs(Vector256.Exp(Vector256.Create(x[i..]) - s));
        if (i < x.Length) sum += Pairs(Vector256.Exp(Last(x[i..]) - s));
        return max + Math.Log(Sum(sum));
    }

    /// <summary>−Σ p·log p, of log-probabilities; what has no probability adds nothing.</summary>
    public static float Entropy(ReadOnlySpan<float> logs)
    {
        Vector256<double> sum = default;
        int i = 0;
        for (; i + 8 <= logs.Length; i += 8) sum += Pairs(Terms(Vector256.Create(logs[i..])));
        if (i < logs.Length) sum += Pairs(Terms(Last(logs[i..])));
        return (float)-Sum(sum);

        static Vector256<float> Terms(Vector256<float> log)
        {
            Vector256<float> p = Vector256.Exp(log);
            return Vector256.ConditionalSelect(Vector256.GreaterThan(p, Vector256<float>.Zero), p * log, Vector256<float>.Zero);
        }
    }

    /// <summary>eˣ, as the rows have it.</summary>
    public static float Exp(float x) => Vector256.Exp(Vector256.Create(x))[0];

    private static Vector256<float> Last(ReadOnlySpan<float> x)
    {
        Span<float> eight = stackalloc float[8];
        eight.Fill(float.NegativeInfinity);
        x.CopyTo(eight);
        return Vector256.Create((ReadOnlySpan<float>)eight);
    }

    private static Vector256<double> Pairs(Vector256<float> x)
    {
        (Vector256<double> low, Vector256<double> high) = Vector256.Widen(x);
        return low + high;
    }

    private static double Sum(Vector256<double> x) => x[0] + x[1] + (x[2] + x[3]);

    /// <summary>xᵢ ← xᵢ + a.</summary>
    public static void Add(Span<float> x, float a)
    {
        Vector<float> s = new(a);
        Span<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(x);
        foreach (ref Vector<float> v in vectors) v += s;
        for (int i = vectors.Length * Vector<float>.Count; i < x.Length; i++) x[i] += a;
    }

    /// <summary>xᵢ ← xᵢ / a, divided and not multiplied by 1/a, which would round otherwise than the reference.</summary>
    public static void Divide(Span<float> x, float a)
    {
        Vector<float> s = new(a);
        Span<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(x);
        foreach (ref Vector<float> v in vectors) v /= s;
        for (int i = vectors.Length * Vector<float>.Count; i < x.Length; i++) x[i] /= a;
    }

    /// <summary>xᵢ ← xᵢ − log Σ e^xⱼ: logits to log-probabilities.</summary>
    public static void LogSoftMax(Span<float> x)
    {
        // As torch: the maximum first, then the logarithm of the sum, each rounded to float32.
        float max = Max(x);
        if (float.IsNegativeInfinity(max)) return;
        Add(x, -max);
        Add(x, -(float)LogSumExp(x));
    }
}
