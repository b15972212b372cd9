using System.CommandLine;
using Fude.Models;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

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
        Option<string[]> text = new("--text")
        {
            HelpName = "FILE...",
            Required = true,
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            Description = Say(
                "Text of all kinds, on which the scores are estimated: JSONL where the name ends in .jsonl, .ndjson or .json, plain text elsewhere, also .gz.",
                "スコアの推定に使う混合テキスト。名前が .jsonl、.ndjson、.json で終われば JSONL、それ以外はプレーンテキスト（.gz も可）。"),
        };
        Option<string> field = new("--field")
        {
            HelpName = "NAME",
            DefaultValueFactory = _ => "text",
            Description = Say("JSONL: the field that holds the text.", "JSONL でテキストが入っているフィールド。"),
        };
        Option<int> skipBad = TextArguments.SkipBad();
        Option<int?> most = Optional<int>("--vocab-size", Say("Pieces at most; all when absent.", "語彙数の上限。省略時はすべて残す。"), AtLeast(1));
        Option<int> steps = Of("--em-steps", Say("EM steps.", "EM の繰り返し回数。"), 4, Within(1, 1000));
        Command command = new("merge", Say(
            "Merge unigram tokenizers of several kinds of text into one, and estimate its scores on mixed text. Only learnt pieces are taken over: give " +
            "--control, --padding, --user-defined and --whitespace-runs anew.",
            "分野ごとの Unigram トークナイザーを一つに合わせ、混合テキストでスコアを推定し直す。引き継がれるのは学習された語だけなので、" +
            "--control、--padding、--user-defined、--whitespace-runs は指定し直す。"))
        {
            tokenizers, text, field, skipBad, most, steps,
        };
        TokenizerArguments common = new();
        common.AddTo(command);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            TokenizerTrainerOptions options = common.Read(args);
            List<IEnumerable<VocabularyPiece>> vocabularies = [];
            foreach (string path in args.GetRequiredValue(tokenizers))
            {
                Tokenizer loaded = ModelFolder.OpenTokenizer(path);
                if (loaded.Model != TokenizerModel.Unigram)
                    throw new Failure(
                        $"{path} is a {loaded.Model} tokenizer: only unigram vocabularies have probabilities that can be merged.",
                        $"{path} は {loaded.Model} トークナイザーです。合わせられるのは Unigram だけです。");
                Tokenizer kinds = WithKinds(path, loaded);
                vocabularies.Add([.. kinds.Pieces]);
                if (LeftOut(kinds, options) is { Length: > 0 } leftOut)
                    terminal.Error.WriteLine(Failure.OneLine(Say(
                        $"note: {path} has pieces that were given and not learnt, and the result will not have them: {leftOut}. Give these options to have them.",
                        $"注意: {path} にある次の語は、学習されたものではないため結果に含まれません: {leftOut}。必要なら、これらのオプションを指定してください。")));
                if (options.Normalization == TrainerNormalization.Identity && loaded.Decode(loaded.Encode("ＡＢＣ", addSpecialTokens: false)).Trim() == "ABC")
                    terminal.Error.WriteLine(Say(
                        $"note: {path} normalises texts, and the result will not: its pieces of characters such as Ａ, ｶﾞ and ㈱ are missing. Give --nfkc.",
                        $"注意: {path} はテキストを正規化しますが、結果はしません。Ａ、ｶﾞ、㈱ などの文字の語がないため、--nfkc を指定してください。"));
            }
            TextArguments.TellUnnamedJson(terminal, args.GetRequiredValue(text));
            TrainingText mix = new(args.GetRequiredValue(text)) { Field = args.GetRequiredValue(field), SkipBadLines = args.GetValue(skipBad) };
            using ProgressLine progress = new(terminal);
            TrainedTokenizer merged = TokenizerArguments.InTheirWords(() => VocabularyMerge.Merge(
                vocabularies, mix, options, args.GetValue(most), args.GetValue(steps), progress.Of<TrainingProgress>(TokenizerArguments.Line, stop), stop));
            progress.Clear();
            string folder = common.Write(args, merged, terminal.Error);
            string skipped = TokenizerArguments.Skipped(merged.Report);
            terminal.Output.WriteLine(Say(
                $"wrote {folder}: {merged.Pieces.Count:N0} pieces{skipped}", $"{folder} に書き出しました: {merged.Pieces.Count:N0} 語{skipped}"));
            return 0;
        }, stop));
        return command;
    }

    // To a tokenizer.json, what a unigram tokenizer was given to match is a piece like all others: the .model beside it tells them apart.
    private static Tokenizer WithKinds(string path, Tokenizer loaded)
    {
        string beside = Path.Combine(path, TrainedTokenizer.SentencePieceName);
        if (!Directory.Exists(path) || !File.Exists(beside)) return loaded;
        Tokenizer model = ModelFolder.OpenTokenizer(beside);
        return model.Model == TokenizerModel.Unigram && model.Pieces.Select(piece => piece.Text).SequenceEqual(loaded.Pieces.Select(piece => piece.Text)) ? model : loaded;
    }

    // The pieces that a tokenizer has beside its learnt ones and the result has not, behind the options that ask for them.
    private static string LeftOut(Tokenizer tokenizer, TokenizerTrainerOptions options)
    {
        HashSet<string> given = [.. options.MetaPieces().Select(piece => piece.Text)];
        VocabularyPiece[] others = [.. tokenizer.Pieces.Where(piece => !given.Contains(piece.Text))];
        List<string> parts = [];
        Add("--control", piece => piece.Kind == PieceKind.Control && piece.Id != tokenizer.PaddingId);
        Add("--padding", piece => piece.Kind == PieceKind.Control && piece.Id == tokenizer.PaddingId);
        Add("--user-defined", piece => piece.Kind == PieceKind.UserDefined);
        int run = others.Where(piece => piece.Kind == PieceKind.Normal && VocabularyMerge.IsRunOfSpaces(piece.Text)).Select(piece => piece.Text.Length).DefaultIfEmpty().Max();
        if (run > 0) parts.Add($"--whitespace-runs {run}");
        return string.Join(Say(", ", "、"), parts);

        void Add(string option, Func<VocabularyPiece, bool> isOne)
        {
            string[] pieces = [.. others.Where(isOne).Select(piece => piece.Text)];
            if (pieces.Length > 0) parts.Add($"{option} {TokenizerArguments.Written(pieces)}");
        }
    }
}
