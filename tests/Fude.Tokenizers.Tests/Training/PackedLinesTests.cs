using System.IO.Compression;
using System.IO.Pipes;
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

    [Theory]
    [InlineData(CompressionLevel.Fastest)]
    [InlineData(CompressionLevel.SmallestSize)]
    [InlineData(CompressionLevel.NoCompression)]
    public void A_packed_file_that_is_cut_off_anywhere_is_an_error(CompressionLevel level)
    {
        string text = string.Concat(Enumerable.Range(0, 40).Select(i => $"{i} 番目の行{(char)('あ' + i)}\n"));
        byte[] whole = Packed(text, isPacked: true, level);
        for (int length = 2; length < whole.Length; length++)
            Assert.Contains("file.txt: is cut off", Assert.Throws<InvalidDataException>(() => Lines(whole[..length])).Message, StringComparison.Ordinal);
        Assert.Equal(40, Lines(whole).Count);
        // Of several members the first ones are whole files of their own.
        byte[] twice = [.. whole, .. Packed("終\n", isPacked: true, level)];
        Assert.Equal(41, Lines(twice).Count);
        for (int length = whole.Length + 2; length < twice.Length; length++)
            Assert.Contains("file.txt: is cut off", Assert.Throws<InvalidDataException>(() => Lines(twice[..length])).Message, StringComparison.Ordinal);
        // Members are found wherever the reads of the file fall.
        Assert.Equal(3000, Lines([.. Enumerable.Repeat(Packed("終\n", isPacked: true, level), 3000).SelectMany(one => one)]).Count);
    }

    [Fact]
    public void The_last_line_of_a_file_that_is_cut_off_is_never_given()
    {
        byte[] whole = Packed(string.Concat(Enumerable.Range(0, 30_000).Select(i => $"{i * 7919L}\n")), isPacked: true);
        string file = _folder.Write("cut.gz", whole[..(whole.Length / 2)]);
        using PackedLines lines = new(file);
        long next = 0;
        Assert.Throws<InvalidDataException>(() =>
        {
            for (; lines.Next(out ReadOnlyMemory<byte> line); next++)
                Assert.Equal($"{next * 7919L}", Encoding.UTF8.GetString(line.Span));
        });
        Assert.InRange(next, 1000, 29_999);
    }

    [Fact]
    public void What_is_wrong_with_a_packed_file_is_named()
    {
        byte[] whole = Packed("吾輩は猫である。\n", isPacked: true), sum = [.. whole], head = [.. whole];
        sum[^6] ^= 1;
        head[2] = 7;
        Told(sum, "begins like gzip, but is broken: what it holds cannot be unpacked, or is not what its checksum says", "gzip のようですが、破損しています");
        Told(head, "begins like gzip, but is broken", "gzip のようですが、破損しています");
        Told([.. whole, .. "more"u8], "something follows the end of its gzip", "gzip ではないものが続いています");
        Told(whole[..^1], "is cut off", "途中で切れています");

        void Told(byte[] contents, string english, string japanese)
        {
            UserLanguage.Fails(() => Lines(contents), english, japanese);
            Assert.Contains("file.txt: ", Assert.Throws<InvalidDataException>(() => Lines(contents)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void UTF16_is_named()
    {
        foreach (Encoding encoding in (Encoding[])[Encoding.Unicode, Encoding.BigEndianUnicode])
        {
            byte[] bare = encoding.GetBytes("{\"text\": \"猫\"}\n");
            foreach (byte[] contents in (byte[][])[bare, [.. encoding.GetPreamble(), .. bare], [.. encoding.GetPreamble(), .. encoding.GetBytes("猫\n")]])
                UserLanguage.Fails(() => Lines(contents), "file.txt: is UTF-16; fude reads UTF-8 only.", "file.txt: UTF-16 です。読めるのは UTF-8 だけです。");
        }
    }

    [Fact]
    public void A_pipe_is_told_of_instead_of_read_half()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Opens a pipe by its name below /proc.");
        using AnonymousPipeServerStream pipe = new(PipeDirection.Out);
        pipe.Write("猫\n"u8);
        string name = $"/proc/self/fd/{pipe.GetClientHandleAsString()}";
        UserLanguage.Fails(() => new PackedLines(name), $"{name}: is a pipe or a device", $"{name}: パイプまたはデバイスです");
    }

    public void Dispose() => _folder.Dispose();

    private static byte[] Packed(string text, bool isPacked, CompressionLevel level = CompressionLevel.Fastest)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        if (!isPacked) return bytes;
        using MemoryStream packed = new();
        using (GZipStream gzip = new(packed, level, leaveOpen: true)) gzip.Write(bytes);
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
