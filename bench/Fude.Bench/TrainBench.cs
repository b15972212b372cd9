using System.Diagnostics;
using System.Globalization;
using System.Text;
using Fude.Models;
using Fude.Tensors;
using Fude.Training;

namespace Fude.Bench;

/// <summary>train: whole training steps (forward, loss, backward, clipping, AdamW) of a new Llama, in tokens a second and as a fraction of the
/// multiply-add peak (float32, or bfloat16 with --bf16), which is measured between the first steps. Options: --width --layers --vocabulary
/// --context --rows --steps --threads --recompute --tied --bf16.</summary>
/// <remarks>The operations counted are 6 for each weight of a matrix product and each token (Kaplan et al., 2020, arXiv:2001.08361): attention,
/// the embedding's rows and everything else count as nothing. A core second is a second of one core whoever else uses the machine.</remarks>
internal static class TrainBench
{
    public static int Run(string[] args)
    {
        int width = Option("--width", 512), layers = Option("--layers", 8), vocabulary = Option("--vocabulary", 14_000);
        int context = Option("--context", 512), rows = Option("--rows", 4), steps = Option("--steps", 5);
        int threads = Option("--threads", Environment.ProcessorCount), hidden = (width * 8 / 3 + 31) / 32 * 32;
        byte[] config = Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $$"""
            {"model_type": "llama", "hidden_size": {{width}}, "intermediate_size": {{hidden}}, "num_hidden_layers": {{layers}},
             "num_attention_heads": {{width / 64}}, "vocab_size": {{vocabulary}}, "max_position_embeddings": {{context}},
             "tie_word_embeddings": {{(args.Contains("--tied") ? "true" : "false")}} }
            """));
        using Process process = Process.GetCurrentProcess();
        long before = process.WorkingSet64;
        using TrainableModel model = TrainableModel.Create(config, new InitialNumbers(1));
        ProductPrecision precision = args.Contains("--bf16") ? ProductPrecision.Bf16 : args.Contains("--bf16-tiles") ? ProductPrecision.Bf16Tiles : ProductPrecision.F32;
        using CpuOps device = new(threads) { Precision = precision }, one = new(1) { Precision = precision };
        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.AsTransformersTrainer(0.1));
        Learner learner = new(model, device);
        learner.Tape.Recomputes = args.Contains("--recompute");

        Random random = new(1);
        LabelledText[] texts = new LabelledText[rows];
        for (int i = 0; i < rows; i++) texts[i] = new([.. Enumerable.Range(0, context).Select(_ => random.Next(vocabulary))]);
        SupervisedBatch batch = SupervisedBatch.Of(texts);
        long products = (long)layers * (4L * width * width + 3L * width * hidden) + (long)vocabulary * width;
        double operations = 6.0 * products * rows * context, best = double.MaxValue, bestCore = double.MaxValue, peak = 0;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"Llama of width {width}, {layers} layers, {vocabulary} pieces: {model.Count / 1e6:F1} M weights, {products / 1e6:F1} M in products; " +
            $"{rows} × {context} tokens a step, {threads} threads, {device.InstructionSet}, {precision.Name()} products"));
        for (int step = -1; step < steps; step++)
        {
            if (step < 2) peak = Math.Max(peak, Roofline.MatrixPeak(one));
            TimeSpan cores = process.TotalProcessorTime;
            long start = Stopwatch.GetTimestamp();
            model.Gradients.Clear();
            double loss = learner.Add(batch, 1.0 / batch.Targets.Length), seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            double norm = optimizer.GradientNorm(device);
            optimizer.Step(device, 1e-3, AdamW.Clipping(norm, 1));
            double all = Stopwatch.GetElapsedTime(start).TotalSeconds;
            process.Refresh();
            double core = (process.TotalProcessorTime - cores).TotalSeconds;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{(step < 0 ? "warm-up" : $"step {step}")}: loss {loss:F4}, {all * 1e3:F0} ms ({(all - seconds) * 1e3:F0} of them AdamW), {core * 1e3:F0} ms of cores"));
            if (step < 0) continue;
            best = Math.Min(best, all);
            bestCore = Math.Min(bestCore, core);
        }
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"best: {rows * context / best:F0} tokens/s, {operations / best / 1e9:F0} GFLOP/s, {operations / best / (peak * threads):P1} of {threads} × {peak / 1e9:F0} GFLOP/s"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"per core second: {rows * context / bestCore:F0} tokens, {operations / bestCore / 1e9:F0} GFLOP, {operations / bestCore / peak:P1} of one core's peak"));
        process.Refresh();
        long predicted = TrainingFootprint.Of(ModelConfig.Parse(config), rows, context, learner.Tape.Recomputes, threads).TotalBytes, taken = process.PeakWorkingSet64 - before;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"memory: {taken / 1e6:F0} MB at the most, {predicted / 1e6:F0} MB as `fude inspect --train` predicts: {(double)taken / predicted:F3} of it"));
        return 0;

        int Option(string name, int absent) =>
            Array.IndexOf(args, name) is >= 0 and int i ? int.Parse(args[i + 1], CultureInfo.InvariantCulture) : absent;
    }
}
