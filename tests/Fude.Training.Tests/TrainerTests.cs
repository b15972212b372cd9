using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Fude.Corpus;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>Whole runs: killed and taken up, stopped, diverged, with other threads.</summary>
public sealed class TrainerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory, InlineData(false), InlineData(true)]
    public void A_run_that_is_killed_again_and_again_ends_with_the_weights_of_one_that_is_not(bool keepsBest)
    {
        Func<TrainerOptions, TrainerOptions>? change = keepsBest ? TinyRun.KeepingBest : null;
        long? best = null;
        float[] expected = TinyRun.Run(Folder("whole"), change: change, end: trainer => best = trainer.ResultStep);
        string killed = Folder("killed");
        TokenShard[] shards = TinyRun.Shards(killed);
        foreach (TokenShard shard in shards) shard.Dispose();
        int kills = 0;
        foreach (int last in (ReadOnlySpan<int>)[1, 8, 20])
        {
            using Process process = Process.Start(TinyRun.Process(killed, keepsBest))!;
            while (process.StandardOutput.ReadLine() is { } line)
                if (int.Parse(line, CultureInfo.InvariantCulture) >= last) break;
            process.Kill();         // SIGKILL: nothing of the process runs after it
            process.WaitForExit();
            if (process.ExitCode != 0) kills++;
        }
        // On a machine that is kept busy by others a run may come to its end before it is killed, but not all three.
        Assert.InRange(kills, 1, 3);
        Checkpoints left = new(Path.Combine(killed, "run"));
        Assert.True(left.Steps[^1] >= 16);
        Same(expected, TinyRun.Run(killed, change: change, end: trainer => Assert.Equal(best, trainer.ResultStep)));
        Assert.Equal(keepsBest ? [best!.Value] : [], left.BestSteps);
        Assert.Equal(keepsBest, best < TinyRun.Steps);
        Same(expected, WeightsIn(keepsBest ? left.PathOfBest(best!.Value) : left.PathOf(TinyRun.Steps)));
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_run_that_ends_early_or_is_to_keep_the_best_ends_with_the_weights_of_its_best_evaluation(bool early)
    {
        string folder = Folder("a");
        Checkpoints checkpoints = new(Path.Combine(folder, "run"));
        TrainableModel? trained = null;
        List<(long Step, double Loss, float[] Weights)> evaluations = [];
        int most = 0;
        // Begun, and taken up when it is over.
        for (int i = 0; i < 2; i++)
        {
            float[] found = TinyRun.Run(folder, report =>
            {
                if (report.HeldOutLoss is { } loss) evaluations.Add((report.Step, loss, Weights(trained!)));
                most = Math.Max(most, checkpoints.BestSteps.Count);
            }, prepare: model => trained = model, change: options => TinyRun.KeepingBest(options) with { Patience = early ? 4 : 0 }, end: trainer =>
            {
                (long step, double loss, _) = evaluations.MinBy(one => one.Loss);
                Assert.Equal((early, true, step), (trainer.EndedEarly, trainer.IsDone, trainer.ResultStep!.Value));
                Assert.Equal(early ? step + 4 : TinyRun.Steps, trainer.State.Step);
                Assert.Equal((step, loss), (trainer.State.BestStep, trainer.State.BestHeldOutLoss!.Value));
                Assert.Equal(loss, trainer.Evaluate());
            });
            Same(evaluations.MinBy(one => one.Loss).Weights, found);
            Assert.Equal([evaluations.MinBy(one => one.Loss).Step], checkpoints.BestSteps);
        }
        Assert.Equal(2, most);      // the last checkpoint's, and a better one since
        Assert.True(evaluations.MinBy(one => one.Loss).Step > 1);
    }

    [Fact]
    public void A_run_that_is_not_to_keep_the_best_ends_with_its_last_weights_and_keeps_no_others()
    {
        string folder = Folder("a");
        float[] last = TinyRun.Run(Folder("b"), change: options => options with { EvaluateEvery = 1, CheckpointEvery = 4 });
        Same(last, TinyRun.Run(folder, change: options => TinyRun.KeepingBest(options) with { KeepsBest = false }, end: trainer => Assert.Equal(TinyRun.Steps, trainer.ResultStep)));
        Assert.Empty(new Checkpoints(Path.Combine(folder, "run")).BestSteps);
        // Patience that did not end: the last weights too.
        Same(last, TinyRun.Run(Folder("c"), change: options => TinyRun.KeepingBest(options) with { KeepsBest = false, Patience = 100 }));
        Assert.Single(new Checkpoints(Path.Combine(Folder("c"), "run")).BestSteps);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Best_weights_that_are_not_there_are_told_of_and_sought_anew(bool isOfAnEarlierVersion)
    {
        string folder = Folder("a");
        TinyRun.Run(folder, change: TinyRun.KeepingBest, stopAfter: 30);
        Checkpoints checkpoints = new(Path.Combine(folder, "run"));
        string state = Path.Combine(checkpoints.PathOf(30), "trainer.json"), kept = checkpoints.PathOfBest(Assert.Single(checkpoints.BestSteps));
        if (isOfAnEarlierVersion)
        {
            JsonNode json = JsonNode.Parse(File.ReadAllText(state))!;
            Assert.True(json.AsObject().Remove("best_step"));
            File.WriteAllText(state, json.ToJsonString());
        }
        else
        {
            Directory.Delete(kept, recursive: true);
        }
        TinyRun.Run(folder, change: TinyRun.KeepingBest, end: trainer =>
        {
            Assert.NotNull(trainer.LostBest);
            Assert.True(trainer.State.BestHeldOutLoss > trainer.LostBest);
            Assert.InRange(trainer.ResultStep!.Value, 31, TinyRun.Steps);
        });
        // Whoever does not ask for the best does not care.
        Same(TinyRun.Run(Folder("whole")), TinyRun.Run(folder, change: options => options, end: trainer => Assert.Null(trainer.LostBest)));
    }

    [Fact]
    public void Best_weights_that_cannot_be_written_leave_the_last_checkpoint()
    {
        string folder = Folder("a"), run = Path.Combine(folder, "run");
        _ = Directory.CreateDirectory(run);
        File.WriteAllText(Path.Combine(run, ".best-00000001.fude"), "");
        string told = Assert.ThrowsAny<IOException>(() => TinyRun.Run(folder, change: TinyRun.KeepingBest)).Message;
        Assert.StartsWith("The best weights so far, of step 1, could not be written: ", told, StringComparison.Ordinal);
        Assert.EndsWith("the same command begins anew, for there is no checkpoint before.", told, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_run_killed_while_writing_left_behind_is_no_checkpoint_and_is_cleared_away()
    {
        string folder = Folder("a"), run = Path.Combine(folder, "run");
        TinyRun.Run(folder, stopAfter: 6);
        foreach (string left in (ReadOnlySpan<string>)[".step-00000009.fude", ".step-00000003.fude.old", "step-00000007"])
        {
            _ = Directory.CreateDirectory(Path.Combine(run, left));
            File.WriteAllText(Path.Combine(run, left, "model.safetensors"), "half");
        }
        Assert.Equal(6, new Checkpoints(run).Steps[^1]);
        Same(TinyRun.Run(Folder("whole")), TinyRun.Run(folder));
        Assert.Equal(["step-00000007", "step-00000039", "step-00000040"], Directory.EnumerateFileSystemEntries(run).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void Threads_and_recomputation_do_not_change_a_bit()
    {
        float[] expected = TinyRun.Run(Folder("two"));
        Same(expected, TinyRun.Run(Folder("one"), threads: 1));
        Same(expected, TinyRun.Run(Folder("three"), threads: 3, change: options => options with { Recomputes = true }));
    }

    [Fact]
    public void A_run_learns_and_tells_of_every_step()
    {
        List<StepReport> reports = [];
        string folder = Folder("a");
        TinyRun.Run(folder, reports.Add);
        Assert.Equal(Enumerable.Range(1, TinyRun.Steps).Select(step => (long)step), reports.Select(report => report.Step));
        Assert.Equal(0, reports[0].LearningRate);
        Assert.Equal(40L * 4 * 16, reports[^1].Tokens);
        Assert.Equal(8, reports.Count(report => report.HeldOutLoss is not null));
        Assert.InRange(reports[0].Loss, 3.5, 4.3);        // ln 50 = 3.9
        Assert.True(reports.TakeLast(5).Average(report => report.Loss) < reports[0].Loss - 0.5);
        Assert.Equal([39L, 40L], new Checkpoints(Path.Combine(folder, "run")).Steps);
        Assert.Equal(2, Directory.EnumerateFileSystemEntries(Path.Combine(folder, "run")).Count());
    }

    [Fact]
    public void The_last_step_is_evaluated_in_any_case()
    {
        List<StepReport> reports = [];
        TinyRun.Run(Folder("a"), reports.Add, change: options => options with { EvaluateEvery = 25 });
        Assert.Equal([25L, TinyRun.Steps], reports.Where(report => report.HeldOutLoss is not null).Select(report => report.Step));
    }

    [Fact]
    public void A_run_that_is_stopped_keeps_what_it_has()
    {
        string folder = Folder("a");
        TinyRun.Run(folder, stopAfter: 5);
        Assert.Equal(5, new Checkpoints(Path.Combine(folder, "run")).Steps[^1]);
        Same(TinyRun.Run(Folder("whole")), TinyRun.Run(folder));
    }

    [Fact]
    public void A_run_ends_early_when_nothing_gets_better()
    {
        string folder = Folder("a");
        List<StepReport> reports = [];
        // The first evaluation is the best; three more are no better. Taken up, the run is over.
        for (int i = 0; i < 2; i++)
        {
            TinyRun.Run(folder, reports.Add, change: options => options with
            {
                Schedule = new Schedule(0, ScheduleForm.Constant, TinyRun.Steps),
                EvaluateEvery = 2,
                Patience = 3,
            });
            Assert.Equal(8, reports.Count);
            Assert.Equal(8, new Checkpoints(Path.Combine(folder, "run")).Steps[^1]);
        }
    }

    [Fact]
    public void A_loss_that_is_no_number_stops_the_run_names_the_batch_and_leaves_the_last_checkpoint()
    {
        string folder = Folder("a");
        TrainableModel? trained = null;
        DivergenceException e = Assert.Throws<DivergenceException>(() => TinyRun.Run(
            folder, report => { if (report.Step == 7) trained!.Parameters[1].Values[0] = float.NaN; }, prepare: model => trained = model));
        Assert.Contains("micro-batch 1 of step 8", e.Message, StringComparison.Ordinal);
        TokenShard[] shards = TinyRun.Shards(folder);
        PackedDocuments data = new(shards, 16, seed: 5);
        for (int i = 0; i < 7 * 2; i++) data.Next(2);
        foreach (TokenShard shard in shards) shard.Dispose();
        Assert.Contains($"begins at token {data.Cursor.Tokens} of fold {data.Cursor.Fold} (seed 5)", e.Message, StringComparison.Ordinal);
        Assert.Contains("step-00000006", e.Message, StringComparison.Ordinal);
        Assert.Equal([3L, 6L], new Checkpoints(Path.Combine(folder, "run")).Steps);
        Same(TinyRun.Run(Folder("whole")), TinyRun.Run(folder));
    }

    [Fact]
    public void A_checkpoint_of_the_weights_that_failed_is_not_called_good()
    {
        string folder = Folder("a");
        TrainableModel? trained = null;
        DivergenceException e = Assert.Throws<DivergenceException>(() => TinyRun.Run(
            folder, report => { if (report.Step == 6) trained!.Parameters[1].Values.Fill(1e30f); }, prepare: model => trained = model));
        Assert.Contains("of step 7", e.Message, StringComparison.Ordinal);
        Assert.Contains($"The last good checkpoint is {Path.Combine(folder, "run", "step-00000003")}; {Path.Combine(folder, "run", "step-00000006")} leads here again",
            e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_last_step_that_diverged_does_not_keep_the_best_weights_from_being_the_result()
    {
        string folder = Folder("a");
        TrainableModel? trained = null;
        long? best = null;
        float[] result = TinyRun.Run(folder, report => { if (report.Step == TinyRun.Steps) trained!.Parameters[1].Values.Fill(float.NaN); },
            prepare: model => trained = model, change: TinyRun.KeepingBest, end: trainer => best = trainer.ResultStep);
        Assert.True(best < TinyRun.Steps);
        Same(WeightsIn(new Checkpoints(Path.Combine(folder, "run")).PathOfBest(best!.Value)), result);
    }

    [Theory, InlineData(float.NaN), InlineData(1e30f)]
    public void A_last_step_that_diverged_takes_no_good_checkpoint_with_it(float number)
    {
        string folder = Folder("a");
        TrainableModel? trained = null;
        TinyRun.Run(folder, report => { if (report.Step == TinyRun.Steps) trained!.Parameters[1].Values.Fill(number); },
            prepare: model => trained = model, change: options => TinyRun.KeepingBest(options) with { KeepCheckpoints = 1 });
        Assert.Equal([36L], new Checkpoints(Path.Combine(folder, "run")).Steps);
    }

    [Fact]
    public void Weights_that_are_no_numbers_are_not_kept()
    {
        string folder = Folder("a");
        TrainableModel? trained = null;
        DivergenceException e = Assert.Throws<DivergenceException>(() => TinyRun.Run(
            folder, report => { if (report.Step == 6) trained!.Parameters[1].Values[0] = float.NaN; }, prepare: model => trained = model));
        Assert.Contains($"{trained!.Parameters[1].Name} holds no finite numbers after step 6", e.Message, StringComparison.Ordinal);
        Assert.EndsWith($"The last good checkpoint is {Path.Combine(folder, "run", "step-00000003")}. A lower learning rate or a longer warm-up may help.", e.Message, StringComparison.Ordinal);
        Assert.Equal([3L], new Checkpoints(Path.Combine(folder, "run")).Steps);
    }

    [Fact]
    public void The_last_good_checkpoint_stays_until_the_next_one_is_known_to_be_good()
    {
        string folder = Folder("a");
        TrainableModel? trained = null;
        // Finite, and yet nothing to go on from.
        DivergenceException e = Assert.Throws<DivergenceException>(() => TinyRun.Run(
            folder, report => { if (report.Step == 6) trained!.Parameters[1].Values.Fill(1e30f); }, prepare: model => trained = model, change: options => options with { KeepCheckpoints = 1 }));
        Assert.Contains("step-00000003", e.Message, StringComparison.Ordinal);
        Assert.Equal([3L, 6L], new Checkpoints(Path.Combine(folder, "run")).Steps);
        Directory.Delete(Path.Combine(folder, "run", "step-00000006"), recursive: true);
        Same(TinyRun.Run(Folder("whole")), TinyRun.Run(folder, change: options => options with { KeepCheckpoints = 1 }));
        Assert.Equal([40L], new Checkpoints(Path.Combine(folder, "run")).Steps);
    }

    [Theory, InlineData(float.NaN), InlineData(1e30f)]
    public void Weights_that_diverged_in_the_last_step_are_no_result(float number)
    {
        string folder = Folder("a");
        TrainableModel? trained = null;
        DivergenceException e = Assert.Throws<DivergenceException>(() => TinyRun.Run(
            folder, report => { if (report.Step == TinyRun.Steps) trained!.Parameters[1].Values.Fill(number); }, prepare: model => trained = model));
        Assert.Contains("after step 40, the last, the loss is ", e.Message, StringComparison.Ordinal);
        Assert.Equal([36L, 39L], new Checkpoints(Path.Combine(folder, "run")).Steps);
    }

    [Fact]
    public void A_checkpoint_of_another_model_is_refused()
    {
        string folder = Folder("a");
        TinyRun.Run(folder, change: options => options with { Schedule = options.Schedule with { Steps = 3, WarmUp = 1 } });
        Checkpoints checkpoints = new(Path.Combine(folder, "run"));
        using TrainableModel other = TrainableModel.Create(TinyRun.Config(vocabulary: 51), new InitialNumbers(1));
        using AdamW optimizer = new(other, new AdamWOptions(), ParameterGroup.Uniform(0));
        InvalidDataException e = Assert.Throws<InvalidDataException>(() => checkpoints.Restore(other, optimizer));
        Assert.Contains("[51, 16]", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_dropped_differs_in_every_micro_batch_of_every_run()
    {
        // However many micro-batches a step has: a tuning divides its steps by tokens.
        HashSet<ulong> seeds = [];
        for (ulong run = 0; run < 4; run++)
            for (long step = 0; step < 200; step++)
                for (int part = 0; part < 1 + (step % 5); part++) Assert.True(seeds.Add(Trainer.DropoutSeed(run, step, part)));
    }

    [Fact]
    public void Numbers_that_no_run_can_have_are_a_caller_s_mistake()
    {
        foreach (Func<TrainerOptions, TrainerOptions> change in (Func<TrainerOptions, TrainerOptions>[])[
            options => options with { CheckpointEvery = 0 }, options => options with { KeepCheckpoints = 0 }, options => options with { EvaluateEvery = -1 },
            options => options with { Patience = -1 }, options => options with { ClipNorm = -1 }, options => options with { ClipNorm = double.NaN }])
            Assert.Equal("options", Assert.ThrowsAny<ArgumentException>(() => TinyRun.Run(Folder("a"), change: change)).ParamName);
    }

    [Fact]
    public void A_damaged_state_is_an_error_that_names_the_file()
    {
        string folder = Folder("a");
        TinyRun.Run(folder, change: options => options with { Schedule = options.Schedule with { Steps = 3, WarmUp = 1 } });
        Checkpoints checkpoints = new(Path.Combine(folder, "run"));
        string file = Path.Combine(checkpoints.PathOf(3), "trainer.json");
        string good = File.ReadAllText(file);
        using TrainableModel model = TrainableModel.Create(TinyRun.Config(), new InitialNumbers(1));
        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.Uniform(0));
        foreach (string bad in (ReadOnlySpan<string>)[
            "", "[]", "{}", good[..^10], good.Replace("\"step\": 3", "\"step\": 4", StringComparison.Ordinal),
            good.Replace("\"step\": 3", "\"step\": -3", StringComparison.Ordinal), good.Replace("\"fold\": 0", "\"fold\": 9999999999", StringComparison.Ordinal)])
        {
            File.WriteAllText(file, bad);
            Assert.Contains(file, Assert.Throws<InvalidDataException>(() => checkpoints.Restore(model, optimizer)).Message, StringComparison.Ordinal);
        }
    }

    [Theory, InlineData("model.safetensors", 200), InlineData("optimizer.safetensors", 200), InlineData("model.safetensors", 0), InlineData("trainer.json", 5), InlineData("optimizer.safetensors", -1)]
    public void A_damaged_checkpoint_is_told_with_what_to_delete_and_where_the_run_goes_on(string name, int length)
    {
        string folder = Folder("a"), run = Path.Combine(folder, "run");
        TinyRun.Run(folder, stopAfter: 9);
        Damage(Path.Combine(run, "step-00000009", name), length);
        UserLanguage.Fails(() => TinyRun.Run(folder), $"If it is damaged, delete the folder {Path.Combine(run, "step-00000009")}: the run then goes on from {Path.Combine(run, "step-00000006")}.",
            $"破損しているなら、フォルダー {Path.Combine(run, "step-00000009")} を削除してください。{Path.Combine(run, "step-00000006")} から再開します。");
        string told = Assert.Throws<InvalidDataException>(() => TinyRun.Run(folder)).Message;
        Assert.StartsWith(Path.Combine(run, "step-00000009", length < 0 ? "optimizer.safetensors" : name), told, StringComparison.Ordinal);
        Assert.DoesNotContain("Download", told, StringComparison.Ordinal);
        // As it says; and of the last one there is.
        Directory.Delete(Path.Combine(run, "step-00000009"), recursive: true);
        // Those before the last stay until a step has shown that it is good.
        Directory.Delete(Path.Combine(run, "step-00000003"), recursive: true);
        Damage(Path.Combine(run, "step-00000006", name), length);
        Assert.EndsWith($"delete the folder {Path.Combine(run, "step-00000006")}: the run then begins anew, for there is no checkpoint before.",
            Assert.Throws<InvalidDataException>(() => TinyRun.Run(folder)).Message, StringComparison.Ordinal);
        Directory.Delete(Path.Combine(run, "step-00000006"), recursive: true);
        Same(TinyRun.Run(Folder("whole")), TinyRun.Run(folder));
    }

    [Fact]
    public void Damaged_best_weights_are_seen_when_the_run_is_taken_up()
    {
        string folder = Folder("a");
        TinyRun.Run(folder, change: TinyRun.KeepingBest, stopAfter: 30);
        Checkpoints checkpoints = new(Path.Combine(folder, "run"));
        string best = checkpoints.PathOfBest(Assert.Single(checkpoints.BestSteps));
        Damage(Path.Combine(best, "model.safetensors"), 2000);
        int steps = 0;
        string told = Assert.Throws<InvalidDataException>(() => TinyRun.Run(folder, _ => steps++, change: TinyRun.KeepingBest)).Message;
        Assert.Equal(0, steps);
        Assert.EndsWith($"If it is damaged, delete the folder {best}: the best is then sought anew from here on, and a run that is over ends with its last weights.", told, StringComparison.Ordinal);
        // Whoever does not ask for the best does not care.
        TinyRun.Run(folder, change: options => TinyRun.KeepingBest(options) with { KeepsBest = false }, stopAfter: 31);
        if (Directory.Exists(best)) Directory.Delete(best, recursive: true);
        TinyRun.Run(folder, change: TinyRun.KeepingBest, end: trainer => Assert.InRange(trainer.ResultStep!.Value, 31, TinyRun.Steps));
    }

    [Fact]
    public void A_checkpoint_that_cannot_be_written_leaves_those_before()
    {
        string folder = Folder("a"), run = Path.Combine(folder, "run");
        TinyRun.Run(folder, stopAfter: 3);
        // A file where the folder of the next checkpoint is to be written.
        File.WriteAllText(Path.Combine(run, ".step-00000006.fude"), "");
        string told = Assert.ThrowsAny<IOException>(() => TinyRun.Run(folder)).Message;
        Assert.StartsWith("The checkpoint of step 6 could not be written: ", told, StringComparison.Ordinal);
        Assert.EndsWith($"Make room on the disk, and the same command goes on from {Path.Combine(run, "step-00000003")}, which is as it was.", told, StringComparison.Ordinal);
        Assert.Equal([3L], new Checkpoints(run).Steps);
        File.Delete(Path.Combine(run, ".step-00000006.fude"));
        Same(TinyRun.Run(Folder("whole")), TinyRun.Run(folder));
    }

    public void Dispose() => _folder.Dispose();

    private static void Damage(string file, int length)
    {
        if (length < 0) File.Delete(file);
        else File.WriteAllBytes(file, File.ReadAllBytes(file)[..length]);
    }

    private static float[] WeightsIn(string folder)
    {
        using TrainableModel saved = TrainableModel.Load(folder);
        return Weights(saved);
    }

    private static float[] Weights(TrainableModel model) => [.. model.Parameters.SelectMany(parameter => parameter.Values.ToArray())];

    private string Folder(string name) => Directory.CreateDirectory(_folder[name]).FullName;

    private static void Same(float[] expected, float[] found)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(found[i]), $"[{i}]: {expected[i]:R}, {found[i]:R}");
    }
}
