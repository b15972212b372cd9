using System.Globalization;
using System.Text.Json;
using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>The hyper-parameters that every family has, as config.json gives them.</summary>
public abstract record ModelConfig
{
    /// <summary>config.json's model_type: llama, mistral, stablelm, stablelm_epoch, gpt2.</summary>
    public required string ModelType { get; init; }

    /// <summary>Rows of the embedding; may exceed the tokenizer's entries, which alone may be sampled.</summary>
    public required int Vocabulary { get; init; }

    /// <summary>Numbers in the residual stream of a token.</summary>
    public required int Width { get; init; }

    /// <summary>Transformer blocks.</summary>
    public required int Layers { get; init; }

    /// <summary>Positions the model can read.</summary>
    public required int Context { get; init; }

    /// <summary>Numbers in the feed-forward layer.</summary>
    public required int Hidden { get; init; }

    /// <summary>Query heads.</summary>
    public required int QueryHeads { get; init; }

    /// <summary>Key and value heads; fewer than query heads when those share them.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Numbers in a head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Whether the head is the word embedding (tie_word_embeddings).</summary>
    public required bool TiedHead { get; init; }

    /// <summary>Numbers in a key (a value has as many), all heads together.</summary>
    public int KeyValueWidth => KeyValueHeads * HeadSize;

    /// <summary>bos_token_id, or null.</summary>
    public int? BosToken { get; init; }

    /// <summary>eos_token_id, one or several; empty when config.json has none.</summary>
    public IReadOnlyList<int> EosTokens { get; init; } = [];

    /// <summary>Whether a token's keys depend on how long the text is that it stands in, as with dynamic rope scaling: then they are of no
    /// use to another text that begins alike.</summary>
    public virtual bool KeysDependOnLength => false;

    /// <summary>About how many bytes the keys and values of so many tokens take in a number format, all blocks together.</summary>
    public long CacheBytes(NumberFormat format, long tokens)
    {
        // A cache need not be of whole blocks, as the rows of a matrix are.
        int length = format.BlockLength();
        return 2 * Layers * tokens * ((((long)KeyValueWidth * format.BlockBytes()) + length - 1) / length);
    }

    /// <summary>pad_token_id, or null.</summary>
    public int? PadToken { get; init; }

    /// <summary>Every hyper-parameter with the key it has in config.json and the value fude goes by, defaults included.</summary>
    public abstract IReadOnlyList<KeyValuePair<string, string>> HyperParameters { get; }

    /// <summary>Reads a config.json.</summary>
    /// <param name="file">Its path.</param>
    /// <exception cref="InvalidDataException">A key is missing or absurd.</exception>
    /// <exception cref="NotSupportedException">It asks for a family or a variant that fude does not compute.</exception>
    public static ModelConfig Load(string file) => Of(ConfigReader.Load(file));

    /// <summary>Reads the text of a config.json.</summary>
    /// <param name="utf8">The text.</param>
    /// <param name="file">What messages call it.</param>
    /// <exception cref="InvalidDataException">A key is missing or absurd.</exception>
    /// <exception cref="NotSupportedException">It asks for a family or a variant that fude does not compute.</exception>
    public static ModelConfig Parse(ReadOnlyMemory<byte> utf8, string file = "config.json") => Of(ConfigReader.Parse(utf8, file));

    internal static ModelConfig Of(ConfigReader json)
    {
        string type = json.TextOrNull("model_type")
            ?? throw json.Bad(
                "model_type", $"is missing; fude knows {Families}. Is this the config.json of a language model?",
                $"がありません。fude が対応しているのは {FamiliesInJapanese} です。言語モデルの config.json か確かめてください");
        json.Refuse(
            "quantization_config", "unquantised float32, float16 and bfloat16 weights", "量子化されていない float32、float16、bfloat16 の重み");
        return type switch
        {
            "llama" => LlamaConfig.Read(json),
            "mistral" => MistralConfig.Read(json),
            "stablelm" or "stablelm_epoch" => StableLmConfig.Read(json),
            "gpt2" => Gpt2Config.Read(json),
            _ => throw json.Unsupported("model_type", Families, FamiliesInJapanese),
        };
    }

    private const string Families = "llama, mistral, stablelm, stablelm_epoch and gpt2";

    private const string FamiliesInJapanese = "llama、mistral、stablelm、stablelm_epoch、gpt2";

    /// <summary>Size of one head: head_dim, or the width divided by the heads.</summary>
    private protected static int ReadHeadSize(ConfigReader json, int width, int heads, string widthKey, string headsKey, bool honourHeadDim)
    {
        int? given = honourHeadDim ? json.CountOrNull("head_dim", 4096) : null;
        if (given is null && width % heads != 0)
            throw json.Bad(
                headsKey, $"is {heads}, which does not divide {widthKey} {width}", $"が {heads} ですが、{widthKey} の {width} を割り切れません");
        int size = given ?? width / heads;
        if ((long)size * heads > ConfigReader.MaxWidth)
            throw json.Bad(
                headsKey, $"is {heads}; {heads} heads of {size} numbers are more than {ConfigReader.MaxWidth}",
                $"が {heads} です。{size} 次元のヘッド {heads} 個は上限の {ConfigReader.MaxWidth} を超えます");
        return size;
    }

    /// <summary>num_key_value_heads; as many as query heads when null.</summary>
    private protected static int ReadKeyValueHeads(ConfigReader json, int heads, int absent)
    {
        const string Key = "num_key_value_heads";
        int keyHeads = json.Mentions(Key) ? json.CountOrNull(Key, ConfigReader.MaxWidth) ?? heads : absent;
        return heads % keyHeads == 0
            ? keyHeads
            : throw json.Bad(
                Key, $"is {keyHeads}, which does not divide num_attention_heads {heads}",
                $"が {keyHeads} ですが、num_attention_heads の {heads} を割り切れません");
    }

    /// <summary>hidden_act, which must be silu: the gated families know no other.</summary>
    private protected static void RequireSilu(ConfigReader json)
    {
        if (json.TextOrNull("hidden_act") is not (null or "silu" or "swish")) throw json.Unsupported("hidden_act", "\"silu\"", "\"silu\"");
    }

    /// <summary>rope_theta, rope_scaling and the later rope_parameters.</summary>
    /// <param name="json">The configuration.</param>
    /// <param name="headSize">Numbers in a head.</param>
    /// <param name="dimensions">How many of them turn.</param>
    /// <param name="context">max_position_embeddings; grows where rope_scaling says so.</param>
    /// <remarks>With "linear" and "dynamic" scaling max_position_embeddings stays that of the training, as the documentation of
    /// transformers asks, so the model reads factor times as many; with "llama3" it is already what the model reads.</remarks>
    private protected static RopeShape ReadRope(ConfigReader json, int headSize, int dimensions, ref int context)
    {
        ConfigReader? parameters = json.Under("rope_parameters");
        ConfigReader? scaling = parameters ?? json.Under("rope_scaling");
        ConfigReader withTheta = parameters is not null && parameters.Has("rope_theta") ? parameters : json;
        float theta = (float)withTheta.Number("rope_theta", 10_000, above: 0, max: 1e12);
        if (dimensions % 2 != 0 || dimensions < 2)
            throw new InvalidDataException(Say(
                $"{json.File}: rotary embeddings turn pairs of numbers, but {dimensions} of the {headSize} numbers of a head are to turn.",
                $"{json.File}: 回転位置埋め込みは数を 2 つずつ組にして回しますが、ヘッドの {headSize} 次元のうち {dimensions} 次元を回す設定です。"));
        return new RopeShape(headSize, dimensions, theta, scaling is null ? null : ReadScaling(scaling, ref context));
    }

    private static RopeScaling? ReadScaling(ConfigReader json, ref int context)
    {
        string key = json.Has("rope_type") ? "rope_type" : "type";
        string? type = json.TextOrNull(key);
        switch (type)
        {
            case "default":
                return null;
            case null when json.Json.EnumerateObject().All(p => p.Name is "rope_theta" or "partial_rotary_factor"):
                return null;
            case "linear":
                double linear = json.Number("factor", above: 0, max: 1e6);
                context = Extend(context, linear);
                return new RopeScaling.Linear((float)linear);
            case "dynamic":
                double dynamic = json.Number("factor", above: 0, max: 1e6);
                int trained = json.CountOrNull("original_max_position_embeddings", ConfigReader.MaxContext) ?? context;
                context = Extend(context, dynamic);
                return new RopeScaling.Dynamic((float)dynamic, trained);
            case "llama3":
                double low = json.Number("low_freq_factor", above: 0, max: 1e6), high = json.Number("high_freq_factor", above: 0, max: 1e6);
                if (high <= low) throw json.Bad(
                        "high_freq_factor", $"is {Show(high)}; expected more than low_freq_factor {Show(low)}",
                        $"が {Show(high)} です。low_freq_factor の {Show(low)} より大きい値が必要です");
                return new RopeScaling.Llama3((float)json.Number("factor", above: 0, max: 1e6), (float)low, (float)high,
                    json.Count("original_max_position_embeddings", ConfigReader.MaxContext));
            default:
                throw json.Unsupported(
                    key, "\"default\", \"linear\", \"dynamic\" and \"llama3\"", "\"default\"、\"linear\"、\"dynamic\"、\"llama3\"");
        }
    }

    private static int Extend(int context, double factor) => (int)Math.Min(context * Math.Max(1, factor), ConfigReader.MaxContext);

    /// <summary>Builds the list of <see cref="HyperParameters"/>.</summary>
    private protected static IReadOnlyList<KeyValuePair<string, string>> List(params ReadOnlySpan<(string Key, object? Value)> items)
    {
        KeyValuePair<string, string>[] list = new KeyValuePair<string, string>[items.Length];
        for (int i = 0; i < items.Length; i++) list[i] = new(items[i].Key, Show(items[i].Value));
        return list;
    }

    private protected static object? Show(RopeScaling? scaling) => scaling switch
    {
        null => null,
        RopeScaling.Linear x => $"linear, factor {Show(x.Factor)}",
        RopeScaling.Dynamic x => $"dynamic, factor {Show(x.Factor)} from {x.Context} positions on",
        RopeScaling.Llama3 x => $"llama3, factor {Show(x.Factor)}, low_freq_factor {Show(x.LowFrequencyFactor)}, high_freq_factor " +
            $"{Show(x.HighFrequencyFactor)}, original_max_position_embeddings {x.OriginalContext}",
        _ => scaling.ToString(),
    };

    private static string Show(object? value) => value switch
    {
        null => "null",
        bool flag => flag ? "true" : "false",
        IReadOnlyList<int> { Count: 1 } one => Show(one[0]),
        IReadOnlyList<int> list => $"[{string.Join(", ", list)}]",
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };
}
