namespace Fude.Models.Tests;

/// <summary>Comparisons of float32 numbers with reference values.</summary>
internal static class Near
{
    /// <summary>Asserts that no number is further off than a tolerance; writes down how far the worst one is.</summary>
    public static void Equal(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, double tolerance, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        double worst = 0;
        int where = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double off = Math.Abs((double)expected[i] - actual[i]);
            if (!(off <= worst)) (worst, where) = (off, i);
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{what}: at most {worst:E1} off");
        Assert.True(worst <= tolerance,
            $"{what}: number {where} is {(expected.Length == 0 ? 0 : actual[where])}, expected {(expected.Length == 0 ? 0 : expected[where])}: " +
            $"{worst:E1} off, allowed {tolerance:E1}.");
    }

    /// <summary>Asserts that two lists of numbers have the same bits.</summary>
    public static void SameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
                Assert.Fail($"{what}: number {i} is {actual[i]:R}, expected {expected[i]:R}, to the bit.");
    }
}
