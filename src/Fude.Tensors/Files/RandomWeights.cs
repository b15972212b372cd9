using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Random weights of any shape in memory: a model to measure speed with, of which only config.json is needed.</summary>
/// <remarks>
/// Matrices are uniform with standard deviation 0.02, the initializer_range of the families here, so that activations stay finite;
/// gains are 1 and biases 0. The numbers depend on seed, name and format alone, not on the number of cores. Every name exists.
/// Quantising takes long: matrices in such formats are put together from a few quantised pieces.
/// </remarks>
public sealed unsafe class RandomWeights : IWeightStore
{
    private const int Chunk = 1 << 16, Piece = 1 << 10, Patterns = 16;
    private const float Bound = 0.034641016f;       // 0.02·√3: a uniform number in ±Bound has standard deviation 0.02
    private readonly NumberFormat _format;
    private readonly ulong _seed;
    private readonly Dictionary<string, Weight> _weights = new(StringComparer.Ordinal);
    private readonly List<NativeBuffer> _memory = [];
    private readonly Lock _lock = new();
    private Weight? _patterns;

    /// <summary>Weights that are made when they are asked for.</summary>
    /// <param name="format">The number format of the matrices.</param>
    /// <param name="seed">Another seed gives other numbers.</param>
    /// <exception cref="NotSupportedException">fude only reads that format.</exception>
    public RandomWeights(NumberFormat format, ulong seed = 0)
    {
        if (!format.CanNarrow())
        {
            IEnumerable<NumberFormat> made = Enum.GetValues<NumberFormat>().Where(other => other.CanNarrow());
            throw new NotSupportedException(Say(
                $"fude reads {format} but does not make it; random weights can be of the formats that it makes: {string.Join(", ", made)}.",
                $"fude は {format} を読めますが、作れません。乱数の重みに使えるのは fude が作れる形式です: {string.Join("、", made)}。"));
        }
        (_format, _seed) = (format, seed);
    }

    /// <inheritdoc/>
    public bool Contains(string name) => true;

    /// <inheritdoc/>
    public Weight Matrix(string name, int rows, int columns, bool transposed = false)
    {
        lock (_lock)
        {
            if (Known(name, rows, columns) is Weight known) return known;
            Weight matrix = Allocate(name, _format, rows, columns);
            if (_format.IsQuantized()) FillFromPatterns(matrix);
            else Fill(matrix);
            return matrix;
        }
    }

    /// <inheritdoc/>
    public Weight Vector(string name, int length)
    {
        lock (_lock)
        {
            if (Known(name, 1, length) is Weight known) return known;
            Weight vector = Allocate(name, NumberFormat.F32, 1, length);
            vector.Floats().Fill(name.EndsWith("bias", StringComparison.Ordinal) ? 0 : 1);
            return vector;
        }
    }

    /// <inheritdoc/>
    public void Release(Weight matrix)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        lock (_lock)
        {
            int index = _memory.FindIndex(buffer => buffer.Address == matrix.Address);
            if (index < 0 || matrix == _patterns) return;
            _weights.Remove(matrix.Name);
            _memory[index].Dispose();
            _memory.RemoveAt(index);
        }
    }

    /// <summary>Frees all weights.</summary>
    public void Dispose()
    {
        foreach (NativeBuffer buffer in _memory) buffer.Dispose();
        _memory.Clear();
        _weights.Clear();
    }

    private Weight? Known(string name, int rows, int columns)
    {
        if (!_weights.TryGetValue(name, out Weight? known)) return null;
        return (known.Rows, known.Columns) == (rows, columns) ? known : throw new InvalidDataException(Say(
            $"tensor '{name}' is asked for as [{known.Rows}, {known.Columns}] and as [{rows}, {columns}].",
            $"テンソル '{name}' が [{known.Rows}, {known.Columns}] と [{rows}, {columns}] の 2 通りの形で使われています。"));
    }

    private Weight Allocate(string name, NumberFormat numberFormat, int rows, int columns)
    {
        NativeBuffer buffer = new(checked(rows * numberFormat.Bytes(columns)));
        _memory.Add(buffer);
        Weight weight = new(name, numberFormat, rows, columns, buffer.Address);
        _weights.Add(name, weight);
        return weight;
    }

    // Whole chunks have generators of their own, so that any core may fill any of them.
    private void Fill(Weight weight)
    {
        ulong named = Hash(weight.Name);
        long count = (long)weight.Rows * weight.Columns;
        _ = Parallel.For(0, (count + Chunk - 1) / Chunk,
            chunk => FillChunk(weight, named, chunk, Math.Min(Chunk, count - (chunk * Chunk))));
    }

    private void FillFromPatterns(Weight weight)
    {
        if (_patterns is null) Fill(_patterns = Allocate("", _format, Patterns, Chunk));
        long chunkBytes = _format.Bytes(Chunk);
        Weight patterns = _patterns;
        ulong named = Hash(weight.Name);
        _ = Parallel.For(0, (weight.Bytes + chunkBytes - 1) / chunkBytes, chunk =>
        {
            ulong state = named ^ (ulong)chunk;
            byte* pattern = (byte*)patterns.Address + ((long)(Seed(ref state) >> 60) * chunkBytes);
            long first = chunk * chunkBytes, bytes = Math.Min(chunkBytes, weight.Bytes - first);
            Buffer.MemoryCopy(pattern, (byte*)weight.Address + first, bytes, bytes);
        });
    }

    private ulong Hash(string name)
    {
        ulong hash = _seed;
        foreach (char c in name) hash = (hash ^ c) * 0x100000001B3;        // FNV-1a: string.GetHashCode differs from run to run
        return hash;
    }

    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FillChunk(Weight weight, ulong named, long chunk, long count)
    {
        ulong state = named ^ ((ulong)chunk * 0xD1342543DE82EF95);
        Vector256<uint> lanes = Vector256.Create(Seed(ref state), Seed(ref state), Seed(ref state), Seed(ref state)).AsUInt32();
        float* numbers = stackalloc float[Piece];
        byte* target = (byte*)weight.Address + weight.Format.Bytes(chunk * Chunk);
        for (long first = 0; first < count; first += Piece)
        {
            for (int i = 0; i < Piece; i += Vector256<float>.Count)
            {
                // Marsaglia, "Xorshift RNGs", 2003: eight generators side by side.
                lanes ^= lanes << 13;
                lanes ^= lanes >>> 17;
                lanes ^= lanes << 5;
                (Vector256.ConvertToSingle(lanes.AsInt32()) * (Bound / 2147483648f)).Store(numbers + i);
            }
            int length = (int)Math.Min(Piece, count - first);
            Span<byte> piece = new(target + weight.Format.Bytes(first), (int)weight.Format.Bytes(length));
            weight.Format.Narrow(new ReadOnlySpan<float>(numbers, length), piece);
        }
    }

    // SplitMix64 (Steele, Lea and Flood, 2014); the lowest bits keep both halves from being 0, where xorshift would stay.
    private static ulong Seed(ref ulong state)
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return (z ^ (z >> 31)) | 0x0000000100000001;
    }
}
