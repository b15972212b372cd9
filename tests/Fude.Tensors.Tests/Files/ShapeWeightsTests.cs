namespace Fude.Tensors.Tests;

public sealed class ShapeWeightsTests
{
    [Fact]
    public void What_is_asked_for_is_counted_once_without_memory()
    {
        using ShapeWeights weights = new(NumberFormat.F16);
        _ = weights.Matrix("embedding", 50_688, 5120);
        _ = weights.Matrix("embedding", 50_688, 5120);
        _ = weights.Matrix("huge", 1_000_000, 1_000_000, transposed: true);
        _ = weights.Vector("norm", 5120);
        Assert.Equal((50_688L * 5120) + 1_000_000_000_000 + 5120, weights.Parameters);
        Assert.Equal([("embedding", NumberFormat.F16), ("huge", NumberFormat.F16), ("norm", NumberFormat.F32)],
            weights.Weights.Select(weight => (weight.Name, weight.Format)));
        Assert.Throws<InvalidDataException>(() => weights.Vector("norm", 5121));
    }
}
