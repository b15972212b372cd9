using Fude.Models;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>How the numbers of a model that begins from nothing are drawn.</summary>
/// <param name="Seed">Another seed gives another model.</param>
/// <param name="Deviation">Standard deviation of matrices, initializer_range: 0.02 in the families here.</param>
/// <param name="ResidualScale">What the deviation of the matrices that end in the residual stream is multiplied by: 1/√(2·layers) in
/// GPT-2 (Radford et al., 2019), 1 in transformers' Llama.</param>
public sealed record InitialNumbers(ulong Seed, float Deviation = InitialNumbers.DefaultDeviation, float ResidualScale = 1)
{
    private const float DefaultDeviation = 0.02f;

    /// <summary>The deviation that a config.json asks for, its initializer_range; 0.02 where it says nothing.</summary>
    /// <param name="config">Its text.</param>
    /// <param name="file">Its name, for messages.</param>
    /// <exception cref="InvalidDataException">It is no number above 0.</exception>
    public static float DeviationOf(ReadOnlyMemory<byte> config, string file) => ConfigReader.Parse(config, file) is var reader && reader.Has("initializer_range")
        ? (float)reader.Number("initializer_range", above: 0, max: 1e3) : DefaultDeviation;
}

/// <summary>Weights in float32 that can be changed: copies of another store's, or new ones.</summary>
/// <remarks>New matrices are normal, gains 1, biases 0; of low-rank adapters A is uniform in ±1/√in and B is 0 (as PEFT begins them). A number
/// depends on seed, name and place alone.</remarks>
internal sealed unsafe class TrainableWeights : IWeightStore
{
    private readonly IWeightStore? _source;
    private readonly InitialNumbers _initial;
    private readonly Dictionary<string, Parameter> _byName = new(StringComparer.Ordinal);
    private readonly List<Parameter> _parameters = [];
    private readonly List<NativeBuffer> _memory = [];

    /// <summary>Copies of a store's weights, which is owned from now on.</summary>
    public TrainableWeights(IWeightStore source) => (_source, _initial) = (source, new InitialNumbers(0));

    /// <summary>New weights.</summary>
    public TrainableWeights(InitialNumbers initial) => _initial = initial;

    /// <summary>Every weight that was asked for, once, in the order of asking.</summary>
    public IReadOnlyList<Parameter> Parameters => _parameters;

    // GPT-2 asks which of two names its embedding has; a new model has the longer one, as transformers writes it.
    public bool Contains(string name) => _source?.Contains(name) ?? name != "wte.weight";

    public Weight Matrix(string name, int rows, int columns, bool transposed = false) => Find(name, rows, columns, isVector: false, transposed);

    public Weight Vector(string name, int length) => Find(name, 1, length, isVector: true, transposed: false);

    public void Dispose()
    {
        foreach (NativeBuffer buffer in _memory) buffer.Dispose();
        _memory.Clear();
        _source?.Dispose();
    }

    private Weight Find(string name, int rows, int columns, bool isVector, bool transposed)
    {
        if (_byName.TryGetValue(name, out Parameter? known))
            return (known.Weight.Rows, known.Weight.Columns) == (rows, columns) ? known.Weight : throw new InvalidDataException(Say(
                $"tensor '{name}' is asked for as [{known.Weight.Rows}, {known.Weight.Columns}] and as [{rows}, {columns}].",
                $"テンソル '{name}' が [{known.Weight.Rows}, {known.Weight.Columns}] と [{rows}, {columns}] の両方で求められています。"));
        // What the source says of a wrong shape comes before the memory.
        if (_source is not null) _ = isVector ? _source.Vector(name, columns) : _source.Matrix(name, rows, columns, transposed);
        NativeBuffer buffer = new(checked((long)rows * columns * sizeof(float)));
        _memory.Add(buffer);
        Parameter parameter = new(new Weight(name, NumberFormat.F32, rows, columns, buffer.Address), isVector, transposed);
        if (_source is not null) parameter.Restore(_source, name, buffer.Address);
        else Draw(parameter);
        _byName.Add(name, parameter);
        _parameters.Add(parameter);
        return parameter.Weight;
    }

    private void Draw(Parameter parameter)
    {
        string name = parameter.Name;
        float* numbers = (float*)parameter.Weight.Address;
        long count = parameter.Count;
        ulong state = _initial.Seed;
        foreach (char c in name) state = (state ^ c) * 0x100000001B3;      // FNV-1a: string.GetHashCode differs from run to run
        if (parameter.IsVector || name.Contains(".lora_B.", StringComparison.Ordinal))
        {
            float value = parameter.IsVector && !name.EndsWith("bias", StringComparison.Ordinal) ? 1 : 0;
            for (long i = 0; i < count; i++) numbers[i] = value;
        }
        else if (name.Contains(".lora_A.", StringComparison.Ordinal))
        {
            // torch's kaiming_uniform_ with a = √5.
            float bound = 1 / MathF.Sqrt(parameter.Weight.Columns);
            for (long i = 0; i < count; i++) numbers[i] = ((long)(Next(ref state) >> 40) - (1 << 23)) * (bound / (1 << 23));
        }
        else
        {
            bool endsInStream = name.EndsWith("o_proj.weight", StringComparison.Ordinal)
                || name.EndsWith("down_proj.weight", StringComparison.Ordinal) || name.EndsWith("c_proj.weight", StringComparison.Ordinal);
            float deviation = _initial.Deviation * (endsInStream ? _initial.ResidualScale : 1);
            for (long i = 0; i < count; i++) numbers[i] = Normal(ref state) * deviation;
        }
    }

    // The sum of twelve uniform numbers has variance 1 and is normal but beyond 6 deviations: integers alone, the same on every machine.
    private static float Normal(ref ulong state)
    {
        long sum = 0;
        for (int i = 0; i < 3; i++)
        {
            ulong bits = Next(ref state);
            sum += (long)((bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48));
        }
        return (sum - 6 * 65535) / 65536f;
    }

    /// <summary>SplitMix64 (Steele, Lea and Flood, 2014).</summary>
    internal static ulong Next(ref ulong state)
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
