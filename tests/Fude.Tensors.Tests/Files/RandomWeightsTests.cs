namespace Fude.Tensors.Tests;

public sealed class RandomWeightsTests
{
    [Theory, InlineData(NumberFormat.F32), InlineData(NumberFormat.F16), InlineData(NumberFormat.BF16), InlineData(NumberFormat.Q8_0), InlineData(NumberFormat.Q4_K)]
    public void Numbers_depend_on_seed_and_name_and_have_the_spread_of_a_fresh_model(NumberFormat format)
    {
        using RandomWeights a = new(format, 1), b = new(format, 1), c = new(format, 2);
        float[] numbers = a.Matrix("x.weight", 302, 512).ToFloats();
        _ = b.Matrix("y.weight", 10, 256);
        Assert.Equal(numbers, b.Matrix("x.weight", 302, 512).ToFloats());
        Assert.NotEqual(numbers, c.Matrix("x.weight", 302, 512).ToFloats());
        Assert.NotEqual(numbers, a.Matrix("y.weight", 302, 512).ToFloats());
        Assert.Equal(format, a.Matrix("x.weight", 302, 512).Format);
        // 154,624 uniform numbers: the mean has a standard error of 5e-5, the deviation one of 2e-5.
        double mean = numbers.Average(x => (double)x), deviation = Math.Sqrt(numbers.Average(x => (x - mean) * (x - mean)));
        Assert.Equal(0, mean, 3e-4);
        Assert.Equal(0.02, deviation, 3e-4);
        Assert.True(numbers.Distinct().Count() > 1000);
    }

    [Fact]
    public void Gains_are_one_and_biases_zero()
    {
        using RandomWeights weights = new(NumberFormat.BF16);
        Assert.Equal([1, 1], weights.Vector("norm.weight", 2).ToFloats());
        Assert.Equal([0, 0], weights.Vector("norm.bias", 2).ToFloats());
        Assert.Equal(NumberFormat.F32, weights.Vector("norm.bias", 2).Format);
    }

    [Fact]
    public void Formats_that_are_only_read_are_refused() =>
        Assert.Contains("Q4_K", Assert.Throws<NotSupportedException>(() => new RandomWeights(NumberFormat.IQ4_XS)).Message, StringComparison.Ordinal);

    [Fact]
    public void Rows_that_are_not_whole_blocks_are_refused()
    {
        using RandomWeights weights = new(NumberFormat.Q4_K);
        Assert.Throws<ArgumentException>(() => weights.Matrix("x", 256, 100));
    }

    [Fact]
    public void One_name_is_one_weight()
    {
        using RandomWeights weights = new(NumberFormat.F32);
        Assert.Same(weights.Matrix("tied", 3, 4), weights.Matrix("tied", 3, 4));
        Assert.Throws<InvalidDataException>(() => weights.Matrix("tied", 4, 3));
    }
}
