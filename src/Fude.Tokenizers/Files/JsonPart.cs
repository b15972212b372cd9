using System.Globalization;
using System.Text.Json;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Files;

/// <summary>A value of a JSON file that knows where it stands, so that what is wrong with it can be told.</summary>
internal readonly struct JsonPart
{
    private const int MaxDepth = 64;

    private readonly JsonElement _element;
    private readonly string _path;
    private readonly int _item, _itemOfItem;      // of the list at _path; -1 for the value there itself

    private JsonPart(JsonElement element, string source, string path, int item = -1, int itemOfItem = -1) =>
        (_element, Source, _path, _item, _itemOfItem) = (element, source, path, item, itemOfItem);

    /// <summary>The file, as it was named.</summary>
    internal string Source { get; }

    /// <summary>Where in the file, such as "model.merges[3]". Written when it is asked for: a vocabulary has ten thousands of items.</summary>
    internal string Path => string.Create(CultureInfo.InvariantCulture,
        $"{_path}{(_item < 0 ? "" : $"[{_item}]")}{(_itemOfItem < 0 ? "" : $"[{_itemOfItem}]")}");

    internal static JsonPart Read(string file) => Parse(ReadBytes(file), file);

    /// <summary>The bytes of a file that must not be empty.</summary>
    internal static byte[] ReadBytes(string file)
    {
        FileInfo info = new(file);
        if (info.LinkTarget is not null) info = new(info.ResolveLinkTarget(returnFinalTarget: true)!.FullName);
        // Before it is opened: a pipe, which would be waited for, and a device, which might never end, have no length either.
        return info.Exists && info.Length == 0
            ? throw new InvalidDataException(Say($"{file} is empty. Download or copy it again.", $"{file} が空です。ダウンロードまたはコピーをやり直してください。"))
            : File.ReadAllBytes(file);
    }

    internal static JsonPart Parse(ReadOnlyMemory<byte> json, string source)
    {
        try
        {
            // A byte order mark is no JSON, but some editors leave one.
            if (json.Span.StartsWith("\uFEFF"u8)) json = json[3..];
            // Never disposed: what is read lives as long as the caller wants it, and the memory is the collector's.
            return new(JsonDocument.Parse(json, new() { MaxDepth = MaxDepth }).RootElement, source, "");
        }
        catch (JsonException e)
        {
            string what = JsonMistake.InFile(e, json.Span);
            throw new InvalidDataException(Say($"{source} is no JSON: {what}.", $"{source} が JSON になっていません: {what}。"), e);
        }
    }

    internal bool IsObject => _element.ValueKind == JsonValueKind.Object;

    internal bool IsArray => _element.ValueKind == JsonValueKind.Array;

    internal bool IsString => _element.ValueKind == JsonValueKind.String;

    /// <summary>The value of a key, or null when it is missing or null.</summary>
    internal JsonPart? Find(string key)
    {
        if (!IsObject) throw Wrong(Say("an object", "オブジェクト"));
        try
        {
            return _element.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null
                ? new(value, Source, Path.Length == 0 ? key : $"{Path}.{key}") : null;
        }
        catch (InvalidOperationException e)
        {
            throw BadKey(e);        // another key was looked at
        }
    }

    internal JsonPart Get(string key) =>
        Find(key) ?? throw new InvalidDataException(Say($"{Source}: {Place} has no \"{key}\".", $"{Source}: {PlaceInJapanese}に \"{key}\" がありません。"));

    /// <summary>Writes the value under a name.</summary>
    internal void WriteTo(Utf8JsonWriter json, string name)
    {
        json.WritePropertyName(name);
        _element.WriteTo(json);
    }

    internal string Text()
    {
        if (!IsString) throw Wrong(Say("a string", "文字列"));
        try
        {
            return _element.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new InvalidDataException(Say(
                $"{Source}: {Path} holds half a surrogate pair or bytes that are no UTF-8.",
                $"{Source}: {Path} に、サロゲートペアの片方だけ、または UTF-8 でないバイトが含まれています。"), e);
        }
    }

    internal bool Boolean() => _element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong(Say("true or false", "true または false")),
    };

    internal int Integer() =>
        _element.ValueKind == JsonValueKind.Number && _element.TryGetInt32(out int value) ? value : throw Wrong(Say("an integer of 32 bits", "32 ビット整数"));

    internal double Number() =>
        _element.ValueKind == JsonValueKind.Number && _element.TryGetDouble(out double value) && double.IsFinite(value) ? value : throw Wrong(Say("a number", "数"));

    /// <summary>
    /// A number as Rust's serde_json reads it, which Hugging Face's library uses: all digits as one integer, then one multiplication or
    /// division by a power of ten. The last bit may differ from the nearest double, and decides between segmentations of equal score.
    /// </summary>
    internal double SerdeNumber()
    {
        double nearest = Number();
        ReadOnlySpan<char> text = _element.GetRawText();
        bool isNegative = text[0] == '-';
        ulong digits = 0;
        int exponent = 0, at = isNegative ? 1 : 0;
        bool isFraction = false, isFull = false;
        for (; at < text.Length && text[at] is not ('e' or 'E'); at++)
        {
            if (text[at] == '.')
            {
                isFraction = true;
                continue;
            }
            ulong digit = (ulong)(text[at] - '0');
            isFull |= digits > (ulong.MaxValue - digit) / 10;
            if (isFull)
            {
                exponent += isFraction ? 0 : 1;
                continue;
            }
            digits = (digits * 10) + digit;
            exponent -= isFraction ? 1 : 0;
        }
        if (at < text.Length)
        {
            if (!int.TryParse(text[(at + 1)..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int power) || Math.Abs(power) > 400) return nearest;
            exponent += power;
        }
        if (Math.Abs(exponent) > 308) return nearest;
        double value = exponent >= 0 ? digits * PowersOfTen[exponent] : digits / PowersOfTen[-exponent];
        return isNegative ? -value : value;
    }

    private static readonly double[] PowersOfTen =
        [.. Enumerable.Range(0, 309).Select(n => double.Parse(string.Create(CultureInfo.InvariantCulture, $"1e{n}"), CultureInfo.InvariantCulture))];

    internal string? Text(string key) => Find(key)?.Text();

    internal bool Boolean(string key, bool otherwise) => Find(key)?.Boolean() ?? otherwise;

    internal int Count => IsArray ? _element.GetArrayLength() : throw Wrong(Say("a list", "リスト"));

    internal IEnumerable<JsonPart> Items()
    {
        if (!IsArray) throw Wrong(Say("a list", "リスト"));
        int i = 0;
        foreach (JsonElement element in _element.EnumerateArray()) yield return Item(element, i++);
    }

    /// <summary>The two items of a list of two.</summary>
    internal bool TryPair(out JsonPart first, out JsonPart second)
    {
        bool isPair = IsArray && _element.GetArrayLength() == 2;
        first = isPair ? Item(_element[0], 0) : default;
        second = isPair ? Item(_element[1], 1) : default;
        return isPair;
    }

    private JsonPart Item(JsonElement element, int i) =>
        _item < 0 ? new(element, Source, _path, i) : _itemOfItem < 0 ? new(element, Source, _path, _item, i) : new(element, Source, Path, i);

    internal IEnumerable<(string Key, JsonPart Value)> Properties()
    {
        if (!IsObject) throw Wrong(Say("an object", "オブジェクト"));
        foreach (JsonProperty property in _element.EnumerateObject())
        {
            string name;
            try
            {
                name = property.Name;
            }
            catch (InvalidOperationException e)
            {
                throw BadKey(e);
            }
            yield return (name, new(property.Value, Source, Path.Length == 0 ? name : $"{Path}.{name}"));
        }
    }

    private InvalidDataException BadKey(InvalidOperationException e) => new(Say(
        $"{Source}: a key in {Place} holds half a surrogate pair or bytes that are no UTF-8.",
        $"{Source}: {PlaceInJapanese}のキーに、サロゲートペアの片方だけ、または UTF-8 でないバイトが含まれています。"), e);

    /// <summary>For a value that is not of the expected type.</summary>
    internal InvalidDataException Wrong(string expected)
    {
        string found = _element.ValueKind switch
        {
            JsonValueKind.True or JsonValueKind.False or JsonValueKind.Null => _element.GetRawText(),
            JsonValueKind.Number when _element.GetRawText() is { Length: <= 40 } number => number,
            JsonValueKind kind => KindOf(kind),
        };
        return new(Say($"{Source}: {Place} should be {expected}, but is {found}.", $"{Source}: {PlaceInJapanese}が正しくありません（必要: {expected}、実際: {found}）。"));
    }

    private string Place => Path.Length == 0 ? "the file" : Path;

    private string PlaceInJapanese => Path.Length == 0 ? "ファイル全体" : $"{Path} ";
}
