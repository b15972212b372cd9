using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class SegmentCounterTests
{
    private static void Add(SegmentCounter counter, string text, long count = 1) => counter.Add(text, SegmentCounter.Hash(text), count);

    [Fact]
    public void Every_stretch_is_counted_exactly()
    {
        Random random = new(5);
        SegmentCounter counter = new(1_000_000);
        Dictionary<string, long> naive = [];
        for (int i = 0; i < 50_000; i++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(1, 8)).Select(_ => (char)random.Next('あ', 'あ' + 6)));
            Add(counter, text);
            naive[text] = naive.GetValueOrDefault(text) + 1;
        }
        Assert.Equal(0, counter.Thinnings);
        Assert.Equal(naive.Count, counter.Count);
        for (int i = 0; i < counter.Count; i++) Assert.Equal(naive[counter.Text(i).ToString()], counter.Occurrences(i));
    }

    [Fact]
    public void Counts_go_beyond_32_bits()
    {
        SegmentCounter counter = new(1000);
        Add(counter, "の", long.MaxValue / 4);
        Add(counter, "の", long.MaxValue / 4);
        Assert.Equal(long.MaxValue / 4 * 2, counter.Occurrences(0));
    }

    [Fact]
    public void Thinning_keeps_to_the_memory_allowed_and_on_average_to_the_sums()
    {
        SegmentCounter counter = new(20_000);
        for (int i = 0; i < 40_000; i++)
        {
            Add(counter, $"語{i}");
            Add(counter, "よくある");
        }
        long characters = 0, rare = 0;
        for (int i = 0; i < counter.Count; i++)
        {
            characters += counter.Text(i).Length;
            if (counter.Text(i) is "よくある") Assert.Equal(40_000, counter.Occurrences(i));      // what is frequent stays exact
            else rare += counter.Occurrences(i);
        }
        Assert.InRange(counter.Thinnings, 3, 40);
        Assert.InRange(characters, 5_000, 20_000);
        Assert.InRange(rare, 30_000, 50_000);
    }
}
