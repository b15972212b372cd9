using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Fude.Tokenizers;

namespace Fude.Bench;

/// <summary>
/// Encoding against SentencePiece's own spm_encode: the same model, the same lines, one thread each, in turns. spm_encode's time is that
/// of its process, less the median time of a run over nothing (it loads the model); fude's is that of encoding lines in memory.
/// </summary>
internal static class TokenizerBench
{
    internal static int Run(string[] args)
    {
        string peer = "spm_encode";
        List<string> models = [], corpora = [];
        int rounds = 5, megabytes = 8;
        for (int i = 0; i + 1 < args.Length; i += 2)
        {
            switch (args[i])
            {
                case "--spm": peer = args[i + 1]; break;
                case "--model": models.Add(args[i + 1]); break;
                case "--corpus": corpora.Add(args[i + 1]); break;
                case "--rounds": rounds = int.Parse(args[i + 1], CultureInfo.InvariantCulture); break;
                case "--megabytes": megabytes = int.Parse(args[i + 1], CultureInfo.InvariantCulture); break;
                default: models.Clear(); i = args.Length; break;
            }
        }
        if (models.Count == 0 || corpora.Count == 0)
        {
            Console.Error.WriteLine(
                "usage: tokenizers [--spm spm_encode] --model FILE.model [--model …] --corpus FILE.jsonl[.gz] (field text) or FILE.txt [--corpus …] [--rounds 5] [--megabytes 8]");
            return 2;
        }

        string[] lines = ReadLines(corpora, megabytes << 20);
        double size = lines.Sum(l => Encoding.UTF8.GetByteCount(l) + 1) / 1e6;
        string input = Path.GetTempFileName(), empty = Path.GetTempFileName();
        try
        {
            File.WriteAllLines(input, lines, new UTF8Encoding(false));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{lines.Length} lines, {size:F1} MB of UTF-8; medians of {rounds} rounds in turns; one thread"));
            foreach (string model in models) Compare(peer, model, lines, size, input, empty, rounds);
        }
        finally
        {
            File.Delete(input);
            File.Delete(empty);
        }
        return 0;
    }

    private static void Compare(string peer, string model, string[] lines, double size, string input, string empty, int rounds)
    {
        Tokenizer tokenizer = Tokenizer.Load(model);
        int[] ids = new int[lines.Max(l => l.Length) * 4];
        long tokens = Encode(tokenizer, lines, ids);      // warm-up; the compiler has seen everything after two
        Encode(tokenizer, lines, ids);
        List<double> own = [], others = [], starts = [];
        for (int round = 0; round < rounds; round++)
        {
            starts.Add(RunPeer(peer, model, empty));
            others.Add(RunPeer(peer, model, input));
            long begin = Stopwatch.GetTimestamp();
            Encode(tokenizer, lines, ids);
            own.Add(Stopwatch.GetElapsedTime(begin).TotalSeconds);
        }
        double ownSpeed = size / Median(own), otherSpeed = size / (Median(others) - Median(starts));
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{Path.GetFileName(model)} ({tokenizer.Model}): fude {ownSpeed:F1} MB/s, {tokens / Median(own) / 1e6:F1} M tokens/s; " +
            $"spm_encode {otherSpeed:F1} MB/s (start-up of {Median(starts):F2} s taken off); ratio {ownSpeed / otherSpeed:F1}"));
    }

    private static long Encode(Tokenizer tokenizer, string[] lines, int[] ids)
    {
        long tokens = 0;
        foreach (string line in lines)
        {
            if (!tokenizer.TryEncode(line, ids, out int count)) throw new InvalidOperationException("More than four tokens a character.");
            tokens += count;
        }
        return tokens;
    }

    private static double RunPeer(string peer, string model, string input)
    {
        ProcessStartInfo start = new(peer, ["--model=" + model, "--output_format=id", "--output=/dev/null", "--input=" + input]) { RedirectStandardError = true };
        long begin = Stopwatch.GetTimestamp();
        using Process process = Process.Start(start)!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{peer} failed: {error}");
        return Stopwatch.GetElapsedTime(begin).TotalSeconds;
    }

    private static string[] ReadLines(List<string> files, int limit)
    {
        List<string> lines = [];
        int share = limit / files.Count;
        foreach (string file in files)
        {
            using Stream stream = File.OpenRead(file);
            using StreamReader reader = new(file.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(stream, CompressionMode.Decompress) : stream);
            int taken = 0;
            while (taken < share && reader.ReadLine() is string line)
            {
                string text = line.StartsWith('{') ? JsonDocument.Parse(line).RootElement.GetProperty("text").GetString()! : line;
                foreach (string part in text.Split(['\n', '\r'], StringSplitOptions.RemoveEmptyEntries))
                {
                    if (part.Contains('\0', StringComparison.Ordinal)) continue;      // spm_encode reads lines of C strings
                    lines.Add(part);
                    taken += Encoding.UTF8.GetByteCount(part) + 1;
                }
            }
        }
        return [.. lines];
    }

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
