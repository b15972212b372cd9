using System.Text.Json;
using System.Text.RegularExpressions;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>What adapter_config.json of PEFT says: which layers are adapted, with which rank and scale.</summary>
/// <remarks>fan_in_fan_out is of no account here: A is [rank, in] and B is [out, rank] whatever way the base weight lies, and the model's
/// family knows which way that is.</remarks>
internal sealed class LoraConfig
{
    // A pattern of a hostile file may backtrack without end.
    private static readonly TimeSpan PatternTimeout = TimeSpan.FromSeconds(1);

    private readonly string _file;
    private readonly int _rank;
    private readonly double _alpha;
    private readonly bool _rankStabilised;
    private readonly IReadOnlyList<string> _targets = [];
    private readonly Regex? _targetPattern;
    private readonly bool _targetsAllLinear;
    private readonly HashSet<int>? _layers;
    private readonly IReadOnlyList<(Regex Pattern, double Value)> _ranks, _alphas;

    private LoraConfig(ConfigReader json)
    {
        _file = json.File;
        if (json.TextOrNull("peft_type") is not "LORA") throw json.Unsupported("peft_type", "\"LORA\"", "\"LORA\"");
        RefuseWhatChangesMore(json);
        _rank = json.Count("r", ConfigReader.MaxWidth, absent: 8);
        _alpha = json.Number("lora_alpha", 8, above: 0, max: 1e9);
        _rankStabilised = json.Flag("use_rslora", false);
        _ranks = Patterns(json, "rank_pattern");
        _alphas = Patterns(json, "alpha_pattern");

        if (json.Value("target_modules") is not { } targets)
            throw json.Bad(
                "target_modules", "is missing; expected a list of module names", "がありません。モジュール名のリストが必要です");
        if (targets.ValueKind == JsonValueKind.String)
        {
            string pattern = targets.GetString()!;
            _targetsAllLinear = pattern == "all-linear";
            if (!_targetsAllLinear) _targetPattern = Compile(json, "target_modules", $"^(?:{pattern})$");
        }
        else
        {
            _targets = json.Texts("target_modules");
        }
        // None named means all, as PEFT has it.
        if (json.Has("layers_to_transform") && json.Tokens("layers_to_transform", null) is { Count: > 0 } layers) _layers = [.. layers];
    }

    public static LoraConfig Load(string file) => new(ConfigReader.Load(file));

    public static LoraConfig Parse(ReadOnlyMemory<byte> utf8, string file) => new(ConfigReader.Parse(utf8, file));

    /// <summary>The names of layers in target_modules, where it is a list.</summary>
    public IReadOnlyList<string> TargetNames => _targets;

    /// <summary>Whether the configuration says that this linear layer is adapted.</summary>
    public bool Targets(string module)
    {
        if (_targets.Contains(module)) return true;       // a whole name says which layer
        if (_layers is not null && LayerOf(module) is { } layer && !_layers.Contains(layer)) return false;
        if (_targetsAllLinear) return module != "lm_head";
        if (_targetPattern is not null) return Matches(_targetPattern, module);
        return _targets.Any(target => Names(target, module));
    }

    /// <summary>Whether a name in target_modules is that of a layer, whole or its end.</summary>
    public static bool Names(string target, string module) => module == target || module.EndsWith($".{target}", StringComparison.Ordinal);

    /// <summary>r of a layer.</summary>
    public int RankOf(string module) => (int)(First(_ranks, module) ?? _rank);

    /// <summary>α/r of a layer, or α/√r with rank-stabilised scaling (Kalajdzievski, 2023, arXiv:2312.03732).</summary>
    public float ScaleOf(string module)
    {
        double alpha = First(_alphas, module) ?? _alpha, rank = RankOf(module);
        return (float)(alpha / (_rankStabilised ? Math.Sqrt(rank) : rank));
    }

    private static void RefuseWhatChangesMore(ConfigReader json)
    {
        if (json.Texts("modules_to_save") is { Count: > 0 } saved)
            throw new NotSupportedException(Say(
                $"{json.File}: modules_to_save names {string.Join(", ", saved)}; fude supports adapters that hold low-rank matrices only.",
                $"{json.File}: modules_to_save に {string.Join("、", saved)} があります。fude が対応しているのは低ランク行列だけのアダプターです。"));
        if (json.TextOrNull("bias") is not (null or "none")) throw json.Unsupported("bias", "\"none\"", "\"none\"");
        json.Refuse("use_dora", "plain LoRA (use_dora false)", "通常の LoRA（use_dora が false）");
        json.Refuse("lora_bias", "adapters without biases (lora_bias false)", "バイアスのないアダプター（lora_bias が false）");
        json.Refuse("use_qalora", "plain LoRA (use_qalora false)", "通常の LoRA（use_qalora が false）");
        foreach (string key in (string[])["layer_replication", "exclude_modules", "trainable_token_indices", "target_parameters",
                                          "alora_invocation_tokens", "arrow_config"])
            json.Refuse(key, "adapters that leave it out", "この設定のないアダプター", "[]", "{}");
        // These begin by changing the base weights, so that the adapter does not fit the published ones.
        if (json.Value("init_lora_weights") is { ValueKind: JsonValueKind.String } start)
        {
            string text = start.GetString()!;
            if (text is "olora" or "loftq" or "corda" || text.StartsWith("pissa", StringComparison.Ordinal))
                throw json.Unsupported(
                    "init_lora_weights", "adapters to unchanged base weights (true, false, \"gaussian\")",
                    "元の重みを変えないアダプター（true、false、\"gaussian\"）");
        }
    }

    private static List<(Regex, double)> Patterns(ConfigReader json, string key)
    {
        List<(Regex, double)> patterns = [];
        if (json.Under(key) is not { } map) return patterns;
        foreach (JsonProperty entry in map.Json.EnumerateObject())
        {
            double value = key == "rank_pattern"
                ? map.Count(entry.Name, ConfigReader.MaxWidth)
                : map.Number(entry.Name, above: 0, max: 1e9);
            patterns.Add((Compile(json, key, $@"^(?:.*\.)?(?:{entry.Name})$"), value));
        }
        return patterns;
    }

    private static Regex Compile(ConfigReader json, string key, string pattern)
    {
        try
        {
            return new Regex(pattern, RegexOptions.CultureInvariant | RegexOptions.Singleline, PatternTimeout);
        }
        catch (ArgumentException e)
        {
            throw new InvalidDataException(Say(
                $"{json.File}: {key} is not a regular expression: {e.Message}",
                $"{json.File}: {key} は正規表現として読めません: {e.Message}"), e);
        }
    }

    private double? First(IReadOnlyList<(Regex Pattern, double Value)> patterns, string module)
    {
        foreach ((Regex pattern, double value) in patterns) if (Matches(pattern, module)) return value;
        return null;
    }

    private bool Matches(Regex pattern, string module)
    {
        try
        {
            return pattern.IsMatch(module);
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new InvalidDataException(Say(
                $"{_file}: the pattern {pattern} takes too long to match '{module}'.",
                $"{_file}: パターン {pattern} と '{module}' の照合に時間がかかりすぎます。"), e);
        }
    }

    private static int? LayerOf(string module)
    {
        foreach (string part in module.Split('.')) if (int.TryParse(part, out int layer)) return layer;
        return null;
    }
}
