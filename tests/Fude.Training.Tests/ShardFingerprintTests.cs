using Fude.TestData;

namespace Fude.Training.Tests;

public sealed class ShardFingerprintTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void Every_byte_of_a_small_file_counts_and_so_does_its_length()
    {
        byte[] bytes = [.. Enumerable.Range(0, 40).Select(i => (byte)i)];
        HashSet<string> found = [Of(bytes, 4, 16), Of([.. bytes, 0], 4, 16), Of(bytes[..^1], 4, 16), Of([], 4, 16), Of([0], 4, 16)];
        for (int i = 0; i < bytes.Length; i++)
        {
            byte[] other = [.. bytes];
            other[i] ^= 1;
            Assert.True(found.Add(Of(other, 4, 16)));
        }
        Assert.Equal(Of(bytes, 4, 16), Of(bytes, 4, 16));
    }

    [Fact]
    public void Of_a_large_file_blocks_from_the_first_byte_to_the_last_count()
    {
        byte[] bytes = [.. Enumerable.Range(0, 1000).Select(i => (byte)(7 * i))];
        string expected = Of(bytes, 4, 16);
        // Four blocks of 16 at 0, 328, 656 and 984.
        foreach ((int place, bool counts) in ((int, bool)[])[(0, true), (15, true), (16, false), (327, false), (328, true), (671, true), (672, false), (983, false), (984, true), (999, true)])
        {
            byte[] other = [.. bytes];
            other[place] ^= 1;
            Assert.Equal(counts, expected != Of(other, 4, 16));
        }
        Assert.NotEqual(expected, Of([.. bytes, 0], 4, 16));
    }

    public void Dispose() => _folder.Dispose();

    private string Of(byte[] bytes, int blocks, int blockBytes) => ShardFingerprint.OfFile(_folder.Write("a.bin", bytes), blocks, blockBytes);
}
