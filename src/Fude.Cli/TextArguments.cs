using System.CommandLine;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>Options that say which texts are read, and how.</summary>
internal sealed class TextArguments
{
    private readonly Argument<string[]> _files = new("files")
    {
        HelpName = "FILE",
        Arity = ArgumentArity.OneOrMore,
        Description = Say("Plain text or JSONL in UTF-8, also packed by gzip.", "テキストまたは JSONL（UTF-8）。gzip 圧縮も可。"),
    };

    private readonly Option<string> _field = new("--field")
    {
        HelpName = "NAME",
        DefaultValueFactory = _ => "text",
        Description = Say("JSONL: the field that holds the text.", "JSONL でテキストが入っているフィールド。"),
    };

    private readonly Option<int> _skipBad = NumberOption.Of(
        "--skip-bad", Say("Broken lines to pass over before one is an error.", "読み飛ばしてよい壊れた行の数。"), 0, NumberOption.AtLeast(0));

    private readonly Option<Choice<PlainTextDocument>> _documents = WordOption.Of(
        "--documents", Say("Plain text: what a document is. Paragraphs stand between blank lines.",
            "テキストファイルの文書の単位: 空行区切り（paragraphs）、1 行（line）、1 ファイル（file）。"),
        ("paragraphs", PlainTextDocument.Paragraphs), ("line", PlainTextDocument.Line), ("file", PlainTextDocument.File));

    private TextArguments()
    {
    }

    /// <summary>Adds them to a command.</summary>
    public static TextArguments AddTo(Command command, bool hasDocuments)
    {
        TextArguments arguments = new();
        command.Add(arguments._files);
        command.Add(arguments._field);
        command.Add(arguments._skipBad);
        if (hasDocuments) command.Add(arguments._documents);
        return arguments;
    }

    /// <summary>The texts.</summary>
    public TrainingText Of(ParseResult args) => Of(args, args.GetRequiredValue(_files));

    /// <summary>Other files, laid out like these.</summary>
    public TrainingText Of(ParseResult args, IReadOnlyList<string> files) => new(files)
    {
        Field = args.GetRequiredValue(_field),
        SkipBadLines = args.GetValue(_skipBad),
        PlainText = args.GetResult(_documents) is null ? default : args.GetRequiredValue(_documents).Value,
    };
}
