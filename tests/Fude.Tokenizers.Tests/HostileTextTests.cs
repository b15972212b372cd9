using Fude.TestData;

namespace Fude.Tokenizers.Tests;

/// <summary>A megabyte of the worst: work and memory must stay in proportion to the text, or these would not come to an end.</summary>
public sealed class HostileTextTests
{
    private const int Length = 1 << 20;

    public static TheoryData<string, string> Cases()
    {
        TheoryData<string, string> cases = [];
        foreach (string model in (string[])["spm-bpe-llama2-like", "spm-unigram-llmjp-like", "spm-unigram-nmt_nfkc", "byte-level", "byte-level-unsplit"])
            foreach (string text in (string[])["one letter", "one kanji", "spaces", "no space", "bytes", "marks", "marks of two"]) cases.Add(model, text);
        return cases;
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_megabyte_is_encoded_in_memory_in_proportion_to_it(string model, string text)
    {
        using TemporaryFolder folder = new();
        Tokenizer tokenizer = model.StartsWith("byte-level", StringComparison.Ordinal)
            ? Tokenizer.Load(folder.Write("tokenizer.json", SmallTokenizers.ByteLevel(splits: model == "byte-level")))
            : Tokenizer.Load(TestFolders.FindGolden($"tokenizers/{model}/tokenizer.model")!);
        string hostile = text switch
        {
            "one letter" => new string('a', Length),
            "one kanji" => new string('語', Length / 3),
            "spaces" => new string(' ', Length),
            "no space" => string.Concat(Enumerable.Repeat("abcdefghijあいうえおかきくけこ日本語", Length / 58)),
            "marks of two" => new string('\u0F73', Length / 3),      // each is two marks, and the first halves of all go before the second ones
            "bytes" => string.Concat(Enumerable.Repeat("𠮷𩸽\U000E0100", Length / 12)),
            _ => "e" + new string('\u0301', Length / 2),
        };
        tokenizer.Encode("warm up");
        long before = GC.GetAllocatedBytesForCurrentThread();
        int[] ids = tokenizer.Encode(hostile);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        // Buffers that double: at most about a hundred bytes a character at a time, twice that in all.
        Assert.InRange(allocated, 0, 300L * Length);
        // Nothing is kept but in the end a few tokens (extra white space may be removed).
        if (model.EndsWith("-like", StringComparison.Ordinal)) Assert.Equal(hostile, tokenizer.Decode(ids));
    }
}
