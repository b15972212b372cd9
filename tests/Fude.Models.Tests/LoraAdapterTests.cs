using System.Text.Json;
using System.Text.Json.Nodes;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

/// <summary>Adapters made by PEFT 0.11.1 (Golden/lora), unmerged; LoraMergeTests has them merged.</summary>
public sealed class LoraAdapterTests
{
    public static TheoryData<string> Adapters => [.. TestFolders.GoldenFolders("lora")];

    [Theory, MemberData(nameof(Adapters))]
    public void Logits_with_the_adapter_on_and_off_are_those_of_PEFT(string name)
    {
        using GoldenLora golden = new(name);
        using LanguageModel model = LanguageModel.Load(golden.BaseFolder, golden.Folder);
        using CpuOps ops = new(2);
        Batch batch = Passes.Batch(golden.Ids);
        Near.Equal(golden.Floats("logits_adapter_on"), model.Logits(ops, batch), golden.OnTolerance, $"{name} on");
        model.Adapter!.IsOn = false;
        float[] off = model.Logits(ops, batch);
        Near.Equal(golden.Floats("logits_adapter_off"), off, 2e-4, $"{name} off");
        using LanguageModel plain = LanguageModel.Load(golden.BaseFolder);
        Near.SameBits(plain.Logits(ops, batch), off, $"{name} off and never loaded");
        model.Adapter.IsOn = true;
        Near.Equal(golden.Floats("logits_adapter_on"), model.Logits(ops, batch), golden.OnTolerance, $"{name} on again");
    }

    [Theory, MemberData(nameof(Adapters))]
    public void Decoding_with_an_adapter_equals_one_prefill_to_the_bit(string name)
    {
        using GoldenLora golden = new(name);
        using LanguageModel model = LanguageModel.Load(golden.BaseFolder, golden.Folder);
        using CpuOps ops = new(2);
        int[] text = golden.Ids[0];
        float[] whole = model.Logits(ops, Passes.Batch(text));
        using KvCache cache = model.CreateCache(ops, text.Length);
        foreach (int t in Enumerable.Range(0, text.Length))
            Near.SameBits(whole.AsSpan(t * model.Config.Vocabulary, model.Config.Vocabulary),
                model.Logits(ops, Passes.Batch([cache], [[text[t]]], [text.Length])), $"{name} token {t}");
    }

    [Fact]
    public void Decoding_with_an_adapter_allocates_nothing()
    {
        using GoldenLora golden = new("gpt2-c_attn");
        using LanguageModel model = LanguageModel.Load(golden.BaseFolder, golden.Folder);
        using CpuOps ops = new(1);
        using KvCache cache = model.CreateCache(ops, 128);
        Batch batch = new([1], [0], [new Sequence(0, 1, cache)], [0]);
        for (int i = 0; i < 60; i++) Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 60; i++) Step();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Step()
        {
            batch.Positions[0] = cache.Length;
            model.Run(ops, batch);
        }
    }

    [Fact]
    public void Patterns_give_layers_their_own_rank_and_scale()
    {
        // Half the rank for layer 0's queries: the first four rows of A and columns of B.
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        using SafeTensors tensors = SafeTensors.Open(Path.Combine(golden.Folder, "adapter_model.safetensors"));
        SafeTensors.Write(folder["adapter_model.safetensors"], tensors.Tensors.Values.Select(tensor =>
        {
            if (!tensor.Name.Contains("layers.0.self_attn.q_proj", StringComparison.Ordinal)) return NewTensor.Of(tensor);
            float[] numbers = tensor.ToFloats();
            return tensor.Name.Contains("lora_A", StringComparison.Ordinal)
                ? NewTensor.Of(tensor.Name, [4, 64], numbers[..(4 * 64)])
                : NewTensor.Of(tensor.Name, [64, 4], [.. numbers.Where((_, i) => i % 8 < 4)]);
        }));
        folder.Write("adapter_config.json", Changed(golden.Folder,
            """{"rank_pattern":{"layers.0.self_attn.q_proj":4},"alpha_pattern":{"q_proj":6}}"""));
        using LanguageModel model = LanguageModel.Load(golden.BaseFolder, folder.Path);
        LowRank first = model.Adapter!.Taken("model.layers.0.self_attn.q_proj")!, second = model.Adapter.Taken("model.layers.1.self_attn.q_proj")!;
        LowRank value = model.Adapter.Taken("model.layers.1.self_attn.v_proj")!;
        Assert.Equal((4, 1.5f), (first.Down.Rows, first.Scale));
        Assert.Equal((8, 0.75f), (second.Down.Rows, second.Scale));
        Assert.Equal((8, 2f), (value.Down.Rows, value.Scale));
    }

    [Theory]
    [InlineData("""{"target_modules":".*\\.self_attn\\.(q|v)_proj"}""")]
    [InlineData("""{"target_modules":["self_attn.q_proj","v_proj"]}""")]
    [InlineData("""{"layers_to_transform":[0,1,2]}""")]
    [InlineData("""{"layers_to_transform":[]}""")]
    [InlineData("""{"layers_to_transform":[7],"target_modules":["model.layers.0.self_attn.q_proj","model.layers.1.self_attn.q_proj","model.layers.2.self_attn.q_proj","model.layers.0.self_attn.v_proj","model.layers.1.self_attn.v_proj","model.layers.2.self_attn.v_proj"]}""")]
    [InlineData("""{"init_lora_weights":"gaussian","exclude_modules":[]}""")]
    public void Target_modules_may_be_a_pattern_or_longer_names(string changes)
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = Copy(golden.Folder, changes);
        using LanguageModel model = LanguageModel.Load(golden.BaseFolder, folder.Path);
        using CpuOps ops = new(1);
        Near.Equal(golden.Floats("logits_adapter_on"), model.Logits(ops, Passes.Batch(golden.Ids)), 2e-4, changes);
    }

    [Theory]
    [InlineData("""{"use_dora":true}""", "use_dora")]
    [InlineData("""{"bias":"all"}""", "bias")]
    [InlineData("""{"modules_to_save":["lm_head","embed_tokens"]}""", "lm_head, embed_tokens")]
    [InlineData("""{"peft_type":"IA3"}""", "peft_type")]
    [InlineData("""{"init_lora_weights":"pissa_niter_4"}""", "init_lora_weights")]
    [InlineData("""{"layer_replication":[[0,2]]}""", "layer_replication")]
    public void Adapters_that_change_more_than_linear_layers_are_errors(string changes, string named)
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = Copy(golden.Folder, changes);
        Fails.With<NotSupportedException>(() => LanguageModel.Load(golden.BaseFolder, folder.Path), "adapter_config.json", named);
    }

    [Theory]
    [InlineData("""{"r":4}""", "rank in adapter_config.json is 4")]
    [InlineData("""{"target_modules":["q_proj"]}""", "does not name it")]
    [InlineData("""{"target_modules":["q_proj","v_proj","o_proj"]}""", "lora_A and lora_B are missing")]
    [InlineData("""{"target_modules":"all-linear"}""", "lora_A and lora_B are missing")]
    [InlineData("""{"layers_to_transform":[0,1]}""", "does not name it")]
    [InlineData("""{"target_modules":"(unclosed"}""", "regular expression")]
    [InlineData("""{"target_modules":"((a|[a-z_.0-9])+)+!"}""", "too long")]
    [InlineData("""{"target_modules":7}""", "target_modules")]
    [InlineData("""{"target_modules":null}""", "target_modules")]
    [InlineData("""{"r":0}""", "r is 0")]
    [InlineData("""{"lora_alpha":"much"}""", "lora_alpha")]
    [InlineData("""{"rank_pattern":{"q_proj":-1}}""", "rank_pattern.q_proj")]
    public void Files_of_an_adapter_that_contradict_each_other_are_errors(string changes, string named)
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = Copy(golden.Folder, changes);
        Fails.With<InvalidDataException>(() => LanguageModel.Load(golden.BaseFolder, folder.Path), named);
    }

    [Theory]
    [InlineData("llama-qv-r8", "gpt2-gelu")]
    [InlineData("llama-qv-r8", "llama-gqa")]
    [InlineData("gpt2-c_attn", "llama-mha")]
    public void An_adapter_for_another_model_is_an_error(string adapter, string model)
    {
        using GoldenLora golden = new(adapter);
        Fails.With<InvalidDataException>(() => LanguageModel.Load(GoldenForward.FolderOf(model), golden.Folder), "The adapter is for another model");
    }

    [Fact]
    public void A_folder_that_is_no_adapter_is_an_error()
    {
        string model = GoldenForward.FolderOf("llama-mha");
        Fails.With<InvalidDataException>(() => LoraAdapter.Open(model), "adapter_config.json");
        Assert.Throws<DirectoryNotFoundException>(() => LoraAdapter.Open(Path.Combine(model, "no such folder")));
        using GoldenLora golden = new("llama-qv-r8");
        Fails.With<InvalidDataException>(() => LoraAdapter.Open(Path.Combine(golden.Folder, "adapter_model.safetensors")), "is a file", "Give that folder");
        using TemporaryFolder folder = new();
        folder.Write("adapter_config.json", Changed(golden.Folder, "{}"));
        Fails.With<InvalidDataException>(() => LoraAdapter.Open(folder.Path), "adapter_model.safetensors");
    }

    [Fact]
    public void A_tensor_beyond_the_low_rank_matrices_is_an_error()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = Copy(golden.Folder, "{}");
        using (SafeTensors tensors = SafeTensors.Open(Path.Combine(golden.Folder, "adapter_model.safetensors")))
            SafeTensors.Write(folder["adapter_model.safetensors"],
                [.. tensors.Tensors.Values.Select(NewTensor.Of), NewTensor.Of("base_model.model.lm_head.weight", [1, 2], [1, 2])]);
        Fails.With<NotSupportedException>(() => LanguageModel.Load(golden.BaseFolder, folder.Path), "base_model.model.lm_head.weight");
    }

    [Fact]
    public void The_base_weight_that_PEFT_keeps_below_an_adapter_of_the_head_has_to_be_the_model_s()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = Copy(golden.Folder, """{"target_modules":["q_proj","v_proj","lm_head"]}""");
        using Checkpoint model = Checkpoint.Open(golden.BaseFolder);
        long[] shape = [.. model.Tensors["lm_head.weight"].Shape];
        (int rows, int columns) = ((int)shape[0], (int)shape[1]);
        float[] below = model.Matrix("lm_head.weight", rows, columns).ToFloats();
        using SafeTensors tensors = SafeTensors.Open(Path.Combine(golden.Folder, "adapter_model.safetensors"));
        Write(below);
        using (LanguageModel adapted = LanguageModel.Load(golden.BaseFolder, folder.Path))
        using (CpuOps ops = new(1))
            Near.Equal(golden.Floats("logits_adapter_on"), adapted.Logits(ops, Passes.Batch(golden.Ids)), 2e-4, "lm_head");     // its B is 0
        // PEFT keeps it in the format that it computed in.
        Write(Array.ConvertAll(below, number => BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(number) + 0x7FFF) & 0xFFFF0000)));
        LanguageModel.Load(golden.BaseFolder, folder.Path).Dispose();
        Write(Array.ConvertAll(below, number => (float)(Half)number));
        LoraMerge.Write(ModelFolder.Open(golden.BaseFolder), folder.Path, folder["merged"]);
        using (Checkpoint merged = Checkpoint.Open(folder["merged"])) Assert.Equal(below, merged.Matrix("lm_head.weight", rows, columns).ToFloats());
        below[columns] += 1;
        Write(below);
        Fails.With<InvalidDataException>(() => LoraMerge.Write(ModelFolder.Open(golden.BaseFolder), folder.Path, folder["wrong"]), "lm_head.base_layer.weight");
        Fails.With<InvalidDataException>(() => LanguageModel.Load(golden.BaseFolder, folder.Path), "lm_head.base_layer.weight", "row 1 differs");

        void Write(float[] weight) => SafeTensors.Write(folder["adapter_model.safetensors"],
        [
            .. tensors.Tensors.Values.Select(NewTensor.Of), NewTensor.Of("base_model.model.lm_head.base_layer.weight", shape, weight),
            NewTensor.Of("base_model.model.lm_head.lora_A.weight", [8, columns], [.. Enumerable.Repeat(0.5f, 8 * columns)]),
            NewTensor.Of("base_model.model.lm_head.lora_B.weight", [rows, 8], new float[rows * 8]),
        ]);
    }

    [Fact]
    public void Slices_of_a_fused_layer_share_one_product()
    {
        using GoldenLora golden = new("gpt2-c_attn");
        using LanguageModel model = LanguageModel.Load(golden.BaseFolder, golden.Folder);
        using CpuOps ops = new(1);
        RecordingOps recording = new(ops);
        _ = model.Logits(recording, Passes.Batch(golden.Ids));
        int layers = recording.Blocks.Count;
        Assert.True(layers > 0);
        Assert.Equal(layers, recording.Products.Count(weight => weight.Name.Contains("c_attn.lora_A", StringComparison.Ordinal)));
        Assert.Equal(3 * layers, recording.Products.Count(weight => weight.Name.Contains("c_attn.lora_B", StringComparison.Ordinal)));
    }

    private static string Changed(string adapter, string changes)
    {
        JsonObject json = JsonNode.Parse(File.ReadAllText(Path.Combine(adapter, "adapter_config.json")))!.AsObject();
        foreach ((string key, JsonNode? value) in JsonNode.Parse(changes)!.AsObject()) json[key] = value?.DeepClone();
        return json.ToJsonString();
    }

    private static TemporaryFolder Copy(string adapter, string changes)
    {
        TemporaryFolder folder = new();
        folder.Write("adapter_config.json", Changed(adapter, changes));
        folder.Write("adapter_model.safetensors", File.ReadAllBytes(Path.Combine(adapter, "adapter_model.safetensors")));
        return folder;
    }
}

/// <summary>One adapter of Golden/lora with its reference values.</summary>
internal sealed class GoldenLora : IDisposable
{
    private readonly SafeTensors _expected;

    public GoldenLora(string name)
    {
        Folder = TestFolders.FindGolden(Path.Combine("lora", name))!;
        _expected = SafeTensors.Open(Path.Combine(Folder, "expected.safetensors"));
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "case.json")));
        JsonElement root = document.RootElement;
        BaseFolder = TestFolders.FindGolden(root.GetProperty("base").GetString()!)!;
        Ids = [.. root.GetProperty("input_ids").EnumerateArray().Select(row => row.EnumerateArray().Select(id => id.GetInt32()).ToArray())];
        MergedNames = [.. root.GetProperty("merged_tensors").EnumerateArray().Select(tensor => tensor.GetString()!)];
        // Golden/README.md: 1e-5 of noise, 8e-5 with the large products of rank-stabilised scaling.
        string config = File.ReadAllText(Path.Combine(Folder, "adapter_config.json"));
        OnTolerance = config.Contains("\"use_rslora\": true", StringComparison.Ordinal) ? 5e-4 : 2e-4;
    }

    public string Folder { get; }

    public string BaseFolder { get; }

    public int[][] Ids { get; }

    public string[] MergedNames { get; }

    public double OnTolerance { get; }

    public float[] Floats(string tensor) => _expected.Tensors[tensor].ToFloats();

    public void Dispose() => _expected.Dispose();
}
