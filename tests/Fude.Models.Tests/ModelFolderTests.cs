using System.Text.Json.Nodes;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

public sealed class ModelFolderTests
{
    [Fact]
    public void A_folder_shows_its_configurations()
    {
        ModelFolder folder = ModelFolder.Open(GoldenForward.FolderOf("llama-mha"));
        Assert.Equal("llama-mha", folder.Name);
        Assert.Equal(384, folder.Config.Vocabulary);
        Assert.Equal(0.6, folder.GenerationConfigJson!.Value.GetProperty("top_p").GetDouble());
        Assert.EndsWith("generation_config.json", folder.GenerationConfigPath, StringComparison.Ordinal);
        Assert.Equal("4.33.1", folder.ConfigJson.GetProperty("transformers_version").GetString());
        Assert.True(folder.HasWeights);
    }

    [Theory]
    [InlineData("runs/full/model", "full/model")]
    [InlineData("runs/full/model/", "full/model")]
    [InlineData("lora/adapter", "lora/adapter")]
    [InlineData("full/llama", "llama")]
    [InlineData("/model", "model")]
    public void The_result_of_a_run_is_told_from_others_by_the_run(string folder, string title) => Assert.Equal(title, ModelFolder.TitleOf(folder));

    [Fact]
    public void A_missing_folder_is_an_error() =>
        Fails.With<DirectoryNotFoundException>(() => ModelFolder.Open("no-such-model"), "no-such-model");

    [Fact]
    public void A_folder_without_config_json_is_an_error()
    {
        using TemporaryFolder folder = new();
        Fails.With<InvalidDataException>(() => ModelFolder.Open(folder.Path), "config.json");
        folder.Write("adapter_config.json", "{}");
        Fails.With<InvalidDataException>(() => ModelFolder.Open(folder.Path), "base model");
    }

    [Fact]
    public void A_file_that_is_no_model_is_an_error()
    {
        using TemporaryFolder folder = new();
        string gguf = folder.Write("model.gguf", "GGUF\u0003\0\0\0"), other = folder.Write("model.safetensors", "x");
        Fails.With<InvalidDataException>(() => ModelFolder.Open(gguf), gguf);
        Fails.With<InvalidDataException>(() => ModelFolder.Open(other), "none in GGUF format");
    }

    [Fact]
    public void A_damaged_generation_config_is_an_error()
    {
        using TemporaryFolder folder = Copy("llama-mha");
        folder.Write("generation_config.json", "{\"top_p\":");
        Fails.With<InvalidDataException>(() => ModelFolder.Open(folder.Path), "generation_config.json");
    }

    [Fact]
    public void A_configuration_that_may_not_be_read_is_an_error()
    {
        using TemporaryFolder folder = Copy("llama-mha");
        Fails.With<InvalidDataException>(() => ModelConfig.Load(folder.Path), "is a folder");
        // To read a file without permission is denied to everyone but root.
        if (OperatingSystem.IsWindows() || Environment.UserName == "root") return;
        File.SetUnixFileMode(folder["config.json"], UnixFileMode.None);
        Fails.With<UnauthorizedAccessException>(() => ModelFolder.Open(folder.Path), "config.json");
    }

    [Fact]
    public void A_folder_without_weights_opens_but_does_not_load()
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(GoldenForward.FolderOf("llama-mha"), "config.json"), folder["config.json"]);
        ModelFolder opened = ModelFolder.Open(folder.Path);
        Assert.False(opened.HasWeights);
        Fails.With<InvalidDataException>(() => opened.LoadModel(), "no weights");
    }

    [Theory]
    [InlineData("llama-mha", "gpt2-gelu")]
    [InlineData("gpt2-gelu", "llama-mha")]
    [InlineData("llama-mha", "stablelm")]
    [InlineData("stablelm", "llama-mha")]
    [InlineData("llama-gqa", "llama-mha")]
    public void Weights_of_another_model_are_an_error(string config, string weights)
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(GoldenForward.FolderOf(config), "config.json"), folder["config.json"]);
        File.Copy(Path.Combine(GoldenForward.FolderOf(weights), "model.safetensors"), folder["model.safetensors"]);
        Fails.With<InvalidDataException>(() => LanguageModel.Load(folder.Path), "model.safetensors", "not of one model");
    }

    [Theory]
    [InlineData("llama-mha", "model.layers.2.mlp.up_proj.weight", "[172, 64]")]
    [InlineData("llama-mha", "model.norm.weight", "[64]")]
    [InlineData("llama-mha", "lm_head.weight", "[384, 64]")]
    [InlineData("gpt2-gelu", "transformer.h.1.attn.c_attn.bias", "[192]")]
    [InlineData("gpt2-gelu", "transformer.wpe.weight", "[128, 64]")]
    [InlineData("stablelm", "model.layers.0.input_layernorm.bias", "[64]")]
    public void A_missing_tensor_is_an_error_that_names_it(string model, string tensor, string shape)
    {
        using TemporaryFolder folder = Copy(model, tensors => tensors.Where(t => t.Name != tensor).Select(NewTensor.Of));
        Fails.With<InvalidDataException>(() => LanguageModel.Load(folder.Path), folder.Path, $"'{tensor}'", shape);
    }

    [Theory]
    [InlineData("llama-mha", "model.layers.2.mlp.up_proj.weight", "[172, 64]", "[64, 172]")]
    [InlineData("gpt2-gelu", "transformer.h.0.mlp.c_fc.weight", "[64, 256]", "[256, 64]")]
    [InlineData("llama-mha", "model.norm.weight", "[64]", "[64, 1]")]
    public void A_misshapen_tensor_is_an_error_that_names_both_shapes(string model, string tensor, string expected, string found)
    {
        long[] shape = [.. found.Trim('[', ']').Split(", ").Select(long.Parse)];
        using TemporaryFolder folder = Copy(model, tensors =>
            tensors.Select(t => t.Name == tensor ? NewTensor.Of(t) with { Shape = shape } : NewTensor.Of(t)));
        Fails.With<InvalidDataException>(() => LanguageModel.Load(folder.Path), $"'{tensor}' is {found}", expected);
    }

    [Theory]
    [InlineData("model.layers.3.input_layernorm.weight")]
    [InlineData("model.layers.0.self_attn.q_proj.bias")]
    [InlineData("model.layers.0.attn.bias")]
    [InlineData("h.0.attn.bias.copy")]
    public void A_tensor_that_belongs_nowhere_is_an_error_that_names_it(string tensor)
    {
        using TemporaryFolder folder = Copy("llama-mha", tensors => [.. tensors.Select(NewTensor.Of), NewTensor.Of(tensor, [64], new float[64])]);
        Fails.With<InvalidDataException>(() => LanguageModel.Load(folder.Path), $"'{tensor}' [64]", folder["config.json"]);
    }

    [Theory]
    [InlineData("llama-mha", "model.layers.0.self_attn.rotary_emb.inv_freq")]
    [InlineData("gpt2-gelu", "transformer.h.0.attn.bias")]
    [InlineData("gpt2-gelu", "transformer.h.0.attn.masked_bias")]
    [InlineData("gpt2-gelu", "lm_head.weight")]
    public void Buffers_that_follow_from_the_configuration_are_ignored(string model, string tensor)
    {
        using TemporaryFolder folder = Copy(model, tensors => [.. tensors.Select(NewTensor.Of), NewTensor.Of(tensor, [3], [1, 2, 3])]);
        using LanguageModel loaded = LanguageModel.Load(folder.Path);
        Assert.Equal(model.StartsWith("llama", StringComparison.Ordinal) ? "llama" : "gpt2", loaded.Config.ModelType);
    }

    [Fact]
    public void A_head_that_is_stored_but_tied_is_not_used()
    {
        // The same weights; config.json alone decides whether lm_head.weight counts.
        using TemporaryFolder folder = Copy("llama-mha");
        JsonObject config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!.AsObject();
        config["tie_word_embeddings"] = true;
        folder.Write("config.json", config.ToJsonString());
        using LanguageModel tied = LanguageModel.Load(folder.Path), untied = LanguageModel.Load(GoldenForward.FolderOf("llama-mha"));
        using CpuOps ops = new(1);
        Assert.NotEqual(untied.Logits(ops, Passes.Batch([1, 2, 3])), tied.Logits(ops, Passes.Batch([1, 2, 3])));
    }

    [Fact]
    public void Ids_beyond_the_tokenizer_s_entries_may_not_be_sampled()
    {
        ModelFolder without = ModelFolder.Open(GoldenForward.FolderOf("gpt2-padvocab-bin"));
        Assert.False(without.HasTokenizer);
        Assert.Equal(384, without.SampleableTokens);

        // A vocabulary of 300 pieces beside an embedding of 384 rows, and beside one of 256.
        string pieces = string.Join(",", Enumerable.Range(0, 300).Select(i => $"\"t{i}\":{i}"));
        string tokenizer = """
            {"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,
             "model":{"type":"BPE","vocab":{PIECES},"merges":[]}}
            """.Replace("PIECES", pieces, StringComparison.Ordinal);
        foreach ((string model, int expected) in ((string, int)[])[("gpt2-padvocab-bin", 300), ("gpt2-noprefix-bin-sharded", 256)])
        {
            using TemporaryFolder folder = Copy(model);
            folder.Write("tokenizer.json", tokenizer);
            ModelFolder opened = ModelFolder.Open(folder.Path);
            Assert.True(opened.HasTokenizer);
            Assert.Equal(300, opened.Tokenizer.VocabularySize);
            Assert.Equal(expected, opened.SampleableTokens);
        }
    }

    private static TemporaryFolder Copy(string model, Func<IEnumerable<StoredTensor>, IEnumerable<NewTensor>>? change = null)
    {
        TemporaryFolder folder = new();
        string source = GoldenForward.FolderOf(model);
        foreach (string file in Directory.EnumerateFiles(source)) folder.Write(Path.GetFileName(file), File.ReadAllBytes(file));
        if (change is null) return folder;
        using SafeTensors tensors = SafeTensors.Open(Path.Combine(source, "model.safetensors"));
        SafeTensors.Write(folder["model.safetensors"], change(tensors.Tensors.Values));
        return folder;
    }
}
