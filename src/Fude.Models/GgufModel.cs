using System.Text.Json;
using Fude.Tensors;
using Fude.Tokenizers;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>A model in a GGUF file: its configuration and tokenizer at once, its weights when they are asked for.</summary>
public sealed class GgufModel
{
    internal const string TemplateKey = "tokenizer.chat_template", FormatKey = "fude.prompt_format", SystemKey = "fude.prompt_format.system";

    private readonly Lazy<Tokenizer?> _tokenizer;

    private GgufModel(string path, ConfigReader config, Lazy<Tokenizer?> tokenizer, IReadOnlyDictionary<string, object> metadata)
    {
        (Path, Config, ConfigJson, _tokenizer) = (path, ModelConfig.Of(config), config.Json, tokenizer);
        (ChatTemplate, PromptFormat, PromptSystem) = (Text(TemplateKey), Text(FormatKey), Text(SystemKey));
        GenerationConfigJson = GgufSampling.Read(metadata, Config, path);

        string? Text(string key) => metadata.GetValueOrDefault(key) as string;
    }

    /// <summary>The file, or one of several.</summary>
    public string Path { get; }

    /// <summary>The hyper-parameters.</summary>
    public ModelConfig Config { get; }

    /// <summary>The tokenizer; null where the file has none.</summary>
    /// <exception cref="InvalidDataException">The metadata contradicts itself.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that fude does not have.</exception>
    public Tokenizer? Tokenizer => _tokenizer.Value;

    /// <summary>The hyper-parameters in the words of config.json.</summary>
    internal JsonElement ConfigJson { get; }

    /// <summary>How it is best sampled, in the words of generation_config.json, or null.</summary>
    internal JsonElement? GenerationConfigJson { get; }

    /// <summary>The text of its chat template, or null.</summary>
    internal string? ChatTemplate { get; }

    /// <summary>The name of the prompt format that fude tuned it with, or null.</summary>
    internal string? PromptFormat { get; }

    /// <summary>What that format tells the model about its task, where it is said.</summary>
    internal string? PromptSystem { get; }

    /// <summary>Reads the header of a file.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">It is damaged, or holds no model.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that fude does not read or compute.</exception>
    public static GgufModel Open(string path)
    {
        using Gguf file = Gguf.Open(path);
        return new GgufModel(path, GgufConfig.ReadJson(file), TokenizerOf(file), file.Metadata);
    }

    /// <summary>The tokenizer of a file, which may hold nothing else; null where it has none.</summary>
    /// <exception cref="InvalidDataException">The metadata contradicts itself.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that fude does not have.</exception>
    public static Tokenizer? OpenTokenizer(string path)
    {
        using Gguf file = Gguf.Open(path);
        return TokenizerOf(file).Value;
    }

    private static Lazy<Tokenizer?> TokenizerOf(Gguf file)
    {
        (IReadOnlyDictionary<string, object> metadata, string path) = (file.Metadata, file.Path);
        return new(() => Tokenizer.OfGguf(metadata, path));
    }

    /// <summary>The weights under the names of Hugging Face's checkpoints, memory-mapped.</summary>
    public IWeightStore OpenWeights() => new GgufWeights(Gguf.OpenTensors(Path), Config);

    /// <summary>Loads the weights.</summary>
    /// <param name="adapterFolder">A PEFT adapter to apply without merging it, or null.</param>
    /// <exception cref="InvalidDataException">A tensor is missing, has another shape, or belongs to no part of the model.</exception>
    public LanguageModel LoadModel(string? adapterFolder = null) =>
        LoadModel(adapterFolder is null ? null : LoraAdapter.Open(adapterFolder), weights => weights);

    /// <summary>Loads the weights through another store, which owns them from then on.</summary>
    internal LanguageModel LoadModel(LoraAdapter? adapter, Func<IWeightStore, IWeightStore> through)
    {
        Gguf file;
        try
        {
            file = Gguf.OpenTensors(Path);
        }
        catch
        {
            adapter?.Dispose();
            throw;
        }
        try
        {
            RequireAllKnown(file);
        }
        catch
        {
            file.Dispose();
            adapter?.Dispose();
            throw;
        }
        return LanguageModel.Create(Config, through(new GgufWeights(file, Config)), adapter);
    }

    /// <summary>Refuses a file with tensors that belong to no part of the model.</summary>
    internal void RequireAllKnown(Gguf file)
    {
        HashSet<string> known = [.. GgufNames.Of(Config).Select(entry => entry.Gguf)];
        string[] unknown = [.. file.Tensors.Keys.Where(name => !known.Contains(name) && !MayBeIgnored(name)).Order(StringComparer.Ordinal)];
        if (unknown.Length == 0) return;
        throw new InvalidDataException(Say(
            $"{Path}: tensor '{unknown[0]}'{(unknown.Length > 1 ? $" and {unknown.Length - 1} more belong" : " belongs")} to no part of the " +
            $"{Config.ModelType} model that the metadata describes. fude does not compute this variant.",
            $"{Path}: テンソル '{unknown[0]}' {(unknown.Length > 1 ? $"など {unknown.Length} 個" : "")}は、メタデータの {Config.ModelType} モデルの" +
            "どこにも属しません。fude はこの変種に対応していません。"));
    }

    // What follows from the metadata.
    private static bool MayBeIgnored(string name) =>
        name == "rope_freqs.weight" || name.EndsWith(".attn_rot_embd", StringComparison.Ordinal)
        || name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal);
}
