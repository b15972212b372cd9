namespace Fude.Tensors;

/// <summary>Sine, cosine, power and logarithm in double precision out of +, −, ·, / alone: the same bits on every machine.</summary>
/// <remarks>Accurate to a few 1e-16, so that what is rounded to float32 is the correctly rounded value but for rarest ties.</remarks>
internal static class Angles
{
    // π/2 in three parts; n times one of the first two (29 and 24 bits) is exact for n below 2²⁴.
    private static readonly double Quarter1 = BitConverter.UInt64BitsToDouble(0x3FF921FB_54000000);
    private static readonly double Quarter2 = Math.PI / 2 - Quarter1;
    private const double Quarter3 = 6.123233995736766e-17;

    // ln 2 in two parts; the first has 32 bits.
    private static readonly double Log2High = BitConverter.UInt64BitsToDouble(0x3FE62E42_FEE00000);
    private const double Log2Low = 1.9082149292705877e-10;

    /// <summary>Sine and cosine of an angle of at most 2²⁴ radians.</summary>
    public static (double Sine, double Cosine) SinCos(double angle)
    {
        double n = Math.Floor(angle / (Math.PI / 2) + 0.5);
        double r = angle - n * Quarter1 - n * Quarter2 - n * Quarter3, s = r * r;
        // Taylor series; |r| ≤ π/4.
        double sine = 0, cosine = 0;
        for (int k = 17; k >= 3; k -= 2) sine = (1 + sine) * -s / (k * (k - 1));
        for (int k = 18; k >= 2; k -= 2) cosine = (1 + cosine) * -s / (k * (k - 1));
        sine = r + r * sine;
        cosine = 1 + cosine;
        return ((long)n & 3) switch
        {
            0 => (sine, cosine),
            1 => (cosine, -sine),
            2 => (-sine, -cosine),
            _ => (-cosine, sine),
        };
    }

    /// <summary>aᵇ for a &gt; 0.</summary>
    public static double Power(double a, double b) => Exp(b * Log(a));

    /// <summary>The natural logarithm of a positive, normal number.</summary>
    public static double Log(double x)
    {
        // x = m·2ⁿ with √½ ≤ m < √2; ln m = 2 artanh((m−1)/(m+1)).
        long bits = BitConverter.DoubleToInt64Bits(x);
        long n = (bits >> 52) - 1023;
        double m = BitConverter.Int64BitsToDouble((bits & 0x000FFFFF_FFFFFFFF) | 0x3FF00000_00000000);
        if (m > 1.4142135623730951) (m, n) = (m / 2, n + 1);
        double s = (m - 1) / (m + 1), square = s * s, sum = 0;
        for (int k = 23; k >= 3; k -= 2) sum = (sum + 1.0 / k) * square;
        return n * Log2High + (n * Log2Low + 2 * (s + s * sum));
    }

    /// <summary>eˣ for |x| ≤ 700.</summary>
    public static double Exp(double x)
    {
        double n = Math.Floor(x / (Log2High + Log2Low) + 0.5);
        double r = x - n * Log2High - n * Log2Low, sum = 0;
        for (int k = 15; k >= 1; k--) sum = (1 + sum) * r / k;
        return (1 + sum) * BitConverter.Int64BitsToDouble(((long)n + 1023) << 52);
    }
}
