using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>A low-rank adapter in PEFT's layout: adapter_config.json beside adapter_model.safetensors or adapter_model.bin.</summary>
/// <remarks>Hu et al., 2021, arXiv:2106.09685. A model takes its matrices for the layers it builds; switching the adapter off gives the
/// base model back.</remarks>
public sealed class LoraAdapter : IDisposable
{
    private const string NamePrefix = "base_model.model.";
    private readonly LoraConfig _config;
    private readonly Checkpoint? _checkpoint;
    private readonly IWeightStore _weights;
    private readonly Dictionary<string, (string? Down, string? Up)> _modules = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _bases = new(StringComparer.Ordinal);
    private readonly Dictionary<string, LowRank> _used = new(StringComparer.Ordinal);
    private readonly List<string> _layers = [];     // of the model, as it asks for them

    private LoraAdapter(string folder, LoraConfig config, Checkpoint weights)
    {
        (Folder, _config, _weights, _checkpoint) = (folder, config, weights, weights);
        foreach (string name in weights.Tensors.Keys) AddTensor(name);
    }

    private LoraAdapter(LoraConfig config, IWeightStore weights) => (Folder, _config, _weights) = ("", config, weights);

    /// <summary>Where it lies; empty for a new one.</summary>
    public string Folder { get; }

    /// <summary>Whether it takes part in the model's products; true at first. Not to be changed during a forward pass.</summary>
    public bool IsOn { get; set; } = true;

    private string Path => _checkpoint?.Path ?? Say("the new adapter", "新しいアダプター");

    /// <summary>Names of the adapted modules, without PEFT's prefix and "transformer.", in ordinal order.</summary>
    public IReadOnlyList<string> Modules => [.. _modules.Keys.Order(StringComparer.Ordinal)];

    /// <summary>Opens an adapter's folder.</summary>
    /// <exception cref="InvalidDataException">It is not a folder of an adapter, or damaged.</exception>
    /// <exception cref="NotSupportedException">It is more than a plain low-rank adapter.</exception>
    public static LoraAdapter Open(string folder)
    {
        if (folder.Length == 0)
            throw new ArgumentException(Say(
                "The adapter's path is empty: give the folder of an adapter.",
                "アダプターのパスが空です。アダプターのフォルダーを指定してください。"), nameof(folder));
        if (File.Exists(folder))
            throw new InvalidDataException(Say(
                $"{folder} is a file; an adapter is a folder with adapter_config.json and adapter_model.safetensors. Give that folder.",
                $"{folder} はファイルです。adapter_config.json と adapter_model.safetensors のあるアダプターのフォルダーを指定してください。"));
        if (!Directory.Exists(folder))
            throw new DirectoryNotFoundException(Say(
                $"{folder}: there is no such adapter folder.", $"{folder}: アダプターのフォルダーが見つかりません。"));
        string config = System.IO.Path.Combine(folder, "adapter_config.json");
        if (!File.Exists(config))
            throw new InvalidDataException(Say(
                $"{folder} has no adapter_config.json: it is not the folder of a PEFT adapter.",
                $"{folder} に adapter_config.json がありません。PEFT のアダプターのフォルダーではありません。"));
        string safe = System.IO.Path.Combine(folder, "adapter_model.safetensors"), pickled = System.IO.Path.Combine(folder, "adapter_model.bin");
        string weights = File.Exists(safe) ? safe : File.Exists(pickled) ? pickled : throw new InvalidDataException(Say(
            $"{folder} has neither adapter_model.safetensors nor adapter_model.bin.",
            $"{folder} に adapter_model.safetensors も adapter_model.bin もありません。"));

        LoraConfig read = LoraConfig.Load(config);
        Checkpoint checkpoint = Checkpoint.Open(weights);
        try
        {
            return new LoraAdapter(folder, read, checkpoint);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>A new adapter, to be trained: a model asks it for the matrices of the layers that its configuration names.</summary>
    /// <param name="config">The text of an adapter_config.json.</param>
    /// <param name="weights">Gives the matrices, by the names they have in adapter_model.safetensors; the adapter owns it.</param>
    /// <exception cref="InvalidDataException">The configuration is damaged.</exception>
    /// <exception cref="NotSupportedException">It asks for more than a plain low-rank adapter.</exception>
    public static LoraAdapter Create(ReadOnlyMemory<byte> config, IWeightStore weights) =>
        new(LoraConfig.Parse(config, "adapter_config.json"), weights);

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();

    /// <summary>The matrices for one linear layer, or null when it is not adapted.</summary>
    /// <param name="module">Its name in the checkpoint, without ".weight".</param>
    /// <param name="weight">Its weight.</param>
    /// <param name="transposed">Whether files hold the weight's transpose.</param>
    /// <param name="hasNumbers">Whether the weight's numbers can be read.</param>
    /// <exception cref="InvalidDataException">They are missing or of another shape, or made for another weight.</exception>
    internal LowRank? For(string module, Weight weight, bool transposed, bool hasNumbers)
    {
        (int outputs, int inputs) = (weight.Rows, weight.Columns);
        string key = Short(module);
        _layers.Add(key);
        bool targeted = _config.Targets(module) || _config.Targets(Long(module));
        if (_checkpoint is null && targeted)
            _modules[key] = ($"{NamePrefix}{Long(module)}.lora_A.weight", $"{NamePrefix}{Long(module)}.lora_B.weight");
        if (!_modules.TryGetValue(key, out (string? Down, string? Up) names))
            return targeted
                ? throw new InvalidDataException(Say(
                    $"{Path}: adapter_config.json says that '{module}' is adapted, but its lora_A and lora_B are missing.",
                    $"{Path}: adapter_config.json では '{module}' に適用することになっていますが、その lora_A と lora_B がありません。"))
                : null;
        if (!targeted)
            throw new InvalidDataException(Say(
                $"{Path} adapts '{module}', but target_modules of adapter_config.json does not name it.",
                $"{Path} には '{module}' の行列がありますが、adapter_config.json の target_modules にその名前がありません。"));
        if (names.Down is null || names.Up is null)
            throw new InvalidDataException(Say(
                $"{Path}: '{names.Down ?? names.Up}' stands alone; lora_A and lora_B come in pairs.",
                $"{Path}: '{names.Down ?? names.Up}' の相手がありません。lora_A と lora_B は組で必要です。"));

        int rank = _config.RankOf(Long(module));
        if (_checkpoint is { } checkpoint)
        {
            Require(checkpoint, names.Down, rank, inputs, module, outputs, inputs);
            Require(checkpoint, names.Up, outputs, rank, module, outputs, inputs);
        }
        if (hasNumbers) RequireBase(module, weight, transposed);
        LowRank matrices = new(
            _weights.Matrix(names.Down, rank, inputs), _weights.Matrix(names.Up, outputs, rank), _config.ScaleOf(Long(module)), this);
        _used[key] = matrices;
        return matrices;
    }

    /// <summary>The matrices of a module that a model took, or null; the module may be named with or without "transformer.".</summary>
    internal LowRank? Taken(string module) => _used.GetValueOrDefault(Short(module));

    /// <summary>Checks, once a model is built, that every module of the adapter was a linear layer of it.</summary>
    internal void RequireAllUsed()
    {
        foreach ((string module, (string? down, string? up)) in _modules)
            if (!_used.ContainsKey(module))
                throw new InvalidDataException(Say(
                    $"{Path}: '{down ?? up}' adapts no linear layer of this model. The adapter is for another model.",
                    $"{Path}: '{down ?? up}' に当たる線形層がこのモデルにありません。別のモデル用のアダプターです。"));
        // PEFT is content with one that is there; for an adapter that is yet to be trained a name too many is a slip.
        string? unknown = _checkpoint is not null ? null : _config.TargetNames.FirstOrDefault(
            name => !_layers.Exists(layer => LoraConfig.Names(name, layer) || LoraConfig.Names(name, Long(layer))));
        if (_used.Count > 0 && unknown is null) return;
        string there = string.Join(Say(", ", "、"), _layers.Select(layer => layer[(layer.LastIndexOf('.') + 1)..]).Distinct());
        throw new InvalidDataException(unknown is null
            ? Say($"{Path}: target_modules names no linear layer of this model; there are {there}.", $"{Path}: target_modules に当たる線形層がこのモデルにありません。あるのは {there} です。")
            : Say($"{Path}: target_modules (--lora-targets) names '{unknown}', which is no linear layer of this model; there are {there}.",
                $"{Path}: target_modules（--lora-targets）の '{unknown}' という線形層はこのモデルにありません。あるのは {there} です。"));
    }

    private void AddTensor(string name)
    {
        ReadOnlySpan<string> downs = [".lora_A.weight", ".lora_A.default.weight"], ups = [".lora_B.weight", ".lora_B.default.weight"];
        if (name.StartsWith(NamePrefix, StringComparison.Ordinal))
        {
            foreach (string ending in downs)
                if (name.EndsWith(ending, StringComparison.Ordinal)) { Add(name, ending, isDown: true); return; }
            foreach (string ending in ups)
                if (name.EndsWith(ending, StringComparison.Ordinal)) { Add(name, ending, isDown: false); return; }
        }
        // PEFT keeps the weight below an adapter of the head or the embedding beside it, though it has not changed.
        const string Below = ".base_layer.weight";
        if (name.StartsWith(NamePrefix, StringComparison.Ordinal) && name.EndsWith(Below, StringComparison.Ordinal)
            && _config.Targets(name[NamePrefix.Length..^Below.Length]))
        {
            _bases[Short(name[NamePrefix.Length..^Below.Length])] = name;
            return;
        }
        throw new NotSupportedException(Say(
            $"{Path}: tensor '{name}' is not part of a plain low-rank adapter; fude supports '{NamePrefix}….lora_A.weight' and " +
            $"'{NamePrefix}….lora_B.weight'.",
            $"{Path}: テンソル '{name}' は通常の低ランクアダプターのものではありません。fude が対応しているのは " +
            $"'{NamePrefix}….lora_A.weight' と '{NamePrefix}….lora_B.weight' です。"));
    }

    private void Add(string name, string ending, bool isDown)
    {
        string module = Short(name[NamePrefix.Length..^ending.Length]);
        (string? down, string? up) = _modules.GetValueOrDefault(module);
        if ((isDown ? down : up) is { } other)
            throw new InvalidDataException(Say(
                $"{Path}: '{other}' and '{name}' mean the same.", $"{Path}: '{other}' と '{name}' は同じものを指しています。"));
        _modules[module] = isDown ? (name, up) : (down, name);
    }

    /// <summary>Fails where the adapter has kept a weight that is not the model's. PEFT keeps it in the number format that it computed in, so each number
    /// may have been rounded once, to bfloat16 or to float16.</summary>
    /// <param name="module">The layer.</param>
    /// <param name="weight">The model's weight.</param>
    /// <param name="transposed">Whether the adapter's file holds the transpose of it.</param>
    /// <exception cref="InvalidDataException">It is another.</exception>
    internal void RequireBase(string module, Weight weight, bool transposed)
    {
        // A quantised model has no such numbers to compare.
        if (weight.Format.IsQuantized() || !_bases.TryGetValue(Short(module), out string? name)) return;
        Weight below = _weights.Matrix(name, weight.Rows, weight.Columns, transposed);
        float[] numbers = new float[weight.Columns], others = new float[weight.Columns];
        for (int row = 0; row < weight.Rows; row++)
        {
            weight.ReadRow(row, numbers);
            below.ReadRow(row, others);
            bool isSame = true;
            for (int i = 0; i < numbers.Length; i++)
                isSame &= Math.Abs(numbers[i] - others[i]) <= Math.Max(Math.Abs(numbers[i]), Math.Abs(others[i])) * (1f / 256) + (1f / (1 << 24));
            if (!isSame)
                throw new InvalidDataException(Say(
                    $"{Path}: '{name}' is not the model's weight of '{module}' (row {row} differs). The adapter is for another model, or its base weights " +
                    "were trained too, which fude does not support: merge it where it was made.",
                    $"{Path}: '{name}' がモデルの '{module}' の重みと一致しません（行 {row}）。別のモデル用のアダプターか、元の重みも学習したアダプター（未対応）です。" +
                    "後者なら、作成した環境で統合してください。"));
        }
    }

    private void Require(Checkpoint checkpoint, string name, int rows, int columns, string module, int outputs, int inputs)
    {
        IReadOnlyList<long> found = checkpoint.Tensors[name].Shape;
        if (found is [long r, long c] && r == rows && c == columns) return;
        int rank = _config.RankOf(Long(module));
        throw new InvalidDataException(Say(
            $"{Path}: tensor '{name}' is [{string.Join(", ", found)}], but [{rows}, {columns}] is expected: '{module}' has " +
            $"{inputs} inputs and {outputs} outputs, and the rank in adapter_config.json is {rank}. " +
            "The adapter is for another model, or its files do not belong together.",
            $"{Path}: テンソル '{name}' の形は [{string.Join(", ", found)}] ですが、[{rows}, {columns}] のはずです（'{module}' の入力は " +
            $"{inputs}、出力は {outputs}、adapter_config.json のランクは {rank}）。" +
            "別のモデル用のアダプターか、組になっていないファイルです。"));
    }

    // Checkpoints of GPT-2 may leave "transformer." away, adapters of it never do.
    private static string Short(string module) =>
        GgufNames.WithoutPrefix(module);

    private static string Long(string module) =>
        module.StartsWith("h.", StringComparison.Ordinal) ? $"transformer.{module}" : module;
}
