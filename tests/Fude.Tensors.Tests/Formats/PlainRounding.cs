namespace Fude.Tensors.Tests;

/// <summary>Rounding to nearest with a block's extremes as range, without any search: the bound for every quantiser.</summary>
internal static class PlainRounding
{
    public static float[] Of(NumberFormat format, float[] x)
    {
        float[] found = new float[x.Length];
        for (int first = 0; first < x.Length; first += format.BlockLength())
        {
            ReadOnlySpan<float> block = x.AsSpan(first, format.BlockLength());
            Span<float> to = found.AsSpan(first, format.BlockLength());
            switch (format)
            {
                case NumberFormat.Q8_0: Symmetric(block, Half(Extreme(block) / -127), -127, 127, to); break;
                case NumberFormat.Q4_0: Symmetric(block, Half(Extreme(block) / -8), -8, 7, to); break;
                case NumberFormat.Q5_0: Symmetric(block, Half(Extreme(block) / -16), -16, 15, to); break;
                case NumberFormat.Q4_1: Affine(block, 15, to); break;
                case NumberFormat.Q5_1: Affine(block, 31, to); break;
                case NumberFormat.Q4_K: SuperAffine(block, 15, to); break;
                case NumberFormat.Q5_K: SuperAffine(block, 31, to); break;
                case NumberFormat.Q6_K: SuperSymmetric(block, to); break;
                default: throw new ArgumentOutOfRangeException(nameof(format));
            }
        }
        return found;
    }

    private static float Half(float x) => (float)(Half)x;

    private static float Extreme(ReadOnlySpan<float> x)
    {
        float extreme = 0;
        foreach (float value in x) if (MathF.Abs(value) > MathF.Abs(extreme)) extreme = value;
        return extreme;
    }

    private static void Symmetric(ReadOnlySpan<float> x, float d, int low, int high, Span<float> to)
    {
        for (int i = 0; i < x.Length; i++) to[i] = d == 0 ? 0 : d * Math.Clamp(MathF.Round(x[i] / d), low, high);
    }

    private static void Affine(ReadOnlySpan<float> x, int levels, Span<float> to)
    {
        (float low, float high) = Range(x);
        float d = Half((high - low) / levels), m = Half(low);
        for (int i = 0; i < x.Length; i++) to[i] = d == 0 ? m : (d * Math.Clamp(MathF.Round((x[i] - m) / d), 0, levels)) + m;
    }

    private static void SuperAffine(ReadOnlySpan<float> x, int levels, Span<float> to)
    {
        float[] scales = new float[8], minima = new float[8];
        for (int run = 0; run < 8; run++)
        {
            (float low, float high) = Range(x.Slice(32 * run, 32));
            low = MathF.Min(low, 0);
            (scales[run], minima[run]) = ((high - low) / levels, -low);
        }
        float d = Half(scales.Max() / 63), dmin = Half(minima.Max() / 63);
        for (int i = 0; i < x.Length; i++)
        {
            float scale = d == 0 ? 0 : d * Math.Clamp(MathF.Round(scales[i / 32] / d), 0, 63);
            float minimum = dmin == 0 ? 0 : dmin * Math.Clamp(MathF.Round(minima[i / 32] / dmin), 0, 63);
            to[i] = scale == 0 ? -minimum : (scale * Math.Clamp(MathF.Round((x[i] + minimum) / scale), 0, levels)) - minimum;
        }
    }

    private static void SuperSymmetric(ReadOnlySpan<float> x, Span<float> to)
    {
        float[] scales = new float[16];
        for (int run = 0; run < 16; run++) scales[run] = Extreme(x.Slice(16 * run, 16)) / -32;
        float d = Half(Extreme(scales) / -128);
        for (int run = 0; run < 16; run++)
        {
            float scale = d == 0 ? 0 : d * Math.Clamp(MathF.Round(scales[run] / d), -128, 127);
            Symmetric(x.Slice(16 * run, 16), scale, -32, 31, to.Slice(16 * run, 16));
        }
    }

    private static (float Low, float High) Range(ReadOnlySpan<float> x)
    {
        float low = x[0], high = x[0];
        foreach (float value in x) (low, high) = (MathF.Min(low, value), MathF.Max(high, value));
        return (low, high);
    }
}
