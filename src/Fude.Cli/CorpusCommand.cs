using System.CommandLine;
using Fude.Corpus;
using Fude.Models;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude corpus: texts on their way to training.</summary>
internal static class CorpusCommand
{
    public static Command Create(Terminal terminal) => new("corpus", Say("Prepare texts for training.", "学習用のテキストを準備する。"))
    {
        CreateHoldOut(terminal),
        CreateInstructions(terminal),
        CreateTokenize(terminal),
    };

    private static Command CreateHoldOut(Terminal terminal)
    {
        Option<double> share = NumberOption.Of("--share", Say("The share of documents to hold out.", "取り分ける文書の割合。"), 0.01, NumberOption.PartBelow(1));
        Option<double> keep = NumberOption.Of(
            "--keep", Say("The share of the other documents to keep.", "残りの文書のうち学習に使う割合。"), 1.0, NumberOption.PartAboveZero);
        Option<string> train = Target("--train", Say("The file for the documents to train on (.jsonl or .jsonl.gz).", "学習用の文書を書くファイル（.jsonl または .jsonl.gz）。"));
        Option<string> heldOut = Target("--held-out", Say("The file for the documents held out (.jsonl or .jsonl.gz).", "取り分けた文書を書くファイル（.jsonl または .jsonl.gz）。"));
        Option<bool> force = Force(Say("Replace files that are there.", "既にあるファイルを置き換える。"));
        Command command = new("hold-out", Say(
            "Set documents aside, chosen by their hash, that no training sees. Only the text of records is kept, not their other fields.",
            "学習に使わない文書をハッシュ値で選んで取り分ける。残るのは本文だけで、レコードの他のフィールドは書かれない。"));
        TextArguments text = TextArguments.AddTo(command, hasDocuments: true);
        command.Add(train);
        command.Add(heldOut);
        command.Add(share);
        command.Add(keep);
        command.Add(force);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            foreach (Option<string> file in (Option<string>[])[train, heldOut]) OutputPlace.RequireNew(args.GetRequiredValue(file), args.GetValue(force));
            TextArguments.TellUnnamedJson(terminal, text.Files(args));
            using ProgressLine progress = new(terminal);
            HoldOutReport report = HoldOut.Split(text.Of(args), args.GetRequiredValue(train), args.GetRequiredValue(heldOut), args.GetValue(share), args.GetValue(keep),
                progress.Of(Say("reading", "読み込み中"), stop), stop);
            progress.Clear();
            terminal.Output.WriteLine(Say(
                $"{Count(report.Documents, "document")} ({Count(report.Characters, "character")}) to train on, {report.HeldOutDocuments:N0} ({report.HeldOutCharacters:N0}) held out{Skipped(report.BadLines, report.FirstBadLines)}{WithoutText(report.Empty, report.FirstEmpty)}",
                $"学習用 {report.Documents:N0} 文書（{report.Characters:N0} 文字）、取り分け {report.HeldOutDocuments:N0} 文書（{report.HeldOutCharacters:N0} 文字）{Skipped(report.BadLines, report.FirstBadLines)}{WithoutText(report.Empty, report.FirstEmpty)}"));
            return 0;
        }, stop));
        return command;
    }

    private static Command CreateInstructions(Terminal terminal)
    {
        Option<string> output = Target("--out", Say("The file of instructions to write (.jsonl or .jsonl.gz).", "指示を書くファイル（.jsonl または .jsonl.gz）。"));
        Option<string[]> dialogues = new("--dialogues")
        {
            HelpName = "FILE",
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            Description = Say(
                "Instruction data and conversations to make more of: numbers of items, short answers, single exchanges.",
                "指示や対話のデータ。そこからも、個数や短さを指定する指示と、一往復の対話を作る。"),
        };
        Option<double> share = NumberOption.Of("--share", Say(
            "The share of sentences that are made something of; lists, kinds, short answers and exchanges are made of all there are.",
            "指示を作る文の割合。箇条書き、種類の例、短い答え、対話の一往復は割合によらずすべてから作る。"), 0.1, NumberOption.PartAboveZero);
        Option<double> heldOut = NumberOption.Of("--held-out-share", Say(
            "The share of conversations that tuning will hold out (its option of that name): nothing is made of them.",
            "学習時に評価用として取り分ける対話の割合（学習の同名のオプション）。それらからは作らない。"), 0.0, NumberOption.PartBelow(1));
        Option<ulong> seed = NumberOption.Of("--seed", Say("Chooses what is made of what.", "何から何を作るかを決める乱数の種。"), 1UL);
        Option<string[]> tasks = new("--tasks")
        {
            HelpName = "TASK",
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            Description = Say(
                $"Which to make; all where none is named. {string.Join(", ", InstructionMiner.Tasks)}.",
                $"作る指示の種類。省略時はすべて。{string.Join("、", InstructionMiner.Tasks)}。"),
        };
        tasks.Validators.Add(result =>
        {
            foreach (string name in result.Tokens.Select(token => token.Value))
                if (!InstructionMiner.Tasks.Contains(name))
                    result.AddError(Say(
                        $"--tasks: there is no task '{name}'; there are {string.Join(", ", InstructionMiner.Tasks)}.",
                        $"--tasks: '{name}' という種類はありません。{string.Join("、", InstructionMiner.Tasks)} があります。"));
        });
        Option<bool> force = Force(Say("Replace a file that is there.", "既にあるファイルを置き換える。"));
        Command command = new("instructions", Say(
            "Make simple Japanese instructions of texts that are answers to them: sentences with given words, lists of so many, definitions, what goes on how. Most say how an answer can be checked.",
            "テキストを答えとする簡単な日本語の指示を作る。決まった言葉を使う文、決まった数の箇条書き、定義、文の続きなど。多くには答えの確かめ方も付く。"));
        TextArguments text = TextArguments.AddTo(command, hasDocuments: true, needsFiles: false);
        command.Validators.Add(result =>
        {
            if (result.GetResult(heldOut) is { Implicit: false } && result.GetResult(dialogues) is null)
                result.AddError(Say("--held-out-share is for --dialogues.", "--held-out-share は --dialogues と共に使います。"));
        });
        command.Add(dialogues);
        command.Add(tasks);
        command.Add(output);
        command.Add(share);
        command.Add(heldOut);
        command.Add(seed);
        command.Add(force);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            if (text.Files(args).Length == 0 && args.Given(dialogues) is null)
                throw Failure.OfUsage(
                    "There is nothing to make instructions of: name files of texts, or conversations (--dialogues FILE).",
                    "指示のもとになるファイルがありません。テキストのファイルか、対話のファイル（--dialogues FILE）を指定してください。");
            OutputPlace.RequireApart(args.GetRequiredValue(output), [.. text.Files(args), .. args.Given(dialogues) ?? []]);
            OutputPlace.RequireNew(args.GetRequiredValue(output), args.GetValue(force));
            TextArguments.TellUnnamedJson(terminal, text.Files(args));
            using ProgressLine progress = new(terminal);
            TrainingText source = text.Of(args);
            DataTally tally = new(source.SkipBadLines);
            IReadOnlyDictionary<string, long> counts = MinedInstructions.Write(
                source, args.Given(dialogues) ?? [], args.GetValue(heldOut), args.GetRequiredValue(output),
                new InstructionMiner { Share = args.GetValue(share), Seed = args.GetValue(seed), Only = args.Given(tasks) ?? [] }, tally, progress.Of(Say("reading", "読み込み中"), stop), stop);
            progress.Clear();
            TuneCommand.ReportLeftOut(terminal.Error, tally);
            terminal.Output.WriteLine(Say(
                $"{Count(counts.Values.Sum(), "instruction")}: {string.Join(", ", counts.Where(pair => pair.Value > 0).Select(pair => $"{pair.Key} {pair.Value:N0}"))}",
                $"指示 {counts.Values.Sum():N0} 件: {string.Join("、", counts.Where(pair => pair.Value > 0).Select(pair => $"{pair.Key} {pair.Value:N0}"))}"));
            return 0;
        }, stop));
        return command;
    }

    private static Command CreateTokenize(Terminal terminal)
    {
        Option<string> tokenizer = new("--tokenizer")
        {
            HelpName = "MODEL",
            Required = true,
            Description = Arguments.Tokenizer().Description,
        };
        Option<string> output = Target("--out", Say(
            "The shard to write: NAME for NAME.bin and NAME.idx, in Megatron-LM's format, and NAME.tokenizer, which says what made the ids.",
            "書き出すシャード。NAME なら NAME.bin と NAME.idx（Megatron-LM 形式）と、どのトークナイザーのものかを示す NAME.tokenizer。"));
        output.HelpName = "NAME";
        Option<bool> noEnd = new("--no-end")
        {
            Description = Say("Put no end-of-sequence token after documents.", "文書の終わりに終端トークンを付けない。"),
        };
        Option<int?> threads = Arguments.Threads();
        Option<bool> force = Force(Say("Replace a shard that is there.", "既にあるシャードを置き換える。"));
        Command command = new("tokenize", Say("Write texts as token shards.", "テキストをトークンのシャードに変換する。"));
        TextArguments text = TextArguments.AddTo(command, hasDocuments: true);
        command.Add(tokenizer);
        command.Add(output);
        command.Add(noEnd);
        command.Add(threads);
        command.Add(force);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            string name = args.GetRequiredValue(output);
            if (Path.EndsInDirectorySeparator(name))
                throw Failure.OfUsage(
                    $"--out {name} names a folder and no shard: give the name of the files in it too, as in {name}train.",
                    $"--out {name} はフォルダーで、シャードの名前がありません。{name}train のように、その中のファイルの名前も指定してください。");
            foreach (string ending in (string[])[".bin", ".idx", ".tokenizer"]) OutputPlace.RequireNew(name + ending, args.GetValue(force));
            TextArguments.TellUnnamedJson(terminal, text.Files(args));
            Tokenizer loaded = ModelFolder.OpenTokenizer(args.GetRequiredValue(tokenizer));
            int? end = args.GetValue(noEnd) ? null : loaded.EndId ?? throw new Failure(
                $"{args.GetRequiredValue(tokenizer)} has no end-of-sequence token to put after documents; --no-end does without.",
                $"{args.GetRequiredValue(tokenizer)} には文書の終わりに付ける終端トークンがありません。--no-end なら付けません。");
            using ProgressLine progress = new(terminal);
            TokenizedCorpus report = CorpusTokenizer.Write(text.Of(args), loaded, name, end, args.GetValue(threads) ?? 0,
                progress.Of(Say("tokenizing", "トークン化中"), stop), stop);
            progress.Clear();
            terminal.Output.WriteLine(Say(
                $"{Count(report.Documents, "document")}, {Count(report.Tokens, "token")}, {(double)report.Characters / report.Tokens:F3} characters a token{Skipped(report.BadLines, report.FirstBadLines)}{WithoutText(report.Empty, report.FirstEmpty)}",
                $"{report.Documents:N0} 文書、{report.Tokens:N0} トークン、1 トークンあたり {(double)report.Characters / report.Tokens:F3} 文字{Skipped(report.BadLines, report.FirstBadLines)}{WithoutText(report.Empty, report.FirstEmpty)}"));
            return 0;
        }, stop));
        return command;
    }

    private static string Skipped(long lines, IReadOnlyList<BadLine> first) => lines == 0 ? "" : Say("; ", "、") + TextArguments.Skipped(lines, first);

    private static string WithoutText(long count, IReadOnlyList<BadLine> first) => count == 0 ? "" : Failure.OneLine(Say(
        $"; {Count(count, "record")} without text left out: {TextArguments.Places(count, first)}", $"、本文が空のレコード {count:N0} 件を除外: {TextArguments.Places(count, first)}"));

    private static Option<bool> Force(string description) => new("--force") { Description = description };

    private static Option<string> Target(string name, string description) => new(name) { HelpName = "FILE", Required = true, Description = description };
}
