namespace Fude.Tensors;

/// <summary>What the matrix products of training take their numbers as; sums are float32 in any case. Each gives the same bits on every machine.</summary>
public enum ProductPrecision
{
    /// <summary>As they are.</summary>
    F32,

    /// <summary>Rounded to bfloat16 (<see cref="MatrixProduct"/> says how): about half the time with AVX512_BF16, elsewhere a little more than without.</summary>
    Bf16,

    /// <summary>Rounded likewise, and summed as AMX's tiles sum them: meant for processors that have it, slower than <see cref="Bf16"/> elsewhere.</summary>
    Bf16Tiles,
}

/// <summary>The names of <see cref="ProductPrecision"/>.</summary>
public static class ProductPrecisions
{
    /// <summary>f32, bf16 or bf16-tiles.</summary>
    public static string Name(this ProductPrecision precision) => precision switch
    {
        ProductPrecision.F32 => "f32",
        ProductPrecision.Bf16 => "bf16",
        ProductPrecision.Bf16Tiles => "bf16-tiles",
        _ => throw new ArgumentOutOfRangeException(nameof(precision), precision, "There is no such precision."),
    };
}
