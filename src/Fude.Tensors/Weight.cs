namespace Fude.Tensors;

/// <summary>How the numbers of a weight are stored.</summary>
public enum NumberFormat
{
    /// <summary>IEEE 754 single precision, 4 bytes.</summary>
    F32,

    /// <summary>IEEE 754 half precision, 2 bytes.</summary>
    F16,

    /// <summary>The upper half of a single-precision number, 2 bytes.</summary>
    BF16,
}

/// <summary>Sizes of number formats.</summary>
public static class NumberFormats
{
    /// <summary>Bytes of <paramref name="count"/> numbers that lie next to each other in a row.</summary>
    public static long Bytes(this NumberFormat format, long count) => format switch
    {
        NumberFormat.F32 => checked(count * 4),
        NumberFormat.F16 or NumberFormat.BF16 => checked(count * 2),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "Not a number format of fude."),
    };
}

/// <summary>A matrix of a model: read-only numbers in some format, rows one after the other.</summary>
/// <remarks>
/// A view: the memory belongs to the <see cref="IWeightStore"/> it came from. Only a device's <see cref="IOps.MatMul"/> and
/// <see cref="IOps.Embed"/> look at the format; vectors (norm gains, biases) are always float32.
/// </remarks>
public sealed class Weight
{
    /// <summary>A view of numbers that lie at <paramref name="address"/>.</summary>
    /// <param name="name">The name in the checkpoint, for messages and for adapters.</param>
    /// <param name="format">How the numbers are stored.</param>
    /// <param name="rows">Outputs of a linear layer, entries of a table; 1 for a vector.</param>
    /// <param name="columns">Inputs of a linear layer, width of a table, length of a vector.</param>
    /// <param name="address">The first number; aligned to its size at least.</param>
    public Weight(string name, NumberFormat format, int rows, int columns, nint address) =>
        (Name, Format, Rows, Columns, Address) = (name, format, rows, columns, address);

    /// <summary>The name in the checkpoint.</summary>
    public string Name { get; }

    /// <summary>How the numbers are stored.</summary>
    public NumberFormat Format { get; }

    /// <summary>Outputs of a linear layer, entries of a table; 1 for a vector.</summary>
    public int Rows { get; }

    /// <summary>Inputs of a linear layer, width of a table, length of a vector.</summary>
    public int Columns { get; }

    /// <summary>Where the first number lies.</summary>
    public nint Address { get; }

    /// <summary>Bytes of all its numbers.</summary>
    public long Bytes => Rows * Format.Bytes(Columns);

    /// <summary>Some neighbouring rows, without copying: the queries of a fused query-key-value matrix.</summary>
    public Weight Slice(int firstRow, int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstRow);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(firstRow + rows, Rows);
        return new Weight(Name, Format, rows, Columns, Address + (nint)(firstRow * Format.Bytes(Columns)));
    }

    /// <summary>Some neighbouring numbers of a vector, without copying.</summary>
    public Weight SliceVector(int first, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(Rows, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + length, Columns);
        return new Weight(Name, Format, 1, length, Address + (nint)Format.Bytes(first));
    }
}
