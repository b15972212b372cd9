namespace Fude.Models.Jinja;

/// <summary>What may stand after an is.</summary>
internal static class JinjaTests
{
    public static IReadOnlySet<string> Names { get; } = new HashSet<string>(StringComparer.Ordinal)
    {
        "defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true",
        "false", "odd", "even", "divisibleby", "equalto", "eq", "==", "ne", "in",
    };

    public static bool TakesArgument(string name) => name is "divisibleby" or "equalto" or "eq" or "ne" or "in";

    public static bool Holds(string name, object? value, JinjaArguments arguments)
    {
        JinjaRendering to = arguments.Rendering;
        int offset = arguments.Offset;
        bool holds = name switch
        {
            "defined" => value is not JinjaUndefined,
            "undefined" => value is JinjaUndefined,
            "none" => value is null,
            "string" => value is string,
            "mapping" => value is OrderedDictionary<string, object?>,
            "iterable" => value is string or IReadOnlyList<object?> or OrderedDictionary<string, object?> or JinjaUndefined,
            "sequence" => value is string or IReadOnlyList<object?> or OrderedDictionary<string, object?> or JinjaUndefined,
            "number" => JinjaValue.IsNumber(value),
            "integer" => value is long,
            "float" => value is double,
            "boolean" => value is bool,
            "true" => value is true,
            "false" => value is false,
            "odd" => IsZero(to.Calculate("%", value, 2L, offset), 1),
            "even" => IsZero(to.Calculate("%", value, 2L, offset), 0),
            "divisibleby" => IsZero(to.Calculate("%", value, arguments.Take("num"), offset), 0),
            "in" => to.Contains(arguments.Take("seq"), value, offset),
            "ne" => !JinjaValue.AreEqual(value, arguments.Take("other"), to, offset),
            _ => JinjaValue.AreEqual(value, arguments.Take("other"), to, offset),
        };
        arguments.Done();
        return holds;

        bool IsZero(object? rest, long wanted) => JinjaValue.AreEqual(rest, wanted, to, offset);
    }
}
