namespace Fude.Tensors.Tests;

public sealed unsafe class ElementaryTests
{
    [Fact]
    public void The_exponential_is_within_one_unit_in_the_last_place()
    {
        double worst = 0;
        for (float x = -87.3f; x < 88.7f; x += 0.0137f)
        {
            double expected = Math.Exp(x);
            float found = Exp(x);
            worst = Math.Max(worst, Math.Abs(found - expected) / (MathF.BitIncrement((float)expected) - (float)expected));
        }
        Assert.InRange(worst, 0, 1);
    }

    [Theory]
    [InlineData(0f, 1f), InlineData(-1e-42f, 1f), InlineData(float.NegativeInfinity, 0f), InlineData(-104.5f, 0f), InlineData(-1e30f, 0f)]
    [InlineData(88.8f, float.PositiveInfinity), InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void The_exponential_ends_where_float32_does(float x, float expected) => Assert.Equal(expected, Exp(x));

    [Fact]
    public void Below_the_normal_range_the_exponential_loses_bits_one_by_one()
    {
        for (float x = -103f; x < -87.3f; x += 0.31f) Assert.InRange(Math.Abs(Exp(x) - Math.Exp(x)), 0, float.Epsilon);
    }

    [Fact]
    public void The_exponential_of_a_softmax_is_the_other_one_down_to_its_end()
    {
        float* lanes = stackalloc float[16];
        float Below(float x)
        {
            LanesScalar.Store(Elementary.ExpBelowZero(LanesScalar.Broadcast(x)), lanes);
            return lanes[0];
        }
        for (float x = -87f; x <= 0; x += 0.0137f) Assert.Equal(Exp(x), Below(x));
        foreach ((float x, float expected) in (ReadOnlySpan<(float, float)>)
            [(0, 1), (-0f, 1), (-1e-42f, 1), (-87.01f, 0), (-1e30f, 0), (float.NegativeInfinity, 0), (float.NaN, float.NaN)])
            Assert.Equal(expected, Below(x));
    }

    [Fact]
    public void The_complement_of_the_error_function_is_within_3e_minus_8()
    {
        float* lanes = stackalloc float[16];
        double worst = 0;
        for (float t = 0; t < 10; t += 0.0017f)
        {
            LanesScalar.Store(Elementary.Erfc(LanesScalar.Broadcast(t)), lanes);
            worst = Math.Max(worst, Math.Abs(lanes[0] - ErrorFunction.Complement(t)));
        }
        // The fit is off by 4e-9; near 1 a float32 is off by 6e-8 / 2 and the exponent adds as much.
        Assert.InRange(worst, 0, 8e-8);
    }

    private static float Exp(float x)
    {
        float* lanes = stackalloc float[16];
        LanesScalar.Store(Elementary.Exp(LanesScalar.Broadcast(x)), lanes);
        return lanes[0];
    }
}
