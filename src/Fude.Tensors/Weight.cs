using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A matrix of a model: read-only numbers in some format, rows one after the other.</summary>
/// <remarks>
/// A view: the memory belongs to the <see cref="IWeightStore"/> it came from. Only a device's <see cref="IOps.MatMul(Tensor, Weight, Weight?)"/> and
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

    /// <summary>Rows of a matrix that is laid out in groups (<see cref="GroupLayout"/>), from <paramref name="firstRow"/> on.</summary>
    internal Weight(string name, NumberFormat format, int rows, int columns, nint address, int firstRow)
        : this(name, format, rows, columns, address) =>
        (Groups, FirstRow) = (GroupLayout.Of(format) ?? throw new NotSupportedException(
            Say($"{format} has no layout in groups.", $"{format} にはグループ単位の配置がありません。")), firstRow);

    /// <summary>The name in the checkpoint.</summary>
    public string Name { get; }

    /// <summary>How the numbers are stored.</summary>
    public NumberFormat Format { get; }

    /// <summary>Outputs of a linear layer, entries of a table; 1 for a vector.</summary>
    public int Rows { get; }

    /// <summary>Inputs of a linear layer, width of a table, length of a vector.</summary>
    public int Columns { get; }

    /// <summary>Where the first number lies; the first group, when the device has laid the matrix out anew for its kernels.</summary>
    public nint Address { get; }

    /// <summary>How rows lie side by side in groups, or null when they lie one after the other.</summary>
    internal GroupLayout? Groups { get; }

    /// <summary>The row within the first group's matrix that is this weight's first; 0 where rows lie one after the other.</summary>
    internal int FirstRow { get; }

    /// <summary>Bytes of all its numbers, as files have them.</summary>
    public long Bytes => Rows * Format.Bytes(Columns);

    /// <summary>Some neighbouring rows, without copying: the queries of a fused query-key-value matrix.</summary>
    public Weight Slice(int firstRow, int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstRow);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, Rows - firstRow);
        if (Groups is not null) return new Weight(Name, Format, rows, Columns, Address, FirstRow + firstRow);
        return new Weight(Name, Format, rows, Columns, Address + (nint)(firstRow * Format.Bytes(Columns)));
    }

    /// <summary>Some neighbouring numbers of a vector, without copying.</summary>
    public Weight SliceVector(int first, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(Rows, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Columns - first);
        return new Weight(Name, Format, 1, length, Address + (nint)Format.Bytes(first));
    }

    /// <summary>One row as float32, exactly.</summary>
    /// <param name="row">Which row.</param>
    /// <param name="numbers">[<see cref="Columns"/>], receives it.</param>
    public unsafe void ReadRow(int row, Span<float> numbers)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows, nameof(row));
        ArgumentOutOfRangeException.ThrowIfNotEqual(numbers.Length, Columns, nameof(numbers));
        if (Groups is not null)
        {
            int place = FirstRow + row;
            byte* group = (byte*)Address + (place / GroupLayout.Rows * Groups.GroupBytes(Columns));
            Groups.Read(group, place % GroupLayout.Rows, 0, numbers);
            return;
        }
        const int Piece = 1 << 20;      // the bytes of a whole row may be more than a span can hold
        byte* start = (byte*)Address + (row * Format.Bytes(Columns));
        for (int first = 0; first < Columns; first += Piece)
        {
            int count = Math.Min(Piece, Columns - first);
            ReadOnlySpan<byte> bytes = new(start + Format.Bytes(first), (int)Format.Bytes(count));
            Format.Widen(bytes, numbers.Slice(first, count));
        }
    }

    /// <summary>One row in another number format, or copied in its own.</summary>
    /// <param name="row">Which row.</param>
    /// <param name="format">The format.</param>
    /// <param name="bytes">Receives it: as many bytes as <see cref="Columns"/> numbers take.</param>
    /// <param name="numbers">[<see cref="Columns"/>], overwritten.</param>
    /// <param name="importance">See <see cref="NumberFormats.Narrow"/>.</param>
    /// <exception cref="InvalidDataException">The format cannot hold a number.</exception>
    public unsafe void ConvertRow(int row, NumberFormat format, Span<byte> bytes, Span<float> numbers, ReadOnlySpan<float> importance = default)
    {
        if (format == Format)
        {
            if (Groups is not null)
                throw new InvalidOperationException($"{Name} is laid out for a device: take the blocks from the store they came from.");
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows, nameof(row));
            new ReadOnlySpan<byte>((byte*)Address + (row * Format.Bytes(Columns)), checked((int)Format.Bytes(Columns))).CopyTo(bytes);
            return;
        }
        ReadRow(row, numbers);
        if (format == NumberFormat.F16)
            for (int i = 0; i < numbers.Length; i++)
                if (float.IsFinite(numbers[i]) && !Half.IsFinite((Half)numbers[i]))
                    throw new InvalidDataException(Say(
                        $"number {i} of row {row} is {numbers[i]}, which F16 cannot hold. Choose BF16.",
                        $"行 {row} の要素 {i} は {numbers[i]} で、F16 では表せません。BF16 を選んでください。"));
        format.Narrow(numbers, bytes, importance);
    }

    /// <summary>All numbers as float32, row after row: for tests and small weights.</summary>
    public float[] ToFloats()
    {
        float[] numbers = new float[checked(Rows * Columns)];
        for (int row = 0; row < Rows; row++) ReadRow(row, numbers.AsSpan(row * Columns, Columns));
        return numbers;
    }

    /// <summary>The numbers of a freshly made float32 weight, to be filled by its maker.</summary>
    internal unsafe Span<float> Floats() => new((float*)Address, checked(Rows * Columns));
}
