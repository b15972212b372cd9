using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>Which numbers an option takes.</summary>
/// <param name="Holds">Whether it takes one.</param>
/// <param name="English">In words: "--rows is at least 1".</param>
/// <param name="Japanese">Likewise: "--rows は 1 以上です".</param>
internal sealed record NumberRange<T>(Predicate<T> Holds, string English, string Japanese);

/// <summary>Options that take a number. What is none, or out of range, is told in the user's words and not in those of .NET.</summary>
internal static class NumberOption
{
    public static NumberRange<T> AtLeast<T>(T least)
        where T : INumber<T> => new(value => value >= least, Text($"at least {least}"), Text($"{least} 以上"));

    public static NumberRange<T> Above<T>(T bound)
        where T : INumber<T> => new(value => value > bound, Text($"above {bound}"), Text($"{bound} より大きい数"));

    public static NumberRange<T> Within<T>(T least, T most)
        where T : INumber<T> => new(value => value >= least && value <= most, Text($"from {least} to {most}"), Text($"{least} から {most} まで"));

    /// <summary>A part of something that is never all of it.</summary>
    public static NumberRange<double> PartBelow(double end) =>
        new(value => value >= 0 && value < end, Text($"from 0 to below {end}"), Text($"0 以上 {end} 未満"));

    /// <summary>A part of something that is never nothing.</summary>
    public static NumberRange<double> PartAboveZero { get; } = new(value => value is > 0 and <= 1, "above 0 and at most 1", "0 より大きく 1 以下");

    /// <summary>A part of something that is neither nothing nor all of it.</summary>
    public static NumberRange<double> PartBetween { get; } = new(value => value is > 0 and < 1, "above 0 and below 1", "0 より大きく 1 未満");

    /// <summary>An option with a number that stands for its absence.</summary>
    public static Option<T> Of<T>(string name, string description, T absent, NumberRange<T>? range = null, params string[] aliases)
        where T : struct, INumber<T> => new(name, aliases)
        {
            HelpName = HelpName<T>(),
            Arity = ArgumentArity.ExactlyOne,
            Description = description,
            DefaultValueFactory = _ => absent,
            CustomParser = result => Parse(result, range),
        };

    /// <summary>An option whose absence means something of its own.</summary>
    public static Option<T?> Optional<T>(string name, string description, NumberRange<T>? range = null, params string[] aliases)
        where T : struct, INumber<T> => new(name, aliases)
        {
            HelpName = HelpName<T>(),
            Arity = ArgumentArity.ExactlyOne,
            Description = description,
            CustomParser = result => Parse(result, range),
        };

    private static string HelpName<T>() => typeof(T) == typeof(double) ? "X" : "N";

    /// <summary>The number that an option was given.</summary>
    public static T Parse<T>(ArgumentResult result, NumberRange<T>? range)
        where T : struct, INumber<T>
    {
        bool isWhole = typeof(T) != typeof(double);
        string name = result.Parent is OptionResult option ? option.Option.Name : result.Argument.Name, text = result.Tokens[0].Value;
        if (!T.TryParse(text, isWhole ? NumberStyles.AllowLeadingSign : NumberStyles.Float, CultureInfo.InvariantCulture, out T number) || !T.IsFinite(number))
        {
            bool isTooLarge = isWhole && BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _);
            result.AddError(isTooLarge ? Say($"{name}: {text} is out of range.", $"{name}: {text} は範囲外です。")
                : isWhole ? Say($"{name}: '{text}' is no whole number.", $"{name}: '{text}' は整数ではありません。")
                : Say($"{name}: '{text}' is no number.", $"{name}: '{text}' は数ではありません。"));
        }
        else if (range is not null && !range.Holds(number))
        {
            result.AddError(Say($"{name} is {range.English}, not {text}.", $"{name} は {range.Japanese}です（{text} は使えません）。"));
        }
        return number;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
