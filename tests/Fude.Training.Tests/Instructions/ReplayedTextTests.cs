using Fude.Corpus;
using Fude.TestData;

namespace Fude.Training.Tests;

public sealed class ReplayedTextTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Documents whose tokens count up, so that a piece tells where it is from.</summary>
    private string Shard(string name, int first, params int[] lengths)
    {
        using TokenShardWriter writer = new(_folder[name], 50_000);
        foreach (int length in lengths)
        {
            writer.Add([.. Enumerable.Range(first, length)]);
            first += length;
        }
        writer.Complete();
        return _folder[name];
    }

    [Fact]
    public void Pieces_of_all_documents_are_taken_once_each_and_all_of_them_is_learnt()
    {
        string[] shards = [Shard("a", 100, 25, 1, 11, 10), Shard("b", 1000, 7, 40)];
        List<TrainingExample> all = ReplayedText.Take(shards, 1_000_000, 10, 50_000, null, "", seed: 1);
        Assert.All(all, piece => Assert.InRange(piece.Length, 2, 10));
        Assert.All(all, piece => Assert.Equal(piece.Length - 1, piece.Trained));
        // A token alone at the end of a document, or a document of one, is nothing to learn from.
        Assert.Equal(
            [.. Enumerable.Range(100, 25), .. Enumerable.Range(126, 10), .. Enumerable.Range(137, 10), .. Enumerable.Range(1000, 47)],
            all.SelectMany(piece => piece.Tokens.ToArray()).Order());
        Assert.NotEqual(all.Select(piece => piece.Tokens[0]).Order(), all.Select(piece => piece.Tokens[0]));
        Assert.Contains(all, piece => piece.Place == "b:2");
    }

    [Fact]
    public void As_many_tokens_are_taken_as_are_wanted_and_the_seed_chooses_which()
    {
        string shard = Shard("a", 100, 1000, 1000);
        List<TrainingExample> some = ReplayedText.Take([shard], 95, 10, 50_000, null, "", seed: 1);
        Assert.Equal(100, some.Sum(piece => piece.Length));
        Assert.Equal(Firsts(some), Firsts(ReplayedText.Take([shard], 95, 10, 50_000, null, "", seed: 1)));
        Assert.NotEqual(Firsts(some), Firsts(ReplayedText.Take([shard], 95, 10, 50_000, null, "", seed: 2)));

        static int[] Firsts(List<TrainingExample> pieces) => [.. pieces.Select(piece => piece.Tokens[0])];
    }

    [Fact]
    public void A_shard_of_another_tokenizer_is_named()
    {
        string shard = Shard("a", 100, 30);
        string message = Assert.Throws<InvalidDataException>(() => ReplayedText.Take([shard], 95, 10, 120, null, "", seed: 1)).Message;
        Assert.Contains(shard, message, StringComparison.Ordinal);
        Assert.Contains("120", message, StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => ReplayedText.Take([_folder["none"]], 95, 10, 120, null, "", seed: 1));
    }
}
