using Fude.Tensors;
using static Fude.Tokenizers.Wording;

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
    internal NewTensor Stored(string name, nint numbers, NumberFormat format = NumberFormat.F32) =>
        new(name,
            format switch { NumberFormat.BF16 => ElementType.BF16, NumberFormat.F16 => ElementType.F16, _ => ElementType.F32 },
            IsVector ? [Weight.Columns] : IsTransposed ? [Weight.Columns, Weight.Rows] : [Weight.Rows, Weight.Columns],
            stream => Write(stream, numbers, format));

    /// <summary>Copies numbers of the same place in a checkpoint.</summary>
    internal unsafe void Restore(IWeightStore store, string name, nint numbers)
    {
        Weight stored = IsVector ? store.Vector(name, Weight.Columns) : store.Matrix(name, Weight.Rows, Weight.Columns, IsTransposed);
        for (int row = 0; row < stored.Rows; row++)
            stored.ReadRow(row, new Span<float>((float*)numbers + (nint)row * stored.Columns, stored.Columns));
    }

    private unsafe void Write(Stream stream, nint numbers, NumberFormat format)
    {
        float* source = (float*)numbers;
        (int rows, int columns) = IsTransposed ? (Weight.Columns, Weight.Rows) : (Weight.Rows, Weight.Columns);
        float[] row = new float[columns];
        byte[] bytes = new byte[checked((int)format.Bytes(columns))];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++) row[j] = IsTransposed ? source[(nint)j * rows + i] : source[(nint)i * columns + j];
            // An infinity would be found when the model is used, long after the run.
            if (format == NumberFormat.F16 && Array.Find(row, number => float.IsFinite(number) && !Half.IsFinite((Half)number)) is not 0f and var number)
                throw new InvalidDataException(Say(
                    $"{Name} holds {number}, which F16 cannot. The same command with --save-format bf16 or f32 writes the model.",
                    $"{Name} に F16 では表せない {number} があります。同じコマンドに --save-format bf16 か f32 を付けると、モデルを書き出せます。"));
            format.Narrow(row, bytes);
            stream.Write(bytes);
        }
    }
}
