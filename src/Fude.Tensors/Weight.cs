using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

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

/// <summary>Sizes of number formats, and exact conversion from and to float32.</summary>
public static class NumberFormats
{
    /// <summary>Bytes of <paramref name="count"/> numbers that lie next to each other in a row.</summary>
    public static long Bytes(this NumberFormat format, long count) => format switch
    {
        NumberFormat.F32 => checked(count * 4),
        NumberFormat.F16 or NumberFormat.BF16 => checked(count * 2),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "Not a number format of fude."),
    };

    /// <summary>The numbers in <paramref name="bytes"/> as float32; nothing is rounded.</summary>
    /// <param name="format">How they are stored.</param>
    /// <param name="bytes">As many stored numbers as <paramref name="numbers"/> has places.</param>
    /// <param name="numbers">Receives them.</param>
    public static void Widen(this NumberFormat format, ReadOnlySpan<byte> bytes, Span<float> numbers)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(bytes.Length, format.Bytes(numbers.Length), nameof(bytes));
        switch (format)
        {
            case NumberFormat.F32:
                MemoryMarshal.Cast<byte, float>(bytes).CopyTo(numbers);
                break;
            case NumberFormat.F16:
                ReadOnlySpan<Half> halves = MemoryMarshal.Cast<byte, Half>(bytes);
                for (int i = 0; i < numbers.Length; i++) numbers[i] = (float)halves[i];
                break;
            case NumberFormat.BF16:
                ReadOnlySpan<ushort> upper = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (int i = 0; i < numbers.Length; i++) numbers[i] = BitConverter.UInt32BitsToSingle((uint)upper[i] << 16);
                break;
        }
    }

    /// <summary>Stores float32 numbers, rounded to the nearest (ties to even) where the format is narrower.</summary>
    /// <param name="format">How to store them.</param>
    /// <param name="numbers">The numbers.</param>
    /// <param name="bytes">Receives as many.</param>
    public static void Narrow(this NumberFormat format, ReadOnlySpan<float> numbers, Span<byte> bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(bytes.Length, format.Bytes(numbers.Length), nameof(bytes));
        switch (format)
        {
            case NumberFormat.F32:
                numbers.CopyTo(MemoryMarshal.Cast<byte, float>(bytes));
                break;
            case NumberFormat.F16:
                Span<Half> halves = MemoryMarshal.Cast<byte, Half>(bytes);
                for (int i = 0; i < numbers.Length; i++) halves[i] = (Half)numbers[i];
                break;
            case NumberFormat.BF16:
                Span<ushort> upper = MemoryMarshal.Cast<byte, ushort>(bytes);
                int done = 0;
                for (; done + 16 <= numbers.Length; done += 16)
                {
                    Vector256<uint> low = RoundToBFloat16(Vector256.Create(numbers.Slice(done, 8)));
                    Vector256<uint> high = RoundToBFloat16(Vector256.Create(numbers.Slice(done + 8, 8)));
                    Vector256.Narrow(low, high).CopyTo(upper[done..]);
                }
                for (; done < numbers.Length; done++)
                    upper[done] = (ushort)RoundToBFloat16(Vector256.CreateScalarUnsafe(numbers[done])).ToScalar();
                break;
        }
    }

    // Adding 0x7FFF, or 0x8000 where the kept part is odd, carries into it exactly when the rest is above half. A NaN stays one.
    private static Vector256<uint> RoundToBFloat16(Vector256<float> x)
    {
        Vector256<uint> bits = x.AsUInt32(), odd = (bits >>> 16) & Vector256<uint>.One;
        Vector256<uint> rounded = (bits + Vector256.Create(0x7FFFu) + odd) >>> 16, notANumber = (bits >>> 16) | Vector256.Create(0x40u);
        return Vector256.ConditionalSelect(Vector256.Equals(x, x).AsUInt32(), rounded, notANumber);
    }
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
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, Rows - firstRow);
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
        const int Piece = 1 << 20;      // the bytes of a whole row may be more than a span can hold
        byte* start = (byte*)Address + (row * Format.Bytes(Columns));
        for (int first = 0; first < Columns; first += Piece)
        {
            int count = Math.Min(Piece, Columns - first);
            ReadOnlySpan<byte> bytes = new(start + Format.Bytes(first), (int)Format.Bytes(count));
            Format.Widen(bytes, numbers.Slice(first, count));
        }
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
