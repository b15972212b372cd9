using System.Runtime.InteropServices;

namespace Fude.Tensors;

/// <summary>A tensor that is going to be written: its shape at once, its numbers when their turn comes.</summary>
/// <param name="Name">The name in the checkpoint.</param>
/// <param name="Type">What it is made of.</param>
/// <param name="Shape">Its dimensions, the slowest first.</param>
/// <param name="WriteNumbers">Writes exactly its numbers, little-endian, in the order of the shape. Called once for each file written,
/// so that merged weights need to exist only one at a time.</param>
public sealed record NewTensor(string Name, ElementType Type, IReadOnlyList<long> Shape, Action<Stream> WriteNumbers)
{
    /// <summary>A tensor of another file, unchanged.</summary>
    public static NewTensor Of(StoredTensor tensor) => new(tensor.Name, tensor.Type, tensor.Shape, tensor.WriteTo);

    /// <summary>Numbers in managed memory, as float32.</summary>
    public static NewTensor Of(string name, IReadOnlyList<long> shape, float[] numbers) =>
        new(name, ElementType.F32, shape, stream => stream.Write(MemoryMarshal.AsBytes<float>(numbers)));

    /// <summary>A weight in its own format.</summary>
    /// <param name="weight">Its name and numbers.</param>
    /// <param name="isVector">Whether the file shall say [columns] rather than [1, columns].</param>
    public static NewTensor Of(Weight weight, bool isVector = false) =>
        new(weight.Name, ElementTypes.Of(weight.Format), isVector ? [weight.Columns] : [weight.Rows, weight.Columns],
            stream => StoredTensor.Write(stream, weight.Address, weight.Bytes));

    /// <summary>Bytes of its numbers.</summary>
    internal long Bytes =>
        !Shape.Any(size => size < 0) && StoredTensor.CountOf([.. Shape]) is long count && count <= long.MaxValue / Type.Size()
        ? count * Type.Size()
        : throw new ArgumentException($"Tensor '{Name}' cannot be [{string.Join(", ", Shape)}].");
}
