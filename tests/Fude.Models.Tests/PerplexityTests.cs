using System.Text.Json;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

/// <summary>The sliding-window recipe of transformers' documentation (Golden/perplexity).</summary>
public sealed class PerplexityTests
{
    private static readonly JsonElement Golden = Read();

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Golden.GetProperty("cases").GetArrayLength())];

    private static JsonElement Read()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(TestFolders.FindGolden("perplexity/perplexity.json")!));
        return document.RootElement.Clone();
    }

    [Theory, MemberData(nameof(Cases))]
    public void Perplexity_is_that_of_the_documentation_s_recipe(int index)
    {
        JsonElement golden = Golden.GetProperty("cases")[index];
        string name = golden.GetProperty("model").GetString()!;
        int[] tokens = [.. Golden.GetProperty("sequences").GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];
        using LanguageModel model = LanguageModel.Load(TestFolders.FindGolden(name)!);
        using CpuOps ops = new(2);
        Perplexity found = Perplexity.Measure(model, ops, tokens, golden.GetProperty("max_length").GetInt32(), golden.GetProperty("stride").GetInt32(),
            stop: TestContext.Current.CancellationToken);

        Assert.Equal(golden.GetProperty("scored_tokens").GetInt32(), found.ScoredTokens);
        Assert.Equal(golden.GetProperty("number_of_windows").GetInt32(), found.Windows.Count);
        NearRelative(golden.GetProperty("ppl_token_weighted (exp of summed nll / scored tokens)").GetDouble(), found.Value);
        NearRelative(golden.GetProperty("ppl_documentation (exp of the mean of the windows' means)").GetDouble(), found.OfWindowMeans);
        NearRelative(golden.GetProperty("sum_nll").GetDouble(), found.TotalLossNats);
        foreach (JsonElement window in golden.GetProperty("windows").EnumerateArray())
        {
            PerplexityWindow same = found.Windows.Single(w => w.Begin == window.GetProperty("begin").GetInt32());
            Assert.Equal(window.GetProperty("end").GetInt32(), same.End);
            Assert.Equal(window.GetProperty("scored_tokens").GetInt32(), same.ScoredTokens);
            NearRelative(window.GetProperty("mean_nll").GetDouble(), same.MeanLossNats);
        }
    }

    // A half keeps 11 bits of a number, a bfloat16 8, and Q8_0 keeps 7 of the largest of 32.
    [Theory, InlineData(NumberFormat.F16, 2e-4), InlineData(NumberFormat.BF16, 2e-3), InlineData(NumberFormat.Q8_0, 5e-3)]
    public void Narrow_caches_hardly_change_it(NumberFormat format, double most)
    {
        using CpuOps ops = new(2);
        foreach (string name in Golden.GetProperty("cases").EnumerateArray().Select(golden => golden.GetProperty("model").GetString()!).Distinct())
        {
            int[] tokens = [.. Golden.GetProperty("sequences").GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];
            using LanguageModel model = LanguageModel.Load(TestFolders.FindGolden(name)!);
            int context = Math.Min(model.Config.Context, 128);
            double wide = Perplexity.Measure(model, ops, tokens, context, context / 2, stop: TestContext.Current.CancellationToken).Value;
            model.KvCacheFormat = format;
            double narrow = Perplexity.Measure(model, ops, tokens, context, context / 2, stop: TestContext.Current.CancellationToken).Value;
            Assert.NotEqual(wide, narrow);
            Assert.True(Math.Abs(narrow / wide - 1) <= most, $"{name}: {wide} and {narrow}, {narrow / wide - 1:E2}");
            Assert.Throws<NotSupportedException>(() => model.KvCacheFormat = NumberFormat.Q4_K);
        }
    }

    [Fact]
    public void Windows_longer_than_one_pass_are_scored_as_in_one()
    {
        using LanguageModel model = TinyModels.Create("llama");
        using CpuOps ops = new(2);
        int[] text = TinyModels.Text(300, seed: 5);
        float[] logits = model.Logits(ops, Passes.Batch(text));
        double expected = Enumerable.Range(0, 299).Sum(t => Perplexity.LossNats(logits.AsSpan(t * 128, 128), text[t + 1]));
        Perplexity found = Perplexity.Measure(model, ops, text, 400, 400, stop: TestContext.Current.CancellationToken);
        Assert.Equal((299, 1), (found.ScoredTokens, found.Windows.Count));
        Assert.Equal(expected, found.TotalLossNats, 1e-9 * expected);
    }

    [Fact]
    public void A_last_window_of_one_token_scores_none_when_windows_do_not_overlap()
    {
        using LanguageModel model = TinyModels.Create("gpt2");
        using CpuOps ops = new(1);
        Perplexity found = Perplexity.Measure(model, ops, TinyModels.Text(21, seed: 5), 10, 10, stop: TestContext.Current.CancellationToken);
        Assert.Equal([9, 9, 0], found.Windows.Select(window => window.ScoredTokens));
        Assert.Equal(18, found.ScoredTokens);
        Assert.True(double.IsFinite(found.OfWindowMeans));
    }

    [Fact]
    public void Lengths_out_of_range_are_errors()
    {
        using LanguageModel model = TinyModels.Create("gpt2");
        using CpuOps ops = new(1);
        foreach ((int[] tokens, int context, int stride) in ((int[], int, int)[])
            [([1], 8, 4), ([], 8, 4), ([1, 2, 3], 1, 1), ([1, 2, 3], 513, 4), ([1, 2, 3], 8, 9), ([1, 2, 3], 8, 0), ([1, 2, 128], 8, 4), ([1, -2, 3], 8, 4)])
            Assert.Throws<ArgumentException>(() => Perplexity.Measure(model, ops, tokens, context, stride, stop: TestContext.Current.CancellationToken));
    }

    // Golden/README.md: 1e-6 of noise; 1e-4 is demanded.
    private static void NearRelative(double expected, double found) => Assert.InRange(found, expected * (1 - 1e-5), expected * (1 + 1e-5));
}
