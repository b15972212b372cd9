using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Weights as <see cref="CpuOps"/> wants them: quantised matrices laid out anew for its int8 kernels, everything else as it
/// is.</summary>
/// <remarks>
/// One matrix after the other, each on all cores; the original is released at once, so that there are never two copies of more than one.
/// A matrix that is not laid out so is multiplied all the same, by way of float32 (<see cref="WidenedRows"/>): more exactly, far slower.
/// </remarks>
public sealed unsafe class CpuWeights : IWeightStore
{
    private readonly IWeightStore _weights;
    private readonly Dictionary<(string Name, bool Transposed), Weight> _matrices = [];
    private readonly List<NativeBuffer> _memory = [];
    private readonly Lock _lock = new();

    /// <summary>Owns the weights from now on.</summary>
    public CpuWeights(IWeightStore weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        _weights = weights;
    }

    /// <summary>Whether a matrix that was asked for so far is quantised.</summary>
    public bool AreQuantized { get; private set; }

    /// <inheritdoc/>
    public bool HasNumbers => _weights.HasNumbers;

    /// <inheritdoc/>
    public bool Contains(string name) => _weights.Contains(name);

    /// <inheritdoc/>
    public Weight Vector(string name, int length) => _weights.Vector(name, length);

    /// <inheritdoc/>
    public Weight Matrix(string name, int rows, int columns, bool transposed = false)
    {
        lock (_lock)
        {
            if (_matrices.TryGetValue((name, transposed), out Weight? known))
                return (known.Rows, known.Columns) == (rows, columns) ? known : throw new InvalidDataException(Say(
                    $"tensor '{name}' is asked for as [{known.Rows}, {known.Columns}] and as [{rows}, {columns}].",
                    $"テンソル '{name}' が [{known.Rows}, {known.Columns}] と [{rows}, {columns}] の 2 通りの形で使われています。"));
            Weight stored = _weights.Matrix(name, rows, columns, transposed);
            AreQuantized |= stored.Format.IsQuantized();
            if (GroupLayout.Of(stored.Format) is not { } layout || stored.Groups is not null || !HasNumbers) return stored;
            Weight matrix = Pack(stored, layout);
            _matrices.Add((name, transposed), matrix);
            _weights.Release(stored);
            return matrix;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _weights.Dispose();
        foreach (NativeBuffer buffer in _memory) buffer.Dispose();
        _memory.Clear();
        _matrices.Clear();
    }

    private Weight Pack(Weight stored, GroupLayout layout)
    {
        NativeBuffer buffer = new(layout.Bytes(stored.Rows, stored.Columns));
        _memory.Add(buffer);
        long groupBytes = layout.GroupBytes(stored.Columns), rowBytes = stored.Format.Bytes(stored.Columns);
        nint from = stored.Address, to = buffer.Address;
        (int rows, int columns) = (stored.Rows, stored.Columns);
        _ = Parallel.For(0, (rows + GroupLayout.Rows - 1) / GroupLayout.Rows, group =>
        {
            int first = group * GroupLayout.Rows;
            layout.Pack((byte*)from + (first * rowBytes), Math.Min(GroupLayout.Rows, rows - first), columns, (byte*)to + (group * groupBytes));
        });
        return new Weight(stored.Name, stored.Format, rows, columns, to, firstRow: 0);
    }
}
