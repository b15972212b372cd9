namespace Fude.Tensors;

/// <summary>Weights without numbers: what a model asks for, counted. A model made on it tells its parameters
/// from config.json alone.</summary>
/// <remarks>Every name exists. The weights have no memory: computing with them is an error of the caller that nothing catches.</remarks>
/// <param name="format">The number format that the model's matrices would have.</param>
public sealed class ShapeWeights(NumberFormat format = NumberFormat.F32) : IWeightStore
{
    private readonly Dictionary<string, Weight> _weights = new(StringComparer.Ordinal);
    private readonly List<Weight> _inOrder = [];

    /// <summary>Every tensor that was asked for, once, in the order of asking.</summary>
    public IReadOnlyList<Weight> Weights => _inOrder;

    /// <summary>Numbers in all of them.</summary>
    public long Parameters => _inOrder.Sum(weight => (long)weight.Rows * weight.Columns);

    /// <inheritdoc/>
    public bool Contains(string name) => true;

    /// <inheritdoc/>
    public Weight Matrix(string name, int rows, int columns, bool transposed = false) => Note(new Weight(name, format, rows, columns, 0));

    /// <inheritdoc/>
    public Weight Vector(string name, int length) => Note(new Weight(name, NumberFormat.F32, 1, length, 0));

    /// <summary>There is nothing to give back.</summary>
    public void Dispose()
    {
    }

    private Weight Note(Weight weight)
    {
        if (_weights.TryGetValue(weight.Name, out Weight? known))
        {
            if ((known.Rows, known.Columns) != (weight.Rows, weight.Columns))
                throw new InvalidDataException(
                    $"tensor '{weight.Name}' is asked for as [{known.Rows}, {known.Columns}] and as [{weight.Rows}, {weight.Columns}].");
            return known;
        }
        _weights.Add(weight.Name, weight);
        _inOrder.Add(weight);
        return weight;
    }
}
