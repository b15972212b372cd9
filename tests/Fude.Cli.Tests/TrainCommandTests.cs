using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Cli.Tests;

/// <summary>From texts to a model that writes, by the command line alone.</summary>
public sealed class TrainCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private string Texts()
    {
        string[] sentences = ["吾輩は猫である。", "名前はまだ無い。", "どこで生れたか頓と見当がつかぬ。", "何でも薄暗いじめじめした所で泣いていた。"];
        Random random = new(1);
        return _folder.Write("text.jsonl", string.Concat(Enumerable.Range(0, 300).Select(i =>
            $"{{\"text\":\"{string.Concat(Enumerable.Range(0, random.Next(1, 8)).Select(_ => sentences[random.Next(4)]))}{i}\"}}\n")));
    }

    private static async Task Succeed(params string[] arguments)
    {
        Fude.Result result = await Fude.Run(arguments);
        Assert.True(result.Status == 0, result.Error);
    }

    private async Task<string> Shard()
    {
        await Succeed("corpus", "hold-out", Texts(), "--train", _folder["train.jsonl.gz"], "--held-out", _folder["held.jsonl.gz"], "--share", "0.2");
        await Succeed("tokenizer", "train", _folder["train.jsonl.gz"], "--out", _folder["tokenizer"], "--vocab-size", "340", "--split-digits",
            "--no-dummy-prefix", "--add-bos", "--user-defined", "\\n", "--control", "<|user|>", "--padding", "<pad>");
        foreach (string name in (string[])["train", "held"])
            await Succeed("corpus", "tokenize", _folder[$"{name}.jsonl.gz"], "--tokenizer", _folder["tokenizer"], "--out", _folder[$"shards/{name}"]);
        return _folder["shards/train"];
    }

    private string Config(int vocabulary = 340) => _folder.Write("config.json", $$"""
        {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
         "vocab_size": {{vocabulary}}, "max_position_embeddings": 32, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}
        """);

    private string[] Train(string shard, params string[] more) =>
        ["train", "--config", Config(), "--tokenizer", _folder["tokenizer"], "--data", shard, "--held-out", _folder["shards/held"], "--out", _folder["run"],
         "--context", "32", "--rows", "8", "--learning-rate", "1e-2", "--evaluate-every", "20", "--checkpoint-every", "10", .. more];

    [Fact]
    public async Task Tokens_are_those_of_the_whole_run_also_where_the_batch_has_changed()
    {
        string shard = await Shard();
        await Succeed(Train(shard, "--tokens", "2560"));         // 10 steps of 8 rows of 32
        Fude.Result result = await Fude.Run(Rows(4, "3600"));
        Assert.True(result.Status == 0, result.Error);
        JsonNode state = JsonNode.Parse(File.ReadAllText(_folder["run/checkpoints/step-00000019/trainer.json"]))!;
        Assert.Equal((19, 2560 + (9 * 128)), ((int)state["step"]!, (int)state["tokens"]!));
        Assert.Contains("128 tokens a step, 19 steps", result.Error, StringComparison.Ordinal);
        // Nothing is left to do, whatever the batch.
        foreach (int rows in (int[])[8, 4, 1]) Assert.Equal(0, (await Fude.Run(Rows(rows, "3600"))).Status);
        Assert.Contains("the run is at step 19 already, with 3,712 tokens read, but 14 steps are asked for", (await Fude.Run(Rows(8, "2400"))).Error, StringComparison.Ordinal);

        string[] Rows(int rows, string tokens)
        {
            string[] train = Train(shard, "--tokens", tokens);
            train[Array.IndexOf(train, "--rows") + 1] = $"{rows}";
            return train;
        }
    }

    [Fact]
    public async Task A_new_model_begins_with_the_deviation_that_its_config_asks_for()
    {
        string shard = await Shard(), config = Config();
        // A rate of 0 leaves the numbers as they were drawn.
        string[] train = Train(shard, "--steps", "1");
        train[Array.IndexOf(train, "--learning-rate") + 1] = "0";
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"llama\",", "\"llama\", \"initializer_range\": 0.5,", StringComparison.Ordinal));
        await Succeed(train);
        Assert.Equal(0.5, Deviation(), 1);
        train[Array.IndexOf(train, "--out") + 1] = _folder["other"];
        await Succeed([.. train, "--initial-deviation", "0.1"]);
        Assert.Equal(0.1, Deviation("other"), 1);
        train[Array.IndexOf(train, "--out") + 1] = _folder["third"];
        File.WriteAllText(config, File.ReadAllText(config).Replace("0.5", "-1", StringComparison.Ordinal));
        Assert.Contains("initializer_range is -1; expected more than 0", (await Fude.Run(train)).Failure(), StringComparison.Ordinal);

        double Deviation(string run = "run")
        {
            using Checkpoint weights = Checkpoint.Open(_folder[$"{run}/model"]);
            return Math.Sqrt(weights.Tensors.Values.Single(tensor => tensor.Name.Contains("embed_tokens", StringComparison.Ordinal)).ToFloats().Average(number => (double)number * number));
        }
    }

    [Fact]
    public async Task Options_without_effect_are_wrong_usage()
    {
        string[] train = ["train", "--config", Config(), "--data", "x", "--out", _folder["run"], "--steps", "2"];
        foreach ((string[] more, string message) in ((string[], string)[])
        [
            (["--decay-steps", "1"], "--decay-steps is for --schedule wsd."),
            (["--schedule", "constant", "--final-rate", "0.1"], "--final-rate is for a rate that falls"),
            (["--held-out-tokens", "64"], "--held-out-tokens is for --held-out."),
            (["--evaluate-every", "5"], "--evaluate-every is for a run that is evaluated: give --held-out too."),
            (["--held-out", "x", "--evaluate-every", "0", "--patience", "2"], "--patience is for a run that is evaluated, but --evaluate-every is 0."),
            (["--held-out", "x", "--evaluate-every", "0", "--keep-best"], "--keep-best is for a run that is evaluated, but --evaluate-every is 0."),
        ])
            Assert.Contains(message, (await Fude.Run([.. train, .. more])).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("--initial-deviation is for a new model (--config).",
            (await Fude.Run("train", "--from", "x", "--data", "x", "--out", _folder["run"], "--steps", "2", "--initial-deviation", "0.1")).Failure(status: 2), StringComparison.Ordinal);
        // A context that the model has not is wrong usage too, though the model has to be read to see it.
        string shard = await Shard();
        Assert.Contains("Rows of 5000 tokens (--context) are asked for, but the model's context is 32.",
            (await Fude.Run("train", "--config", Config(), "--data", shard, "--out", _folder["run"], "--steps", "2", "--context", "5000", "--rows", "1")).Failure(status: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Texts_become_a_model_that_learnt_them_and_writes()
    {
        string shard = await Shard();
        await Succeed(Train(shard, "--steps", "60", "--warmup-tokens", "1280", "--schedule", "wsd"));
        JsonElement[] lines = [.. File.ReadLines(_folder["run/metrics.jsonl"]).Select(line => JsonDocument.Parse(line).RootElement)];
        Assert.Equal(60, lines.Length);
        Assert.Equal(0.0, lines[0].GetProperty("learning_rate").GetDouble());
        Assert.Equal(1e-2, lines[5].GetProperty("learning_rate").GetDouble(), 12);
        Assert.Equal([20, 40, 60], lines.Where(line => line.TryGetProperty("held_out_loss", out _)).Select(line => line.GetProperty("step").GetInt32()));
        Assert.True(lines[59].GetProperty("held_out_loss").GetDouble() < 0.5 * lines[0].GetProperty("loss").GetDouble());
        Assert.Contains("<svg", File.ReadAllText(_folder["run/report.html"]), StringComparison.Ordinal);
        Assert.Equal("bfloat16", JsonDocument.Parse(File.ReadAllBytes(_folder["run/model/config.json"])).RootElement.GetProperty("torch_dtype").GetString());
        Fude.Result written = await Fude.Run("generate", _folder["run/model"], "--prompt", "吾輩は猫である。", "--max-new-tokens", "5", "--json");
        Assert.Equal(1, written.Json.GetProperty("prompt_ids")[0].GetInt32());
        Assert.NotEmpty(written.Json.GetProperty("ids").EnumerateArray());
    }

    [Fact]
    public async Task A_run_with_rounded_products_learns_goes_on_and_is_another_than_one_without()
    {
        string shard = await Shard();
        await Succeed(Train(shard, "--steps", "40", "--schedule", "constant", "--precision", "bf16", "--threads", "1"));
        byte[] whole = File.ReadAllBytes(_folder["run/model/model.safetensors"]);
        Assert.True(JsonDocument.Parse(File.ReadLines(_folder["run/metrics.jsonl"]).Last()).RootElement.GetProperty("held_out_loss").GetDouble() < 3);
        Directory.Delete(_folder["run"], recursive: true);
        await Succeed(Train(shard, "--steps", "20", "--schedule", "constant", "--precision", "bf16"));
        await Succeed(Train(shard, "--steps", "40", "--schedule", "constant", "--precision", "bf16", "--threads", "2"));
        Assert.Equal(whole, File.ReadAllBytes(_folder["run/model/model.safetensors"]));
        Directory.Delete(_folder["run"], recursive: true);
        await Succeed(Train(shard, "--steps", "40", "--schedule", "constant"));
        Assert.NotEqual(whole, File.ReadAllBytes(_folder["run/model/model.safetensors"]));
    }

    [Fact]
    public async Task A_run_goes_on_can_be_made_longer_and_refuses_what_is_another_run()
    {
        string shard = await Shard();
        await Succeed(Train(shard, "--steps", "20", "--schedule", "constant"));
        await Succeed(Train(shard, "--steps", "30", "--schedule", "constant"));
        Assert.Equal(Enumerable.Range(1, 30), File.ReadLines(_folder["run/metrics.jsonl"]).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("step").GetInt32()));
        byte[] resumed = File.ReadAllBytes(_folder["run/model/model.safetensors"]);
        Directory.Delete(_folder["run"], recursive: true);
        await Succeed(Train(shard, "--steps", "30", "--schedule", "constant"));
        Assert.Equal(File.ReadAllBytes(_folder["run/model/model.safetensors"]), resumed);

        // It cannot go back: what it would write is of more steps than were asked for.
        Assert.Contains($"{_folder["run"]}: the run is at step 30 already, with 7,680 tokens read, but 20 steps are asked for. Ask for as many or more",
            (await Fude.Run(Train(shard, "--steps", "20", "--schedule", "constant"))).Failure(), StringComparison.Ordinal);
        Assert.Equal(resumed, File.ReadAllBytes(_folder["run/model/model.safetensors"]));

        Assert.Contains("began with --precision f32, and now there is --precision bf16", (await Fude.Run(Train(shard, "--steps", "40", "--precision", "bf16"))).Failure(), StringComparison.Ordinal);
        Assert.Contains("began with --seed", (await Fude.Run(Train(shard, "--steps", "40", "--seed", "2"))).Failure(), StringComparison.Ordinal);
        Assert.Contains("began with shard 1", (await Fude.Run(Train(_folder["shards/held"], "--steps", "40"))).Failure(), StringComparison.Ordinal);
        string[] other = Train(shard, "--steps", "40");
        Config(vocabulary: 344);
        Assert.Contains("began with config", (await Fude.Run(other)).Failure(), StringComparison.Ordinal);
        Config(vocabulary: 270);
        other[Array.IndexOf(other, "--out") + 1] = _folder["small"];
        Assert.Contains("has 340 entries, but the model's vocabulary has 270", (await Fude.Run(other)).Failure(status: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Settings_that_differ_from_those_of_the_run_so_far_are_told()
    {
        string shard = await Shard();
        await Succeed(Train(shard, "--steps", "3"));
        string told = (await Fude.Run([.. Train(shard, "--steps", "5", "--dropout", "0.1")])).Error;
        Assert.Contains("note: settings that differ from those of the run so far: --steps 3 → 5, ", told, StringComparison.Ordinal);
        Assert.Contains("dropout 0 → 0.1", told, StringComparison.Ordinal);
        Assert.Contains("ステップ 3 の後: 0.1", File.ReadAllText(_folder["run/report.html"]), StringComparison.Ordinal);
        Assert.DoesNotContain("note:", (await Fude.Run(Train(shard, "--steps", "5", "--dropout", "0.1"))).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_run_without_a_tokenizer_is_remarked()
    {
        string[] train = Train(await Shard(), "--steps", "2");
        int place = Array.IndexOf(train, "--tokenizer");
        Assert.True(place > 0);
        Assert.Contains("note: no --tokenizer: ", (await Fude.Run([.. train[..place], .. train[(place + 2)..]])).Error, StringComparison.Ordinal);
        Assert.False(File.Exists(_folder["run/model/tokenizer.json"]));
    }

    [Fact]
    public async Task A_file_is_no_folder_of_a_tokenizer_and_is_told_before_a_run_is_begun()
    {
        string[] train = [.. Train(await Shard(), "--steps", "2").Select(word => word == _folder["tokenizer"] ? _folder["tokenizer/tokenizer.json"] : word)];
        Assert.Contains($"{_folder["tokenizer/tokenizer.json"]} is a file: ", (await Fude.Run(train)).Failure(), StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["run"]));
    }

    [Fact]
    public async Task A_decay_longer_than_the_warm_up_leaves_is_refused_and_a_warm_up_is_as_long_as_asked_for()
    {
        string shard = await Shard();
        Assert.Contains("--decay-steps 10 is more than the 5 steps that a warm-up of 5 leaves of 10.",
            (await Fude.Run(Train(shard, "--schedule", "wsd", "--steps", "10", "--warmup-steps", "5", "--decay-steps", "10"))).Failure(status: 2), StringComparison.Ordinal);
        await Succeed(Train(shard, "--steps", "2", "--warmup-steps", "4"));
        Assert.Equal([0, 2.5e-3], File.ReadLines(_folder["run/metrics.jsonl"]).Select(line => (double)JsonNode.Parse(line)!["learning_rate"]!));
    }

    [Fact]
    public async Task A_decay_of_no_steps_is_none()
    {
        await Succeed(Train(await Shard(), "--steps", "20", "--schedule", "wsd", "--decay-steps", "0"));
        Assert.All(File.ReadLines(_folder["run/metrics.jsonl"]), line => Assert.Equal(1e-2, JsonDocument.Parse(line).RootElement.GetProperty("learning_rate").GetDouble()));
    }

    [Fact]
    public async Task A_new_GPT_2_begins_as_transformers_begins_it()
    {
        string shard = await Shard();
        string config = _folder.Write("gpt2.json", """{"model_type": "gpt2", "n_embd": 64, "n_layer": 8, "n_head": 2, "n_positions": 32, "vocab_size": 340, "eos_token_id": 2}""");
        await Succeed("train", "--config", config, "--tokenizer", _folder["tokenizer"], "--data", shard, "--out", _folder["run"], "--context", "32", "--rows", "1", "--steps", "1",
            "--learning-rate", "0", "--save-format", "f32");
        using Checkpoint weights = Checkpoint.Open(_folder["run/model"]);
        foreach ((string layer, double expected) in (ReadOnlySpan<(string, double)>)[("attn.c_attn", 0.02), ("mlp.c_fc", 0.02), ("attn.c_proj", 0.005), ("mlp.c_proj", 0.005)])
        {
            StoredTensor tensor = weights.Tensors.Values.Single(tensor => tensor.Name.EndsWith($"h.3.{layer}.weight", StringComparison.Ordinal));
            float[] numbers = tensor.ToFloats();
            Assert.Equal(expected, Math.Sqrt(numbers.Average(number => (double)number * number)), expected * 5 / Math.Sqrt(2.0 * numbers.Length));
        }
    }

    [Fact]
    public async Task A_model_is_trained_further_with_its_own_tokenizer()
    {
        string shard = await Shard();
        await Succeed(Train(shard, "--steps", "10"));
        await Succeed("train", "--from", _folder["run/model"], "--data", shard, "--out", _folder["more"], "--context", "32", "--rows", "2", "--steps", "3",
            "--learning-rate", "0", "--save-format", "bf16");
        Assert.Equal(File.ReadAllBytes(_folder["run/model/model.safetensors"]), File.ReadAllBytes(_folder["more/model/model.safetensors"]));
        Assert.True(File.Exists(_folder["more/model/tokenizer.json"]));
    }

    [Fact]
    public async Task Rows_are_as_long_as_the_model_reads_where_nothing_else_is_asked_for()
    {
        List<string> train = [.. Train(await Shard(), "--steps", "1")];
        train.RemoveRange(train.IndexOf("--context"), 2);
        await Succeed([.. train]);
        Assert.Equal("32", JsonDocument.Parse(File.ReadAllBytes(_folder["run/run.json"])).RootElement.GetProperty("settings").GetProperty("context").GetString());
    }

    [Fact]
    public async Task A_run_that_is_told_to_stop_writes_a_checkpoint_first_and_goes_on_from_it()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no SIGTERM to send.");
        string[] train = Train(await Shard(), "--steps", "100000");
        train[Array.IndexOf(train, "--checkpoint-every") + 1] = "1000000";
        ProcessStartInfo start = new(Path.Combine(AppContext.BaseDirectory, "fude"), train) { RedirectStandardError = true };
        using (Process run = Process.Start(start)!)
        {
            string metrics = _folder["run/metrics.jsonl"];
            while (!run.HasExited && (!File.Exists(metrics) || new FileInfo(metrics).Length == 0)) await Task.Delay(20, TestContext.Current.CancellationToken);
            using Process kill = Process.Start("kill", ["-TERM", run.Id.ToString(CultureInfo.InvariantCulture)]);
            string said = await run.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await run.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(run.ExitCode == 143, said);
            Assert.Contains("with a checkpoint", said, StringComparison.Ordinal);
        }
        int steps = File.ReadLines(_folder["run/metrics.jsonl"]).Count();
        string checkpoint = Assert.Single(Directory.GetDirectories(_folder["run/checkpoints"]));
        Assert.EndsWith($"-{steps:D8}", checkpoint, StringComparison.Ordinal);
        train[Array.IndexOf(train, "100000")] = (steps + 2).ToString(CultureInfo.InvariantCulture);
        await Succeed(train);
        Assert.Equal(steps + 2, File.ReadLines(_folder["run/metrics.jsonl"]).Count());
    }

    [Theory]
    [InlineData("--config", "x", "--from", "y", "--steps", "1")]
    [InlineData("--steps", "1")]
    [InlineData("--config", "x")]
    [InlineData("--config", "x", "--steps", "1", "--schedule", "cosin")]
    [InlineData("--config", "x", "--steps", "0")]
    [InlineData("--config", "x", "--steps", "1", "--rows", "-4")]
    [InlineData("--config", "x", "--steps", "1", "--learning-rate", "-1")]
    [InlineData("--config", "x", "--steps", "1", "--learning-rate", "NaN")]
    [InlineData("--config", "x", "--steps", "1", "--clip", "-1")]
    [InlineData("--config", "x", "--steps", "1", "--beta2", "1")]
    [InlineData("--config", "x", "--steps", "1", "--dropout", "1")]
    [InlineData("--config", "x", "--steps", "1", "--label-smoothing", "-0.1")]
    [InlineData("--config", "x", "--steps", "1", "--checkpoint-every", "0")]
    [InlineData("--config", "x", "--steps", "1", "--keep", "0")]
    [InlineData("--config", "x", "--steps", "1", "--warmup-steps", "-1")]
    [InlineData("--config", "x", "--steps", "1", "--warmup-steps", "1", "--warmup-tokens", "9")]
    public async Task Wrong_usage_is_told(params string[] more) =>
        _ = (await Fude.Run(["train", "--data", "x", "--out", _folder["run"], .. more])).Failure(status: 2);

    [Fact]
    public async Task A_tokenizer_that_did_not_make_the_shard_is_refused_before_a_run_is_begun_or_its_model_replaced()
    {
        string shard = await Shard();
        await Succeed("tokenizer", "train", _folder["train.jsonl.gz"], "--out", _folder["smaller"], "--vocab-size", "80", "--no-byte-fallback");
        string[] other = [.. Train(shard, "--steps", "1").Select(word => word == _folder["tokenizer"] ? _folder["smaller"] : word)];
        Assert.Contains($"{shard} is of another tokenizer than {_folder["smaller"]}", (await Fude.Run(other)).Failure(), StringComparison.Ordinal);
        ForgetTokenizers(shard);
        Fude.Result result = await Fude.Run(other);
        Assert.Contains("The shard is of another tokenizer.", result.Failure(), StringComparison.Ordinal);
        Assert.Contains(_folder["smaller"] + " has 80 entries", result.Failure(), StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["run"]));
    }

    // As shards of other programs are.
    private static void ForgetTokenizers(string shard)
    {
        foreach (string file in Directory.GetFiles(Path.GetDirectoryName(shard)!, "*.tokenizer")) File.Delete(file);
    }

    [Fact]
    public async Task A_run_that_ends_early_says_so()
    {
        // A step that learns nothing makes nothing better.
        Fude.Result result = await Fude.Run([.. Train(await Shard(), "--steps", "80", "--patience", "2").Select(word => word == "1e-2" ? "0" : word)]);
        Assert.Equal(0, result.Status);
        Assert.Contains("ended early after step 60 of 80: 2 evaluations in a row were not below the best held-out loss, ", result.Error, StringComparison.Ordinal);
        Assert.Contains("the weights of step 20 are written, which had the best held-out loss, ", result.Error, StringComparison.Ordinal);
        Assert.Contains("--patience is for a run that is evaluated: give --held-out too.",
            (await Fude.Run("train", "--config", Config(), "--data", "x", "--out", "y", "--steps", "9", "--patience", "2")).Failure(status: 2), StringComparison.Ordinal);
    }

    [Theory, InlineData("4", "the run is over and ends with its last weights"), InlineData("6", "the best is sought anew from here on")]
    public async Task Best_weights_that_were_not_kept_are_sought_anew_where_the_run_goes_on(string steps, string told)
    {
        string shard = await Shard();
        await Succeed(Train(shard, "--steps", "4"));
        Fude.Result result = await Fude.Run(Train(shard, "--steps", steps, "--keep-best"));
        Assert.Equal(0, result.Status);
        Assert.Matches($"note: the weights of the best held-out loss so far, [0-9.]+, are not kept beside the checkpoint; {told}\n", result.Error);
    }

    [Fact]
    public async Task Another_tokenizer_of_the_same_size_and_another_base_are_refused_on_resume()
    {
        string shard = await Shard();
        string[] train = Train(shard, "--steps", "4");
        await Succeed(train);
        await Succeed("tokenizer", "train", _folder["train.jsonl.gz"], "--out", _folder["other"], "--vocab-size", "340", "--split-digits",
            "--no-dummy-prefix", "--add-bos", "--user-defined", "\\n", "--control", "<|person|>", "--padding", "<pad>");
        string[] other = [.. train.Select(word => word == _folder["tokenizer"] ? _folder["other"] : word)];
        Assert.Contains($"{shard} is of another tokenizer", (await Fude.Run(other)).Failure(), StringComparison.Ordinal);
        ForgetTokenizers(shard);
        string told = (await Fude.Run(other)).Failure();
        Assert.Contains("began with tokenizer '", told, StringComparison.Ordinal);
        Assert.Contains($"({_folder["other"]}; these are fingerprints of what the files hold)", told, StringComparison.Ordinal);
        // What an earlier version began says nothing of it.
        string identity = _folder["run/identity.json"];
        JsonNode json = JsonNode.Parse(File.ReadAllText(identity))!;
        Assert.True(json.AsObject().Remove("tokenizer"));
        File.WriteAllText(identity, json.ToJsonString());
        await Succeed(train);
        Assert.Contains("began with tokenizer '", (await Fude.Run(other)).Failure(), StringComparison.Ordinal);

        // A base with the same config.json and other weights.
        string[] further = ["train", "--from", _folder["run/model"], "--data", shard, "--out", _folder["more"], "--context", "32", "--rows", "2", "--steps", "2"];
        await Succeed(further);
        await Succeed(further);
        byte[] weights = File.ReadAllBytes(_folder["run/model/model.safetensors"]);
        weights[^1] ^= 1;
        File.WriteAllBytes(_folder["run/model/model.safetensors"], weights);
        Assert.Contains("began with base weights '", (await Fude.Run(further)).Failure(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--steps", "x")]
    [InlineData("--rows", "2.5")]
    [InlineData("--learning-rate", "high")]
    [InlineData("--threads", "all")]
    public async Task What_is_no_number_is_told_of(string option, string value) =>
        Assert.Contains(option, (await Fude.Run(["train", "--data", "x", "--out", _folder["run"], "--config", "x", "--tokens", "9", option, value])).Failure(status: 2), StringComparison.Ordinal);

    [Fact]
    public async Task A_disk_that_is_really_full_leaves_the_last_checkpoint_from_which_the_run_goes_on()
    {
        string[] rest = Train(await Shard(), "--schedule", "constant", "--steps", "30");
        await Succeed([.. rest.Select(word => word == _folder["run"] ? _folder["whole"] : word)]);
        await Succeed([.. rest.SkipLast(1), "10"]);
        byte[] checkpoint = File.ReadAllBytes(_folder["run/checkpoints/step-00000010/model.safetensors"]);
        (int status, string said) = await Fude.RunOnFullDisk(40_000, rest);
        Assert.True(status == 1, said);
        Assert.True(said.Contains("The checkpoint of step 20 could not be written: ", StringComparison.Ordinal), said);
        Assert.Contains($"Make room on the disk, and the same command goes on from {_folder["run/checkpoints/step-00000010"]}, which is as it was.", said, StringComparison.Ordinal);
        Assert.Equal(["step-00000010"], Directory.EnumerateFileSystemEntries(_folder["run/checkpoints"]).Select(Path.GetFileName));
        Assert.Equal(checkpoint, File.ReadAllBytes(_folder["run/checkpoints/step-00000010/model.safetensors"]));
        await Succeed(rest);
        Assert.Equal(File.ReadAllBytes(_folder["whole/model/model.safetensors"]), File.ReadAllBytes(_folder["run/model/model.safetensors"]));
        Assert.Equal(30, File.ReadLines(_folder["run/metrics.jsonl"]).Count());
    }

    [Fact]
    public async Task Broken_lines_that_are_passed_over_are_counted()
    {
        string texts = _folder.Write("broken.jsonl", "{\"text\": \"吾輩は猫である。\"}\n{\"text\": \"名前は\n{\"text\": 1}\n");
        string[] split = ["corpus", "hold-out", texts, "--train", _folder["a.jsonl"], "--held-out", _folder["b.jsonl"]];
        string told = (await Fude.Run(split)).Failure();
        Assert.Contains("broken.jsonl:2: broken JSON (column 14: Expected end of string, but instead reached end of data). Correct the line", told, StringComparison.Ordinal);
        Assert.Contains("--skip-bad", told, StringComparison.Ordinal);
        Fude.Result result = await Fude.Run([.. split, "--skip-bad", "2"]);
        Assert.Equal(0, result.Status);
        Assert.EndsWith($"; 2 broken lines skipped: {texts}:2, {texts}:3\n", result.Output, StringComparison.Ordinal);
        _ = await Shard();
        result = await Fude.Run("corpus", "tokenize", texts, "--tokenizer", _folder["tokenizer"], "--out", _folder["some"], "--skip-bad", "2");
        Assert.Equal(0, result.Status);
        Assert.Contains("; 2 broken lines skipped", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Texts_that_are_not_there_are_named()
    {
        Assert.Contains("none.jsonl", (await Fude.Run("tokenizer", "train", _folder["none.jsonl"], "--out", _folder["t"])).Failure(), StringComparison.Ordinal);
        Assert.Contains("none.jsonl", (await Fude.Run(
            "corpus", "hold-out", _folder["none.jsonl"], "--train", _folder["a.jsonl"], "--held-out", _folder["b.jsonl"])).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Files_of_a_corpus_that_are_there_are_replaced_by_force_only()
    {
        string texts = Texts(), mine = _folder.Write("mine.jsonl", "吾輩は猫である。");
        string[] split = ["corpus", "hold-out", texts, "--train", _folder["new.jsonl"], "--held-out", mine];
        Assert.Contains($"{mine} is there already: choose another name, or replace it with --force.", (await Fude.Run(split)).Failure(), StringComparison.Ordinal);
        Assert.Equal("吾輩は猫である。", File.ReadAllText(mine));
        Assert.False(File.Exists(_folder["new.jsonl"]));
        await Succeed([.. split, "--force"]);
        Assert.StartsWith("{", File.ReadAllText(mine), StringComparison.Ordinal);

        string shard = await Shard();
        string[] nameless = ["corpus", "tokenize", mine, "--tokenizer", _folder["tokenizer"], "--out", _folder["nameless/"]];
        Assert.Contains("names a folder and no shard", (await Fude.Run(nameless)).Failure(status: 2), StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["nameless"]));
        byte[] before = File.ReadAllBytes(shard + ".bin");
        string[] tokenize = ["corpus", "tokenize", mine, "--tokenizer", _folder["tokenizer"], "--out", shard];
        Assert.Contains($"{shard}.bin is there already", (await Fude.Run(tokenize)).Failure(), StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(shard + ".bin"));
        await Succeed([.. tokenize, "--force"]);
        Assert.NotEqual(before, File.ReadAllBytes(shard + ".bin"));
        string notes = _folder.Write("notes.tokenizer", "mine");
        Assert.Contains($"{notes} is there already", (await Fude.Run([.. tokenize[..^1], _folder["notes"]])).Failure(), StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(notes));
    }

    [Fact]
    public async Task A_shard_that_is_held_out_and_learnt_from_is_told_also_under_another_name()
    {
        string shard = await Shard(), copy = _folder["shards/copy"];
        foreach (string ending in (string[])[".bin", ".idx"])
        {
            File.Copy(shard + ending, copy + ending);
            File.CreateSymbolicLink(_folder[$"shards/link{ending}"], shard + ending);
        }
        Fude.Result result = await Fude.Run([.. Train(shard, "--steps", "1"), "--held-out", shard + ".bin", copy, _folder["shards/link"]]);
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains($"note: held out, but also learnt from: {shard}.bin, {copy}, {_folder["shards/link"]}; ", result.Error, StringComparison.Ordinal);
        Assert.Contains("0.021 M weights; ", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("also learnt from", (await Fude.Run(Train(shard, "--steps", "1"))).Error, StringComparison.Ordinal);
        string said = (await Fude.RunInJapanese([.. Train(shard, "--steps", "2"), "--held-out", shard])).Said;
        Assert.Contains($"注意: 検証用ですが、学習用のデータにもあります: {shard}。", said, StringComparison.Ordinal);
        Assert.Contains(" 周、ステップ 1 から", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_step_and_one_document_of_one_character_are_no_plurals()
    {
        Assert.Contains(" tokens a step, 1 step = ", (await Fude.Run(Train(await Shard(), "--steps", "1"))).Error, StringComparison.Ordinal);
        string text = _folder.Write("one.txt", "猫\n");
        Assert.Contains("1 document (1 character) to train on, 0 (0) held out",
            (await Fude.Run("corpus", "hold-out", text, "--train", _folder["1.jsonl"], "--held-out", _folder["0.jsonl"], "--share", "0")).Output, StringComparison.Ordinal);
        Assert.Contains("1 document, 2 tokens, ",
            (await Fude.Run("corpus", "tokenize", text, "--tokenizer", _folder["tokenizer"], "--out", _folder["one"], "--no-end")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_config_that_is_a_folder_or_no_config_is_told_by_its_name()
    {
        string[] train = ["train", "--data", _folder["none"], "--steps", "1", "--out", _folder["run"], "--config"];
        Assert.Contains($"{_folder.Path} is a folder", (await Fude.Run([.. train, _folder.Path])).Failure(), StringComparison.Ordinal);
        string text = _folder.Write("t.txt", "吾輩は"), odd = _folder.Write("tiny.json", File.ReadAllText(Config()).Replace("\"num_attention_heads\": 2", "\"num_attention_heads\": 5", StringComparison.Ordinal));
        Assert.Contains($"{text} is not valid JSON", (await Fude.Run([.. train, text])).Failure(), StringComparison.Ordinal);
        Assert.Contains($"{odd}: num_attention_heads is 5", (await Fude.Run([.. train, odd])).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_run_that_cannot_be_written_is_told_before_anything_is_read()
    {
        string file = _folder.Write("run", "");
        string[] train = ["train", "--config", _folder["none.json"], "--data", _folder["none"], "--steps", "1", "--out"];
        Assert.Contains($"{file} is a file: give the name of a folder to write.", (await Fude.Run([.. train, file])).Failure(), StringComparison.Ordinal);
        string within = _folder["run/a/b"];
        Assert.Contains($"{within} cannot be written: {file} is a file.", (await Fude.Run([.. train, within])).Failure(), StringComparison.Ordinal);
        Assert.Contains($"fude: {file} はファイルです。書き出すフォルダーの名前を指定してください。", (await Fude.RunInJapanese([.. train, file])).Said, StringComparison.Ordinal);
    }
}
