using System.Runtime.InteropServices;
using System.Text;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

/// <summary>Importances are the mean squares of what each weight reads, and quantising with them loses less where it matters.</summary>
public sealed class CalibrationTests
{
    private static readonly int[] Text = [.. Enumerable.Range(0, 40).Select(i => (i * 7 + 3) % 50)];

    private static readonly ModelConfig Config = ModelConfig.Parse(Encoding.UTF8.GetBytes("""
        {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 16}
        """));

    private static LanguageModel Model() => LanguageModel.Create(Config, new RandomWeights(NumberFormat.F32, seed: 3));

    [Fact]
    public void Every_matrix_has_the_mean_squares_of_its_input()
    {
        using LanguageModel model = Model();
        using CpuOps ops = new(2);
        Calibration calibration = Calibration.Measure(model, ops, Text);
        Assert.Equal(40, calibration.Tokens);
        foreach (string name in (string[])["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"])
        {
            float[] means = calibration.Of($"model.layers.1.{name}.weight")!;
            Assert.Equal(name == "mlp.down_proj" ? 96 : 64, means.Length);
            Assert.All(means, mean => Assert.True(mean > 0));
        }
        // q, k and v read the same numbers; so do gate and up. What follows an RMS norm with gain 1 has mean square 1.
        Assert.Equal(calibration.Of("model.layers.0.self_attn.q_proj.weight"), calibration.Of("model.layers.0.self_attn.v_proj.weight"));
        Assert.Equal(calibration.Of("model.layers.0.mlp.gate_proj.weight"), calibration.Of("model.layers.0.mlp.up_proj.weight"));
        Assert.Null(calibration.Of("model.embed_tokens.weight"));
        Assert.Null(calibration.Of("no.such.weight"));
    }

    [Fact]
    public void Windows_are_read_with_what_begins_them_and_the_means_are_those_of_the_hidden_states()
    {
        using LanguageModel model = Model();
        using CpuOps ops = new(1);
        RecordingOps recording = new(ops);
        double[] expected = new double[64];
        int count = 0;
        for (int first = 0; first < Text.Length; first += 15)
        {
            int[] window = [1, .. Text.AsSpan(first, Math.Min(15, Text.Length - first))], all = [.. Enumerable.Range(0, window.Length)];
            model.Run(recording, new Batch(window, all, [new Sequence(0, window.Length)], all));
            for (int i = 0; i < recording.LastNorm.Length; i++) expected[i % 64] += (double)recording.LastNorm[i] * recording.LastNorm[i];
            count += window.Length;
        }
        Calibration calibration = Calibration.Measure(model, ops, Text, begin: 1);
        Assert.Equal(count, calibration.Tokens);
        Assert.All(expected.Zip(calibration.Of("lm_head.weight")!), pair => Assert.Equal(pair.First / count, pair.Second, 1e-5));
    }

    [Fact]
    public void A_model_whose_numbers_are_not_finite_is_refused()
    {
        using RandomWeights weights = new(NumberFormat.F32);
        Marshal.Copy([float.NaN], 0, weights.Vector("model.layers.1.post_attention_layernorm.weight", 64).Address, 1);
        using LanguageModel model = LanguageModel.Create(Config, weights);
        using CpuOps ops = new(1);
        Assert.Contains("'model.layers.1.mlp.", Assert.Throws<InvalidDataException>(() => Calibration.Measure(model, ops, Text)).Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Goldens))]
    public void A_matrix_of_any_family_can_be_asked_for_by_its_name(string family)
    {
        ModelFolder folder = ModelFolder.Open(TestFolders.FindGolden($"models/{family}")!);
        using LanguageModel model = folder.LoadModel();
        using CpuOps ops = new(1);
        Calibration calibration = Calibration.Measure(model, ops, [1, 2, 3, 4, 5]);
        foreach (GgufEntry entry in GgufNames.Of(folder.Config))
        {
            if (entry.IsVector || entry.Gguf is "token_embd.weight" or "position_embd.weight") continue;
            Assert.Equal(entry.Columns, calibration.Of(entry.Name)!.Length);
        }
    }

    [Theory, MemberData(nameof(Goldens))]
    public void A_GGUF_file_has_the_importances_of_its_folder_under_the_same_names(string family)
    {
        ModelFolder folder = ModelFolder.Open(TestFolders.FindGolden($"models/{family}")!);
        using TemporaryFolder written = new();
        GgufExport.Write(folder, written["m.gguf"], QuantizationMix.F32);
        using LanguageModel model = folder.LoadModel(), same = LanguageModel.Load(written["m.gguf"]);
        using CpuOps ops = new(1);
        Calibration expected = Calibration.Measure(model, ops, [1, 2, 3, 4, 5]), found = Calibration.Measure(same, ops, [1, 2, 3, 4, 5]);
        foreach (GgufEntry entry in GgufNames.Of(folder.Config).Where(entry => !entry.IsVector))
            Assert.Equal(expected.Of(entry.Name), found.Of(entry.Name));
    }

    public static TheoryData<string> Goldens() => ["llama-mha", "llama-gqa", "gpt2-gelu"];

    [Theory]
    [InlineData(QuantizationMix.Q4_0)]
    [InlineData(QuantizationMix.Q5_0)]
    public void Weighted_errors_are_smaller_with_importances(QuantizationMix mix)
    {
        using LanguageModel model = Model();
        using CpuOps ops = new(2);
        Calibration calibration = Calibration.Measure(model, ops, Text);
        NumberFormat format = Enum.Parse<NumberFormat>(mix.ToString());
        Random random = new(4);
        float[] importance = calibration.Of("model.layers.0.mlp.down_proj.weight")!, row = new float[96], back = new float[96];
        byte[] bytes = new byte[format.Bytes(96)];
        double with = 0, without = 0;
        for (int i = 0; i < 200; i++)
        {
            for (int j = 0; j < row.Length; j++) row[j] = (float)(random.NextDouble() - random.NextDouble());
            with += Error(importance);
            without += Error([]);
        }
        Assert.True(with < without, $"{with} < {without}");

        double Error(float[] weights)
        {
            format.Narrow(row, bytes, weights);
            format.Widen(bytes, back);
            return row.Select((x, j) => (double)importance[j] * (x - back[j]) * (x - back[j])).Sum();
        }
    }

    [Fact]
    public void The_default_text_is_japanese_and_nothing_can_be_calibrated_with_no_text()
    {
        Assert.InRange(Calibration.DefaultText.Length, 1500, 5000);
        Assert.True(Calibration.DefaultText.Count(c => c is >= '\u3040' and <= '\u30FF') > 800);
        using LanguageModel model = Model();
        using CpuOps ops = new(1);
        Assert.Throws<ArgumentException>(() => Calibration.Measure(model, ops, []));
    }
}
