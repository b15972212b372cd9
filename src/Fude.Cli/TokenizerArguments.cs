using System.CommandLine;
using System.Text.RegularExpressions;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>The options of both commands that make a tokenizer: fude tokenizer train and fude tokenizer merge.</summary>
internal sealed partial class TokenizerArguments
{
    private readonly Option<string> _output = new("--out")
    {
        HelpName = "DIR",
        Required = true,
        Description = Say("The folder for tokenizer.json, its companions and tokenizer.model.", "tokenizer.json などと tokenizer.model を書くフォルダー。"),
    };
    private readonly Option<int> _runs = NumberOption.Of(
        "--whitespace-runs", Say("Adds pieces for runs of 2 to N spaces.", "2 個から N 個までの空白の連続を語彙に加える。"), 0, NumberOption.AtLeast(0));
    private readonly Option<string[]> _user = Pieces(
        "--user-defined", Say("A piece matched whole wherever the text has it; \\n and \\t are read as such.", "必ず 1 語として扱う文字列。\\n と \\t も書ける。"));
    private readonly Option<string[]> _control = Pieces(
        "--control", Say("A piece that only a program puts into a text, such as <|user|>.", "プログラムだけが挿入する特殊トークン（<|user|> など）。"));
    private readonly Option<string?> _padding = new("--padding")
    {
        HelpName = "PIECE",
        Description = Say("A piece to fill batches with, such as <pad>.", "バッチの余りを埋める語（<pad> など）。"),
    };
    private readonly Option<bool> _noByteFallback = Flag("--no-byte-fallback", Say("Rare characters become unknown instead of bytes.", "まれな文字をバイトに分けず未知語にする。"));
    private readonly Option<bool> _splitDigits = Flag("--split-digits", Say("Every digit stays alone.", "数字を 1 桁ずつ分ける。"));
    private readonly Option<bool> _noDummyPrefix = Flag("--no-dummy-prefix", Say("Put no space before a text.", "テキストの前に空白を補わない。"));
    private readonly Option<bool> _addBegin = Flag("--add-bos", Say("The tokenizer puts its begin token before every text.", "テキストの前に開始トークンを付ける。"));
    private readonly Option<bool> _nfkc = Flag("--nfkc", Say("Normalise by NFKC; nothing is changed otherwise.", "NFKC で正規化する（省略時は何も変えない）。"));
    private readonly Option<int?> _threads = Arguments.Threads();
    private readonly Option<bool> _force = Flag("--force", Say("Replace a tokenizer that is there.", "既にあるトークナイザーを置き換える。"));

    /// <summary>Adds them to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_output, _runs, _user, _control, _padding, _noByteFallback, _splitDigits, _noDummyPrefix, _addBegin, _nfkc, _threads, _force]) command.Add(option);
    }

    /// <summary>What they say, the rest as it is by default; fails before any work where nothing can be written, or a tokenizer is there that is not to be replaced.</summary>
    public TokenizerTrainerOptions Read(ParseResult args)
    {
        string folder = args.GetRequiredValue(_output);
        OutputPlace.RequireFolder(folder);
        if (!args.GetValue(_force) && TrainedTokenizer.FileNames.FirstOrDefault(name => File.Exists(Path.Combine(folder, name))) is { } there)
            throw new Failure(
                $"{folder} has a {there} already: choose another folder, or replace the tokenizer with --force.",
                $"{folder} には既に {there} があります。別のフォルダーにするか、--force でトークナイザーを置き換えてください。");
        return new()
        {
            WhitespaceRuns = args.GetValue(_runs),
            UserDefinedPieces = [.. (args.GetValue(_user) ?? []).Select(Unescape)],
            ControlPieces = args.GetValue(_control) ?? [],
            PaddingPiece = args.GetValue(_padding),
            ByteFallback = !args.GetValue(_noByteFallback),
            SplitDigits = args.GetValue(_splitDigits),
            AddDummyPrefix = !args.GetValue(_noDummyPrefix),
            AddBegin = args.GetValue(_addBegin),
            Normalization = args.GetValue(_nfkc) ? TrainerNormalization.Nfkc : TrainerNormalization.Identity,
            Threads = args.GetValue(_threads) ?? 0,
        };
    }

    /// <summary>Writes a tokenizer and gives its folder. Where its two files are not the same to every text, or its counts approximate, that is told.</summary>
    public string Write(ParseResult args, TrainedTokenizer tokenizer, TextWriter notes)
    {
        string folder = args.GetRequiredValue(_output);
        tokenizer.Save(folder);
        TellThinned(tokenizer.Report, tokenizer.Options.HeldCharacters, notes);
        if (tokenizer.FilesDiffer)
            notes.WriteLine(Say(
                "note: tokenizer.json and tokenizer.model differ in texts that begin with a space or with a piece of --user-defined of several characters: the " +
                "former puts no space before them, for its BPE cannot; --no-dummy-prefix makes both the same",
                "注意: 空白または --user-defined の（2 文字以上の）語で始まるテキストでは、tokenizer.json と tokenizer.model の結果が異なります。" +
                "tokenizer.json の BPE では、その前に空白を補えないためです。--no-dummy-prefix なら両者は同じになります"));
        return folder;
    }

    /// <summary>The broken lines that were passed over, at the end of a sentence; nothing where there were none.</summary>
    public static string Skipped(TrainingTextReport report) =>
        report.BadLines == 0 ? "" : Say("; ", "、") + TextArguments.Skipped(report.BadLines, report.FirstBadLines);

    /// <summary>Pieces as the options take them, the first of them where there are many.</summary>
    public static string Written(IReadOnlyList<string> pieces)
    {
        const int Most = 5;
        string first = string.Join(' ', pieces.Take(Most).Select(piece =>
            $"'{piece.Replace("\n", "\\n", StringComparison.Ordinal).Replace("\t", "\\t", StringComparison.Ordinal)}'"));
        return pieces.Count <= Most ? first : Say($"{first} … ({pieces.Count - Most:N0} more)", $"{first} …（ほか {pieces.Count - Most:N0} 個）");
    }

    /// <summary>Says where the counts are no exact ones.</summary>
    private static void TellThinned(TrainingTextReport report, long held, TextWriter notes)
    {
        if (report.Thinnings == 0) return;
        notes.WriteLine(Say(
            $"note: the text has more different stretches than the {held:N0} characters that are held in memory: the rarest were thinned out at random " +
            $"({Count(report.Thinnings, "time")}), and what is rare is counted approximately",
            $"注意: テキストの異なる断片が、メモリーに置く上限（{held:N0} 文字）を超えました。まれな断片を無作為に間引いたため（{report.Thinnings:N0} 回）、まれな語の頻度は近似値です"));
    }

    /// <summary>Does what may find an option out of range, and calls it then by its name on the command line: the trainers have other names.</summary>
    public static T InTheirWords<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (ArgumentException failure)
        {
            throw new Failure(Property().Replace(Failure.MessageOf(failure), property => property.Value switch
            {
                nameof(TokenizerTrainerOptions.VocabularySize) => "--vocab-size",
                nameof(TokenizerTrainerOptions.CharacterCoverage) => "--character-coverage",
                nameof(TokenizerTrainerOptions.MaxPieceLength) => "--max-piece-length",
                nameof(TokenizerTrainerOptions.WhitespaceRuns) => "--whitespace-runs",
                _ => property.Value,
            }));
        }
    }

    /// <summary>How far the work is, for the line of progress.</summary>
    public static string Line(TrainingProgress progress) =>
        Say($"{progress.Phase} {100 * progress.Fraction:F0} %: {progress.Lines:N0} lines, {progress.Characters:N0} characters, {progress.Pieces:N0} pieces",
            $"{Japanese(progress.Phase)} {100 * progress.Fraction:F0} %: {progress.Lines:N0} 行、{progress.Characters:N0} 文字、{progress.Pieces:N0} 語");

    private static string Japanese(TrainingPhase phase) => phase switch
    {
        TrainingPhase.Reading => "読み込み",
        TrainingPhase.Seeding => "候補の収集",
        TrainingPhase.Pruning => "絞り込み",
        TrainingPhase.Merging => "結合",
        TrainingPhase.Finishing => "仕上げ",
        _ => phase.ToString(),
    };

    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    // Not \b: Japanese words need no space beside it.
    [GeneratedRegex("(?<![A-Za-z])[A-Z][a-z]+([A-Z][a-z]+)+(?![A-Za-z])", RegexOptions.CultureInvariant)]
    private static partial Regex Property();

    private static string Unescape(string piece) => piece.Replace("\\n", "\n", StringComparison.Ordinal).Replace("\\t", "\t", StringComparison.Ordinal);

    private static Option<string[]> Pieces(string name, string description) =>
        new(name) { HelpName = "PIECE...", Description = description, Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = true };
}
