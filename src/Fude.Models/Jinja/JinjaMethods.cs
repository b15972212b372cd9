using System.Text;
using static Fude.Tensors.Wording;

namespace Fude.Models.Jinja;

/// <summary>The methods of strings and dicts, as Python has them.</summary>
internal static class JinjaMethods
{
    private static readonly string[] OfStrings =
        ["strip", "lstrip", "rstrip", "upper", "lower", "title", "startswith", "endswith", "split", "replace"];

    private static readonly string[] OfDicts = ["items", "get", "keys", "values"];

    public static string NamesFor(object? value) => value switch
    {
        string => string.Join(Say(", ", "、"), OfStrings),
        OrderedDictionary<string, object?> => string.Join(Say(", ", "、"), OfDicts),
        _ => Say("none", "なし"),
    };

    public static JinjaFunction? Find(object? value, string name) => value switch
    {
        string text when OfStrings.Contains(name) => arguments => Call(text, name, arguments),
        OrderedDictionary<string, object?> dict when OfDicts.Contains(name) => arguments => Call(dict, name, arguments),
        _ => null,
    };

    private static object? Call(string text, string name, JinjaArguments arguments)
    {
        JinjaRendering to = arguments.Rendering;
        int offset = arguments.Offset;
        to.SpendText(text.Length, offset);
        object? result = name switch
        {
            "strip" => Strip(text, arguments.TakeTextOrNull("chars"), true, true, to, offset),
            "lstrip" => Strip(text, arguments.TakeTextOrNull("chars"), true, false, to, offset),
            "rstrip" => Strip(text, arguments.TakeTextOrNull("chars"), false, true, to, offset),
            "upper" => text.ToUpperInvariant(),
            "lower" => text.ToLowerInvariant(),
            "title" => Title(text, char.IsLetter),
            "startswith" => Affixes().Any(affix => text.StartsWith(affix, StringComparison.Ordinal)),
            "endswith" => Affixes().Any(affix => text.EndsWith(affix, StringComparison.Ordinal)),
            "split" => Split(text, arguments.TakeTextOrNull("sep"), arguments.TakeWholeOr("maxsplit", -1), to, offset),
            _ => Replace(text, arguments.TakeText("old"), arguments.TakeText("new"), to, offset),
        };
        arguments.Done();
        return result;

        string[] Affixes() => arguments.Take("prefix") switch
        {
            string affix => [affix],
            object?[] tuple when tuple.All(part => part is string) => [.. tuple.Cast<string>()],
            _ => throw to.Source.Wrong(
                offset, $"{name} wants a string or a tuple of strings.", $"{name} には文字列か文字列のタプルが必要です。"),
        };
    }

    private static object? Call(OrderedDictionary<string, object?> dict, string name, JinjaArguments arguments)
    {
        JinjaRendering to = arguments.Rendering;
        to.SpendText(8L * dict.Count, arguments.Offset);
        object? result = name switch
        {
            "items" => Items(dict, to, arguments.Offset),
            "keys" => dict.Keys.Cast<object?>().ToList(),
            "values" => dict.Values.ToList(),
            _ => Get(),
        };
        arguments.Done();
        return result;

        object? Get()
        {
            object? key = arguments.Take("key");
            object? otherwise = arguments.TryTake("default", out object? given) ? given : null;
            return key is string name && dict.TryGetValue(name, out object? held) ? held : otherwise;
        }
    }

    public static List<object?> Items(OrderedDictionary<string, object?> dict, JinjaRendering to, int offset)
    {
        to.SpendText(32L * dict.Count, offset);
        return [.. dict.Select(pair => new object?[] { pair.Key, pair.Value })];
    }

    public static string Strip(string text, string? characters, bool start, bool end, JinjaRendering to, int offset)
    {
        if (characters is not null) to.SpendSearch(text, characters, offset);
        int from = 0, until = text.Length;
        while (start && from < until && Goes(text[from])) from++;
        while (end && until > from && Goes(text[until - 1])) until--;
        return text[from..until];

        bool Goes(char c) => characters is null ? JinjaLexer.IsSpace(c) : characters.Contains(c, StringComparison.Ordinal);
    }

    public static string Title(string text, Func<char, bool> isOfWord)
    {
        StringBuilder title = new(text.Length);
        bool inWord = false;
        foreach (char c in text)
        {
            title.Append(inWord ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c));
            inWord = isOfWord(c);
        }
        return title.ToString();
    }

    public static string Replace(string text, string old, string with, JinjaRendering to, int offset)
    {
        if (old.Length == 0) throw to.Source.Unsupported(
            offset, "replace wants something to look for; it is empty.", "replace の探す文字列が空です。");
        to.SpendSearch(text, old, offset);
        long count = 0;
        for (int i = 0; (i = text.IndexOf(old, i, StringComparison.Ordinal)) >= 0; i += old.Length) count++;
        to.SpendText(text.Length + (count * (with.Length - old.Length)), offset);
        return text.Replace(old, with, StringComparison.Ordinal);
    }

    private static List<object?> Split(string text, string? separator, long most, JinjaRendering to, int offset)
    {
        List<object?> parts = [];
        if (separator is { Length: 0 }) throw to.Source.Wrong(
            offset, "split wants a separator that is not empty.", "split の区切りを空にはできません。");
        to.SpendSearch(text, separator ?? " ", offset);
        int at = 0;
        while (true)
        {
            if (separator is null)
            {
                while (at < text.Length && JinjaLexer.IsSpace(text[at])) at++;
                if (at == text.Length) return parts;
            }
            int end = at;
            if (most >= 0 && parts.Count >= most) end = -1;
            else if (separator is null)
            {
                while (end < text.Length && !JinjaLexer.IsSpace(text[end])) end++;
                if (end == text.Length) end = -1;
            }
            else end = text.IndexOf(separator, at, StringComparison.Ordinal);
            to.Spend(1, offset);
            to.SpendText(8, offset);
            if (end < 0)
            {
                parts.Add(text[at..]);
                return parts;
            }
            parts.Add(text[at..end]);
            at = end + (separator?.Length ?? 1);
        }
    }
}
