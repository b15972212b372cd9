using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class SuffixArrayTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(3, 4)]
    [InlineData(4, 50)]
    [InlineData(5, 5000)]
    public void Suffixes_stand_in_the_order_of_a_naive_sort(int seed, int alphabet)
    {
        Random random = new(seed);
        for (int round = 0; round < 60; round++)
        {
            int[] text = new int[random.Next(0, 300)];
            for (int i = 0; i < text.Length; i++) text[i] = random.Next(alphabet);
            int[] naive = [.. Enumerable.Range(0, text.Length)];
            Array.Sort(naive, (a, b) => text.AsSpan(a).SequenceCompareTo(text.AsSpan(b)));
            Assert.Equal(naive, SuffixArray.Build(text, alphabet));
        }
    }

    [Fact]
    public void Long_repetitions_are_sorted_in_linear_time()
    {
        int[] text = [.. Enumerable.Repeat(1, 300_000), 0, .. Enumerable.Repeat(1, 300_000)];
        int[] suffixes = SuffixArray.Build(text, 2);
        Assert.Equal(300_000, suffixes[0]);                       // 0111… comes first
        Assert.Equal(600_000, suffixes[1]);                       // then the shortest 1
        Assert.Equal(Enumerable.Range(0, text.Length), suffixes.Order());
    }
}
