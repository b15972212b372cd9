using System.Text;
using Fude.Tensors;

namespace Fude.Models.Tests;

/// <summary>Golden has no Mistral, but a Mistral without a window is a Llama, and one block with a window reads as a shorter text.</summary>
public sealed class MistralTests
{
    private static LanguageModel Load(string type, int layers, string window)
    {
        // Golden/models/llama-gqa: 2 blocks, 16 query heads over 2 key heads.
        string config = $$"""
            {"model_type":"{{type}}","vocab_size":320,"hidden_size":128,"intermediate_size":224,"num_hidden_layers":{{layers}},"num_attention_heads":16,
             "num_key_value_heads":2,"max_position_embeddings":128,"rms_norm_eps":1e-05,"rope_theta":10000.0,"sliding_window":{{window}}}
            """;
        return LanguageModel.Create(ModelConfig.Parse(Encoding.UTF8.GetBytes(config)), Checkpoint.Open(GoldenForward.FolderOf("llama-gqa")));
    }

    private static int[] Text(int length) => [.. Enumerable.Range(0, length).Select(i => (i * 37 + 11) % 320)];

    [Theory]
    [InlineData("null")]
    [InlineData("100")]
    [InlineData("4096")]
    public void A_window_as_long_as_the_text_gives_the_logits_of_Llama(string window)
    {
        using LanguageModel llama = Load("llama", 2, "null"), mistral = Load("mistral", 2, window);
        using CpuOps ops = new(2);
        Near.SameBits(llama.Logits(ops, Passes.Batch(Text(100))), mistral.Logits(ops, Passes.Batch(Text(100))), $"window {window}");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(32)]
    [InlineData(40)]
    public void In_one_block_a_token_sees_its_window_and_no_more(int window)
    {
        using LanguageModel llama = Load("llama", 1, "null"), mistral = Load("mistral", 1, $"{window}");
        using CpuOps ops = new(2);
        int[] text = Text(100);
        float[] windowed = mistral.Logits(ops, Passes.Batch(text));
        for (int t = 0; t < text.Length; t += 9)
        {
            // Rotary positions count from each other alone, so the window read as a text of its own must score the same.
            int first = Math.Max(0, t + 1 - window);
            float[] alone = llama.Logits(ops, Passes.Batch(text[first..(t + 1)]));
            Near.Equal(alone.AsSpan(^320..), windowed.AsSpan(t * 320, 320), 1e-4, $"token {t}, window {window}");
        }
    }

    [Fact]
    public void Two_blocks_see_two_windows()
    {
        // The last of 20 tokens reaches back 2·(5−1) tokens through two blocks: a change at the 9th from the end counts, at the 10th not.
        using LanguageModel mistral = Load("mistral", 2, "5");
        using CpuOps ops = new(1);
        int[] text = Text(20), near = Text(20), far = Text(20);
        near[11] = 3;
        far[10] = 3;
        float[] logits = mistral.Logits(ops, Passes.Batch(text));
        Near.SameBits(logits.AsSpan(^320..), mistral.Logits(ops, Passes.Batch(far)).AsSpan(^320..), "out of reach");
        Assert.NotEqual(logits[^320..], mistral.Logits(ops, Passes.Batch(near))[^320..]);
    }
}
