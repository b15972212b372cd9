using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Fude.Corpus;
using Fude.Models;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>Whole tunings: from files of examples to a folder that generates, stopped and taken up, of adapters, on quantised bases.</summary>
public sealed class TuningTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _model, _data;

    public TuningTests() => (_model, _data) = (TinyTuning.Model(_folder), TinyTuning.Data(_folder));

    [Fact]
    public void A_model_is_tuned_to_a_folder_that_carries_its_prompt_format()
    {
        List<StepReport> reports = [];
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Epochs = 10, HeldOutShare = 0.2, EvaluateEvery = 4 };
        double before, after;
        using (Tuning run = Open(settings))
        {
            before = run.Evaluate()!.Value;
            Assert.True(run.Run(reports.Add));
            after = run.Evaluate()!.Value;
        }
        Assert.True(reports.TakeLast(4).Average(report => report.Loss) < reports[0].Loss - 2, $"{reports[0].Loss} → {reports[^1].Loss}");
        Assert.True(after < before - 1, $"{before} → {after}");
        Assert.All(reports.Where(report => report.Step % 4 == 0), report => Assert.NotNull(report.HeldOutLoss));
        ModelFolder tuned = ModelFolder.Open(Path.Combine(_folder["run"], "model"));
        PromptFormatGuess guess = PromptFormat.Guess(tuned);
        Assert.Equal(("dialogue", true), (guess.Format.Name, guess.IsSure));
        Assert.Equal("<s>ユーザー：犬\n応答：", guess.Format.Write("犬").Text);
        Assert.True(tuned.HasTokenizer);
        using LanguageModel loaded = tuned.LoadModel();
    }

    [Fact]
    public void Replayed_texts_are_their_share_of_every_epoch_and_keep_what_was_known()
    {
        // A text that the base learns first, and then instructions that have none of its words.
        string shard = _folder["texts"];
        using (TokenShardWriter writer = new(shard, TinyTuning.Vocabulary))
        {
            for (int i = 0; i < 40; i++) writer.Add([1, .. Enumerable.Range(0, 30).Select(place => 1000 + (((7 * place) + i) % 40)), 2]);
            writer.Complete();
        }
        TuningSettings settings = TinyTuning.Settings(_model, _folder["plain"], _data) with { Epochs = 3 };
        TuningSettings replaying = settings with { Output = _folder["replaying"], Replay = [shard + ".bin"], ReplayShare = 0.4 };
        TuningData data = new(replaying);
        SourceSummary own = data.Sources[0], replayed = data.Sources[1];
        Assert.Equal(2, data.Sources.Count);
        Assert.InRange(replayed.Tokens * replayed.Weight / (own.Tokens + (replayed.Tokens * replayed.Weight)), 0.39, 0.45);
        Assert.Empty(data.Mixture.Order(0).Where(place => place.Source == 1).Intersect(data.Mixture.Order(1)));
        // Conversations may be cut short: texts are not, but for the memory of a micro-batch.
        TuningSettings narrow = replaying with { Context = 24, TooLong = TooLong.Cut };
        Assert.InRange(new TuningData(narrow).Sources[0].Longest, 2, 24);
        Assert.Equal(32, new TuningData(narrow).Sources[1].Longest);
        Assert.Equal(28, new TuningData(narrow with { TokensPerBatch = 28 }).Sources[1].Longest);
        double plain = LossAfter(settings), kept = LossAfter(replaying);
        Assert.True(kept < plain - 2, $"{kept} with replay, {plain} without");
        // A run of an earlier version had pieces as long as the context, 64, and noted nothing of it: it does not go on with these of 60.
        string identity = Path.Combine(replaying.Output, "identity.json"), noted = File.ReadAllText(identity);
        Forget("replay length", replaying.Output);
        Assert.Contains("replay length", Assert.Throws<InvalidDataException>(() => Open(replaying)).Message, StringComparison.Ordinal);
        File.WriteAllText(identity, noted);
        // Another share is another run.
        Assert.Contains("replay", Assert.Throws<InvalidDataException>(() => Open(replaying with { ReplayShare = 0.3 })).Message, StringComparison.Ordinal);
        Assert.Contains("replay", Assert.Throws<InvalidDataException>(() => Open(replaying with { Replay = [] })).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new TuningData(replaying with { ReplayShare = 1 }));

        double LossAfter(TuningSettings how)
        {
            using Tuning run = Open(how);
            Assert.True(run.Run());
            return Trainer.MeanLoss(new Learner(run.Model, run.Device),
                InstructionLessons.Batches(ReplayedText.Take([shard], 500, 64, TinyTuning.Vocabulary, null, "", seed: 9), 64));
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_run_that_is_stopped_and_taken_up_has_the_bits_of_one_that_is_not(bool isAdapter)
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["whole"], _data) with
        {
            Lora = isAdapter ? new LoraSettings(2, 4, Dropout: 0.1) : null,
            Dropout = 0.1f,
            Data = [new DataSource(_data, 0.7), new DataSource(TinyTuning.Data(_folder, "more.jsonl", 9))],
            Epochs = 2.5,
        };
        float[] expected = Weights(settings);
        TuningSettings stopped = settings with { Output = _folder["stopped"], Threads = 3, Recomputes = true };
        for (int after = 1; after < 20; after += 3)
        {
            using CancellationTokenSource stop = new();
            using Tuning run = Open(stopped);
            if (run.Run(report => { if (report.Step >= after) stop.Cancel(); }, stop.Token)) break;
        }
        Assert.Equal(expected, Weights(stopped));
        string result = isAdapter ? "adapter/adapter_model.safetensors" : "model/model.safetensors";
        Assert.Equal(File.ReadAllBytes(Path.Combine(_folder["whole"], result)), File.ReadAllBytes(Path.Combine(_folder["stopped"], result)));
    }

    [Fact]
    public void A_resume_with_another_model_other_data_or_other_settings_is_refused_by_name()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data);
        using (Tuning run = Open(settings)) run.Run();
        string other = TinyTuning.Model(_folder, "other", seed: 4), more = TinyTuning.Data(_folder, "more.jsonl", 9);
        foreach ((string told, TuningSettings changed) in (ReadOnlySpan<(string, TuningSettings)>)[
            ("model '", settings with { Model = other }), ($"other data in place of {more} (--data, number 1: 24 examples, ", settings with { Data = [new DataSource(more)] }),
            ($"--data {_data}:1, and now there is --data {_data}:0.5", settings with { Data = [new DataSource(_data, 0.5)] }),
            ("--learning-rate 0.01, and now there is --learning-rate 0.02", settings with { LearningRate = 2e-2 }),
            ("no --lora-rank, and now there is --lora-rank 2", settings with { Lora = new LoraSettings(2) }),
            ("--format dialogue, and now there is --format llama2-chat", settings with { Format = "llama2-chat" }), ("--seed 1", settings with { Seed = 2 }),
            ("--epochs 2, and now there is --epochs 3", settings with { Epochs = 3 }),
            ("--beta2 0.95, and now there is --beta2 0.9.", settings with { AdamW = new AdamWOptions(Beta2: 0.9) })])
        {
            InvalidDataException e = Assert.Throws<InvalidDataException>(() => Open(changed).Dispose());
            Assert.Contains($"began with {told}", e.Message, StringComparison.Ordinal);
            Assert.Contains(_folder["run"], e.Message, StringComparison.Ordinal);
        }
        using (Tuning again = Open(settings with { Threads = 2, EvaluateEvery = 3 })) Assert.Equal(again.Schedule.Steps, again.State.Step);
        // Another tokenizer with as many pieces, in the same place.
        string tokens = Path.Combine(_model, "tokenizer_config.json"), old = File.ReadAllText(tokens);
        File.WriteAllText(tokens, old.Replace("\"legacy\": true", "\"legacy\": false", StringComparison.Ordinal));
        Assert.Contains("began with tokenizer '", Assert.Throws<InvalidDataException>(() => Open(settings).Dispose()).Message, StringComparison.Ordinal);
        // A run of an earlier version has not written down which it was: from now on it is this one.
        Forget("tokenizer");
        Open(settings).Dispose();
        File.WriteAllText(tokens, old);
        Assert.Contains("began with tokenizer '", Assert.Throws<InvalidDataException>(() => Open(settings).Dispose()).Message, StringComparison.Ordinal);
        Forget("tokenizer");
        // Nor of its template, of which the format's name says nothing.
        File.WriteAllText(Path.Combine(_model, "chat_template.jinja"), "{{ messages[0].content }}");
        Assert.Contains("began with chat template 'none', and now there is", Assert.Throws<InvalidDataException>(() => Open(settings).Dispose()).Message, StringComparison.Ordinal);
        Forget("chat template");
        Open(settings).Dispose();
    }

    [Fact]
    public void The_result_is_replaced_as_a_whole_and_what_a_killed_run_left_half_written_goes()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { SaveFormat = NumberFormat.BF16 };
        using (Tuning run = Open(settings)) Assert.True(run.Run());
        string model = Path.Combine(_folder["run"], "model");
        byte[] weights = File.ReadAllBytes(Path.Combine(model, "model.safetensors")), config = File.ReadAllBytes(Path.Combine(model, "config.json"));
        File.WriteAllText(Path.Combine(model, "my.gguf"), "mine");
        File.WriteAllText(Path.Combine(model, "model-00002-of-00002.safetensors"), "of an earlier model");
        // What stands in the way of the new one: as on a full disk, nothing of the old one is touched.
        string way = _folder["run/.model.fude"];
        File.WriteAllText(way, "");
        using (Tuning again = Open(settings with { SaveFormat = NumberFormat.F32 })) Assert.ThrowsAny<IOException>(() => again.Run());
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(model, "model.safetensors")));
        Assert.Equal(config, File.ReadAllBytes(Path.Combine(model, "config.json")));
        File.Delete(way);
        string[] left = [$"identity.json.{Guid.NewGuid():N}.tmp", $"report.html.{Guid.NewGuid():N}.tmp", "reference.scores.abcdefgh.xy1"];
        foreach (string name in left.Append("notes.tmp")) File.WriteAllText(_folder[$"run/{name}"], "half");
        foreach (string name in (string[])[".model.fude", "checkpoints/.step-00000099.fude"]) File.WriteAllText(Path.Combine(Directory.CreateDirectory(_folder[$"run/{name}"]).FullName, "x"), "half");
        using (Tuning again = Open(settings with { SaveFormat = NumberFormat.F32 }))
        {
            Assert.All([.. left, ".model.fude", "checkpoints/.step-00000099.fude"], name => Assert.False(Path.Exists(_folder[$"run/{name}"]), name));
            Assert.True(again.Run());
        }
        Assert.Equal("half", File.ReadAllText(_folder["run/notes.tmp"]));
        Assert.Equal("mine", File.ReadAllText(Path.Combine(model, "my.gguf")));
        Assert.False(File.Exists(Path.Combine(model, "model-00002-of-00002.safetensors")));
        Assert.True(new FileInfo(Path.Combine(model, "model.safetensors")).Length > weights.Length);
        Assert.Contains("float32", File.ReadAllText(Path.Combine(model, "config.json")), StringComparison.Ordinal);
    }

    [Fact]
    public void Other_texts_in_place_of_those_replayed_are_refused_though_their_lengths_are_the_same()
    {
        string shard = _folder["texts"];
        using (TokenShardWriter writer = new(shard, TinyTuning.Vocabulary))
        {
            for (int i = 0; i < 10; i++) writer.Add([1, 20 + i, 30, 40, 2]);
            writer.Complete();
        }
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Replay = [shard], Epochs = 1 };
        using (Tuning run = Open(settings)) Assert.True(run.Run());
        byte[] good = File.ReadAllBytes(shard + ".bin"), bad = [.. good];
        bad[2] ^= 1;
        File.WriteAllBytes(shard + ".bin", bad);
        Assert.Contains("began with replay 1 tokens '", Assert.Throws<InvalidDataException>(() => Open(settings).Dispose()).Message, StringComparison.Ordinal);
        // Of a run that an earlier version began nobody knows what they were.
        Forget("replay 1 tokens");
        Open(settings).Dispose();
        File.WriteAllBytes(shard + ".bin", good);
        Assert.Throws<InvalidDataException>(() => Open(settings).Dispose());
    }

    [Fact]
    public void The_identity_that_an_earlier_version_wrote_is_the_one_of_today()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Lora = new LoraSettings(2, 4), Preference = null, TooLong = TooLong.Split };
        using (Tuning run = Open(settings)) Assert.True(run.Run());
        string[] lines = File.ReadAllLines(_folder["run/identity.json"]);
        foreach (string line in (string[])["\"base format\": \"\",", "\"too long\": \"Split\",", "\"both speakers\": \"True\",", "\"preference\": \"\",", "\"schedule\": \"Cosine\",",
            "\"lora\": \"rank 2, alpha 4, dropout 0, targets all\",", "\"AdamW\": \"AdamWOptions { Beta1 = 0.9, Beta2 = 0.95, Epsilon = 1E-08 }\",",
            "\"loss\": \"LossForm { LabelSmoothing = 0, ZLoss = 0 }\",", "\"precision\": \"f32\","])
            Assert.Contains($"  {line}", lines);
        Assert.Contains(lines, line => System.Text.RegularExpressions.Regex.IsMatch(line, "^  \"data 1\": \"[0-9a-f]{16}, weight 1, 24 examples\",$"));
    }

    [Fact]
    public void Why_there_is_nothing_to_learn_is_told()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Context = 8, TooLong = TooLong.Skip };
        UserLanguage.Fails(() => new TuningData(settings), $"{_data}: there is nothing to learn in it: 24 (longer than 8 tokens: left out): {_data}:1, {_data}:2, {_data}:3, ….",
            $"{_data}: 学習できるものがありません（24 件（8 トークンより長いため除外）: {_data}:1, {_data}:2, {_data}:3, …）。");
        string bad = _folder.Write("bad.jsonl", "{\n{\n");
        Assert.Contains("there is nothing to learn in it: 2 (broken JSON", Assert.Throws<InvalidDataException>(
            () => new TuningData(settings with { Data = [new DataSource(bad)], SkipBad = 9 })).Message, StringComparison.Ordinal);
        Assert.Contains("24 held out for evaluation", Assert.Throws<InvalidDataException>(
            () => new TuningData(settings with { Context = null, HeldOutShare = 0.999999999 })).Message, StringComparison.Ordinal);
        Assert.Contains("Nothing is held out", Assert.Throws<InvalidDataException>(
            () => new TuningData(settings with { Context = null, HeldOutShare = 0, Patience = 2 })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_begun_in_one_culture_goes_on_in_another_and_has_one_process_at_a_time()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Loss = new LossForm(0.1f, 0.01f) };
        using (Tuning run = Open(settings))
        {
            Assert.Contains("another process", Assert.Throws<IOException>(() => Open(settings)).Message, StringComparison.Ordinal);
            run.Run();
        }
        CultureInfo before = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = CultureInfo.GetCultureInfo("de-DE");
            using Tuning again = Open(settings);
            Assert.True(again.IsResumed);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_tuning_that_ends_early_writes_the_weights_of_its_best_evaluation(bool isAdapter)
    {
        // Answers that the others do not teach: learning those by heart makes these worse.
        string heldOut = _folder.Write("held-out.jsonl", """{"instruction": "犬と1", "output": "山川鳥魚山川鳥"}""");
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with
        {
            HeldOut = [heldOut],
            EvaluateEvery = 1,
            Patience = 3,
            Epochs = 20,
            Schedule = ScheduleForm.Constant,
            LearningRate = 3e-2,
            SaveFormat = NumberFormat.F32,
            Lora = isAdapter ? new LoraSettings(4) : null,
        };
        List<(long Step, double Loss, float[] Weights)> evaluations = [];
        using (Tuning run = Open(settings))
        {
            Assert.True(run.Run(report => evaluations.Add((report.Step, report.HeldOutLoss!.Value, [.. run.Model.Parameters.SelectMany(parameter => parameter.Values.ToArray())]))));
            Assert.True(run.EndedEarly);
            Assert.True(run.State.Step < run.Schedule.Steps);
            Assert.Equal(run.State.Step - 3, run.ResultStep);
            Assert.Equal(evaluations.Min(one => one.Loss), run.Evaluate());
        }
        (long step, _, float[] expected) = evaluations.MinBy(one => one.Loss);
        using Tuning again = Open(settings);
        Assert.Equal(step, again.ResultStep);
        Assert.True(again.Run());
        Assert.Equal(expected, again.Model.Parameters.SelectMany(parameter => parameter.Values.ToArray()));
        again.Model.Restore(again.ResultPath);
        Assert.Equal(expected, again.Model.Parameters.SelectMany(parameter => parameter.Values.ToArray()));
    }

    [Fact]
    public void The_best_on_other_held_out_examples_is_sought_anew()
    {
        string easy = _folder.Write("easy.jsonl", """{"instruction": "犬と1", "output": "猫です。"}"""), hard = _folder.Write("hard.jsonl", """{"instruction": "犬と1", "output": "山川鳥魚山川鳥"}""");
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { HeldOut = [easy], EvaluateEvery = 1, KeepsBest = true, CheckpointEvery = 1, SaveFormat = NumberFormat.F32 };
        double before;
        using (CancellationTokenSource stop = new())
        using (Tuning run = Open(settings))
        {
            Assert.False(run.Run(report =>
            {
                if (report.Step == 4) stop.Cancel();
            }, stop.Token));
            before = run.State.BestHeldOutLoss!.Value;
        }
        using (Tuning same = Open(settings)) Assert.Equal((null, before), (same.OtherBest, same.State.BestHeldOutLoss));
        List<(long Step, double Loss)> evaluations = [];
        using Tuning other = Open(settings with { HeldOut = [hard] });
        Assert.Equal((before, null), (other.OtherBest, other.State.BestHeldOutLoss));
        Assert.True(other.Run(report => evaluations.Add((report.Step, report.HeldOutLoss!.Value))));
        Assert.All(evaluations, one => Assert.True(one.Loss > before));
        Assert.Equal(evaluations.MinBy(one => one.Loss).Step, other.ResultStep);
    }

    [Fact]
    public void Preferences_that_are_held_out_are_judged_but_not_learnt_and_end_a_run_early()
    {
        string pairs = _folder.Write("pairs.jsonl", string.Join('\n', Enumerable.Range(0, 12).Select(i => $$"""{"prompt": "{{i}}は？", "chosen": "はい{{i}}", "rejected": "いいえ{{i}}"}""")));
        string other = _folder.Write("other.jsonl", """{"prompt": "犬は？", "chosen": "いいえ、山", "rejected": "はい、川"}""");
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], pairs) with
        {
            Preference = new PreferenceLoss(Beta: 0.3),
            HeldOut = [other],
            HeldOutShare = 0.2,
            EvaluateEvery = 1,
            Patience = 2,
            Epochs = 10,
            Batch = 3,
        };
        TuningData data = new(settings);
        int heldOut = data.Sources[0].HeldOut;
        Assert.InRange(heldOut, 1, 6);
        Assert.Equal((12, heldOut + 1), (data.Sources[0].Examples + heldOut, data.HeldOutPairs.Count));
        int judged = 0;
        List<StepReport> reports = [];
        using Tuning run = new(settings, data, judging: _ => judged++);
        Assert.Equal(13, judged);
        Assert.Equal(Math.Log(2), run.Evaluate()!.Value, 1e-6);
        Assert.True(run.Run(reports.Add));
        // The others are of the opposite opinion, and the more so the better the run learns.
        Assert.True(run.EndedEarly && run.State.Step < run.Schedule.Steps);
        Assert.Equal(reports.MinBy(report => report.HeldOutLoss).Step, run.ResultStep);
    }

    [Fact]
    public void Every_learnt_token_of_a_step_counts_the_same_however_the_step_is_divided()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["a"], _data) with { Epochs = 0.5 };
        float[] parts = Weights(settings), whole = Weights(settings with { Output = _folder["b"], TokensPerBatch = 100_000 });
        for (int i = 0; i < parts.Length; i++) Assert.Equal(whole[i], parts[i], 2e-3f);
        // One example of 2 tokens and one of 9: by tokens, not by examples.
        TuningData data = new(settings);
        InstructionLessons lessons = new(data.Examples, data.Mixture, 5, 1, 60);
        using TrainableModel model = TrainableModel.Load(_model);
        using CpuOps device = new(1);
        Learner learner = new(model, device);
        double sum = lessons.Next().Sum(lesson => lesson.Add(learner));
        TrainingExample[] step = [.. data.Mixture.Order(0).Take(5).Select(place => data.Examples[place.Source][place.Index])];
        RowLoss[] rows = [.. step.SelectMany(example => learner.Score(SupervisedBatch.Of(example.ToText())))];
        Assert.True(step.Select(example => example.Trained).Distinct().Count() > 1);
        Assert.Equal(-rows.Average(row => row.LogProbability), sum, 1e-5);
    }

    [Theory, InlineData("llama", QuantizationMix.Q4_0), InlineData("llama", QuantizationMix.Q8_0), InlineData("gpt2", QuantizationMix.Q4_0), InlineData("stablelm", QuantizationMix.Q4_K_M), InlineData("mistral", QuantizationMix.Q5_0)]
    public void An_adapter_on_a_quantised_base_has_the_gradients_of_one_on_the_same_numbers_widened(string family, QuantizationMix mix)
    {
        string folder = TinyTuning.Model(_folder, family, family), gguf = _folder["q.gguf"], widened = _folder["widened"];
        GgufExport.Write(ModelFolder.Open(folder), gguf, mix);
        _ = Directory.CreateDirectory(widened);
        File.Copy(Path.Combine(folder, "config.json"), Path.Combine(widened, "config.json"));
        // The base that the quantised numbers are: each read back as float32.
        using (LanguageModel quantised = ModelFolder.Open(folder).LoadModel(mix))
        using (TrainableModel plain = TrainableModel.Load(folder))
        using (IWeightStore store = ModelFolder.Open(folder).OpenWeights(mix))
        {
            foreach (Parameter parameter in plain.Parameters)
                if (!parameter.IsVector) store.Matrix(parameter.Name, parameter.Weight.Rows, parameter.Weight.Columns, parameter.IsTransposed).ToFloats().CopyTo(parameter.Values);
            plain.Save(widened);
        }
        byte[] config = new LoraSettings(2, 6).ToAdapterConfig(ModelFolder.Open(folder).Config, folder);
        SupervisedBatch batch = SupervisedBatch.Of(new LabelledText([3, 1, 400, 1500, 9, 2]), new LabelledText([8, 9, 7, 9, 3, 2], [-100, -100, 7, 9, 3, 2]));
        using CpuOps device = new(2);
        using TrainableModel expected = TrainableModel.LoadWithAdapter(widened, config, 5), loaded = TrainableModel.LoadWithAdapter(folder, config, 5, mix),
            file = TrainableModel.LoadWithAdapter(gguf, config, 5);
        foreach (TrainableModel model in (TrainableModel[])[expected, loaded, file])
        {
            // B is 0 at first, and A would have no gradient.
            Random random = new(7);
            foreach (Parameter parameter in model.Parameters)
                foreach (ref float value in parameter.Values) value = (float)(random.NextDouble() - 0.5);
            double loss = new Learner(model, device).Add(batch, 1.0 / batch.Targets.Length);
            Assert.True(double.IsFinite(loss));
        }
        Assert.Equal(expected.Parameters.Select(parameter => parameter.Name), file.Parameters.Select(parameter => parameter.Name));
        for (int i = 0; i < expected.Parameters.Count; i++)
        {
            // Products of training widen a weight to float32 before they multiply, so the numbers are the same to the bit.
            Assert.Equal(expected.Gradients.Numbers(i), loaded.Gradients.Numbers(i));
            Assert.True(expected.Gradients.Numbers(i).IndexOfAnyExcept(0f) >= 0);
            // A GGUF file of Llama has its heads in another order, which the reader turns back: the rows of a weight are whole blocks.
            Assert.Equal(expected.Gradients.Numbers(i), file.Gradients.Numbers(i));
        }
    }

    [Fact]
    public void An_adapter_is_trained_on_a_quantised_base_and_runs_on_it()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Lora = new LoraSettings(4), BaseFormat = QuantizationMix.Q4_0, Epochs = 6 };
        List<StepReport> reports = [];
        using (Tuning run = Open(settings)) Assert.True(run.Run(reports.Add));
        Assert.True(reports.TakeLast(3).Average(report => report.Loss) < reports[0].Loss - 0.5, $"{reports[0].Loss} → {reports[^1].Loss}");
        string adapter = Path.Combine(_folder["run"], "adapter");
        Assert.Equal("dialogue", PromptFormat.Guess(ModelFolder.Open(_model), adapter).Format.Name);
        using (LanguageModel model = ModelFolder.Open(_model).LoadModel(QuantizationMix.Q4_0, adapter)) Assert.NotNull(model.Adapter);
        // Merged, the model answers in the format of its adapter.
        LoraMerge.Write(ModelFolder.Open(_model), adapter, _folder["merged"]);
        Assert.Equal("dialogue", PromptFormat.Guess(ModelFolder.Open(_folder["merged"])).Format.Name);
        Assert.Throws<NotSupportedException>(() => Open(settings with { Lora = null, Output = _folder["b"] }));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Preferences_are_learnt_against_a_reference_that_is_judged_once(bool isAdapter)
    {
        string pairs = _folder.Write("pairs.jsonl", string.Join('\n', Enumerable.Range(0, 8).Select(i => $$"""{"prompt": "{{i}}は？", "chosen": "はい{{i}}", "rejected": "いいえ{{i}}"}""")));
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], pairs) with
        {
            Preference = new PreferenceLoss(Beta: 0.3),
            Lora = isAdapter ? new LoraSettings(4) : null,
            Epochs = 6,
            Batch = 3,
        };
        List<IReadOnlyList<KeyValuePair<string, double>>> curves = [];
        int judged = 0;
        using (Tuning run = new(settings, new TuningData(settings), judging: _ => judged++))
        {
            Assert.Equal(8, judged);
            List<StepReport> reports = [];
            Assert.True(run.Run(report =>
            {
                reports.Add(report);
                curves.Add(run.LastStep);
            }));
            // At first policy and reference are one.
            Assert.Equal(Math.Log(2), reports[0].Loss, 1e-6);
            Assert.True(reports[^1].Loss < 0.3, $"{reports[^1].Loss}");
        }
        Assert.Equal(["preference_accuracy", "margin", "reward_chosen", "reward_rejected"], curves[0].Select(curve => curve.Key));
        Assert.Equal(1, curves[^1][0].Value);
        Assert.True(curves[^1][1].Value > 1);
        // Taken up or begun anew, the same reference is not judged again; another model is.
        using (Tuning again = new(settings, new TuningData(settings), judging: _ => judged++)) Assert.Equal(again.Schedule.Steps, again.State.Step);
        Assert.Equal(8, judged);
        Assert.True(File.Exists(Path.Combine(_folder["run"], "reference.scores")));
        Assert.Equal("dialogue", PromptFormat.Guess(ModelFolder.Open(isAdapter ? _model : Path.Combine(_folder["run"], "model")),
            isAdapter ? Path.Combine(_folder["run"], "adapter") : null).Format.Name);
    }

    [Fact]
    public void A_loss_that_is_no_number_stops_the_run_and_names_the_examples()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Epochs = 1, Batch = 3, TokensPerBatch = 10_000 };
        using Tuning run = Open(settings);
        DivergenceException e = Assert.Throws<DivergenceException>(() => run.Run(report =>
        {
            if (report.Step == 5) run.Model.Parameters[1].Values[0] = float.NaN;
        }));
        Mixture mixture = new([(24, 1)], settings.Seed);
        foreach ((_, int index) in mixture.Order(0).Skip(15).Take(3)) Assert.Contains($"data.jsonl:{index + 1}", e.Message, StringComparison.Ordinal);
        Assert.Contains("step 6", e.Message, StringComparison.Ordinal);
        Assert.Contains("step-00000004", e.Message, StringComparison.Ordinal);
        Assert.Equal([2L, 4L], new Checkpoints(Path.Combine(_folder["run"], "checkpoints")).Steps);
    }

    [Fact]
    public void A_layer_for_an_adapter_that_the_model_has_not_is_a_slip_and_is_told_with_those_it_has()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data);
        foreach (string[] targets in (string[][])[["q_proj", "vproj"], ["vproj"]])
            UserLanguage.Fails(() => Open(settings with { Lora = new LoraSettings(2, Targets: targets) }),
                "target_modules (--lora-targets) names 'vproj', which is no linear layer of this model; there are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
                "（--lora-targets）の 'vproj' という線形層はこのモデルにありません。あるのは q_proj、k_proj、v_proj、o_proj、gate_proj、up_proj、down_proj");
    }

    [Theory, InlineData(0.03, 1, 0), InlineData(0.03, 33, 0), InlineData(0.03, 34, 2), InlineData(0.05, 100, 5), InlineData(1.0, 4, 3), InlineData(0.0, 4, 0)]
    public void A_warm_up_of_less_than_a_step_is_none(double share, long steps, long expected) => Assert.Equal(expected, Tuning.WarmUpSteps(share, steps));

    [Fact]
    public void A_run_of_one_step_learns()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data) with { Epochs = 1, Batch = 1000, WarmUp = 0.03 };
        using Tuning run = Open(settings);
        Assert.True(run.Run());
        Assert.Equal(1, run.State.Step);
        Assert.NotEqual(File.ReadAllBytes(Path.Combine(_model, "model.safetensors")), File.ReadAllBytes(Path.Combine(_folder["run"], "model", "model.safetensors")));
    }

    [Fact]
    public void What_cannot_be_tuned_is_said_before_any_weight_is_read()
    {
        TuningSettings settings = TinyTuning.Settings(_model, _folder["run"], _data);
        Assert.Contains("--format", Assert.Throws<ArgumentException>(() => new TuningData(settings with { Format = null })).Message, StringComparison.Ordinal);
        Assert.Contains("dialogue", Assert.Throws<ArgumentException>(() => new TuningData(settings with { Format = "vicuna" })).Message, StringComparison.Ordinal);
        Assert.Contains("context is 64", Assert.Throws<ArgumentException>(() => new TuningData(settings with { Context = 65 })).Message, StringComparison.Ordinal);
        Assert.Contains("nothing to learn", Assert.Throws<InvalidDataException>(() => new TuningData(settings with { Data = [new DataSource(_folder.Write("e.jsonl", "\n"))] })).Message, StringComparison.Ordinal);
        Assert.Contains("do not fit into 8", Assert.Throws<InvalidDataException>(() => new TuningData(settings with { Context = 8 })).Message, StringComparison.Ordinal);
        foreach ((string named, TuningSettings wrong) in (ReadOnlySpan<(string, TuningSettings)>)[
            ("learning rate is -1", settings with { LearningRate = -1 }), ("learning rate is not above 0", settings with { LearningRate = double.NaN }),
            ("warm-up is 7", settings with { WarmUp = 7 }), ("gradients is -1", settings with { ClipNorm = -1 }), ("dropout is 1", settings with { Dropout = 1 }),
            ("share to hold out is 1", settings with { HeldOutShare = 1 }), ("batch is 0", settings with { Batch = 0 }),
            ("preference loss is not of a beta above 0", settings with { Preference = new PreferenceLoss(Beta: 0) })])
            Assert.Contains(named, Assert.Throws<ArgumentException>(() => new TuningData(wrong)).Message, StringComparison.Ordinal);
        File.Delete(Path.Combine(_model, "tokenizer.model"));
        File.Delete(Path.Combine(_model, "tokenizer_config.json"));
        Assert.Contains("no tokenizer", Assert.Throws<InvalidDataException>(() => new TuningData(settings)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_vocabulary_smaller_than_the_tokenizer_s_is_refused()
    {
        string config = Path.Combine(_model, "config.json"), text = File.ReadAllText(config);
        File.WriteAllText(config, text.Replace("3600", "2000", StringComparison.Ordinal));
        Assert.Contains("do not belong together", Assert.Throws<InvalidDataException>(() => new TuningData(TinyTuning.Settings(_model, _folder["run"], _data))).Message, StringComparison.Ordinal);
    }

    // As an earlier version began the run, which did not note this.
    private void Forget(string trait, string? run = null)
    {
        string identity = Path.Combine(run ?? _folder["run"], "identity.json");
        JsonNode json = JsonNode.Parse(File.ReadAllText(identity))!;
        Assert.True(json.AsObject().Remove(trait));
        File.WriteAllText(identity, json.ToJsonString());
    }

    public void Dispose() => _folder.Dispose();

    private static Tuning Open(TuningSettings settings) => new(settings, new TuningData(settings));

    private static float[] Weights(TuningSettings settings)
    {
        using Tuning run = Open(settings);
        Assert.True(run.Run());
        return [.. run.Model.Parameters.SelectMany(parameter => parameter.Values.ToArray())];
    }
}
