using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>Weights that are quantised when they are asked for: one tensor after the other, each on all cores.</summary>
/// <remarks>The files are opened anew for every matrix, so that beside the result there are copies of one at most.</remarks>
internal sealed unsafe class QuantizedWeights : IWeightStore
{
    private readonly IWeightStore _weights;
    private readonly Func<IWeightStore> _open;
    private readonly ModelConfig _config;
    private readonly QuantizationMix _mix;
    private readonly IProgress<double>? _progress;
    private readonly Dictionary<string, GgufEntry> _entries;
    private readonly Dictionary<string, Weight> _made = new(StringComparer.Ordinal);
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private readonly List<NativeBuffer> _memory = [];
    private readonly Lock _lock = new();

    /// <summary>Owns the weights from now on.</summary>
    /// <param name="weights">What vectors are taken from.</param>
    /// <param name="open">Opens the same weights again.</param>
    /// <param name="config">The model they belong to.</param>
    /// <param name="mix">The number formats.</param>
    /// <param name="progress">Hears what part of the matrices is done, from 0 to 1.</param>
    public QuantizedWeights(
        IWeightStore weights, Func<IWeightStore> open, ModelConfig config, QuantizationMix mix, IProgress<double>? progress)
    {
        (_weights, _open, _config, _mix, _progress) = (weights, open, config, mix, progress);
        _entries = new(StringComparer.Ordinal);
        // A tied head is listed a second time; the first is the embedding.
        foreach (GgufEntry entry in GgufNames.Of(config).Where(entry => !entry.IsVector)) _ = _entries.TryAdd(entry.Name, entry);
    }

    /// <summary>The matrices that were asked for.</summary>
    public IReadOnlyCollection<string> Asked => _asked;

    public bool Contains(string name) => _weights.Contains(name);

    public Weight Vector(string name, int length) => _weights.Vector(name, length);

    public Weight Matrix(string name, int rows, int columns, bool transposed = false)
    {
        lock (_lock)
        {
            if (_made.TryGetValue(name, out Weight? known)) return known;
            if (!_entries.TryGetValue(name, out GgufEntry entry) && !_entries.TryGetValue(GgufNames.WithoutPrefix(name), out entry))
                throw new InvalidOperationException($"The model asks for '{name}', which fude does not know as a matrix of its family.");
            using IWeightStore files = _open();
            Weight stored = files.Matrix(name, rows, columns, transposed);
            Weight made = Convert(stored, _mix.FormatOf(_config, entry, hasImportance: false));
            _made.Add(name, made);
            _asked.Add(name);
            _progress?.Report(_asked.Count / (double)_entries.Count);
            return made;
        }
    }

    public void Release(Weight matrix)
    {
        lock (_lock)
        {
            int index = _memory.FindIndex(buffer => buffer.Address == matrix.Address);
            if (index < 0) return;
            foreach (string name in _made.Where(made => made.Value.Address == matrix.Address).Select(made => made.Key).ToArray())
                _made.Remove(name);
            _memory[index].Dispose();
            _memory.RemoveAt(index);
        }
    }

    private Weight Convert(Weight stored, NumberFormat format)
    {
        long rowBytes = format.Bytes(stored.Columns);
        NativeBuffer buffer = new(checked(rowBytes * stored.Rows));
        _memory.Add(buffer);
        nint address = buffer.Address;
        try
        {
            _ = Parallel.For(0, stored.Rows, () => new float[stored.Columns], (row, _, numbers) =>
            {
                stored.ConvertRow(row, format, new Span<byte>((byte*)address + (row * rowBytes), (int)rowBytes), numbers);
                return numbers;
            }, _ => { });
        }
        catch (AggregateException failures) when (failures.InnerException is InvalidDataException inner)
        {
            throw new InvalidDataException(
                Say($"tensor '{stored.Name}': {inner.Message}", $"テンソル '{stored.Name}': {inner.Message}"), inner);
        }
        return new Weight(stored.Name, format, stored.Rows, stored.Columns, address);
    }

    public void Dispose()
    {
        _weights.Dispose();
        foreach (NativeBuffer buffer in _memory) buffer.Dispose();
        _memory.Clear();
    }
}
