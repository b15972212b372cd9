using System.CommandLine;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>fude tokenizer train: a tokenizer of one's own.</summary>
internal static class TokenizerCommand
{
    public static Command Create(Terminal terminal) =>
        new("tokenizer", Say("Make a tokenizer.", "トークナイザーを作る。")) { CreateTrain(terminal), TokenizerMergeCommand.Create(terminal) };

    private static Command CreateTrain(Terminal terminal)
    {
        TokenizerTrainerOptions absent = new();
        Option<Choice<TokenizerModel>> model = WordOption.Of(
            "--model", Say("The kind of model.", "モデルの種類。"), ("unigram", TokenizerModel.Unigram), ("bpe", TokenizerModel.Bpe));
        Option<int> size = Of("--vocab-size", Say("Pieces in all, special ones and bytes included.", "語彙数（特殊トークンとバイトを含む）。"), absent.VocabularySize, AtLeast(1));
        Option<double> coverage = Of(
            "--character-coverage", Say("The share of the text's characters that get a piece of their own.", "テキストの文字のうち、単独で語にするものの割合。"), absent.CharacterCoverage, PartAboveZero);
        Option<int> longest = Of("--max-piece-length", Say("The longest piece, in characters.", "1 語の最大文字数。"), absent.MaxPieceLength, AtLeast(1));
        Option<int> sample = Of("--sample-lines", Say("Lines drawn at random from the text; 0 for all.", "無作為に選ぶ行数。0 なら全行。"), 0, AtLeast(0));
        Option<ulong> seed = Of("--seed", Say("The seed of the draw.", "行を選ぶ乱数の種。"), 1UL);
        Command command = new("train", Say("Train a tokenizer on texts.", "テキストからトークナイザーを学習する。"));
        TextArguments text = TextArguments.AddTo(command, hasDocuments: false);
        foreach (Option option in (Option[])[model, size, coverage, longest, sample, seed]) command.Add(option);
        TokenizerArguments common = new();
        common.AddTo(command);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            TokenizerTrainerOptions options = common.Read(args) with
            {
                VocabularySize = args.GetValue(size),
                CharacterCoverage = args.GetValue(coverage),
                MaxPieceLength = args.GetValue(longest),
            };
            TrainingText all = text.Of(args), source = new(all.Files)
            {
                Field = all.Field,
                SkipBadLines = all.SkipBadLines,
                SampleLines = args.GetValue(sample),
                Seed = args.GetValue(seed),
            };
            TextArguments.TellUnnamedJson(terminal, all.Files);
            using ProgressLine progress = new(terminal);
            IProgress<TrainingProgress> told = progress.Of<TrainingProgress>(TokenizerArguments.Line, stop);
            TrainedTokenizer trained = TokenizerArguments.InTheirWords(() => args.GetRequiredValue(model).Value == TokenizerModel.Bpe
                ? BpeTrainer.Train(source, options, told, stop)
                : UnigramTrainer.Train(source, options, told, stop));
            progress.Clear();
            string folder = common.Write(args, trained, terminal.Error);
            string skipped = TokenizerArguments.Skipped(trained.Report);
            terminal.Output.WriteLine(Say(
                $"wrote {folder}: {trained.Pieces.Count:N0} pieces from {Count(trained.Report.Lines, "line")}, {100 * trained.Report.Coverage:F3} % of the characters covered{skipped}",
                $"{folder} に書き出しました: {trained.Report.Lines:N0} 行から {trained.Pieces.Count:N0} 語、文字の {100 * trained.Report.Coverage:F3} % を収録{skipped}"));
            return 0;
        }, stop));
        return command;
    }
}
