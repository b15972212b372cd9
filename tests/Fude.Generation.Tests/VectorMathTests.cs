namespace Fude.Generation.Tests;

public sealed class VectorMathTests
{
    public static TheoryData<int> Lengths => [1, 3, 4, 7, 8, 9, 15, 16, 17, 100, 1003];

    [Theory, MemberData(nameof(Lengths))]
    public void What_fills_up_the_last_eight_does_not_show(int length)
    {
        float[] row = Row(length), longer = [.. row, .. Enumerable.Repeat(float.NegativeInfinity, 8 - (length % 8))];
        float[] y = new float[length], longerY = new float[longer.Length];
        Assert.Equal(VectorMath.ExpSum(longer, 1.5f, longerY), VectorMath.ExpSum(row, 1.5f, y));
        Assert.Equal(longerY[..length], y);
        Assert.Equal(y, row.Select(x => VectorMath.Exp(x - 1.5f)));
        Assert.Equal(VectorMath.LogSumExp(longer), VectorMath.LogSumExp(row));
        VectorMath.LogSoftMax(row);
        VectorMath.LogSoftMax(longer);
        Assert.Equal(longer[..length], row);
        Assert.Equal(VectorMath.Entropy(longer), VectorMath.Entropy(row));
    }

    [Theory, MemberData(nameof(Lengths))]
    public void Sums_logarithms_and_entropies_are_those_of_the_definition(int length)
    {
        float[] row = Row(length);
        double sum = row.Sum(x => Math.Exp(x));
        Assert.Equal(Math.Log(sum), VectorMath.LogSumExp(row), 1e-6);
        Assert.Equal(sum, VectorMath.ExpSum(row, 0, new float[length]), sum * 1e-6);
        double entropy = row.Where(float.IsFinite).Sum(x => -Math.Exp(x) / sum * (x - Math.Log(sum)));
        VectorMath.LogSoftMax(row);
        Assert.Equal(entropy, VectorMath.Entropy(row), 1e-5);
    }

    [Fact]
    public void A_row_without_a_number_has_no_sum() => Assert.Equal(double.NegativeInfinity, VectorMath.LogSumExp([float.NegativeInfinity]));

    /// <summary>Some numbers, every seventh of them −∞.</summary>
    private static float[] Row(int length)
    {
        Random random = new(length);
        return [.. Enumerable.Range(0, length).Select(i => i % 7 == 6 ? float.NegativeInfinity : (float)(random.NextDouble() * 12) - 6)];
    }
}
