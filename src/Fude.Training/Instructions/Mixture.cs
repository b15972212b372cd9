using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>The order in which the examples of several sources are learnt.</summary>
/// <remarks>
/// An epoch takes weight × examples from each source, then mixes them. A source goes round and round in orders of its own, so that a weight of
/// 0.5 takes one half in one epoch and the other in the next, and one of 2 takes each example twice. The order depends on the seed, the
/// sizes and the weights alone.
/// </remarks>
public sealed class Mixture
{
    private readonly (int Count, double Weight)[] _sources;
    private readonly ulong _seed;

    /// <summary>A mixture.</summary>
    /// <param name="sources">How many examples each source has, and how often an epoch takes each of them.</param>
    /// <param name="seed">Chooses the order.</param>
    /// <exception cref="ArgumentException">A number is out of its range, or an epoch would be empty.</exception>
    public Mixture(IReadOnlyList<(int Count, double Weight)> sources, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(sources);
        foreach ((int count, double weight) in sources)
            if (count < 0 || !(weight is > 0 and <= 1000))
                throw new ArgumentException(Say(
                    $"A source of {count} examples with weight {weight}: weights are above 0 and at most 1000.",
                    $"{count} 例のデータの重みが {weight} です。重みは 0 より大きく 1000 以下にしてください。"), nameof(sources));
        (_sources, _seed) = ([.. sources], seed);
        if (sources.Sum(source => (double)source.Count * source.Weight) is not (>= 1 and <= int.MaxValue / 2))
            throw new ArgumentException(Say(
                "An epoch has no example, or too many: sizes times weights add up to less than 1 or more than 1 billion.",
                "1 周の例の数（例の数と重みの積の合計）が 1 未満か 10 億を超えています。"), nameof(sources));
    }

    /// <summary>Chooses the order.</summary>
    public ulong Seed => _seed;

    /// <summary>Examples of an epoch.</summary>
    public int CountOf(int epoch) => (int)Enumerable.Range(0, _sources.Length).Sum(source => End(source, epoch) - End(source, epoch - 1));

    /// <summary>The examples of an epoch in the order they are learnt.</summary>
    public (int Source, int Index)[] Order(int epoch)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        List<(int, int)> order = [];
        for (int source = 0; source < _sources.Length; source++)
        {
            int count = _sources[source].Count;
            long round = -1;
            int[] places = [];
            for (long i = End(source, epoch - 1); i < End(source, epoch); i++)
            {
                if (i / count != round)
                {
                    round = i / count;
                    places = [.. Enumerable.Range(0, count)];
                    Shuffle(places, Seeded(((ulong)source << 40) + (ulong)round + 1));
                }
                order.Add((source, places[i % count]));
            }
        }
        (int, int)[] mixed = [.. order];
        Shuffle(mixed, Seeded((1UL << 63) + (ulong)epoch));
        return mixed;
    }

    private long End(int source, int epoch) => (long)Math.Floor((epoch + 1) * _sources[source].Weight * _sources[source].Count);

    private ulong Seeded(ulong place)
    {
        ulong state = _seed ^ (place * 0xD1342543DE82EF95);
        return TrainableWeights.Next(ref state);
    }

    // Fisher and Yates.
    private static void Shuffle<T>(T[] items, ulong state)
    {
        for (int i = items.Length - 1; i > 0; i--)
        {
            int j = (int)(((UInt128)TrainableWeights.Next(ref state) * (ulong)(i + 1)) >> 64);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }
}
