using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Tokenizers.Files;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>What a value of a recipe is.</summary>
internal enum RecipeValueKind
{
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

/// <summary>A place in a recipe, as compilers and editors write it: FILE:LINE:COLUMN, both from 1, columns in characters.</summary>
internal readonly record struct RecipePlace(string File, int Line, int Column)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{File}:{Line}:{Column}");

    /// <summary>A failure that names the place.</summary>
    public Failure Wrong(string english, string japanese) => new($"{this}: {english}", $"{this}: {japanese}");
}

/// <summary>A member of an object: its name, where that stands, and its value.</summary>
internal sealed record RecipeMember(string Name, RecipePlace Place, RecipeValue Value);

/// <summary>A JSON value that knows where it stands. Comments (// and /* */) and commas before a closing bracket are let pass.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Place">Its first character.</param>
/// <param name="Text">A string's text, or a number as it is written.</param>
/// <param name="Items">An array's values.</param>
/// <param name="Members">An object's members, in order.</param>
internal sealed record RecipeValue(
    RecipeValueKind Kind, RecipePlace Place, string Text, IReadOnlyList<RecipeValue> Items, IReadOnlyList<RecipeMember> Members)
{
    private const int LargestFile = 1 << 20, Deepest = 32;

    /// <summary>What it is, for a person.</summary>
    public string KindName => Kind switch
    {
        RecipeValueKind.Object => Say("an object", "オブジェクト"),
        RecipeValueKind.Array => Say("a list", "リスト"),
        RecipeValueKind.String => Say("a string", "文字列"),
        RecipeValueKind.Number => Say("a number", "数"),
        RecipeValueKind.Boolean => Say("true or false", "真偽値"),
        _ => "null",
    };

    /// <summary>The member of a name, or null.</summary>
    public RecipeMember? this[string name] => Members.FirstOrDefault(member => member.Name == name);

    /// <summary>Reads a file.</summary>
    /// <exception cref="Failure">It is not JSON, or an object has a name twice.</exception>
    public static RecipeValue ReadFile(string file)
    {
        if (Directory.Exists(file))
            throw new Failure($"{file} is a folder; the file of a recipe is expected.", $"{file} はフォルダーです。レシピのファイルを指定してください。");
        if (!File.Exists(file)) throw new Failure($"{file}: there is no such recipe.", $"{file}: そのようなレシピはありません。");
        if (new FileInfo(file).Length > LargestFile)
            throw new Failure($"{file}: is larger than {LargestFile >> 20} MiB; it is no recipe.", $"{file}: {LargestFile >> 20} MiB を超えています。レシピではありません。");
        byte[] bytes = File.ReadAllBytes(file);
        return Read(bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes[3..] : bytes, file);
    }

    /// <summary>Reads the JSON of a file.</summary>
    public static RecipeValue Read(byte[] bytes, string file)
    {
        Utf8JsonReader reader = new(bytes, new JsonReaderOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, MaxDepth = Deepest });
        try
        {
            _ = reader.Read();
            RecipeValue value = Read(ref reader, bytes, file);
            _ = reader.Read();      // nothing may follow
            return value;
        }
        catch (JsonException e)
        {
            long offset = OffsetOf(bytes, e.LineNumber ?? 0, e.BytePositionInLine ?? 0);
            string what = JsonMistake.What(e, bytes);
            throw PlaceOf(bytes, offset, file).Wrong($"this is not JSON: {what}.", $"JSON として読めません: {what}。");
        }
        catch (InvalidOperationException)
        {
            throw PlaceOf(bytes, reader.TokenStartIndex, file).Wrong("the text is not valid UTF-8, or escapes half a character.", "文字列が UTF-8 として正しくありません。");
        }
    }

    /// <summary>The value as JSON of its own, without what only people read: a member a line, lists on one.</summary>
    public string ToJson()
    {
        StringBuilder text = new();
        Append(text, "");
        return text.Append('\n').ToString();
    }

    private void Append(StringBuilder text, string indent)
    {
        switch (Kind)
        {
            case RecipeValueKind.Object when Members.Count > 0:
                string inner = indent + "  ", separator = "{";
                foreach (RecipeMember member in Members)
                {
                    text.Append(separator).Append('\n').Append(inner).Append('"').Append(Escaped(member.Name)).Append("\": ");
                    member.Value.Append(text, inner);
                    separator = ",";
                }
                text.Append('\n').Append(indent).Append('}');
                break;
            case RecipeValueKind.Object:
                text.Append("{}");
                break;
            case RecipeValueKind.Array:
                text.Append('[');
                for (int i = 0; i < Items.Count; i++)
                {
                    if (i > 0) text.Append(", ");
                    Items[i].Append(text, indent);
                }
                text.Append(']');
                break;
            case RecipeValueKind.String:
                text.Append('"').Append(Escaped(Text)).Append('"');
                break;
            case RecipeValueKind.Null:
                text.Append("null");
                break;
            default:
                text.Append(Text);       // a number as it was written, true or false
                break;
        }
    }

    private static string Escaped(string text) => JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping).ToString();

    private static RecipeValue Read(ref Utf8JsonReader reader, byte[] bytes, string file)
    {
        RecipePlace place = PlaceOf(bytes, reader.TokenStartIndex, file);
        List<RecipeValue> items = [];
        List<RecipeMember> members = [];
        string text = "";
        RecipeValueKind kind;
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                kind = RecipeValueKind.Object;
                while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
                {
                    (string name, RecipePlace of) = (reader.GetString()!, PlaceOf(bytes, reader.TokenStartIndex, file));
                    if (members.Exists(member => member.Name == name)) throw of.Wrong($"'{name}' is given twice.", $"'{name}' が二度書かれています。");
                    _ = reader.Read();
                    members.Add(new RecipeMember(name, of, Read(ref reader, bytes, file)));
                }
                break;
            case JsonTokenType.StartArray:
                kind = RecipeValueKind.Array;
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray) items.Add(Read(ref reader, bytes, file));
                break;
            case JsonTokenType.String:
                (kind, text) = (RecipeValueKind.String, reader.GetString()!);
                break;
            case JsonTokenType.Number:
                (kind, text) = (RecipeValueKind.Number, Encoding.UTF8.GetString(reader.ValueSpan));
                break;
            case JsonTokenType.True or JsonTokenType.False:
                (kind, text) = (RecipeValueKind.Boolean, reader.GetBoolean() ? "true" : "false");
                break;
            default:
                kind = RecipeValueKind.Null;
                break;
        }
        return new RecipeValue(kind, place, text, items, members);
    }

    private static long OffsetOf(byte[] bytes, long line, long column)
    {
        int start = 0;
        for (; line > 0 && start < bytes.Length; line--)
        {
            int end = bytes.AsSpan(start).IndexOf((byte)'\n');
            if (end < 0) break;
            start += end + 1;
        }
        return Math.Min(bytes.Length, start + column);
    }

    private static RecipePlace PlaceOf(byte[] bytes, long offset, string file)
    {
        ReadOnlySpan<byte> before = bytes.AsSpan(0, (int)Math.Min(bytes.Length, offset));
        int line = before.Count((byte)'\n'), start = before.LastIndexOf((byte)'\n') + 1;
        return new RecipePlace(file, line + 1, Encoding.UTF8.GetString(before[start..]).EnumerateRunes().Count() + 1);
    }
}
