using System.CommandLine;
using Fude.Models;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude tokenizer merge: one vocabulary of several, with scores estimated on mixed text.</summary>
internal static class TokenizerMergeCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string[]> tokenizers = new("tokenizers")
        {
            HelpName = "MODEL",
            Arity = ArgumentArity.OneOrMore,
            Description = Say("Unigram tokenizers: folders, or .model and tokenizer.json files.", "Unigram トークナイザー（フォルダー、または .model か tokenizer.json）。"),
        };
        Option<string> output = new("--out")
        {
            HelpName = "DIR",
            Required = true,
            Description = Say("The folder for tokenizer.json, its companions and tokenizer.model.", "tokenizer.json などと tokenizer.model を書くフォルダー。"),
        };
        Option<string[]> text = new("--text")
        {
            HelpName = "FILE",
            Required = true,
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            Description = Say("Text of all kinds, on which the scores are estimated: plain or JSONL, also .gz.", "スコアの推定に使う混合テキスト（テキストまたは JSONL、.gz も可）。"),
        };
        Option<string> field = new("--field")
        {
            HelpName = "NAME",
            DefaultValueFactory = _ => "text",
            Description = Say("JSONL: the field that holds the text.", "JSONL でテキストが入っているフィールド。"),
        };
        Option<int?> most = new("--vocab-size") { HelpName = "N", Description = Say("Pieces at most; all when absent.", "語彙数の上限。省略時はすべて残す。") };
        Option<int> steps = Number("--em-steps", 4, Say("EM steps.", "EM の繰り返し回数。"));
        Option<int> runs = Number("--whitespace-runs", 0, Say("Adds pieces for runs of 2 to N spaces.", "2 個から N 個までの空白の連続を語彙に加える。"));
        Option<string[]> user = Pieces("--user-defined", Say("A piece matched whole wherever the text has it; \\n and \\t are read as such.", "必ず 1 語として扱う文字列。\\n と \\t も書ける。"));
        Option<string[]> control = Pieces("--control", Say("A piece that only a program puts into a text.", "プログラムだけが挿入する特殊トークン。"));
        Option<string?> padding = new("--padding") { HelpName = "PIECE", Description = Say("A piece to fill batches with, such as <pad>.", "バッチを埋める語彙（<pad> など）。") };
        Option<bool> splitDigits = Flag("--split-digits", Say("Every digit stays alone.", "数字を 1 桁ずつ分ける。"));
        Option<bool> noDummyPrefix = Flag("--no-dummy-prefix", Say("Put no space before a text.", "テキストの前に空白を補わない。"));
        Option<bool> addBegin = Flag("--add-bos", Say("The tokenizer puts its begin token before every text.", "テキストの前に開始トークンを付ける。"));
        Option<int?> threads = Arguments.Threads();
        Command command = new("merge", Say(
            "Merge unigram tokenizers of several kinds of text into one, and estimate its scores on mixed text.",
            "分野ごとの Unigram トークナイザーを一つに合わせ、混合テキストでスコアを推定し直す。"))
        {
            tokenizers, output, text, field, most, steps, runs, user, control, padding, splitDigits, noDummyPrefix, addBegin, threads,
        };
        command.SetAction((args, stop) => Task.Run(() =>
        {
            List<IEnumerable<VocabularyPiece>> vocabularies = [];
            foreach (string path in args.GetRequiredValue(tokenizers))
            {
                Tokenizer loaded = ModelFolder.OpenTokenizer(path);
                if (loaded.Model != TokenizerModel.Unigram)
                    throw new Failure(
                        $"{path} is a {loaded.Model} tokenizer: only unigram vocabularies have probabilities that can be merged.",
                        $"{path} は {loaded.Model} トークナイザーです。合わせられるのは Unigram だけです。");
                vocabularies.Add([.. loaded.Pieces]);
            }
            TokenizerTrainerOptions options = new()
            {
                UserDefinedPieces = [.. (args.GetValue(user) ?? []).Select(TokenizerCommand.Unescape)],
                ControlPieces = args.GetValue(control) ?? [],
                PaddingPiece = args.GetValue(padding),
                WhitespaceRuns = args.GetValue(runs),
                SplitDigits = args.GetValue(splitDigits),
                AddDummyPrefix = !args.GetValue(noDummyPrefix),
                AddBegin = args.GetValue(addBegin),
                Threads = args.GetValue(threads) ?? 0,
            };
            using ProgressLine progress = new(terminal);
            TrainedTokenizer merged = VocabularyMerge.Merge(vocabularies, new TrainingText(args.GetRequiredValue(text)) { Field = args.GetRequiredValue(field) }, options,
                args.GetValue(most), args.GetValue(steps), progress.Of<TrainingProgress>(TokenizerCommand.Line, stop), stop);
            progress.Clear();
            string folder = args.GetRequiredValue(output);
            ExportCommand.RefuseToReplace(Path.Combine(folder, "tokenizer.json"));
            _ = Directory.CreateDirectory(folder);
            merged.SaveSentencePiece(Path.Combine(folder, "tokenizer.model"));
            merged.SaveHuggingFace(folder);
            terminal.Output.WriteLine(Say($"wrote {folder}: {merged.Pieces.Count:N0} pieces", $"{folder} に書き出しました: {merged.Pieces.Count:N0} 語"));
            return 0;
        }, stop));
        return command;
    }

    private static Option<int> Number(string name, int absent, string description) =>
        new(name) { HelpName = "N", DefaultValueFactory = _ => absent, Description = description };

    private static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    private static Option<string[]> Pieces(string name, string description) =>
        new(name) { HelpName = "PIECE", Description = description, Arity = ArgumentArity.OneOrMore };
}
