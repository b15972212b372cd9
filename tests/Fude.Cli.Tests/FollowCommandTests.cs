using System.Text;
using System.Text.Json;
using Fude.TestData;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using Fude.Training;

namespace Fude.Cli.Tests;

/// <summary>How many instructions a model follows: the answers are the model's own, and are counted by their checks.</summary>
public sealed class FollowCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public async Task Answers_are_counted_by_what_they_are_held_to()
    {
        string model = Model("""{"eos_token_id": 2, "forced_eos_token_id": 2}"""), answered = _folder["answers.jsonl"];      // every answer ends by itself
        string[] questions = ["猫は無い。", "名前はまだ無い。", "吾輩は猫である。", "無い猫。"];
        string unmet = Instructions("a.jsonl", questions.Select(question => ("words", question, """{"contains": ["決して書かれない言葉"]}""")));
        Fude.Result result = await Fude.Run("follow", model, unmet, "--format", "fude-chat", "-n", "7", "--out", answered);
        Assert.Equal((0, ""), (result.Status, result.Error));
        Assert.Equal(["words", "all"], Rows(result.Output).Select(row => row[0]));
        Assert.All(Rows(result.Output), row => Assert.Equal(["4", "0", "0.0"], row[1..]));
        Dictionary<string, string> answers = Lines(answered).ToDictionary(line => line.GetProperty("instruction").GetString()!, line => line.GetProperty("answer").GetString()!);
        Assert.Equal(questions.Order(StringComparer.Ordinal), answers.Keys.Order(StringComparer.Ordinal));
        Assert.All(answers.Values, answer => Assert.NotEqual("", answer));
        Assert.All(Lines(answered), line => Assert.Equal("stop", line.GetProperty("finish").GetString()));
        // What it answered, asked for: of two tasks, one of which has an answer too much.
        string met = Instructions("b.jsonl", questions.Select((question, i) =>
            (i == 0 ? "begin" : "repeat", question, JsonSerializer.Serialize(new { exactly = i == 3 ? "別の答え" : answers[question] }))));
        result = await Fude.Run("follow", model, met, "--format", "fude-chat", "-n", "7");
        Assert.Equal(["begin 1 1 100.0", "repeat 3 2 66.7", "all 4 3 75.0"], Rows(result.Output).Select(row => string.Join(' ', row)));
        JsonElement json = (await Fude.Run("follow", model, met, "--format", "fude-chat", "-n", "7", "--json", "--threads", "1")).Json;
        Assert.Equal((4, 3), (json.GetProperty("instructions").GetInt32(), json.GetProperty("followed").GetInt32()));
    }

    [Fact]
    public async Task An_answer_that_is_cut_off_is_not_followed_whatever_its_form()
    {
        string model = Model("""{"eos_token_id": 2, "suppress_tokens": [2]}"""), answered = _folder["answers.jsonl"];
        string[] follow = ["follow", model, "--format", "fude-chat", "-n", "6", "--out", answered];
        Assert.Equal(0, (await Fude.Run([.. follow, Instructions("a.jsonl", [("words", "猫は無い。", """{"sentences": 1}""")])])).Status);
        JsonElement line = Assert.Single(Lines(answered));
        Assert.Equal("length", line.GetProperty("finish").GetString());
        Assert.False(line.GetProperty("followed").GetBoolean());
        string exact = Instructions("b.jsonl", [("words", "猫は無い。", JsonSerializer.Serialize(new { exactly = line.GetProperty("answer").GetString() }))]);
        Fude.Result result = await Fude.Run([.. follow, exact, "--force"]);
        Assert.Equal(["words 1 0 0.0", "all 1 0 0.0"], Rows(result.Output).Select(row => string.Join(' ', row)));
        Assert.Contains("note: 1 answer of 1 had not ended at the limit of 6 tokens or of the context, and counts as not followed\n", result.Error, StringComparison.Ordinal);
        Assert.Contains("守れた数", (await Fude.RunInJapanese([.. follow, exact, "--force"])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Of_each_task_some_are_chosen_by_their_hash_and_answered_as_among_all()
    {
        string model = Model(), all = _folder["all.jsonl"], some = _folder["some.jsonl"];
        (string, string, string)[] instructions = [.. Enumerable.Range(0, 40).Select(i => (i % 2 == 0 ? "words" : "其他", $"猫{i}", """{"sentences": 1}"""))];
        string file = Instructions("a.jsonl", instructions), turned = Instructions("b.jsonl", instructions.Reverse());
        string[] follow = ["follow", model, "--format", "fude-chat", "-n", "4", "--out"];
        Assert.Equal(0, (await Fude.Run([.. follow, all, file, "--limit", "0"])).Status);
        Assert.Equal(0, (await Fude.Run([.. follow, some, turned, "--limit", "3"])).Status);
        string[] Said(string path) => [.. Lines(path).Select(line => $"{line.GetProperty("instruction")} {line.GetProperty("answer")}")];
        Assert.Equal((40, 6), (Said(all).Length, Said(some).Length));
        Assert.Equal([.. Said(all)[..3], .. Said(all)[20..23]], Said(some));
    }

    [Fact]
    public async Task What_cannot_be_measured_is_named_before_a_model_is_loaded()
    {
        string model = _folder["none"], plain = _folder.Write("plain.jsonl", """{"instruction": "a", "output": "b"}"""), file = Instructions("a.jsonl", [("words", "猫", """{"sentences": 1}""")]);
        Assert.Contains("no line has a \"check\"", (await Fude.Run("follow", model, plain)).Failure(), StringComparison.Ordinal);
        Assert.Contains("no such file", (await Fude.Run("follow", model, _folder["none.jsonl"])).Failure(), StringComparison.Ordinal);
        Assert.Contains("leave off .gz", (await Fude.Run("follow", model, file, "--out", _folder["a.jsonl.gz"])).Failure(2), StringComparison.Ordinal);
        Assert.Contains(model, (await Fude.Run("follow", model, file)).Failure(), StringComparison.Ordinal);
        Assert.Contains("broken.jsonl:1", (await Fude.Run("follow", model, Instructions("broken.jsonl", [("words", "猫", """{"sentence": 1}""")]))).Failure(), StringComparison.Ordinal);
        Assert.Contains("would write over what is read", (await Fude.Run("follow", model, file, "--out", file, "--force")).Failure(), StringComparison.Ordinal);
        Assert.Contains("is there already", (await Fude.Run("follow", model, file, "--out", plain)).Failure(), StringComparison.Ordinal);
        Assert.Contains("答えの確かめ方（\"check\"）のある行がありません", (await Fude.RunInJapanese("follow", model, plain)).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_table_goes_to_a_file_and_never_into_the_model()
    {
        string model = Model(), file = Instructions("a.jsonl", [("words", "猫", """{"sentences": 1}""")]), config = Path.Combine(model, "config.json"), table = _folder["table.md"];
        string[] follow = ["follow", model, file, "--format", "fude-chat", "-n", "2", "--out"];
        byte[] before = File.ReadAllBytes(config);
        Assert.Contains("would write over what is read", (await Fude.Run([.. follow, config, "--force"])).Failure(), StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(config));
        Assert.Equal((await Fude.Run([.. follow, table])).Output, File.ReadAllText(table));
        Assert.Equal(0, (await Fude.Run([.. follow, _folder["table.json"]])).Status);
        Assert.Equal(1, JsonDocument.Parse(File.ReadAllText(_folder["table.json"])).RootElement.GetProperty("instructions").GetInt32());
        Assert.Contains("種類", (await Fude.RunInJapanese([.. follow, table, "--force"])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task How_the_model_is_sampled_does_not_matter()
    {
        string model = Model(), file = Instructions("a.jsonl", [("words", "猫は無い。", """{"sentences": 1}"""), ("words", "名前", """{"sentences": 1}""")]);
        string[] follow = ["follow", model, file, "--format", "fude-chat", "-n", "8", "--out"];
        Assert.Equal(0, (await Fude.Run([.. follow, _folder["plain.jsonl"]])).Status);
        _folder.Write("model/generation_config.json", """
            {"do_sample": true, "temperature": 2.0, "top_k": 5, "num_return_sequences": 2, "repetition_penalty": 2.0, "no_repeat_ngram_size": 1, "min_new_tokens": 8}
            """);
        Assert.Equal(0, (await Fude.Run([.. follow, _folder["sampled.jsonl"]])).Status);
        Assert.Equal(File.ReadAllText(_folder["plain.jsonl"]), File.ReadAllText(_folder["sampled.jsonl"]));
    }

    [Fact]
    public async Task An_instruction_that_leaves_no_room_has_no_answer()
    {
        string file = Instructions("a.jsonl", [("words", string.Concat(Enumerable.Repeat("猫は無い。", 40)), """{"sentences": 1}""")]);
        Fude.Result result = await Fude.Run("follow", Model(), file, "--format", "fude-chat");
        Assert.Equal(0, result.Status);
        Assert.Equal(["words 1 0 0.0", "all 1 0 0.0"], Rows(result.Output).Select(row => string.Join(' ', row)));
    }

    public void Dispose() => _folder.Dispose();

    private static IEnumerable<string[]> Rows(string table) =>
        table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(2).Select(line => line.Trim('|').Split('|', StringSplitOptions.TrimEntries));

    private static JsonElement[] Lines(string path) => [.. File.ReadLines(path).Select(line => JsonDocument.Parse(line).RootElement.Clone())];

    private string Instructions(string name, IEnumerable<(string Task, string Question, string Check)> instructions) => _folder.Write(name, string.Concat(
        instructions.Select(one => $$"""{"task": "{{one.Task}}", "messages": [{"role": "user", "content": "{{one.Question}}"}, {"role": "assistant", "content": "x"}], "check": {{one.Check}}}""" + "\n")));

    private string Model(string? generation = null)
    {
        string folder = _folder["model"];
        using TrainableModel model = TrainableModel.Create(Encoding.UTF8.GetBytes("""
            {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 277,
             "max_position_embeddings": 64}
            """), new InitialNumbers(1, 0.5f));
        model.Save(folder);
        TrainedTokenizer trained = UnigramTrainer.Train(new TrainingText(_folder.Write("train.txt", "吾輩は猫である。\n名前はまだ無い。\n猫は無い。\n")),
            new TokenizerTrainerOptions { VocabularySize = 277, AddDummyPrefix = false, AddBegin = true, Threads = 1, ControlPieces = ["<|system|>", "<|user|>", "<|assistant|>"] });
        trained.SaveHuggingFace(folder);
        if (generation is not null) _folder.Write("model/generation_config.json", generation);
        return folder;
    }
}
