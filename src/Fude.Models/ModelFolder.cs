using System.Text.Json;
using Fude.Tensors;
using Fude.Tokenizers;

namespace Fude.Models;

/// <summary>A model's folder in Hugging Face's layout: config.json, weights, and where they are there a tokenizer and
/// generation_config.json.</summary>
/// <remarks>Opening it reads the configuration only; weights and tokenizer are read when they are asked for.</remarks>
public sealed class ModelFolder
{
    private static readonly string[] TokenizerFiles = ["tokenizer.json", "tokenizer.model", "vocab.json"];

    private readonly Lazy<Tokenizer> _tokenizer;

    private ModelFolder(string path, ConfigReader config, ConfigReader? generation)
    {
        Path = path;
        _tokenizer = new(() => Tokenizer.Load(path));
        ConfigJson = config.Json;
        Config = ModelConfig.Of(config);
        GenerationConfigJson = generation?.Json;
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The last part of its path: the model's name for people.</summary>
    public string Name => System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(Path)));

    /// <summary>The hyper-parameters.</summary>
    public ModelConfig Config { get; }

    /// <summary>Where they come from.</summary>
    public string ConfigPath => System.IO.Path.Combine(Path, "config.json");

    /// <summary>All of config.json.</summary>
    public JsonElement ConfigJson { get; }

    /// <summary>Where <see cref="GenerationConfigJson"/> comes from.</summary>
    public string GenerationConfigPath => System.IO.Path.Combine(Path, "generation_config.json");

    /// <summary>All of generation_config.json, or null when there is none.</summary>
    public JsonElement? GenerationConfigJson { get; }

    /// <summary>Whether weights lie in the folder.</summary>
    public bool HasWeights => Checkpoint.Exists(Path);

    /// <summary>Whether a tokenizer lies in the folder; without one, ids go in and out.</summary>
    public bool HasTokenizer => TokenizerFiles.Any(name => File.Exists(System.IO.Path.Combine(Path, name)));

    /// <summary>The folder's tokenizer, read when it is first asked for.</summary>
    /// <exception cref="FileNotFoundException">There is none.</exception>
    /// <exception cref="InvalidDataException">Its files are damaged.</exception>
    /// <exception cref="NotSupportedException">It has a component that fude does not know.</exception>
    public Tokenizer Tokenizer => _tokenizer.Value;

    /// <summary>How many ids, from 0 on, may be sampled: rows of the embedding beyond the tokenizer's entries are padding and mean
    /// nothing. All of them where there is no tokenizer.</summary>
    public int SampleableTokens => HasTokenizer ? Math.Min(Tokenizer.VocabularySize, Config.Vocabulary) : Config.Vocabulary;

    /// <summary>Opens a folder.</summary>
    /// <exception cref="IOException">There is no such folder, or it cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The files may not be read.</exception>
    /// <exception cref="InvalidDataException">It is not a model's folder, or a configuration is damaged.</exception>
    /// <exception cref="NotSupportedException">The model is of a kind that fude does not compute.</exception>
    public static ModelFolder Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (File.Exists(path))
            throw new InvalidDataException(
                $"{path} is a file{(IsGguf(path) ? " in GGUF format" : "")}; " +
                "a folder with config.json and *.safetensors or pytorch_model*.bin is expected.");
        if (!Directory.Exists(path)) throw new DirectoryNotFoundException($"{path}: there is no such folder.");
        string config = System.IO.Path.Combine(path, "config.json"), generation = System.IO.Path.Combine(path, "generation_config.json");
        if (!Reading(path, () => Directory.EnumerateFiles(path).Any(file => System.IO.Path.GetFileName(file) == "config.json")))
            throw new InvalidDataException(
                $"{path} has no config.json: it is not a model's folder in Hugging Face's layout" +
                (File.Exists(System.IO.Path.Combine(path, "adapter_config.json"))
                    ? ". It holds an adapter: give the folder of the base model, and this one as the adapter."
                    : "."));
        return new ModelFolder(path, ConfigReader.Load(config), File.Exists(generation) ? ConfigReader.Load(generation) : null);
    }

    /// <summary>Loads the weights: memory-mapped where the files allow it.</summary>
    /// <param name="adapterFolder">A PEFT adapter to apply without merging it, or null.</param>
    /// <exception cref="InvalidDataException">A tensor is missing, has another shape, or belongs to no part of the model.</exception>
    public LanguageModel LoadModel(string? adapterFolder = null) =>
        LoadModel(adapterFolder is null ? null : LoraAdapter.Open(adapterFolder), weights => weights);

    /// <summary>Loads the weights through another store that a device or an optimiser needs, which owns them from then on.</summary>
    internal LanguageModel LoadModel(LoraAdapter? adapter, Func<IWeightStore, IWeightStore> through)
    {
        Checkpoint checkpoint;
        try
        {
            checkpoint = Reading(Path, () => Checkpoint.Open(Path));
        }
        catch
        {
            adapter?.Dispose();
            throw;
        }
        LanguageModel model = LanguageModel.Create(Config, through(checkpoint), adapter);
        try
        {
            RequireAllUsed(checkpoint);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    private void RequireAllUsed(Checkpoint checkpoint)
    {
        string[] unknown = [.. checkpoint.Unused.Where(name => !MayBeIgnored(name, Config))];
        if (unknown.Length == 0) return;
        throw new InvalidDataException(
            $"{checkpoint.Tensors[unknown[0]].File}: tensor '{unknown[0]}' [{string.Join(", ", checkpoint.Tensors[unknown[0]].Shape)}]" +
            $"{(unknown.Length > 1 ? $" and {unknown.Length - 1} more" : "")} belong{(unknown.Length > 1 ? "" : "s")} to no part of the " +
            $"{Config.ModelType} model that {ConfigPath} describes. The weights and config.json are not of one model, or it lacks a key.");
    }

    /// <summary>Tensors that older versions of transformers stored although they follow from the configuration, and a tied head.</summary>
    internal static bool MayBeIgnored(string name, ModelConfig config) =>
        name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal)
        || (config is Gpt2Config && (name.EndsWith(".attn.bias", StringComparison.Ordinal)
            || name.EndsWith(".attn.masked_bias", StringComparison.Ordinal)))
        || (config.TiedHead && name == "lm_head.weight");

    /// <summary>Runs something that reads a file or a folder; says plainly when that is not allowed.</summary>
    internal static T Reading<T>(string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (UnauthorizedAccessException e)
        {
            throw new UnauthorizedAccessException($"{path} may not be read: permission denied.", e);
        }
    }

    private static bool IsGguf(string file)
    {
        using FileStream stream = Reading(file, () => File.OpenRead(file));
        Span<byte> magic = stackalloc byte[4];
        return stream.ReadAtLeast(magic, 4, throwOnEndOfStream: false) == 4 && magic.SequenceEqual("GGUF"u8);
    }
}
