using System.Buffers.Binary;
using Fude.TestData;

namespace Fude.Corpus.Tests;

/// <summary>Token shards as they are written and read back, as Megatron-LM lays them out, and as nobody should have written them.</summary>
public sealed class TokenShardTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory, InlineData(65_500), InlineData(65_501)]
    public void What_was_written_is_read_back(int vocabulary)
    {
        int[][] documents = [[1, 2, 3], [vocabulary - 1], [.. Enumerable.Range(0, 1000)]];
        Write(vocabulary, documents);
        using TokenShard shard = TokenShard.Open(_folder["a.bin"]);
        Assert.Equal(3, shard.Documents);
        Assert.Equal(1004, shard.Tokens);
        for (int i = 0; i < documents.Length; i++)
        {
            Assert.Equal(documents[i].Length, shard.LengthOf(i));
            Assert.Equal(documents[i], shard.Read(i));
        }
        int[] part = new int[10];
        shard.Read(2, 500, part);
        Assert.Equal(documents[2][500..510], part);
        Assert.Throws<ArgumentException>(() => shard.Read(2, 991, part));
        Assert.Throws<ArgumentOutOfRangeException>(() => shard.Read(3));
        Assert.Equal(["a.bin", "a.idx"], Directory.EnumerateFiles(_folder.Path).Select(file => Path.GetFileName(file)!).Order());
    }

    [Fact]
    public void The_files_are_laid_out_as_Megatron_LM_does_it()
    {
        // Written out by hand from the definition of MMapIndexedDataset: two documents of uint16, the first of 2 tokens, the second of 1.
        Write(100, [5, 6], [7]);
        byte[] index =
        [
            .. "MMIDIDX\0\0"u8, 1, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 1, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        ];
        Assert.Equal(index, File.ReadAllBytes(_folder["a.idx"]));
        Assert.Equal(new byte[] { 5, 0, 6, 0, 7, 0 }, File.ReadAllBytes(_folder["a.bin"]));
    }

    [Fact]
    public void Empty_documents_are_boundaries_without_a_sequence_as_Megatron_LM_writes_them()
    {
        Write(100, [5, 6], [7]);
        byte[] index = File.ReadAllBytes(_folder["a.idx"])[..^24];
        BinaryPrimitives.WriteInt64LittleEndian(index.AsSpan(26), 7);
        _folder.Write("a.idx", [.. index, .. ((long[])[0, 0, 1, 1, 1, 2, 2]).SelectMany(BitConverter.GetBytes)]);
        using TokenShard shard = TokenShard.Open(_folder["a"]);
        Assert.Equal([0, 2, 0, 0, 1, 0], Enumerable.Range(0, shard.Documents).Select(shard.LengthOf));
        Assert.Equal([[], [5, 6], [], [], [7], []], Enumerable.Range(0, shard.Documents).Select(i => shard.Read(i)));
    }

    [Theory]
    [InlineData(1, 1), InlineData(2, 1), InlineData(3, 2), InlineData(4, 4), InlineData(5, 8), InlineData(8, 2)]
    public void Every_type_of_integer_that_Megatron_LM_writes_is_read(byte code, int bytes)
    {
        Write(100, [5, 6], [7]);
        byte[] index = File.ReadAllBytes(_folder["a.idx"]), tokens = new byte[3 * bytes];
        index[17] = code;
        BinaryPrimitives.WriteInt64LittleEndian(index.AsSpan(34 + 8 + 8), 2 * bytes);     // where the second sequence begins
        for (int i = 0; i < 3; i++) tokens[i * bytes] = (byte)(5 + i);
        _folder.Write("a.idx", index);
        _folder.Write("a.bin", tokens);
        using (TokenShard shard = TokenShard.Open(_folder["a"]))
        {
            Assert.Equal([5, 6], shard.Read(0));
            Assert.Equal([7], shard.Read(1));
        }
        if (code is 1 or 8) return;
        // Below 0, or above what an id may be.
        tokens[^1] = 0xFF;
        _folder.Write("a.bin", tokens);
        using TokenShard damaged = TokenShard.Open(_folder["a"]);
        Assert.True(damaged.Read(1)[0] < 0);
    }

    [Fact]
    public void A_document_that_was_not_ended_is_no_silence()
    {
        Write(100, [1, 2], [3]);
        byte[] index = File.ReadAllBytes(_folder["a.idx"]);
        BinaryPrimitives.WriteInt64LittleEndian(index.AsSpan(26), 2);
        _folder.Write("a.idx", index[..^8]);
        Assert.Contains("not ended", Assert.Throws<InvalidDataException>(() => TokenShard.Open(_folder["a"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Documents_of_several_sequences_are_read_across_them()
    {
        Write(100, [1, 2], [3], [4, 5, 6]);
        byte[] index = File.ReadAllBytes(_folder["a.idx"]);
        // Boundaries 0, 2, 3 in the place of 0, 1, 2, 3: the first two sequences are one document.
        BinaryPrimitives.WriteInt64LittleEndian(index.AsSpan(26), 3);
        int boundaries = index.Length - 32;
        BinaryPrimitives.WriteInt64LittleEndian(index.AsSpan(boundaries + 8), 2);
        BinaryPrimitives.WriteInt64LittleEndian(index.AsSpan(boundaries + 16), 3);
        _folder.Write("a.idx", index[..^8]);
        using TokenShard shard = TokenShard.Open(_folder["a"]);
        Assert.Equal(2, shard.Documents);
        Assert.Equal([1, 2, 3], shard.Read(0));
        Assert.Equal([4, 5, 6], shard.Read(1));
    }

    [Fact]
    public void A_writer_that_is_not_completed_leaves_nothing_behind()
    {
        using (TokenShardWriter writer = new(_folder["b"], 100)) writer.Add([1, 2, 3]);
        Assert.Empty(Directory.EnumerateFiles(_folder.Path));
        using TokenShardWriter careful = new(_folder["b"], 100);
        Assert.Throws<ArgumentException>(() => careful.Add([]));
        Assert.Throws<ArgumentException>(() => careful.Add([100]));
        Assert.Throws<ArgumentException>(() => careful.Add([-1]));
    }

    [Fact]
    public void An_empty_shard_is_one()
    {
        Write(100);
        using TokenShard shard = TokenShard.Open(_folder["a"]);
        Assert.Equal((0, 0L), (shard.Documents, shard.Tokens));
    }

    [Fact]
    public void Every_byte_of_an_index_may_be_damaged()
    {
        Write(100, [1, 2], [3], [4, 5, 6]);
        byte[] good = File.ReadAllBytes(_folder["a.idx"]);
        for (int i = 0; i < good.Length; i++)
            foreach (byte flip in (ReadOnlySpan<byte>)[0x01, 0x80, 0xFF])
            {
                byte[] bad = [.. good];
                bad[i] ^= flip;
                _folder.Write("a.idx", bad);
                Try();
            }
        for (int length = 0; length < good.Length; length++)
        {
            _folder.Write("a.idx", good[..length]);
            Assert.Throws<InvalidDataException>(() => TokenShard.Open(_folder["a"]).Dispose());
        }
        _folder.Write("a.idx", good);
        _folder.Write("a.bin", new byte[11]);
        Assert.Throws<InvalidDataException>(() => TokenShard.Open(_folder["a"]).Dispose());
        File.Delete(_folder["a.bin"]);
        Assert.Throws<InvalidDataException>(() => TokenShard.Open(_folder["a"]).Dispose());
    }

    [Fact]
    public void A_mode_for_each_sequence_is_passed_over()
    {
        // As Megatron-LM's multimodal shards have it.
        Write(100, [1, 2], [3], [4, 5, 6]);
        _folder.Write("a.idx", [.. File.ReadAllBytes(_folder["a.idx"]), .. new byte[3]]);
        using TokenShard shard = TokenShard.Open(_folder["a"]);
        Assert.Equal([4, 5, 6], shard.Read(2));
    }

    [Fact]
    public void What_stands_behind_the_last_token_or_the_index_is_of_another_shard()
    {
        Write(100, [1, 2], [3], [4, 5, 6]);
        byte[] index = File.ReadAllBytes(_folder["a.idx"]), tokens = File.ReadAllBytes(_folder["a.bin"]);
        foreach (int more in (int[])[1, 2, 100])
        {
            _folder.Write("a.idx", [.. index, .. new byte[more]]);
            UserLanguage.Fails(() => TokenShard.Open(_folder["a"]), $"a.idx: has {more} bytes after the 3 sequences", $"余分な {more} バイト");
            _folder.Write("a.idx", index);
            _folder.Write("a.bin", [.. tokens, .. new byte[more]]);
            UserLanguage.Fails(() => TokenShard.Open(_folder["a"]), $"a.bin has {12 + more}. The two files are not of one shard", $"a.bin は {12 + more} バイトです");
            _folder.Write("a.bin", tokens);
        }
        TokenShard.Open(_folder["a"]).Dispose();
    }

    [Fact]
    public void A_shard_is_read_through_links_to_its_files()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets few users make links.");
        Write(100, [1, 2], [3], [4, 5, 6]);
        foreach (string ending in (string[])[".bin", ".idx"]) _ = File.CreateSymbolicLink(_folder["link" + ending], _folder["a" + ending]);
        using TokenShard shard = TokenShard.Open(_folder["link"]);
        Assert.Equal((3, 6L), (shard.Documents, shard.Tokens));
        Assert.Equal([4, 5, 6], shard.Read(2));
    }

    [Theory, InlineData(".tokenizer"), InlineData(".bin"), InlineData(".idx")]
    public void A_shard_that_cannot_be_replaced_stays_as_it_was(string ending)
    {
        Write(100, [1, 2], [3]);
        Dictionary<string, byte[]> before = new[] { ".bin", ".idx" }.Where(other => other != ending).ToDictionary(other => other, other => File.ReadAllBytes(_folder["a" + other]));
        File.Delete(_folder["a" + ending]);
        _ = Directory.CreateDirectory(_folder["a" + ending]);
        UserLanguage.Fails(() =>
        {
            Write(100, [7, 8, 9]);
            return null;
        }, $"a{ending} cannot be written: it is a folder.", $"a{ending} はフォルダーのため、書き込めません。");
        foreach ((string other, byte[] bytes) in before) Assert.Equal(bytes, File.ReadAllBytes(_folder["a" + other]));
        Assert.Equal(before.Keys.Append(ending).Order().Select(other => _folder["a" + other]), Directory.GetFileSystemEntries(_folder.Path).Order());
    }

    [Fact]
    public void Sequences_that_overlap_are_damage()
    {
        Write(100, [1, 2, 3], [4, 5, 6]);
        byte[] index = File.ReadAllBytes(_folder["a.idx"]);
        // Both begin at byte 0, and one of them is as long as the file.
        int lengths = index.Length - (3 * sizeof(long)) - (2 * (sizeof(int) + sizeof(long)));
        index[lengths] = 6;
        index[lengths + 8 + 8] = 0;
        _folder.Write("a.idx", index);
        Assert.Contains("sequences overlap", Assert.Throws<InvalidDataException>(() => TokenShard.Open(_folder["a"])).Message, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    // Damage is found, or does no harm.
    private void Try()
    {
        try
        {
            using TokenShard shard = TokenShard.Open(_folder["a"]);
            for (int document = 0; document < shard.Documents; document++) _ = shard.Read(document);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
        }
    }

    private void Write(int vocabulary, params int[][] documents)
    {
        using TokenShardWriter writer = new(_folder["a"], vocabulary);
        foreach (int[] document in documents) writer.Add(document);
        writer.Complete();
    }
}
