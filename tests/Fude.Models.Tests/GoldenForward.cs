using System.Text.Json;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

/// <summary>One model of Golden/models with the reference values of Golden/forward (their README says who wrote them).</summary>
internal sealed class GoldenForward : IDisposable
{
    private readonly SafeTensors _expected;
    private readonly JsonElement _cases;

    private GoldenForward(string name)
    {
        string folder = TestFolders.FindGolden(Path.Combine("forward", name))!;
        _expected = SafeTensors.Open(Path.Combine(folder, "expected.safetensors"));
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "cases.json")));
        _cases = document.RootElement.GetProperty("cases").Clone();
        Model = LanguageModel.Load(FolderOf(name));
    }

    public LanguageModel Model { get; }

    /// <summary>Names of all models: the committed ones and, where shared lies beside the checkout, those there.</summary>
    public static TheoryData<string> Names => [.. TestFolders.GoldenFolders("forward")];

    public static TheoryData<string, int> NamesAndThreads =>
        [.. from name in TestFolders.GoldenFolders("forward") from threads in (int[])[1, 2] select (name, threads)];

    public static string FolderOf(string name) =>
        TestFolders.FindGolden(Path.Combine("models", name)) ?? throw new DirectoryNotFoundException($"Golden/models/{name}");

    public static GoldenForward Open(string name) => new(name);

    public JsonElement Case(string name) => _cases.EnumerateArray().Single(c => c.GetProperty("case").GetString() == name);

    /// <summary>A list of rows of ids of a case: input_ids, attention_mask, position_ids, labels, new_ids.</summary>
    public int[][] Rows(string name, string key = "input_ids") =>
        [.. Case(name).GetProperty(key).EnumerateArray().Select(row => row.EnumerateArray().Select(id => id.GetInt32()).ToArray())];

    public bool Has(string tensor) => _expected.Tensors.ContainsKey(tensor);

    public float[] Floats(string tensor) => _expected.Tensors[tensor].ToFloats();

    public long[] Integers(string tensor) => _expected.Tensors[tensor].ToIntegers();

    public void Dispose()
    {
        Model.Dispose();
        _expected.Dispose();
    }
}

/// <summary>Batches and forward passes as tests want them.</summary>
internal static class Passes
{
    /// <summary>Several texts in one batch, each from its beginning; logits for all tokens.</summary>
    public static Batch Batch(params int[][] texts)
    {
        List<Sequence> sequences = [];
        int first = 0;
        foreach (int[] text in texts)
        {
            sequences.Add(new Sequence(first, text.Length));
            first += text.Length;
        }
        return new Batch([.. texts.SelectMany(text => text)], [.. texts.SelectMany(text => Enumerable.Range(0, text.Length))],
            [.. sequences], [.. Enumerable.Range(0, first)]);
    }

    /// <summary>The next tokens of texts whose beginnings are cached; logits for all of them.</summary>
    public static Batch Batch(IReadOnlyList<KvCache> caches, int[][] tokens, int[] extents)
    {
        List<Sequence> sequences = [];
        List<int> positions = [];
        for (int i = 0; i < tokens.Length; i++)
        {
            sequences.Add(new Sequence(positions.Count, tokens[i].Length, caches[i], extents[i]));
            positions.AddRange(Enumerable.Range(caches[i].Length, tokens[i].Length));
        }
        return new Batch([.. tokens.SelectMany(t => t)], [.. positions], [.. sequences], [.. Enumerable.Range(0, positions.Count)]);
    }

    public static float[] Logits(this LanguageModel model, IOps ops, Batch batch) => ops.Read(model.Run(ops, batch)).ToArray();
}
