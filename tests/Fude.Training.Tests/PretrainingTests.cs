using System.Text.Json.Nodes;
using Fude.Corpus;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Training.Tests;

/// <summary>What a pre-training checks before its first step.</summary>
public sealed class PretrainingTests : IDisposable
{
    private const int Vocabulary = 50;
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void A_shard_with_tokens_beyond_the_vocabulary_is_refused_before_the_first_step()
    {
        string good = Shard("good", Vocabulary - 1), bad = Shard("bad", Vocabulary);
        foreach (PretrainingSettings settings in (PretrainingSettings[])[Settings([good, bad], []), Settings([good], [bad])])
            Assert.Contains($"{bad}: document 0 has token {Vocabulary}, ", Assert.Throws<InvalidDataException>(() => new Pretraining(settings)).Message, StringComparison.Ordinal);
        using Pretraining run = new(Settings([good], [good]));
        Assert.True(run.Run());
    }

    [Fact]
    public void Shards_of_another_tokenizer_than_the_base_s_are_refused_though_nobody_names_one()
    {
        string model = TinyTuning.Model(_folder);
        string shard = Shard("texts", 39, TinyTuning.Vocabulary, Tokenizer.Load(model));
        PretrainingSettings settings = Settings([shard], []) with { Config = null, Base = model };
        new Pretraining(settings).Dispose();
        // As many pieces, but others: no token is out of range.
        File.WriteAllText(shard + ".tokenizer", $"{Tokenizer.Load(model).VocabularySize} 0123456789abcdef\n");
        Assert.Contains($"{shard} is of another tokenizer than {model}", Assert.Throws<InvalidDataException>(() => new Pretraining(settings)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_has_one_process_at_a_time()
    {
        PretrainingSettings settings = Settings([Shard("a", 40)], []);
        using (Pretraining run = new(settings))
        {
            Assert.Contains("another process is working on the run", Assert.Throws<IOException>(() => new Pretraining(settings)).Message, StringComparison.Ordinal);
            Assert.Throws<IOException>(() => RunLock.RequireFree(settings.Output));
            Assert.True(run.Run());
        }
        RunLock.RequireFree(settings.Output);
        RunLock.RequireFree(_folder["none"]);
        Assert.False(Directory.Exists(_folder["none"]));
        using Pretraining again = new(settings);
        Assert.True(again.IsResumed);
    }

    [Fact]
    public void Other_tokens_of_the_same_lengths_are_other_data()
    {
        string shard = Shard("a", 40);
        PretrainingSettings settings = Settings([shard], []);
        using (Pretraining run = new(settings)) Assert.True(run.Run());
        byte[] good = File.ReadAllBytes(shard + ".bin"), bad = [.. good];
        bad[^2] ^= 1;
        File.WriteAllBytes(shard + ".bin", bad);
        UserLanguage.Fails(() => new Pretraining(settings), "began with shard 1 tokens '", "このフォルダーの実行はシャード 1 のトークン '");
        // Of a run that an earlier version began nobody knows what they were: from now on they are these.
        string identity = Path.Combine(settings.Output, "identity.json");
        JsonNode json = JsonNode.Parse(File.ReadAllText(identity))!;
        Assert.True(json.AsObject().Remove("shard 1 tokens"));
        File.WriteAllText(identity, json.ToJsonString());
        new Pretraining(settings).Dispose();
        File.WriteAllBytes(shard + ".bin", good);
        Assert.Throws<InvalidDataException>(() => new Pretraining(settings));
    }

    [Fact]
    public void Held_out_shards_need_a_row_of_the_tokens_that_an_evaluation_reads()
    {
        string shard = Shard("a", 40), small = _folder["small"];
        using (TokenShardWriter writer = new(small, Vocabulary))
        {
            writer.Add([1, 2, 3]);
            writer.Complete();
        }
        PretrainingSettings settings = Settings([shard], [shard, small]);
        UserLanguage.Fails(() => new Pretraining(settings with { HeldOutTokens = 31 }), "allow 32 or more (--held-out-tokens)", "32 以上にしてください（--held-out-tokens）");
        using Pretraining run = new(settings with { HeldOutTokens = 32 });
        Assert.Equal([small], run.ShortHeldOut);
    }

    [Fact]
    public void A_tokenizer_of_more_pieces_than_the_model_reads_is_refused()
    {
        string model = TinyTuning.Model(_folder);
        PretrainingSettings settings = Settings([Shard("a", 3, Tokenizer.Load(model).VocabularySize, Tokenizer.Load(model))], []) with { Tokenizer = model };
        UserLanguage.Fails(() => new Pretraining(settings), $"the model's vocabulary has {Vocabulary}: it could not read", $"モデルの語彙は {Vocabulary} 語しかなく");
    }

    [Fact]
    public void A_new_model_takes_a_folder_s_tokenizer_and_not_its_way_to_talk()
    {
        string model = TinyTuning.Model(_folder);
        foreach (string name in (string[])["generation_config.json", "prompt_format.json", "chat_template.jinja"]) File.WriteAllText(Path.Combine(model, name), "{}");
        string config = Path.Combine(model, "tokenizer_config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"legacy\"", "\"chat_template\": \"x\", \"legacy\"", StringComparison.Ordinal));
        PretrainingSettings settings = Settings([Shard("a", 3, Tokenizer.Load(model).VocabularySize, Tokenizer.Load(model))], []) with
        {
            Config = _folder.Write("large.json", TinyRun.Config(Tokenizer.Load(model).VocabularySize)),
            Tokenizer = model,
        };
        using (Pretraining run = new(settings))
        {
            // A run takes hours: the tokenizer is the one that it began with, whatever becomes of the folder.
            Directory.Move(model, model + ".gone");
            Assert.True(run.Run());
        }
        string[] written = [.. Directory.GetFiles(_folder["run/model"]).Select(file => Path.GetFileName(file)!)];
        Assert.DoesNotContain("generation_config.json", written);
        Assert.DoesNotContain("prompt_format.json", written);
        Assert.DoesNotContain("chat_template.jinja", written);
        Assert.Contains("tokenizer.model", written);
        JsonObject tokenizer = JsonNode.Parse(File.ReadAllText(_folder["run/model/tokenizer_config.json"]))!.AsObject();
        Assert.False(tokenizer.ContainsKey("chat_template"));
        Assert.True(tokenizer.ContainsKey("legacy"));
    }

    public void Dispose() => _folder.Dispose();

    private PretrainingSettings Settings(IReadOnlyList<string> shards, IReadOnlyList<string> heldOut) => new()
    {
        Output = _folder["run"],
        Config = _folder.Write("config.json", TinyRun.Config(Vocabulary)),
        Shards = shards,
        HeldOut = heldOut,
        Context = 16,
        Threads = 1,
        Trainer = new TrainerOptions { Schedule = new Schedule(1e-2, ScheduleForm.Linear, Steps: 2, WarmUp: 0), RowsPerBatch = 1, EvaluateEvery = 1 },
    };

    // Texts of which the first ends with a token.
    private string Shard(string name, int last, int vocabulary = 2 * Vocabulary, Tokenizer? tokenizer = null)
    {
        using TokenShardWriter writer = new(_folder[name], vocabulary) { Tokenizer = tokenizer };
        for (int i = 0; i < 4; i++) writer.Add([.. Enumerable.Range(0, 20).Select(j => ((7 * i) + j) % 40), i == 0 ? last : 1]);
        writer.Complete();
        return _folder[name];
    }
}
