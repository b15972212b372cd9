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
    }
}
