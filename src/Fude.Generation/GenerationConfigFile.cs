using System.Globalization;
using System.Text.Json;
using Fude.Tokenizers.Files;
using static Fude.Tokenizers.Wording;

namespace Fude.Generation;

/// <summary>Reads generation_config.json, and the same keys where config.json still carries them.</summary>
internal static class GenerationConfigFile
{
    // Keys that say nothing about which tokens come out of a decoder-only model.
    private static readonly HashSet<string> WithoutEffect = new(StringComparer.Ordinal)
    {
        "transformers_version", "_from_model_config", "_commit_hash", "_original_object_hash", "use_cache", "cache_implementation",
        "cache_config", "return_legacy_cache", "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores",
        "output_logits", "decoder_start_token_id", "low_memory", "generation_kwargs", "compile_config", "disable_compile",
        "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit",
        "assistant_lookbehind", "target_lookbehind", "max_matching_ngram_size", "is_assistant", "prefill_chunk_size",
    };

    // Keys that fude does not carry out, with the values at which there is nothing to carry out.
    private static readonly Dictionary<string, double?> Unsupported = new(StringComparer.Ordinal)
    {
        ["penalty_alpha"] = 0,
        ["guidance_scale"] = 1,
        ["encoder_repetition_penalty"] = 1,
        ["encoder_no_repeat_ngram_size"] = 0,
        ["constraints"] = null,
        ["force_words_ids"] = null,
        ["forced_decoder_ids"] = null,
        ["prompt_lookup_num_tokens"] = null,
        ["dola_layers"] = null,
        ["watermarking_config"] = null,
        ["max_time"] = null,
        ["token_healing"] = null,
    };

    /// <inheritdoc cref="GenerationOptions.Load"/>
    public static GenerationOptions Read(string file)
    {
        if (Directory.Exists(file))
            throw new InvalidDataException(Say(
                $"{file} is a folder; a file with a JSON object is expected.", $"{file} はフォルダーです。JSON オブジェクトのファイルが必要です。"));
        JsonDocument json;
        byte[] text = File.ReadAllBytes(file);
        if (text.AsSpan().StartsWith("\uFEFF"u8)) text = text[3..];
        try
        {
            json = JsonDocument.Parse(text);
        }
        catch (JsonException inner)
        {
            string what = JsonMistake.InFile(inner, text);
            throw new InvalidDataException(Say($"{file}: is not JSON: {what}.", $"{file}: JSON になっていません: {what}。"), inner);
        }
        using (json) return Read(json.RootElement, file);
    }

    /// <summary>The options a generation_config.json sets.</summary>
    /// <exception cref="InvalidDataException">A value is not of its key's kind.</exception>
    /// <exception cref="NotSupportedException">A key asks for something fude does not do.</exception>
    public static GenerationOptions Read(JsonElement json, string file) => Read(json, file, allKeysAreOurs: true);

    /// <summary>The options a config.json sets; its other keys describe the model.</summary>
    public static GenerationOptions ReadModelConfig(JsonElement json, string file) => Read(json, file, allKeysAreOurs: false);

    private static GenerationOptions Read(JsonElement json, string file, bool allKeysAreOurs)
    {
        if (json.ValueKind != JsonValueKind.Object)
            throw new InvalidDataException(Say(
                $"{file} holds {KindOf(json.ValueKind)}; expected an object.",
                $"{file}: JSON のオブジェクトではなく{KindOf(json.ValueKind)}です。"));
        GenerationOptions options = new();
        foreach (JsonProperty property in json.EnumerateObject())
        {
            if (WithoutEffect.Contains(property.Name)) continue;
            if (property.Value.ValueKind == JsonValueKind.Null)
            {
                // Not set; but where a top_k that is absent is 50 to transformers, one of null leaves all tokens in.
                if (property.Name == "top_k") options = options with { TopK = 0 };
                continue;
            }
            Value value = new(property.Value, property.Name, file);
            if (Unsupported.TryGetValue(property.Name, out double? neutral)) value.RequireNeutral(neutral);
            else if (Set(options, value) is GenerationOptions next) options = next;
            else if (allKeysAreOurs)
                throw new NotSupportedException(Say(
                    $"{file}: key '{property.Name}' is not one that fude knows, so its effect on the text is unknown. " +
                    "Remove it, or set it to null.",
                    $"{file}: キー '{property.Name}' を fude は知らないため、生成への影響が分かりません。取り除くか、null にしてください。"));
        }
        return options;
    }

    private static GenerationOptions? Set(GenerationOptions options, Value value) => value.Key switch
    {
        "max_new_tokens" => options with { MaxNewTokens = value.Integer() },
        "max_length" => options with { MaxLength = value.Integer() },
        "min_new_tokens" => options with { MinNewTokens = value.Integer() },
        "min_length" => options with { MinLength = value.Integer() },
        "do_sample" => options with { DoSample = value.Boolean() },
        "num_beams" => options with { NumBeams = value.Integer() },
        "num_beam_groups" => options with { NumBeamGroups = value.Integer() },
        "diversity_penalty" => options with { DiversityPenalty = value.Number() },
        "num_return_sequences" => options with { NumReturnSequences = value.Integer() },
        "length_penalty" => options with { LengthPenalty = value.Number() },
        "early_stopping" => options with { EarlyStopping = value.EarlyStopping() },
        "temperature" => options with { Temperature = value.Number() },
        "top_k" => options with { TopK = value.Integer() },
        "top_p" => options with { TopP = value.Number() },
        "min_p" => options with { MinP = value.Number() },
        "typical_p" => options with { TypicalP = value.Number() },
        "epsilon_cutoff" => options with { EpsilonCutoff = value.Number() },
        "eta_cutoff" => options with { EtaCutoff = value.Number() },
        "repetition_penalty" => options with { RepetitionPenalty = value.Number() },
        "presence_penalty" => options with { PresencePenalty = value.Number() },
        "frequency_penalty" => options with { FrequencyPenalty = value.Number() },
        "no_repeat_ngram_size" => options with { NoRepeatNgramSize = value.Integer() },
        "bad_words_ids" => options with { BadWordsIds = [.. value.Items().Select(item => item.Integers())] },
        "sequence_bias" => options with { SequenceBias = [.. value.Items().Select(item => item.Bias())] },
        "forced_bos_token_id" => options with { ForcedBosTokenId = value.Integer() },
        "forced_eos_token_id" => options with { ForcedEosTokenId = value.Integers() },
        "suppress_tokens" => options with { SuppressTokens = value.Integers() },
        "begin_suppress_tokens" => options with { BeginSuppressTokens = value.Integers() },
        "exponential_decay_length_penalty" => options with { ExponentialDecayLengthPenalty = value.Decay() },
        "remove_invalid_values" => options with { RemoveInvalidValues = value.Boolean() },
        "renormalize_logits" => options with { RenormalizeLogits = value.Boolean() },
        "bos_token_id" => options with { BosTokenId = value.Integer() },
        "eos_token_id" => options with { EosTokenId = value.Integers() },
        "pad_token_id" => options with { PadTokenId = value.Integer() },
        "stop_strings" => options with { StopStrings = value.Strings() },
        _ => null,
    };

    private readonly record struct Value(JsonElement Json, string Key, string File)
    {
        public int Integer() => Json.ValueKind == JsonValueKind.Number && Json.TryGetInt32(out int number)
            ? number
            : Json.ValueKind == JsonValueKind.Number && Json.TryGetDouble(out double real) && real == (int)real
                ? (int)real      // some writers print 1 as 1.0
                : throw Bad(Say("a whole number", "整数"));

        public double Number() => Json.ValueKind == JsonValueKind.Number && Json.TryGetDouble(out double number) && double.IsFinite(number)
            ? number : throw Bad(Say("a number", "数"));

        public bool Boolean() => Json.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Bad(Say("true or false", "true または false")),
        };

        public EarlyStopping EarlyStopping() => Json.ValueKind switch
        {
            JsonValueKind.True => Generation.EarlyStopping.WhenEnough,
            JsonValueKind.False => Generation.EarlyStopping.WhenUnlikely,
            JsonValueKind.String when Json.ValueEquals("never") => Generation.EarlyStopping.Never,
            _ => throw Bad(Say("true, false or \"never\"", "true、false、\"never\" のどれか")),
        };

        public IEnumerable<Value> Items()
        {
            if (Json.ValueKind != JsonValueKind.Array) throw Bad(Say("a list", "リスト"));
            Value parent = this;
            return Json.EnumerateArray().Select(item => parent with { Json = item });
        }

        /// <summary>A list of whole numbers; a single number is a list of one.</summary>
        public IReadOnlyList<int> Integers() =>
            Json.ValueKind == JsonValueKind.Array ? [.. Items().Select(item => item.Integer())] : [Integer()];

        public IReadOnlyList<string> Strings() => Json.ValueKind == JsonValueKind.Array
            ? [.. Items().Select(item => item.Text())] : [Text()];

        public SequenceBias Bias()
        {
            Value[] pair = [.. Items()];
            return pair.Length == 2 ? new SequenceBias(pair[0].Integers(), pair[1].Number()) : throw Bad(Say("a list of [[ids], bias] pairs", "[[ids], bias] の組のリスト"));
        }

        public ExponentialDecay Decay()
        {
            Value[] pair = [.. Items()];
            return pair.Length == 2 ? new ExponentialDecay(pair[0].Integer(), pair[1].Number()) : throw Bad("[start, factor]");
        }

        public void RequireNeutral(double? neutral)
        {
            bool nothing = Json.ValueKind switch
            {
                JsonValueKind.False => true,
                JsonValueKind.Array => Json.GetArrayLength() == 0,
                JsonValueKind.Number => Json.TryGetDouble(out double number) && number == neutral,
                _ => false,
            };
            if (!nothing)
                throw new NotSupportedException(Say(
                    $"{File}: '{Key}' is {Show()}, which fude does not carry out. It supports greedy search, sampling and beam search " +
                    "with the processors of transformers 4.41; set the key to null to do without.",
                    $"{File}: '{Key}' の {Show()} には対応していません。使えるのは貪欲法、サンプリング、ビームサーチと、transformers 4.41 のロジット処理です。" +
                    "キーを null にすれば、これなしで生成できます。"));
        }

        private string Text() => Json.ValueKind == JsonValueKind.String ? Json.GetString()! : throw Bad(Say("text", "文字列"));

        private string Show()
        {
            string text = Json.GetRawText();
            return text.Length <= 40 ? text : string.Create(CultureInfo.InvariantCulture, $"{text.AsSpan(0, 40)}…");
        }

        private InvalidDataException Bad(string expected) => new(Say($"{File}: '{Key}' is {Show()}; expected {expected}.", $"{File}: '{Key}' が {Show()} です（必要: {expected}）。"));
    }
}
