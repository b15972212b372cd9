using System.Text;

namespace Fude.Models.Tests;

public sealed class GgufNamesTests
{
    private static ModelConfig Config(string family) => ModelConfig.Parse(Encoding.UTF8.GetBytes(TinyModels.Configs[family]));

    [Fact]
    public void Rows_of_a_rotated_head_are_interleaved()
    {
        GgufEntry entry = new("q", "q", 16, 8, false, false, 2);
        int[] order = [.. Enumerable.Range(0, 16).Select(entry.RowInCheckpoint)];
        Assert.Equal([0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15], order);
        Assert.Equal(Enumerable.Range(0, 16), order.Select(entry.RowInFile));
        GgufEntry bias = new("q", "q", 1, 16, true, false, 2);
        Assert.Equal(order, Enumerable.Range(0, 16).Select(bias.RowInCheckpoint));
        Assert.Equal(5, (entry with { RotatedHeads = 0 }).RowInFile(5));
    }

    [Fact]
    public void Names_are_those_of_llama_cpp()
    {
        Assert.Equal(
            ["token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_q.bias", "blk.0.attn_k.weight",
                "blk.0.attn_k.bias", "blk.0.attn_v.weight", "blk.0.attn_v.bias", "blk.0.attn_output.weight", "blk.0.attn_output.bias", "blk.0.ffn_norm.weight",
                "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"],
            GgufNames.Of(Config("llama")).Take(14).Select(entry => entry.Gguf));
        Assert.Equal("output_norm.weight", GgufNames.Of(Config("llama"))[^1].Gguf);          // the head is tied
        Assert.Equal("output.weight", GgufNames.Of(Config("mistral"))[^1].Gguf);
        Assert.Equal(
            ["token_embd.weight", "position_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_norm.bias", "blk.0.attn_qkv.weight",
                "blk.0.attn_qkv.bias", "blk.0.attn_output.weight", "blk.0.attn_output.bias", "blk.0.ffn_norm.weight", "blk.0.ffn_norm.bias",
                "blk.0.ffn_up.weight", "blk.0.ffn_up.bias", "blk.0.ffn_down.weight", "blk.0.ffn_down.bias"],
            GgufNames.Of(Config("gpt2")).Take(14).Select(entry => entry.Gguf));
        Assert.Contains(GgufNames.Of(Config("stablelm")), entry => entry is { Gguf: "output_norm.bias", Name: "model.norm.bias" });
    }

    [Theory]
    [InlineData("llama", 6, 2)]
    [InlineData("mistral", 6, 2)]
    [InlineData("stablelm", 0, 0)]
    [InlineData("gpt2", 0, 0)]
    public void Only_llamas_queries_and_keys_change_their_order(string family, int queryHeads, int keyHeads)
    {
        foreach (GgufEntry entry in GgufNames.Of(Config(family)))
        {
            int expected = entry.Gguf.Contains("attn_q.", StringComparison.Ordinal) ? queryHeads
                : entry.Gguf.Contains("attn_k.", StringComparison.Ordinal) ? keyHeads : 0;
            Assert.Equal(expected, entry.RotatedHeads);
        }
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("mistral")]
    [InlineData("stablelm")]
    [InlineData("gpt2")]
    public void The_table_holds_every_tensor_the_family_asks_for(string family)
    {
        Recorder recorder = new();
        using LanguageModel model = LanguageModel.Create(Config(family), recorder);
        HashSet<string> listed = [.. GgufNames.Of(Config(family)).Select(entry => entry.Name)];
        Assert.Equal(listed.Order(), recorder.Asked.Distinct().Order());
    }

    private sealed class Recorder : Tensors.IWeightStore
    {
        private readonly Tensors.ShapeWeights _shapes = new();

        public List<string> Asked { get; } = [];

        public bool Contains(string name) => true;

        public Tensors.Weight Matrix(string name, int rows, int columns, bool transposed = false)
        {
            Asked.Add(name);
            return _shapes.Matrix(name, rows, columns, transposed);
        }

        public Tensors.Weight Vector(string name, int length)
        {
            Asked.Add(name);
            return _shapes.Vector(name, length);
        }

        public void Dispose() => _shapes.Dispose();
    }
}
