using System.Text.Json;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>What an answer can be held to without judgement: whether it has the words, the form or the exact text that was asked for.</summary>
/// <remarks>After IFEval (Zhou et al., 2023, arXiv:2311.07911). What is null or empty is not asked for.</remarks>
public sealed record AnswerCheck
{
    private const int LongestName = 40;

    /// <summary>The whole answer.</summary>
    public string? Exactly { get; init; }

    /// <summary>How it begins.</summary>
    public string? Begins { get; init; }

    /// <summary>What occurs in it.</summary>
    public IReadOnlyList<string> Contains { get; init; } = [];

    /// <summary>How many sentences it has.</summary>
    public int? Sentences { get; init; }

    /// <summary>How many lines it has, each of them an item of a list ("- …"), none like another.</summary>
    public int? Items { get; init; }

    /// <summary>In what its items occur.</summary>
    public string? From { get; init; }

    /// <summary>Whether nothing is asked for.</summary>
    public bool IsEmpty => Exactly is null && Begins is null && Contains.Count == 0 && Sentences is null && Items is null && From is null;

    /// <summary>Whether an answer is what was asked for.</summary>
    /// <param name="answer">The answer; white space around it does not matter.</param>
    public bool IsMetBy(string answer)
    {
        ArgumentNullException.ThrowIfNull(answer);
        answer = answer.Trim();
        if (answer.Length == 0) return false;
        if (Exactly is not null && answer != Exactly.Trim()) return false;
        if (Begins is not null && !answer.StartsWith(Begins, StringComparison.Ordinal)) return false;
        if (Contains.Any(word => !answer.Contains(word, StringComparison.Ordinal))) return false;
        if (Sentences is { } sentences && JapaneseText.Sentences(answer, takesRest: true).Count() != sentences) return false;
        if (Items is null && From is null) return true;
        string[] lines = answer.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string?[] items = [.. lines.Select(MinedList.ItemOf)];
        if (Array.Exists(items, string.IsNullOrEmpty) || items.Distinct().Count() != items.Length) return false;
        if (Items is { } count && items.Length != count) return false;
        return From is null || Array.TrueForAll(items, item => From.Contains(item!, StringComparison.Ordinal));
    }

    /// <summary>Writes it as a JSON object.</summary>
    /// <param name="json">Where to.</param>
    public void WriteTo(Utf8JsonWriter json)
    {
        ArgumentNullException.ThrowIfNull(json);
        json.WriteStartObject();
        if (Exactly is not null) json.WriteString("exactly", Exactly);
        if (Begins is not null) json.WriteString("begins", Begins);
        if (Contains.Count > 0)
        {
            json.WriteStartArray("contains");
            foreach (string word in Contains) json.WriteStringValue(word);
            json.WriteEndArray();
        }
        if (Sentences is { } sentences) json.WriteNumber("sentences", sentences);
        if (Items is { } items) json.WriteNumber("items", items);
        if (From is not null) json.WriteString("from", From);
        json.WriteEndObject();
    }

    /// <summary>Reads what <see cref="WriteTo"/> writes.</summary>
    /// <param name="json">The object.</param>
    /// <exception cref="InvalidDataException">It is no such object.</exception>
    public static AnswerCheck Of(JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Object) throw new InvalidDataException(Say(
            $"a check is an object of exactly, begins, contains, sentences, items and from, but this is {KindOf(json.ValueKind)}",
            $"check は exactly、begins、contains、sentences、items、from からなるオブジェクトですが、{KindOf(json.ValueKind)}です"));
        AnswerCheck check = new();
        foreach (JsonProperty property in json.EnumerateObject())
        {
            JsonElement value = property.Value;
            check = (property.Name, value.ValueKind) switch
            {
                ("exactly", JsonValueKind.String) => check with { Exactly = value.GetString() },
                ("begins", JsonValueKind.String) => check with { Begins = value.GetString() },
                ("from", JsonValueKind.String) => check with { From = value.GetString() },
                ("sentences", JsonValueKind.Number) when value.TryGetInt32(out int count) && count > 0 => check with { Sentences = count },
                ("items", JsonValueKind.Number) when value.TryGetInt32(out int count) && count > 0 => check with { Items = count },
                ("contains", JsonValueKind.Array) when value.EnumerateArray().All(word => word.ValueKind == JsonValueKind.String) =>
                    check with { Contains = [.. value.EnumerateArray().Select(word => word.GetString()!)] },
                ("exactly" or "begins" or "from", _) => throw Broken("a text", "文字列"),
                ("sentences" or "items", _) => throw Broken("a whole number above 0", "1 以上の整数"),
                ("contains", _) => throw Broken("a list of texts", "文字列のリスト"),
                _ => throw new InvalidDataException(Say(
                    $"a check has no \"{Named(property)}\" but exactly, begins, contains, sentences, items and from",
                    $"check に \"{Named(property)}\" というキーはありません。exactly、begins、contains、sentences、items、from があります")),
            };

            InvalidDataException Broken(string expected, string expectedInJapanese) => new(Say(
                $"\"{property.Name}\" of a check is {expected}", $"check の \"{property.Name}\" は{expectedInJapanese}です"));
        }
        return check;

        static string Named(JsonProperty property) => property.Name.Length <= LongestName ? property.Name : string.Concat(property.Name.AsSpan(0, LongestName), "…");
    }
}
