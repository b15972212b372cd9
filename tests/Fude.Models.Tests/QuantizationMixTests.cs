using System.Globalization;
using System.Text;
using Fude.Tensors;

namespace Fude.Models.Tests;

public sealed class QuantizationMixTests
{
    private static ModelConfig Llama(int layers, int width = 256, int heads = 4, int keyHeads = 4, bool tied = false) =>
        ModelConfig.Parse(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $$"""
            {"model_type":"llama","vocab_size":512,"hidden_size":{{width}},"intermediate_size":512,"num_hidden_layers":{{layers}},
             "num_attention_heads":{{heads}},"num_key_value_heads":{{keyHeads}},"tie_word_embeddings":{{(tied ? "true" : "false")}} }
            """)));

    private static Dictionary<string, NumberFormat> Formats(ModelConfig config, QuantizationMix mix, bool hasImportance = false) =>
        GgufNames.Of(config).ToDictionary(entry => entry.Gguf, entry => mix.FormatOf(config, entry, hasImportance));

    [Fact]
    public void Q4_K_M_gives_more_bits_where_llama_cpp_does()
    {
        // llama.cpp's own mix for 32 blocks: 0 to 3, 6, 9, …, 27, 28 to 31 have Q6_K for values and down projections.
        int[] more = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31];
        Dictionary<string, NumberFormat> formats = Formats(Llama(32), QuantizationMix.Q4_K_M);
        for (int layer = 0; layer < 32; layer++)
        {
            NumberFormat expected = more.Contains(layer) ? NumberFormat.Q6_K : NumberFormat.Q4_K;
            Assert.Equal(expected, formats[$"blk.{layer}.attn_v.weight"]);
            Assert.Equal(expected, formats[$"blk.{layer}.ffn_down.weight"]);
            Assert.Equal(NumberFormat.Q4_K, formats[$"blk.{layer}.attn_q.weight"]);
            Assert.Equal(NumberFormat.Q4_K, formats[$"blk.{layer}.ffn_up.weight"]);
            Assert.Equal(NumberFormat.F32, formats[$"blk.{layer}.attn_norm.weight"]);
        }
        Assert.Equal((NumberFormat.Q6_K, NumberFormat.Q4_K), (formats["output.weight"], formats["token_embd.weight"]));
        Assert.Equal(NumberFormat.Q6_K, Formats(Llama(32), QuantizationMix.Q5_K_M)["blk.31.ffn_down.weight"]);
        Assert.Equal(NumberFormat.Q5_K, Formats(Llama(32), QuantizationMix.Q5_K_M)["blk.4.ffn_down.weight"]);
    }

    [Fact]
    public void Shared_values_of_eighty_blocks_get_five_bits_at_least()
    {
        ModelConfig config = Llama(80, 512, 8, 1);
        Dictionary<string, NumberFormat> formats = Formats(config, QuantizationMix.Q4_K_M);
        Assert.Equal((NumberFormat.Q6_K, NumberFormat.Q5_K), (formats["blk.0.attn_v.weight"], formats["blk.10.attn_v.weight"]));
    }

    [Fact]
    public void A_tied_head_is_kept_as_well_as_one_of_its_own() =>
        Assert.Equal(NumberFormat.Q6_K, Formats(Llama(2, tied: true), QuantizationMix.Q4_K_M)["token_embd.weight"]);

    [Theory]
    [InlineData(QuantizationMix.Q8_0, NumberFormat.Q8_0, NumberFormat.Q8_0)]
    [InlineData(QuantizationMix.Q4_0, NumberFormat.Q4_0, NumberFormat.Q6_K)]
    [InlineData(QuantizationMix.Q5_1, NumberFormat.Q5_1, NumberFormat.Q6_K)]
    [InlineData(QuantizationMix.Q6_K, NumberFormat.Q6_K, NumberFormat.Q6_K)]
    [InlineData(QuantizationMix.F16, NumberFormat.F16, NumberFormat.F16)]
    [InlineData(QuantizationMix.BF16, NumberFormat.BF16, NumberFormat.BF16)]
    [InlineData(QuantizationMix.F32, NumberFormat.F32, NumberFormat.F32)]
    public void Plain_mixes_differ_in_the_head_alone(QuantizationMix mix, NumberFormat own, NumberFormat head)
    {
        Dictionary<string, NumberFormat> formats = Formats(Llama(4), mix);
        Assert.Equal(head, formats["output.weight"]);
        foreach ((string name, NumberFormat format) in formats)
            if (name != "output.weight" && !name.Contains("norm", StringComparison.Ordinal)) Assert.Equal(own, format);
    }

    [Theory]
    [InlineData(96, NumberFormat.Q5_0, NumberFormat.Q8_0)]
    [InlineData(80, NumberFormat.F16, NumberFormat.F16)]
    public void Rows_that_are_not_whole_blocks_fall_back_as_in_llama_cpp(int width, NumberFormat own, NumberFormat head)
    {
        Dictionary<string, NumberFormat> formats = Formats(Llama(4, width), QuantizationMix.Q4_K_M);
        Assert.Equal((own, head), (formats["blk.0.attn_q.weight"], formats["output.weight"]));
        Assert.Equal(NumberFormat.Q6_K, formats["blk.3.ffn_down.weight"]);      // its rows have 512 numbers
    }

    [Fact]
    public void Fused_queries_keys_and_values_get_a_bit_more()
    {
        ModelConfig config = ModelConfig.Parse(
            """{"model_type":"gpt2","vocab_size":512,"n_embd":256,"n_layer":8,"n_head":4,"n_positions":64}"""u8.ToArray());
        Assert.Equal(NumberFormat.Q5_K, Formats(config, QuantizationMix.Q4_K_M)["blk.3.attn_qkv.weight"]);
        Assert.Equal(NumberFormat.Q6_K, Formats(config, QuantizationMix.Q5_K_M)["blk.3.attn_qkv.weight"]);
        Assert.Equal(NumberFormat.F32, Formats(config, QuantizationMix.Q4_K_M)["position_embd.weight"]);
    }

    [Fact]
    public void With_importances_the_first_down_projections_get_a_minimum()
    {
        Dictionary<string, NumberFormat> formats = Formats(Llama(16), QuantizationMix.Q4_0, hasImportance: true);
        Assert.Equal(NumberFormat.Q4_1, formats["blk.1.ffn_down.weight"]);
        Assert.Equal(NumberFormat.Q4_0, formats["blk.2.ffn_down.weight"]);
    }

    [Fact]
    public void Names_are_read_in_any_case_and_unknown_ones_are_answered_with_the_list()
    {
        Assert.Equal(QuantizationMix.Q4_K_M, QuantizationMixes.Parse("q4_k_m"));
        Assert.Equal(QuantizationMix.BF16, QuantizationMixes.Parse("BF16"));
        Assert.Contains("q4_k_m", Assert.Throws<ArgumentException>(() => QuantizationMixes.Parse("q3")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => QuantizationMixes.Parse("15"));
    }
}
