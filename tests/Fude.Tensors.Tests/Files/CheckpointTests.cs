using System.Text.Json;
using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class CheckpointTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Every golden model, committed or in shared.</summary>
    public static TheoryData<string> Models() => [.. TestFolders.GoldenFolders("models")];

    // forward/<model>/weights_probe.json: shape, first three numbers, last one and sum of every tensor, read by torch or safetensors.
    [Theory, MemberData(nameof(Models))]
    public void Every_tensor_has_the_numbers_of_the_reference_reader(string model)
    {
        using Checkpoint checkpoint = Checkpoint.Open(TestFolders.FindGolden($"models/{model}")!);
        foreach ((string name, JsonElement probe) in Probes(model))
        {
            StoredTensor tensor = checkpoint.Tensors[NameIn(checkpoint, name)];
            Assert.Equal(probe.GetProperty("shape").EnumerateArray().Select(x => x.GetInt64()), tensor.Shape);
            Check(probe, tensor.ToFloats());
        }
    }

    [Theory, MemberData(nameof(Models))]
    public void Weights_have_the_numbers_of_the_reference_reader(string model)
    {
        using Checkpoint checkpoint = Checkpoint.Open(TestFolders.FindGolden($"models/{model}")!);
        foreach ((string probed, JsonElement probe) in Probes(model))
        {
            string name = NameIn(checkpoint, probed);
            int[] shape = [.. probe.GetProperty("shape").EnumerateArray().Select(x => x.GetInt32())];
            if (shape.Length == 1)
            {
                Weight vector = checkpoint.Vector(name, shape[0]);
                Assert.Equal((NumberFormat.F32, 1, shape[0]), (vector.Format, vector.Rows, vector.Columns));
                Check(probe, vector.ToFloats());
                continue;
            }
            Weight matrix = checkpoint.Matrix(name, shape[0], shape[1]);
            Assert.Equal((name, shape[0], shape[1]), (matrix.Name, matrix.Rows, matrix.Columns));
            float[] numbers = matrix.ToFloats();
            Check(probe, numbers);
            Weight transposed = checkpoint.Matrix(name, shape[1], shape[0], transposed: true);
            Assert.Equal(matrix.Format, transposed.Format);
            Assert.Equal(Transpose(numbers, shape[0], shape[1]), transposed.ToFloats());
        }
    }

    [Fact]
    public void Matrices_are_views_of_the_file_and_made_once()
    {
        SafeTensors.Write(_folder["model.safetensors"], [NewTensor.Of("m", [2, 3], [1, 2, 3, 4, 5, 6]), NewTensor.Of("row", [1, 3], [1, 2, 3])]);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Weight matrix = checkpoint.Matrix("m", 2, 3), transposed = checkpoint.Matrix("m", 3, 2, transposed: true);
        Assert.Equal(checkpoint.Tensors["m"].Address, matrix.Address);
        Assert.Equal([1, 4, 2, 5, 3, 6], transposed.ToFloats());
        Assert.Same(matrix, checkpoint.Matrix("m", 2, 3));
        Assert.Same(transposed, checkpoint.Matrix("m", 3, 2, transposed: true));
        // A single row is its own transpose: nothing to copy.
        Assert.Equal(checkpoint.Tensors["row"].Address, checkpoint.Matrix("row", 3, 1, transposed: true).Address);
    }

    [Fact]
    public void Doubles_become_singles_and_integers_are_no_weights()
    {
        double[] numbers = [1, -2.5, 1e-3, 7];
        byte[] bytes = [.. numbers.SelectMany(BitConverter.GetBytes)];
        SafeTensors.Write(_folder["model.safetensors"],
        [
            new("m", ElementType.F64, [2, 2], stream => stream.Write(bytes)), new("v", ElementType.F64, [4], stream => stream.Write(bytes)),
            new("i", ElementType.I32, [2, 2], stream => stream.Write(bytes.AsSpan(0, 16))), new("h", ElementType.F8E4M3, [4], stream => stream.Write(bytes.AsSpan(0, 4))),
        ]);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Assert.Equal([1, -2.5f, 1e-3f, 7], checkpoint.Matrix("m", 2, 2).ToFloats());
        Assert.Equal([1, -2.5f, 1e-3f, 7], checkpoint.Vector("v", 4).ToFloats());
        Assert.Contains("I32", Assert.Throws<InvalidDataException>(() => checkpoint.Matrix("i", 2, 2)).Message, StringComparison.Ordinal);
        Assert.Contains("F8_E4M3", Assert.Throws<InvalidDataException>(() => checkpoint.Vector("h", 4)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_nobody_asked_for_is_unused()
    {
        SafeTensors.Write(_folder["model.safetensors"], [NewTensor.Of("c", [1], [1]), NewTensor.Of("b", [1, 1], [1]), NewTensor.Of("a", [1], [1])]);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Assert.True(checkpoint.Contains("a"));
        Assert.False(checkpoint.Contains("d"));
        Assert.Equal(["a", "b", "c"], checkpoint.Unused);
        _ = checkpoint.Matrix("b", 1, 1);
        _ = checkpoint.Vector("c", 1);
        Assert.Equal(["a"], checkpoint.Unused);
    }

    [Fact]
    public void A_tensor_that_is_missing_or_misshapen_is_an_error_that_tells_both_sides()
    {
        SafeTensors.Write(_folder["model.safetensors"], [NewTensor.Of("m", [2, 3], new float[6])]);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Tell(() => checkpoint.Matrix("m", 3, 2), "model.safetensors: tensor 'm' is [2, 3]", "config.json asks for [3, 2]", "not of one model");
        Tell(() => checkpoint.Matrix("m", 2, 3, transposed: true), "'m' is [2, 3]", "asks for [3, 2]");
        Tell(() => checkpoint.Vector("m", 6), "'m' is [2, 3]", "asks for [6]");
        Tell(() => checkpoint.Matrix("n", 2, 3), "model.safetensors: has no tensor 'n'", "[2, 3]", "not of one model");
    }

    [Fact]
    public void Safetensors_go_before_pickles_and_a_folder_without_weights_tells_what_was_looked_for()
    {
        Assert.False(Checkpoint.Exists(_folder.Path));
        Tell(() => Checkpoint.Open(_folder.Path), _folder.Path, "model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json");
        Assert.Throws<FileNotFoundException>(() => Checkpoint.Open(_folder["nowhere"]));
        Assert.False(Checkpoint.Exists(_folder["nowhere"]));
        _folder.Write("pytorch_model.bin", "neither archive nor pickle");
        Assert.True(Checkpoint.Exists(_folder.Path));
        Assert.Throws<InvalidDataException>(() => Checkpoint.Open(_folder.Path));
        SafeTensors.Write(_folder["model.safetensors"], [NewTensor.Of("a", [1], [1])]);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Path);
        Assert.Equal(_folder["model.safetensors"], checkpoint.Path);
    }

    [Theory]
    [InlineData("""{"weight_map":{"a":"../../etc/passwd"}}""", "'../../etc/passwd'")]
    [InlineData("""{"weight_map":{"a":"/etc/passwd"}}""", "'/etc/passwd'")]
    [InlineData("""{"weight_map":{"a":"..\\secret.bin"}}""", "secret.bin")]
    [InlineData("""{"weight_map":{"a":"C:x.safetensors"}}""", "C:x")]
    [InlineData("""{"weight_map":{"a":".."}}""", "'..'")]
    [InlineData("""{"weight_map":{"a":""}}""", "''")]
    [InlineData("""{"weight_map":{"a":null}}""", "''")]
    [InlineData("""{"weight_map":{"a":"one.safetensors\u0000.txt"}}""", "'a'")]
    [InlineData("""{"weight_map":{"a":"model.safetensors.index.json"}}""", "not a file of weights")]
    [InlineData("""{"weight_map":{"a":"two.safetensors"}}""", "names the shard 'two.safetensors', which is not beside it")]
    [InlineData("""{"weight_map":{"a":"one.safetensors","z":"one.safetensors"}}""", "has no tensor 'z'")]
    [InlineData("""{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}""", "twice")]
    [InlineData("""{"weight_map":{"a":1}}""", "not the JSON")]
    [InlineData("""{"weight_map":{}}""", "empty")]
    [InlineData("""{"weight_map":[]}""", "weight_map")]
    [InlineData("""{}""", "weight_map")]
    [InlineData("""[]""", "weight_map")]
    [InlineData("""{"weight_map":""", "not the JSON")]
    public void An_index_that_cannot_be_followed_is_an_error(string json, string part)
    {
        SafeTensors.Write(_folder["one.safetensors"], [NewTensor.Of("a", [1], [1])]);
        string index = _folder.Write("model.safetensors.index.json", json);
        Tell(() => Checkpoint.Open(_folder.Path), _folder.Path, part);
        Tell(() => Checkpoint.Open(index), part);
    }

    [Fact]
    public void The_index_decides_between_tensors_of_one_name()
    {
        SafeTensors.Write(_folder["one.safetensors"], [NewTensor.Of("a", [1], [1]), NewTensor.Of("b", [1], [1])]);
        SafeTensors.Write(_folder["two.safetensors"], [NewTensor.Of("a", [1], [2]), NewTensor.Of("c", [1], [2])]);
        string index = _folder.Write("model.safetensors.index.json", """{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}""");
        using (Checkpoint checkpoint = Checkpoint.Open(index))
        {
            Assert.Equal([2], checkpoint.Vector("a", 1).ToFloats());
            // Not in the index, yet there: the model's loader hears of it.
            Assert.Equal(["b", "c"], checkpoint.Unused);
        }
        _folder.Write("model.safetensors.index.json", """{"weight_map":{"c":"two.safetensors","b":"one.safetensors"}}""");
        Tell(() => Checkpoint.Open(_folder.Path), "has tensor 'a', and so has", "does not say which");
    }

    [Fact]
    public void A_shard_that_is_damaged_is_the_one_that_is_named()
    {
        NewTensor[] tensors = [NewTensor.Of("a", [4], new float[4]), NewTensor.Of("b", [4], new float[4])];
        SafeTensors.WriteSharded(_folder.Path, tensors, 16);
        string shard = _folder["model-00002-of-00002.safetensors"];
        File.WriteAllBytes(shard, File.ReadAllBytes(shard)[..^1]);
        Tell(() => Checkpoint.Open(_folder.Path), shard);
        File.Delete(shard);
        Tell(() => Checkpoint.Open(_folder.Path), "model.safetensors.index.json", "'model-00002-of-00002.safetensors'");
    }

    private static void Tell(Func<object> action, params string[] parts)
    {
        InvalidDataException error = Assert.Throws<InvalidDataException>(action);
        foreach (string part in parts) Assert.Contains(part, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    private static IEnumerable<(string Name, JsonElement Probe)> Probes(string model)
    {
        byte[] json = File.ReadAllBytes(TestFolders.FindGolden($"forward/{model}/weights_probe.json")!);
        using JsonDocument document = JsonDocument.Parse(json);
        foreach (JsonProperty entry in document.RootElement.EnumerateObject()) yield return (entry.Name, entry.Value);
    }

    // The probes were taken from the loaded model: a tied head is in them, and a prefix that the files lack.
    private static string NameIn(Checkpoint checkpoint, string probed)
    {
        string[] names = [probed, probed.Replace("transformer.", "", StringComparison.Ordinal)];
        if (probed == "lm_head.weight") names = [probed, "transformer.wte.weight", "wte.weight", "model.embed_tokens.weight"];
        return Array.Find(names, checkpoint.Contains) ?? probed;
    }

    private static void Check(JsonElement probe, float[] numbers)
    {
        Assert.Equal(probe.GetProperty("first3").EnumerateArray().Select(x => x.GetSingle()), numbers.Take(3));
        Assert.Equal(probe.GetProperty("last").GetSingle(), numbers[^1]);
        double sum = 0;
        foreach (float x in numbers) sum += x;
        // Both sums are float64; they differ only in the order of additions.
        Assert.Equal(probe.GetProperty("sum_f64").GetDouble(), sum, 1e-9);
    }

    private static float[] Transpose(float[] numbers, int rows, int columns)
    {
        float[] result = new float[numbers.Length];
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++) result[(c * rows) + r] = numbers[(r * columns) + c];
        return result;
    }
}
