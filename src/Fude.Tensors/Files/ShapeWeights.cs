using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Weights without numbers: what a model asks for, counted. A model made on it tells its parameters
/// from config.json alone.</summary>
/// <remarks>Every name exists. The weights have addresses of their own, but no memory: computing with them is an error of the caller that
/// nothing catches. A <see cref="PassMeter"/> computes nothing and so can take them.</remarks>
/// <param name="formatOf">The number format that a matrix of a name would have.</param>
public sealed class ShapeWeights(Func<string, NumberFormat> formatOf) : IWeightStore
{
    // Addresses beyond what any system maps: no two weights of a process overlap.
    private static long _next = 1L << 52;

    private readonly Dictionary<string, Weight> _weights = new(StringComparer.Ordinal);
    private readonly List<Weight> _inOrder = [];

    /// <summary>Weights whose matrices would all be in one format.</summary>
    /// <param name="format">The number format.</param>
    public ShapeWeights(NumberFormat format = NumberFormat.F32) : this(_ => format)
    {
    }

    /// <summary>Every tensor that was asked for, once, in the order of asking.</summary>
    public IReadOnlyList<Weight> Weights => _inOrder;

    /// <summary>Numbers in all of them.</summary>
    public long Parameters => _inOrder.Sum(weight => (long)weight.Rows * weight.Columns);

    /// <inheritdoc/>
    public bool HasNumbers => false;

    /// <inheritdoc/>
    public bool Contains(string name) => true;

    /// <inheritdoc/>
    public Weight Matrix(string name, int rows, int columns, bool transposed = false) => Note(name, formatOf(name), rows, columns);

    /// <inheritdoc/>
    public Weight Vector(string name, int length) => Note(name, NumberFormat.F32, 1, length);

    /// <summary>There is nothing to give back.</summary>
    public void Dispose()
    {
    }

    private Weight Note(string name, NumberFormat ofThis, int rows, int columns)
    {
        if (_weights.TryGetValue(name, out Weight? known))
        {
            if ((known.Rows, known.Columns) != (rows, columns))
                throw new InvalidDataException(Say(
                    $"tensor '{name}' is asked for as [{known.Rows}, {known.Columns}] and as [{rows}, {columns}].",
                    $"テンソル '{name}' が [{known.Rows}, {known.Columns}] と [{rows}, {columns}] の 2 通りの形で使われています。"));
            return known;
        }
        long bytes = (rows * ofThis.Bytes(columns) + 63) / 64 * 64;
        Weight weight = new(name, ofThis, rows, columns, (nint)(Interlocked.Add(ref _next, bytes) - bytes));
        _weights.Add(name, weight);
        _inOrder.Add(weight);
        return weight;
    }
}
