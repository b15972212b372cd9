using System.Globalization;
using System.Text;
using static Fude.Tensors.Wording;

namespace Fude.Models.Jinja;

/// <summary>A name or attribute that is not there: prints as nothing, is false, and fails when something is done with it.</summary>
internal sealed record JinjaUndefined(string English, string Japanese)
{
    public JinjaUndefined(string name)
        : this(name, name)
    {
    }

    public string Name => Say(English, Japanese);
}

/// <summary>What namespace() makes: the one thing a loop's body can change for what comes after.</summary>
internal sealed record JinjaNamespace(OrderedDictionary<string, object?> Values);

/// <summary>The variable <c>loop</c>.</summary>
internal sealed record JinjaLoop(List<object?> Items, int Index);

internal delegate object? JinjaFunction(JinjaArguments arguments);

/// <summary>Who takes arguments, as messages call it.</summary>
internal readonly record struct JinjaCallee(string? Name, string English = "", string Japanese = "")
{
    public static JinjaCallee Filter(string name) => new(name, "the filter ", "フィルター ");

    public static JinjaCallee Test(string name) => new(name, "the test ", "テスト ");

    public override string ToString() => Name is null ? Say("this call", "この呼び出し") : Say($"{English}{Name}", $"{Japanese}{Name} ");
}

/// <summary>The arguments of a function, method, filter or test; each taken once, and none may be left.</summary>
internal sealed class JinjaArguments(
    JinjaRendering rendering, JinjaCallee of, int offset, List<object?> values, OrderedDictionary<string, object?> named)
{
    public JinjaRendering Rendering => rendering;

    public int Offset => offset;

    public OrderedDictionary<string, object?> Named => named;

    public bool IsEmpty => values.Count == 0 && named.Count == 0;

    /// <summary>The next argument, or the one of that name.</summary>
    public bool TryTake(string name, out object? value)
    {
        if (values.Count > 0)
        {
            value = values[0];
            values.RemoveAt(0);
            return true;
        }
        return named.Remove(name, out value);
    }

    public object? Take(string name) =>
        TryTake(name, out object? value) ? value : throw rendering.Source.Wrong(
            offset, $"{of} wants the argument {name}.", $"{of}には引数 {name} が必要です。");

    public string TakeText(string name) => Take(name) as string ?? throw NoString(name);

    public string? TakeTextOrNull(string name) => !TryTake(name, out object? value) || value is null ? null
        : value as string ?? throw NoString(name);

    public long TakeWholeOr(string name, long otherwise) => !TryTake(name, out object? value) ? otherwise
        : value as long? ?? throw rendering.Source.Wrong(
            offset, $"{of} wants {name} to be a whole number.", $"{of}の {name} は整数でなければなりません。");

    public void Done()
    {
        if (!IsEmpty) throw rendering.Source.Wrong(offset, $"{of} has more arguments than it takes.", $"{of}の引数が多すぎます。");
    }

    private InvalidDataException NoString(string name) =>
        rendering.Source.Wrong(offset, $"{of} wants {name} to be a string.", $"{of}の {name} は文字列でなければなりません。");
}

/// <summary>
/// The values of a template, as Python has them: null, bool, long, double, string, List (a list), array (a tuple), OrderedDictionary
/// (a dict), and the types above.
/// </summary>
internal static class JinjaValue
{
    private const int MaxDepth = 100;

    public static bool IsTrue(object? value) => value switch
    {
        null or JinjaUndefined => false,
        bool b => b,
        long n => n != 0,
        double d => d != 0,
        string s => s.Length > 0,
        IReadOnlyList<object?> list => list.Count > 0,
        OrderedDictionary<string, object?> dict => dict.Count > 0,
        _ => true,
    };

    public static string Kind(object? value) => value switch
    {
        null => Say("none", "none という値"),
        JinjaUndefined undefined => Say($"undefined ({undefined.Name} is not there)", $"未定義の値（{undefined.Name} がありません）"),
        bool => Say("a boolean", "真偽値"),
        long => Say("a whole number", "整数"),
        double => Say("a number", "数値"),
        string => Say("a string", "文字列"),
        object?[] => Say("a tuple", "タプル"),
        IReadOnlyList<object?> => Say("a list", "リスト"),
        OrderedDictionary<string, object?> => Say("a dict", "辞書"),
        JinjaNamespace => Say("a namespace", "名前空間"),
        JinjaLoop => Say("the loop", "変数 loop の値"),
        _ => Say("a function", "関数"),
    };

    public static bool IsNumber(object? value) => value is bool or long or double;

    /// <summary>A boolean is a number in Python.</summary>
    public static object Number(object value) => value is bool b ? (b ? 1L : 0L) : value;

    public static bool AreEqual(object? a, object? b, JinjaRendering to, int offset, int depth = 0)
    {
        to.Spend(1, offset);
        RequireShallow(to, offset, depth);
        if (IsNumber(a) && IsNumber(b))
            return (Number(a!), Number(b!)) switch
            {
                (long x, long y) => x == y,
                (var x, var y) => Convert.ToDouble(x, CultureInfo.InvariantCulture).Equals(Convert.ToDouble(y, CultureInfo.InvariantCulture)),
            };
        return (a, b) switch
        {
            (null, null) or (JinjaUndefined, JinjaUndefined) => true,
            (string x, string y) => x == y,
            (IReadOnlyList<object?> x, IReadOnlyList<object?> y) => x is object?[] == y is object?[] && x.Count == y.Count
                && x.Zip(y).All(pair => AreEqual(pair.First, pair.Second, to, offset, depth + 1)),
            (OrderedDictionary<string, object?> x, OrderedDictionary<string, object?> y) => x.Count == y.Count
                && x.All(pair => y.TryGetValue(pair.Key, out object? other) && AreEqual(pair.Value, other, to, offset, depth + 1)),
            _ => ReferenceEquals(a, b),
        };
    }

    /// <summary>Python's repr, as lists and dicts print their items.</summary>
    public static void AppendRepr(StringBuilder text, object? value, JinjaRendering to, int offset, int depth = 0)
    {
        to.Spend(1, offset);
        RequireShallow(to, offset, depth);
        switch (value)
        {
            case string s:
                AppendQuoted(text, s);
                break;
            case IReadOnlyList<object?> list:
                bool isTuple = list is object?[];
                text.Append(isTuple ? '(' : '[');
                for (int i = 0; i < list.Count; i++)
                {
                    if (i > 0) text.Append(", ");
                    AppendRepr(text, list[i], to, offset, depth + 1);
                }
                if (isTuple && list.Count == 1) text.Append(',');
                text.Append(isTuple ? ')' : ']');
                break;
            case OrderedDictionary<string, object?> dict:
                text.Append('{');
                bool first = true;
                foreach ((string key, object? item) in dict)
                {
                    if (!first) text.Append(", ");
                    first = false;
                    AppendQuoted(text, key);
                    text.Append(": ");
                    AppendRepr(text, item, to, offset, depth + 1);
                }
                text.Append('}');
                break;
            case JinjaUndefined when depth > 0:
                text.Append("Undefined");
                break;
            default:
                text.Append(to.TextOf(value, offset));
                break;
        }
        to.RequireLength(text.Length, offset);
    }

    private static void AppendQuoted(StringBuilder text, string s)
    {
        char quote = s.Contains('\'', StringComparison.Ordinal) && !s.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        text.Append(quote);
        foreach (char c in s)
            _ = c switch
            {
                '\n' => text.Append("\\n"),
                '\r' => text.Append("\\r"),
                '\t' => text.Append("\\t"),
                '\\' => text.Append("\\\\"),
                _ when c == quote => text.Append('\\').Append(c),
                < ' ' or (>= '\x7f' and <= '\xa0') or '\xad' => text.Append(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}"),
                _ => text.Append(c),
            };
        text.Append(quote);
    }

    /// <summary>As transformers' tojson: json.dumps with ensure_ascii=False.</summary>
    public static void AppendJson(StringBuilder text, object? value, long? indent, JinjaRendering to, int offset, int depth = 0)
    {
        to.Spend(1, offset);
        RequireShallow(to, offset, depth);
        switch (value)
        {
            case null: text.Append("null"); break;
            case bool b: text.Append(b ? "true" : "false"); break;
            case string s: AppendJsonText(text, s); break;
            case double d when !double.IsFinite(d): text.Append(double.IsNaN(d) ? "NaN" : d > 0 ? "Infinity" : "-Infinity"); break;
            case long or double: text.Append(to.TextOf(value, offset)); break;
            case IReadOnlyList<object?> list:
                text.Append('[');
                for (int i = 0; i < list.Count; i++)
                {
                    Separate(i > 0, depth + 1);
                    AppendJson(text, list[i], indent, to, offset, depth + 1);
                }
                if (list.Count > 0) NewLine(depth);
                text.Append(']');
                break;
            case OrderedDictionary<string, object?> dict:
                text.Append('{');
                int count = 0;
                foreach ((string key, object? item) in dict)
                {
                    Separate(count++ > 0, depth + 1);
                    AppendJsonText(text, key);
                    text.Append(": ");
                    AppendJson(text, item, indent, to, offset, depth + 1);
                }
                if (dict.Count > 0) NewLine(depth);
                text.Append('}');
                break;
            default:
                throw to.Source.Wrong(
                    offset, $"{Kind(value)} cannot be written as JSON.", $"{Kind(value)}は JSON として書けません。");
        }
        to.RequireLength(text.Length, offset);

        void Separate(bool comma, int level)
        {
            if (comma) text.Append(indent is null ? ", " : ",");
            NewLine(level);
        }

        void NewLine(int level)
        {
            if (indent is { } width) text.Append('\n').Append(' ', (int)width * level);
        }
    }

    private static void AppendJsonText(StringBuilder text, string s)
    {
        text.Append('"');
        foreach (char c in s)
            _ = c switch
            {
                '"' => text.Append("\\\""),
                '\\' => text.Append("\\\\"),
                '\n' => text.Append("\\n"),
                '\r' => text.Append("\\r"),
                '\t' => text.Append("\\t"),
                '\b' => text.Append("\\b"),
                '\f' => text.Append("\\f"),
                < ' ' => text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
                _ => text.Append(c),
            };
        text.Append('"');
    }

    private static void RequireShallow(JinjaRendering to, int offset, int depth)
    {
        if (depth > MaxDepth)
            throw to.Source.Wrong(offset, $"a value is nested more than {MaxDepth} deep.", $"値の入れ子が {MaxDepth} 段を超えています。");
    }

    /// <summary>Python's str of a float.</summary>
    public static string FloatText(double d)
    {
        if (double.IsNaN(d)) return "nan";
        if (double.IsInfinity(d)) return d > 0 ? "inf" : "-inf";
        double size = Math.Abs(d);
        if (size == 0 || size is >= 1e-4 and < 1e16)
        {
            string plain = decimal.TryParse(d.ToString("R", CultureInfo.InvariantCulture), NumberStyles.Float, CultureInfo.InvariantCulture, out decimal exact)
                ? exact.ToString(CultureInfo.InvariantCulture) : d.ToString("R", CultureInfo.InvariantCulture);
            if (size == 0) plain = double.IsNegative(d) ? "-0" : "0";
            return plain.Contains('.', StringComparison.Ordinal) ? plain : plain + ".0";
        }
        string text = d.ToString("E16", CultureInfo.InvariantCulture);
        string shortest = d.ToString("R", CultureInfo.InvariantCulture);
        int e = shortest.IndexOf('E', StringComparison.Ordinal);
        string mantissa = e >= 0 ? shortest[..e] : text[..text.IndexOf('E', StringComparison.Ordinal)];
        int exponent = int.Parse(text.AsSpan(text.IndexOf('E', StringComparison.Ordinal) + 1), CultureInfo.InvariantCulture);
        return string.Create(CultureInfo.InvariantCulture, $"{mantissa}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
    }
}
