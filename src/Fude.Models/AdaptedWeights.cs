using Fude.Tensors;

namespace Fude.Models;

/// <summary>The weights of a model with those of a low-rank adapter beside them.</summary>
internal sealed class AdaptedWeights(IWeightStore weights, LoraAdapter adapter) : IWeightStore
{
    public LoraAdapter Adapter => adapter;

    public bool HasNumbers => weights.HasNumbers;

    public bool Contains(string name) => weights.Contains(name);

    public Weight Matrix(string name, int rows, int columns, bool transposed = false) => weights.Matrix(name, rows, columns, transposed);

    public Weight Vector(string name, int length) => weights.Vector(name, length);

    public void Dispose()
    {
        weights.Dispose();
        adapter.Dispose();
    }
}
