namespace Fude.Tensors.Tests;

/// <summary>1 − erf t in double precision, by two classical expansions: the reference of GELU.</summary>
internal static class ErrorFunction
{
    public static double Complement(double t)
    {
        if (t < 2.5)
        {
            // erf t = 2/√π · Σ (−1)ⁿ t²ⁿ⁺¹ / (n! (2n+1))
            double term = t, sum = t;
            for (int n = 1; n < 80; n++)
            {
                term *= -t * t / n;
                sum += term / (2 * n + 1);
            }
            return 1 - 2 / Math.Sqrt(Math.PI) * sum;
        }
        // Laplace's continued fraction.
        double fraction = t;
        for (int n = 120; n >= 1; n--) fraction = t + n / 2.0 / fraction;
        return Math.Exp(-t * t) / (Math.Sqrt(Math.PI) * fraction);
    }
}
