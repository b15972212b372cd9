using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Fude.Corpus;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude evaluate: bits for each character of texts that a model has not seen, beside those of xz and of character n-grams.</summary>
internal static class EvaluateCommand
{
    /// <summary>What was found of one text, or of all.</summary>
    private sealed record Row(string Name, DocumentScore Model, double? XzBits, double? NgramBits, long SkippedLines)
    {
        public double? Xz => XzBits / Model.Characters;

        public double? Ngram => NgramBits / Model.Characters;
    }

    public static Command Create(Terminal terminal)
    {
        Argument<string> model = Arguments.Model();
        Option<int?> context = Arguments.Window(), stride = Arguments.Stride();
        Option<bool> xz = new("--xz") { Description = Say("Compare with xz -9e, the program.", "xz -9e（外部プログラム）と比べる。") };
        Option<string[]> ngrams = new("--ngrams")
        {
            HelpName = "FILE...",
            Arity = ArgumentArity.OneOrMore,
            AllowMultipleArgumentsPerToken = true,
            Description = Say(
                "Compare with a 5-gram model of characters (Kneser-Ney) trained on these texts: those the model was trained on.",
                "これらのテキスト（モデルの学習に使ったもの）で学習した文字 5-gram（Kneser-Ney）と比べる。"),
        };
        Option<string?> output = new("--out")
        {
            HelpName = "FILE",
            Description = Say("Write the table to a file: .json or Markdown.", "表をファイルに書く。.json 以外は Markdown。"),
        };
        Option<bool> force = new("--force") { Description = Say("Replace a file that is there.", "既にあるファイルを置き換える。") };
        Option<string?> adapter = Arguments.Adapter();
        Option<int?> threads = Arguments.Threads();
        Option<bool> json = Arguments.Json();
        Command command = new("evaluate", Say(
            "Measure how many bits a model needs for each character (Unicode code point) of held-out texts.",
            "取り分けておいたテキストの 1 文字（Unicode 符号位置）あたりに必要なビット数を測る。")) { model };
        TextArguments text = TextArguments.AddTo(command, hasDocuments: true);
        foreach (Option option in (Option[])[context, stride, xz, ngrams, output, force, adapter, threads, json]) command.Add(option);
        FormatArguments format = FormatArguments.AddTo(command);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            string[] comparison = args.Given(ngrams) ?? [];
            if (args.GetValue(output) is { } table)
            {
                OutputPlace.RequireFile(table);
                OutputPlace.RequireApart(table, [.. text.Files(args), .. comparison, args.GetRequiredValue(model), .. args.GetValue(adapter) is { } part ? (string[])[part] : []]);
                OutputPlace.RequireNew(table, args.GetValue(force));
            }
            TextArguments.TellUnnamedJson(terminal, text.Files(args).Concat(comparison).Distinct());
            ModelFolder folder = ModelFolder.Open(args.GetRequiredValue(model));
            Arguments.RequireWindow(args.GetValue(context), args.GetValue(stride), folder.Config);
            Tokenizer tokenizer = folder.Tokenizer;
            using LanguageModel loaded = format.Load(args, folder.Path, args.GetValue(adapter), terminal, stop);
            using CpuOps ops = new(args.GetValue(threads) ?? 0);
            int window = args.GetValue(context) ?? loaded.Config.Context, step = args.GetValue(stride) ?? Math.Max(1, window / 2);
            using ProgressLine progress = new(terminal);
            // A line counts once, however often it is read.
            HashSet<BadLine> skipped = [];
            CharacterNgrams? counted = comparison.Length > 0 ? Counted(
                text.Of(args, comparison).Documents(progress.Of(Say("counting n-grams", "n-gram を数えています"), stop), line => skipped.Add(line), stop: stop), comparison, stop) : null;
            List<Row> rows = [];
            foreach (string file in text.Of(args).Files)
            {
                HashSet<BadLine> ofFile = [];
                string[] documents = [.. text.Of(args, [file], skipped.Count(line => line.File != file)).Documents(skipped: line => ofFile.Add(line), stop: stop).Select(document => document.Text)];
                skipped.UnionWith(ofFile);
                if (documents.Length == 0) throw new Failure($"{file}: has no document to measure.", $"{file}: 測る文書がありません。");
                int done = 0;
                IProgress<int> told = progress.Of(Failure.OneLine(Path.GetFileName(file)), documents.Length);
                IEnumerable<string> counting = documents.Select(document =>
                {
                    told.Report(++done);
                    return document;
                });
                DocumentScore score = DocumentScore.Measure(loaded, tokenizer, ops, counting, window, step, stop);
                rows.Add(new Row(
                    NameOf(file), score, args.GetValue(xz) ? XzBits(documents, stop) : null, counted is null ? null : documents.Sum(document => counted.Measure(document).Bits),
                    ofFile.Count));
            }
            progress.Clear();
            if (rows.Count > 1)
                rows.Add(new Row(Say("all", "全体"), rows.Select(row => row.Model).Aggregate(DocumentScore.Add),
                    args.GetValue(xz) ? rows.Sum(row => row.XzBits) : null, counted is null ? null : rows.Sum(row => row.NgramBits), rows.Sum(row => row.SkippedLines)));
            if (skipped.Count > 0) terminal.Error.WriteLine(Say("note: ", "注意: ") + TextArguments.Skipped(skipped.Count, [.. skipped.Take(3)]));
            // First what took the time to measure: the file may be in no folder, or on a full disk.
            terminal.Output.Write(args.GetValue(json) ? Json(rows, window, step) : Markdown(rows));
            if (args.GetValue(output) is { } path)
                AtomicFile.Write(path, Encoding.UTF8.GetBytes(path.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? Json(rows, window, step) : Markdown(rows)));
            return 0;
        }, stop));
        return command;
    }

    private static CharacterNgrams Counted(IEnumerable<TextDocument> documents, string[] files, CancellationToken stop)
    {
        try
        {
            return CharacterNgrams.Train(documents.Select(document => document.Text), stop: stop);
        }
        catch (ArgumentException failure)
        {
            throw new Failure($"--ngrams {string.Join(' ', files)}: {Failure.MessageOf(failure)}");
        }
    }

    private static string NameOf(string file)
    {
        string name = Path.GetFileName(file);
        foreach (string ending in (string[])[".gz", ".jsonl", ".ndjson", ".json", ".txt"])
            if (name.EndsWith(ending, StringComparison.OrdinalIgnoreCase) && name.Length > ending.Length) name = name[..^ending.Length];
        return name;
    }

    private static string Markdown(List<Row> rows)
    {
        List<string[]> table =
        [
            [
                Say("source", "出典"), Say("documents", "文書"), Say("characters", "文字"), Say("characters/token", "文字/トークン"), Say("bits/character", "ビット/文字"),
                .. rows[0].XzBits is null ? (string[])[] : ["xz -9e"], .. rows[0].NgramBits is null ? (string[])[] : ["5-gram"],
            ],
        ];
        foreach (Row row in rows)
            table.Add(
            [
                Failure.OneLine(row.Name.Replace("|", "\\|", StringComparison.Ordinal)), Whole(row.Model.Documents), Whole(row.Model.Characters),
                Real((double)row.Model.Characters / row.Model.Tokens), Real(row.Model.BitsPerCharacter),
                .. row.Xz is { } xz ? (string[])[Real(xz)] : [], .. row.Ngram is { } ngram ? (string[])[Real(ngram)] : [],
            ]);
        return TextTable.Write(table);

        static string Whole(long number) => number.ToString("N0", CultureInfo.InvariantCulture);
        static string Real(double number) => number.ToString("F3", CultureInfo.InvariantCulture);
    }

    private static string Json(List<Row> rows, int context, int stride)
    {
        using StringWriter text = new() { NewLine = "\n" };
        JsonLine.Write(text, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("context", context);
            json.WriteNumber("stride", stride);
            json.WriteStartArray("sources");
            foreach (Row row in rows)
            {
                json.WriteStartObject();
                json.WriteString("name", row.Name);
                json.WriteNumber("documents", row.Model.Documents);
                json.WriteNumber("characters", row.Model.Characters);
                json.WriteNumber("tokens", row.Model.Tokens);
                json.WriteNumber("skipped_lines", row.SkippedLines);
                json.WriteReal("bits_per_character", row.Model.BitsPerCharacter);
                if (row.Xz is { } xz) json.WriteReal("xz_bits_per_character", xz);
                if (row.Ngram is { } ngram) json.WriteReal("ngram_bits_per_character", ngram);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });
        return text.ToString();
    }

    /// <summary>The bits of all documents, one after the other with a line end between, packed by xz -9e.</summary>
    private static double XzBits(string[] documents, CancellationToken stop)
    {
        ProcessStartInfo start = new("xz", ["-9e", "--stdout"]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception)
        {
            throw new Failure("the program xz is not installed; --xz compares with it.", "--xz で比べるプログラム xz がインストールされていません。");
        }
        using (process)
        {
            Task<long> packed = Task.Run(() =>
            {
                byte[] buffer = new byte[1 << 16];
                long bytes = 0;
                for (int read; (read = process.StandardOutput.BaseStream.Read(buffer)) > 0;) bytes += read;
                return bytes;
            }, CancellationToken.None);
            using (Stream input = process.StandardInput.BaseStream)
            {
                foreach (string document in documents)
                {
                    stop.ThrowIfCancellationRequested();
                    input.Write(Encoding.UTF8.GetBytes(document + "\n"));
                }
            }
            long all = packed.GetAwaiter().GetResult();
            process.WaitForExit();
            if (process.ExitCode != 0) throw new Failure($"xz ended with status {process.ExitCode}.", $"xz が状態 {process.ExitCode} で終了しました。");
            return 8.0 * all;
        }
    }
}
