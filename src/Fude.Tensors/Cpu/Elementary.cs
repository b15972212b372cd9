using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>fude's own exponential and error function: the same bits on every machine, which no platform's library promises.</summary>
internal static class Elementary
{
    /// <summary>1.5·2²³: adding it to a number below 2²² in size rounds that to an integer, which stands in the sum's low bits.</summary>
    public const float IntegerShift = 12582912f;

    /// <summary>The bits of <see cref="IntegerShift"/>.</summary>
    public const int IntegerShiftBits = 0x4B400000;

    public const float TwoTo112 = 5.192296858534828e33f;

    // ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
    private const float Log2OfE = 1.44269504f, Log2High = 0.693359375f, Log2Low = -2.12194440e-4f;

    /// <summary>eˣ within 1 unit in the last place; 0 below −104, infinite above 88.72, exactly 1 at 0.</summary>
    /// <remarks>x = n·ln 2 + r with |r| ≤ ½ ln 2; eʳ by its Taylor series to r⁷, which is off by at most 5e-9 of it.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Exp<T>(T x)
        where T : unmanaged, ILanes<T>
    {
        T low = T.Broadcast(-105f), high = T.Broadcast(90f), shift = T.Broadcast(IntegerShift);
        x = T.SelectLess(x, low, low, x);
        x = T.SelectLess(high, x, high, x);
        T shifted = T.MultiplyAdd(x, T.Broadcast(Log2OfE), shift);
        return T.ScaleByPowerOfTwo(ExpOfRest(x, shifted - shift), shifted);
    }

    /// <summary>eˣ for x ≤ 0, within 1 unit in the last place; 0 below −87, where <see cref="Exp"/> nears the end of the normal range.</summary>
    /// <remarks>What a softmax needs, in two thirds of the instructions.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T ExpBelowZero<T>(T x)
        where T : unmanaged, ILanes<T>
    {
        T shift = T.Broadcast(IntegerShift);
        T shifted = T.MultiplyAdd(x, T.Broadcast(Log2OfE), shift);
        return T.SelectLess(x, T.Broadcast(-87f), T.Zero, T.AddToExponent(ExpOfRest(x, shifted - shift), shifted));
    }

    /// <summary>e to the power of x − n·ln 2, which is at most ½ ln 2 in size.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T ExpOfRest<T>(T x, T n)
        where T : unmanaged, ILanes<T>
    {
        T r = T.MultiplyAdd(n, T.Broadcast(-Log2High), x);
        r = T.MultiplyAdd(n, T.Broadcast(-Log2Low), r);
        T one = T.Broadcast(1f);
        T p = T.MultiplyAdd(r, T.Broadcast(1f / 5040), T.Broadcast(1f / 720));
        p = T.MultiplyAdd(r, p, T.Broadcast(1f / 120));
        p = T.MultiplyAdd(r, p, T.Broadcast(1f / 24));
        p = T.MultiplyAdd(r, p, T.Broadcast(1f / 6));
        p = T.MultiplyAdd(r, p, T.Broadcast(0.5f));
        p = T.MultiplyAdd(r, p, one);
        p = T.MultiplyAdd(r, p, one);
        return p;
    }

    /// <summary>x / (1 + e⁻ˣ).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Silu<T>(T x)
        where T : unmanaged, ILanes<T> => x / (T.Broadcast(1f) + Exp(T.Zero - x));

    /// <summary>1 − erf t for t ≥ 0, within 3e-8.</summary>
    /// <remarks>exp(−t·Q(t)) with Q of degree 10 fitted to −ln(erfc t)/t on [0, 4.25] by least squares, reweighted until the largest errors
    /// of erfc are equal. Beyond, where erfc is below 2e-9, the exponent goes on as −t².</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Erfc<T>(T t)
        where T : unmanaged, ILanes<T>
    {
        T end = T.Broadcast(4.25f);
        T u = T.SelectLess(end, t, end, t);
        T q = T.MultiplyAdd(u, T.Broadcast(-9.501331987848971e-08f), T.Broadcast(2.445255177008221e-06f));
        q = T.MultiplyAdd(u, q, T.Broadcast(-2.7895221137441695e-05f));
        q = T.MultiplyAdd(u, q, T.Broadcast(0.00018460082355886698f));
        q = T.MultiplyAdd(u, q, T.Broadcast(-0.0007631209446117282f));
        q = T.MultiplyAdd(u, q, T.Broadcast(0.0018089022487401962f));
        q = T.MultiplyAdd(u, q, T.Broadcast(-0.00024301647499669343f));
        q = T.MultiplyAdd(u, q, T.Broadcast(-0.019132142886519432f));
        q = T.MultiplyAdd(u, q, T.Broadcast(0.10277806222438812f));
        q = T.MultiplyAdd(u, q, T.Broadcast(0.6366185545921326f));
        q = T.MultiplyAdd(u, q, T.Broadcast(1.128379225730896f));
        return Exp(T.Zero - T.MultiplyAdd(u, q, (t - u) * (t + u)));
    }

    /// <summary>x·Φ(x); Φ(−x) = ½ erfc(x/√2) keeps its accuracy where it is small.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T GeluErf<T>(T x)
        where T : unmanaged, ILanes<T>
    {
        T tail = T.Broadcast(0.5f) * Erfc(T.Abs(x) * T.Broadcast(0.70710678f));
        return x * T.SelectLess(x, T.Zero, tail, T.Broadcast(1f) - tail);
    }

    /// <summary>½x(1 + tanh u) = x / (1 + e⁻²ᵘ), u = √(2/π)·(x + 0.044715·x³).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T GeluTanh<T>(T x)
        where T : unmanaged, ILanes<T>
    {
        T u = T.MultiplyAdd(x * x * x, T.Broadcast(0.044715f), x);
        return x / (T.Broadcast(1f) + Exp(u * T.Broadcast(-1.59576912f)));
    }
}
