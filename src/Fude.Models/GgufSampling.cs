using System.Globalization;
using System.Text;
using System.Text.Json;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>How a model is best sampled, in a GGUF file: all of generation_config.json for fude, and of it what llama.cpp reads
/// (general.sampling.*, its pull request 17120).</summary>
internal static class GgufSampling
{
    private const string WholeKey = "fude.generation_config", Prefix = "general.sampling.", TemperatureKey = Prefix + "temp";

    // llama.cpp looks for repetitions among the last 64 tokens, transformers among all.
    private static readonly (string Json, string Gguf, bool IsWhole)[] Keys =
    [
        ("temperature", TemperatureKey, false),
        ("top_k", Prefix + "top_k", true),
        ("top_p", Prefix + "top_p", false),
        ("min_p", Prefix + "min_p", false),
        ("repetition_penalty", Prefix + "penalty_repeat", false),
    ];

    /// <summary>The metadata that a generation_config.json becomes.</summary>
    public static IEnumerable<KeyValuePair<string, object>> Write(JsonElement? generation)
    {
        if (generation is not { } json) yield break;
        yield return new(WholeKey, json.GetRawText());
        // Without do_sample the text is the most probable one: nothing of what follows has an effect.
        if (!json.TryGetProperty("do_sample", out JsonElement samples) || samples.ValueKind != JsonValueKind.True) yield break;
        foreach ((string key, string name, bool isWhole) in Keys)
        {
            if (!json.TryGetProperty(key, out JsonElement value) || value.ValueKind != JsonValueKind.Number) continue;
            if (!isWhole) yield return new(name, value.GetSingle());
            else if (value.TryGetInt32(out int whole)) yield return new(name, whole);
        }
    }

    /// <summary>What generation_config.json would say, or null where the file says nothing.</summary>
    /// <param name="metadata">The file's.</param>
    /// <param name="config">Names the end tokens.</param>
    /// <param name="path">The file, for messages.</param>
    /// <exception cref="InvalidDataException">A value is not of its key's kind.</exception>
    public static JsonElement? Read(IReadOnlyDictionary<string, object> metadata, ModelConfig config, string path)
    {
        if (metadata.GetValueOrDefault(WholeKey) is { } whole)
            return whole is string text ? ConfigReader.Parse(Encoding.UTF8.GetBytes(text), $"{path}: {WholeKey}").Json
                : throw new InvalidDataException(Say(
                    $"{path}: {WholeKey} is no text; it should be a generation_config.json.",
                    $"{path}: {WholeKey} が文字列ではありません。generation_config.json の内容でなければなりません。"));
        if (!metadata.ContainsKey(TemperatureKey)) return null;      // nobody asks for sampling, which is what the others are of
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            foreach ((string key, string name, bool isWhole) in Keys)
            {
                if (!metadata.TryGetValue(name, out object? value)) continue;
                double number = value switch
                {
                    float single => double.Parse(single.ToString("R", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture),      // 0.7, not 0.699999988
                    double or int or uint or long or ulong or short or ushort or byte or sbyte => Convert.ToDouble(value, CultureInfo.InvariantCulture),
                    _ => double.NaN,
                };
                if (!double.IsFinite(number) || (isWhole && number != (int)number))
                    throw new InvalidDataException(Say(
                        $"{path}: {name} is {value}; a {(isWhole ? "whole " : "")}number is expected.",
                        $"{path}: {name} が {value} です。{(isWhole ? "整数" : "数値")}が必要です。"));
                // To llama.cpp 0 and less mean: as temperature and as top_p, the most probable token alone; as the others, nothing.
                if (key == "temperature") json.WriteBoolean("do_sample", number > 0);
                if (key == "top_p") json.WriteNumber(key, Math.Clamp(number, 0, 1));
                else if (number > 0) json.WriteNumber(key, number);
                else if (isWhole) json.WriteNumber(key, 0);
            }
            json.WriteStartArray("eos_token_id");
            foreach (int id in config.EosTokens) json.WriteNumberValue(id);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return ConfigReader.Parse(stream.ToArray(), path).Json;
    }
}
