using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Fude.Models;
using Fude.TestData;
using Fude.Training;

namespace Fude.Cli.Tests;

/// <summary>fude tune and fude dpo as a user calls them.</summary>
public sealed class TuneCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _model, _data;

    public TuneCommandTests()
    {
        _model = _folder["base"];
        byte[] config = """
            {"model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
             "vocab_size": 3600, "max_position_embeddings": 64, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}
            """u8.ToArray();
        using (TrainableModel model = TrainableModel.Create(config, new InitialNumbers(1, 0.1f))) model.Save(_model);
        File.Copy(TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!, Path.Combine(_model, "tokenizer.model"));
        File.WriteAllText(Path.Combine(_model, "tokenizer_config.json"),
            """{"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": true}""");
        StringBuilder lines = new();
        for (int i = 0; i < 12; i++) lines.Append(System.Globalization.CultureInfo.InvariantCulture, $"{{\"instruction\": \"犬と{i}\", \"output\": \"猫です。\"}}\n");
        _data = _folder.Write("data.jsonl", lines.ToString());
    }

    [Fact]
    public async Task A_model_is_tuned_says_what_it_learnt_from_and_then_chats_in_its_format()
    {
        string run = _folder["run"];
        string[] command = ["tune", _model, "--data", $"{_data}:2", "--format", "dialogue", "--out", run, "--epochs", "20", "--batch", "4", "--learning-rate", "1e-2", "--threads", "2"];
        Fude.Result result = await Fude.Run(command);
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("12 examples × 2", result.Error, StringComparison.Ordinal);
        Assert.Contains($"wrote {Path.Combine(run, "model")}", result.Error, StringComparison.Ordinal);
        // Its rows come from two places: what the command notes, and what the page makes of it.
        string report = File.ReadAllText(Path.Combine(run, "report.html"));
        foreach (string told in (ReadOnlySpan<string>)[$"{_data} の例", " 例、検証用 0 例、", "<td>cosine<", "<td>error<", "<td>bf16<"]) Assert.Contains(told, report, StringComparison.Ordinal);
        foreach (string file in (ReadOnlySpan<string>)["metrics.jsonl", "report.html", "run.json", "identity.json", "model/prompt_format.json", "model/chat_template.jinja", "model/tokenizer.model"])
            Assert.True(File.Exists(Path.Combine(run, file)), file);
        Fude.Result chat = await Fude.RunWith("犬と3\n", "chat", Path.Combine(run, "model"), "--max-new-tokens", "8");
        Assert.Equal("猫です。\n", chat.Output);
        Assert.Contains("run/model, prompt format dialogue. /help ", chat.Error, StringComparison.Ordinal);

        // The same command finds everything done; another one is refused.
        Assert.Equal(0, (await Fude.Run(command)).Status);
        Fude.Result other = await Fude.Run([.. command, "--seed", "2"]);
        Assert.Equal(1, other.Status);
        Assert.Contains("began with --seed 1, and now there is --seed 2", other.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_generation_config_goes_with_the_model_and_a_bad_one_is_told_before_anything_is_learnt()
    {
        string run = _folder["run"], generation = _folder.Write("generation.json", "\uFEFF{\"max_new_tokens\": 3}");
        string[] command = ["tune", _model, "--data", _data, "--format", "dialogue", "--out", run, "--epochs", "0.4", "--batch", "4"];
        string unknown = _folder.Write("unknown.json", """{"max_new_tokns": 3}"""), broken = _folder.Write("broken.json", "{");
        Assert.Contains("max_new_tokns", (await Fude.Run([.. command, "--generation-config", unknown])).Failure(), StringComparison.Ordinal);
        Assert.Contains("broken.json", (await Fude.Run([.. command, "--generation-config", broken])).Failure(), StringComparison.Ordinal);
        Assert.Contains($"{_model} is a folder", (await Fude.Run([.. command, "--generation-config", _model])).Failure(), StringComparison.Ordinal);
        Assert.Contains("adapter", (await Fude.Run([.. command, "--generation-config", generation, "--lora-rank", "4"])).Failure(), StringComparison.Ordinal);
        Assert.False(Directory.Exists(run));
        Fude.Result result = await Fude.Run([.. command, "--generation-config", generation]);
        Assert.True(result.Status == 0, result.Error);
        Assert.Equal("{\"max_new_tokens\": 3}", Encoding.UTF8.GetString(File.ReadAllBytes(Path.Combine(run, "model", "generation_config.json"))));
        using JsonDocument written = JsonDocument.Parse((await Fude.Run("generate", Path.Combine(run, "model"), "犬", "--json")).Output);
        Assert.InRange(written.RootElement.GetProperty("ids").GetArrayLength(), 1, 3);
    }

    [Fact]
    public async Task An_adapter_is_tuned_beside_a_quantised_base_and_chats_with_it()
    {
        string run = _folder["run"];
        Fude.Result result = await Fude.Run("tune", _model, "--data", _data, "--format", "alpaca", "--system", "", "--out", run, "--lora-rank", "8", "--weights", "q8_0", "--epochs", "40",
            "--batch", "4", "--learning-rate", "2e-2", "--lora-targets", "q_proj,v_proj,down_proj,o_proj");
        Assert.True(result.Status == 0, result.Error);
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(run, "adapter", "adapter_config.json")));
        Assert.Equal((8, 16), (config.RootElement.GetProperty("r").GetInt32(), config.RootElement.GetProperty("lora_alpha").GetInt32()));
        Fude.Result chat = await Fude.RunWith("犬と3\n", "chat", _model, "--adapter", Path.Combine(run, "adapter"), "--weights", "q8_0", "--max-new-tokens", "8");
        Assert.Equal("猫です。\n", chat.Output);
        Assert.Contains("base with run/adapter, prompt format alpaca.", chat.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Preferences_change_which_answer_comes()
    {
        string pairs = _folder.Write("pairs.jsonl", string.Concat(Enumerable.Range(0, 8).Select(i => $"{{\"prompt\": \"犬と{i}\", \"chosen\": \"はい\", \"rejected\": \"猫です。\"}}\n")));
        Fude.Result result = await Fude.Run("dpo", _model, "--data", pairs, "--format", "dialogue", "--out", _folder["run"], "--epochs", "5", "--batch", "4",
            "--learning-rate", "1e-2", "--loss", "ipo", "--beta", "0.2");
        Assert.True(result.Status == 0, result.Error);
        string last = File.ReadLines(Path.Combine(_folder["run"], "metrics.jsonl")).Last();
        using JsonDocument metrics = JsonDocument.Parse(last);
        Assert.Equal(1, metrics.RootElement.GetProperty("preference_accuracy").GetDouble());
        Assert.True(File.Exists(Path.Combine(_folder["run"], "reference.scores")));
        Assert.Equal("dialogue", PromptFormat.Guess(ModelFolder.Open(Path.Combine(_folder["run"], "model"))).Format.Name);
    }

    [Fact]
    public async Task The_audit_marks_what_is_learnt_and_trains_nothing()
    {
        string talk = _folder.Write("talk.jsonl", """{"messages": [{"role": "user", "content": "あ\nい"}, {"role": "assistant", "content": "は\u001b[2Jい"}, {"role": "user", "content": "う"}, {"role": "assistant", "content": "え"}]}""");
        Fude.Result result = await Fude.Run("tune", _model, "--data", talk, _data, "--format", "dialogue", "--audit", "1");
        Assert.True(result.Status == 0, result.Error);
        string shown = result.Output.Replace("|", "", StringComparison.Ordinal).Replace("·", "", StringComparison.Ordinal).Replace("▁", "", StringComparison.Ordinal);      // a further byte of a character; the dummy prefix
        Assert.Contains("<s>ユーザー：あ␊\nい␊\n応答：⟦は␦[2Jい</s>⟧␊\nユーザー：う␊\n応答：⟦え</s>⟧\n", shown, StringComparison.Ordinal);
        Assert.Contains("応答：⟦猫です。</s>⟧", shown, StringComparison.Ordinal);
        Assert.Contains("12 examples", shown, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', result.Output);

        Fude.Result json = await Fude.Run("tune", _model, "--data", talk, "--format", "dialogue", "--audit", "--json", "--last-answer-only");
        JsonElement example = Assert.Single(json.JsonLines);
        Assert.Equal(example.GetProperty("ids").GetArrayLength(), example.GetProperty("labels").GetArrayLength());
        Assert.Equal(2, example.GetProperty("labels").EnumerateArray().Last().GetInt32());
        Assert.Equal("え</s>".Length, example.GetProperty("answers")[1][1].GetInt32() - example.GetProperty("answers")[1][0].GetInt32());

        using StringWriter output = new() { NewLine = "\n" }, error = new();
        using MemoryStream input = new();
        Assert.Equal(0, await new FudeProgram(new Terminal(input, output, error, OutputIsScreen: true)).RunAsync(["tune", _model, "--data", talk, "--format", "dialogue", "--audit"]));
        Assert.Contains("\e[30;42m", output.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("\e[2J", output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_audit_shows_what_is_left_of_long_and_held_out_conversations()
    {
        string talk = _folder.Write("talk.jsonl", """
            {"messages": [{"role": "user", "content": "犬は犬ですか。"}, {"role": "assistant", "content": "はい"}, {"role": "user", "content": "猫は猫ですか。"}, {"role": "assistant", "content": "はい"}]}
            {"instruction": "猫", "output": ""}
            """);
        string[] audit = ["tune", _model, "--data", talk, "--skip-bad", "1", "--format", "dialogue", "--audit", "9", "--json"];
        Fude.Result result = await Fude.Run(audit);
        JsonElement whole = Assert.Single(result.JsonLines);
        Assert.Contains($"left out: 1 (\"output\" is empty): {talk}:2", result.Error, StringComparison.Ordinal);
        int length = whole.GetProperty("ids").GetArrayLength(), most = length - 1;
        JsonElement cut = Assert.Single((await Fude.Run([.. audit, "--context", $"{most}", "--too-long", "cut"])).JsonLines);
        Assert.Equal(most, cut.GetProperty("ids").GetArrayLength());
        Assert.Equal(most, cut.GetProperty("labels").GetArrayLength());
        Assert.Equal(2, (await Fude.Run([.. audit, "--context", $"{most}", "--too-long", "split"])).JsonLines.Count);
        Assert.False(whole.TryGetProperty("held_out", out _));

        string[] some = ["tune", _model, "--data", _data, "--format", "dialogue", "--audit", "99", "--held-out-share", "0.5"];
        result = await Fude.Run([.. some, "--json"]);
        int heldOut = result.JsonLines.Count(line => line.TryGetProperty("held_out", out _));
        Assert.InRange(heldOut, 1, result.JsonLines.Count - 1);
        Assert.Equal(heldOut, (await Fude.Run(some)).Output.Split("held out: none learnt").Length - 1);
    }

    [Fact]
    public async Task A_share_that_holds_out_nothing_is_told()
    {
        string[] command = ["tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["run"], "--held-out-share", "1e-9"];
        Assert.Contains("Nothing is held out: a share of 1E-09 of so few records is none.", (await Fude.Run([.. command, "--keep-best"])).Failure(), StringComparison.Ordinal);
        string empty = _folder.Write("empty.jsonl", "\n");
        Assert.Contains($"{empty}: there is nothing in it to evaluate on.", (await Fude.Run([.. command[..^2], "--held-out", empty])).Failure(), StringComparison.Ordinal);
        Fude.Result result = await Fude.Run(command);
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("note: a share of 1E-09 of so few records is none: nothing is held out", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Texts_are_replayed_from_shards()
    {
        string text = _folder.Write("text.txt", string.Concat(Enumerable.Range(0, 60).Select(i => $"犬と猫が{i}匹いる。\n")));
        Assert.Equal(0, (await Fude.Run("corpus", "tokenize", text, "--tokenizer", _model, "--out", _folder["text"])).Status);
        string[] command = ["tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["run"]];
        Assert.Contains("--replay", (await Fude.Run([.. command, "--replay-share", "0.5"])).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("below 1", (await Fude.Run([.. command, "--replay", _folder["text"], "--replay-share", "1"])).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("none.idx", (await Fude.Run([.. command, "--replay", _folder["none"]])).Failure(), StringComparison.Ordinal);
        Fude.Result result = await Fude.Run([.. command, "--replay", _folder["text"], "--replay-share", "0.5"]);
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains($"{_folder["text"]}: ", result.Error, StringComparison.Ordinal);
        Assert.Contains("replay-share", File.ReadAllText(Path.Combine(_folder["run"], "report.html")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Control_tokens_in_texts_are_told()
    {
        string talk = _folder.Write("talk.jsonl", """
            {"instruction": "やあ", "output": "はい</s>だめ"}
            {"instruction": "やあ", "output": "はい"}
            {"instruction": "<s>やあ</s>", "output": "はい"}
            """);
        string[] command = ["tune", _model, "--data", talk, "--format", "dialogue", "--audit", "1"];
        Fude.Result result = await Fude.Run(command);
        Assert.Contains($"note: 2 (its text has </s>, which is taken as the control token, not as text): {talk}:1, {talk}:3\n", result.Output, StringComparison.Ordinal);
        Assert.Contains($"note: 1 (its text has <s>, which is taken as the control token, not as text): {talk}:3\n", result.Output, StringComparison.Ordinal);
        Assert.Contains($"注意 2 件（本文中の </s> は、文字列ではなく制御トークンとして扱われます）: {talk}:1, {talk}:3", (await Fude.RunInJapanese(command)).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Preferences_are_sent_to_dpo()
    {
        string pairs = _folder.Write("pairs.jsonl", """{"prompt": "犬は？", "chosen": "はい", "rejected": "いいえ"}""");
        string[] command = ["tune", _model, "--data", pairs, "--format", "dialogue", "--audit"];
        Assert.Contains($"{pairs}:1: it is a preference (chosen and rejected): use fude dpo.", (await Fude.Run(command)).Failure(), StringComparison.Ordinal);
        Assert.Contains("選好データ（chosen と rejected）です。fude dpo を使ってください", (await Fude.RunInJapanese(command)).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_is_left_out_without_a_word()
    {
        string bad = _folder.Write("bad.jsonl", $"{File.ReadAllText(_data)}{{broken\n{{\"instruction\": \"あ\", \"output\": \"\"}}\n{{\"instruction\": \"{new string('犬', 99)}\", \"output\": \"猫\"}}\n");
        string[] command = ["tune", _model, "--data", bad, "--format", "dialogue", "--out", _folder["run"]];
        Assert.Contains($"{bad}:13: broken JSON (column 2: 'b' is an invalid start of a property name. Expected a '\"'). Correct it", (await Fude.Run(command)).Failure(), StringComparison.Ordinal);
        Assert.Contains($"{bad}:15: its ", (await Fude.Run([.. command, "--skip-bad", "2"])).Failure(), StringComparison.Ordinal);
        Fude.Result result = await Fude.Run([.. command, "--skip-bad", "2", "--too-long", "skip"]);
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains($"left out: 1 (broken JSON): {bad}:13", result.Error, StringComparison.Ordinal);
        Assert.Contains($"left out: 1 (\"output\" is empty): {bad}:14", result.Error, StringComparison.Ordinal);
        Assert.Contains($"note: 1 (longer than 64 tokens: left out): {bad}:15", result.Error, StringComparison.Ordinal);
        Assert.Contains("broken JSON", File.ReadAllText(Path.Combine(_folder["run"], "report.html")), StringComparison.Ordinal);

        // Under Japanese the reasons are Japanese.
        (int status, string said) = await Fude.RunInJapanese([.. command[..^1], _folder["ja"], "--skip-bad", "2", "--too-long", "skip"]);
        Assert.True(status == 0, said);
        Assert.Contains($"除外 1 件（JSON が壊れています）: {bad}:13", said, StringComparison.Ordinal);
        Assert.Contains($"除外 1 件（\"output\" が空です）: {bad}:14", said, StringComparison.Ordinal);
        Assert.Contains($"注意 1 件（64 トークンより長いため除外）: {bad}:15", said, StringComparison.Ordinal);
        Assert.Contains($"fude: {bad}:13: JSON が壊れています（2 文字目", (await Fude.RunInJapanese([.. command[..^1], _folder["ja2"]])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_that_is_really_full_leaves_the_last_checkpoint_from_which_the_tuning_goes_on()
    {
        string[] command = ["tune", _model, "--data", _data, "--format", "dialogue", "--epochs", "4", "--batch", "4", "--learning-rate", "1e-2", "--checkpoint-every", "5", "--out"];
        Assert.Equal(0, (await Fude.Run([.. command, _folder["whole"]])).Status);
        (int status, string said) = await Fude.RunOnFullDisk(100_000, [.. command, _folder["run"]]);
        Assert.True(status == 1 && said.Contains("The checkpoint of step 5 could not be written: ", StringComparison.Ordinal), said);
        Assert.Contains("Make room on the disk, and the same command begins anew, for there is no checkpoint before.", said, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_folder["run/checkpoints"]));

        // As a run leaves it that was killed after its first checkpoint.
        Assert.Equal(0, (await Fude.Run([.. command, _folder["run"], "--keep", "9"])).Status);
        Directory.Delete(_folder["run/model"], recursive: true);
        foreach (string later in Directory.EnumerateDirectories(_folder["run/checkpoints"]))
            if (!later.EndsWith("00000005", StringComparison.Ordinal)) Directory.Delete(later, recursive: true);
        byte[] checkpoint = File.ReadAllBytes(_folder["run/checkpoints/step-00000005/model.safetensors"]);
        (status, said) = await Fude.RunOnFullDisk(100_000, [.. command, _folder["run"]]);
        Assert.True(status == 1 && said.Contains("The checkpoint of step 10 could not be written: ", StringComparison.Ordinal), said);
        Assert.Contains($"the same command goes on from {_folder["run/checkpoints/step-00000005"]}, which is as it was.", said, StringComparison.Ordinal);
        Assert.Equal(["step-00000005"], Directory.EnumerateFileSystemEntries(_folder["run/checkpoints"]).Select(Path.GetFileName));
        Assert.Equal(checkpoint, File.ReadAllBytes(_folder["run/checkpoints/step-00000005/model.safetensors"]));
        Assert.Equal(0, (await Fude.Run([.. command, _folder["run"]])).Status);
        Assert.Equal(File.ReadAllBytes(_folder["whole/model/model.safetensors"]), File.ReadAllBytes(_folder["run/model/model.safetensors"]));
    }

    [Fact]
    public async Task A_tuning_that_ends_early_says_which_step_is_kept()
    {
        string heldOut = _folder.Write("held-out.jsonl", """{"instruction": "犬と1", "output": "山川鳥魚山川鳥"}""");
        string[] command = ["tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["run"], "--epochs", "40", "--batch", "4", "--learning-rate", "3e-2",
            "--held-out", heldOut, "--evaluate-every", "1", "--patience", "3"];
        Fude.Result result = await Fude.Run(command);
        Assert.True(result.Status == 0, result.Error);
        Match ended = Regex.Match(result.Error, "ended early after step ([0-9]+) of 120: 3 evaluations in a row were not below the best held-out loss, ([0-9.]+)\n"
            + "the weights of step ([0-9]+) are written, which had the best held-out loss, [0-9.]+\nloss on what is held out ([0-9.]+)\n");
        Assert.True(ended.Success, result.Error);
        Assert.Equal(int.Parse(ended.Groups[1].Value, CultureInfo.InvariantCulture) - 3, int.Parse(ended.Groups[3].Value, CultureInfo.InvariantCulture));
        Assert.Equal(ended.Groups[2].Value, ended.Groups[4].Value);
        Assert.Contains("--keep-best is for a run that is evaluated", (await Fude.Run("tune", _model, "--data", _data, "--out", "x", "--keep-best")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--label-smoothing is for --loss sigmoid",
            (await Fude.Run("dpo", _model, "--data", _data, "--out", "x", "--loss", "ipo", "--label-smoothing", "0.1")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--patience is for a run that is evaluated", (await Fude.Run("dpo", _model, "--data", _data, "--out", "x", "--patience", "2")).Failure(2), StringComparison.Ordinal);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_terminal_that_is_closed_ends_a_run_with_a_checkpoint_unless_it_is_to_go_on(bool ignores)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no signals to send.");
        Assert.SkipWhen(!ignores && Interrupts.IgnoresHangUp(), "SIGHUP is ignored here, as under nohup, and so it is in what the tests start.");
        string fude = Path.Combine(AppContext.BaseDirectory, "fude"), metrics = _folder["run/metrics.jsonl"];
        string[] tune = ["tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["run"], "--epochs", "100000", "--batch", "4", "--checkpoint-every", "1000000"];
        // As nohup has it.
        ProcessStartInfo start = ignores ? new("/bin/sh", ["-c", "trap '' HUP; exec \"$@\"", "sh", fude, .. tune]) : new(fude, tune);
        start.RedirectStandardError = true;
        using Process run = Process.Start(start)!;
        while (!run.HasExited && (!File.Exists(metrics) || new FileInfo(metrics).Length == 0)) await Task.Delay(20, TestContext.Current.CancellationToken);
        // What it says goes nowhere any more, as on a terminal that is gone.
        if (!ignores) run.StandardError.Close();
        foreach (string signal in ignores ? (string[])["-HUP", "-TERM"] : ["-HUP"])
            using (Process kill = Process.Start("kill", [signal, run.Id.ToString(CultureInfo.InvariantCulture)]))
                await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
        await run.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(ignores ? 143 : 129, run.ExitCode);
        Assert.EndsWith($"-{File.ReadLines(metrics).Count():D8}", Assert.Single(Directory.GetDirectories(_folder["run/checkpoints"])), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("2>&-", 1, "inspect", "NONE")]
    [InlineData(">&-", 0, "inspect", "MODEL")]
    [InlineData(">&- 2>&-", 0, "inspect", "MODEL")]
    [InlineData("<&- >&- 2>&-", 2, "inspect", "--nonsense")]
    public async Task A_stream_that_is_closed_at_the_start_takes_everything(string closed, int status, params string[] command)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells which streams were closed.");
        string[] words = [.. command.Select(word => word == "MODEL" ? _model : word == "NONE" ? _folder["none"] : word)];
        ProcessStartInfo start = new("/bin/sh", ["-c", $"exec \"$@\" {closed}", "sh", Path.Combine(AppContext.BaseDirectory, "fude"), .. words]);
        start.RedirectStandardError = start.RedirectStandardOutput = true;
        using Process run = Process.Start(start)!;
        Task<string> error = run.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken), output = run.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await run.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal((status, "", ""), (run.ExitCode, await output, await error));
    }

    [Fact]
    public async Task A_run_of_another_command_in_the_folder_is_called_that()
    {
        string[] common = [_model, "--data", _data, "--format", "dialogue", "--out", _folder["run"], "--epochs", "1", "--batch", "4", "--held-out-share", "0.1"];
        Assert.Equal(0, (await Fude.Run(["tune", .. common])).Status);
        string pairs = _folder.Write("pairs.jsonl", """{"prompt": "犬", "chosen": "はい", "rejected": "猫です。"}""");
        Assert.Contains("this folder holds a run of fude tune, not of fude dpo", (await Fude.Run(["dpo", .. common.Select(word => word == _data ? pairs : word)])).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_run_of_one_step_of_one_example_is_no_plural()
    {
        string one = _folder.Write("one.jsonl", File.ReadLines(_data).First());
        Fude.Result result = await Fude.Run("tune", _model, "--data", one, "--format", "dialogue", "--out", _folder["run"], "--batch", "1");
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("1 example × 1; ", result.Error, StringComparison.Ordinal);
        Assert.Contains("; 1 step of 1 example\n", result.Error, StringComparison.Ordinal);
        Assert.Contains("note: little is learnt in 1 step: a smaller --batch or more --epochs give more of them, and a higher --learning-rate (now 0.00002) teaches more in each\n",
            result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_step_has_no_more_examples_than_the_run_and_a_run_of_many_steps_is_not_warned_of()
    {
        Fude.Result result = await Fude.Run("tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["few"]);
        Assert.Contains("; 1 step of 12 examples\n", result.Error, StringComparison.Ordinal);
        result = await Fude.Run("tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["many"], "--batch", "4", "--epochs", "5");
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("; 15 steps of 4 examples\n", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("little is learnt", result.Error, StringComparison.Ordinal);
        Assert.Contains("12 例 × 1 ステップ\n注意: 1 ステップではほとんど学習されません。",
            (await Fude.RunInJapanese("tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["ja"])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Held_out_examples_that_are_learnt_too_are_told()
    {
        string some = _folder.Write("some.jsonl", string.Join('\n', File.ReadLines(_data).Take(2)) + "\n{\"instruction\": \"鳥\", \"output\": \"猫です。\"}\n");
        string[] tune = ["tune", _model, "--data", _data, "--format", "dialogue", "--held-out", some, "--out", _folder["run"]];
        Fude.Result result = await Fude.Run(tune);
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("note: 2 of the 3 held-out examples are also in what is learnt from: ", result.Error, StringComparison.Ordinal);
        Assert.Contains("注意: 検証用の 3 例のうち 2 例は学習用のデータにもあります。", (await Fude.RunInJapanese([.. tune[..^1], _folder["ja"]])).Said, StringComparison.Ordinal);
        // What is set aside of the data themselves is in them no more.
        Assert.DoesNotContain("also in", (await Fude.Run("tune", _model, "--data", _data, "--format", "dialogue", "--held-out-share", "0.3", "--out", _folder["share"])).Error, StringComparison.Ordinal);
        string pairs = _folder.Write("pairs.jsonl", "{\"prompt\": \"犬\", \"chosen\": \"はい\", \"rejected\": \"猫です。\"}\n");
        Assert.Contains("note: 1 of the 1 held-out example is also in what is learnt from: ",
            (await Fude.Run("dpo", _model, "--data", pairs, "--held-out", pairs, "--format", "dialogue", "--out", _folder["dpo"])).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_piped_chat_fails_where_no_question_is_answered_and_says_why_in_options()
    {
        Fude.Result chat = await Fude.RunWith("犬\n", "chat", _model, "--format", "dialogue", "--max-length", "2");
        Assert.Equal((1, ""), (chat.Status, chat.Output));
        Assert.Contains("tokens and --max-length is 2, which leaves nothing to write. Set --max-new-tokens.", chat.Error, StringComparison.Ordinal);
        Assert.Equal(0, (await Fude.RunWith("/nonsense\n犬\n", "chat", _model, "--format", "dialogue", "-n", "2")).Status);
        Assert.Equal(0, (await Fude.RunWith("", "chat", _model, "--format", "dialogue")).Status);
        // What would make every answer fail is told before the first.
        Assert.Contains("--top-p is 2; expected", (await Fude.RunWith("犬\n", "chat", _model, "--format", "dialogue", "--top-p", "2")).Failure(2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_chat_has_one_answer_however_many_texts_the_model_asks_for()
    {
        File.WriteAllText(Path.Combine(_model, "generation_config.json"), """{"do_sample": true, "num_return_sequences": 2}""");
        Fude.Result chat = await Fude.RunWith("犬\n", "chat", _model, "--format", "dialogue", "-n", "2");
        Assert.True(chat.Status == 0, chat.Error);
    }

    [Fact]
    public async Task A_piped_chat_takes_files_of_Windows()
    {
        Fude.Result chat = await Fude.RunWith("\uFEFF/help\r\n犬\r\n/history\r\n", "chat", _model, "--format", "dialogue", "-n", "2");
        Assert.True(chat.Status == 0, chat.Error);
        Assert.Contains("/clear new conversation", chat.Error, StringComparison.Ordinal);      // obeyed, and not answered
        Assert.Contains("> 犬\n", chat.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_guessed_format_is_told_in_whole_sentences()
    {
        string said = (await Fude.RunWith("", "chat", _model)).Error;
        Assert.Matches(", prompt format [a-z0-9.-]+, which is a guess\\. [A-Z].*\\. --format NAME chooses another\\. /help ", said);
    }

    [Theory]
    [InlineData("--batch", "--batch", "x")]
    [InlineData("--weights is for an adapter", "--weights", "q4_0")]
    [InlineData("none of error, skip, cut, split", "--too-long", "drop")]
    [InlineData("none of cosine, linear, constant, wsd", "--schedule", "step")]
    [InlineData("--batch is at least 1", "--batch", "0")]
    [InlineData("--epochs is above 0", "--epochs", "0")]
    [InlineData("--json is for --audit", "--json")]
    [InlineData("--z-loss is from 0 to 1000000, not 1e300", "--z-loss", "1e300")]
    [InlineData("--label-smoothing is from 0 to below 1", "--label-smoothing", "0.99999999999")]
    [InlineData("--dropout is from 0 to below 1", "--dropout", "0.99999999999")]
    [InlineData("--lora-dropout is from 0 to below 1", "--lora-rank", "2", "--lora-dropout", "0.99999999999")]
    [InlineData("--lora-alpha is above 0 and at most 1000000, not 1e308", "--lora-rank", "2", "--lora-alpha", "1e308")]
    public async Task A_wrong_command_line_says_what_is_right(string message, params string[] options) => Assert.Contains(message,
        (await Fude.Run(["tune", _model, "--data", _data, "--format", "dialogue", "--out", _folder["run"], .. options])).Failure(2), StringComparison.Ordinal);

    [Fact]
    public async Task A_wrong_weight_an_unknown_format_and_a_missing_folder_are_errors()
    {
        Assert.Contains("above 0", (await Fude.Run("tune", _model, "--data", $"{_data}:0", "--format", "dialogue", "--out", _folder["run"])).Failure(2), StringComparison.Ordinal);
        Assert.Contains("dialogue", (await Fude.Run("tune", _model, "--data", _data, "--format", "vicuna", "--out", _folder["run"])).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--format", (await Fude.Run("tune", _model, "--data", _data, "--out", _folder["run"])).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--out DIR is missing", (await Fude.Run("tune", _model, "--data", _data, "--format", "dialogue")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--out DIR is missing", (await Fude.Run("dpo", _model, "--data", _data, "--format", "dialogue")).Failure(2), StringComparison.Ordinal);
        foreach (string command in (string[])["tune", "dpo"])
            Assert.Contains($"{_data} is a file", (await Fude.Run(command, _model, "--data", "none.jsonl", "--format", "dialogue", "--out", _data)).Failure(), StringComparison.Ordinal);
        Assert.Contains("none.jsonl", (await Fude.Run("tune", _model, "--data", "none.jsonl", "--format", "dialogue", "--out", _folder["run"])).Failure(), StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["run"]));
    }

    public void Dispose() => _folder.Dispose();
}
