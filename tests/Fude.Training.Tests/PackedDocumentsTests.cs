using Fude.Corpus;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>Packing: every token but the first of each document once a fold, nothing across documents, resumed anywhere.</summary>
public sealed class PackedDocumentsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly List<TokenShard> _shards = [];

    [Fact]
    public void A_fold_reads_every_document_once_and_expects_its_next_tokens()
    {
        // Document d is 1000·d, 1000·d + 1, …: a token names its document and its place.
        int[] lengths = [5, 1, 30, 2, 17, 9];
        PackedDocuments data = new([Shard("a", lengths)], 8, seed: 1);
        Assert.Equal(4 + 29 + 1 + 16 + 8, data.TokensOfAllFolds);
        HashSet<int> read = [];
        for (int row = 0; row < 7; row++)
        {
            SupervisedBatch batch = data.Next(1);
            Assert.Equal(8, batch.Batch.Tokens.Length);
            Assert.Equal(Enumerable.Range(0, 8), batch.Batch.LogitRows);
            int next = 0;
            foreach (Sequence text in batch.Batch.Sequences)
            {
                Assert.Equal(next, text.First);
                next += text.Count;
                for (int i = text.First; i < next; i++)
                {
                    Assert.Equal(i - text.First, batch.Batch.Positions[i]);
                    Assert.Equal(batch.Batch.Tokens[text.First] + i - text.First, batch.Batch.Tokens[i]);
                    Assert.Equal(batch.Batch.Tokens[i] + 1, batch.Targets[i]);
                    Assert.True(read.Add(batch.Targets[i]));
                }
            }
            Assert.Equal(8, next);
        }
        // Fifty-six of fifty-eight; the next row ends the fold and begins another.
        Assert.Equal(new Cursor(0, 1, 56), data.Cursor);
        data.Next(1);
        Assert.Equal(new Cursor(1, 1, 6), data.Cursor);
    }

    [Fact]
    public void Reading_goes_on_from_any_cursor_as_if_it_had_never_stopped()
    {
        TokenShard[] shards = [Shard("a", 5, 1, 30, 2, 17, 9), Shard("b", 12, 3, 3)];
        PackedDocuments data = new(shards, 8, seed: 9);
        List<(Cursor Cursor, SupervisedBatch Batch)> batches = [];
        for (int i = 0; i < 40; i++) batches.Add((data.Cursor, data.Next(2)));
        Assert.True(data.Cursor.Fold > 4);
        foreach ((Cursor cursor, SupervisedBatch batch) in batches)
        {
            PackedDocuments again = new(shards, 8, seed: 1234);
            again.Seek(cursor);
            SupervisedBatch found = again.Next(2);
            Assert.Equal(batch.Batch.Tokens, found.Batch.Tokens);
            Assert.Equal(batch.Batch.Sequences, found.Batch.Sequences);
            Assert.Equal(batch.Targets, found.Targets);
        }
    }

    [Fact]
    public void Seeds_and_folds_have_orders_of_their_own()
    {
        TokenShard shard = Shard("a", [.. Enumerable.Repeat(9, 40)]);
        int[] First(ulong seed, int fold)
        {
            PackedDocuments data = new([shard], 8, seed);
            data.Seek(new Cursor(fold, seed, 0));
            return data.Next(10).Batch.Tokens;
        }

        Assert.Equal(First(1, 0), First(1, 0));
        Assert.NotEqual(First(1, 0), First(2, 0));
        Assert.NotEqual(First(1, 0), First(1, 1));
    }

    [Fact]
    public void Data_with_nothing_to_learn_and_a_cursor_of_other_data_are_refused()
    {
        Assert.Throws<InvalidDataException>(() => new PackedDocuments([Shard("a", 1, 1)], 8, 0));
        PackedDocuments data = new([Shard("b", 5)], 8, 0);
        Assert.Throws<InvalidDataException>(() => data.Seek(new Cursor(0, 0, 5)));
        Assert.Throws<ArgumentException>(() => new PackedDocuments([], 8, 0));
    }

    public void Dispose()
    {
        foreach (TokenShard shard in _shards) shard.Dispose();
        _folder.Dispose();
    }

    private TokenShard Shard(string name, params int[] lengths)
    {
        using TokenShardWriter writer = new(_folder[name], 100_000);
        for (int document = 0; document < lengths.Length; document++) writer.Add([.. Enumerable.Range(1000 * document, lengths[document])]);
        writer.Complete();
        TokenShard shard = TokenShard.Open(_folder[name]);
        _shards.Add(shard);
        return shard;
    }
}
