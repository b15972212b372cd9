using System.Diagnostics;
using System.Globalization;
using System.Text;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;

namespace Fude.Bench;

/// <summary>
/// Unigram training beside SentencePiece's spm_train: the same lines, options and threads, in turns; then both vocabularies on lines that
/// neither saw, by one piece of code: log-likelihood per character, over all segmentations and of the best one, and characters per token.
/// </summary>
/// <remarks>Time and memory are those of whole processes: for fude, this program is started anew for each training.</remarks>
internal static class TokenizerTrainingBench
{
    private const string ChildFlag = "--train-only";

    internal static int Run(string[] args)
    {
        if (args.Length == 5 && args[0] == ChildFlag) return TrainOnly(args[1], args[2], Parse(args[3]), Parse(args[4]));

        string peer = "spm_train";
        List<string> corpora = [];
        int megabytes = 50, pieces = 16_000, threads = 2, rounds = 2;
        for (int i = 0; i < args.Length; i += 2)
        {
            string value = i + 1 < args.Length ? args[i + 1] : "";
            switch (args[i])
            {
                case "--spm": peer = value; break;
                case "--corpus": corpora.Add(value); break;
                case "--megabytes": megabytes = Parse(value); break;
                case "--pieces": pieces = Parse(value); break;
                case "--threads": threads = Parse(value); break;
                case "--rounds": rounds = Parse(value); break;
                default: return Usage();
            }
        }
        if (corpora.Count == 0) return Usage();

        string folder = Directory.CreateTempSubdirectory("fude-bench-").FullName;
        try
        {
            string text = Path.Combine(folder, "text.txt"), heldOut = Path.Combine(folder, "held-out.txt");
            Sample(corpora, megabytes, text, heldOut);
            string own = Path.Combine(folder, "fude.model"), theirs = Path.Combine(folder, "spm");
            string self = Environment.ProcessPath!;
            string[] prefix = Path.GetFileNameWithoutExtension(self) == "dotnet" ? [typeof(TokenizerTrainingBench).Assembly.Location] : [];
            List<double> ownSeconds = [], theirSeconds = [];
            for (int round = 0; round < rounds; round++)
            {
                Time("fude", ownSeconds, self, [.. prefix, "tokenizer-training", ChildFlag, text, own, Number(pieces), Number(threads)]);
                Time("spm_train", theirSeconds, peer,
                [
                    $"--input={text}", $"--model_prefix={theirs}", $"--vocab_size={pieces}", "--model_type=unigram", "--byte_fallback=true",
                    "--normalization_rule_name=identity", "--remove_extra_whitespaces=false", "--split_digits=true", $"--num_threads={threads}",
                ]);
            }
            double ratio = Median(ownSeconds) / Median(theirSeconds);
            Console.WriteLine($"wall time, median of {rounds}: fude {Median(ownSeconds):F1} s, spm_train {Median(theirSeconds):F1} s: {ratio:P0}");

            Quality ours = Evaluate(own, heldOut), reference = Evaluate(theirs + ".model", heldOut);
            Console.WriteLine($"{"held-out text",-34}{"fude",12}{"spm_train",12}{"better by",12}");
            Row("ln P per character, marginal", ours.Marginal, reference.Marginal, (ours.Marginal / reference.Marginal) - 1);
            Row("ln P per character, best", ours.Best, reference.Best, (ours.Best / reference.Best) - 1);
            Row("characters per token", ours.PerToken, reference.PerToken, 1 - (ours.PerToken / reference.PerToken));
            Row("characters covered", ours.Coverage, reference.Coverage, 0);
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        static int Usage()
        {
            Console.Error.WriteLine(
                "usage: tokenizer-training --corpus FILE (plain text or JSONL, also gzip; several times) [--megabytes 50] [--pieces 16000] " +
                "[--threads 2] [--rounds 2] [--spm spm_train]");
            return 2;
        }

        static void Row(string name, double ours, double theirs, double lossOfOurs) =>
            Console.WriteLine($"{name,-34}{ours,12:F5}{theirs,12:F5}{-lossOfOurs,12:P2}");
    }

    /// <summary>Lines for training, drawn at random and of a length that spm_train does not skip, and one in 150 to hold out.</summary>
    private static void Sample(List<string> corpora, int megabytes, string text, string heldOut)
    {
        List<string> lines = [];
        using (StreamWriter held = new(heldOut))
        {
            foreach (string line in new TrainingText(corpora).Read(new(), default))
            {
                if (Encoding.UTF8.GetByteCount(line) > 4192 || line.Contains('\u2585', StringComparison.Ordinal)) continue;
                if (SegmentCounter.Hash(line) % 150 == 0) held.WriteLine(line);
                else lines.Add(line);
            }
        }
        string[] shuffled = [.. lines];
        new Random(1).Shuffle(shuffled);
        long written = 0, characters = 0, limit = megabytes * 1_000_000L;
        using StreamWriter output = new(text);
        foreach (string line in shuffled)
        {
            if (written >= limit) break;
            output.Write(line + "\n");
            written += Encoding.UTF8.GetByteCount(line) + 1;
            characters += line.Length;
        }
        Console.WriteLine($"{written / 1e6:F1} MB of text, {characters / 1e6:F1} M characters");
    }

    private static int TrainOnly(string text, string model, int pieces, int threads)
    {
        TokenizerTrainerOptions options = new() { VocabularySize = pieces, SplitDigits = true, Threads = threads };
        UnigramTrainer.Train(new TrainingText(text), options).SaveSentencePiece(model);
        return 0;
    }

    private static void Time(string name, List<double> seconds, string program, string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        Stopwatch watch = Stopwatch.StartNew();
        using Process process = Process.Start(start)!;
        process.OutputDataReceived += static (_, _) => { };
        process.BeginOutputReadLine();
        StringBuilder errors = new();
        process.ErrorDataReceived += (_, line) => errors.AppendLine(line.Data);
        process.BeginErrorReadLine();
        long peak = 0;
        double processor = 0;       // looked up ten times a second, for a process that has ended no longer tells
        while (!process.WaitForExit(100))
        {
            try
            {
                process.Refresh();
                (peak, processor) = (Math.Max(peak, process.PeakWorkingSet64), process.TotalProcessorTime.TotalSeconds);
            }
            catch (InvalidOperationException)
            {
                // It ended between the two lines.
            }
        }
        process.WaitForExit();
        seconds.Add(watch.Elapsed.TotalSeconds);
        if (process.ExitCode != 0) throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {errors}");
        Console.WriteLine($"{name,-10} {seconds[^1],7:F1} s wall, {processor,7:F1} s of processor, {peak / 1e6,6:F0} MB at most");
    }

    private readonly record struct Quality(double Marginal, double Best, double PerToken, double Coverage);

    private static Quality Evaluate(string model, string heldOut)
    {
        VocabularyPiece[] pieces = [.. Tokenizer.Load(model).Pieces.Where(p => p.Kind == PieceKind.Normal)];
        Dictionary<string, int> idOf = [];
        for (int i = 0; i < pieces.Length; i++) idOf.Add(pieces[i].Text, i);
        PieceSegmentation segmentation = new(idOf.Keys);
        TrainingCorpus corpus = TrainingCorpus.Read(
            new TrainingText(heldOut), new TokenizerTrainerOptions(), segmentation, segmentation.CodePoints, null, default);
        CandidateModel candidates = new(PieceSegmentation.Number(corpus, idOf, i => pieces[i].Score).Pieces, corpus.Alphabet.Length);
        double marginal = UnigramTrainer.Expect(corpus, candidates, double.NaN, 1, default).PerCharacter;
        UnigramLattice lattice = new(candidates, 0, []);
        List<int> segments = [];
        double best = 0;
        long tokens = 0;
        for (int s = 0; s < corpus.Count; s++)
        {
            best += corpus.Weights[s] * lattice.Best(corpus.Segment(s), segments);
            tokens += corpus.Weights[s] * segments.Count;
        }
        return new(marginal, best / corpus.Characters, (double)corpus.Characters / tokens, corpus.Report.Coverage);
    }

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static int Parse(string number) => int.Parse(number, CultureInfo.InvariantCulture);

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
}
