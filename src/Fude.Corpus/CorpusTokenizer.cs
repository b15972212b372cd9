using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Corpus;

/// <summary>What was tokenized.</summary>
/// <param name="Documents">Documents written.</param>
/// <param name="Tokens">Their tokens, with those that begin and end documents.</param>
/// <param name="Characters">Their characters (code points).</param>
/// <param name="BadLines">Broken lines that were passed over.</param>
public sealed record TokenizedCorpus(long Documents, long Tokens, long Characters, long BadLines)
{
    /// <summary>The first of the broken lines.</summary>
    public IReadOnlyList<BadLine> FirstBadLines { get; init; } = [];

    /// <summary>Records without a character of text, which were left out.</summary>
    public long Empty { get; init; }

    /// <summary>The first of these.</summary>
    public IReadOnlyList<BadLine> FirstEmpty { get; init; } = [];
}

/// <summary>Documents → token shards, on all cores.</summary>
public static class CorpusTokenizer
{
    private const int CharactersOfBatch = 1 << 22;

    /// <summary>Writes a shard: each document's tokens as the tokenizer gives them, with its special tokens, and the token that ends a document.</summary>
    /// <param name="text">The documents; the shard keeps their order, whatever the number of threads.</param>
    /// <param name="tokenizer">Makes tokens of them.</param>
    /// <param name="path">The path of the shard's files, without .bin and .idx.</param>
    /// <param name="end">The token that ends every document unless the tokenizer put it there; null for none.</param>
    /// <param name="threads">Threads that work, 0 for one per core.</param>
    /// <param name="progress">Hears what share of the text has been read; null for silence.</param>
    /// <param name="stop">Ends the work; nothing is left behind.</param>
    /// <exception cref="InvalidDataException">The text is broken, or there is none, or the tokenizer has no token for something in it.</exception>
    public static TokenizedCorpus Write(
        TrainingText text, Tokenizer tokenizer, string path, int? end, int threads = 0, IProgress<double>? progress = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        _ = Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = threads == 0 ? Environment.ProcessorCount : threads, CancellationToken = stop };
        using TokenShardWriter shard = new(path, tokenizer.VocabularySize) { Tokenizer = tokenizer };
        List<TextDocument> batch = [];
        long held = 0, characters = 0;
        TrainingText.Skips skipped = new(), empty = new();
        foreach (TextDocument document in text.Documents(progress, skipped.Add, empty.Add, stop))
        {
            batch.Add(document);
            held += document.Text.Length;
            if (held >= CharactersOfBatch) Flush();
        }
        Flush();
        if (shard.Documents == 0) throw new InvalidDataException(Say(
            $"{string.Join(", ", text.Files)}: there is no document in it.",
            $"{string.Join(", ", text.Files)}: 文書がありません。"));
        shard.Complete();
        return new TokenizedCorpus(shard.Documents, shard.Tokens, characters, skipped.Count) { FirstBadLines = skipped.First, Empty = empty.Count, FirstEmpty = empty.First };

        void Flush()
        {
            int[][] tokens = new int[batch.Count][];
            try
            {
                Parallel.For(0, batch.Count, parallel, i =>
                {
                    int[] ids = Encoded(batch[i]);
                    tokens[i] = end is { } last && (ids.Length == 0 || ids[^1] != last) ? [.. ids, last] : ids;
                });
            }
            catch (AggregateException failures) when (failures.InnerException is InvalidDataException inner)
            {
                throw new InvalidDataException(inner.Message, inner);
            }
            for (int i = 0; i < tokens.Length; i++)
            {
                if (tokens[i].Length > 0) shard.Add(tokens[i]);
                foreach (char c in batch[i].Text)
                    if (!char.IsLowSurrogate(c)) characters++;
            }
            batch.Clear();
            held = 0;
        }

        int[] Encoded(TextDocument document)
        {
            try
            {
                return tokenizer.Encode(document.Text);
            }
            catch (InvalidDataException e)
            {
                throw new InvalidDataException(Say($"{document.File}:{document.Line}: {e.Message}", $"{document.File}:{document.Line}: {e.Message}"), e);
            }
        }
    }
}
