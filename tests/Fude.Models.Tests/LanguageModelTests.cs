using System.Text.Json;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

/// <summary>Every family against transformers 4.41.2 (Golden/forward), and against itself to the bit.</summary>
public sealed class LanguageModelTests
{
    // Golden/README.md: float32 against float64 is up to 2.8e-5 off; a wrong gelu shows 1.5e-3, a wrong epsilon 4e-4 and more.
    private const double LogitTolerance = 2e-4, HiddenTolerance = 5e-5, LossTolerance = 1e-5;

    public static TheoryData<string> Models => GoldenForward.Names;

    public static TheoryData<string, int> ModelsAndThreads => GoldenForward.NamesAndThreads;

    public static TheoryData<string, int> FamiliesAndThreads =>
        [.. from config in TinyModels.Configs select (config.Key, 1), .. from config in TinyModels.Configs select (config.Key, 2)];

    [Theory, MemberData(nameof(Models))]
    public void Logits_are_those_of_transformers(string name)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using CpuOps ops = new(2);
        foreach (string text in (string[])["len1", "short", "mid", "batch"])
        {
            float[] logits = golden.Model.Logits(ops, Passes.Batch(golden.Rows(text)));
            Near.Equal(golden.Floats($"{text}.logits"), logits, LogitTolerance, $"{name} {text} logits");
            if (golden.Case(text).TryGetProperty("loss_labels_equal_input", out JsonElement loss))
                Near.Equal([loss.GetSingle()], [MeanLoss(logits, golden.Rows(text), golden.Rows(text), golden)],
                    LossTolerance, $"{name} {text} loss");
        }
    }

    [Theory, MemberData(nameof(Models))]
    public void Hidden_states_are_those_of_transformers(string name)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using RecordingOps ops = new(new CpuOps(2));
        golden.Model.Run(ops, Passes.Batch(golden.Rows("mid")));
        int layers = golden.Model.Config.Layers;
        Assert.Equal(layers, ops.Blocks.Count);
        Near.Equal(golden.Floats("mid.hidden.0"), ops.Embedded, HiddenTolerance, $"{name} embedding");
        for (int i = 1; i < layers; i++)
            Near.Equal(golden.Floats($"mid.hidden.{i}"), ops.Blocks[i - 1], HiddenTolerance, $"{name} block {i}");
        Near.Equal(golden.Floats("mid.last_layer_prenorm"), ops.Blocks[^1], HiddenTolerance, $"{name} last block");
        Near.Equal(golden.Floats($"mid.hidden.{layers}"), ops.LastNorm, HiddenTolerance, $"{name} final norm");
    }

    [Theory, MemberData(nameof(Models))]
    public void Queries_keys_and_values_of_the_first_block_are_those_of_transformers(string name)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using RecordingOps ops = new(new CpuOps(2));
        int[][] rows = golden.Rows("short");
        golden.Model.Run(ops, Passes.Batch(rows));
        (float[] q, float[] k, float[] v, Heads heads) = ops.Attentions[0];
        int tokens = rows[0].Length;
        Near.Equal(golden.Floats("short.key.0"), ByHead(k, tokens, heads.KeyValue, heads.Size), HiddenTolerance, $"{name} keys");
        Near.Equal(golden.Floats("short.value.0"), ByHead(v, tokens, heads.KeyValue, heads.Size), HiddenTolerance, $"{name} values");
        Near.Equal(golden.Floats("short.attn.0"), Attention(q, k, tokens, heads), HiddenTolerance, $"{name} attention");
    }

    [Theory, MemberData(nameof(Models))]
    public void Texts_as_long_as_the_context_score_as_in_transformers(string name)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using CpuOps ops = new(2);
        foreach (string text in (string[])["nearctx", "fullctx"])
        {
            int[][] rows = golden.Rows(text);
            int[] ids = rows[0];
            int vocabulary = golden.Model.Config.Vocabulary;
            float[] logits = golden.Model.Logits(ops, Passes.Batch(rows));
            float[] logSums = new float[ids.Length], targets = new float[ids.Length - 1];
            long[] best = golden.Integers($"{text}.argmax");
            for (int t = 0; t < ids.Length; t++)
            {
                ReadOnlySpan<float> row = logits.AsSpan(t * vocabulary, vocabulary);
                if (t < ids.Length - 1) targets[t] = (float)-Perplexity.LossNats(row, ids[t + 1]);
                logSums[t] = (float)(Perplexity.LossNats(row, 0) + row[0]);
                // Where the two best are closer than 1e-3, rounding decides.
                float[] sorted = row.ToArray();
                Array.Sort(sorted);
                if (sorted[^1] - sorted[^2] > 1e-3) Assert.Equal(sorted[^1], row[(int)best[t]]);
            }
            Near.Equal(golden.Floats($"{text}.last_logits"), logits.AsSpan(^vocabulary..), LogitTolerance, $"{name} {text} last logits");
            Near.Equal(golden.Floats($"{text}.logsumexp"), logSums, LogitTolerance, $"{name} {text} log of sums");
            Near.Equal(golden.Floats($"{text}.target_logprob"), targets, LogitTolerance, $"{name} {text} targets");
            Near.Equal([golden.Case(text).GetProperty("loss_labels_equal_input").GetSingle()], [MeanLoss(logits, rows, rows, golden)],
                LossTolerance, $"{name} {text} loss");
        }
    }

    [Theory, MemberData(nameof(Models))]
    public void Texts_that_transformers_pads_give_its_logits_without_padding(string name)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using CpuOps ops = new(2);
        foreach (string text in (string[])["leftpad", "leftpad_nopos", "rightpad"])
        {
            int[][] ids = golden.Rows(text), masks = golden.Rows(text, "attention_mask");
            int[][]? positions = text == "leftpad" ? golden.Rows(text, "position_ids") : null;
            Batch padded = Passes.Batch([.. ids.Zip(masks, Unmasked)]);
            Batch batch = padded with
            {
                // Without position ids transformers counts the padding too.
                Positions = [.. masks.SelectMany((mask, row) => Unmasked(positions?[row] ?? [.. Enumerable.Range(0, mask.Length)], mask))],
            };
            float[] logits = golden.Model.Logits(ops, batch);
            Near.Equal(Unmasked(golden.Floats($"{text}.logits"), masks), logits, LogitTolerance, $"{name} {text}");
            if (text == "rightpad")
                Near.Equal([golden.Case(text).GetProperty("loss").GetSingle()],
                    [MeanLoss(logits, [.. ids.Zip(masks, Unmasked)], [.. golden.Rows(text, "labels").Zip(masks, Unmasked)], golden)],
                    LossTolerance, $"{name} {text} loss");
        }
    }

    [Theory, MemberData(nameof(Models))]
    public void Cached_steps_give_the_logits_of_transformers(string name)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using CpuOps ops = new(2);
        int[][] prompts = [.. golden.Rows("leftpad").Zip(golden.Rows("leftpad", "attention_mask"), Unmasked)];
        int[][] steps = golden.Rows("leftpad_step", "new_ids");
        int vocabulary = golden.Model.Config.Vocabulary;
        KvCache[] caches = [.. prompts.Select(prompt => golden.Model.CreateCache(ops, prompt.Length + 2))];
        golden.Model.Run(ops, Passes.Batch(caches, prompts, [.. prompts.Select(p => p.Length)]));
        float[] expected = golden.Floats("leftpad_step.logits");     // [texts, 2, vocabulary]
        for (int step = 0; step < 2; step++)
        {
            float[] logits = golden.Model.Logits(ops, Passes.Batch(caches, [.. steps.Select(s => new[] { s[step] })], new int[caches.Length]));
            for (int text = 0; text < prompts.Length; text++)
                Near.Equal(expected.AsSpan(((text * 2) + step) * vocabulary, vocabulary), logits.AsSpan(text * vocabulary, vocabulary),
                    LogitTolerance, $"{name} step {step} of text {text}");
        }
        foreach (KvCache cache in caches) cache.Dispose();

        int[] mid = golden.Rows("mid")[0];
        using KvCache midCache = golden.Model.CreateCache(ops, mid.Length);
        golden.Model.Run(ops, Passes.Batch([midCache], [mid[..^1]], [mid.Length]));
        Near.Equal(golden.Floats("mid.cached_last_logits"), golden.Model.Logits(ops, Passes.Batch([midCache], [mid[^1..]], [0])),
            LogitTolerance, $"{name} cached last logits");
    }

    [Theory, MemberData(nameof(ModelsAndThreads))]
    public void Decoding_token_by_token_and_prefill_in_chunks_equal_one_prefill_to_the_bit(string name, int threads)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using CpuOps ops = new(threads);
        RequireSameBitsHoweverRead(golden.Model, ops, golden.Rows("mid")[0], [1, 2, 7, 16], $"{name} mid, {threads} threads");
        RequireSameBitsHoweverRead(golden.Model, ops, golden.Rows("fullctx")[0], [33], $"{name} fullctx, {threads} threads");
    }

    [Theory, MemberData(nameof(FamiliesAndThreads))]
    public void A_text_over_several_blocks_of_keys_gives_the_same_bits_however_it_is_read(string family, int threads)
    {
        using LanguageModel model = TinyModels.Create(family);
        using CpuOps ops = new(threads);
        RequireSameBitsHoweverRead(model, ops, TinyModels.Text(length: 130, seed: 7), [1, 37], $"{family}, {threads} threads");
    }

    [Theory, MemberData(nameof(ModelsAndThreads))]
    public void A_text_in_a_batch_gives_the_bits_of_the_text_alone(string name, int threads)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using CpuOps ops = new(threads);
        // Packed documents: different lengths, no caches.
        int[][] texts = [.. golden.Rows("batch"), .. golden.Rows("len1"), .. golden.Rows("nearctx"), .. golden.Rows("short")];
        float[] packed = golden.Model.Logits(ops, Passes.Batch(texts));
        int first = 0, vocabulary = golden.Model.Config.Vocabulary;
        foreach (int[] text in texts)
        {
            Near.SameBits(golden.Model.Logits(ops, Passes.Batch(text)), packed.AsSpan(first, text.Length * vocabulary), $"{name} packed");
            first += text.Length * vocabulary;
        }

        // Users at once: one decodes, one continues a prompt, one begins.
        int[] a = texts[0], b = texts[1], c = texts[2];
        using KvCache cacheA = golden.Model.CreateCache(ops, 16), cacheB = golden.Model.CreateCache(ops, 16);
        using KvCache cacheC = golden.Model.CreateCache(ops, 16);
        golden.Model.Run(ops, Passes.Batch([cacheA], [a[..11]], [12]));
        golden.Model.Run(ops, Passes.Batch([cacheB], [b[..5]], [12]));
        float[] together = golden.Model.Logits(ops, Passes.Batch([cacheA, cacheB, cacheC], [a[11..], b[5..], c], [0, 12, 12]));
        float[] aloneA = golden.Model.Logits(ops, Passes.Batch(a)), aloneB = golden.Model.Logits(ops, Passes.Batch(b));
        float[] aloneC = golden.Model.Logits(ops, Passes.Batch(c));
        Near.SameBits([.. aloneA[^vocabulary..], .. aloneB[(5 * vocabulary)..], .. aloneC], together, $"{name} users at once");
    }

    [Theory, MemberData(nameof(Models))]
    public void One_thread_and_two_give_the_same_bits(string name)
    {
        using GoldenForward golden = GoldenForward.Open(name);
        using CpuOps one = new(1), two = new(2), three = new(3);
        Batch batch = Passes.Batch(golden.Rows("fullctx"));
        float[] expected = golden.Model.Logits(one, batch);
        Near.SameBits(expected, golden.Model.Logits(two, batch), $"{name} two threads");
        Near.SameBits(expected, golden.Model.Logits(three, batch), $"{name} three threads");
    }

    [Fact]
    public void A_real_checkpoint_gives_the_logits_and_the_greedy_text_of_its_own_program()
    {
        Assert.SkipWhen(TestFolders.SharedData("models/stories260K-hf") is null, "stories260K-hf is in shared beside the checkout only.");
        string folder = TestFolders.SharedData("models/stories260K-hf")!;
        using LanguageModel model = LanguageModel.Load(folder);
        using CpuOps ops = new(2);
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "golden-logits.json")));
        foreach (JsonElement one in golden.RootElement.GetProperty("cases").EnumerateArray())
        {
            int[] ids = [.. one.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
            float[] logits = [.. one.GetProperty("logits").EnumerateArray().SelectMany(row => row.EnumerateArray().Select(x => x.GetSingle()))];
            Near.Equal(logits, model.Logits(ops, Passes.Batch(ids)), 2e-3, $"stories260K {ids.Length} tokens");
        }

        using JsonDocument greedy = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "greedy-256.json")));
        int[] tokens = [.. greedy.RootElement.GetProperty("prompt_ids").EnumerateArray().Select(id => id.GetInt32())];
        int[] expected = [.. greedy.RootElement.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
        using KvCache cache = model.CreateCache(ops, 512);
        List<int> written = [];
        while (written.Count < expected.Length)
        {
            Batch batch = Batch.Of(tokens, cache: cache);
            ReadOnlySpan<float> logits = ops.Read(model.Run(ops, batch));
            int best = 0;
            for (int i = 1; i < logits.Length; i++) if (logits[i] > logits[best]) best = i;
            written.Add(best);
            tokens = [best];
        }
        Assert.Equal(expected, written);
    }

    [Theory]
    [InlineData(new[] { 5, 384 }, "384 is not in the model's vocabulary")]
    [InlineData(new[] { -1 }, "-1 is not in the model's vocabulary")]
    public void A_token_outside_the_vocabulary_is_an_error(int[] tokens, string message)
    {
        using GoldenForward golden = GoldenForward.Open("llama-mha");
        using CpuOps ops = new(1);
        Fails.With<ArgumentException>(() => golden.Model.Run(ops, Batch.Of(tokens)), message);
    }

    [Fact]
    public void A_text_longer_than_the_context_is_an_error()
    {
        using GoldenForward golden = GoldenForward.Open("llama-mha");
        using CpuOps ops = new(1);
        Fails.With<ArgumentException>(() => golden.Model.Run(ops, Batch.Of(new int[161])), "context of 160");
    }

    [Fact]
    public void Batches_that_contradict_themselves_are_errors()
    {
        using GoldenForward golden = GoldenForward.Open("llama-mha");
        using CpuOps ops = new(1);
        using KvCache small = golden.Model.CreateCache(ops, 2);
        Batch[] wrong =
        [
            new([], [], [], []),
            new([1, 2], [0], [new(0, 2)], [1]),
            new([1, 2], [0, 1], [new(0, 1)], [1]),
            new([1, 2], [0, 1], [new(1, 1)], [1]),
            new([1, 2], [0, 1], [new(0, 3)], [1]),
            new([1, 2], [0, 1], [new(0, 0), new(0, 2)], [1]),
            new([1, 2], [0, 1], [new(0, 2)], [2]),
            new([1, 2], [0, 1], [new(0, 2)], [1, 0]),
            new([1, 2], [0, 1], [new(0, 2)], [-1]),
            new([1, 2, 3], [0, 1, 2], [new(0, 3, small)], [1]),
        ];
        foreach (Batch batch in wrong) Assert.Throws<ArgumentException>(() => golden.Model.Run(ops, batch));
        Assert.Equal(0, small.Length);
    }

    internal static void RequireSameBitsHoweverRead(LanguageModel model, IOps ops, int[] text, int[] chunks, string what)
    {
        int vocabulary = model.Config.Vocabulary;
        float[] whole = model.Logits(ops, Passes.Batch(text));
        foreach (int chunk in chunks)
        {
            using KvCache cache = model.CreateCache(ops, text.Length);
            for (int start = 0; start < text.Length; start += chunk)
            {
                int end = Math.Min(start + chunk, text.Length);
                float[] logits = model.Logits(ops, Passes.Batch([cache], [text[start..end]], [text.Length]));
                Near.SameBits(whole.AsSpan(start * vocabulary, logits.Length), logits, $"{what}, from {start} in chunks of {chunk}");
            }
            Assert.Equal(text.Length, cache.Length);
        }
    }

    private static float MeanLoss(float[] logits, int[][] rows, int[][] labels, GoldenForward golden)
    {
        int vocabulary = golden.Model.Config.Vocabulary, first = 0, count = 0;
        double sum = 0;
        for (int row = 0; row < rows.Length; first += rows[row].Length, row++)
        {
            for (int t = 0; t + 1 < rows[row].Length; t++)
            {
                if (labels[row][t + 1] < 0) continue;
                sum += Perplexity.LossNats(logits.AsSpan((first + t) * vocabulary, vocabulary), labels[row][t + 1]);
                count++;
            }
        }
        return (float)(sum / count);
    }

    private static int[] Unmasked(int[] row, int[] mask) => [.. row.Where((_, i) => mask[i] == 1)];

    private static float[] Unmasked(float[] numbers, int[][] masks)
    {
        int width = numbers.Length / masks.Sum(mask => mask.Length);
        return [.. masks.SelectMany(mask => mask).SelectMany((on, token) => on == 1 ? numbers[(token * width)..((token + 1) * width)] : [])];
    }

    // [tokens, heads · size] to [heads, tokens, size], as transformers keeps its caches.
    private static float[] ByHead(float[] x, int tokens, int heads, int size)
    {
        float[] y = new float[x.Length];
        for (int t = 0; t < tokens; t++)
            for (int h = 0; h < heads; h++)
                x.AsSpan(((t * heads) + h) * size, size).CopyTo(y.AsSpan(((h * tokens) + t) * size));
        return y;
    }

    // softmax(scale·q·kᵀ) over the keys up to each token: [heads, tokens, tokens], the plain loop.
    private static float[] Attention(float[] q, float[] k, int tokens, Heads heads)
    {
        float[] weights = new float[heads.Query * tokens * tokens];
        for (int h = 0; h < heads.Query; h++)
        {
            int keyHead = h / (heads.Query / heads.KeyValue);
            for (int t = 0; t < tokens; t++)
            {
                double[] scores = new double[t + 1];
                for (int s = 0; s <= t; s++)
                    for (int i = 0; i < heads.Size; i++)
                        scores[s] += (double)q[(((t * heads.Query) + h) * heads.Size) + i] * k[(((s * heads.KeyValue) + keyHead) * heads.Size) + i];
                double largest = scores.Max() * heads.Scale, sum = scores.Sum(x => Math.Exp((x * heads.Scale) - largest));
                for (int s = 0; s <= t; s++)
                    weights[(((h * tokens) + t) * tokens) + s] = (float)(Math.Exp((scores[s] * heads.Scale) - largest) / sum);
            }
        }
        return weights;
    }
}
