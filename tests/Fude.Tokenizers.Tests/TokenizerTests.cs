using System.Buffers;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Fude.TestData;

namespace Fude.Tokenizers.Tests;

public sealed class TokenizerTests
{
    private static readonly Dictionary<string, Tokenizer> Loaded = GoldenTokens.SentencePieceFolders.ToDictionary(
        name => name, name => Tokenizer.Load(TestFolders.FindGolden($"tokenizers/{name}/tokenizer.model")!));

    // Text as people write it and as they do not: kana, kanji, half-width forms, marks, spaces, emoji, halves of surrogate pairs.
    private static readonly Gen<string> Texts =
        from parts in Gen.ArrayOf(Gen.OneOf(
            Gen.Choose(0x20, 0x7E).Select(Character),
            Gen.Choose(0x3041, 0x30FF).Select(Character),
            Gen.Choose(0x4E00, 0x9FFF).Select(Character),
            Gen.Choose(0xFF61, 0xFF9F).Select(Character),
            Gen.Choose(0x300, 0x36F).Select(Character),
            Gen.Choose(0x1F300, 0x1FAFF).Select(Character),
            Gen.Choose(0, 0xFFFF).Select(c => ((char)c).ToString()),
            Gen.Elements(" ", "  ", "\u3000", "▁", "\n", "\t", "𠮷", "👩‍👩‍👧", "が", "<s>", "[UDS1]", "aaaa", "東京都")))
        select string.Concat(parts);

    public static TheoryData<string> All() => new(Loaded.Keys);

    public static TheoryData<string> Reversible() => new(Loaded.Keys.Where(name => name.Contains("identity") || name.Contains("-like")));

    [Theory, MemberData(nameof(Reversible))]
    public void Decoding_gives_back_any_text_that_the_model_does_not_normalise(string name)
    {
        Tokenizer tokenizer = Loaded[name];
        // SentencePiece cannot tell ▁ from a space, so a text with it comes back with spaces.
        Prop.ForAll(Texts.ToArbitrary(), text => tokenizer.Decode(tokenizer.Encode(text)) == Repaired(text).Replace('▁', ' '))
            .QuickCheckThrowOnFailure();
    }

    [Theory, MemberData(nameof(All))]
    public void Streaming_any_text_gives_what_decoding_the_whole_gives(string name)
    {
        Tokenizer tokenizer = Loaded[name];
        Prop.ForAll(Texts.ToArbitrary(), text =>
        {
            int[] ids = tokenizer.Encode(text);
            return Streaming.Concatenated(tokenizer, ids) == tokenizer.Decode(ids);
        }).QuickCheckThrowOnFailure();
    }

    [Theory, MemberData(nameof(All))]
    public void Streaming_any_ids_gives_what_decoding_the_whole_gives(string name)
    {
        Tokenizer tokenizer = Loaded[name];
        Gen<int[]> ids = Gen.ArrayOf(Gen.OneOf(Gen.Choose(0, tokenizer.VocabularySize - 1), Gen.Choose(0, 300)));
        Prop.ForAll(ids.ToArbitrary(), some => Streaming.Concatenated(tokenizer, some) == tokenizer.Decode(some)).QuickCheckThrowOnFailure();
    }

    [Theory, MemberData(nameof(All))]
    public void Offsets_go_forward_and_cover_all_that_is_not_removed(string name)
    {
        Tokenizer tokenizer = Loaded[name];
        Prop.ForAll(Texts.ToArbitrary(), text =>
        {
            EncodedText encoded = tokenizer.EncodeWithOffsets(text);
            Assert.Equal(tokenizer.Encode(text), encoded.Ids);
            int last = 0;
            bool[] covered = new bool[text.Length];
            foreach ((int start, int end) in encoded.Offsets)
            {
                Assert.InRange(start, last, text.Length);
                Assert.InRange(end, start, text.Length);
                covered.AsSpan(start, end - start).Fill(true);
                last = start;
            }
            // Identity models lose nothing.
            return name.Contains("nfkc") || name.Contains("unk") || !covered.Contains(false);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_lone_surrogate_is_taken_for_the_replacement_character()
    {
        Tokenizer tokenizer = Loaded["spm-bpe-llama2-like"];
        Assert.Equal(tokenizer.Encode("a\uFFFDb\uFFFD"), tokenizer.Encode("a\uD842b\uDFB7"));
        Assert.Equal("a\uFFFDb\uFFFD", tokenizer.Decode(tokenizer.Encode("a\uD842b\uDFB7")));
        Assert.Equal(tokenizer.Encode("\uFFFD𠮷"), tokenizer.Encode("\uDFB7𠮷"));
    }

    [Fact]
    public void Ids_go_to_memory_of_the_caller()
    {
        Tokenizer tokenizer = Loaded["spm-unigram-llmjp-like"];
        int[] ids = tokenizer.Encode("自然言語処理とは何か");
        int[] memory = [.. Enumerable.Repeat(-1, ids.Length)];
        Assert.True(tokenizer.TryEncode("自然言語処理とは何か", memory, out int count));
        Assert.Equal(ids.Length, count);
        Assert.Equal(ids, memory);

        int[] small = [.. Enumerable.Repeat(-1, ids.Length - 1)];
        Assert.False(tokenizer.TryEncode("自然言語処理とは何か", small, out count));
        Assert.Equal(ids.Length, count);
        Assert.All(small, id => Assert.Equal(-1, id));

        ArrayBufferWriter<int> writer = new();
        Assert.Equal(ids.Length, tokenizer.Encode("自然言語処理とは何か", writer));
        Assert.Equal(ids, writer.WrittenSpan.ToArray());
        Assert.Equal(ids.Length, tokenizer.Count("自然言語処理とは何か"));
    }

    [Theory, MemberData(nameof(All))]
    public void Encoding_into_memory_of_the_caller_allocates_nothing(string name) => AllocatesNothing(Loaded[name]);

    [Fact]
    public void Encoding_with_a_tokenizer_json_allocates_nothing()
    {
        using TemporaryFolder folder = new();
        AllocatesNothing(Tokenizer.Load(folder.Write("tokenizer.json", SmallTokenizers.ByteLevel())));
        AllocatesNothing(Tokenizer.Load(folder.Write("tokenizer.json", SmallTokenizers.Unigram(("<unk>", -9), ("猫", -1), ("▁The", -2), (" ", -3)))));
        File.Copy(TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!, Path.Combine(folder.Path, "tokenizer.model"));
        File.Delete(Path.Combine(folder.Path, "tokenizer.json"));
        folder.Write("tokenizer_config.json", """{"tokenizer_class": "LlamaTokenizer", "legacy": true}""");
        AllocatesNothing(Tokenizer.Load(folder.Path));
    }

    private static void AllocatesNothing(Tokenizer tokenizer)
    {
        string text = string.Concat(Enumerable.Repeat("吾輩は猫である。名前はまだ無い。 The cat 🐈 𠮷野家で１２３\n", 200));
        int[] ids = new int[text.Length * 4];
        for (int i = 0; i < 3; i++) Assert.True(tokenizer.TryEncode(text, ids, out _));
        long before = GC.GetAllocatedBytesForCurrentThread();
        tokenizer.TryEncode(text, ids, out int count);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.InRange(count, 1000, ids.Length);
        Assert.Equal(0, allocated);
    }

    [Fact]
    public void Several_threads_at_once_get_the_same_ids()
    {
        Tokenizer tokenizer = Loaded["spm-bpe-llama2-like"];
        int[][] expected = [.. GoldenTokens.Lines.Select(line => tokenizer.Encode(line))];
        Parallel.For(0, 4, _ =>
        {
            for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], tokenizer.Encode(GoldenTokens.Lines[i]));
        });
    }

    [Fact]
    public void The_vocabulary_can_be_looked_through()
    {
        Tokenizer tokenizer = Loaded["spm-unigram-llmjp-like"];
        VocabularyPiece[] pieces = [.. tokenizer.Pieces];
        Assert.Equal(tokenizer.VocabularySize, pieces.Length);
        Assert.Equal(TokenizerModel.Unigram, tokenizer.Model);
        Assert.Equal((0, 1, 2, null), (tokenizer.UnknownId, tokenizer.BeginId, tokenizer.EndId, tokenizer.PaddingId));
        Assert.Equal(256, pieces.Count(p => p.Kind == PieceKind.Byte));
        Assert.Contains(pieces, p => p is { Text: "[UDS1]", Kind: PieceKind.UserDefined });
        Assert.All(pieces, p => Assert.Equal(p.Text, tokenizer.TokenOf(p.Id)));
        Assert.All(pieces, p => Assert.Equal(p.Id, tokenizer.IdOf(p.Text)));
        Assert.Null(tokenizer.IdOf("no such piece"));
        Assert.True(tokenizer.IsSpecial(1));
        Assert.False(tokenizer.IsSpecial(pieces[^1].Id));
    }

    [Fact]
    public void An_id_outside_the_vocabulary_is_an_error_that_names_it()
    {
        Tokenizer tokenizer = Loaded["spm-bpe-llama2-like"];
        foreach (int id in (int[])[-1, 3600, int.MaxValue])
        {
            Assert.Contains(id.ToString(System.Globalization.CultureInfo.InvariantCulture), Assert.Throws<ArgumentException>(() => tokenizer.Decode([id])).Message);
            Assert.Throws<ArgumentException>(() => tokenizer.DecodeStreaming().Push(id));
            Assert.Throws<ArgumentException>(() => tokenizer.TokenOf(id));
        }
    }

    [Fact]
    public void A_character_that_was_only_begun_can_be_dropped_at_the_end()
    {
        Tokenizer tokenizer = Loaded["spm-bpe-llama2-like"];
        int[] ids = tokenizer.Encode("猫𠮷");      // 𠮷 has four bytes and no piece
        Assert.Equal("猫\uFFFD\uFFFD", tokenizer.Decode(ids.AsSpan(0, ids.Length - 2)));
        StreamingDecoder decoder = tokenizer.DecodeStreaming();
        StringBuilder text = new();
        foreach (int id in ids[..^2]) text.Append(decoder.Push(id));
        Assert.Equal("猫", text.ToString());
        Assert.Equal(2, decoder.UnfinishedBytes);
        Assert.Equal("", decoder.Finish(dropUnfinished: true));
        Assert.Throws<InvalidOperationException>(() => decoder.Push(ids[0]));
    }

    [Fact]
    public void An_explanation_shows_normal_form_pieces_and_places()
    {
        TokenizerExplanation explanation = Loaded["spm-unigram-nmt_nfkc"].Explain("ｶﾞ  ①");
        Assert.Equal(["▁ガ▁1"], explanation.NormalizedText);
        Assert.Equal("▁ガ▁1", string.Concat(explanation.Tokens.Select(t => t.Piece.Text)));
        Assert.Equal("①", explanation.Tokens[^1].Text);
        Assert.Equal((4, 5), (explanation.Tokens[^1].Start, explanation.Tokens[^1].End));
        Assert.All(explanation.Tokens, t => Assert.True(t.Piece.Score < 0));
    }

    private static string Character(int codePoint) => new Rune(codePoint).ToString();

    private static string Repaired(string text)
    {
        StringBuilder repaired = new();
        foreach (Rune rune in text.EnumerateRunes()) repaired.Append(rune.ToString());      // lone surrogates become U+FFFD
        return repaired.ToString();
    }
}
