using System.CommandLine;
using System.Globalization;
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
        Description = Say(
            "Texts in UTF-8, also packed by gzip: JSONL where the name ends in .jsonl, .ndjson or .json (before .gz), plain text elsewhere.",
            "テキスト（UTF-8、gzip 圧縮も可）。名前が .jsonl、.ndjson、.json（gzip ならその後に .gz）で終われば JSONL、それ以外はプレーンテキストとして読む。"),
    };

    private readonly Option<string> _field = new("--field")
    {
        HelpName = "NAME",
        DefaultValueFactory = _ => "text",
        Description = Say("JSONL: the field that holds the text.", "JSONL でテキストが入っているフィールド。"),
    };

    private readonly Option<int> _skipBad = SkipBad();

    private readonly Option<Choice<PlainTextDocument>> _documents = WordOption.Of(
        "--documents", Say("Plain text: what a document is. Paragraphs stand between blank lines; one of white space alone is blank.",
            "テキストファイルの文書の単位: 空行（空白だけの行を含む）区切り（paragraphs）、1 行（line）、1 ファイル（file）。"),
        ("paragraphs", PlainTextDocument.Paragraphs), ("line", PlainTextDocument.Line), ("file", PlainTextDocument.File));

    private TextArguments()
    {
    }

    /// <summary>Adds them to a command.</summary>
    public static TextArguments AddTo(Command command, bool hasDocuments, bool needsFiles = true)
    {
        TextArguments arguments = new();
        if (!needsFiles) arguments._files.Arity = ArgumentArity.ZeroOrMore;
        command.Add(arguments._files);
        command.Add(arguments._field);
        command.Add(arguments._skipBad);
        if (hasDocuments) command.Add(arguments._documents);
        return arguments;
    }

    /// <summary>How many broken lines may be passed over.</summary>
    public static Option<int> SkipBad() => NumberOption.Of(
        "--skip-bad", Say("Broken lines to pass over before one is an error.", "読み飛ばしてよい壊れた行の数。"), 0, NumberOption.AtLeast(0));

    /// <summary>The files.</summary>
    public string[] Files(ParseResult args) => args.GetValue(_files) ?? [];

    /// <summary>The texts.</summary>
    public TrainingText Of(ParseResult args) => Of(args, Files(args));

    /// <summary>Other files, laid out like these.</summary>
    /// <param name="args">The command line.</param>
    /// <param name="files">The files.</param>
    /// <param name="skipped">Broken lines that were passed over in yet others.</param>
    public TrainingText Of(ParseResult args, IReadOnlyList<string> files, int skipped = 0) => new(files)
    {
        Field = args.GetRequiredValue(_field),
        SkipBadLines = args.GetValue(_skipBad),
        SkippedBefore = skipped,
        PlainText = args.GetResult(_documents) is null ? default : args.GetRequiredValue(_documents).Value,
    };

    /// <summary>Says of which files the name decides that their JSON is read as plain text, braces and all.</summary>
    public static void TellUnnamedJson(Terminal terminal, IEnumerable<string> files)
    {
        foreach (string file in files)
            if (TrainingText.IsUnnamedJson(file))
                terminal.Error.WriteLine(Failure.OneLine(Say(
                    $"note: {file} begins like JSON, but is read as plain text because of its name; JSONL has .jsonl or .jsonl.gz at its end",
                    $"注意: {file} は JSON のようですが、名前によりプレーンテキストとして読みます。JSONL なら名前の末尾を .jsonl か .jsonl.gz にしてください")));
    }

    /// <summary>Where the broken lines are that were passed over: so many, and the first of them.</summary>
    public static string Skipped(long count, IReadOnlyList<BadLine> first)
    {
        string places = Places(count, first);
        return Failure.OneLine(Say($"{Count(count, "broken line")} skipped: {places}", $"壊れた行 {count:N0} 行を読み飛ばし: {places}"));
    }

    /// <summary>Where so many lines are, of which the first are named.</summary>
    public static string Places(long count, IReadOnlyList<BadLine> first) =>
        string.Join(Say(", ", "、"), first.Select(line => string.Create(CultureInfo.InvariantCulture, $"{line.File}:{line.Line}"))) + (count > first.Count ? Say(", …", "、…") : "");
}
