using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers;

namespace Fude.Bench;

/// <summary>compare: `fude bench` beside a llama-bench command (LLAMA_BENCH) on one GGUF file, in alternated processes; medians and ratios.
/// See bench/compare-llamacpp.sh.</summary>
internal static class CompareBench
{
    public static int Run(string[] args)
    {
        Dictionary<string, string> options = new(StringComparer.Ordinal);
        string? file = null;
        for (int i = 0; i < args.Length; i++)
        {
            if (args[i].StartsWith("--", StringComparison.Ordinal) && i + 1 < args.Length) options[args[i]] = args[++i];
            else file = args[i];
        }
        string? peer = Environment.GetEnvironmentVariable("LLAMA_BENCH"), config = options.GetValueOrDefault("--config");
        if (peer is null || file is null == config is null)
        {
            Console.Error.WriteLine("usage: bench/compare-llamacpp.sh FILE.gguf | --config CONFIG.json --tokenizer MODEL --format FORMAT, and further options; see there");
            return 2;
        }
        string? made = null;
        try
        {
            if (file is null)
            {
                file = options.GetValueOrDefault("--save") ?? (made = Path.Combine(Path.GetTempPath(), $"fude-compare-{Path.GetRandomFileName()}.gguf"));
                Make(config!, options["--tokenizer"], QuantizationMixes.Parse(options["--format"]), file);
            }
            Compare(file, peer, Number("--rounds", 3), Number("--threads", Environment.ProcessorCount), Number("--prompt", 512), Number("--new", 32),
                Number("--depth", 0), Number("--batch", 1));
            return 0;
        }
        finally
        {
            if (made is not null) File.Delete(made);
        }

        int Number(string name, int absent) => options.TryGetValue(name, out string? text) ? int.Parse(text, CultureInfo.InvariantCulture) : absent;
    }

    // llama.cpp asks for a tokenizer; the weights are random, and speed does not depend on them.
    private static void Make(string config, string tokenizer, QuantizationMix mix, string file)
    {
        ModelConfig shape = ModelConfig.Load(config);
        GgufExport.Write(shape, () => new RandomWeights(NumberFormat.BF16, seed: 1), Tokenizer.Load(tokenizer), "random", file, mix);
    }

    private static void Compare(string file, string peer, int rounds, int threads, int prompt, int fresh, int depth, int batch)
    {
        string[] words = peer.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        List<(double Prompt, double Decode, double PromptRoof, double DecodeRoof)> ours = [];
        List<(double Prompt, double Decode)> theirs = [];
        string promptRoof = "";
        for (int round = 0; round < rounds; round++)
        {
            using (JsonDocument json = Start(Fude(), ["bench", file, "-p", Text(prompt), "-n", Text(fresh), "-d", Text(depth), "-b", Text(batch), "-r", "1", "--threads", Text(threads), "--json"]))
            {
                JsonElement found = json.RootElement;
                ours.Add((found.GetProperty("prompt_tokens_per_second").GetDouble(), found.GetProperty("decode_tokens_per_second").GetDouble(),
                    found.GetProperty("prompt_matrix_roof_fraction").GetDouble(), found.GetProperty("decode_memory_roof_fraction").GetDouble()));
                promptRoof = found.GetProperty("prompt_matrix_roof").GetString()!;
            }
            List<string> more = ["-m", file, "-p", Text(prompt), "-n", Text(fresh), "-t", Text(threads), "-r", "1", "-o", "json"];
            if (depth > 0) more.AddRange(["-d", Text(depth)]);
            if (batch > 1) more.AddRange(["-b", Text(batch)]);
            using (JsonDocument json = Start(words, more))
            {
                theirs.Add((Speed(json, "n_prompt"), Speed(json, "n_gen")));
            }
            Console.Error.WriteLine(Line($"round {round + 1}: prompt {ours[^1].Prompt:F1} / {theirs[^1].Prompt:F1}, decode {ours[^1].Decode:F2} / {theirs[^1].Decode:F2} tokens/s (fude / llama.cpp)"));
        }
        Console.WriteLine(Line($"{Path.GetFileName(file)}, {new FileInfo(file).Length / 1e9:F2} GB, {threads} threads, medians of {rounds} alternated runs"));
        Console.WriteLine("| work | fude tokens/s | llama.cpp tokens/s | ratio | of the roof of the run |\n| --- | --- | --- | --- | --- |");
        if (prompt > 0) Row($"prompt {prompt}", ours.Select(run => run.Prompt), theirs.Select(run => run.Prompt), ours.Select(run => run.PromptRoof), $"{promptRoof} matrix");
        if (fresh > 0)
            Row($"decode {fresh}{(depth > 0 ? $" at depth {depth}" : "")}{(batch > 1 ? $", {batch} sequences" : "")}",
                ours.Select(run => run.Decode), theirs.Select(run => run.Decode), ours.Select(run => run.DecodeRoof), "memory");

        static double Speed(JsonDocument json, string key) =>
            json.RootElement.EnumerateArray().Where(run => run.GetProperty(key).GetInt32() > 0).Select(run => run.GetProperty("avg_ts").GetDouble()).FirstOrDefault();

        static void Row(string work, IEnumerable<double> own, IEnumerable<double> peers, IEnumerable<double> roofs, string roof) =>
            Console.WriteLine(Line($"| {work} | {Median(own):F2} | {Median(peers):F2} | {Median(own) / Median(peers):F2} | {Median(roofs):P0} ({roof}) |"));
    }

    private static string[] Fude()
    {
        string program = Path.Combine(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? "fude.exe" : "fude");
        return File.Exists(program) ? [program] : ["dotnet", Path.Combine(AppContext.BaseDirectory, "fude.dll")];
    }

    private static JsonDocument Start(string[] command, IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(command[0], [.. command[1..], .. arguments]) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{string.Join(' ', command)} ended with {process.ExitCode}: {output}");
        // What the peer says before its JSON is not ours to read.
        int begin = output.IndexOfAny(['[', '{']);
        return JsonDocument.Parse(output[begin..]);
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
