using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A model together with the weights of it that are trained: all of them, or those of a low-rank adapter.</summary>
public sealed partial class TrainableModel : IDisposable
{
    // What stands beside the weights and describes the trained model too.
    private static readonly string[] OfTokenizer =
        ["tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"];

    private static readonly string[] OfPrompts = ["chat_template.jinja", PromptFormat.RecordName];

    private static readonly string[] OfModel = ["generation_config.json", .. OfPrompts];

    private static readonly JsonWriterOptions Indented = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly TrainableWeights _weights;
    private readonly byte[] _config;
    private readonly string? _folder;

    // As they were when the run began: at its end they may be gone, or others.
    private readonly Dictionary<string, byte[]> _beside = new(StringComparer.Ordinal);
    private string? _ownTemplate;
    private bool _hasOthersTokenizer;

    private TrainableModel(LanguageModel model, TrainableWeights weights, byte[] config, string? folder)
    {
        (Model, _weights, _config, _folder) = (model, weights, config, folder);
        Parameters = weights.Parameters;
        try
        {
            if (folder is not null) TakeBeside(folder, [.. OfTokenizer, .. OfModel]);
            Gradients = new Gradients(weights.Parameters.Select(parameter => parameter.Weight));
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>The model.</summary>
    public LanguageModel Model { get; }

    /// <summary>The weights that are trained, in the order of <see cref="Gradients"/>.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Their gradients.</summary>
    public Gradients Gradients { get; }

    /// <summary>The prompt format that it learns, written down beside the weights; null for none.</summary>
    public PromptFormat? Format { get; set; }

    /// <summary>Whether only a low-rank adapter is trained.</summary>
    public bool IsAdapter => Model.Adapter is not null;

    /// <summary>Numbers that are trained.</summary>
    public long Count => Parameters.Sum(parameter => parameter.Count);

    /// <summary>Operations that learning from a token takes: 6 for each trained weight of a matrix product, 4 for each frozen one.</summary>
    /// <remarks>Kaplan et al., 2020, arXiv:2001.08361. Attention, the embedding's rows and everything else count as nothing.</remarks>
    public double FlopsPerToken =>
        (IsAdapter ? 4.0 : 6.0) * ModelSummary.Of(Model.Config).ProductParameters + (IsAdapter ? 6.0 * Count : 0);

    /// <summary>All weights of a model's folder, as float32 copies.</summary>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or files are not of one model.</exception>
    /// <exception cref="NotSupportedException">The model is of a kind that fude does not compute.</exception>
    public static TrainableModel Load(string folder)
    {
        ModelFolder files = ModelFolder.Open(folder);
        files.RequireFolder(Say("training all weights", "全重みの学習"));
        TrainableWeights? weights = null;
        LanguageModel model = files.LoadModel(null, checkpoint => weights = new TrainableWeights(checkpoint));
        return new TrainableModel(model, weights!, File.ReadAllBytes(files.ConfigPath), folder);
    }

    /// <summary>A new adapter for the model of a folder, whose own weights stay as they are, in whatever format.</summary>
    /// <param name="folder">The base model.</param>
    /// <param name="adapterConfig">The text of an adapter_config.json; what is dropped from the adapter's inputs is the tape's to know, not lora_dropout.</param>
    /// <param name="seed">Draws A; B is 0, so the adapter begins by changing nothing.</param>
    /// <param name="mix">The number formats that the base's weights are quantised to while they are loaded (QLoRA: Dettmers et al., 2023,
    /// arXiv:2305.14314); null for those they are stored in.</param>
    /// <param name="progress">Hears what part of the weights is quantised, from 0 to 1.</param>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or target_modules names no layer.</exception>
    /// <exception cref="NotSupportedException">Model or adapter are of a kind that fude does not compute.</exception>
    public static TrainableModel LoadWithAdapter(
        string folder, ReadOnlyMemory<byte> adapterConfig, ulong seed, QuantizationMix? mix = null, IProgress<double>? progress = null)
    {
        TrainableWeights weights = new(new InitialNumbers(seed));
        ModelFolder files = ModelFolder.Open(folder);
        LoraAdapter adapter = LoraAdapter.Create(adapterConfig, weights);
        LanguageModel model = mix is { } format ? files.LoadModel(format, adapter, progress) : files.LoadModel(adapter, store => store);
        return new TrainableModel(model, weights, adapterConfig.ToArray(), null);
    }

    /// <summary>A new model.</summary>
    /// <param name="config">The text of its config.json.</param>
    /// <param name="initial">How its numbers are drawn.</param>
    /// <exception cref="InvalidDataException">A key is missing or absurd.</exception>
    /// <exception cref="NotSupportedException">It asks for a family or a variant that fude does not compute.</exception>
    public static TrainableModel Create(ReadOnlyMemory<byte> config, InitialNumbers initial)
    {
        ArgumentNullException.ThrowIfNull(initial);
        TrainableWeights weights = new(initial);
        LanguageModel model = LanguageModel.Create(ModelConfig.Parse(config), weights);
        return new TrainableModel(model, weights, config.ToArray(), null);
    }

    /// <summary>Writes what was trained as a folder that is there whole or not at all: one that was there stays until the new one is complete, and
    /// what else somebody has put into it, such as a GGUF file made from it, is in the new one too.</summary>
    /// <param name="folder">The folder, which need not exist.</param>
    /// <param name="format">F32, or BF16 or F16 to round the numbers to.</param>
    /// <param name="more">Writes further files of the model into the folder it is given; or null.</param>
    /// <exception cref="IOException">The disk is full, for instance; what was there stays as it is.</exception>
    internal void SaveWhole(string folder, NumberFormat format, Action<string>? more = null) => WholeFolder.Write(folder, pending =>
    {
        Save(pending, format);
        more?.Invoke(pending);
        KeepBeside(folder, pending);
    }, IsOfOthers);

    // A tokenizer, or a prompt's format, that somebody put beside the weights, where the training writes none. None is made of halves of two.
    private static void KeepBeside(string old, string written)
    {
        foreach (string[] together in (ReadOnlySpan<string[]>)[OfTokenizer, OfPrompts])
            if (!Array.Exists(together, name => File.Exists(Path.Combine(written, name))))
                foreach (string name in together)
                    if (File.Exists(Path.Combine(old, name))) AtomicFile.Write(Path.Combine(written, name), File.ReadAllBytes(Path.Combine(old, name)));
    }

    /// <summary>Whether a file of a model's folder is none that a training writes. A generation_config.json may be the user's own.</summary>
    internal static bool IsOfOthers(string name) =>
        !(name is "config.json" or "adapter_config.json" or "model.safetensors.index.json" || OfTokenizer.Contains(name) || OfPrompts.Contains(name) || OwnFile().IsMatch(name));

    // Weights, and what a killed process of an earlier version left while it wrote them in place.
    [GeneratedRegex(@"^(model(-\d{5}-of-\d{5})?|adapter_model)\.safetensors$|^\..*\.safetensors(\.index\.json)?\.[a-z0-9]{8}\.[a-z0-9]{3}$|\.[0-9a-f]{32}\.tmp$", RegexOptions.CultureInvariant)]
    private static partial Regex OwnFile();

    /// <summary>Writes what was trained into a folder, in Hugging Face's layout or in PEFT's.</summary>
    /// <param name="folder">The folder, which need not exist; each file is replaced when it is complete.</param>
    /// <param name="format">F32, or BF16 or F16 to round the numbers to.</param>
    /// <exception cref="ArgumentException">Another format.</exception>
    /// <exception cref="InvalidDataException">F16 cannot hold a number.</exception>
    public void Save(string folder, NumberFormat format = NumberFormat.F32)
    {
        RequireSaveFormat(format, nameof(format));
        _ = Directory.CreateDirectory(folder);
        IEnumerable<NewTensor> tensors = Parameters.Select(parameter => parameter.Stored(parameter.Name, parameter.Weight.Address, format));
        AtomicFile.Write(Path.Combine(folder, IsAdapter ? "adapter_config.json" : "config.json"), IsAdapter ? _config : ConfigOf(format));
        if (IsAdapter)
        {
            SafeTensors.Write(Path.Combine(folder, "adapter_model.safetensors"), tensors);
            Format?.Record(folder);
            return;
        }
        SafeTensors.WriteSharded(folder, tensors);
        foreach ((string name, byte[] bytes) in _beside) AtomicFile.Write(Path.Combine(folder, name), bytes);
        if (Format is not null) Format.Record(folder);
        else if (_hasOthersTokenizer) PromptFormat.WriteTemplate(folder, _ownTemplate);
    }

    /// <summary>Has the model be saved with another tokenizer than that of the folder it was loaded from. How it generates and is talked with stays the
    /// model's: a template in the tokenizer's tokenizer_config.json is not it.</summary>
    /// <param name="folder">The tokenizer's folder.</param>
    public void TakeTokenizer(string folder)
    {
        foreach (string name in OfTokenizer) _ = _beside.Remove(name);
        TakeBeside(folder, OfTokenizer);
        _hasOthersTokenizer = true;
        if (_folder is null) return;
        string config = Path.Combine(_folder, "tokenizer_config.json");
        _ownTemplate = ChatTemplate.TextOf(_folder, File.Exists(config) ? ConfigReader.Load(config) : null)?.Text;
    }

    private void TakeBeside(string folder, string[] names)
    {
        foreach (string name in names)
            if (Path.Combine(folder, name) is var path && File.Exists(path)) _beside[name] = File.ReadAllBytes(path);
    }

    /// <summary>Refuses a format that models are not saved in.</summary>
    internal static void RequireSaveFormat(NumberFormat format, string parameter)
    {
        if (format is not (NumberFormat.F32 or NumberFormat.BF16 or NumberFormat.F16))
            throw new ArgumentException(Say(
                $"A model is saved as F32, BF16 or F16, not as {format}.",
                $"モデルを保存できる形式は F32、BF16、F16 です（{format} では保存できません）。"), parameter);
    }

    // config.json says which format the numbers are in; transformers loads the model in it.
    private byte[] ConfigOf(NumberFormat format)
    {
        string name = format switch { NumberFormat.BF16 => "bfloat16", NumberFormat.F16 => "float16", _ => "float32" };
        ReadOnlyMemory<byte> bytes = _config;
        if (bytes.Span.StartsWith("\uFEFF"u8)) bytes = bytes[3..];
        using JsonDocument document = JsonDocument.Parse(bytes);
        JsonElement config = document.RootElement;
        string key = config.TryGetProperty("dtype", out JsonElement said) ? "dtype" : "torch_dtype";
        if ((key == "dtype" || config.TryGetProperty(key, out said)) && said.ValueKind == JsonValueKind.String && said.GetString() == name) return bytes.ToArray();
        using MemoryStream text = new();
        using (Utf8JsonWriter json = new(text, Indented))
        {
            json.WriteStartObject();
            foreach (JsonProperty property in config.EnumerateObject())
                if (property.Name != key) property.WriteTo(json);
            json.WriteString(key, name);
            json.WriteEndObject();
        }
        return text.ToArray();
    }

    /// <summary>Takes the numbers that <see cref="Save"/> wrote.</summary>
    /// <exception cref="InvalidDataException">They are of another model.</exception>
    public void Restore(string folder)
    {
        using Checkpoint checkpoint = OpenSaved(folder);
        foreach (Parameter parameter in Parameters) parameter.Restore(checkpoint, parameter.Name, parameter.Weight.Address);
        RequireNoOther(checkpoint);
    }

    /// <summary>Fails where <see cref="Restore"/> would, without taking the numbers.</summary>
    /// <exception cref="InvalidDataException">They are of another model, or a file is cut off or missing.</exception>
    internal void CheckSaved(string folder)
    {
        using Checkpoint checkpoint = OpenSaved(folder);
        foreach (Parameter parameter in Parameters)
        {
            (string name, int rows, int columns) = (parameter.Name, parameter.Weight.Rows, parameter.Weight.Columns);
            _ = parameter.IsVector ? checkpoint.Vector(name, columns) : checkpoint.Matrix(name, rows, columns, parameter.IsTransposed);
        }
        RequireNoOther(checkpoint);
    }

    private Checkpoint OpenSaved(string folder) => Checkpoint.Open(IsAdapter ? Path.Combine(folder, "adapter_model.safetensors") : folder);

    private static void RequireNoOther(Checkpoint checkpoint)
    {
        if (checkpoint.Unused.Count > 0)
            throw new InvalidDataException(Say(
                $"{checkpoint.Path}: has tensor '{checkpoint.Unused[0]}', which the model in training has not. It is of another model.",
                $"{checkpoint.Path}: テンソル '{checkpoint.Unused[0]}' は学習中のモデルにありません。別のモデルのものです。"));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Gradients.Dispose();
        Model.Dispose();
    }
}
