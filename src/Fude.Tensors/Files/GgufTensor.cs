namespace Fude.Tensors;

/// <summary>A named tensor as it lies in a GGUF file.</summary>
/// <remarks>A view: the memory belongs to the <see cref="Gguf"/> it came from.</remarks>
public sealed class GgufTensor
{
    private readonly long[] _shape;

    internal GgufTensor(string file, string name, NumberFormat format, long[] shape, nint address)
    {
        (File, Name, Format, _shape, Address) = (file, name, format, shape, address);
        long rows = 1;
        for (int axis = 0; axis < shape.Length - 1; axis++) rows = checked(rows * shape[axis]);
        Bytes = checked(rows * format.Bytes(shape[^1]));
    }

    /// <summary>The name, as llama.cpp gives it: blk.0.attn_q.weight.</summary>
    public string Name { get; }

    /// <summary>How its numbers are stored.</summary>
    public NumberFormat Format { get; }

    /// <summary>Its dimensions, the slowest first: [rows, columns] of a matrix. (The file says them the other way round.)</summary>
    public IReadOnlyList<long> Shape => _shape;

    /// <summary>Bytes of its numbers.</summary>
    public long Bytes { get; }

    /// <summary>The file it lies in.</summary>
    public string File { get; }

    internal nint Address { get; }

    internal string ShapeText => $"[{string.Join(", ", _shape)}]";
}
