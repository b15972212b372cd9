using Fude.Tensors;

namespace Fude.Training;

/// <summary>A weight that is trained.</summary>
/// <param name="Weight">Its float32 numbers, as the model uses them.</param>
/// <param name="IsVector">Whether it is the gain of a norm or a bias.</param>
/// <param name="IsTransposed">Whether checkpoints hold the transpose (GPT-2's Conv1D).</param>
public sealed record Parameter(Weight Weight, bool IsVector, bool IsTransposed)
{
    /// <summary>The name in the checkpoint.</summary>
    public string Name => Weight.Name;

    /// <summary>How many numbers.</summary>
    public long Count => (long)Weight.Rows * Weight.Columns;

    /// <summary>The numbers, to be read or set.</summary>
    public unsafe Span<float> Values => new((float*)Weight.Address, checked((int)Count));

    /// <summary>The tensor that a checkpoint holds of numbers that lie like the weight's: the weight itself, or a running mean of its gradients.</summary>
    internal NewTensor Stored(string name, nint numbers) =>
        new(name, ElementType.F32, IsVector ? [Weight.Columns] : IsTransposed ? [Weight.Columns, Weight.Rows] : [Weight.Rows, Weight.Columns],
            stream => Write(stream, numbers));

    /// <summary>Copies numbers of the same place in a checkpoint.</summary>
    internal unsafe void Restore(IWeightStore store, string name, nint numbers)
    {
        Weight stored = IsVector ? store.Vector(name, Weight.Columns) : store.Matrix(name, Weight.Rows, Weight.Columns, IsTransposed);
        for (int row = 0; row < stored.Rows; row++)
            stored.ReadRow(row, new Span<float>((float*)numbers + (nint)row * stored.Columns, stored.Columns));
    }

    private unsafe void Write(Stream stream, nint numbers)
    {
        float* source = (float*)numbers;
        if (!IsTransposed)
        {
            for (int row = 0; row < Weight.Rows; row++, source += Weight.Columns)
                stream.Write(new ReadOnlySpan<byte>(source, checked(Weight.Columns * sizeof(float))));
            return;
        }
        float[] column = new float[Weight.Rows];
        for (int i = 0; i < Weight.Columns; i++)
        {
            for (int row = 0; row < column.Length; row++) column[row] = source[(nint)row * Weight.Columns + i];
            stream.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(column));
        }
    }
}
