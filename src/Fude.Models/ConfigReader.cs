using System.Globalization;
using System.Text.Json;
using Fude.Tokenizers.Files;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>Reads the keys of a JSON object from a model's folder and says, when one is wrong, which file and key it was.</summary>
internal sealed class ConfigReader(JsonElement json, string file, string within = "")
{
    // Bounds that no real model comes near: what lies beyond is a typing error or an attack, and would overflow later arithmetic.
    internal const int MaxWidth = 1 << 20;
    internal const int MaxVocabulary = 1 << 24;
    internal const int MaxLayers = 4096;
    internal const int MaxContext = 1 << 27;

    /// <summary>The file, for messages.</summary>
    public string File => file;

    /// <summary>Reads a whole file that must hold one JSON object.</summary>
    /// <exception cref="InvalidDataException">It is not JSON, or no object.</exception>
    public static ConfigReader Load(string file)
    {
        const long Limit = 64L << 20;
        if (Directory.Exists(file))
            throw new InvalidDataException(Say(
                $"{file} is a folder; a file with a JSON object is expected.",
                $"{file} はフォルダーです。JSON オブジェクトのファイルが必要です。"));
        FileInfo info = new(file);
        if (info.LinkTarget is not null) info = new(info.ResolveLinkTarget(returnFinalTarget: true)!.FullName);
        // Before it is opened: a pipe, which would be waited for, and a device, which might never end, have no length either.
        if (info.Exists && info.Length == 0)
            throw new InvalidDataException(Say(
                $"{file} is empty; expected a JSON object. Download or copy it again.",
                $"{file} が空です。JSON オブジェクトが必要です。ダウンロードまたはコピーをやり直してください。"));
        if (info.Exists && info.Length > Limit)
            throw new InvalidDataException(Say(
                $"{file} is {info.Length} bytes long; a configuration has at most {Limit}. It is some other file.",
                $"{file} は {info.Length} バイトあります。設定ファイルは {Limit} バイトまでなので、別のファイルでしょう。"));
        return Parse(ModelFolder.Reading(file, () => System.IO.File.ReadAllBytes(file)), file);
    }

    /// <summary>Reads JSON text that must be one object.</summary>
    public static ConfigReader Parse(ReadOnlyMemory<byte> utf8, string file)
    {
        if (utf8.Span.StartsWith("\uFEFF"u8)) utf8 = utf8[3..];
        try
        {
            RequireText(utf8.Span, file);
            using JsonDocument document = JsonDocument.Parse(utf8);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new InvalidDataException(Say(
                    $"{file} holds a JSON {Kind(document.RootElement)}, not an object.",
                    $"{file} の JSON は{Kind(document.RootElement)}で、オブジェクトではありません。"));
            return new ConfigReader(document.RootElement.Clone(), file);
        }
        catch (JsonException e)
        {
            string what = JsonMistake.InFile(e, utf8.Span);
            throw new InvalidDataException(Say($"{file} is not valid JSON: {what}.", $"{file} は正しい JSON ではありません: {what}。"), e);
        }
    }

    // JSON's grammar lets half a surrogate pair and bytes that are no UTF-8 pass; whoever read such a string later would fail then.
    private static void RequireText(ReadOnlySpan<byte> utf8, string file)
    {
        Utf8JsonReader reader = new(utf8);
        while (reader.Read())
        {
            if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName)) continue;
            try
            {
                _ = reader.GetString();
            }
            catch (InvalidOperationException e)
            {
                throw new InvalidDataException(
                    Say($"{file}: the string at byte {reader.TokenStartIndex} holds half a surrogate pair or bytes that are no UTF-8. " +
                        "Save the file as UTF-8.",
                        $"{file}: {reader.TokenStartIndex} バイト目の文字列に、片方だけのサロゲートか UTF-8 でないバイトがあります。" +
                        "UTF-8 で保存し直してください。"), e);
            }
        }
    }

    /// <summary>The object itself.</summary>
    public JsonElement Json => json;

    /// <summary>Whether the key is there and not null.</summary>
    public bool Has(string key) => json.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    /// <summary>Whether the key is there, null or not.</summary>
    public bool Mentions(string key) => json.TryGetProperty(key, out _);

    /// <summary>The value of a key, or null when it is absent or null.</summary>
    public JsonElement? Value(string key) =>
        json.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>A count that must be there, at least 1.</summary>
    public int Count(string key, int max)
    {
        JsonElement value = Value(key) ?? throw Bad(key, "is missing; expected a whole number", "がありません。整数が必要です");
        return Integer(key, value, 1, max);
    }

    /// <summary>A count, at least 1, or a default when the key is absent.</summary>
    public int Count(string key, int max, int absent) => Mentions(key) ? Count(key, max) : absent;

    /// <summary>A count, at least 1, or null when the key is absent or null.</summary>
    public int? CountOrNull(string key, int max) => Value(key) is { } value ? Integer(key, value, 1, max) : null;

    /// <summary>A number within bounds (the lower one itself excluded), or a default when the key is absent.</summary>
    public double Number(string key, double absent, double above, double max)
    {
        if (!json.TryGetProperty(key, out JsonElement value)) return absent;
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out double number) || !double.IsFinite(number))
            throw Bad(key, $"is {Show(value)}; expected a number", $"が {Show(value)} です。数値が必要です");
        if (!(number > above && number <= max))
            throw Bad(
                key, $"is {Show(value)}; expected more than {Text(above)} and at most {Text(max)}",
                $"が {Show(value)} です。{Text(above)} より大きく {Text(max)} 以下の数値が必要です");
        return number;
    }

    /// <summary>A number that must be there.</summary>
    public double Number(string key, double above, double max) =>
        Has(key) ? Number(key, 0, above, max) : throw Bad(key, "is missing; expected a number", "がありません。数値が必要です");

    /// <summary>True or false, or a default when the key is absent or null.</summary>
    public bool Flag(string key, bool absent) => Value(key) switch
    {
        null => absent,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Bad(key, $"is {Show(value)}; expected true or false", $"が {Show(value)} です。true か false が必要です"),
    };

    /// <summary>A string, or null when the key is absent or null.</summary>
    public string? TextOrNull(string key) => Value(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.String } value => value.GetString(),
        { } value => throw Bad(key, $"is {Show(value)}; expected a string", $"が {Show(value)} です。文字列が必要です"),
    };

    /// <summary>A list of strings, empty when the key is absent or null.</summary>
    public IReadOnlyList<string> Texts(string key)
    {
        if (Value(key) is not { } list) return [];
        if (list.ValueKind != JsonValueKind.Array) throw Bad(key, $"is {Show(list)}; expected a list of strings", $"が {Show(list)} です。文字列のリストが必要です");
        List<string> texts = [];
        foreach (JsonElement item in list.EnumerateArray())
            texts.Add(item.ValueKind == JsonValueKind.String ? item.GetString()!
                : throw Bad(key, $"holds {Show(item)}; expected strings", $"に {Show(item)} があります。文字列が必要です"));
        return texts;
    }

    /// <summary>A token id; a default when the key is absent, null when it is null.</summary>
    public int? Token(string key, int? absent)
    {
        if (!json.TryGetProperty(key, out JsonElement value)) return absent;
        return value.ValueKind == JsonValueKind.Null ? null : Integer(key, value, 0, int.MaxValue);
    }

    /// <summary>pad_token_id; -1, which the first Llama conversions wrote, stands for none.</summary>
    public int? PadToken() => Value("pad_token_id") is { ValueKind: JsonValueKind.Number } pad && pad.TryGetInt32(out int id) && id == -1
        ? null
        : Token("pad_token_id", null);

    /// <summary>One token id or a list of them.</summary>
    public IReadOnlyList<int> Tokens(string key, int? absent)
    {
        if (Value(key) is not { ValueKind: JsonValueKind.Array } list) return Token(key, absent) is { } token ? [token] : [];
        return [.. list.EnumerateArray().Select(item => Integer(key, item, 0, int.MaxValue))];
    }

    /// <summary>A nested object, or null when the key is absent or null.</summary>
    public ConfigReader? Under(string key) => Value(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Object } value => new ConfigReader(value, file, $"{within}{key}."),
        { } value => throw Bad(key, $"is {Show(value)}; expected an object", $"が {Show(value)} です。オブジェクトが必要です"),
    };

    /// <summary>Refuses a key that asks for something fude does not compute, unless it is absent, null, false or harmless.</summary>
    /// <param name="key">The key.</param>
    /// <param name="english">What fude supports instead, for the message.</param>
    /// <param name="japanese">The same in Japanese.</param>
    /// <param name="harmless">Values that change nothing, as JSON text.</param>
    public void Refuse(string key, string english, string japanese, params ReadOnlySpan<string> harmless)
    {
        if (Value(key) is not { } value || value.ValueKind == JsonValueKind.False) return;
        string raw = value.GetRawText();
        foreach (string text in harmless) if (raw == text) return;
        throw Unsupported(key, english, japanese);
    }

    /// <summary>The error for an unsupported value.</summary>
    /// <param name="key">The key.</param>
    /// <param name="english">What fude supports.</param>
    /// <param name="japanese">The same in Japanese.</param>
    public NotSupportedException Unsupported(string key, string english, string japanese)
    {
        string? value = Value(key) is { } given ? Show(given) : null;
        return new(Say(
            $"{file}: {within}{key} is {value ?? "missing"}, which fude does not support; it supports {english}.",
            $"{file}: {within}{key} {(value is null ? "がありません" : $"の値 {value} には対応していません")}。fude が対応しているもの: {japanese}。"));
    }

    /// <summary>The error for a wrong value.</summary>
    /// <param name="key">The key.</param>
    /// <param name="english">What is wrong with it, to be read after its name.</param>
    /// <param name="japanese">The same in Japanese.</param>
    public InvalidDataException Bad(string key, string english, string japanese) =>
        new(Say($"{file}: {within}{key} {english}.", $"{file}: {within}{key} {japanese}。"));

    private int Integer(string key, JsonElement value, int min, int max)
    {
        if (value.ValueKind != JsonValueKind.Number) throw Bad(key, $"is {Show(value)}; expected a whole number", $"が {Show(value)} です。整数が必要です");
        return value.TryGetInt64(out long number) && number >= min && number <= max
            ? (int)number
            : throw Bad(
                key, $"is {Show(value)}; expected a whole number from {min} to {max}", $"が {Show(value)} です。{min} から {max} までの整数が必要です");
    }

    private static string Show(JsonElement value)
    {
        string raw = value.GetRawText();
        return raw.Length <= 60 ? raw : $"{raw.AsSpan(0, 57)}...";
    }

    private static string Kind(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Array => Say("list", "リスト"),
        JsonValueKind.String => Say("string", "文字列"),
        JsonValueKind.Number => Say("number", "数値"),
        JsonValueKind.Null => Say("null", " null "),
        _ => Say("boolean", "真偽値"),
    };

    private static string Text(double number) => number.ToString(CultureInfo.InvariantCulture);
}
