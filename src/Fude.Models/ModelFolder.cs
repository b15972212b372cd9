using System.Text.Json;
using Fude.Tensors;
using Fude.Tokenizers;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>Where a model lies: a folder in Hugging Face's layout (config.json, weights, and where they are there a tokenizer and
/// generation_config.json), or a GGUF file, which holds all of it.</summary>
/// <remarks>Opening it reads the configuration only; weights and tokenizer are read when they are asked for.</remarks>
public sealed class ModelFolder
{
    private static readonly string[] TokenizerFiles = ["tokenizer.json", "tokenizer.model", "vocab.json"];

    private readonly Lazy<Tokenizer> _tokenizer;
    private readonly GgufModel? _gguf;

    private ModelFolder(GgufModel gguf)
    {
        _gguf = gguf;
        Path = gguf.Path;
        _tokenizer = new(() => gguf.Tokenizer ?? throw new FileNotFoundException(
            Say($"{gguf.Path} holds no tokenizer.", $"{gguf.Path} にトークナイザーが入っていません。"), gguf.Path));
        ConfigJson = gguf.ConfigJson;
        Config = gguf.Config;
        GenerationConfigJson = gguf.GenerationConfigJson;
    }

    private ModelFolder(string path, ConfigReader config, ConfigReader? generation)
    {
        Path = path;
        _tokenizer = new(() => Tokenizer.Load(path));
        ConfigJson = config.Json;
        Config = ModelConfig.Of(config);
        GenerationConfigJson = generation?.Json;
    }

    /// <summary>The folder or file.</summary>
    public string Path { get; }

    /// <summary>The GGUF file, or null.</summary>
    internal GgufModel? AsGguf => _gguf;

    /// <summary>Whether it is a GGUF file rather than a folder.</summary>
    public bool IsGguf => _gguf is not null;

    /// <summary>The last part of its path, without ".gguf": the model's name for people.</summary>
    public string Name => IsGguf
        ? System.IO.Path.GetFileNameWithoutExtension(Path)
        : System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(Path)));

    /// <summary>What tells it from others, for people: its <see cref="Name"/>, and where that is "model", as the results of all runs are called, the run's
    /// folder before it, as in full/model.</summary>
    public string Title => IsGguf ? Name : TitleOf(Path);

    /// <summary>The hyper-parameters.</summary>
    public ModelConfig Config { get; }

    /// <summary>Where they come from.</summary>
    public string ConfigPath => IsGguf ? Path : System.IO.Path.Combine(Path, "config.json");

    /// <summary>All of config.json; of a GGUF file, its metadata in the same words.</summary>
    public JsonElement ConfigJson { get; }

    /// <summary>Where <see cref="GenerationConfigJson"/> comes from.</summary>
    public string GenerationConfigPath => IsGguf ? Path : System.IO.Path.Combine(Path, "generation_config.json");

    /// <summary>All of generation_config.json, or what a GGUF file says in its place; null when there is none.</summary>
    public JsonElement? GenerationConfigJson { get; }

    /// <summary>Whether the weights are there.</summary>
    public bool HasWeights => IsGguf || Checkpoint.Exists(Path);

    /// <summary>Whether a tokenizer is there; without one, ids go in and out.</summary>
    public bool HasTokenizer => _gguf is not null ? _gguf.Tokenizer is not null : TokenizerFiles.Any(name => File.Exists(System.IO.Path.Combine(Path, name)));

    /// <summary>The model's tokenizer, read when it is first asked for.</summary>
    /// <exception cref="FileNotFoundException">There is none.</exception>
    /// <exception cref="InvalidDataException">Its files are damaged.</exception>
    /// <exception cref="NotSupportedException">It has a component that fude does not know.</exception>
    public Tokenizer Tokenizer => _tokenizer.Value;

    /// <summary>How many ids, from 0 on, may be sampled: rows of the embedding beyond the tokenizer's entries are padding and mean
    /// nothing. All of them where there is no tokenizer.</summary>
    public int SampleableTokens => HasTokenizer ? Math.Min(Tokenizer.VocabularySize, Config.Vocabulary) : Config.Vocabulary;

    /// <summary>Opens a folder or a GGUF file; of one in several parts, any part.</summary>
    /// <exception cref="IOException">There is no such folder or file, or it cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The files may not be read.</exception>
    /// <exception cref="InvalidDataException">It is not a model's folder, or a configuration is damaged.</exception>
    /// <exception cref="NotSupportedException">The model is of a kind that fude does not compute.</exception>
    public static ModelFolder Open(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (path.Length == 0)
            throw new ArgumentException(Say(
                "The model's path is empty: give the folder of a model.",
                "モデルのパスが空です。モデルのフォルダーを指定してください。"), nameof(path));
        if (File.Exists(path))
        {
            if (Reading(path, () => Gguf.IsGguf(path))) return new ModelFolder(GgufModel.Open(path));
            throw new InvalidDataException(Say(
                $"{path} is a file, but none in GGUF format; such a file, or a folder with config.json and *.safetensors or " +
                "pytorch_model*.bin, is expected.",
                $"{path} はファイルですが、GGUF 形式ではありません。GGUF ファイルか、config.json と *.safetensors または " +
                "pytorch_model*.bin のあるフォルダーを指定してください。"));
        }
        if (!Directory.Exists(path))
            throw new DirectoryNotFoundException(Say($"{path}: there is no such folder.", $"{path}: フォルダーが見つかりません。"));
        string config = System.IO.Path.Combine(path, "config.json"), generation = System.IO.Path.Combine(path, "generation_config.json");
        if (!Reading(path, () => Directory.EnumerateFiles(path).Any(file => System.IO.Path.GetFileName(file) == "config.json")))
        {
            bool isAdapter = File.Exists(System.IO.Path.Combine(path, "adapter_config.json"));
            throw new InvalidDataException(Say(
                $"{path} has no config.json: it is not a model's folder in Hugging Face's layout." +
                (isAdapter ? " It holds an adapter: give the folder of the base model, and this one as the adapter." : ""),
                $"{path} に config.json がありません。Hugging Face の構成のモデルフォルダーではありません。" +
                (isAdapter ? "これはアダプターです。ベースモデルのフォルダーを指定し、このフォルダーはアダプターとして指定してください。" : "")));
        }
        return new ModelFolder(path, ConfigReader.Load(config), File.Exists(generation) ? ConfigReader.Load(generation) : null);
    }

    /// <summary>The last part of a folder's path; of a run's folder model or adapter the last two.</summary>
    public static string TitleOf(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        string full = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(folder)), name = System.IO.Path.GetFileName(full);
        return name is "model" or "adapter" && new DirectoryInfo(full).Parent is { Parent: not null } run ? $"{run.Name}/{name}" : name;
    }

    /// <summary>The tokenizer of a model's folder, of one of the files that <see cref="Tokenizer.Load"/> reads, or of a GGUF file, which
    /// may hold nothing else.</summary>
    /// <exception cref="IOException">There is no such file or folder, or no tokenizer in it.</exception>
    /// <exception cref="InvalidDataException">Its files are damaged.</exception>
    /// <exception cref="NotSupportedException">It has a component that fude does not know.</exception>
    public static Tokenizer OpenTokenizer(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!File.Exists(path) || !Reading(path, () => Gguf.IsGguf(path))) return Tokenizer.Load(path);
        return GgufModel.OpenTokenizer(path) ?? throw new FileNotFoundException(
            Say($"{path} holds no tokenizer.", $"{path} にトークナイザーが入っていません。"), path);
    }

    /// <summary>In which number formats the weights are stored, the one with most bytes first; empty where there are none.</summary>
    /// <returns>Each format, how many tensors are in it, and their bytes.</returns>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    public IReadOnlyList<(string Format, int Tensors, long Bytes)> StoredFormats()
    {
        if (!HasWeights) return [];
        if (IsGguf)
        {
            using Gguf file = Gguf.OpenTensors(Path);
            return Counted(file.Tensors.Values.Select(tensor => (tensor.Format.ToString(), tensor.Bytes)));
        }
        using Checkpoint checkpoint = Reading(Path, () => Checkpoint.Open(Path));
        return Counted(checkpoint.Tensors.Values.Select(tensor => (tensor.Type.ToString(), tensor.Bytes)));

        static IReadOnlyList<(string, int, long)> Counted(IEnumerable<(string Format, long Bytes)> tensors) =>
            [.. tensors.GroupBy(tensor => tensor.Format).Select(same => (same.Key, same.Count(), same.Sum(tensor => tensor.Bytes)))
                .OrderByDescending(format => format.Item3)];
    }

    /// <summary>The number format that each matrix has in memory once it is loaded; float32 where there are no weights to tell it.</summary>
    /// <param name="mix">What they are quantised to while they are loaded; null for as they are stored.</param>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    internal Func<string, NumberFormat> MatrixFormats(QuantizationMix? mix)
    {
        Dictionary<string, NumberFormat> formats = new(StringComparer.Ordinal);
        using Gguf? file = mix is null && IsGguf ? Gguf.OpenTensors(Path) : null;
        using Checkpoint? checkpoint = mix is null && HasWeights && !IsGguf ? Reading(Path, () => Checkpoint.Open(Path)) : null;
        foreach (GgufEntry entry in GgufNames.Of(Config))
        {
            if (mix is { } quantised) _ = formats.TryAdd(entry.Name, quantised.FormatOf(Config, entry, hasImportance: false));
            else if (file is not null && file.Tensors.TryGetValue(entry.Gguf, out GgufTensor? tensor)) _ = formats.TryAdd(entry.Name, tensor.Format);
        }
        if (checkpoint is not null)
            foreach ((string name, StoredTensor tensor) in checkpoint.Tensors)
                if (Enum.TryParse(tensor.Type.ToString(), out NumberFormat format)) formats[GgufNames.WithoutPrefix(name)] = format;
        return name => formats.GetValueOrDefault(GgufNames.WithoutPrefix(name), NumberFormat.F32);
    }

    /// <summary>The quantised formats of matrices that would be quantised anew in a mix, their rounding errors adding up; empty where what is stored is not
    /// quantised, or stays as it is.</summary>
    /// <exception cref="InvalidDataException">The file is damaged.</exception>
    public IReadOnlyList<NumberFormat> QuantizedTwiceIn(QuantizationMix mix)
    {
        if (!IsGguf) return [];
        using Gguf file = Gguf.OpenTensors(Path);
        SortedSet<NumberFormat> formats = [];
        foreach (GgufEntry entry in GgufNames.Of(Config))
            if (file.Tensors.TryGetValue(entry.Gguf, out GgufTensor? stored) && stored.Format.IsQuantized()
                && mix.FormatOf(Config, entry, hasImportance: false) is var format && format.IsQuantized() && format != stored.Format)
                formats.Add(stored.Format);
        return [.. formats];
    }

    /// <summary>The weights under the names of Hugging Face's checkpoints, memory-mapped where the files allow it.</summary>
    /// <exception cref="InvalidDataException">A file is missing or damaged.</exception>
    public IWeightStore OpenWeights() => _gguf?.OpenWeights() ?? Reading(Path, () => Checkpoint.Open(Path));

    /// <summary>The weights, quantised on all cores when they are asked for.</summary>
    /// <param name="mix">The number formats.</param>
    /// <param name="progress">Hears what part of the matrices is done, from 0 to 1.</param>
    /// <exception cref="InvalidDataException">A file is missing or damaged.</exception>
    public IWeightStore OpenWeights(QuantizationMix mix, IProgress<double>? progress = null) =>
        new QuantizedWeights(OpenWeights(), OpenWeights, Config, mix, progress);

    /// <summary>Loads the weights: memory-mapped where the files allow it.</summary>
    /// <param name="adapterFolder">A PEFT adapter to apply without merging it, or null.</param>
    /// <exception cref="InvalidDataException">A tensor is missing, has another shape, or belongs to no part of the model.</exception>
    public LanguageModel LoadModel(string? adapterFolder = null) =>
        LoadModel(adapterFolder is null ? null : LoraAdapter.Open(adapterFolder), weights => weights);

    /// <summary>Loads the weights in another number format: quantised on all cores, one tensor after the other.</summary>
    /// <param name="mix">The number formats.</param>
    /// <param name="adapterFolder">A PEFT adapter to apply without merging it, or null.</param>
    /// <param name="progress">Hears what part of the weights is done, from 0 to 1.</param>
    /// <exception cref="InvalidDataException">A tensor is missing, has another shape, belongs to no part of the model, or has a number
    /// that the format cannot hold.</exception>
    public LanguageModel LoadModel(QuantizationMix mix, string? adapterFolder = null, IProgress<double>? progress = null) =>
        LoadModel(mix, adapterFolder is null ? null : LoraAdapter.Open(adapterFolder), progress);

    /// <summary>Loads the weights in another number format beside an adapter's.</summary>
    internal LanguageModel LoadModel(QuantizationMix mix, LoraAdapter? adapter, IProgress<double>? progress) =>
        LoadModel(adapter, weights => new QuantizedWeights(weights, OpenWeights, Config, mix, progress));

    /// <summary>Loads the weights through another store that a device or an optimiser needs, which owns them from then on.</summary>
    internal LanguageModel LoadModel(LoraAdapter? adapter, Func<IWeightStore, IWeightStore> through)
    {
        if (_gguf is not null) return _gguf.LoadModel(adapter, through);
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
        IWeightStore store = through(checkpoint);
        LanguageModel model = LanguageModel.Create(Config, store, adapter);
        try
        {
            RequireNone(checkpoint, checkpoint.Unused.Except((store as QuantizedWeights)?.Asked ?? []));
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Refuses files with tensors that belong to no part of the model, as loading it does.</summary>
    internal void RequireWeightsUsed()
    {
        if (_gguf is not null)
        {
            using Gguf file = Gguf.OpenTensors(Path);
            _gguf.RequireAllKnown(file);
            return;
        }
        using Checkpoint checkpoint = Reading(Path, () => Checkpoint.Open(Path));
        HashSet<string> known = [.. ModelSummary.Of(Config).Weights.Select(weight => weight.Name)];
        RequireNone(checkpoint, checkpoint.Tensors.Keys.Where(name => !known.Contains(name) && !known.Contains(GgufNames.WithoutPrefix(name))));
    }

    /// <summary>Refuses a GGUF file where only a folder will do.</summary>
    /// <param name="what">What needs the folder, in the user's language.</param>
    internal void RequireFolder(string what)
    {
        if (IsGguf)
            throw new NotSupportedException(Say(
                $"{Path} is a GGUF file; {what} needs the model's folder with config.json and its own weights.",
                $"{Path} は GGUF ファイルです。{what}には、config.json と元の重みのあるモデルフォルダーが必要です。"));
    }

    private void RequireNone(Checkpoint checkpoint, IEnumerable<string> unused)
    {
        string[] unknown = [.. unused.Where(name => !MayBeIgnored(name, Config))];
        if (unknown.Length == 0) return;
        StoredTensor first = checkpoint.Tensors[unknown[0]];
        throw new InvalidDataException(Say(
            $"{first.File}: tensor '{first.Name}' [{string.Join(", ", first.Shape)}]" +
            $"{(unknown.Length > 1 ? $" and {unknown.Length - 1} more" : "")} belong{(unknown.Length > 1 ? "" : "s")} to no part of the " +
            $"{Config.ModelType} model that {ConfigPath} describes. The weights and config.json are not of one model, or it lacks a key.",
            $"{first.File}: テンソル '{first.Name}' [{string.Join(", ", first.Shape)}]" +
            $"{(unknown.Length > 1 ? $" など {unknown.Length} 個" : " ")}は、{ConfigPath} の {Config.ModelType} モデルのどこにも属しません。" +
            "重みと config.json が同じモデルのものではないか、config.json にキーが足りません。"));
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
            throw new UnauthorizedAccessException(
                Say($"{path} may not be read: permission denied.", $"{path} を読み取る権限がありません。"), e);
        }
    }
}
