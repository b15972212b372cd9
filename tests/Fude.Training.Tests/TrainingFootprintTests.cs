using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Fude.Models;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>What a run is said to take of memory beside what it takes.</summary>
public sealed class TrainingFootprintTests
{
    private const string Variable = "FUDE_FOOTPRINT_RUN", Adapter = """
        {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "bias": "none", "target_modules": ["q_proj", "down_proj"]}
        """;

    public static TheoryData<string, int, bool, bool> Cases() =>
        new(from family in (string[])["llama-gqa", "stablelm", "gpt2-gelu"]
            from threads in (int[])[1, 3]
            from recomputes in (bool[])[false, true]
            from drops in (bool[])[false, true]
            select (family, threads, recomputes, drops));

    [Theory, MemberData(nameof(Cases))]
    public void A_pass_takes_to_the_byte_what_its_meter_says(string family, int threads, bool recomputes, bool drops)
    {
        byte[] config = File.ReadAllBytes(Path.Combine(Folder(family), "config.json"));
        DropoutRates rates = drops ? new(0.1f, 0.1f, 0.1f) : new();
        using TrainableModel model = TrainableModel.Create(config, new InitialNumbers(1));
        Same(model, TrainingFootprint.Of(ModelConfig.Parse(config), 3, 24, recomputes, threads, rates: rates), threads, recomputes, rates);
    }

    [Fact]
    public void A_quantised_base_has_no_memory_that_could_be_laid_out()
    {
        ModelConfig config = ModelConfig.Load(Path.Combine(Folder("llama-gqa"), "config.json"));
        byte[] adapter = Encoding.UTF8.GetBytes(Adapter);
        long narrow = TrainingFootprint.Of(config, 1, 8, recomputes: false, threads: 1, adapter, NumberFormat.Q8_0).WeightBytes;
        Assert.InRange(narrow, 1, TrainingFootprint.Of(config, 1, 8, recomputes: false, threads: 1, adapter).WeightBytes / 2);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(QuantizationMix.Q8_0)]
    [InlineData(QuantizationMix.Q4_K_M)]
    public void The_base_beside_an_adapter_counts_as_it_is_stored_or_quantised(QuantizationMix? mix)
    {
        using TemporaryFolder place = new();
        using (TrainableModel written = TrainableModel.Create(Large(layers: 2, width: 256, vocabulary: 500), new InitialNumbers(1)))
            written.Save(place.Path, NumberFormat.BF16);
        ModelFolder folder = ModelFolder.Open(place.Path);
        byte[] adapter = Encoding.UTF8.GetBytes(Adapter);
        TrainingFootprint footprint = TrainingFootprint.Of(folder, 1, 8, recomputes: false, threads: 1, adapter, mix);
        ModelSummary summary = ModelSummary.Of(folder.Config);
        using TrainableModel model = TrainableModel.LoadWithAdapter(place.Path, adapter, 1, mix);
        Assert.Equal(mix is { } quantised ? summary.BytesIn(quantised) : summary.BytesIn(NumberFormat.BF16), footprint.WeightBytes - (model.Count * sizeof(float)));
        Assert.Equal(summary.BytesIn(NumberFormat.F32), TrainingFootprint.Of(folder, 1, 8, recomputes: false, threads: 1, mix: mix).WeightBytes);
    }

    [Fact]
    public void More_rows_than_can_be_counted_are_refused() => Assert.Throws<ArgumentException>(() =>
        TrainingFootprint.Of(ModelConfig.Load(Path.Combine(Folder("llama-gqa"), "config.json")), 2_000_000_000, 128, recomputes: false));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void So_does_that_of_an_adapter_on_a_frozen_base(bool recomputes)
    {
        string folder = Folder("llama-gqa");
        byte[] adapter = Encoding.UTF8.GetBytes(Adapter);
        DropoutRates rates = new(Adapter: 0.1f);
        using TrainableModel model = TrainableModel.LoadWithAdapter(folder, adapter, 1);
        ModelConfig config = ModelConfig.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json")));
        Same(model, TrainingFootprint.Of(config, 3, 24, recomputes, 2, adapter, rates: rates), 2, recomputes, rates);
    }

    // The logits of this batch are not whole in memory at any time.
    [Fact]
    public void So_does_that_of_logits_by_pieces()
    {
        byte[] config = Large(layers: 1, width: 64, vocabulary: 20_000);
        using TrainableModel model = TrainableModel.Create(config, new InitialNumbers(1));
        Same(model, TrainingFootprint.Of(ModelConfig.Parse(config), 4, 512, false, 2), 2, recomputes: false, new DropoutRates(), rows: 4, context: 512);
    }

    [Fact]
    public void A_model_larger_than_any_machine_is_metered_without_its_memory()
    {
        ModelConfig config = ModelConfig.Parse(Encoding.UTF8.GetBytes("""
            {"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
             "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 4096}
            """));
        TrainingFootprint kept = TrainingFootprint.Of(config, 1, 4096, recomputes: false), again = TrainingFootprint.Of(config, 1, 4096, recomputes: true);
        Assert.Equal(68_976_648_192L * 4, kept.WeightBytes);
        Assert.Equal(3 * kept.WeightBytes, kept.GradientBytes + kept.OptimizerBytes);
        Assert.True(again.PassBytes < kept.PassBytes / 10);
    }

    [Theory]
    [InlineData(0, 16)]
    [InlineData(1, 0)]
    [InlineData(1, 17)]
    public void Lengths_out_of_range_are_refused(int rows, int context) =>
        Assert.Throws<ArgumentException>(() => TrainingFootprint.Of(ModelConfig.Parse(TinyRun.Config()), rows, context, false));

    // The promise of `fude inspect --train`: within 15 % of the most that a process of its own really had in memory, less what it had before.
    [Theory]
    [InlineData(4, 192, 8000, 4, false)]
    [InlineData(4, 192, 8000, 4, true)]
    [InlineData(2, 384, 12_000, 2, false)]
    [InlineData(6, 128, 2000, 8, true)]
    public void A_process_that_trains_takes_what_was_predicted(int layers, int width, int vocabulary, int rows, bool recomputes)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The most memory a process had is read from Linux's /proc.");
        string program = Environment.ProcessPath!;
        ProcessStartInfo start = Path.GetFileNameWithoutExtension(program) == "dotnet"
            ? new(program, [typeof(TrainingFootprintTests).Assembly.Location])
            : new(program);
        start.Environment[Variable] = string.Create(CultureInfo.InvariantCulture, $"{layers} {width} {vocabulary} {rows} {(recomputes ? 1 : 0)}");
        start.RedirectStandardOutput = true;
        using Process process = Process.Start(start)!;
        long measured = long.Parse(process.StandardOutput.ReadToEnd(), CultureInfo.InvariantCulture);
        process.WaitForExit();
        long predicted = TrainingFootprint.Of(ModelConfig.Parse(Large(layers, width, vocabulary)), rows, 512, recomputes, 2).TotalBytes;
        Assert.InRange(measured, predicted * 0.85, predicted * 1.15);
    }

    // Before any test: this process may be one that is there to be measured.
    [ModuleInitializer]
    internal static void RunIfAsked()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } asked) return;
        // Everything that is loaded and compiled is not of the run.
        Pass(TinyRun.Config(), 2, 16, recomputes: true);
        long before = Status("VmRSS:");
        int[] shape = [.. asked.Split(' ').Select(number => int.Parse(number, CultureInfo.InvariantCulture))];
        Pass(Large(shape[0], shape[1], shape[2]), shape[3], 512, shape[4] == 1);
        Console.Write(Status("VmHWM:") - before);
        Environment.Exit(0);
    }

    private static void Pass(byte[] config, int rows, int context, bool recomputes)
    {
        using TrainableModel model = TrainableModel.Create(config, new InitialNumbers(1));
        using CpuOps device = new(2);
        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.Uniform(0));
        Learner learner = new(model, device);
        learner.Tape.Recomputes = recomputes;
        for (int step = 0; step < 2; step++)
        {
            learner.Add(Batch(rows, context), 1.0 / (rows * context));
            optimizer.Step(device, 1e-3);
        }
    }

    private static SupervisedBatch Batch(int rows, int context)
    {
        int count = rows * context;
        int[] all = [.. Enumerable.Range(0, count)];
        Batch batch = new([.. all.Select(i => i * 7 % 40)], [.. all.Select(i => i % context)],
            [.. Enumerable.Range(0, rows).Select(row => new Sequence(row * context, context))], all);
        return new SupervisedBatch(batch, [.. all.Select(i => i * 5 % 40)]);
    }

    private static void Same(
        TrainableModel model, TrainingFootprint predicted, int threads, bool recomputes, DropoutRates rates, int rows = 3, int context = 24)
    {
        using CpuOps device = new(threads);
        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.Uniform(0));
        Learner learner = new(model, device);
        learner.Tape.Recomputes = recomputes;
        learner.Tape.Rates = rates;
        for (int pass = 0; pass < 2; pass++) learner.Add(Batch(rows, context), 1.0 / (rows * context));
        Assert.Equal(device.PeakBytes, predicted.PassBytes);
        Assert.Equal(model.Gradients.Count * sizeof(float), predicted.GradientBytes);
        if (!model.IsAdapter) Assert.Equal(model.Parameters.Sum(parameter => parameter.Weight.Bytes), predicted.WeightBytes);
    }

    private static byte[] Large(int layers, int width, int vocabulary) => Encoding.UTF8.GetBytes($$"""
        {"model_type": "llama", "hidden_size": {{width}}, "intermediate_size": {{width * 8 / 3}}, "num_hidden_layers": {{layers}},
         "num_attention_heads": {{width / 32}}, "vocab_size": {{vocabulary}}, "max_position_embeddings": 512}
        """);

    private static string Folder(string family) => TestFolders.FindGolden($"models/{family}")!;

    private static long Status(string key)
    {
        string line = File.ReadLines("/proc/self/status").Single(line => line.StartsWith(key, StringComparison.Ordinal));
        return long.Parse(line.AsSpan(key.Length).Trim().TrimEnd("kB").Trim(), CultureInfo.InvariantCulture) * 1024;
    }
}
