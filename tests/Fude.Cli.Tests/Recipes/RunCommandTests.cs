using System.Diagnostics;
using Fude.TestData;

namespace Fude.Cli.Tests;

/// <summary>A small recipe, done once: tests of what is done after it begin with a copy.</summary>
public sealed class DoneRecipe : IAsyncLifetime
{
    private const string Recipe = """
        {
          "variables": { "data": "data", "work": "work" },
          "steps": [
            { "step": "hold-out", "files": ["${data}/text.jsonl"], "share": 0.2, "train": "${work}/train.jsonl", "held-out": "${work}/held-out.jsonl" },
            { "step": "tokenizer", "files": ["${work}/train.jsonl"], "vocab-size": 320, "out": "${work}/tokenizer", "user-defined": ["\n"], "threads": 1 },
            { "step": "tokenize", "name": "shard", "files": ["${work}/train.jsonl"], "tokenizer": "${work}/tokenizer", "out": "${work}/shards/train" },
            { "step": "tokenize", "name": "held-out shard", "files": ["${work}/held-out.jsonl"], "tokenizer": "${work}/tokenizer", "out": "${work}/shards/held-out" },
            {
              "step": "train", "out": "${work}/run", "tokenizer": "${work}/tokenizer", "data": ["${work}/shards/train"], "held-out": ["${work}/shards/held-out"],
              "config": { "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "vocab_size": 320, "max_position_embeddings": 256 },     // small enough for a test
              "context": 16, "rows": 2, "steps": 6, "checkpoint-every": 2, "evaluate-every": 3, "learning-rate": 1e-2
            },
            { "step": "tune", "model": "${work}/run/model", "data": ["${data}/sft.jsonl", "${data}/sft.jsonl:0.5"], "format": "alpaca", "batch": 4, "epochs": 1,
              "too-long": "cut", "out": "${work}/tuning" },
            { "step": "quantize", "model": "${work}/tuning/model", "gguf": "${work}/model.gguf", "format": "f16" },
            { "step": "evaluate", "files": ["${work}/held-out.jsonl"], "ngrams": ["${work}/train.jsonl"], "model": "${work}/run/model", "out": "${work}/evaluation.md" }
          ]
        }
        """;

    private readonly TemporaryFolder _folder = new();

    /// <summary>Writes the recipe and its data.</summary>
    /// <returns>The recipe.</returns>
    public static string Write(TemporaryFolder folder)
    {
        string[] words = ["吾輩", "は", "猫", "である", "名前", "まだ", "無い", "。", "どこ", "で", "生れた", "か", "とんと", "見当", "が", "つかぬ"];
        Random random = new(1);
        _ = Directory.CreateDirectory(folder["data"]);
        folder.Write("data/text.jsonl", string.Concat(Enumerable.Range(0, 120).Select(_ =>
            $"{{\"text\": \"{string.Concat(Enumerable.Range(0, 30).Select(_ => words[random.Next(words.Length)]))}\"}}\n")));
        folder.Write("data/sft.jsonl", string.Concat(Enumerable.Range(0, 8).Select(i => $"{{\"instruction\": \"猫{i}\", \"output\": \"である{i}\"}}\n")));
        return folder.Write("recipe.json", Recipe);
    }

    /// <summary>Copies what the recipe made.</summary>
    public void CopyTo(string work)
    {
        foreach (string file in Directory.EnumerateFiles(_folder["work"], "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(work, Path.GetRelativePath(_folder["work"], file));
            _ = Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
    }

    public async ValueTask InitializeAsync()
    {
        Fude.Result result = await Fude.Run("run", Write(_folder));
        Assert.True(result.Status == 0, result.Error);
    }

    public ValueTask DisposeAsync()
    {
        _folder.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>Recipes that are run: what is done, what is left as it is, and what is done again.</summary>
public sealed class RunCommandTests : IClassFixture<DoneRecipe>, IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly DoneRecipe _done;
    private readonly string _file;

    public RunCommandTests(DoneRecipe done) => (_done, _file) = (done, DoneRecipe.Write(_folder));

    [Fact]
    public async Task A_recipe_makes_a_model_and_then_has_nothing_left_to_do()
    {
        Assert.All(await Steps("--dry-run"), step => Assert.EndsWith(": to be done", step, StringComparison.Ordinal));
        Assert.False(Directory.Exists(_folder["work"]));
        Fude.Result first = await Run();
        Assert.True(first.Status == 0, first.Error);
        Assert.Equal(8, first.Error.Split(": begins\n").Length - 1);
        Assert.True(File.Exists(_folder["work/run/model/model.safetensors"]));
        Assert.True(File.Exists(_folder["work/run/model/tokenizer.json"]));
        Assert.True(File.Exists(_folder["work/run/report.html"]));
        Assert.True(File.Exists(_folder["work/tuning/model/model.safetensors"]));
        Assert.NotEmpty((await Fude.Run("logits", _folder["work/model.gguf"], "--ids", "1", "--json")).Output);
        Assert.NotEmpty((await Fude.Run("logits", _folder["work/run/model"], "--ids", "1", "--json")).Output);

        Assert.Contains("| held-out |", await File.ReadAllTextAsync(_folder["work/evaluation.md"]), StringComparison.Ordinal);

        DateTime written = File.GetLastWriteTimeUtc(_folder["work/run/model/model.safetensors"]);
        Assert.Equal(8, (await Run()).Error.Split(": up to date\n").Length - 1);
        Assert.All(await Steps("--dry-run"), step => Assert.EndsWith(": up to date", step, StringComparison.Ordinal));
        Assert.Equal(written, File.GetLastWriteTimeUtc(_folder["work/run/model/model.safetensors"]));
        Assert.DoesNotContain(Directory.EnumerateFileSystemEntries(_folder["work"]), path => path.EndsWith(".old", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_text_to_calibrate_with_lies_beside_the_recipe_and_its_changes_are_noticed()
    {
        _done.CopyTo(_folder["work"]);
        Edit("\"format\": \"f16\"", "\"format\": \"q4_0\"");
        Assert.True((await Run()).Status == 0);
        Edit("\"format\": \"q4_0\"", "\"format\": \"q4_0\", \"calibrate\": true");
        Assert.Contains("to be done", (await States())[6], StringComparison.Ordinal);
        Assert.True((await Run()).Status == 0);
        Assert.Contains("up to date", (await States())[6], StringComparison.Ordinal);
        Edit("\"calibrate\": true", "\"calibrate\": \"data/calibration.txt\"");
        Assert.Contains("calibration.txt is not there, and no step writes it", (await Run()).Failure(), StringComparison.Ordinal);
        _folder.Write("data/calibration.txt", string.Concat(Enumerable.Repeat("猫は見当がつかぬ。", 40)));
        Assert.True((await Run()).Status == 0);
        Assert.Contains("up to date", (await States())[6], StringComparison.Ordinal);
        _folder.Write("data/calibration.txt", string.Concat(Enumerable.Repeat("吾輩は猫である。", 40)));
        Assert.Contains("to be done", (await States())[6], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Only_what_has_changed_is_done_again_and_what_was_there_is_moved_aside()
    {
        _done.CopyTo(_folder["work"]);
        // What no result depends on is no change.
        Edit("\"threads\": 1", "\"threads\": 2");
        Assert.Equal(["up to date", "up to date", "up to date", "up to date", "up to date", "up to date", "up to date", "up to date"], await States());
        // A document more is another tokenizer and so on.
        File.AppendAllText(_folder["data/text.jsonl"], "{\"text\": \"吾輩はここで始めて人間というものを見た。\"}\n");
        byte[] model = File.ReadAllBytes(_folder["work/run/model/model.safetensors"]);
        Fude.Result again = await Run();
        Assert.True(again.Status == 0, again.Error);
        Assert.True(again.Error.Split(": begins\n").Length - 1 >= 4, again.Error);
        Assert.Equal(model, File.ReadAllBytes(_folder["work/run.old/model/model.safetensors"]));
        Assert.NotEqual(model, File.ReadAllBytes(_folder["work/run/model/model.safetensors"]));
    }

    [Fact]
    public async Task A_result_that_was_changed_or_lost_is_made_again()
    {
        _done.CopyTo(_folder["work"]);
        byte[] model = File.ReadAllBytes(_folder["work/run/model/model.safetensors"]);
        File.Delete(_folder["work/shards/held-out.bin"]);
        Directory.Delete(_folder["work/run/model"], recursive: true);
        string[] states = await States();
        Assert.Equal(["up to date", "up to date", "up to date", $"to be done ({_folder["work/shards/held-out"]} is missing)",
            $"to go on ({_folder["work/run/model"]} is missing)"], states[..5]);
        Assert.All(states[5..], state => Assert.Equal("to be done if the result of an earlier step changes", state));
        await Done();
        Assert.Equal(model, File.ReadAllBytes(_folder["work/run/model/model.safetensors"]));
        File.AppendAllText(_folder["work/tokenizer/tokenizer.json"], " ");
        await Done();
        Assert.Equal(model, File.ReadAllBytes(_folder["work/run/model/model.safetensors"]));
    }

    [Fact]
    public async Task A_dry_run_says_why_a_step_is_to_be_done_and_what_only_may_have_to_be()
    {
        _done.CopyTo(_folder["work"]);
        const string Perhaps = "to be done if the result of an earlier step changes";
        File.Delete(_folder["work/held-out.jsonl"]);
        string[] states = await States();
        // The tokenizer reads train.jsonl alone, which the same step writes.
        Assert.Equal([$"to be done ({_folder["work/held-out.jsonl"]} is missing)", Perhaps, Perhaps, Perhaps, Perhaps, Perhaps, Perhaps, Perhaps], states);
        Fude.Result result = await Run();
        Assert.Contains("[1/8] hold-out: begins\n", result.Error, StringComparison.Ordinal);
        Assert.Equal(7, result.Error.Split(": up to date\n").Length - 1);
        Edit("\"format\": \"f16\"", "\"format\": \"q4_0\"");
        Assert.Equal("to be done (its settings are others)", (await States())[6]);
        Assert.Contains("[7/8] quantize: 実行する（設定が前と違う）\n", (await Fude.RunInJapanese("run", _file, "--dry-run")).Said, StringComparison.Ordinal);
        Edit("\"format\": \"q4_0\"", "\"format\": \"f16\"");
        File.AppendAllText(_folder["work/evaluation.md"], "more");
        Assert.Equal($"to be done ({_folder["work/evaluation.md"]} was changed)", (await States())[7]);
        File.AppendAllText(_folder["data/sft.jsonl"], "{\"instruction\": \"犬\", \"output\": \"である\"}\n");
        states = await States();
        Assert.Equal(($"to be done ({_folder["data/sft.jsonl"]} is another)", Perhaps), (states[5], states[6]));
    }

    // A longer run begins like the shorter one: it goes on from its checkpoint.
    [Fact]
    public async Task Training_goes_on_where_only_its_schedule_is_another()
    {
        Edit("\"learning-rate\": 1e-2", "\"learning-rate\": 1e-2, \"schedule\": \"constant\"");
        await Done();
        Edit("\"steps\": 6", "\"steps\": 9");
        Fude.Result longer = await Run();
        Assert.Contains("[5/8] train: goes on\n", longer.Error, StringComparison.Ordinal);
        Assert.Equal(9, File.ReadLines(_folder["work/run/metrics.jsonl"]).Count());
        Assert.False(Directory.Exists(_folder["work/run.old"]));
        byte[] model = File.ReadAllBytes(_folder["work/run/model/model.safetensors"]);
        Directory.Delete(_folder["work"], recursive: true);
        await Done();
        Assert.Equal(File.ReadAllBytes(_folder["work/run/model/model.safetensors"]), model);
    }

    [Fact]
    public async Task A_step_that_fails_is_named_with_its_place_and_the_next_run_begins_there()
    {
        string text = await File.ReadAllTextAsync(_folder["data/text.jsonl"]);
        await File.WriteAllTextAsync(_folder["data/text.jsonl"], text + "nonsense\n");
        string failure = (await Fude.Run("run", _file)).Error.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1];
        Assert.Contains("recipe.json:4:5: the step 'hold-out' failed: ", failure, StringComparison.Ordinal);
        Assert.Contains("text.jsonl:121", failure, StringComparison.Ordinal);
        string japanese = (await Fude.RunInJapanese("run", _file)).Said;
        Assert.Contains("recipe.json:4:5: 手順 'hold-out' が失敗しました: ", japanese, StringComparison.Ordinal);
        Assert.Contains("text.jsonl:121: JSON が壊れています（", japanese, StringComparison.Ordinal);
        Assert.Contains("読み飛ばしてよい行数を 'skip-bad' N で指定してください。", japanese, StringComparison.Ordinal);
        await File.WriteAllTextAsync(_folder["data/text.jsonl"], text);
        await Done();
        Edit("\"vocab-size\": 320", "\"vocab-size\": 300000");
        Fude.Result wrong = await Run();
        Assert.Contains("the step 'tokenizer' failed: 'vocab-size' is 300000, but this text yields ", wrong.Error, StringComparison.Ordinal);
        Edit("\"vocab-size\": 300000", "\"vocab-size\": 320");
        await Done();
    }

    [Fact]
    public async Task A_damaged_state_is_named_and_without_it_nothing_is_overwritten()
    {
        _done.CopyTo(_folder["work"]);
        string state = _folder["work/tokenizer.step.json"];
        byte[] good = File.ReadAllBytes(state);
        foreach (string damaged in (string[])["", "{", "[]", "{\"done\": true}", "{\"done\": 1, \"settings\": null}"])
        {
            File.WriteAllText(state, damaged);
            Fude.Result result = await Run();
            Assert.Equal(1, result.Status);
            Assert.Contains("tokenizer.step.json: is not the state of a recipe's step", result.Error, StringComparison.Ordinal);
        }
        // What it advises is so, also where the file was removed.
        Assert.Contains($"With --adopt tokenizer what lies at {_folder["work/tokenizer"]} is kept", (await Run()).Error, StringComparison.Ordinal);
        Assert.Contains("--adopt tokenizer を付けると、", (await Fude.RunInJapanese("run", _file)).Said, StringComparison.Ordinal);
        Assert.Equal(0, (await Run("--adopt", "tokenizer")).Status);
        Assert.Equal(good, File.ReadAllBytes(state));
        File.Delete(state);
        // Told before the first step, and by --dry-run too; what is adopted there is shown.
        foreach (string[] options in (string[][])[[], ["--dry-run"], ["--adopt", "shard"]])
        {
            Fude.Result foreign = await Run(options);
            Assert.Equal((1, ""), (foreign.Status, foreign.Output));
            Assert.Contains($"{_folder["work/tokenizer"]} is there already, and no step of a recipe made it", foreign.Error, StringComparison.Ordinal);
            Assert.Contains("--adopt tokenizer", foreign.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("[1/8]", foreign.Error, StringComparison.Ordinal);
        }
        Assert.Equal("[2/8] tokenizer: to be taken as it is", (await Steps("--dry-run", "--adopt", "tokenizer"))[1]);
        Assert.Equal(0, (await Run("--until", "hold-out")).Status);
        Assert.True(File.Exists(_folder["work/tokenizer/tokenizer.json"]));
        Assert.Equal(0, (await Run("--adopt", "tokenizer")).Status);
        Assert.Equal(good, File.ReadAllBytes(state));
    }

    [Fact]
    public async Task A_training_in_the_midst_whose_state_is_damaged_goes_on_when_it_is_adopted()
    {
        _done.CopyTo(_folder["work"]);
        byte[] model = File.ReadAllBytes(_folder["work/run/model/model.safetensors"]), state = File.ReadAllBytes(_folder["work/run.step.json"]);
        Directory.Delete(_folder["work/run/model"], recursive: true);
        File.WriteAllText(_folder["work/run.step.json"], "{");
        Fude.Result result = await Run("--adopt", "train");
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("[5/8] train: goes on\n", result.Error, StringComparison.Ordinal);
        Assert.Equal(model, File.ReadAllBytes(_folder["work/run/model/model.safetensors"]));
        Assert.Equal(state, File.ReadAllBytes(_folder["work/run.step.json"]));
        // Without a run there is nothing to adopt.
        Directory.Delete(_folder["work/run"], recursive: true);
        Assert.Contains("the step 'train' has no result", (await Run("--adopt", "train")).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_moved_aside_before_is_not_deleted()
    {
        _done.CopyTo(_folder["work"]);
        _ = Directory.CreateDirectory(_folder["work/tokenizer.old"]);
        string precious = _folder.Write("work/tokenizer.old/precious.txt", "mine");
        byte[] first = File.ReadAllBytes(_folder["work/tokenizer/tokenizer.json"]);
        Edit("\"vocab-size\": 320, \"out\"", "\"vocab-size\": 318, \"out\"");
        Fude.Result result = await Run("--until", "shard");
        Assert.True(result.Status == 0, result.Error);
        Assert.Equal("mine", File.ReadAllText(precious));
        Assert.Equal(first, File.ReadAllBytes(_folder["work/tokenizer.old2/tokenizer.json"]));
        Assert.Contains($"what was at {_folder["work/tokenizer"]} is now {_folder["work/tokenizer.old2"]}", result.Error, StringComparison.Ordinal);
        // All of a shard goes to one name.
        Assert.Equal(["train.bin.old", "train.idx.old", "train.tokenizer.old"], Directory.GetFiles(_folder["work/shards"], "*.old*").Select(Path.GetFileName).Order());
        Edit("\"vocab-size\": 318, \"out\"", "\"vocab-size\": 316, \"out\"");
        Assert.Equal(0, (await Run("--until", "tokenizer")).Status);
        Assert.Equal(first, File.ReadAllBytes(_folder["work/tokenizer.old2/tokenizer.json"]));
        Assert.True(File.Exists(_folder["work/tokenizer.old3/tokenizer.json"]));
    }

    [Fact]
    public async Task A_shard_that_no_longer_says_whose_it_is_is_made_again()
    {
        _done.CopyTo(_folder["work"]);
        File.Delete(_folder["work/shards/train.tokenizer"]);
        string[] states = await States();
        Assert.Equal(["up to date", "up to date", $"to be done ({_folder["work/shards/train.tokenizer"]} is missing)", "up to date"], states[..4]);
        Assert.All(states[4..], state => Assert.Equal("to be done if the result of an earlier step changes", state));
        Assert.Equal(0, (await Run("--until", "shard")).Status);
        Assert.True(File.Exists(_folder["work/shards/train.tokenizer"]));
        Assert.All(await States(), state => Assert.Equal("up to date", state));
        // Where a version made the shard that knew nothing of it, all is as it was.
        string file = _folder["work/shards/train.step.json"], state = await File.ReadAllTextAsync(file);
        int begin = state.LastIndexOf(',', state.IndexOf("\"out.tokenizer\"", StringComparison.Ordinal));
        await File.WriteAllTextAsync(file, state.Remove(begin, state.IndexOf('}', begin) - begin));
        Assert.DoesNotContain("out.tokenizer", await File.ReadAllTextAsync(file), StringComparison.Ordinal);
        Assert.All(await States(), state => Assert.Equal("up to date", state));
        File.Delete(_folder["work/shards/train.tokenizer"]);
        Assert.All(await States(), state => Assert.Equal("up to date", state));
    }

    [Fact]
    public async Task Fewer_steps_than_were_done_are_an_error_and_the_model_stays()
    {
        _done.CopyTo(_folder["work"]);
        byte[] model = File.ReadAllBytes(_folder["work/run/model/model.safetensors"]);
        Edit("\"steps\": 6", "\"steps\": 4");
        Assert.Contains("the step 'train' failed: " + _folder["work/run"] + ": the run is at step 6 already, with 192 tokens read, but 4 steps are asked for. Ask for as many or more ('steps', 'tokens')",
            (await Run()).Error, StringComparison.Ordinal);
        Edit("\"steps\": 4", "\"steps\": 6");
        await Done();
        Assert.Equal(model, File.ReadAllBytes(_folder["work/run/model/model.safetensors"]));
    }

    [Fact]
    public async Task A_step_that_was_killed_goes_on_or_begins_again()
    {
        _done.CopyTo(_folder["work"]);
        byte[] model = File.ReadAllBytes(_folder["work/run/model/model.safetensors"]);
        // As a kill leaves them: begun and not done, a half-written tokenizer, a run with checkpoints.
        foreach (string state in (string[])["work/tokenizer.step.json", "work/run.step.json"])
            File.WriteAllText(_folder[state], File.ReadAllText(_folder[state]).Replace("\"done\": true", "\"done\": false", StringComparison.Ordinal));
        File.Delete(_folder["work/tokenizer/tokenizer_config.json"]);
        Directory.Delete(_folder["work/run/model"], recursive: true);
        Fude.Result result = await Run();
        Assert.Contains("[2/8] tokenizer: begins\n", result.Error, StringComparison.Ordinal);
        Assert.Contains("[5/8] train: goes on\n", result.Error, StringComparison.Ordinal);
        Assert.Equal(model, File.ReadAllBytes(_folder["work/run/model/model.safetensors"]));
    }

    // A process of its own, which is ended as the kernel ends one: in the midst of training.
    [Fact]
    public async Task A_run_that_is_really_killed_ends_with_the_same_model()
    {
        Edit("\"steps\": 6", "\"steps\": 40");
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "fude.dll"), "run", _file, "--set", $"work={_folder["killed"]}"])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        using (Process process = Process.Start(start)!)
        {
            Task<string> error = process.StandardError.ReadToEndAsync(), output = process.StandardOutput.ReadToEndAsync();
            string checkpoints = _folder["killed/run/checkpoints"];
            while (!process.HasExited && !(Directory.Exists(checkpoints) && Directory.EnumerateDirectories(checkpoints, "step-*").Any())) await Task.Delay(5);
            process.Kill();
            await process.WaitForExitAsync();
            _ = await output;
            Assert.Contains("train: begins", await error, StringComparison.Ordinal);
        }
        Fude.Result rest = await Run("--set", $"work={_folder["killed"]}");
        Assert.True(rest.Status == 0, rest.Error);
        Assert.Contains("[2/8] tokenizer: up to date\n", rest.Error, StringComparison.Ordinal);
        await Done();
        foreach (string file in (string[])["run/model/model.safetensors", "tuning/model/model.safetensors", "model.gguf", "evaluation.md"])
            Assert.Equal(File.ReadAllBytes(_folder[$"work/{file}"]), File.ReadAllBytes(_folder[$"killed/{file}"]));
        Assert.Equal(40, File.ReadLines(_folder["killed/run/metrics.jsonl"]).Count());
    }

    [Fact]
    public async Task The_data_may_lie_elsewhere_and_a_run_may_end_early()
    {
        Directory.Move(_folder["data"], _folder["elsewhere"]);
        Fude.Result result = await Run("--set", $"data={_folder["elsewhere"]}", "--until", "tokenizer");
        Assert.True(result.Status == 0, result.Error);
        Assert.True(File.Exists(_folder["work/tokenizer/tokenizer.json"]));
        Assert.False(Directory.Exists(_folder["work/shards"]));
    }

    public void Dispose() => _folder.Dispose();

    private Task<Fude.Result> Run(params string[] options) => Fude.Run(["run", _file, .. options]);

    private async Task Done()
    {
        Fude.Result result = await Run();
        Assert.True(result.Status == 0, result.Error);
    }

    private async Task<string[]> Steps(params string[] options) => (await Run(options)).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private async Task<string[]> States() => [.. (await Steps("--dry-run")).Select(line => line[(line.IndexOf(": ", StringComparison.Ordinal) + 2)..])];

    private void Edit(string old, string changed)
    {
        string text = File.ReadAllText(_file);
        Assert.Contains(old, text, StringComparison.Ordinal);
        File.WriteAllText(_file, text.Replace(old, changed, StringComparison.Ordinal));
    }
}
