using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A tensor that is going to be written to a GGUF file: its shape at once, its numbers when their turn comes.</summary>
/// <param name="Name">The name, of at most 63 bytes.</param>
/// <param name="Format">How its numbers are stored.</param>
/// <param name="Shape">Its dimensions, the slowest first; at most four.</param>
/// <param name="WriteNumbers">Writes exactly its numbers, little-endian, row after row.</param>
public sealed unsafe record NewGgufTensor(string Name, NumberFormat Format, IReadOnlyList<long> Shape, Action<Stream> WriteNumbers)
{
    private const int PieceNumbers = 1 << 22;

    /// <summary>A weight in another format, or in its own: rows are converted on all cores, some at a time.</summary>
    /// <param name="name">The name in the file.</param>
    /// <param name="weight">The numbers.</param>
    /// <param name="format">How to store them. In the weight's own format they are copied as they are.</param>
    /// <param name="isVector">Whether the file shall say [columns] rather than [rows, columns].</param>
    /// <param name="rowOrder">Which row of the weight each row of the file is; null for the same.</param>
    /// <param name="importance">[columns], see <see cref="NumberFormats.Narrow"/>; null where all count the same.</param>
    public static NewGgufTensor Of(
        string name, Weight weight, NumberFormat format, bool isVector = false, Func<int, int>? rowOrder = null, float[]? importance = null)
    {
        ArgumentNullException.ThrowIfNull(weight);
        _ = format.Bytes(weight.Columns);      // refuses rows that are not whole blocks
        return new(name, format, isVector ? [weight.Columns] : [weight.Rows, weight.Columns],
            stream => Write(stream, weight, format, rowOrder, importance));
    }

    /// <summary>A tensor of another GGUF file, unchanged.</summary>
    public static NewGgufTensor Of(GgufTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return new(tensor.Name, tensor.Format, tensor.Shape, stream => StoredTensor.Write(stream, tensor.Address, tensor.Bytes));
    }

    /// <summary>Bytes of its numbers.</summary>
    internal long Bytes
    {
        get
        {
            if (Shape.Count is < 1 or > 4 || Shape.Any(size => size <= 0))
                throw new ArgumentException($"Tensor '{Name}' cannot be [{string.Join(", ", Shape)}] in a GGUF file.");
            long rows = 1;
            for (int axis = 0; axis < Shape.Count - 1; axis++) rows = checked(rows * Shape[axis]);
            return checked(rows * Format.Bytes(Shape[^1]));
        }
    }

    private static void Write(Stream stream, Weight weight, NumberFormat format, Func<int, int>? rowOrder, float[]? importance)
    {
        int columns = weight.Columns, rowsAtOnce = Math.Clamp(PieceNumbers / columns, 1, weight.Rows),
            rowBytes = checked((int)format.Bytes(columns));
        byte[] piece = new byte[checked(rowsAtOnce * rowBytes)];
        for (int first = 0; first < weight.Rows; first += rowsAtOnce)
        {
            int start = first, rows = Math.Min(rowsAtOnce, weight.Rows - first);
            try
            {
                _ = Parallel.For(0, rows, () => new float[columns], (row, _, numbers) =>
                {
                    int source = rowOrder?.Invoke(start + row) ?? start + row;
                    weight.ConvertRow(source, format, piece.AsSpan(row * rowBytes, rowBytes), numbers, importance);
                    return numbers;
                }, _ => { });
            }
            catch (AggregateException failures) when (failures.InnerException is InvalidDataException inner)
            {
                throw new InvalidDataException(
                    Say($"tensor '{weight.Name}': {inner.Message}", $"テンソル '{weight.Name}': {inner.Message}"), inner);
            }
            stream.Write(piece, 0, rows * rowBytes);
        }
    }
}
