using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>What System.CommandLine says by itself, in fude's words: what is wrong with a command line, and the frame of its help.</summary>
/// <remarks>Of its own Japanese half is missing, so its English is what is read here: the program carries no other (SatelliteResourceLanguages).</remarks>
internal static partial class CommandLineWords
{
    private static readonly (Regex Pattern, Func<ParseError, GroupCollection, string> Say)[] Errors =
    [
        (CannotParse(), (error, found) => Say($"{NameOf(error)}: '{found["value"].Value}' is not understood.", $"{NameOf(error)}: '{found["value"].Value}' は解釈できません。")),
        (ArgumentMissing(), (_, found) => Missing(found["name"].Value)),
        (TooMany(), (_, found) => Say($"{found["name"].Value} is given {found["count"].Value} times; once is expected.", $"{found["name"].Value} が {found["count"].Value} 回指定されています。1 回だけ指定してください。")),
        (ValueMissing(), (_, found) => Say($"{found["name"].Value} has no value.", $"{found["name"].Value} に値がありません。")),
        (CommandMissing(), (_, _) => Say("a command is missing.", "コマンドがありません。")),
        (OptionMissing(), (_, found) => Missing(found["name"].Value)),
        (Unrecognised(), (error, found) => Unknown(found["word"].Value, error.SymbolResult as CommandResult)),
    ];

    /// <summary>What is wrong.</summary>
    public static string Of(ParseError error)
    {
        string text = error.Message.ReplaceLineEndings(" ");
        foreach ((Regex pattern, Func<ParseError, GroupCollection, string> say) in Errors)
            if (pattern.Match(text) is { Success: true } match) return say(error, match.Groups);
        return text;
    }

    /// <summary>Has a program's help speak so too.</summary>
    public static void Adopt(RootCommand root)
    {
        HelpOption help = root.Options.OfType<HelpOption>().Single();
        help.Description = Say("Show this help.", "この説明を表示する。");
        if (help.Action is HelpAction plain) help.Action = new Help(plain);
        root.Options.OfType<VersionOption>().Single().Description = Say("Show the version.", "バージョンを表示する。");
    }

    /// <summary>Has a command and those below it refuse a misspelt option where any word may stand: in a list, and for a model, a file or a folder.</summary>
    /// <param name="command">The command.</param>
    /// <param name="literal">Words after `--`, which are what they are.</param>
    public static void RefuseMisspeltOptions(Command command, IReadOnlyCollection<string> literal)
    {
        // First of all: what the others miss may be what the list has swallowed.
        command.Validators.Insert(0, result =>
        {
            foreach (SymbolResult child in result.Children)
                if (child is OptionResult { Option.AllowMultipleArgumentsPerToken: true } or OptionResult { Option.HelpName: "FILE" or "FILE.gguf" or "DIR" or "MODEL" or "NAME" }
                    or ArgumentResult { Argument.Name: not "text" })
                    foreach (Token word in child.Tokens)
                        if (LooksLikeOption(word.Value) && !literal.Contains(word.Value)) result.AddError(NoSuchOption(word.Value, result));
        });
        foreach (Command part in command.Subcommands) RefuseMisspeltOptions(part, literal);
    }

    /// <summary>Whether a word can only be an option: a file of such a name is ./--name, or stands after `--`.</summary>
    public static bool LooksLikeOption(string word) => OptionShape().IsMatch(word);

    /// <summary>Says that a command has no such option, and which may have been meant.</summary>
    public static string NoSuchOption(string word, CommandResult? command)
    {
        string given = word.Split('=')[0];
        List<string> known = [];
        for (SymbolResult? at = command; at is CommandResult within; at = at.Parent)
            known.AddRange(within.Command.Options.Where(option => within == command || option.Recursive).SelectMany(option => option.Aliases.Prepend(option.Name)));
        string hint = NearestName.Hint(given, known.Where(LooksLikeOption));
        return Say($"There is no option {given}.{hint}", $"{given} というオプションはありません。{hint}");
    }

    private static string Unknown(string word, CommandResult? command)
    {
        if (LooksLikeOption(word)) return NoSuchOption(word, command);
        string hint = NearestName.Hint(word, command?.Command.Subcommands.Select(part => part.Name) ?? []);
        return Say($"'{word}' is no command, no option, or one argument too many.{hint}", $"'{word}' というコマンドやオプションはないか、引数が多すぎます。{hint}");
    }

    private static string Missing(string name) => Say($"{name} is missing.", $"{name} がありません。必ず指定してください。");

    private static string NameOf(ParseError error) => error.SymbolResult switch
    {
        OptionResult option => option.Option.Name,
        ArgumentResult { Parent: OptionResult option } => option.Option.Name,
        ArgumentResult argument => argument.Argument.HelpName ?? argument.Argument.Name,
        _ => "",
    };

    /// <summary>The help as System.CommandLine lays it out, where an argument has one name and looks optional if it is; the frame in the user's language.</summary>
    private sealed class Help(HelpAction plain) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            InvocationConfiguration configuration = parseResult.InvocationConfiguration;
            TextWriter output = configuration.Output;
            using StringWriter text = new() { NewLine = output.NewLine };
            configuration.Output = text;
            int status;
            try
            {
                status = plain.Invoke(parseResult);
            }
            finally
            {
                configuration.Output = output;
            }
            string help = WithArguments(text.ToString(), parseResult.CommandResult.Command);
            output.Write(IsJapanese ? Japanese(help) : help);
            return status;
        }

        // A usage line has the arguments' own names, which are a recipe's keys; a list of commands shows none as optional.
        private static string WithArguments(string help, Command command)
        {
            foreach (Argument argument in command.Arguments)
                help = Regex.Replace(help, $"(?<=^  fude .*)<{Regex.Escape(argument.Name)}>", $"<{argument.HelpName}>", RegexOptions.Multiline);
            foreach (Command part in command.Subcommands)
                foreach (Argument argument in part.Arguments.Where(argument => argument.Arity.MinimumNumberOfValues == 0))
                    help = Regex.Replace(help, $@"(?<=^  {Regex.Escape(part.Name)} ([<\[]\S+ )*)<{Regex.Escape(argument.HelpName!)}>", $"[{argument.HelpName}]", RegexOptions.Multiline);
            return help;
        }

        // The words of a heading, of a usage line and of the brackets behind an option. "（必須）" is as wide as 8 letters of the 10 it stands for.
        private static string Japanese(string help) => Frame().Replace(help, word => word.Value switch
        {
            "Description:" => "説明:",
            "Usage:" => "使い方:",
            "Arguments:" => "引数:",
            "Options:" => "オプション:",
            "Commands:" => "コマンド:",
            "[options]" => "[オプション]",
            "[command]" => "[コマンド]",
            "(REQUIRED)" => "（必須）  ",
            _ => "[省略時:",
        });
    }

    [GeneratedRegex(@"^(Description|Usage|Arguments|Options|Commands):(?=\r?$)|(?<=^  fude.*)\[(options|command)\]|(?<=^  -.*)\(REQUIRED\)|\[default:", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex Frame();

    [GeneratedRegex("^--[A-Za-z][A-Za-z0-9_-]*(=|$)")]
    private static partial Regex OptionShape();

    [GeneratedRegex("^Cannot parse argument '(?<value>.*?)'( for (option|command) '[^']*')? as expected type '")]
    private static partial Regex CannotParse();

    [GeneratedRegex("^Required argument '(?<name>[^']*)' missing for command: '")]
    private static partial Regex ArgumentMissing();

    [GeneratedRegex("^Option '(?<name>[^']*)' expects a single argument but (?<count>[0-9]+) were provided")]
    private static partial Regex TooMany();

    [GeneratedRegex("^Required argument missing for option: '(?<name>[^']*)'")]
    private static partial Regex ValueMissing();

    [GeneratedRegex("^Required command was not provided")]
    private static partial Regex CommandMissing();

    [GeneratedRegex("^Option '(?<name>[^']*)' is required")]
    private static partial Regex OptionMissing();

    [GeneratedRegex("^Unrecognized command or argument '(?<word>.*)'")]
    private static partial Regex Unrecognised();
}
