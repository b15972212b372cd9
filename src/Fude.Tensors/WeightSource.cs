namespace Fude.Tensors;

/// <summary>Where the weights of a model come from and who owns their memory: checkpoint files, random numbers, or shapes alone.</summary>
public interface IWeightStore : IDisposable
{
    /// <summary>Whether there are numbers behind the weights' addresses; a store of shapes alone has none.</summary>
    bool HasNumbers => true;

    /// <summary>Whether there is a tensor of that name.</summary>
    bool Contains(string name);

    /// <summary>A matrix in the format it is stored in, memory-mapped where the files allow it.</summary>
    /// <param name="name">The full name.</param>
    /// <param name="rows">Expected rows.</param>
    /// <param name="columns">Expected columns.</param>
    /// <param name="transposed">The file holds [columns, rows] (GPT-2's Conv1D); the weight is its transpose.</param>
    /// <exception cref="InvalidDataException">It is missing or has another shape or an unknown number type.</exception>
    Weight Matrix(string name, int rows, int columns, bool transposed = false);

    /// <summary>A vector, as float32 whatever the file holds.</summary>
    /// <exception cref="InvalidDataException">It is missing or has another length or an unknown number type.</exception>
    Weight Vector(string name, int length);

    /// <summary>Says that a matrix has been copied and will not be read again, so that its memory can serve something else.</summary>
    /// <param name="matrix">From <see cref="Matrix"/>, whole. Asking for it anew gives it back, read or made again.</param>
    void Release(Weight matrix)
    {
    }
}

/// <summary>The weights whose names begin with a prefix: what one block of a model sees.</summary>
public sealed class WeightSource(IWeightStore store, string prefix = "")
{
    /// <summary>The names' common beginning, with its final dot; empty at the root.</summary>
    public string Prefix => prefix;

    /// <summary>Where the weights come from.</summary>
    public IWeightStore Store => store;

    /// <summary>The same weights seen from one module further in.</summary>
    public WeightSource Under(string module) => new(store, $"{prefix}{module}.");

    /// <summary>Whether there is a tensor of that name.</summary>
    public bool Contains(string name) => store.Contains(prefix + name);

    /// <summary>[rows, columns] in the format it is stored in.</summary>
    public Weight Matrix(string name, int rows, int columns, bool transposed = false) =>
        store.Matrix(prefix + name, rows, columns, transposed);

    /// <summary>[length], as float32.</summary>
    public Weight Vector(string name, int length) => store.Vector(prefix + name, length);
}
