using Fude.Corpus;
using Fude.Tokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Pieces of the texts that a model was pre-trained on, as examples of which every token is learnt: mixed among instructions they keep
/// what those texts taught. (Rolnick et al., "Experience Replay for Continual Learning", 2019, arXiv:1811.11682.)</summary>
/// <remarks>Without them the words that instructions do not have suffer too: AdamW divides their tiny gradients by their own size, so that they
/// move as far as the others, and largely alike (measured in docs/TUNING.md).</remarks>
internal static class ReplayedText
{
    /// <summary>A random choice of pieces, none taken twice.</summary>
    /// <param name="paths">Token shards, made with the model's tokenizer.</param>
    /// <param name="tokens">Tokens that are wanted; fewer where the shards have fewer.</param>
    /// <param name="length">Tokens of a piece at most. Documents are cut anew from their beginning.</param>
    /// <param name="vocabulary">Entries of the model's.</param>
    /// <param name="tokenizer">The model's.</param>
    /// <param name="place">Where it is, for messages.</param>
    /// <param name="seed">Chooses.</param>
    /// <exception cref="InvalidDataException">A shard is damaged, or of another tokenizer.</exception>
    public static List<TrainingExample> Take(IReadOnlyList<string> paths, long tokens, int length, int vocabulary, Tokenizer? tokenizer, string place, ulong seed)
    {
        List<TokenShard> shards = [];
        try
        {
            foreach (string path in paths)
            {
                shards.Add(TokenShard.Open(path));
                if (tokenizer is not null) ShardTokenizer.Require(shards[^1], tokenizer, place);
            }
            List<(TokenShard Shard, int Document, long Start, int Count)> pieces = [];
            foreach (TokenShard shard in shards)
                for (int document = 0; document < shard.Documents; document++)
                {
                    long all = shard.LengthOf(document);
                    for (long start = 0; start < all - 1; start += length) pieces.Add((shard, document, start, (int)Math.Min(length, all - start)));
                }
            List<TrainingExample> taken = [];
            for (int i = 0; i < pieces.Count && tokens > 0; i++)
            {
                int other = i + (int)(((UInt128)TrainableWeights.Next(ref seed) * (ulong)(pieces.Count - i)) >> 64);
                (pieces[i], pieces[other]) = (pieces[other], pieces[i]);
                (TokenShard shard, int document, long start, int count) = pieces[i];
                if (count < 2) continue;        // one token alone is expected after nothing
                int[] ids = new int[count];
                shard.Read(document, start, ids);
                ShardTokenizer.RequireWithin(shard, document, ids, vocabulary, Say("model's vocabulary", "モデルの語彙"));
                bool[] learnt = new bool[count];
                Array.Fill(learnt, true);
                taken.Add(new TrainingExample(ids, learnt, shard.Path, document + 1));
                tokens -= count;
            }
            return taken;
        }
        finally
        {
            foreach (TokenShard shard in shards) shard.Dispose();
        }
    }
}
