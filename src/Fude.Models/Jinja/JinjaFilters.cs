using System.Globalization;
using System.Text;

namespace Fude.Models.Jinja;

/// <summary>What may stand after a |.</summary>
internal static class JinjaFilters
{
    public static IReadOnlySet<string> Names { get; } = new HashSet<string>(StringComparer.Ordinal)
    {
        "trim", "upper", "lower", "title", "capitalize", "length", "count", "tojson", "default", "d", "first", "last", "join", "replace",
        "string", "int", "float", "list", "items", "safe", "select", "reject", "selectattr", "rejectattr", "map",
    };

    public static object? Apply(string name, object? value, JinjaArguments arguments)
    {
        JinjaRendering to = arguments.Rendering;
        int offset = arguments.Offset;
        object? result = name switch
        {
            "trim" => JinjaMethods.Strip(Text(), arguments.TakeTextOrNull("chars"), true, true, to, offset),
            "upper" => Text().ToUpperInvariant(),
            "lower" => Text().ToLowerInvariant(),
            // To Jinja's own filter, unlike to Python's method, the s of it's is inside a word.
            "title" => JinjaMethods.Title(Text(), c => !JinjaLexer.IsSpace(c) && c is not ('-' or '(' or '{' or '[' or '<')),
            "capitalize" => Text() is { Length: > 0 } text ? char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant() : "",
            "length" or "count" => Length(),
            "tojson" => Json(),
            "default" or "d" => Default(),
            "first" => to.Iterate(value, offset) is { Count: > 0 } list ? list[0] : new JinjaUndefined("the first item of nothing", "空の値の最初の要素"),
            "last" => to.Iterate(value, offset) is { Count: > 0 } list ? list[^1] : new JinjaUndefined("the last item of nothing", "空の値の最後の要素"),
            "join" => Join(),
            "replace" => JinjaMethods.Replace(Text(), arguments.TakeText("old"), arguments.TakeText("new"), to, offset),
            "string" or "safe" => Text(),
            "int" => Int(),
            "float" => Float(),
            "list" => to.Iterate(value, offset).ToList(),
            "items" => value is JinjaUndefined ? new List<object?>() : JinjaMethods.Items(
                value as OrderedDictionary<string, object?> ?? throw to.Source.Wrong(
                    offset, $"the filter items wants a dict; this is {JinjaValue.Kind(value)}.",
                    $"フィルター items には辞書が必要ですが、{JinjaValue.Kind(value)}です。"), to, offset),
            "select" or "reject" => Select(name == "select", item => item),
            "selectattr" or "rejectattr" => arguments.TakeText("attribute") is var attribute
                ? Select(name == "selectattr", item => to.Item(item, attribute, offset)) : null,
            _ => Map(),
        };
        arguments.Done();
        return result;

        string Text()
        {
            string text = to.TextOf(value, offset);
            to.SpendText(text.Length, offset);
            return text;
        }

        long Length() => value switch
        {
            string s => to.Characters(s, offset).Count,
            null or bool or long or double => throw to.Source.Wrong(
                offset, $"{JinjaValue.Kind(value)} has no length.", $"{JinjaValue.Kind(value)}には長さがありません。"),
            _ => to.Iterate(value, offset).Count,
        };

        string Json()
        {
            long? indent = null;
            if (arguments.TryTake("indent", out object? width) && width is not null)
                indent = width is long and >= 0 and <= 16 ? (long)width
                    : throw to.Source.Unsupported(
                        offset, "tojson's indent is a whole number from 0 to 16.", "tojson の indent は 0 から 16 までの整数です。");
            if (arguments.Named.Remove("ensure_ascii", out object? ascii) && ascii is not false)
                throw to.Source.Unsupported(
                    offset, "tojson is supported with ensure_ascii=False only, which it is without a word.",
                    "tojson は ensure_ascii=False だけに対応しています。省略すればそうなります。");
            StringBuilder text = new();
            JinjaValue.AppendJson(text, value, indent, to, offset);
            to.SpendText(text.Length, offset);
            return text.ToString();
        }

        object? Default()
        {
            object? otherwise = arguments.TryTake("default_value", out object? given) ? given : "";
            bool alsoFalse = arguments.TryTake("boolean", out object? boolean) && JinjaValue.IsTrue(boolean);
            return value is JinjaUndefined || (alsoFalse && !JinjaValue.IsTrue(value)) ? otherwise : value;
        }

        string Join()
        {
            string separator = arguments.TakeTextOrNull("d") ?? "";
            string? attribute = arguments.TakeTextOrNull("attribute");
            string[] parts = [.. to.Iterate(value, offset).Select(item => to.TextOf(attribute is null ? item : to.Item(item, attribute, offset), offset))];
            to.SpendText(parts.Sum(part => (long)part.Length + separator.Length), offset);
            return string.Join(separator, parts);
        }

        // As Python's int and float with what Jinja gives instead when they fail.
        object? Int()
        {
            long otherwise = arguments.TakeWholeOr("default", 0);
            return value switch
            {
                bool or long => JinjaValue.Number(value),
                double d when double.IsFinite(d) && Math.Abs(d) < 9e18 => (long)d,
                string s when long.TryParse(s.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long whole) => whole,
                string s when TryFloat(s, out double d) && Math.Abs(d) < 9e18 => (long)d,
                _ => otherwise,
            };
        }

        object? Float()
        {
            object? otherwise = arguments.TryTake("default", out object? given) ? given : 0.0;
            return value switch
            {
                bool or long or double => Convert.ToDouble(JinjaValue.Number(value), CultureInfo.InvariantCulture),
                string s when TryFloat(s, out double d) => d,
                _ => otherwise,
            };
        }

        static bool TryFloat(string s, out double d) => double.TryParse(s.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out d);

        List<object?> Select(bool wanted, Func<object?, object?> part)
        {
            string? test = arguments.TakeTextOrNull("test");
            if (test is not null && !JinjaTests.Names.Contains(test))
                throw to.Source.Unsupported(
                    offset, $"there is no test '{test}' here; there are {string.Join(", ", JinjaTests.Names.Order(StringComparer.Ordinal))}.",
                    $"テスト '{test}' はありません。使えるのは {string.Join("、", JinjaTests.Names.Order(StringComparer.Ordinal))} です。");
            bool hasOther = arguments.TryTake("value", out object? other);
            List<object?> result = [];
            foreach (object? item in to.Iterate(value, offset))
            {
                to.Spend(1, offset);
                object? tested = part(item);
                bool holds = test is null ? JinjaValue.IsTrue(tested)
                    : JinjaTests.Holds(test, tested, new(to, JinjaCallee.Test(test), offset, hasOther ? [other] : [], new(StringComparer.Ordinal)));
                if (holds == wanted) result.Add(item);
            }
            to.SpendText(8L * result.Count, offset);
            return result;
        }

        List<object?> Map()
        {
            if (!arguments.Named.Remove("attribute", out object? named) || named is not string attribute)
                throw to.Source.Unsupported(
                    offset, "map is supported as map(attribute='name') only.", "map は map(attribute='name') の形にだけ対応しています。");
            IReadOnlyList<object?> items = to.Iterate(value, offset);
            to.Spend(items.Count, offset);
            to.SpendText(8L * items.Count, offset);
            return [.. items.Select(item => to.Item(item, attribute, offset))];
        }
    }
}
