// Benchmarks: `dotnet run -c Release --project bench/Fude.Bench -- NAME [OPTIONS]`. One file a benchmark; each prints what it compares
// with (its roof or its peer) beside its own figure, from runs that alternate in one process.
using Fude.Bench;

Dictionary<string, Func<string[], int>> benchmarks = new(StringComparer.Ordinal)
{
    ["compare"] = CompareBench.Run,
    ["kernels"] = KernelBench.Run,
    ["sampler"] = SamplerBench.Run,
    ["tokenizer-training"] = TokenizerTrainingBench.Run,
    ["tokenizers"] = TokenizerBench.Run,
    ["train"] = TrainBench.Run,
};

if (args.Length > 0 && benchmarks.TryGetValue(args[0], out Func<string[], int>? run)) return run(args[1..]);
Console.Error.WriteLine($"usage: Fude.Bench {string.Join('|', benchmarks.Keys)} [OPTIONS]");
return 2;
