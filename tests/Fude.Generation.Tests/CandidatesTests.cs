using System.Text.Json;

namespace Fude.Generation.Tests;

public sealed class CandidatesTests
{
    private static readonly JsonElement Chains = GoldenJson.Read("processors/chains.json").GetProperty("cases");

    public static TheoryData<string> Names() => new(Chains.EnumerateArray().Select(c => c.GetProperty("case").GetString()!));

    [Theory, MemberData(nameof(Names))]
    public void Each_chain_gives_the_reference_probabilities(string name)
    {
        JsonElement data = Chain(name);
        float[] logits = GoldenJson.Floats(data.GetProperty("logits_in"));
        Candidates candidates = new(logits.Length);
        Assert.True(candidates.Warp(logits, Settings(data, logits.Length)));
        GoldenJson.AssertNear(GoldenJson.Floats(data.GetProperty("logits_out")), GoldenJson.Scatter(candidates, logits.Length));
        Assert.Equal(data.GetProperty("survivors").GetInt32(), candidates.Ids.Length);
        float[] expected = GoldenJson.Floats(data.GetProperty("probs")), found = new float[logits.Length];
        ReadOnlySpan<float> p = candidates.Probabilities();
        for (int i = 0; i < p.Length; i++) found[candidates.Ids[i]] = p[i];
        GoldenJson.AssertNear(expected, found);
    }

    /// <summary>fude's own draws follow the reference's probabilities: Pearson's χ², bound at its mean plus five standard
    /// deviations.</summary>
    [Theory, MemberData(nameof(Names))]
    public void Draws_are_distributed_as_the_reference_says(string name)
    {
        const int Draws = 20_000;
        JsonElement data = Chain(name);
        float[] logits = GoldenJson.Floats(data.GetProperty("logits_in")), p = GoldenJson.Floats(data.GetProperty("probs"));
        GenerationSettings settings = Settings(data, logits.Length) with { Seed = 20240521 };
        Candidates candidates = new(logits.Length);
        candidates.Warp(logits, settings);
        TokenDraw draw = TokenDraw.Create(settings, 1, logits.Length);
        int[] drawn = new int[logits.Length];
        for (int i = 0; i < Draws; i++) drawn[candidates.Ids[draw.Draw(0, candidates.Ids, candidates.Probabilities())]]++;

        double chi = 0, restExpected = 0;
        int cells = 0, restDrawn = 0;
        for (int i = 0; i < p.Length; i++)
        {
            double expected = p[i] * Draws;
            if (p[i] == 0) Assert.Equal(0, drawn[i]);
            if (expected < 5)      // small cells are thrown together
            {
                restExpected += expected;
                restDrawn += drawn[i];
                continue;
            }
            chi += (drawn[i] - expected) * (drawn[i] - expected) / expected;
            cells++;
        }
        if (restExpected > 5)
        {
            chi += (restDrawn - restExpected) * (restDrawn - restExpected) / restExpected;
            cells++;
        }
        int freedom = cells - 1;
        Assert.True(chi < freedom + 5 * Math.Sqrt(2 * freedom), $"chi-square {chi:F1} at {freedom} degrees of freedom");
    }

    /// <summary>The plain definitions, with a full stable sort, against the selection that sorts nothing.</summary>
    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(4)]
    public void Selection_without_sorting_takes_what_sorting_takes(int seed)
    {
        Random random = new(seed);
        for (int round = 0; round < 200; round++)
        {
            int n = random.Next(1, 400);
            // A coarse grid makes ties; the occasional huge spread makes most probabilities vanish.
            float spread = random.Next(5) == 0 ? 60 : 4;
            float[] logits = [.. Enumerable.Range(0, n).Select(_ => random.Next(8) == 0
                ? float.NegativeInfinity : MathF.Round((random.NextSingle() - 0.5f) * spread * 8) / 8)];
            if (logits.All(float.IsNegativeInfinity)) logits[0] = 0;
            int k = random.Next(1, n + 3), keep = random.Next(1, 4);
            float p = random.NextSingle();

            Candidates candidates = new(n);
            candidates.Take(logits, 1, k);
            float kth = logits.OrderDescending().ElementAtOrDefault(k - 1);
            if (k > n) kth = float.NegativeInfinity;
            int[] expected = [.. Enumerable.Range(0, n).Where(i => logits[i] >= kth && !float.IsNegativeInfinity(logits[i]))];
            Assert.Equal(expected, candidates.Ids.ToArray());

            candidates.Take(logits, 1, 0);
            float rest = (float)(1 - (double)p);
            Assert.Equal(TopPBySorting(candidates, rest, keep), Applied(c => c.TopP(rest, keep)));
            Assert.Equal(TypicalBySorting(candidates, p, keep), Applied(c => c.Typical(p, keep)));

            int[] Applied(Action<Candidates> warp)
            {
                Candidates fresh = new(n);
                fresh.Take(logits, 1, 0);
                warp(fresh);
                return fresh.Ids.ToArray();
            }
        }
    }

    [Fact]
    public void A_row_of_equal_logits_keeps_the_later_half_under_top_p()
    {
        Candidates candidates = new(1000);
        candidates.Take(new float[1000], 1, 0);
        candidates.TopP(0.5f, 1);
        Assert.Equal(Enumerable.Range(500, 500), candidates.Ids.ToArray());
    }

    [Fact]
    public void A_row_without_any_token_left_is_reported()
    {
        float[] none = [float.NegativeInfinity, float.NegativeInfinity];
        Assert.False(new Candidates(2).Warp(none, GenerationSettings.Resolve(new() { DoSample = true }, 1, 2, 100)));
    }

    private static int[] TopPBySorting(Candidates candidates, float rest, int keep)
    {
        float[] logits = candidates.Logits.ToArray(), p = candidates.Probabilities().ToArray();
        int[] ids = candidates.Ids.ToArray(), order = [.. Enumerable.Range(0, ids.Length).OrderBy(i => logits[i])];
        double sum = 0;
        List<int> kept = [];
        for (int rank = 0; rank < order.Length; rank++)
        {
            sum += p[order[rank]];
            if ((float)sum > rest || rank >= order.Length - keep) kept.Add(ids[order[rank]]);
        }
        return [.. kept.Order()];
    }

    private static int[] TypicalBySorting(Candidates candidates, float mass, int keep)
    {
        float[] logs = candidates.Logits.ToArray(), p = candidates.Probabilities().ToArray();
        int[] ids = candidates.Ids.ToArray();
        VectorMath.LogSoftMax(logs);
        double entropy = 0;
        foreach (float log in logs) entropy -= MathF.Exp(log) > 0 ? MathF.Exp(log) * log : 0;
        float[] keys = [.. logs.Select(log => MathF.Abs(-log - (float)entropy))];
        int[] order = [.. Enumerable.Range(0, ids.Length).OrderBy(i => keys[i])];
        double sum = 0;
        int last = 0;
        foreach (int i in order) last += (float)(sum += p[i]) < mass ? 1 : 0;
        float limit = keys[order[Math.Min(last, order.Length - 1)]];
        return [.. order.Where((i, rank) => keys[i] <= limit || rank < keep).Select(i => ids[i]).Order()];
    }

    private static JsonElement Chain(string name) => Chains.EnumerateArray().Single(c => c.GetProperty("case").GetString() == name);

    private static GenerationSettings Settings(JsonElement data, int vocabulary) =>
        GenerationSettings.Resolve(GenerationConfigFile.Read(data.GetProperty("params"), "the case") with { DoSample = true }, 1,
            vocabulary, 100);
}
