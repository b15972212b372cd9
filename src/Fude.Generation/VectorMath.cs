using System.Numerics;
using System.Runtime.InteropServices;

namespace Fude.Generation;

/// <summary>Reductions over a row of logits. Sums are kept in float64, so their order does not show in a float32 result.</summary>
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
        Vector<float> s = new(shift);
        Vector<double> sum = Vector<double>.Zero;
        int i = 0;
        for (; i + Vector<float>.Count <= x.Length; i += Vector<float>.Count)
        {
            Vector<float> e = Vector.Exp(new Vector<float>(x[i..]) - s);
            e.CopyTo(y[i..]);
            Vector.Widen(e, out Vector<double> low, out Vector<double> high);
            sum += low + high;
        }
        double total = Vector.Sum(sum);
        for (; i < x.Length; i++) total += y[i] = MathF.Exp(x[i] - shift);
        return total;
    }

    /// <summary>log Σ e^xᵢ; −∞ for a row of −∞.</summary>
    public static double LogSumExp(ReadOnlySpan<float> x)
    {
        float max = Max(x);
        if (float.IsNegativeInfinity(max)) return double.NegativeInfinity;
        Vector<float> s = new(max);
        Vector<double> sum = Vector<double>.Zero;
        int i = 0;
        for (; i + Vector<float>.Count <= x.Length; i += Vector<float>.Count)
        {
            Vector.Widen(Vector.Exp(new Vector<float>(x[i..]) - s), out Vector<double> low, out Vector<double> high);
            sum += low + high;
        }
        double total = Vector.Sum(sum);
        for (; i < x.Length; i++) total += MathF.Exp(x[i] - max);
        return max + Math.Log(total);
    }

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
