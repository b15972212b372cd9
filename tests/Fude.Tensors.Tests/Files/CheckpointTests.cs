using System.Text.Json;
using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class CheckpointTests
{
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
