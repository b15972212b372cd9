using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;

namespace Fude.Cli;

/// <summary>The command line: which commands there are, and how they fail.</summary>
/// <remarks>Exit code 0: done. 1: it failed, and one line on standard error says why and what to do. 2: the command line is wrong. 129, 130 and
/// 143: it was stopped by SIGHUP, Ctrl+C or SIGTERM.</remarks>
internal sealed class FudeProgram(Terminal terminal)
{
    private static readonly Option<bool> Verbose = new("--verbose")
    {
        Description = Language.Say("Show where an error came from.", "エラーの発生箇所も表示する。"),
        Recursive = true,
    };

    // They keep what they have done when they are stopped, and may take their time for it: a step and a checkpoint.
    private static readonly string[] Unhurried = ["train", "tune", "dpo", "run"];

    /// <summary>Runs one command line to its end.</summary>
    public async Task<int> RunAsync(string[] arguments)
    {
        using Interrupts interrupts = new();
        // A prompt may begin with "@": no response files.
        ParseResult parsed = CreateCommand(interrupts, arguments.FirstOrDefault(), [.. arguments.SkipWhile(word => word != "--").Skip(1)]).Parse(
            [.. arguments.SelectMany(WithEmptyValue)], new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false });
        if (parsed.Errors.Count > 0 && parsed.Action is ParseErrorAction) return WrongUsage(parsed);
        if (parsed.CommandResult is { Command.Name: string name, Parent: CommandResult { Parent: null } } && Unhurried.Contains(name))
        {
            interrupts.Patience = Timeout.InfiniteTimeSpan;
            _ = interrupts.Program.Register(() => terminal.Error.WriteLine(Language.Say(
                "fude: stopping after this step, with a checkpoint; again to end at once.",
                "fude: このステップの後でチェックポイントを書いて止まります。もう一度押すとすぐに終了します。")));
        }
        try
        {
            int status = await interrupts.OutcomeAsync(Task.Run(() => parsed.InvokeAsync(new InvocationConfiguration
            {
                Output = terminal.Output,
                Error = terminal.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            }, interrupts.Program))).ConfigureAwait(false);
            terminal.Output.Flush();
            return status == 0 ? 0 : interrupts.ExitCode ?? status;
        }
        catch (OperationCanceledException)
        {
            terminal.Error.WriteLine(Language.Say("fude: stopped.", "fude: 中断しました。"));
            return interrupts.ExitCode ?? 1;
        }
        catch (IOException) when (terminal.OutputIsGone())
        {
            return 1;       // whoever read the output has stopped, as `head` does: nobody is left to tell
        }
#pragma warning disable CA1031 // This is where every failure becomes one line for a person.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            // What the libraries call a wrong argument came from the command line.
            bool isUsage = failure is Failure { IsWrongUsage: true } || failure.GetType() == typeof(ArgumentException);
            terminal.Error.WriteLine(Failure.Explain(failure) + (isUsage ? WhereHelpIs(parsed) : ""));
            if (parsed.GetValue(Verbose)) terminal.Error.WriteLine(failure);
            return isUsage ? 2 : 1;
        }
    }

    /// <summary>The program's commands.</summary>
    /// <param name="interrupts">Ctrl+C, for the commands that outlive it.</param>
    /// <param name="first">The first argument. Where it names a command, that one alone is made: a run does not wait for the options of
    /// twenty others.</param>
    /// <param name="literal">The words after `--`: no options, whatever they look like.</param>
    internal RootCommand CreateCommand(Interrupts interrupts, string? first = null, IReadOnlyCollection<string>? literal = null)
    {
        RootCommand root = new(Language.Say(
            "fude (筆): the whole life of a Japanese language model.",
            "fude (筆): 日本語言語モデルの一生をひとつの道具で。")) { Verbose };
        (string Name, Func<Command> Create)[] commands =
        [
            ("generate", () => GenerateCommand.Create(terminal, literal ?? [])),
            ("chat", () => ChatCommand.Create(terminal, interrupts)),
            ("tokenize", () => TokenizeCommand.Create(terminal)),
            ("detokenize", () => DetokenizeCommand.Create(terminal)),
            ("explain", () => ExplainCommand.Create(terminal)),
            ("inspect", () => InspectCommand.Create(terminal)),
            ("logits", () => LogitsCommand.Create(terminal)),
            ("perplexity", () => PerplexityCommand.Create(terminal)),
            ("evaluate", () => EvaluateCommand.Create(terminal)),
            ("follow", () => FollowCommand.Create(terminal)),
            ("tune", () => TuneCommand.Create(terminal)),
            ("dpo", () => DpoCommand.Create(terminal)),
            ("merge", () => MergeCommand.Create(terminal)),
            ("export", () => ExportCommand.Create(terminal)),
            ("quantize", () => ExportCommand.CreateQuantize(terminal)),
            ("report", () => ReportCommand.Create(terminal)),
            ("tokenizer", () => TokenizerCommand.Create(terminal)),
            ("corpus", () => CorpusCommand.Create(terminal)),
            ("train", () => TrainCommand.Create(terminal)),
            ("run", () => RunCommand.Create(terminal)),
            ("bench", () => BenchCommand.Create(terminal)),
        ];
        bool isNamed = commands.Any(command => command.Name == first);
        foreach ((string name, Func<Command> create) in commands)
            if (!isNamed || name == first) root.Add(create());
        DefaultModel.AcceptName(root);
        CommandLineWords.Adopt(root);
        CommandLineWords.RefuseMisspeltOptions(root, literal ?? []);
        return root;
    }

    /// <summary>An option that is given the empty text, as in `--prompt=`: System.CommandLine would take the next argument for its value.</summary>
    private static string[] WithEmptyValue(string argument) =>
        argument.Length > 3 && argument.StartsWith("--", StringComparison.Ordinal) && argument.IndexOfAny(['=', ' ']) == argument.Length - 1
        && argument[^1] == '=' ? [argument[..^1], ""] : [argument];

    private int WrongUsage(ParseResult parsed)
    {
        // A misspelt option explains what is left over or missing, and a word that is no command says more than that there was none.
        string[] misspelt = [.. parsed.Tokens.Where(token => token.Type == TokenType.Argument && CommandLineWords.LooksLikeOption(token.Value))
            .Select(token => CommandLineWords.NoSuchOption(token.Value, parsed.CommandResult))];
        ParseError error = parsed.Errors.FirstOrDefault(error => misspelt.Any(message => error.Message.StartsWith(message, StringComparison.Ordinal)))
            ?? parsed.Errors.FirstOrDefault(error => parsed.UnmatchedTokens.Any(word => error.Message.Contains($"'{word}'", StringComparison.Ordinal)))
            ?? parsed.Errors[0];
        terminal.Error.WriteLine(Failure.OneLine($"fude: {CommandLineWords.Of(error)}{WhereHelpIs(parsed)}"));
        return 2;
    }

    private static string WhereHelpIs(ParseResult parsed)
    {
        string command = string.Join(' ', Names(parsed.CommandResult));
        return Language.Say($" Try '{command} --help'.", $"使い方は '{command} --help' で見られます。");
    }

    private static Stack<string> Names(CommandResult command)
    {
        Stack<string> names = new();
        for (SymbolResult? at = command; at is CommandResult named; at = at.Parent)
            names.Push(named.Parent is null ? "fude" : named.Command.Name);
        return names;
    }
}
