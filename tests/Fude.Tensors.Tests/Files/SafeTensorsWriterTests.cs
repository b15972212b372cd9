using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class SafeTensorsWriterTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string> Models() => [.. TestFolders.GoldenFolders("models")];

    [Theory, MemberData(nameof(Models))]
    public void A_model_that_is_read_and_written_has_the_same_numbers(string model)
    {
        using Checkpoint original = Checkpoint.Open(TestFolders.FindGolden($"models/{model}")!);
        SafeTensors.Write(_folder["model.safetensors"], original.Tensors.Values.Select(NewTensor.Of));
        CheckEqual(original);
        File.Delete(_folder["model.safetensors"]);
        SafeTensors.WriteSharded(_folder.Path, original.Tensors.Values.Select(NewTensor.Of), maxShardBytes: 100_000);
        Assert.True(File.Exists(_folder["model.safetensors.index.json"]));
        CheckEqual(original);
    }

    [Fact]
    public void Numbers_are_aligned_and_metadata_says_pt()
    {
        SafeTensors.Write(_folder["a.safetensors"],
            [Raw("a", ElementType.U8, 3), NewTensor.Of("名前\"\n", [1, 2], [1, 2]), Raw("b", ElementType.F16, 1), Raw("c", ElementType.F64, 1)],
            new Dictionary<string, string> { ["step"] = "7" });
        using SafeTensors file = SafeTensors.Open(_folder["a.safetensors"]);
        Assert.Equal([("format", "pt"), ("step", "7")], file.Metadata.Select(pair => (pair.Key, pair.Value)).Order());
        Assert.All(file.Tensors.Values, tensor => Assert.True(tensor.IsAligned));
        Assert.Equal([1, 2], file.Tensors["名前\"\n"].ToFloats());
        Assert.Equal([1, 2], file.Tensors["名前\"\n"].Shape);
    }

    [Fact]
    public void A_weight_is_written_in_its_own_format()
    {
        using RandomWeights random = new(NumberFormat.BF16, seed: 4);
        Weight matrix = random.Matrix("m.weight", 5, 7), vector = random.Vector("norm.weight", 3);
        SafeTensors.Write(_folder["w.safetensors"], [NewTensor.Of(matrix), NewTensor.Of(vector, isVector: true)]);
        using Checkpoint checkpoint = Checkpoint.Open(_folder["w.safetensors"]);
        Assert.Equal(ElementType.BF16, checkpoint.Tensors["m.weight"].Type);
        Assert.Equal(matrix.ToFloats(), checkpoint.Matrix("m.weight", 5, 7).ToFloats());
        Assert.Equal([1, 1, 1], checkpoint.Vector("norm.weight", 3).ToFloats());
    }

    [Fact]
    public void A_tensor_larger_than_a_shard_gets_its_own()
    {
        SafeTensors.WriteSharded(_folder.Path, [Raw("a", ElementType.U8, 10), Raw("b", ElementType.U8, 500), Raw("c", ElementType.U8, 60), Raw("d", ElementType.U8, 40)], 100);
        Assert.Equal(
            ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json"],
            Files());
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Assert.Equal(["a", "b", "c", "d"], checkpoint.Tensors.Keys.Order());
        Assert.EndsWith("model-00003-of-00003.safetensors", checkpoint.Tensors["d"].File, StringComparison.Ordinal);
    }

    [Fact]
    public void New_weights_leave_nothing_of_the_old_ones()
    {
        NewTensor[] tensors = [Raw("a", ElementType.U8, 10), Raw("b", ElementType.U8, 10)];
        SafeTensors.WriteSharded(_folder.Path, tensors);
        Assert.Equal(["model.safetensors"], Files());
        SafeTensors.WriteSharded(_folder.Path, tensors, 10);
        Assert.Equal(["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"], Files());
        SafeTensors.WriteSharded(_folder.Path, tensors, 1000);
        Assert.Equal(["model.safetensors"], Files());
    }

    [Fact]
    public void A_failure_keeps_the_old_file_and_leaves_no_other()
    {
        SafeTensors.Write(_folder["model.safetensors"], [NewTensor.Of("a", [1], [42])]);
        NewTensor failing = new("b", ElementType.F32, [1], _ => throw new IOException("unplugged"));
        NewTensor tooShort = new("c", ElementType.F32, [2], stream => stream.Write(new byte[4]));
        NewTensor first = NewTensor.Of("a", [1], [43]);
        Assert.Throws<IOException>(() => SafeTensors.Write(_folder["model.safetensors"], [first, failing]));
        Assert.Throws<ArgumentException>(() => SafeTensors.Write(_folder["model.safetensors"], [first, tooShort]));
        Assert.Throws<ArgumentException>(() => SafeTensors.Write(_folder["model.safetensors"], [first, first]));
        Assert.Throws<ArgumentException>(() => SafeTensors.Write(_folder["model.safetensors"], [NewTensor.Of("a", [-1], [43])]));
        Assert.Throws<IOException>(() => SafeTensors.WriteSharded(_folder.Path, [first, failing], 4));
        Assert.Throws<ArgumentException>(() => SafeTensors.WriteSharded(_folder.Path, [first, first], 4));
        Assert.Equal(["model.safetensors"], Files());
        using SafeTensors file = SafeTensors.Open(_folder["model.safetensors"]);
        Assert.Equal([42], file.Tensors["a"].ToFloats());
    }

    private static NewTensor Raw(string name, ElementType type, int count) =>
        new(name, type, [count], stream => stream.Write(new byte[count * type.Size()]));

    private string[] Files() => [.. Directory.EnumerateFiles(_folder.Path).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    private void CheckEqual(Checkpoint original)
    {
        using Checkpoint written = Checkpoint.Open(_folder.Path);
        Assert.Equal(original.Tensors.Keys.Order(StringComparer.Ordinal), written.Tensors.Keys.Order(StringComparer.Ordinal));
        foreach ((string name, StoredTensor tensor) in original.Tensors)
        {
            Assert.Equal((tensor.Type, tensor.ShapeText), (written.Tensors[name].Type, written.Tensors[name].ShapeText));
            Assert.Equal(tensor.ToFloats(), written.Tensors[name].ToFloats());
        }
    }
}
