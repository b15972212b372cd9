using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Eight neighbouring runs of a row side by side, one a lane: x[i] holds number i of each.</summary>
/// <remarks>The quantisers are written on these: a sum over a run is then a plain sum over i, in the order of the run, on every machine,
/// and the eight cost as much as one.</remarks>
internal static class Lanes
{
    public const int Count = 8;

    /// <summary>Loads runs of x.Length numbers from <paramref name="first"/> on; zeros beyond the row's end.</summary>
    /// <param name="numbers">The row.</param>
    /// <param name="importance">How much each counts; empty for 1 each. It is scaled by a power of two, so that no sum overflows.</param>
    /// <param name="first">Where the first run begins.</param>
    /// <param name="x">Receives the numbers.</param>
    /// <param name="w">Receives the importances.</param>
    public static void Load(
        ReadOnlySpan<float> numbers, ReadOnlySpan<float> importance, int first, Span<Vector256<float>> x, Span<Vector256<float>> w)
    {
        int count = Math.Min(numbers.Length - first, Count * x.Length);
        Scatter(numbers.Slice(first, count), x);
        if (importance.IsEmpty)
        {
            w.Fill(Vector256<float>.One);
            return;
        }
        Scatter(importance.Slice(first, count), w);
        float largest = 0;
        foreach (float weight in importance) largest = MathF.Max(largest, weight);
        if (largest == 0) return;
        Vector256<float> factor = Vector256.Create(MathF.ScaleB(1, -Math.Clamp(MathF.ILogB(largest), -126, 126)));
        foreach (ref Vector256<float> weight in w) weight *= factor;
    }

    /// <summary>Each lane rounded to the nearest half; a fit that overshoots the largest one stays there.</summary>
    public static Vector256<float> RoundToHalf(Vector256<float> x)
    {
        Span<float> lanes = stackalloc float[Count];
        x.CopyTo(lanes);
        foreach (ref float lane in lanes) lane = (float)(Half)Math.Clamp(lane, -65504f, 65504f);
        return Vector256.Create<float>(lanes);
    }

    /// <summary>1/d, and 0 where d is 0.</summary>
    public static Vector256<float> Inverse(Vector256<float> d) =>
        Vector256.ConditionalSelect(Vector256.Equals(d, Vector256<float>.Zero), Vector256<float>.Zero, Vector256<float>.One / d);

    /// <summary>a/b, and 0 where b is not above the smallest normal number: a run of zeros, or one that counts for nothing.</summary>
    public static Vector256<float> Ratio(Vector256<float> a, Vector256<float> b)
    {
        Vector256<float> usable = Vector256.GreaterThan(Vector256.Abs(b), Vector256.Create(1.2e-38f));
        return Vector256.ConditionalSelect(usable, a / b, Vector256<float>.Zero);
    }

    /// <summary>The sum of the lanes, in their order.</summary>
    public static float Sum(Vector256<float> x)
    {
        float sum = 0;
        for (int lane = 0; lane < Count; lane++) sum += x[lane];
        return sum;
    }

    private static void Scatter(ReadOnlySpan<float> numbers, Span<Vector256<float>> x)
    {
        int length = x.Length;
        Span<float> flat = MemoryMarshal.Cast<Vector256<float>, float>(x);
        if (numbers.Length < flat.Length) flat.Clear();
        for (int lane = 0; lane * length < numbers.Length; lane++)
        {
            ReadOnlySpan<float> run = numbers.Slice(lane * length, length);
            for (int i = 0; i < run.Length; i++) flat[(i * Count) + lane] = run[i];
        }
    }
}
