using System.CommandLine;

namespace Fude.Cli.Tests;

public sealed class NumberOptionTests
{
    private static readonly Type[] Numbers = [typeof(int), typeof(long), typeof(ulong), typeof(double)];

    /// <summary>Every option of every command, with the words before it. What a command wants of several options together is told first, and
    /// alone: it is left off.</summary>
    private static IEnumerable<(string[] Command, Option Option)> All(Command command, params string[] path)
    {
        command.Validators.Clear();
        return command.Options.Select(option => (path, option)).Concat(command.Subcommands.SelectMany(sub => All(sub, [.. path, sub.Name])));
    }

    private static List<string> Errors(Func<Type, bool> type, string value)
    {
        using Interrupts interrupts = new();
        RootCommand root = new FudeProgram(new Terminal(Stream.Null, TextWriter.Null, TextWriter.Null)).CreateCommand(interrupts);
        List<string> messages = [];
        foreach ((string[] command, Option option) in All(root).Where(one => type(Nullable.GetUnderlyingType(one.Option.ValueType) ?? one.Option.ValueType)))
        {
            // What else is wrong with the line, such as what it lacks, is told beside it.
            string[] errors = [.. root.Parse([.. command, option.Name, value]).Errors.Select(error => error.Message)];
            messages.Add(Assert.Single(errors, error => error.StartsWith(option.Name, StringComparison.Ordinal) && error.Contains(value, StringComparison.Ordinal)));
            Assert.All(errors, error => Assert.DoesNotContain("System.", error, StringComparison.Ordinal));
        }
        return messages;
    }

    [Fact]
    public void A_word_in_the_place_of_a_number_is_told_by_every_option() => Assert.True(Errors(Numbers.Contains, "abc").Count > 80);

    [Fact]
    public void A_word_that_an_option_does_not_take_is_told_with_those_it_takes() =>
        Assert.All(Errors(type => type.IsGenericType && type.GetGenericTypeDefinition() == typeof(Choice<>), "abc"), message => Assert.Contains(", ", message, StringComparison.Ordinal));

    [Theory]
    [InlineData("3000000000", "--rows: 3000000000 is out of range.")]
    [InlineData("1.5", "--rows: '1.5' is no whole number.")]
    [InlineData("0", "--rows is from 1 to 1048576, not 0.")]
    [InlineData("１", "--rows: '１' is no whole number.")]
    public async Task A_number_that_will_not_do_is_named(string rows, string message) => Assert.Contains(
        message, (await Fude.Run("train", "--out", "x", "--config", "x", "--data", "x", "--steps", "1", "--rows", rows)).Failure(2), StringComparison.Ordinal);

    [Fact]
    public async Task Words_are_taken_in_capitals_too_and_help_shows_the_one_that_stands_for_absence()
    {
        Assert.DoesNotContain("Linear", (await Fude.Run("train", "--out", "x", "--data", "x", "--steps", "1", "--schedule", "Linear")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("[default: cosine]", (await Fude.Run("train", "--help")).Output, StringComparison.Ordinal);
    }
}
