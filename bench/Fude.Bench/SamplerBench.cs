using System.Diagnostics;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using Fude.Generation;
using Fude.Tensors;

namespace Fude.Bench;

/// <summary>Time to choose a token from 50,688 logits, beside the time that decoding it takes at the memory roof.</summary>
internal static class SamplerBench
{
    private const int Vocabulary = 50_688;
    private const long WeightBytes = 2L * 1_316_605_952;      // llm-jp-1.3b in 16 bits: what a decoding step reads at least

    public static int Run(string[] args)
    {
        int rounds = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 200;
        Random random = new(1);
        float[] logits = [.. Enumerable.Range(0, Vocabulary).Select(_ => Normal(random) * 2.2f)];
        int[] history = [.. Enumerable.Range(0, 512).Select(_ => random.Next(Vocabulary))];
        double bandwidth = ReadBandwidth(), decode = WeightBytes / bandwidth;
        Console.WriteLine($"memory {bandwidth / 1e9:F1} GB/s, so a 1.3B model in 16 bits decodes a token in {decode * 1e3:F1} ms at best");

        GenerationOptions sample = new() { DoSample = true, MaxNewTokens = 10, Seed = 1, EosTokenId = [] };
        (string Name, GenerationOptions Options)[] cases =
        [
            ("greedy", sample with { DoSample = false }),
            ("greedy, repetition_penalty 1.1, no_repeat_ngram_size 3",
                sample with { DoSample = false, RepetitionPenalty = 1.1, NoRepeatNgramSize = 3 }),
            ("temperature 0.99, top_k 50, top_p 0.95", sample with { Temperature = 0.99, TopP = 0.95 }),
            ("temperature 0.99, top_p 0.95 alone", sample with { Temperature = 0.99, TopP = 0.95, TopK = 0 }),
            ("typical_p 0.9", sample with { TypicalP = 0.9, TopK = 0 }),
            ("min_p 0.05", sample with { MinP = 0.05, TopK = 0 }),
            ("nothing: the whole vocabulary", sample with { TopK = 0 }),
            ("top_k 50, torch seed, default", sample with { Seed = null, TorchSeed = 23 }),
            ("top_k 50, torch seed, mkl", sample with { Seed = null, TorchSeed = 23, TorchRandom = TorchRandomPath.Mkl }),
            ("top_p 0.95, torch seed, default", sample with { Seed = null, TorchSeed = 23, TopK = 0, TopP = 0.95 }),
        ];
        DecodingScratch scratch = new(Vocabulary);
        foreach ((string name, GenerationOptions options) in cases)
        {
            GenerationSettings settings = GenerationSettings.Resolve(options, history.Length, Vocabulary, 2048);
            TokenDraw draw = TokenDraw.Create(settings, 1, Vocabulary);
            double best = double.MaxValue;
            for (int i = 0; i < rounds; i++)
            {
                long start = Stopwatch.GetTimestamp();
                Choose(settings, draw, logits, history, scratch);
                best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
            Console.WriteLine($"{name,-55} {best * 1e6,7:F0} us {best / decode,7:P2} of decoding");
        }
        return 0;
    }

    /// <summary>What <see cref="SampleDecoding"/> does with a row of logits.</summary>
    private static int Choose(GenerationSettings settings, TokenDraw draw, float[] logits, int[] history, DecodingScratch scratch)
    {
        if (VectorMath.HasInvalid(logits)) throw new InvalidOperationException("The made-up logits are not valid.");
        ReadOnlySpan<float> row = logits;
        if (!LogitsProcessors.AreNone(settings))
        {
            logits.CopyTo(scratch.Logits, 0);
            scratch.Processors.Apply(settings, scratch.Logits, history, history.Length);
            row = scratch.Logits;
        }
        if (!settings.DoSample) return VectorMath.ArgMax(row);
        draw.BeginStep();
        scratch.Candidates.Warp(row, settings);
        return scratch.Candidates.Ids[draw.Draw(0, scratch.Candidates.Ids, scratch.Candidates.Probabilities())];
    }

    /// <summary>Bytes a second that all processors together read from an array larger than any cache.</summary>
    private static double ReadBandwidth()
    {
        float[] array = new float[128 << 20];
        Array.Fill(array, 1);
        double best = 0;
        for (int round = 0; round < 5; round++)
        {
            int threads = Environment.ProcessorCount, part = array.Length / threads;
            long start = Stopwatch.GetTimestamp();
            Parallel.For(0, threads, i => Sum(array.AsSpan(i * part, part)));
            best = Math.Max(best, array.Length * 4L / Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return best;
    }

    /// <summary>Eight far-apart streams, as the matrix kernels read.</summary>
    private static float Sum(ReadOnlySpan<float> numbers)
    {
        ReadOnlySpan<Vector<float>> v = MemoryMarshal.Cast<float, Vector<float>>(numbers);
        int part = v.Length / 8;
        Vector<float> a = default, b = default, c = default, d = default;
        for (int i = 0; i < part; i++)
        {
            a += v[i] + v[i + part];
            b += v[i + 2 * part] + v[i + 3 * part];
            c += v[i + 4 * part] + v[i + 5 * part];
            d += v[i + 6 * part] + v[i + 7 * part];
        }
        return Vector.Sum(a + b + c + d);
    }

    private static float Normal(Random random) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
}
