using System.Text.Json;
using System.Text.RegularExpressions;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

public sealed class LoraMergeTests
{
    public static TheoryData<string> Adapters => LoraAdapterTests.Adapters;

    [Theory, MemberData(nameof(Adapters))]
    public void A_merged_model_has_the_weights_and_logits_of_PEFT(string name)
    {
        using GoldenLora golden = new(name);
        using TemporaryFolder folder = new();
        string output = folder["merged"];
        LoraMerge.Write(ModelFolder.Open(golden.BaseFolder), golden.Folder, output);

        using (Checkpoint merged = Checkpoint.Open(output), original = Checkpoint.Open(golden.BaseFolder))
        {
            Assert.Equal(original.Tensors.Keys.Order(StringComparer.Ordinal), merged.Tensors.Keys.Order(StringComparer.Ordinal));
            foreach (StoredTensor tensor in merged.Tensors.Values)
            {
                StoredTensor source = original.Tensors[tensor.Name];
                Assert.Equal((source.Type, string.Join(",", source.Shape)), (tensor.Type, string.Join(",", tensor.Shape)));
                if (golden.MergedNames.Contains(tensor.Name))
                    Near.Equal(golden.Floats($"merged.{tensor.Name}"), tensor.ToFloats(), 2e-6, $"{name} {tensor.Name}");
                else if (tensor.Type is ElementType.F32 or ElementType.F16 or ElementType.BF16)
                    Near.SameBits(source.ToFloats(), tensor.ToFloats(), tensor.Name);
            }
        }
        using LanguageModel model = LanguageModel.Load(output);
        using CpuOps ops = new(2);
        Near.Equal(golden.Floats("logits_merged"), model.Logits(ops, Passes.Batch(golden.Ids)), golden.OnTolerance, $"{name} merged");
        Assert.Equal(["config.json", "generation_config.json", "model.safetensors"],
            Directory.EnumerateFiles(output).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(["merged"], Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName));
    }

    [Theory]
    [InlineData(ElementType.F16)]
    [InlineData(ElementType.BF16)]
    public void Sums_are_rounded_to_the_nearest_number_of_the_stored_type(ElementType type)
    {
        // The golden base model, narrowed; the sum of the narrowed weight and the golden product, rounded the plain way.
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        Directory.CreateDirectory(folder["base"]);
        NumberFormat format = type == ElementType.F16 ? NumberFormat.F16 : NumberFormat.BF16;
        using Checkpoint original = Checkpoint.Open(golden.BaseFolder);
        SafeTensors.Write(Path.Combine(folder["base"], "model.safetensors"), original.Tensors.Values.Select(tensor =>
            new NewTensor(tensor.Name, type, tensor.Shape, stream => stream.Write(Narrowed(tensor.ToFloats(), format)))));
        File.Copy(Path.Combine(golden.BaseFolder, "config.json"), Path.Combine(folder["base"], "config.json"));
        LoraMerge.Write(ModelFolder.Open(folder["base"]), golden.Folder, folder["merged"], maxShardBytes: 60_000);

        using Checkpoint merged = Checkpoint.Open(folder["merged"]);
        Assert.EndsWith("model.safetensors.index.json", merged.Path, StringComparison.Ordinal);
        foreach (string name in golden.MergedNames)
        {
            float[] wide = original.Tensors[name].ToFloats(), narrow = Widened(Narrowed(wide, format), format);
            float[] sums = [.. golden.Floats($"merged.{name}").Select((w, i) => narrow[i] + (w - wide[i]))];
            float[] expected = Widened(Narrowed(sums, format), format), found = merged.Tensors[name].ToFloats();
            Assert.Equal(type, merged.Tensors[name].Type);
            // Another order of the float32 sum may tip a number that lies in the middle of two.
            int different = expected.Zip(found).Count(pair => pair.First != pair.Second);
            Assert.InRange(different, 0, expected.Length / 100);
            Near.Equal(expected, found, type == ElementType.F16 ? 4e-3 : 4e-2, $"{name} as {type}");
        }
    }

    [Fact]
    public void A_sum_that_the_stored_type_cannot_hold_is_an_error_and_no_infinity()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        foreach (string name in (string[])["base", "adapter"]) Directory.CreateDirectory(folder[name]);
        using (Checkpoint original = Checkpoint.Open(golden.BaseFolder))
            SafeTensors.Write(Path.Combine(folder["base"], "model.safetensors"), original.Tensors.Values.Select(tensor =>
                new NewTensor(tensor.Name, ElementType.F16, tensor.Shape, stream => stream.Write(Narrowed(tensor.ToFloats(), NumberFormat.F16)))));
        File.Copy(Path.Combine(golden.BaseFolder, "config.json"), Path.Combine(folder["base"], "config.json"));
        File.Copy(Path.Combine(golden.Folder, "adapter_model.safetensors"), Path.Combine(folder["adapter"], "adapter_model.safetensors"));
        string config = File.ReadAllText(Path.Combine(golden.Folder, "adapter_config.json"));
        folder.Write(Path.Combine("adapter", "adapter_config.json"), Regex.Replace(config, "\"lora_alpha\": *[0-9.]+", "\"lora_alpha\": 1000000000"));
        Fails.With<InvalidDataException>(() => LoraMerge.Write(ModelFolder.Open(folder["base"]), folder["adapter"], folder["merged"]), "which F16 cannot hold");
        Assert.False(Directory.Exists(folder["merged"]));
    }

    [Fact]
    public void A_folder_that_is_not_empty_is_left_alone()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        folder.Write("precious.txt", "日記");
        ModelFolder model = ModelFolder.Open(golden.BaseFolder);
        Fails.With<IOException>(() => LoraMerge.Write(model, golden.Folder, folder.Path), folder.Path);
        Assert.Throws<IOException>(() => LoraMerge.Write(model, golden.Folder, folder["precious.txt"]));
        Assert.Equal("日記", File.ReadAllText(folder["precious.txt"]));
        Assert.Single(Directory.EnumerateFileSystemEntries(folder.Path));
    }

    [Fact]
    public void An_empty_folder_is_filled()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        Directory.CreateDirectory(folder["empty"]);
        LoraMerge.Write(ModelFolder.Open(golden.BaseFolder), golden.Folder, folder["empty"]);
        Assert.True(ModelFolder.Open(folder["empty"]).HasWeights);
    }

    [Fact]
    public void Stopping_leaves_nothing_behind()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        Assert.Throws<OperationCanceledException>(() => LoraMerge.Write(
            ModelFolder.Open(golden.BaseFolder), golden.Folder, folder["merged"], stop: new CancellationToken(canceled: true)));
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder.Path));
    }

    [Fact]
    public void A_failure_leaves_nothing_behind()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        ModelFolder other = ModelFolder.Open(GoldenForward.FolderOf("llama-gqa"));
        Assert.Throws<InvalidDataException>(() => LoraMerge.Write(other, golden.Folder, folder["out"]));
        // A base model whose weights lack what config.json and the adapter speak of.
        Directory.CreateDirectory(folder["base"]);
        File.Copy(Path.Combine(golden.BaseFolder, "config.json"), Path.Combine(folder["base"], "config.json"));
        SafeTensors.Write(Path.Combine(folder["base"], "model.safetensors"), [NewTensor.Of("model.norm.weight", [64], new float[64])]);
        Assert.Throws<InvalidDataException>(() => LoraMerge.Write(ModelFolder.Open(folder["base"]), golden.Folder, folder["out"]));
        Assert.Equal(["base"], Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void What_a_killed_process_left_goes_and_what_another_still_writes_stays()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        string killed = $".out.{Guid.NewGuid():N}.pending", writing = $".out.{Guid.NewGuid():N}.pending", other = $".other.{Guid.NewGuid():N}.pending", named = ".out.mine.pending";
        foreach (string name in (string[])[killed, writing, other, named])
        {
            Directory.CreateDirectory(folder[name]);
            File.WriteAllText(Path.Combine(folder[name], ".writing"), "");
            File.WriteAllText(Path.Combine(folder[name], "model.safetensors"), "half");
        }
        using (new FileStream(Path.Combine(folder[writing], ".writing"), FileMode.Open, FileAccess.Write, FileShare.None))
            LoraMerge.Write(ModelFolder.Open(golden.BaseFolder), golden.Folder, folder["out"]);
        Assert.Equal(new[] { writing, other, named, "out" }.Order(StringComparer.Ordinal),
            Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.False(File.Exists(Path.Combine(folder["out"], ".writing")));
    }

    [Fact]
    public void The_merged_model_has_the_prompt_format_of_the_adapter_and_no_template_of_the_base()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        foreach ((string from, string to) in (ReadOnlySpan<(string, string)>)[(golden.BaseFolder, "base"), (golden.Folder, "adapter")])
        {
            Directory.CreateDirectory(folder[to]);
            foreach (string file in Directory.EnumerateFiles(from)) File.Copy(file, Path.Combine(folder[to], Path.GetFileName(file)));
        }
        File.WriteAllText(Path.Combine(folder["base"], "chat_template.jinja"), "base");
        File.WriteAllText(Path.Combine(folder["base"], "tokenizer_config.json"), """{"bos_token": "<s>", "chat_template": "base", "legacy": true}""");
        PromptFormat.Elyza.Record(folder["adapter"]);
        LoraMerge.Write(ModelFolder.Open(folder["base"]), folder["adapter"], folder["named"]);
        Assert.False(File.Exists(Path.Combine(folder["named"], "chat_template.jinja")));
        Assert.DoesNotContain("chat_template", File.ReadAllText(Path.Combine(folder["named"], "tokenizer_config.json")), StringComparison.Ordinal);
        PromptFormat.Dialogue.Record(folder["adapter"]);
        LoraMerge.Write(ModelFolder.Open(folder["base"]), folder["adapter"], folder["own"]);
        string template = File.ReadAllText(Path.Combine(folder["own"], "chat_template.jinja"));
        Assert.Equal(File.ReadAllText(Path.Combine(folder["adapter"], "chat_template.jinja")), template);
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder["own"], "tokenizer_config.json")));
        Assert.Equal(template, config.RootElement.GetProperty("chat_template").GetString());
        Assert.True(config.RootElement.GetProperty("legacy").GetBoolean());
    }

    [Fact]
    public void With_and_without_merging_an_adapter_s_own_template_comes_before_what_its_base_says()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        foreach ((string from, string to) in (ReadOnlySpan<(string, string)>)[(golden.BaseFolder, "base"), (golden.Folder, "adapter")])
        {
            Directory.CreateDirectory(folder[to]);
            foreach (string file in Directory.EnumerateFiles(from)) File.Copy(file, Path.Combine(folder[to], Path.GetFileName(file)));
        }
        PromptFormat.Elyza.Record(folder["base"]);
        File.WriteAllText(Path.Combine(folder["adapter"], "chat_template.jinja"), "{% for m in messages %}adapter: {{ m.content }}{% endfor %}");
        Assert.Equal("adapter: あ", PromptFormat.Guess(ModelFolder.Open(folder["base"]), folder["adapter"]).Format.Write("あ").Text);
        LoraMerge.Write(ModelFolder.Open(folder["base"]), folder["adapter"], folder["ELYZA-merged-instruct"]);
        Assert.Equal("adapter: あ", PromptFormat.Guess(ModelFolder.Open(folder["ELYZA-merged-instruct"])).Format.Write("あ").Text);
    }

    [Fact]
    public void A_base_of_files_that_may_only_be_read_is_merged_into_files_that_may_be_written()
    {
        if (OperatingSystem.IsWindows()) return;
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        foreach ((string from, string to) in (ReadOnlySpan<(string, string)>)[(golden.BaseFolder, "base"), (golden.Folder, "adapter")])
        {
            Directory.CreateDirectory(folder[to]);
            foreach (string file in Directory.EnumerateFiles(from)) File.Copy(file, Path.Combine(folder[to], Path.GetFileName(file)));
            PromptFormat.Elyza.Record(folder[to]);
            File.WriteAllText(Path.Combine(folder[to], "chat_template.jinja"), to);
        }
        foreach (string file in Directory.EnumerateFiles(folder["base"])) File.SetUnixFileMode(file, UnixFileMode.UserRead);
        LoraMerge.Write(ModelFolder.Open(folder["base"]), folder["adapter"], folder["merged"]);
        Assert.Equal("adapter", File.ReadAllText(Path.Combine(folder["merged"], "chat_template.jinja")));
        foreach (string file in Directory.EnumerateFiles(folder["merged"]))
            Assert.True(File.GetUnixFileMode(file).HasFlag(UnixFileMode.UserWrite), file);
    }

    [Fact]
    public void Tokenizer_files_go_with_the_model()
    {
        using GoldenLora golden = new("llama-qv-r8");
        using TemporaryFolder folder = new();
        Directory.CreateDirectory(folder["base"]);
        foreach (string file in Directory.EnumerateFiles(golden.BaseFolder))
            File.Copy(file, Path.Combine(folder["base"], Path.GetFileName(file)));
        File.WriteAllText(Path.Combine(folder["base"], "tokenizer.json"), "{}");
        File.WriteAllText(Path.Combine(folder["base"], "special_tokens_map.json"), "{\"a\":1}");
        LoraMerge.Write(ModelFolder.Open(folder["base"]), golden.Folder, folder["out"]);
        Assert.Equal("{\"a\":1}", File.ReadAllText(Path.Combine(folder["out"], "special_tokens_map.json")));
        Assert.True(File.Exists(Path.Combine(folder["out"], "tokenizer.json")));
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder["out"], "config.json")));
        Assert.Equal("llama", config.RootElement.GetProperty("model_type").GetString());
    }

    private static byte[] Narrowed(float[] numbers, NumberFormat format)
    {
        byte[] bytes = new byte[format.Bytes(numbers.Length)];
        format.Narrow(numbers, bytes);
        return bytes;
    }

    private static float[] Widened(byte[] bytes, NumberFormat format)
    {
        float[] numbers = new float[bytes.Length / format.Bytes(1)];
        format.Widen(bytes, numbers);
        return numbers;
    }
}
