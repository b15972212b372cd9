namespace Fude.Models.Jinja;

/// <summary>What a template is made of; <c>Offset</c> is where it stands.</summary>
internal abstract record Statement(int Offset)
{
    public abstract void Run(JinjaRendering to);
}

internal sealed record Text(string Value, int Offset) : Statement(Offset)
{
    public override void Run(JinjaRendering to) => to.Write(Value, Offset);
}

internal sealed record Print(Expression Value, int Offset) : Statement(Offset)
{
    public override void Run(JinjaRendering to) => to.Write(to.TextOf(to.ValueOf(Value), Offset), Offset);
}

internal sealed record If((Expression Condition, Statement[] Body)[] Branches, Statement[] Otherwise, int Offset) : Statement(Offset)
{
    public override void Run(JinjaRendering to)
    {
        foreach ((Expression condition, Statement[] body) in Branches)
            if (JinjaValue.IsTrue(to.ValueOf(condition)))
            {
                to.Run(body);
                return;
            }
        to.Run(Otherwise);
    }
}

internal sealed record Set(string Name, string? Attribute, Expression Value, int Offset) : Statement(Offset)
{
    public override void Run(JinjaRendering to)
    {
        object? value = to.ValueOf(Value);
        if (Attribute is null) to.Set(Name, value);
        else if (to.Get(Name) is JinjaNamespace space) space.Values[Attribute] = value;
        else
        {
            string kind = JinjaValue.Kind(to.Get(Name));
            throw to.Source.Wrong(
                Offset, $"{{% set {Name}.{Attribute} %}} wants {Name} to be a namespace(); it is {kind}.",
                $"{{% set {Name}.{Attribute} %}} の {Name} は namespace() でなければなりませんが、{kind}です。");
        }
    }
}

internal sealed record For(string[] Names, Expression Items, Expression? Condition, Statement[] Body, Statement[] Otherwise, int Offset)
    : Statement(Offset)
{
    public override void Run(JinjaRendering to)
    {
        IReadOnlyList<object?> all = to.Iterate(to.ValueOf(Items), Offset);
        List<object?> items = [];
        foreach (object? item in all)
        {
            to.Spend(1, Offset);
            if (Condition is not null)
            {
                to.Enter();
                Bind(to, item);
                bool wanted = JinjaValue.IsTrue(to.ValueOf(Condition));
                to.Leave();
                if (!wanted) continue;
            }
            items.Add(item);
        }
        if (items.Count == 0)
        {
            to.Run(Otherwise);
            return;
        }
        for (int i = 0; i < items.Count; i++)
        {
            to.Enter();
            to.Set("loop", new JinjaLoop(items, i));
            Bind(to, items[i]);
            to.Run(Body);
            to.Leave();
        }
    }

    private void Bind(JinjaRendering to, object? item)
    {
        if (Names.Length == 1)
        {
            to.Set(Names[0], item);
            return;
        }
        IReadOnlyList<object?> parts = to.Iterate(item, Offset);
        if (parts.Count != Names.Length)
            throw to.Source.Wrong(
                Offset, $"the loop has {Names.Length} variables, and an item has {parts.Count} parts.",
                $"ループの変数は {Names.Length} 個ですが、要素の中身は {parts.Count} 個です。");
        for (int i = 0; i < Names.Length; i++) to.Set(Names[i], parts[i]);
    }
}

internal abstract record Expression(int Offset)
{
    /// <summary>Call it through <see cref="JinjaRendering.ValueOf"/>, which counts.</summary>
    public abstract object? Evaluate(JinjaRendering to);
}

internal sealed record Literal(object? Value, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) => Value;
}

internal sealed record Variable(string Name, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) => to.Get(Name);
}

internal sealed record Items(Expression[] Values, bool IsTuple, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        object?[] values = new object?[Values.Length];
        for (int i = 0; i < values.Length; i++) values[i] = to.ValueOf(Values[i]);
        return IsTuple ? values : values.ToList();
    }
}

internal sealed record Pairs((Expression Key, Expression Value)[] Values, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        OrderedDictionary<string, object?> result = new(StringComparer.Ordinal);
        foreach ((Expression key, Expression value) in Values)
        {
            string name = to.ValueOf(key) as string ?? throw to.Source.Unsupported(
                key.Offset, "the keys of a dict must be strings.", "辞書のキーは文字列でなければなりません。");
            result[name] = to.ValueOf(value);
        }
        return result;
    }
}

internal sealed record Conditional(Expression Value, Expression Condition, Expression? Otherwise, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) =>
        JinjaValue.IsTrue(to.ValueOf(Condition)) ? to.ValueOf(Value)
        : Otherwise is null ? new JinjaUndefined("the value of an if without else", "else のない if の値") : to.ValueOf(Otherwise);
}

internal sealed record Logic(bool IsOr, Expression Left, Expression Right, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        object? left = to.ValueOf(Left);
        return JinjaValue.IsTrue(left) == IsOr ? left : to.ValueOf(Right);
    }
}

internal sealed record Not(Expression Value, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) => !JinjaValue.IsTrue(to.ValueOf(Value));
}

internal sealed record Comparison(Expression First, (string Operator, Expression Value)[] Rest, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        object? left = to.ValueOf(First);
        foreach ((string op, Expression next) in Rest)
        {
            object? right = to.ValueOf(next);
            if (!to.Compare(op, left, right, Offset)) return false;
            left = right;
        }
        return true;
    }
}

internal sealed record Binary(string Operator, Expression Left, Expression Right, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) => to.Calculate(Operator, to.ValueOf(Left), to.ValueOf(Right), Offset);
}

internal sealed record Sign(bool IsMinus, Expression Value, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) =>
        IsMinus ? to.Calculate("-", 0L, to.ValueOf(Value), Offset) : to.Calculate("+", 0L, to.ValueOf(Value), Offset);
}

internal sealed record Member(Expression Value, string Name, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) => to.Attribute(to.ValueOf(Value), Name, Offset);
}

internal sealed record Subscript(Expression Value, Expression Index, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to) => to.Item(to.ValueOf(Value), to.ValueOf(Index), Offset);
}

internal sealed record Slice(Expression Value, Expression? Start, Expression? Stop, Expression? Step, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        object? value = to.ValueOf(Value);
        return to.Slice(value, Bound(to, Start), Bound(to, Stop), Bound(to, Step) ?? 1, Offset);
    }

    private static long? Bound(JinjaRendering to, Expression? bound) =>
        bound is null ? null : to.ValueOf(bound) switch
        {
            null => null,
            long whole => whole,
            object other => throw to.Source.Wrong(
                bound.Offset, $"a slice's bounds are whole numbers; this is {JinjaValue.Kind(other)}.",
                $"スライスの範囲は整数でなければなりませんが、{JinjaValue.Kind(other)}です。"),
        };
}

internal sealed record Arguments(Expression[] Values, (string Name, Expression Value)[] Named)
{
    public static Arguments None { get; } = new([], []);

    public JinjaArguments Evaluate(JinjaRendering to, JinjaCallee of, int offset)
    {
        List<object?> values = [.. Values.Select(to.ValueOf)];
        OrderedDictionary<string, object?> named = new(StringComparer.Ordinal);
        foreach ((string name, Expression value) in Named)
            if (!named.TryAdd(name, to.ValueOf(value))) throw to.Source.Wrong(
                offset, $"{of} has the argument {name} twice.", $"{of}に引数 {name} が 2 度あります。");
        return new(to, of, offset, values, named);
    }
}

internal sealed record Call(Expression Callee, Arguments Arguments, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        object? callee = to.ValueOf(Callee);
        string? name = Callee switch { Variable v => v.Name, Member m => m.Name, _ => null };
        return callee switch
        {
            JinjaFunction function => function(Arguments.Evaluate(to, new(name), Offset)),
            JinjaUndefined when Callee is Member member && to.ValueOf(member.Value) is var owner =>
                throw to.Source.Unsupported(
                    Offset, $"{JinjaValue.Kind(owner)} has no method '{name}' here; there are {JinjaMethods.NamesFor(owner)}.",
                    $"{JinjaValue.Kind(owner)}に '{name}' というメソッドはありません。使えるもの: {JinjaMethods.NamesFor(owner)}。"),
            JinjaUndefined => throw to.Source.Unsupported(
                Offset, $"there is no function '{name ?? "this call"}' here; there are namespace, raise_exception and range.",
                $"{(name is null ? "この呼び出しの関数" : $"関数 '{name}' ")}はありません。使えるのは namespace、raise_exception、range です。"),
            _ => throw to.Source.Wrong(
                Offset, $"{JinjaValue.Kind(callee)} cannot be called.", $"{JinjaValue.Kind(callee)}は呼び出せません。"),
        };
    }
}

internal sealed record Filter(Expression Value, string Name, Arguments Arguments, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        object? value = to.ValueOf(Value);
        return JinjaFilters.Apply(Name, value, Arguments.Evaluate(to, JinjaCallee.Filter(Name), Offset));
    }
}

internal sealed record Test(Expression Value, string Name, bool IsNegated, Arguments Arguments, int Offset) : Expression(Offset)
{
    public override object? Evaluate(JinjaRendering to)
    {
        object? value = to.ValueOf(Value);
        return JinjaTests.Holds(Name, value, Arguments.Evaluate(to, JinjaCallee.Test(Name), Offset)) != IsNegated;
    }
}
