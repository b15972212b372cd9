using System.CommandLine;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>A word that an option takes, and what it stands for.</summary>
internal sealed record Choice<T>(string Word, T Value)
{
    /// <summary>The word: help shows the one that is taken by default.</summary>
    public override string ToString() => Word;
}

/// <summary>Options that take one of some words.</summary>
internal static class WordOption
{
    /// <summary>An option.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="description">What it is for.</param>
    /// <param name="choices">The words; the first stands for its absence.</param>
    public static Option<Choice<T>> Of<T>(string name, string description, params (string Word, T Value)[] choices)
    {
        Choice<T>[] all = Array.ConvertAll(choices, choice => new Choice<T>(choice.Word, choice.Value));
        object[] words = all;       // no generic method joins them: it would be compiled at every start, for each T anew
        return new(name)
        {
            HelpName = string.Join('|', words),
            Arity = ArgumentArity.ExactlyOne,
            Description = description,
            DefaultValueFactory = _ => all[0],
            CustomParser = result =>
            {
                string given = result.Tokens[0].Value;
                foreach (Choice<T> choice in all)
                    if (given.Equals(choice.Word, StringComparison.OrdinalIgnoreCase)) return choice;
                result.AddError(Say(
                    $"{name}: '{given}' is none of {string.Join(", ", words)}.", $"{name}: '{given}' は {string.Join("、", words)} のいずれでもありません。"));
                return all[0];
            },
        };
    }
}
