using System.Text;
using System.Text.Json;
using Fude.Tensors;
using Fude.Tokenizers.Files;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>Hyper-parameters in the metadata of GGUF files, both ways.</summary>
/// <remarks>
/// What the format has no key for is kept under fude's own, which others ignore: "fude.rope_scaling" (config.json's object, as JSON),
/// "fude.activation_function", "fude.eos_token_ids". Reading makes a config.json of the metadata, so that one reader checks both.
/// </remarks>
internal static class GgufConfig
{
    /// <summary>The metadata of a model.</summary>
    /// <param name="config">The model.</param>
    /// <param name="end">What its tokenizer ends a text with, which llama.cpp's key for it says; null where it has none.</param>
    /// <exception cref="NotSupportedException">llama.cpp cannot compute it.</exception>
    public static IEnumerable<KeyValuePair<string, object>> Write(ModelConfig config, int? end)
    {
        string arch = GgufNames.Architecture(config);
        (RopeShape? rope, float epsilon) = config switch
        {
            LlamaConfig llama => (llama.Rope, llama.NormEpsilon),
            MistralConfig mistral => (mistral.Rope, mistral.NormEpsilon),
            StableLmConfig stableLm => (stableLm.Rope, stableLm.NormEpsilon),
            _ => ((RopeShape?)null, ((Gpt2Config)config).NormEpsilon),
        };
        // What config.json calls max_position_embeddings: without the positions that scaling adds.
        int context = rope?.Scaling switch
        {
            RopeScaling.Linear linear => (int)Math.Round(config.Context / (double)Math.Max(1, linear.Factor)),
            RopeScaling.Dynamic dynamic => (int)Math.Round(config.Context / (double)Math.Max(1, dynamic.Factor)),
            _ => config.Context,
        };
        yield return new($"{arch}.context_length", (uint)context);
        yield return new($"{arch}.embedding_length", (uint)config.Width);
        yield return new($"{arch}.block_count", (uint)config.Layers);
        yield return new($"{arch}.feed_forward_length", (uint)config.Hidden);
        yield return new($"{arch}.attention.head_count", (uint)config.QueryHeads);
        yield return new($"{arch}.attention.head_count_kv", (uint)config.KeyValueHeads);
        yield return new($"{arch}.attention.layer_norm_{(arch == "llama" ? "rms_" : "")}epsilon", epsilon);
        yield return new($"{arch}.vocab_size", (uint)config.Vocabulary);
        if (config.HeadSize * config.QueryHeads != config.Width)
        {
            yield return new($"{arch}.attention.key_length", (uint)config.HeadSize);
            yield return new($"{arch}.attention.value_length", (uint)config.HeadSize);
        }
        if (rope is not null)
        {
            yield return new($"{arch}.rope.dimension_count", (uint)rope.Dimensions);
            yield return new($"{arch}.rope.freq_base", rope.Theta);
            if (rope.Scaling is RopeScaling.Linear linear)
            {
                yield return new($"{arch}.rope.scaling.type", "linear");
                yield return new($"{arch}.rope.scaling.factor", linear.Factor);
            }
            else if (rope.Scaling is not null) yield return new("fude.rope_scaling", JsonOf(rope.Scaling));
        }
        switch (config)
        {
            case MistralConfig { Window: > 0 } mistral:
                yield return new($"{arch}.attention.sliding_window", (uint)mistral.Window);
                break;
            case StableLmConfig:
                yield return new($"{arch}.use_parallel_residual", false);
                break;
            case Gpt2Config gpt2:
                if (!gpt2.ScalesAttention || gpt2.ScalesAttentionByLayer)
                    throw new NotSupportedException(Say(
                        "GGUF files have no word for scale_attn_weights false or scale_attn_by_inverse_layer_idx true: this model " +
                        "cannot be written as one.",
                        "GGUF には scale_attn_weights が false、または scale_attn_by_inverse_layer_idx が true であることの表し方がないため、" +
                        "このモデルは書き出せません。"));
                yield return new("fude.activation_function", gpt2.Activation);
                break;
        }
        if (config.EosTokens.Count > 1 || (config.EosTokens is [int only] && only < config.Vocabulary && end is not null && end != only))
            yield return new("fude.eos_token_ids", config.EosTokens.ToArray());
    }

    /// <summary>The factors by which "llama3" scaling divides frequencies, which llama.cpp reads as the tensor rope_freqs.weight; null
    /// where there are none.</summary>
    public static float[]? RopeFactors(ModelConfig config)
    {
        if ((config as LlamaConfig)?.Rope is not { Scaling: RopeScaling.Llama3 scaling } rope) return null;
        float[] factors = new float[rope.Dimensions / 2];
        double longest = scaling.OriginalContext / (double)scaling.LowFrequencyFactor;
        double shortest = scaling.OriginalContext / (double)scaling.HighFrequencyFactor;
        for (int i = 0; i < factors.Length; i++)
        {
            double wave = 2 * Math.PI * Math.Pow(rope.Theta, 2.0 * i / rope.Dimensions);
            double blend = (scaling.OriginalContext / wave) - scaling.LowFrequencyFactor;
            blend /= scaling.HighFrequencyFactor - scaling.LowFrequencyFactor;
            factors[i] = (float)(wave < shortest ? 1 : wave > longest ? scaling.Factor : 1 / (((1 - blend) / scaling.Factor) + blend));
        }
        return factors;
    }

    /// <summary>The hyper-parameters of a file.</summary>
    /// <exception cref="InvalidDataException">A key is missing or absurd.</exception>
    /// <exception cref="NotSupportedException">The architecture or a variant of it is one that fude does not compute.</exception>
    public static ModelConfig Read(Gguf gguf) => ModelConfig.Of(ReadJson(gguf));

    /// <summary>A config.json of the metadata.</summary>
    /// <exception cref="InvalidDataException">A key is missing or absurd.</exception>
    /// <exception cref="NotSupportedException">The architecture or a variant of it is one that fude does not compute.</exception>
    public static ConfigReader ReadJson(Gguf gguf)
    {
        string arch = gguf.Text("general.architecture")
            ?? throw new InvalidDataException(Say(
                $"{gguf.Path}: has no general.architecture, so it is no language model.",
                $"{gguf.Path}: general.architecture がありません。言語モデルではありません。"));
        if (arch is not ("llama" or "stablelm" or "gpt2"))
            throw new NotSupportedException(Say(
                $"{gguf.Path}: is of the architecture '{arch}'; fude computes llama (Mistral too), stablelm and gpt2.",
                $"{gguf.Path}: アーキテクチャー '{arch}' には対応していません。fude が対応しているのは llama（Mistral を含む）、stablelm、gpt2 です。"));
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            if (gguf.Text("general.name") is string name) json.WriteString("_name_or_path", name);
            if (arch == "gpt2") WriteGpt2(json, gguf);
            else WriteLlamaLike(json, gguf, arch);
            json.WriteNumber("vocab_size", Rows(gguf, "token_embd.weight"));
            json.WriteBoolean("tie_word_embeddings", !gguf.Contains("output.weight"));
            WriteToken(json, gguf, "bos_token_id", "tokenizer.ggml.bos_token_id");
            WriteToken(json, gguf, "pad_token_id", "tokenizer.ggml.padding_token_id");
            if (gguf.Integers("fude.eos_token_ids") is int[] ends)
            {
                json.WriteStartArray("eos_token_id");
                foreach (int end in ends) json.WriteNumberValue(end);
                json.WriteEndArray();
            }
            else WriteToken(json, gguf, "eos_token_id", "tokenizer.ggml.eos_token_id");
            json.WriteEndObject();
        }
        return ConfigReader.Parse(stream.ToArray(), Say($"the metadata of {gguf.Path}", $"{gguf.Path} のメタデータ"));
    }

    private static void WriteGpt2(Utf8JsonWriter json, Gguf gguf)
    {
        json.WriteString("model_type", "gpt2");
        json.WriteNumber("n_embd", Whole(gguf, "gpt2.embedding_length"));
        json.WriteNumber("n_head", Whole(gguf, "gpt2.attention.head_count"));
        json.WriteNumber("n_layer", Whole(gguf, "gpt2.block_count"));
        json.WriteNumber("n_positions", Rows(gguf, "position_embd.weight"));
        json.WriteNumber("n_inner", Whole(gguf, "gpt2.feed_forward_length"));
        json.WriteNumber("layer_norm_epsilon", Real(gguf, "gpt2.attention.layer_norm_epsilon"));
        // llama.cpp computes every GPT-2 with the tanh form, whatever it was trained with.
        json.WriteString("activation_function", gguf.Text("fude.activation_function") ?? "gelu_new");
    }

    private static void WriteLlamaLike(Utf8JsonWriter json, Gguf gguf, string arch)
    {
        long window = gguf.Integer($"{arch}.attention.sliding_window") ?? 0;
        bool isMistral = arch == "llama" && window > 0, isStableLm = arch == "stablelm";
        json.WriteString("model_type", isMistral ? "mistral" : arch);
        long width = Whole(gguf, $"{arch}.embedding_length"), heads = Whole(gguf, $"{arch}.attention.head_count");
        long headSize = gguf.Integer($"{arch}.attention.key_length") ?? (heads > 0 ? width / heads : 0);
        json.WriteNumber("hidden_size", width);
        json.WriteNumber("intermediate_size", Whole(gguf, $"{arch}.feed_forward_length"));
        json.WriteNumber("num_hidden_layers", Whole(gguf, $"{arch}.block_count"));
        json.WriteNumber("num_attention_heads", heads);
        json.WriteNumber("num_key_value_heads", gguf.Integer($"{arch}.attention.head_count_kv") ?? heads);
        json.WriteNumber("max_position_embeddings", Whole(gguf, $"{arch}.context_length"));
        json.WriteNumber("rope_theta", gguf.Metadata.ContainsKey($"{arch}.rope.freq_base") ? Real(gguf, $"{arch}.rope.freq_base") : 10_000);
        if (!isStableLm && headSize * heads != width) json.WriteNumber("head_dim", headSize);
        if (gguf.Integer($"{arch}.attention.value_length") is long valueSize && valueSize != headSize)
            throw new NotSupportedException(Say(
                $"{gguf.Path}: values have {valueSize} numbers a head and keys {headSize}; fude computes equally many.",
                $"{gguf.Path}: ヘッドの値が {valueSize} 次元、キーが {headSize} 次元です。fude が対応しているのは同じ次元数の場合だけです。"));
        long turning = gguf.Integer($"{arch}.rope.dimension_count") ?? headSize;
        // Half a dimension more, so that no rounding of the quotient loses one.
        if (headSize > 0 && (isStableLm || turning != headSize))
            json.WriteNumber("partial_rotary_factor", Math.Min((turning + 0.5) / headSize, 1));
        if (isMistral) json.WriteNumber("sliding_window", window);
        if (isStableLm)
        {
            json.WriteNumber("layer_norm_eps", Real(gguf, "stablelm.attention.layer_norm_epsilon"));
            // As llama.cpp decides it: its converter writes use_parallel_residual true wherever config.json, such as the older dialect's, is silent.
            json.WriteBoolean("use_parallel_residual", !gguf.Contains("blk.0.ffn_norm.weight"));
            json.WriteBoolean("qk_layernorm", gguf.Contains("blk.0.attn_q_norm.weight"));
            json.WriteBoolean("use_qkv_bias", gguf.Contains("blk.0.attn_q.bias"));
        }
        else
        {
            json.WriteNumber("rms_norm_eps", Real(gguf, "llama.attention.layer_norm_rms_epsilon"));
            json.WriteBoolean("attention_bias", gguf.Contains("blk.0.attn_q.bias"));
            if (!isMistral) json.WriteBoolean("mlp_bias", gguf.Contains("blk.0.ffn_up.bias"));
            if (gguf.Integer("llama.expert_count") is > 0)
                throw new NotSupportedException(Say(
                    $"{gguf.Path}: is a mixture of {gguf.Integer("llama.expert_count")} experts; fude computes dense models.",
                    $"{gguf.Path}: エキスパート {gguf.Integer("llama.expert_count")} 個の混合モデル（MoE）です。fude が対応しているのは密なモデルだけです。"));
        }
        WriteScaling(json, gguf, arch);
    }

    private static void WriteScaling(Utf8JsonWriter json, Gguf gguf, string arch)
    {
        if (gguf.Text("fude.rope_scaling") is string own)
        {
            json.WritePropertyName("rope_scaling");
            try
            {
                json.WriteRawValue(own);
            }
            catch (JsonException inner)
            {
                string what = JsonMistake.InFile(inner, Encoding.UTF8.GetBytes(own));
                throw new InvalidDataException(Say(
                    $"{gguf.Path}: fude.rope_scaling is no JSON: {what}.",
                    $"{gguf.Path}: fude.rope_scaling が JSON として読めません: {what}。"), inner);
            }
            return;
        }
        if (gguf.Contains("rope_freqs.weight"))
            throw new NotSupportedException(Say(
                $"{gguf.Path}: gives its rotary frequencies as a tensor (rope_freqs.weight, Llama 3.1's scaling). fude reads that of a " +
                "folder with config.json, or of a GGUF file that it wrote itself.",
                $"{gguf.Path}: 回転の周波数がテンソル（rope_freqs.weight、Llama 3.1 のスケーリング）で与えられています。" +
                "fude がこれを読めるのは、config.json のあるフォルダーか、fude が書き出した GGUF ファイルからだけです。"));
        // As llama.cpp reads them: what has no type is linear, and no factor, or one of 0, which it writes itself, changes nothing.
        string type = gguf.Text($"{arch}.rope.scaling.type") ?? "linear";
        string key = gguf.Metadata.ContainsKey($"{arch}.rope.scaling.factor") ? $"{arch}.rope.scaling.factor" : $"{arch}.rope.scale_linear";
        float factor = gguf.Metadata.ContainsKey(key) ? Real(gguf, key) : 0;
        if (type == "none" || (type == "linear" && factor == 0)) return;
        json.WriteStartObject("rope_scaling");
        json.WriteString("type", type);
        json.WriteNumber("factor", factor);
        json.WriteEndObject();
    }

    // For a token that there is none of others write −1, with a sign or, as llama.cpp itself does, without.
    private static void WriteToken(Utf8JsonWriter json, Gguf gguf, string name, string key)
    {
        if (gguf.Integer(key) is long id and not (-1 or uint.MaxValue)) json.WriteNumber(name, id);
        else json.WriteNull(name);
    }

    private static long Whole(Gguf gguf, string key) =>
        gguf.Integer(key) ?? throw Missing(gguf, key);

    private static float Real(Gguf gguf, string key)
    {
        double value = gguf.Real(key) ?? throw Missing(gguf, key);
        return double.IsFinite(value) ? (float)value : throw new InvalidDataException(
            Say($"{gguf.Path}: {key} is {value}.", $"{gguf.Path}: {key} が {value} です。"));
    }

    private static InvalidDataException Missing(Gguf gguf, string key) =>
        new(Say($"{gguf.Path}: the metadata has no {key}.", $"{gguf.Path}: メタデータに {key} がありません。"));

    private static long Rows(Gguf gguf, string name) =>
        gguf.Tensors.TryGetValue(name, out GgufTensor? tensor) && tensor.Shape.Count == 2
            ? tensor.Shape[0]
            : throw new InvalidDataException(Say(
                $"{gguf.Path}: has no matrix '{name}'. It holds a vocabulary alone, or is not complete.",
                $"{gguf.Path}: 行列 '{name}' がありません。語彙だけのファイルか、不完全なファイルです。"));

    private static string JsonOf(RopeScaling scaling)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            switch (scaling)
            {
                case RopeScaling.Dynamic x:
                    json.WriteString("type", "dynamic");
                    json.WriteNumber("factor", x.Factor);
                    json.WriteNumber("original_max_position_embeddings", x.Context);
                    break;
                case RopeScaling.Llama3 x:
                    json.WriteString("rope_type", "llama3");
                    json.WriteNumber("factor", x.Factor);
                    json.WriteNumber("low_freq_factor", x.LowFrequencyFactor);
                    json.WriteNumber("high_freq_factor", x.HighFrequencyFactor);
                    json.WriteNumber("original_max_position_embeddings", x.OriginalContext);
                    break;
                default:
                    throw new NotSupportedException(
                        Say($"{scaling} has no place in a GGUF file.", $"{scaling} は GGUF ファイルに書けません。"));
            }
            json.WriteEndObject();
        }
        return System.Text.Encoding.UTF8.GetString(stream.ToArray());
    }
}
