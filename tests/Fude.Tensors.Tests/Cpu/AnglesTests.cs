namespace Fude.Tensors.Tests;

/// <summary>Against the platform's mathematical library, whose last bits may differ from machine to machine.</summary>
public sealed class AnglesTests
{
    [Fact]
    public void Sine_and_cosine_hold_up_to_the_largest_position()
    {
        Random random = new(1);
        for (int i = 0; i < 20000; i++)
        {
            double angle = Math.Pow(2, 24 * random.NextDouble()) * random.NextDouble();
            (double sine, double cosine) = Angles.SinCos(angle);
            Assert.Equal(Math.Sin(angle), sine, 1e-15);
            Assert.Equal(Math.Cos(angle), cosine, 1e-15);
        }
        Assert.Equal((0.0, 1.0), Angles.SinCos(0));
    }

    [Fact]
    public void Power_and_logarithm_are_within_a_few_units_in_the_last_place()
    {
        Random random = new(2);
        for (int i = 0; i < 20000; i++)
        {
            double a = Math.Pow(10, 8 * random.NextDouble() - 2), b = 2 * random.NextDouble();
            Assert.InRange(Angles.Power(a, b) / Math.Pow(a, b), 1 - 2e-14, 1 + 2e-14);
            Assert.Equal(Math.Log(a), Angles.Log(a), 1e-14);
        }
        Assert.Equal(1, Angles.Power(10000, 0));
    }
}
