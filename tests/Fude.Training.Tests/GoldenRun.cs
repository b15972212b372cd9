using System.Text.Json;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>The reference values of one family: cases.json and expected.safetensors of golden/training, written by transformers 4.41.2,
/// torch 1.13.1 and peft 0.11.1.</summary>
internal sealed class GoldenRun : IDisposable
{
    public const string WhyNot = "golden/training is in the folder shared beside the checkout, which is not there";

    private readonly JsonDocument _cases;
    private readonly Checkpoint _expected;

    private GoldenRun(string folder)
    {
        Folder = folder;
        _cases = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "cases.json")));
        _expected = Checkpoint.Open(Path.Combine(folder, "expected.safetensors"));
    }

    public static IReadOnlyList<string> Families { get; } = TestFolders.GoldenFolders("training");

    public string Folder { get; }

    public string Model => Path.Combine(Folder, "model");

    public JsonElement Cases => _cases.RootElement;

    public IEnumerable<string> ExpectedNames => _expected.Tensors.Keys;

    public static GoldenRun Open(string family) => new(TestFolders.FindGolden(Path.Combine("training", family))!);

    /// <summary>Batches of plain texts.</summary>
    public IEnumerable<SupervisedBatch> ClmBatches => Cases.GetProperty("clm_batches").EnumerateArray().Select(Texts);

    /// <summary>Batches with prompts and pads masked; the pads themselves are left away.</summary>
    public SupervisedBatch[] SftBatches => [.. Cases.GetProperty("sft_batches").EnumerateArray().Select(Masked)];

    public static SupervisedBatch Masked(JsonElement batch)
    {
        List<LabelledText> texts = [];
        int rows = batch.GetProperty("input_ids").GetArrayLength();
        for (int i = 0; i < rows; i++)
        {
            int[] tokens = Numbers(batch.GetProperty("input_ids")[i]), labels = Numbers(batch.GetProperty("labels")[i]);
            int[] seen = batch.TryGetProperty("attention_mask", out JsonElement mask) ? Numbers(mask[i]) : [.. tokens.Select(_ => 1)];
            texts.Add(new LabelledText([.. tokens.Where((_, place) => seen[place] == 1)], [.. labels.Where((_, place) => seen[place] == 1)]));
        }
        return SupervisedBatch.Of([.. texts]);
    }

    public static int[] Numbers(JsonElement array) => [.. array.EnumerateArray().Select(number => number.GetInt32())];

    /// <summary>A tensor as the weight lies that it belongs to.</summary>
    public float[] Expected(string prefix, Parameter parameter, string? name = null)
    {
        name = prefix + (name ?? parameter.Name);
        return parameter.IsVector
            ? _expected.Vector(name, parameter.Weight.Columns).ToFloats()
            : _expected.Matrix(name, parameter.Weight.Rows, parameter.Weight.Columns, parameter.IsTransposed).ToFloats();
    }

    /// <summary>Whether the golden values hold nothing of a number: the key bias of GPT-2 has a gradient of 0 but for rounding, which Adam
    /// divides by itself.</summary>
    public static bool IsNoise(Parameter parameter, int index) =>
        parameter.Name.EndsWith("attn.c_attn.bias", StringComparison.Ordinal)
        && index >= parameter.Weight.Columns / 3 && index < parameter.Weight.Columns * 2 / 3;

    public static void Near(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, double absolute, double relative, Parameter parameter)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            if (!IsNoise(parameter, i))
                Assert.True(
                    Math.Abs(expected[i] - actual[i]) <= absolute + relative * Math.Abs(expected[i]),
                    $"{parameter.Name}[{i}]: expected {expected[i]:R}, found {actual[i]:R}");
    }

    public void Dispose()
    {
        _cases.Dispose();
        _expected.Dispose();
    }

    private static SupervisedBatch Texts(JsonElement batch) =>
        SupervisedBatch.Of([.. batch.EnumerateArray().Select(text => new LabelledText(Numbers(text)))]);
}
