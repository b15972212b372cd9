using System.Globalization;
using System.Text;

namespace Fude.Models.Jinja;

/// <summary>One run of a template: its variables, what it has written, and what it may still use.</summary>
/// <remarks>A template comes with a model from anywhere, so steps, text and depth are limited: it ends, in time and in memory.</remarks>
internal sealed class JinjaRendering
{
    private const int MaxDepth = 250, MaxLength = 1 << 24;
    private const long MaxSteps = 10_000_000, MaxText = 1L << 26;

    private readonly List<Dictionary<string, object?>> _scopes;
    private readonly StringBuilder _output = new();
    private long _steps, _text;
    private int _depth;

    public JinjaRendering(JinjaSource source, Dictionary<string, object?> variables)
    {
        Source = source;
        _scopes = [variables, []];
    }

    public JinjaSource Source { get; }

    public string Output => _output.ToString();

    public void Run(Statement[] body)
    {
        foreach (Statement statement in body)
        {
            Spend(1, statement.Offset);
            statement.Run(this);
        }
    }

    public object? ValueOf(Expression expression)
    {
        Spend(1, expression.Offset);
        if (++_depth > MaxDepth)
            throw Source.Wrong(expression.Offset, $"an expression of more than {MaxDepth} levels.", $"式が {MaxDepth} 段より深くなっています。");
        object? value = expression.Evaluate(this);
        _depth--;
        return value;
    }

    public void Spend(long steps, int offset)
    {
        if ((_steps += steps) > MaxSteps)
            throw Source.Wrong(offset, $"the template takes more than {MaxSteps} steps.", $"テンプレートの処理が {MaxSteps} ステップを超えました。");
    }

    /// <summary>Says before a text is made that it will be made.</summary>
    public void SpendText(long length, int offset)
    {
        RequireLength(length, offset);
        if ((_text += length) > MaxText)
            throw Source.Wrong(
                offset, $"the template makes more than {MaxText} characters of text.", $"テンプレートの作るテキストが {MaxText} 文字を超えました。");
    }

    public void RequireLength(long length, int offset)
    {
        if (length > MaxLength)
            throw Source.Wrong(offset, $"a text or list longer than {MaxLength}.", $"テキストかリストが {MaxLength} より長くなります。");
    }

    /// <summary>Looking for one text in another costs up to the product of their lengths.</summary>
    public void SpendSearch(string text, string part, int offset) => Spend((long)text.Length * part.Length / 64, offset);

    public void Write(string text, int offset)
    {
        SpendText(text.Length, offset);
        RequireLength((long)_output.Length + text.Length, offset);
        _output.Append(text);
    }

    public void Enter() => _scopes.Add([]);

    public void Leave() => _scopes.RemoveAt(_scopes.Count - 1);

    public void Set(string name, object? value) => _scopes[^1][name] = value;

    public object? Get(string name)
    {
        for (int i = _scopes.Count - 1; i >= 0; i--)
            if (_scopes[i].TryGetValue(name, out object? value)) return value;
        return new JinjaUndefined(name);
    }

    /// <summary>Python's str.</summary>
    public string TextOf(object? value, int offset)
    {
        switch (value)
        {
            case string s: return s;
            case JinjaUndefined: return "";
            case null: return "None";
            case bool b: return b ? "True" : "False";
            case long n: return n.ToString(CultureInfo.InvariantCulture);
            case double d: return JinjaValue.FloatText(d);
            case IReadOnlyList<object?> or OrderedDictionary<string, object?>:
                StringBuilder text = new();
                JinjaValue.AppendRepr(text, value, this, offset);
                SpendText(text.Length, offset);
                return text.ToString();
            default:
                throw Source.Unsupported(
                    offset, $"{JinjaValue.Kind(value)} cannot be written as text.", $"{JinjaValue.Kind(value)}はテキストとして書けません。");
        }
    }

    /// <summary>What a for goes through.</summary>
    public IReadOnlyList<object?> Iterate(object? value, int offset) => value switch
    {
        IReadOnlyList<object?> list => list,
        OrderedDictionary<string, object?> dict => [.. dict.Keys],
        string text => Characters(text, offset),
        JinjaUndefined => [],
        _ => throw Source.Wrong(
            offset, $"{JinjaValue.Kind(value)} has no items to go through.", $"{JinjaValue.Kind(value)}には順に取り出せる要素がありません。"),
    };

    /// <summary>A string's characters as Python counts them.</summary>
    public List<object?> Characters(string text, int offset)
    {
        Spend(text.Length, offset);
        SpendText(8L * text.Length, offset);
        return [.. text.EnumerateRunes().Select(rune => rune.ToString())];
    }

    public object? Attribute(object? value, string name, int offset) => value switch
    {
        JinjaUndefined undefined => throw Source.Wrong(
            offset, $"'{undefined.Name}' is undefined and has no attribute '{name}'.",
            $"'{undefined.Name}' は未定義なので、属性 '{name}' がありません。"),
        JinjaNamespace space => space.Values.TryGetValue(name, out object? held) ? held : new JinjaUndefined(name),
        JinjaLoop loop => Attribute(loop, name),
        _ when JinjaMethods.Find(value, name) is { } method => method,
        OrderedDictionary<string, object?> dict => dict.TryGetValue(name, out object? item) ? item : new JinjaUndefined(name),
        _ => new JinjaUndefined(name),
    };

    private static object? Attribute(JinjaLoop loop, string name) => name switch
    {
        "index" => loop.Index + 1L,
        "index0" => (long)loop.Index,
        "revindex" => (long)(loop.Items.Count - loop.Index),
        "revindex0" => (long)(loop.Items.Count - loop.Index - 1),
        "first" => loop.Index == 0,
        "last" => loop.Index == loop.Items.Count - 1,
        "length" => (long)loop.Items.Count,
        "previtem" when loop.Index > 0 => loop.Items[loop.Index - 1],
        "nextitem" when loop.Index + 1 < loop.Items.Count => loop.Items[loop.Index + 1],
        _ => new JinjaUndefined($"loop.{name}"),
    };

    public object? Item(object? value, object? index, int offset)
    {
        switch (value, index)
        {
            case (JinjaUndefined undefined, _):
                string wanted = TextOf(index, offset);
                throw Source.Wrong(
                    offset, $"'{undefined.Name}' is undefined and has no item {wanted}.", $"'{undefined.Name}' は未定義なので、要素 {wanted} がありません。");
            case (OrderedDictionary<string, object?> dict, string key) when dict.TryGetValue(key, out object? item):
                return item;
            case (_, string name):
                return Attribute(value, name, offset);
            case (IReadOnlyList<object?> list, long i):
                return At(list, i);
            case (string text, long i):
                return At(Characters(text, offset), i);
            default:
                string kind = JinjaValue.Kind(value);
                return new JinjaUndefined($"item of {kind}", $"{kind}の要素");
        }

        static object? At(IReadOnlyList<object?> list, long i)
        {
            if (i < 0) i += list.Count;
            return i >= 0 && i < list.Count ? list[(int)i] : new JinjaUndefined($"item {i}", $"{i} 番の要素");
        }
    }

    /// <summary>Python's slice.</summary>
    public object? Slice(object? value, long? start, long? stop, long step, int offset)
    {
        if (value is JinjaUndefined undefined)
            throw Source.Wrong(
                offset, $"'{undefined.Name}' is undefined and cannot be sliced.", $"'{undefined.Name}' は未定義なので、スライスできません。");
        if (step == 0) throw Source.Wrong(offset, "a slice's step is not 0.", "スライスのステップを 0 にはできません。");
        if (value is not (string or IReadOnlyList<object?>))
            throw Source.Wrong(offset, $"{JinjaValue.Kind(value)} cannot be sliced.", $"{JinjaValue.Kind(value)}はスライスできません。");
        IReadOnlyList<object?> all = Iterate(value, offset);
        long count = all.Count, low = step > 0 ? 0 : -1, high = step > 0 ? count : count - 1;
        long from = Within(start, step > 0 ? low : high), to = Within(stop, step > 0 ? high : low);
        step = Math.Clamp(step, -count - 1, count + 1);
        List<object?> part = [];
        for (long i = from; step > 0 ? i < to : i > to; i += step) part.Add(all[(int)i]);
        Spend(part.Count, offset);
        SpendText(8L * part.Count, offset);
        return value switch
        {
            string => string.Concat(part),
            object?[] => part.ToArray(),
            _ => part,
        };

        long Within(long? bound, long otherwise) =>
            bound is not { } b ? otherwise : Math.Clamp(b < 0 ? Math.Max(b, -count - 1) + count : b, low, high);
    }

    public bool Compare(string op, object? left, object? right, int offset)
    {
        switch (op)
        {
            case "==": return JinjaValue.AreEqual(left, right, this, offset);
            case "!=": return !JinjaValue.AreEqual(left, right, this, offset);
            case "in": return Contains(right, left, offset);
            case "not in": return !Contains(right, left, offset);
        }
        int order;
        if (left is string a && right is string b) order = CompareText(a, b);
        else if (JinjaValue.IsNumber(left) && JinjaValue.IsNumber(right))
        {
            object x = JinjaValue.Number(left!), y = JinjaValue.Number(right!);
            if (x is long m && y is long n) order = m.CompareTo(n);
            else
            {
                double d = Convert.ToDouble(x, CultureInfo.InvariantCulture), e = Convert.ToDouble(y, CultureInfo.InvariantCulture);
                if (double.IsNaN(d) || double.IsNaN(e)) return false;
                order = d.CompareTo(e);
            }
        }
        else
            throw Source.Wrong(
                offset, $"{JinjaValue.Kind(left)} and {JinjaValue.Kind(right)} have no order ({op}).",
                $"{JinjaValue.Kind(left)}と{JinjaValue.Kind(right)}の大小は比べられません（{op}）。");
        return op switch { "<" => order < 0, ">" => order > 0, "<=" => order <= 0, _ => order >= 0 };
    }

    /// <summary>By code points, as Python orders strings; UTF-16 puts the characters beyond U+FFFF before U+E000.</summary>
    private static int CompareText(string a, string b)
    {
        int same = a.AsSpan().CommonPrefixLength(b);
        if (same == a.Length || same == b.Length) return a.Length.CompareTo(b.Length);
        return char.IsSurrogate(a[same]) == char.IsSurrogate(b[same]) ? a[same].CompareTo(b[same]) : char.IsSurrogate(a[same]) ? 1 : -1;
    }

    public bool Contains(object? all, object? part, int offset)
    {
        switch (all)
        {
            case string text when part is string wanted:
                SpendSearch(text, wanted, offset);
                return text.Contains(wanted, StringComparison.Ordinal);
            case string:
                throw Source.Wrong(
                    offset, $"a string holds strings only; {JinjaValue.Kind(part)} cannot be in it.",
                    $"文字列に含まれうるのは文字列だけです。{JinjaValue.Kind(part)}は含まれません。");
            case OrderedDictionary<string, object?> dict:
                return part is string key && dict.ContainsKey(key);
            default:
                return Iterate(all, offset).Any(item => JinjaValue.AreEqual(item, part, this, offset));
        }
    }

    public object? Calculate(string op, object? left, object? right, int offset)
    {
        if (op == "~")
        {
            string a = TextOf(left, offset), b = TextOf(right, offset);
            return Joined(a, b);
        }
        switch (op, left, right)
        {
            case ("+", string a, string b):
                return Joined(a, b);
            case ("+", List<object?> a, List<object?> b):
                SpendText(8L * (a.Count + b.Count), offset);
                return (List<object?>)[.. a, .. b];
            case ("+", object?[] a, object?[] b):
                SpendText(8L * (a.Length + b.Length), offset);
                return (object?[])[.. a, .. b];
            case ("*", string text, long n):
                return Repeated(text, n);
            case ("*", long n, string text):
                return Repeated(text, n);
            case ("%", string, _):
                throw Source.Unsupported(
                    offset, "% with a string is not supported; + and ~ join texts.",
                    "文字列の % には対応していません。テキストは + か ~ でつなげます。");
        }
        if (!JinjaValue.IsNumber(left) || !JinjaValue.IsNumber(right))
        {
            bool isText = op == "+" && (left is string || right is string);
            throw Source.Wrong(
                offset, $"{JinjaValue.Kind(left)} {op} {JinjaValue.Kind(right)} has no value{(isText ? "; ~ joins texts of any kind" : "")}.",
                $"{JinjaValue.Kind(left)} {op} {JinjaValue.Kind(right)}は計算できません。{(isText ? "~ ならどの型もテキストとしてつなげます。" : "")}");
        }
        object x = JinjaValue.Number(left!), y = JinjaValue.Number(right!);
        try
        {
            if (x is long m && y is long n && op != "/") return Whole(op, m, n);
        }
        catch (OverflowException e)
        {
            throw new InvalidDataException(Source.Wrong(
                offset, "the result is beyond the whole numbers of 64 bits.", "結果が 64 ビットの整数の範囲を超えます。").Message, e);
        }
        double d = Convert.ToDouble(x, CultureInfo.InvariantCulture), f = Convert.ToDouble(y, CultureInfo.InvariantCulture);
        if (f == 0 && op is "/" or "//" or "%") throw Source.Wrong(offset, "a division by zero.", "0 で割っています。");
        return op switch
        {
            "+" => d + f,
            "-" => d - f,
            "*" => d * f,
            "/" => d / f,
            "//" => Math.Floor(d / f),
            _ => d - (f * Math.Floor(d / f)),
        };

        string Joined(string a, string b)
        {
            SpendText((long)a.Length + b.Length, offset);
            return a + b;
        }

        string Repeated(string text, long times)
        {
            if (times <= 0 || text.Length == 0) return "";
            RequireLength(times, offset);
            SpendText(times * text.Length, offset);
            return new StringBuilder(text.Length * (int)times).Insert(0, text, (int)times).ToString();
        }

        // Python rounds a quotient down, and a remainder has the divisor's sign.
        object Whole(string op, long m, long n)
        {
            if (n == 0 && op is "//" or "%") throw Source.Wrong(offset, "a division by zero.", "0 で割っています。");
            return checked(op switch
            {
                "+" => m + n,
                "-" => m - n,
                "*" => m * n,
                "//" => n == -1 ? -m : (m / n) - (m % n != 0 && (m < 0) != (n < 0) ? 1 : 0),
                _ => n == -1 ? 0 : (m % n) + (m % n != 0 && (m < 0) != (n < 0) ? n : 0),
            });
        }
    }
}
