using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Fude.Corpus;
using Fude.Tensors;

namespace Fude.Training.Tests;

/// <summary>A run of a model so small that forty steps take less than a second; also as a process of its own, which a test can kill.</summary>
internal static class TinyRun
{
    public const int Steps = 40;
    private const string Variable = "FUDE_TINY_RUN", BestVariable = "FUDE_TINY_RUN_BEST";

    public static byte[] Config(int vocabulary = 50) => Encoding.UTF8.GetBytes($$"""
        {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "vocab_size": {{vocabulary}}, "max_position_embeddings": 16}
        """);

    /// <summary>Documents of 1 to 40 tokens in two shards.</summary>
    public static TokenShard[] Shards(string folder)
    {
        Random random = new(3);
        string[] paths = [Path.Combine(folder, "a"), Path.Combine(folder, "b")];
        foreach (string path in paths)
        {
            if (File.Exists(path + ".idx")) continue;
            using TokenShardWriter writer = new(path, 50);
            for (int i = 0; i < 20; i++)
            {
                int first = random.Next(50);
                writer.Add([.. Enumerable.Range(0, random.Next(1, 41)).Select(j => (first + j * j) % 50)]);
            }
            writer.Complete();
        }
        return [.. paths.Select(TokenShard.Open)];
    }

    /// <summary>Evaluates so often that several may be better between two checkpoints, and ends with the best.</summary>
    public static TrainerOptions KeepingBest(TrainerOptions options) => options with { KeepsBest = true, EvaluateEvery = 1, CheckpointEvery = 4 };

    /// <summary>Runs to the end, or as far as an error lets it; gives the weights it ends with.</summary>
    public static float[] Run(string folder, Action<StepReport>? progress = null, int threads = 2, Func<TrainerOptions, TrainerOptions>? change = null,
        Action<TrainableModel>? prepare = null, long stopAfter = Steps, Action<Trainer>? end = null)
    {
        using TrainableModel model = TrainableModel.Create(Config(), new InitialNumbers(7));
        prepare?.Invoke(model);
        using CpuOps device = new(threads);
        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.AsTransformersTrainer(0.1));
        TokenShard[] shards = Shards(folder);
        TrainerOptions options = new()
        {
            Schedule = new Schedule(1e-2, ScheduleForm.Cosine, Steps, WarmUp: 3),
            RowsPerBatch = 2,
            BatchesPerStep = 2,
            Dropout = new DropoutRates(0.1f, 0.1f, 0.1f),
            Seed = 11,
            CheckpointEvery = 3,
            EvaluateEvery = 5,
        };
        if (change is not null) options = change(options);
        // What is held out in such a run is of another kind than the documents: getting to know them makes it worse at last.
        SupervisedBatch heldOut = SupervisedBatch.Of(new LabelledText(options.KeepsBest ? [3, 14, 15, 9, 26, 5, 35, 8, 9, 7] : [1, 2, 5, 10, 17, 26, 37]));
        Trainer trainer = new(model, device, optimizer, new PackedDocuments(shards, 16, seed: 5), new Checkpoints(Path.Combine(folder, "run")), options,
            [heldOut]);
        trainer.Resume();
        using CancellationTokenSource stop = new();
        trainer.Run(report =>
        {
            progress?.Invoke(report);
            if (report.Step == stopAfter) stop.Cancel();
        }, stop.Token);
        trainer.TakeResult();
        end?.Invoke(trainer);
        foreach (TokenShard shard in shards) shard.Dispose();
        return [.. model.Parameters.SelectMany(parameter => parameter.Values.ToArray())];
    }

    /// <summary>What starts this program again as a tiny run instead of as tests.</summary>
    public static System.Diagnostics.ProcessStartInfo Process(string folder, bool keepsBest)
    {
        string program = Environment.ProcessPath!;
        System.Diagnostics.ProcessStartInfo start = Path.GetFileNameWithoutExtension(program) == "dotnet"
            ? new(program, [typeof(TinyRun).Assembly.Location])
            : new(program);
        start.Environment[Variable] = folder;
        if (keepsBest) start.Environment[BestVariable] = "1";
        start.RedirectStandardOutput = true;
        return start;
    }

    // Before any test: this process may be one that is there to be killed.
    [ModuleInitializer]
    internal static void RunIfAsked()
    {
        // Tests read English, whoever runs them.
        CultureInfo.CurrentUICulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } folder) return;
        Run(folder, report =>
        {
            Console.WriteLine(report.Step);
            Thread.Sleep(25);       // so that there is time to be killed
        }, change: Environment.GetEnvironmentVariable(BestVariable) is { Length: > 0 } ? KeepingBest : null);
        Environment.Exit(0);
    }
}
