namespace Fude.Tensors.Tests;

public sealed class RooflineTests
{
    [Fact]
    public void Measured_roofs_are_of_this_world()
    {
        using CpuOps ops = new(2);
        Roofline roofs = Roofline.Measure(ops);
        // Between a machine of 1995 and one not built yet: the units are right.
        Assert.InRange(roofs.BytesPerSecond, 1e7, 1e14);
        Assert.InRange(roofs.OneStreamBytesPerSecond, 1e7, roofs.BytesPerSecond);
        Assert.InRange(roofs.FlopsPerSecond, 1e7, 1e16);
        if (ops.InstructionSet == InstructionSets.Avx512Name && VnniTile.IsSupported) Assert.InRange(roofs.IntegerOpsPerSecond, 1e7, 1e17);
        else if (ops.InstructionSet != InstructionSets.AmxName) Assert.Equal(0, roofs.IntegerOpsPerSecond);
    }

    [Fact]
    public void Training_with_rounded_products_has_a_peak_of_its_own_where_there_are_instructions_for_it()
    {
        foreach (ProductPrecision products in Enum.GetValues<ProductPrecision>())
        {
            using CpuOps ops = new(1) { Precision = products };
            Assert.InRange(Roofline.MatrixPeak(ops), 1e7, 1e17);
        }
    }
}
