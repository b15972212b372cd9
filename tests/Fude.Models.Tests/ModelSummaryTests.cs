using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

public sealed class ModelSummaryTests
{
    private static string ConfigOf(string name) =>
        Path.Combine(TestFolders.Repository, "tests", "Fude.Models.Tests", "Configs", $"{name}.json");

    [Theory]
    [InlineData("japanese-stablelm-base-beta-7b", "LlamaForCausalLM", 6_738_415_616)]
    [InlineData("elyza-japanese-llama-2-7b-instruct", "LlamaForCausalLM", 6_738_415_616)]
    [InlineData("japanese-stablelm-base-ja_vocab-beta-7b", "LlamaForCausalLM", 6_879_703_040)]
    [InlineData("japanese-stablelm-base-beta-70b", "LlamaForCausalLM", 68_976_648_192)]
    [InlineData("elyza-japanese-llama-2-7b-fast-instruct", "LlamaForCausalLM", 6_845_263_872)]
    [InlineData("japanese-stablelm-3b-4e1t-base", "StableLmForCausalLM", 2_795_443_200)]
    [InlineData("llm-jp-1.3b-v1.0", "GPT2LMHeadModel", 1_316_605_952)]
    [InlineData("llm-jp-13b-v1.0", "GPT2LMHeadModel", 12_855_592_960)]
    [InlineData("japanese-stablelm-instruct-gamma-7b", "MistralForCausalLM", 7_241_732_096)]
    public void Parameters_are_counted_exactly_from_the_configuration_alone(string name, string architecture, long parameters)
    {
        ModelSummary summary = ModelSummary.Of(ModelConfig.Load(ConfigOf(name)));
        Assert.Equal(parameters, summary.Parameters);
        Assert.Equal(architecture, summary.Architecture);
    }

    [Fact]
    public void Bytes_are_those_of_matrices_in_the_format_and_vectors_in_float32()
    {
        ModelSummary summary = ModelSummary.Of(ModelConfig.Load(ConfigOf("japanese-stablelm-base-beta-7b")));
        long vectors = ((2 * 32) + 1) * 4096;      // two norms a block and one at the end
        Assert.Equal(6_738_415_616 * 4, summary.BytesIn(NumberFormat.F32));
        Assert.Equal(((6_738_415_616 - vectors) * 2) + (vectors * 4), summary.BytesIn(NumberFormat.F16));
        Assert.Equal(summary.BytesIn(NumberFormat.F16), summary.BytesIn(NumberFormat.BF16));
    }

    [Fact]
    public void Keys_and_values_of_a_token_are_counted_with_shared_heads()
    {
        Assert.Equal(2 * 32 * 4096 * 4, ModelSummary.Of(ModelConfig.Load(ConfigOf("japanese-stablelm-base-beta-7b"))).KeyValueBytesPerToken);
        Assert.Equal(2 * 80 * 1024 * 4, ModelSummary.Of(ModelConfig.Load(ConfigOf("japanese-stablelm-base-beta-70b"))).KeyValueBytesPerToken);
    }

    [Fact]
    public void A_model_fits_when_weights_and_keys_do()
    {
        ModelSummary summary = ModelSummary.Of(ModelConfig.Load(ConfigOf("llm-jp-1.3b-v1.0")));
        long needed = summary.BytesIn(NumberFormat.BF16) + (2048 * summary.KeyValueBytesPerToken);
        Assert.True(summary.Fits(NumberFormat.BF16, 2048, needed));
        Assert.False(summary.Fits(NumberFormat.BF16, 2048, needed - 1));
        // Beside quantised weights keys and values take half the bytes.
        needed = summary.BytesIn(NumberFormat.Q8_0) + (1024 * summary.KeyValueBytesPerToken);
        Assert.True(summary.Fits(NumberFormat.Q8_0, 2048, needed));
        Assert.False(summary.Fits(NumberFormat.Q8_0, 2048, needed - 1));
        Assert.InRange(ModelSummary.AvailableMemoryBytes(), 1 << 20, 1L << 50);
    }

    [Fact]
    public void A_tied_head_counts_once_and_every_weight_has_its_checkpoint_name()
    {
        ModelSummary summary = ModelSummary.Of(ModelConfig.Load(ConfigOf("llm-jp-1.3b-v1.0")));
        Assert.Single(summary.Weights, weight => weight.Rows == 50_688);
        Assert.Contains(summary.Weights, weight => weight.Name.EndsWith("h.23.mlp.c_proj.weight", StringComparison.Ordinal)
            && (weight.Rows, weight.Columns) == (2048, 8192));
    }
}
