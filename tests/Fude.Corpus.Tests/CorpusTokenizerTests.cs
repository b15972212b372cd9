using System.Text.Json.Nodes;
using Fude.TestData;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;

namespace Fude.Corpus.Tests;

/// <summary>Shards hold each document's tokens, in order, whatever the number of threads.</summary>
public sealed class CorpusTokenizerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_shard_holds_every_document_with_its_end_in_order()
    {
        Tokenizer tokenizer = Trained(out string text, out string[] documents);

        TokenizedCorpus report = CorpusTokenizer.Write(new TrainingText(text), tokenizer, _folder["one"], tokenizer.EndId, threads: 1);
        CorpusTokenizer.Write(new TrainingText(text), tokenizer, _folder["two"], tokenizer.EndId, threads: 2);
        Assert.Equal(File.ReadAllBytes(_folder["one.bin"]), File.ReadAllBytes(_folder["two.bin"]));
        Assert.Equal(File.ReadAllBytes(_folder["one.idx"]), File.ReadAllBytes(_folder["two.idx"]));

        using TokenShard shard = TokenShard.Open(_folder["one"]);
        Assert.Equal((300, shard.Tokens), (report.Documents, report.Tokens));
        Assert.Equal(documents.Sum(document => document.Length), report.Characters);
        for (int i = 0; i < documents.Length; i++)
        {
            int[] ids = new int[shard.LengthOf(i)];
            shard.Read(i, 0, ids);
            Assert.Equal(tokenizer.BeginId, ids[0]);
            Assert.Equal(tokenizer.EndId, ids[^1]);
            Assert.Equal(documents[i], tokenizer.Decode(ids, skipSpecialTokens: true));
        }
    }

    [Theory]
    [InlineData(1), InlineData(2)]
    public void What_the_tokenizer_has_no_token_for_is_told_with_its_place(int threads)
    {
        string text = _folder.Write("text.jsonl", """
            {"text": "ああ"}
            {"text": "いい"}
            """);
        Tokenizer tokenizer = Tokenizer.Load(_folder.Write("tokenizer.json", """{"model": {"type": "Unigram", "unk_id": null, "vocab": [["あ", -1.0]]}}"""));
        InvalidDataException failure = Assert.Throws<InvalidDataException>(() => CorpusTokenizer.Write(new TrainingText(text), tokenizer, _folder["one"], end: null, threads));
        Assert.StartsWith($"{text}:2: ", failure.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_folder.Path, "one*"));
    }

    [Fact]
    public void A_shard_says_which_tokenizer_it_is_of()
    {
        Tokenizer other = Trained(out _, out _, vocabulary: 380), tokenizer = Trained(out string text, out _), grown = WithAddedToken();
        CorpusTokenizer.Write(new TrainingText(text), tokenizer, _folder["one"], tokenizer.EndId);
        using TokenShard shard = TokenShard.Open(_folder["one"]);
        ShardTokenizer.Require(shard, tokenizer, "the first");
        string message = Assert.Throws<InvalidDataException>(() => ShardTokenizer.Require(shard, other, "the second")).Message;
        Assert.Contains(_folder["one"], message, StringComparison.Ordinal);
        Assert.Contains("the second", message, StringComparison.Ordinal);
        // One with more pieces behind the same ones means the same by every id; with fewer it does not.
        Assert.Equal(tokenizer.VocabularySize + 1, grown.VocabularySize);
        ShardTokenizer.Require(shard, grown, "the grown one");
        CorpusTokenizer.Write(new TrainingText(text), grown, _folder["grown"], tokenizer.EndId);
        using (TokenShard ofGrown = TokenShard.Open(_folder["grown"]))
            Assert.Throws<InvalidDataException>(() => ShardTokenizer.Require(ofGrown, tokenizer, "the first"));

        Assert.Equal([_folder["one.bin"], _folder["one.idx"], _folder["one.tokenizer"]], Directory.GetFiles(_folder.Path, "*one*").Order(StringComparer.Ordinal));

        File.WriteAllText(_folder["one.tokenizer"], "damaged");
        Assert.Contains("one.tokenizer", Assert.Throws<InvalidDataException>(() => ShardTokenizer.Require(shard, tokenizer, "it")).Message, StringComparison.Ordinal);
        // A shard of other programs does not say; one that takes its name forgets what was said.
        using (TokenShardWriter writer = new(_folder["one"], 300))
        {
            writer.Add([5, 6]);
            writer.Complete();
        }
        using TokenShard silent = TokenShard.Open(_folder["one"]);
        ShardTokenizer.Require(silent, other, "the second");
    }

    [Fact]
    public void A_link_says_of_a_shard_what_the_file_says()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets few users make links.");
        Tokenizer other = Trained(out _, out _, vocabulary: 380), tokenizer = Trained(out string text, out _);
        // Of links the length of what they say, which is longer here than what any such file holds.
        string far = new('f', 120);
        _ = Directory.CreateDirectory(_folder[far]);
        CorpusTokenizer.Write(new TrainingText(text), tokenizer, _folder[$"{far}/one"], tokenizer.EndId);
        foreach (string ending in (string[])[".bin", ".idx", ".tokenizer"]) _ = File.CreateSymbolicLink(_folder["one" + ending], _folder[$"{far}/one{ending}"]);
        using TokenShard shard = TokenShard.Open(_folder["one"]);
        ShardTokenizer.Require(shard, tokenizer, "the first");
        Assert.Contains("the second", Assert.Throws<InvalidDataException>(() => ShardTokenizer.Require(shard, other, "the second")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Text_without_a_document_is_an_error_and_leaves_nothing()
    {
        string text = _folder["empty.txt"];
        File.WriteAllText(text, "\n\n");
        Tokenizer tokenizer = Trained(out _, out _);
        Assert.Contains("empty.txt", Assert.Throws<InvalidDataException>(
            () => CorpusTokenizer.Write(new TrainingText(text), tokenizer, _folder["shard"], null)).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(_folder["shard.bin"]));
    }

    [Fact]
    public void Broken_lines_that_are_passed_over_are_counted_and_the_first_named()
    {
        Tokenizer tokenizer = Trained(out _, out _);
        string text = _folder.Write("bad.jsonl", "{\n{\"text\":\"猫\"}\n{\n{\n{\n");
        TokenizedCorpus report = CorpusTokenizer.Write(new TrainingText(text) { SkipBadLines = 4 }, tokenizer, _folder["bad"], tokenizer.EndId);
        Assert.Equal(4, report.BadLines);
        Assert.Equal([new(text, 1), new(text, 3), new(text, 4)], report.FirstBadLines);
        HoldOutReport split = HoldOut.Split(new TrainingText(text) { SkipBadLines = 4 }, _folder["a.jsonl"], _folder["b.jsonl"], 0.1);
        Assert.Equal((4, 1), (split.BadLines, split.FirstBadLines[0].Line));
    }

    // The one that was trained last, and a token.
    private Tokenizer WithAddedToken()
    {
        JsonNode json = JsonNode.Parse(File.ReadAllText(_folder["tokenizer.json"]))!;
        json["added_tokens"]!.AsArray().Add(JsonNode.Parse(
            """{"id": 400, "content": "<|more|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}"""));
        File.WriteAllText(_folder["grown.json"], json.ToJsonString());
        return Tokenizer.Load(_folder["grown.json"]);
    }

    private Tokenizer Trained(out string text, out string[] documents, int vocabulary = 400)
    {
        documents = [.. Enumerable.Range(0, 300).Select(i => $"吾輩は猫である。名前はまだ{i}つ目。{new string('あ', i)}")];
        text = _folder["text.jsonl"];
        File.WriteAllLines(text, documents.Select(document => $"{{\"text\": \"{document}\"}}"));
        TokenizerTrainerOptions options = new() { VocabularySize = vocabulary, AddDummyPrefix = false, AddBegin = true };
        UnigramTrainer.Train(new TrainingText(text), options).SaveHuggingFace(_folder.Path);
        return Tokenizer.Load(_folder.Path);
    }
}
