using Fude.Corpus;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Where a run is in its data. With the same shards it says exactly what comes next.</summary>
/// <param name="Fold">Which pass over which shard: fold f reads shard f modulo their number, in an order of its own.</param>
/// <param name="Seed">Chooses the order of each fold's documents.</param>
/// <param name="Tokens">Tokens of the fold that have been read.</param>
public readonly record struct Cursor(int Fold, ulong Seed, long Tokens);

/// <summary>Documents of token shards in random order, packed into rows of one length in which no document attends to another.</summary>
/// <remarks>
/// What is put in order is a stretch of a document, a row long or its rest, for the pages of a book read one after another would make every
/// step learn from one book alone. A row is filled with whole stretches and the beginning of the next, whose rest begins the next row as a
/// text of its own. Every token of a document but its first is expected once; the last token of a piece expects what the document goes on
/// with. So a document of n tokens is n − 1 tokens of reading. Memory is three numbers for each stretch of the fold.
/// </remarks>
public sealed class PackedDocuments
{
    private readonly IReadOnlyList<TokenShard> _shards;
    private readonly long[] _readable;
    private (int Document, int Number, int Length)[] _order = [];
    private int _place, _offset;

    /// <summary>Rows from the beginning of the first fold.</summary>
    /// <param name="shards">One or more; not disposed here.</param>
    /// <param name="context">Tokens of a row.</param>
    /// <param name="seed">Chooses the order of documents.</param>
    /// <exception cref="InvalidDataException">A shard has no document of two tokens or more.</exception>
    public PackedDocuments(IReadOnlyList<TokenShard> shards, int context, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(shards);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(context);
        if (shards.Count == 0) throw new ArgumentException(Say("There are no shards.", "シャードが指定されていません。"), nameof(shards));
        (_shards, Context) = (shards, context);
        _readable = [.. shards.Select(Readable)];
        for (int i = 0; i < shards.Count; i++)
            if (_readable[i] == 0)
                throw new InvalidDataException(Say(
                    $"{shards[i].Path}: none of its {shards[i].Documents} documents has two tokens: there is nothing to learn in it.",
                    $"{shards[i].Path}: {shards[i].Documents} 文書のどれも 2 トークンに満たず、学習できるものがありません。"));
        Seek(new Cursor(0, seed, 0));
    }

    /// <summary>Tokens of a row.</summary>
    public int Context { get; }

    /// <summary>What comes next.</summary>
    public Cursor Cursor { get; private set; }

    /// <summary>Tokens of reading in one pass over every shard.</summary>
    public long TokensOfAllFolds => _readable.Sum();

    /// <summary>Goes to another place.</summary>
    public void Seek(Cursor cursor)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(cursor.Fold, nameof(cursor));
        ArgumentOutOfRangeException.ThrowIfNegative(cursor.Tokens, nameof(cursor));
        long readable = _readable[cursor.Fold % _shards.Count];
        if (cursor.Tokens > readable)
            throw new InvalidDataException(Say(
                $"{_shards[cursor.Fold % _shards.Count].Path}: the run had read {cursor.Tokens} tokens of fold {cursor.Fold}, but the shard has " +
                $"{readable}. The data are not those it was trained on.",
                $"{_shards[cursor.Fold % _shards.Count].Path}: フォールド {cursor.Fold} を {cursor.Tokens} トークンまで読んでいたはずですが、シャードには" +
                $" {readable} トークンしかありません。学習に使ったデータではありません。"));
        Cursor = cursor;
        Shuffle();
        long left = cursor.Tokens;
        for (_place = 0; _place < _order.Length && left >= _order[_place].Length; _place++) left -= _order[_place].Length;
        _offset = (int)left;
    }

    /// <summary>The next rows, one after another in one batch.</summary>
    public SupervisedBatch Next(int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        int count = checked(rows * Context);
        int[] tokens = new int[count], positions = new int[count], targets = new int[count], all = new int[count];
        List<Sequence> sequences = [];
        int[] piece = new int[Context + 1];
        for (int i = 0; i < count;)
        {
            int rest = _place < _order.Length ? _order[_place].Length - _offset : 0;
            if (rest == 0)
            {
                NextStretch();
                continue;
            }
            int length = Math.Min(rest, Context - i % Context);
            (int document, int number, _) = _order[_place];
            Shard.Read(document, (long)number * Context + _offset, piece.AsSpan(0, length + 1));
            sequences.Add(new Sequence(i, length));
            for (int j = 0; j < length; j++, i++) (tokens[i], targets[i], positions[i], all[i]) = (piece[j], piece[j + 1], j, i);
            _offset += length;
            Cursor = Cursor with { Tokens = Cursor.Tokens + length };
        }
        return new SupervisedBatch(new Batch(tokens, positions, [.. sequences], all), targets);
    }

    private TokenShard Shard => _shards[Cursor.Fold % _shards.Count];

    private static long Readable(TokenShard shard)
    {
        long tokens = 0;
        for (int document = 0; document < shard.Documents; document++) tokens += Math.Max(0, shard.LengthOf(document) - 1);
        return tokens;
    }

    private void NextStretch()
    {
        _offset = 0;
        if (_place < _order.Length) _place++;
        if (_place < _order.Length) return;
        Cursor = new Cursor(Cursor.Fold + 1, Cursor.Seed, 0);
        Shuffle();
        _place = 0;
    }

    // Fisher and Yates; the numbers are those of SplitMix64, so that the order is the same everywhere and for good.
    private void Shuffle()
    {
        List<(int, int, int)> stretches = new(Shard.Documents);
        for (int document = 0; document < Shard.Documents; document++)
        {
            long readable = Shard.LengthOf(document) - 1;
            for (int number = 0; (long)number * Context < readable; number++) stretches.Add((document, number, (int)Math.Min(Context, readable - (long)number * Context)));
        }
        _order = [.. stretches];
        ulong state = Cursor.Seed + ((ulong)Cursor.Fold * 0xD1342543DE82EF95);
        for (int i = _order.Length - 1; i > 0; i--)
        {
            int j = (int)(((UInt128)TrainableWeights.Next(ref state) * (ulong)(i + 1)) >> 64);
            (_order[i], _order[j]) = (_order[j], _order[i]);
        }
    }
}
