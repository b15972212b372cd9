using System.Text;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Training.Tests;

/// <summary>A model so small that it is tuned within a second, with a tokenizer of 3,600 pieces.</summary>
internal static class TinyTuning
{
    public const int Vocabulary = 3600;

    /// <summary>Writes the model's folder.</summary>
    public static string Model(TemporaryFolder folder, string name = "base", string family = "llama", int context = 64, ulong seed = 3)
    {
        string path = folder[name];
        string config = Encoding.UTF8.GetString(TrainableModelTests.Config(family)).Replace("\"vocab_size\": 40", $"\"vocab_size\": {Vocabulary}", StringComparison.Ordinal)
            .Replace("32,", $"{context},", StringComparison.Ordinal).Replace("\"max_position_embeddings\": 32", $"\"max_position_embeddings\": {context}", StringComparison.Ordinal)
            .Replace("\"hidden_size\": 16", "\"hidden_size\": 32", StringComparison.Ordinal).Replace("\"intermediate_size\": 24", "\"intermediate_size\": 64", StringComparison.Ordinal).TrimEnd();
        config = $"{config[..^1]}, \"bos_token_id\": 1, \"eos_token_id\": 2}}";
        using (TrainableModel model = TrainableModel.Create(Encoding.UTF8.GetBytes(config), new InitialNumbers(seed, 0.1f))) model.Save(path);
        Tokenizer(path);
        return path;
    }

    /// <summary>Writes the tokenizer, as transformers loads it: special strings in a text count.</summary>
    public static Tokenizer Tokenizer(string path)
    {
        _ = Directory.CreateDirectory(path);
        File.Copy(TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!, Path.Combine(path, "tokenizer.model"));
        File.WriteAllText(Path.Combine(path, "tokenizer_config.json"), """
            {"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": false, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": true}
            """);
        return global::Fude.Tokenizers.Tokenizer.Load(path);
    }

    /// <summary>Examples of a word and its answer, some with two turns.</summary>
    public static string Data(TemporaryFolder folder, string name = "data.jsonl", int count = 24)
    {
        string[] things = ["犬", "猫", "鳥", "魚", "山", "川"];
        return folder.Write(name, string.Join('\n', Enumerable.Range(0, count).Select(i => i % 3 == 0
            ? $$"""{"messages": [{"role": "user", "content": "{{things[i % 6]}}は？"}, {"role": "assistant", "content": "はい"}, {"role": "user", "content": "{{i}}は？"}, {"role": "assistant", "content": "いいえ"}]}"""
            : $$"""{"instruction": "{{things[i % 6]}}と{{i}}", "output": "{{things[(i + 1) % 6]}}です。"}""")));
    }

    /// <summary>Settings of a short run.</summary>
    public static TuningSettings Settings(string model, string output, params string[] data) => new()
    {
        Model = model,
        Output = output,
        Data = [.. data.Select(file => new DataSource(file))],
        Format = "dialogue",
        Epochs = 2,
        Batch = 5,
        TokensPerBatch = 60,
        LearningRate = 1e-2,
        CheckpointEvery = 2,
        Threads = 1,
    };
}
