using Fude.Tensors;

namespace Fude.Models;

/// <summary>A model in a GGUF file: its configuration at once, its weights when they are asked for.</summary>
public sealed class GgufModel
{
    private GgufModel(string path, ModelConfig config) => (Path, Config) = (path, config);

    /// <summary>The file, or one of several.</summary>
    public string Path { get; }

    /// <summary>The hyper-parameters.</summary>
    public ModelConfig Config { get; }

    /// <summary>Reads the header of a file.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">It is damaged, or holds no model.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that fude does not read or compute.</exception>
    public static GgufModel Open(string path)
    {
        using Gguf file = Gguf.Open(path);
        return new GgufModel(path, GgufConfig.Read(file));
    }

    /// <summary>The weights under the names of Hugging Face's checkpoints, memory-mapped.</summary>
    public IWeightStore OpenWeights() => new GgufWeights(Gguf.Open(Path), Config);

    /// <summary>Loads the weights.</summary>
    /// <param name="adapterFolder">A PEFT adapter to apply without merging it, or null.</param>
    /// <exception cref="InvalidDataException">A tensor is missing, has another shape, or belongs to no part of the model.</exception>
    public LanguageModel LoadModel(string? adapterFolder = null)
    {
        LoraAdapter? adapter = adapterFolder is null ? null : LoraAdapter.Open(adapterFolder);
        Gguf file;
        try
        {
            file = Gguf.Open(Path);
        }
        catch
        {
            adapter?.Dispose();
            throw;
        }
        LanguageModel model = LanguageModel.Create(Config, new GgufWeights(file, Config), adapter);
        string[] unknown = [.. file.Unused.Where(name => !MayBeIgnored(name))];
        if (unknown.Length == 0) return model;
        model.Dispose();
        string others = unknown.Length > 1 ? $" and {unknown.Length - 1} more belong" : " belongs";
        throw new InvalidDataException(
            $"{Path}: tensor '{unknown[0]}'{others} to no part of the {Config.ModelType} model that the metadata describes. " +
            "fude does not compute this variant.");
    }

    // What follows from the metadata.
    private static bool MayBeIgnored(string name) =>
        name == "rope_freqs.weight" || name.EndsWith(".attn_rot_embd", StringComparison.Ordinal)
        || name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal);
}
