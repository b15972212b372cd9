using System.IO.Compression;
using System.Text;
using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class PackedLinesTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory, InlineData(false), InlineData(true)]
    public void Lines_come_without_their_ends_and_without_a_byte_order_mark(bool isPacked)
    {
        string longest = new('猫', 70_000);
        Assert.Equal(["一", "", longest, "\uFEFF二", "終"], Lines(Packed($"\uFEFF一\r\n\n{longest}\n\uFEFF二\n終", isPacked)));
        Assert.Empty(Lines(Packed("", isPacked)));
        Assert.Equal([""], Lines(Packed("\n", isPacked)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(30)]
    public void A_packed_file_that_is_cut_off_is_no_shorter_text(int missing)
    {
        byte[] whole = Packed(string.Concat(Enumerable.Range(0, 500).Select(i => $"{i} 番目の行\n")), isPacked: true);
        Assert.Contains("cut off", Assert.Throws<InvalidDataException>(() => Lines(whole[..^missing])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_beginning_of_a_packed_file_alone_is_named_as_such()
    {
        byte[] whole = Packed("猫\n", isPacked: true);
        foreach (int length in (ReadOnlySpan<int>)[2, 3, 10, 17])
            Assert.Contains("file.txt", Assert.Throws<InvalidDataException>(() => Lines(whole[..length])).Message, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private static byte[] Packed(string text, bool isPacked)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        if (!isPacked) return bytes;
        using MemoryStream packed = new();
        using (GZipStream gzip = new(packed, CompressionLevel.Fastest, leaveOpen: true)) gzip.Write(bytes);
        return packed.ToArray();
    }

    private List<string> Lines(byte[] contents)
    {
        string file = Path.Combine(_folder.Path, "file.txt");
        File.WriteAllBytes(file, contents);
        using PackedLines lines = new(file);
        List<string> all = [];
        while (lines.Next(out ReadOnlyMemory<byte> line)) all.Add(Encoding.UTF8.GetString(line.Span));
        Assert.Equal(contents.Length, lines.Position);
        return all;
    }
}
