using System.Text;
using Fude.TestData;

namespace Fude.Tokenizers.Tests;

public sealed class SentencePieceFileTests
{
    private static readonly byte[] Good = File.ReadAllBytes(TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!);

    [Fact]
    public void A_model_cut_off_anywhere_is_an_error_or_a_smaller_model()
    {
        // A cut between two fields of the message leaves a message; the pieces then lack what comes after them.
        for (int length = 0; length < Good.Length; length += 397)
        {
            Exception? error = Record.Exception(() => Load(Good[..length]));
            Assert.True(error is InvalidDataException, $"{length} bytes: {error}");
            Assert.Contains("tokenizer.model", error.Message);
        }
    }

    [Fact]
    public void Damaged_bytes_never_give_another_kind_of_error()
    {
        Random random = new(7);
        foreach (string name in GoldenTokens.SentencePieceFolders)
        {
            byte[] good = File.ReadAllBytes(TestFolders.FindGolden($"tokenizers/{name}/tokenizer.model")!);
            for (int i = 0; i < 10; i++)
            {
                byte[] damaged = [.. good];
                for (int n = 0; n < 20; n++) damaged[random.Next(2) == 0 ? random.Next(damaged.Length) : damaged.Length - 1 - random.Next(400)] = (byte)random.Next(256);
                try
                {
                    Tokenizer tokenizer = Load(damaged);
                    tokenizer.Decode(tokenizer.Encode("吾輩は猫である。Ａｶﾞ①"));
                }
                catch (Exception e) when (e is InvalidDataException or NotSupportedException)
                {
                }
            }
        }
    }

    [Fact]
    public void A_charsmap_that_leads_nowhere_is_no_danger()
    {
        Random random = new(8);
        for (int i = 0; i < 12; i++)
        {
            byte[] charsmap = new byte[600];
            random.NextBytes(charsmap);
            BitConverter.TryWriteBytes(charsmap, 512);
            // Pieces and the normaliser's rules.
            Tokenizer tokenizer = Load(Message(
                Piece("<unk>", 0, kind: 2), Piece("▁a", -1), Piece("b", -2), Field(3, Field(2, charsmap))));
            tokenizer.Encode("ab 日本語 ｶﾞ 𠮷");
        }
        Assert.Contains("precompiled_charsmap", Assert.Throws<InvalidDataException>(
            () => Load(Message(Piece("<unk>", 0, kind: 2), Field(3, Field(2, [255, 255, 255, 127, 0]))))).Message);
    }

    [Fact]
    public void A_length_that_is_not_there_is_an_error_before_anything_is_allocated()
    {
        byte[] lying = [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x07];
        Assert.Contains("34359738367 bytes", Assert.Throws<InvalidDataException>(() => Load([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1, 2])).Message);
        Assert.Contains("2147483647 bytes", Assert.Throws<InvalidDataException>(() => Load(lying)).Message);
        Assert.Throws<InvalidDataException>(() => Load([0x0A, .. Enumerable.Repeat((byte)0xFF, 20)]));
    }

    [Fact]
    public void An_empty_piece_and_a_repeated_one_are_tolerated()
    {
        Tokenizer tokenizer = Load(Message(
            Piece("<unk>", 0, kind: 2), Piece("▁", -1), Piece("", -1), Piece("a", -1), Piece("a", -3), Piece("▁a", -1.5f), Field(2, Varint(3, 2))));
        Assert.Equal(6, tokenizer.VocabularySize);
        Assert.Equal([5, 3], tokenizer.Encode("aa"));
        Assert.Equal("aa", tokenizer.Decode([5, 2, 4]));
        Assert.Equal(3, tokenizer.IdOf("a"));
    }

    [Fact]
    public void What_a_model_needs_and_lacks_is_named()
    {
        Assert.Contains("empty", Assert.Throws<InvalidDataException>(() => Load([])).Message);
        Assert.Contains("no pieces", Assert.Throws<InvalidDataException>(() => Load(Message(Field(2, Varint(3, 1))))).Message);
        Assert.Contains("UNKNOWN", Assert.Throws<InvalidDataException>(() => Load(Message(Piece("a", -1)))).Message);
        Assert.Contains("<0x00>", Assert.Throws<InvalidDataException>(
            () => Load(Message(Piece("<unk>", 0, kind: 2), Field(2, Varint(35, 1))))).Message);
        Assert.Contains("<0xZZ>", Assert.Throws<InvalidDataException>(() => Load(Message(Piece("<unk>", 0, kind: 2), Piece("<0xZZ>", 0, kind: 6)))).Message);
        Assert.Contains("type 9", Assert.Throws<InvalidDataException>(() => Load(Message(Piece("<unk>", 0, kind: 2), Piece("a", 0, kind: 9)))).Message);
        NotSupportedException word = Assert.Throws<NotSupportedException>(() => Load(Message(Piece("<unk>", 0, kind: 2), Field(2, Varint(3, 3)))));
        Assert.Contains("WORD", word.Message);
        Assert.Contains("UNIGRAM and BPE", word.Message);
    }

    [Fact]
    public void Unused_pieces_are_taken_apart_by_BPE_and_passed_over_by_Unigram()
    {
        byte[][] pieces = [Piece("<unk>", 0, kind: 2), Piece("▁", -1), Piece("a", -1), Piece("b", -1), Piece("ab", -2, kind: 5), Piece("abab", -3)];
        Tokenizer bpe = Load(Message([.. pieces, Field(2, Varint(3, 2))]));
        Assert.Equal([1, 5], bpe.Encode("abab"));
        Assert.Equal([1, 2, 3], bpe.Encode("ab"));
        Tokenizer unigram = Load(Message(pieces));
        Assert.Equal([1, 2, 3], unigram.Encode("ab"));
        Assert.Equal([1, 5], unigram.Encode("abab"));
    }

    private static Tokenizer Load(byte[] model)
    {
        using TemporaryFolder folder = new();
        return Tokenizer.Load(folder.Write("tokenizer.model", model));
    }

    private static byte[] Message(params byte[][] fields) => [.. fields.SelectMany(f => f)];

    private static byte[] Piece(string text, float score, int kind = 1) =>
        Field(1, Message(Field(1, Encoding.UTF8.GetBytes(text)), [0x15, .. BitConverter.GetBytes(score)], Varint(3, kind)));

    private static byte[] Field(int number, byte[] content) => [.. Number((number << 3) | 2), .. Number(content.Length), .. content];

    private static byte[] Varint(int number, int value) => [.. Number(number << 3), .. Number(value)];

    private static byte[] Number(int value)
    {
        List<byte> bytes = [];
        for (uint rest = (uint)value; ; rest >>= 7)
        {
            if (rest < 0x80) return [.. bytes, (byte)rest];
            bytes.Add((byte)(rest | 0x80));
        }
    }
}
