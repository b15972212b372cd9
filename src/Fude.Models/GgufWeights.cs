using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>The weights of a GGUF file under the names and in the order that the families know.</summary>
/// <remarks>Matrices are views of the mapped file, but for the queries and keys of the architecture "llama", whose rows are put back into
/// order in a copy.</remarks>
internal sealed unsafe class GgufWeights : IWeightStore
{
    private readonly Gguf _file;
    private readonly Dictionary<string, GgufEntry> _entries;
    private readonly Dictionary<string, Weight> _weights = new(StringComparer.Ordinal);
    private readonly List<NativeBuffer> _memory = [];
    private readonly Lock _lock = new();

    /// <summary>Owns the file from now on.</summary>
    public GgufWeights(Gguf file, ModelConfig config)
    {
        _file = file;
        _entries = new(StringComparer.Ordinal);
        // A tied head is listed a second time; the first is the embedding.
        foreach (GgufEntry entry in GgufNames.Of(config)) _ = _entries.TryAdd(entry.Name, entry);
    }

    public bool Contains(string name) => _entries.TryGetValue(name, out GgufEntry entry) && _file.Contains(entry.Gguf);

    public Weight Matrix(string name, int rows, int columns, bool transposed = false)
    {
        GgufEntry entry = Find(name);
        Weight stored = _file.Matrix(entry.Gguf, rows, columns);
        return entry.RotatedHeads == 0 ? Named(entry, stored) : InOrder(entry, stored);
    }

    public Weight Vector(string name, int length)
    {
        GgufEntry entry = Find(name);
        Weight stored = _file.Vector(entry.Gguf, length);
        return entry.RotatedHeads == 0 ? Named(entry, stored) : InOrder(entry, stored);
    }

    public void Release(Weight matrix)
    {
        lock (_lock)
        {
            int index = _memory.FindIndex(buffer => buffer.Address == matrix.Address);
            if (index < 0)
            {
                _file.Release(matrix);
                return;
            }
            _weights.Remove(matrix.Name);
            _memory[index].Dispose();
            _memory.RemoveAt(index);
        }
    }

    public void Dispose()
    {
        _file.Dispose();
        foreach (NativeBuffer buffer in _memory) buffer.Dispose();
        _memory.Clear();
    }

    private GgufEntry Find(string name) => _entries.TryGetValue(name, out GgufEntry entry)
        ? entry
        : throw new InvalidDataException(Say(
            $"{_file.Path}: the model needs '{name}', which GGUF files of its architecture do not have.",
            $"{_file.Path}: モデルに必要な '{name}' は、このアーキテクチャーの GGUF ファイルにはありません。"));

    // Whoever asks a weight for its name, calibration above all, goes by the names that the families know.
    private Weight Named(GgufEntry entry, Weight stored)
    {
        lock (_lock)
        {
            if (_weights.TryGetValue(entry.Name, out Weight? known)) return known;
            Weight weight = new(entry.Name, stored.Format, stored.Rows, stored.Columns, stored.Address);
            _weights.Add(entry.Name, weight);
            return weight;
        }
    }

    private Weight InOrder(GgufEntry entry, Weight stored)
    {
        lock (_lock)
        {
            if (_weights.TryGetValue(entry.Name, out Weight? known)) return known;
            int rows = entry.IsVector ? entry.Columns : entry.Rows;
            long rowBytes = stored.Bytes / rows;
            NativeBuffer buffer = new(stored.Bytes);
            _memory.Add(buffer);
            nint from = stored.Address, to = buffer.Address;
            _ = Parallel.For(0, rows, row => Buffer.MemoryCopy(
                (byte*)from + (entry.RowInFile(row) * rowBytes), (byte*)to + (row * rowBytes), rowBytes, rowBytes));
            _file.Release(stored);
            Weight weight = new(entry.Name, stored.Format, stored.Rows, stored.Columns, buffer.Address);
            _weights.Add(entry.Name, weight);
            return weight;
        }
    }
}
