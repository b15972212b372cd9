using System.CommandLine;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude tokenizer train: a tokenizer of one's own.</summary>
internal static class TokenizerCommand
{
    public static Command Create(Terminal terminal) =>
        new("tokenizer", Say("Make a tokenizer.", "トークナイザーを作る。")) { CreateTrain(terminal), TokenizerMergeCommand.Create(terminal) };

    private static Command CreateTrain(Terminal terminal)
    {
        TokenizerTrainerOptions absent = new();
        Option<string> output = new("--out")
        {
            HelpName = "DIR",
            Required = true,
            Description = Say("The folder for tokenizer.json, its companions and tokenizer.model.", "tokenizer.json などと tokenizer.model を書くフォルダー。"),
        };
        Option<TokenizerModel> model = new("--model")
        {
            HelpName = "unigram|bpe",
            DefaultValueFactory = _ => TokenizerModel.Unigram,
            Description = Say("The kind of model.", "モデルの種類。"),
        };
        model.AcceptOnlyFromAmong("unigram", "bpe");
        Option<int> size = Number("--vocab-size", absent.VocabularySize, Say("Pieces in all, special ones and bytes included.", "語彙数（特殊トークンとバイトを含む）。"));
        Option<double> coverage = new("--character-coverage")
        {
            HelpName = "0.9995",
            DefaultValueFactory = _ => absent.CharacterCoverage,
            Description = Say("The share of the text's characters that get a piece of their own.", "単独の語彙を持つ文字の割合。"),
        };
        Option<int> longest = Number("--max-piece-length", absent.MaxPieceLength, Say("The longest piece, in characters.", "語彙の最大文字数。"));
        Option<bool> noByteFallback = Flag("--no-byte-fallback", Say("Rare characters become unknown instead of bytes.", "まれな文字をバイトに分けず未知語にする。"));
        Option<bool> splitDigits = Flag("--split-digits", Say("Every digit stays alone.", "数字を 1 桁ずつ分ける。"));
        Option<bool> noDummyPrefix = Flag("--no-dummy-prefix", Say("Put no space before a text.", "テキストの前に空白を補わない。"));
        Option<bool> addBegin = Flag("--add-bos", Say("The tokenizer puts its begin token before every text.", "テキストの前に開始トークンを付ける。"));
        Option<bool> nfkc = Flag("--nfkc", Say("Normalise by NFKC; nothing is changed otherwise.", "NFKC で正規化する（省略時は何も変えない）。"));
        Option<int> runs = Number("--whitespace-runs", 0, Say("Adds pieces for runs of 2 to N spaces.", "2 個から N 個までの空白の連続を語彙に加える。"));
        Option<string[]> user = Pieces("--user-defined", Say("A piece matched whole wherever the text has it; \\n and \\t are read as such.", "必ず 1 語として扱う文字列。\\n と \\t も書ける。"));
        Option<string[]> control = Pieces("--control", Say("A piece that only a program puts into a text, such as <|user|>.", "プログラムだけが挿入する特殊トークン（<|user|> など）。"));
        Option<string?> padding = new("--padding") { HelpName = "PIECE", Description = Say("A piece to fill batches with, such as <pad>.", "バッチを埋める語彙（<pad> など）。") };
        Option<int> sample = Number("--sample-lines", 0, Say("Lines drawn at random from the text; 0 for all.", "無作為に選ぶ行数。0 なら全行。"));
        Option<ulong> seed = new("--seed") { HelpName = "N", DefaultValueFactory = _ => 1UL, Description = Say("The seed of the draw.", "行を選ぶ乱数の種。") };
        Option<int?> threads = Arguments.Threads();
        Option<bool> force = Flag("--force", Say("Replace a tokenizer that is there.", "既にあるトークナイザーを置き換える。"));
        Command command = new("train", Say("Train a tokenizer on texts.", "テキストからトークナイザーを学習する。"));
        TextArguments text = TextArguments.AddTo(command, hasDocuments: false);
        foreach (Option option in (Option[])[output, model, size, coverage, longest, noByteFallback, splitDigits, noDummyPrefix, addBegin, nfkc, runs, user, control, padding, sample, seed, threads, force])
            command.Add(option);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            string folder = args.GetRequiredValue(output);
            if (File.Exists(Path.Combine(folder, "tokenizer.json")) && !args.GetValue(force))
                throw new Failure(
                    $"{folder} has a tokenizer.json already: choose another folder, or replace it with --force.",
                    $"{folder} には既に tokenizer.json があります。別のフォルダーにするか、--force で置き換えてください。");
            TokenizerTrainerOptions options = absent with
            {
                VocabularySize = args.GetValue(size),
                CharacterCoverage = args.GetValue(coverage),
                MaxPieceLength = args.GetValue(longest),
                ByteFallback = !args.GetValue(noByteFallback),
                SplitDigits = args.GetValue(splitDigits),
                AddDummyPrefix = !args.GetValue(noDummyPrefix),
                AddBegin = args.GetValue(addBegin),
                Normalization = args.GetValue(nfkc) ? TrainerNormalization.Nfkc : TrainerNormalization.Identity,
                WhitespaceRuns = args.GetValue(runs),
                UserDefinedPieces = [.. (args.GetValue(user) ?? []).Select(Unescape)],
                ControlPieces = args.GetValue(control) ?? [],
                PaddingPiece = args.GetValue(padding),
                Threads = args.GetValue(threads) ?? 0,
            };
            TrainingText source = text.Of(args);
            source = new TrainingText(source.Files)
            {
                Field = source.Field,
                SkipBadLines = source.SkipBadLines,
                SampleLines = args.GetValue(sample),
                Seed = args.GetValue(seed),
            };
            using ProgressLine progress = new(terminal);
            IProgress<TrainingProgress> told = progress.Of<TrainingProgress>(Line, stop);
            TrainedTokenizer trained = args.GetValue(model) == TokenizerModel.Bpe
                ? BpeTrainer.Train(source, options, told, stop)
                : UnigramTrainer.Train(source, options, told, stop);
            progress.Clear();
            _ = Directory.CreateDirectory(folder);
            trained.SaveSentencePiece(Path.Combine(folder, "tokenizer.model"));
            trained.SaveHuggingFace(folder);
            terminal.Output.WriteLine(Say(
                $"wrote {folder}: {trained.Pieces.Count:N0} pieces from {trained.Report.Lines:N0} lines ({trained.Report.BadLines} broken ones skipped), {100 * trained.Report.Coverage:F3} % of the characters covered",
                $"{folder} に書き出しました: {trained.Report.Lines:N0} 行（壊れた行 {trained.Report.BadLines} を除く）から {trained.Pieces.Count:N0} 語、文字の {100 * trained.Report.Coverage:F3} % を収録"));
            return 0;
        }, stop));
        return command;
    }

    internal static string Line(TrainingProgress progress) =>
        Say($"{progress.Phase} {100 * progress.Fraction:F0} %: {progress.Lines:N0} lines, {progress.Characters:N0} characters, {progress.Pieces:N0} pieces",
            $"{progress.Phase} {100 * progress.Fraction:F0} %: {progress.Lines:N0} 行、{progress.Characters:N0} 文字、{progress.Pieces:N0} 語");

    internal static string Unescape(string piece) => piece.Replace("\\n", "\n", StringComparison.Ordinal).Replace("\\t", "\t", StringComparison.Ordinal);

    private static Option<int> Number(string name, int absent, string description) =>
        new(name) { HelpName = "N", DefaultValueFactory = _ => absent, Description = description };

    private static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    private static Option<string[]> Pieces(string name, string description) =>
        new(name) { HelpName = "PIECE", Description = description, Arity = ArgumentArity.OneOrMore };
}
