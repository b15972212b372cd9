using System.Globalization;
using Fude.Tensors;

namespace Fude.Models;

/// <summary>What can be said of a model without its weights: its size in every number format, and whether it fits a machine.</summary>
public sealed record ModelSummary
{
    private readonly ShapeWeights _weights;

    private ModelSummary(ModelConfig config, ShapeWeights weights) => (Config, _weights) = (config, weights);

    /// <summary>The hyper-parameters.</summary>
    public ModelConfig Config { get; }

    /// <summary>The name of its class in transformers.</summary>
    public string Architecture => Config switch
    {
        LlamaConfig => "LlamaForCausalLM",
        MistralConfig => "MistralForCausalLM",
        StableLmConfig => "StableLmForCausalLM",
        Gpt2Config => "GPT2LMHeadModel",
        _ => Config.ModelType,
    };

    /// <summary>Numbers in all weights; a tied head counts once.</summary>
    public long Parameters => _weights.Parameters;

    /// <summary>Numbers in the weights that every token is multiplied by: all matrices but those that only rows are taken of.</summary>
    public long ProductParameters => _weights.Weights.Where(IsMultiplied).Sum(weight => (long)weight.Rows * weight.Columns);

    /// <summary>Every weight with its shape, in the order the model asks for them.</summary>
    public IReadOnlyList<Weight> Weights => _weights.Weights;

    /// <summary>Bytes that the keys and values of one token take in memory, all blocks together, as float32.</summary>
    public long KeyValueBytesPerToken => Config.CacheBytes(NumberFormat.F32, tokens: 1);

    /// <summary>Works out the shapes of the model that a configuration describes.</summary>
    public static ModelSummary Of(ModelConfig config)
    {
        ShapeWeights shapes = new();
        using LanguageModel model = LanguageModel.Create(config, shapes);
        return new ModelSummary(config, shapes);
    }

    /// <summary>Bytes of all weights when the matrices are in a number format; vectors are float32.</summary>
    public long BytesIn(NumberFormat format) =>
        _weights.Weights.Sum(weight => weight.Rows * (weight.Rows == 1 ? NumberFormat.F32 : format).Bytes(weight.Columns));

    /// <summary>Bytes of all weights in a GGUF file of these formats.</summary>
    public long BytesIn(QuantizationMix mix) =>
        GgufNames.Of(Config).Sum(entry => entry.Rows * mix.FormatOf(Config, entry, hasImportance: false).Bytes(entry.Columns));

    /// <summary>Whether the weights and the keys and values of so many tokens fit into so much memory; the latter are F16 beside quantised
    /// weights, as <see cref="LanguageModel.KvCacheFormat"/> is at first.</summary>
    public bool Fits(NumberFormat format, int tokens, long memoryBytes) =>
        Fits(BytesIn(format), format.IsQuantized(), tokens, memoryBytes);

    /// <summary>The same of weights whose bytes are known.</summary>
    /// <param name="weightBytes">Bytes of all weights.</param>
    /// <param name="isQuantized">Whether they are quantised.</param>
    /// <param name="tokens">Tokens whose keys and values are kept.</param>
    /// <param name="memoryBytes">The memory.</param>
    public bool Fits(long weightBytes, bool isQuantized, int tokens, long memoryBytes) =>
        weightBytes + Config.CacheBytes(isQuantized ? NumberFormat.F16 : NumberFormat.F32, tokens) <= memoryBytes;

    /// <summary>Whether every token is multiplied by a weight of the model: a matrix, and none that only rows are taken of, as the embedding is unless
    /// it is the head too.</summary>
    public bool IsMultiplied(Weight weight)
    {
        ArgumentNullException.ThrowIfNull(weight);
        return weight.Rows > 1 && (Config.TiedHead || !IsWordTable(weight)) && !weight.Name.EndsWith("wpe.weight", StringComparison.Ordinal);
    }

    private static bool IsWordTable(Weight weight) =>
        weight.Name.EndsWith("embed_tokens.weight", StringComparison.Ordinal) || weight.Name.EndsWith("wte.weight", StringComparison.Ordinal);

    /// <summary>Memory that this machine could give to a model now.</summary>
    /// <remarks>On Linux what the kernel estimates to be available without swapping, bounded by the limit the process runs under; elsewhere
    /// the runtime's idea of the machine's memory less what is in use.</remarks>
    public static long AvailableMemoryBytes()
    {
        GCMemoryInfo runtime = GC.GetGCMemoryInfo();
        long available = Math.Max(0, runtime.TotalAvailableMemoryBytes - runtime.MemoryLoadBytes);
        const string Linux = "/proc/meminfo", Key = "MemAvailable:";
        if (!File.Exists(Linux)) return available;
        foreach (string line in File.ReadLines(Linux))
        {
            if (!line.StartsWith(Key, StringComparison.Ordinal)) continue;
            ReadOnlySpan<char> number = line.AsSpan(Key.Length).Trim().TrimEnd("kB").Trim();
            if (long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out long kibibytes))
                return Math.Min(kibibytes * 1024, runtime.TotalAvailableMemoryBytes);
        }
        return available;
    }
}
