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

    private Tokenizer Trained(out string text, out string[] documents)
    {
        documents = [.. Enumerable.Range(0, 300).Select(i => $"吾輩は猫である。名前はまだ{i}つ目。{new string('あ', i)}")];
        text = _folder["text.jsonl"];
        File.WriteAllLines(text, documents.Select(document => $"{{\"text\": \"{document}\"}}"));
        TokenizerTrainerOptions options = new() { VocabularySize = 400, AddDummyPrefix = false, AddBegin = true };
        UnigramTrainer.Train(new TrainingText(text), options).SaveHuggingFace(_folder.Path);
        return Tokenizer.Load(_folder.Path);
    }
}
