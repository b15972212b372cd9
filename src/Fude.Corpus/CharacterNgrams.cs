using static Fude.Tokenizers.Wording;

namespace Fude.Corpus;

/// <summary>A model that predicts a character from the few before it: what a language model has to beat.</summary>
/// <remarks>
/// Interpolated Kneser-Ney smoothing with three discounts for each order: Chen and Goodman, 1998, "An Empirical Study of Smoothing Techniques
/// for Language Modeling", section 4.1. The orders below the highest count in how many contexts an n-gram stands. A character is a Unicode code
/// point; those beyond the 7,129 most frequent share one entry, and which of them it is costs as much as one of all other code points. A
/// document begins after a boundary that no character crosses; its end is not predicted.
/// </remarks>
public sealed class CharacterNgrams
{
    // As many entries as leave room for five in 64 bits.
    private const ulong Entries = 7131;
    private const int Boundary = 0, Rare = 1, FirstCharacter = 2, LongestOrder = 5, CodePoints = 0x110000 - 0x800;

    private readonly int[] _entryOf;
    private readonly double _rareBits;
    private readonly Order[] _orders;

    private CharacterNgrams(int[] entryOf, int characters, Order[] orders)
    {
        (_entryOf, _orders) = (entryOf, orders);
        _rareBits = Math.Log2(CodePoints - characters);
    }

    /// <summary>The n-grams of one length: sorted, with what they count and what is left for shorter contexts.</summary>
    private sealed class Order
    {
        public required ulong[] Keys { get; init; }

        public required int[] Counts { get; init; }

        /// <summary>All but the last entry of the keys, each once.</summary>
        public required ulong[] Contexts { get; init; }

        /// <summary>The counts of all n-grams of a context.</summary>
        public required long[] Totals { get; init; }

        /// <summary>The part of a context's probability that goes by the shorter context.</summary>
        public required double[] Left { get; init; }

        /// <summary>What is taken off a count of 1, of 2, and of 3 or more.</summary>
        public required double[] Discounts { get; init; }
    }

    /// <summary>Characters it was trained on.</summary>
    public long Characters { get; private init; }

    /// <summary>Learns from documents. Memory is some 20 bytes a character.</summary>
    /// <param name="documents">The documents; read twice.</param>
    /// <param name="order">Characters of an n-gram, from 1 to 5.</param>
    /// <param name="stop">Ends the work.</param>
    /// <exception cref="ArgumentException">There is no character.</exception>
    public static CharacterNgrams Train(IEnumerable<string> documents, int order = LongestOrder, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentOutOfRangeException.ThrowIfLessThan(order, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(order, LongestOrder);
        (int[] entryOf, int characters, long count) = Alphabet(documents, stop);
        if (count == 0) throw new ArgumentException(Say("The documents have no character to learn from.", "文書に学習できる文字がありません。"), nameof(documents));
        if (count > Array.MaxLength) throw new ArgumentException(Say(
            $"The documents have {count} characters; {Array.MaxLength} are the most.",
            $"文書が {count} 文字あります。上限は {Array.MaxLength} 文字です。"), nameof(documents));

        ulong modulus = Power(order);
        ulong[] keys = new ulong[count];
        long filled = 0;
        foreach (string document in documents)
        {
            stop.ThrowIfCancellationRequested();
            ulong key = Boundary;
            for (int i = 0; i < document.Length; key = key % (modulus / Entries))
            {
                key = key * Entries + (ulong)entryOf[Next(document, ref i)];
                if (filled == count) throw Changed();
                keys[filled++] = key;
            }
        }
        if (filled != count) throw Changed();
        Order[] orders = new Order[order];
        (ulong[] unique, int[] counts) = Count(keys);
        for (int n = order; ; n--)
        {
            stop.ThrowIfCancellationRequested();
            orders[n - 1] = Smooth(unique, counts);
            if (n == 1) break;
            // What stands to the left is left off: each n-gram is one context of its ending.
            modulus = Power(n - 1);
            ulong[] endings = new ulong[unique.Length];
            for (int i = 0; i < endings.Length; i++) endings[i] = unique[i] % modulus;
            (unique, counts) = Count(endings);
        }
        return new CharacterNgrams(entryOf, characters, orders) { Characters = count };
    }

    private static ArgumentException Changed() => new(
        Say("The documents were not the same when they were read again.", "もう一度読み込んだ文書が、最初に読んだものと異なります。"), "documents");

    /// <summary>What a document's characters cost, −log₂ of its probability.</summary>
    /// <param name="document">The text.</param>
    /// <returns>Bits, and how many characters there are.</returns>
    public (double Bits, long Characters) Measure(string document)
    {
        ArgumentNullException.ThrowIfNull(document);
        double bits = 0;
        long count = 0;
        ulong before = Boundary, modulus = Power(_orders.Length - 1);
        for (int i = 0; i < document.Length; count++)
        {
            int entry = _entryOf[Next(document, ref i)];
            bits -= Math.Log2(Probability(before, entry));
            if (entry == Rare) bits += _rareBits;
            before = (before * Entries + (ulong)entry) % modulus;
        }
        return (bits, count);
    }

    /// <summary>The probability of an entry after others: from the shortest context, which is none, to the longest.</summary>
    internal double Probability(ulong before, int entry)
    {
        double probability = 1.0 / Entries;
        for (int n = 1; n <= _orders.Length; n++)
        {
            Order order = _orders[n - 1];
            ulong context = before % Power(n - 1);
            int place = Array.BinarySearch(order.Contexts, context);
            if (place < 0) continue;        // never seen: the shorter one says all
            int found = Array.BinarySearch(order.Keys, context * Entries + (ulong)entry);
            int count = found < 0 ? 0 : order.Counts[found];
            double own = count == 0 ? 0 : count - order.Discounts[Math.Min(count, 3) - 1];
            probability = own / order.Totals[place] + order.Left[place] * probability;
        }
        return probability;
    }

    /// <summary>The number of a context of entries, the last of which is nearest.</summary>
    internal static ulong ContextOf(params ReadOnlySpan<int> entries)
    {
        ulong key = 0;
        foreach (int entry in entries) key = key * Entries + (ulong)entry;
        return key;
    }

    /// <summary>How many entries there are.</summary>
    internal static int EntryCount => (int)Entries;

    /// <summary>The entry of a character.</summary>
    internal int EntryOf(int codePoint) => _entryOf[codePoint];

    private static ulong Power(int n)
    {
        ulong power = 1;
        for (; n > 0; n--) power *= Entries;
        return power;
    }

    // Half a surrogate pair counts as the replacement character.
    private static int Next(string text, ref int i)
    {
        int codePoint = text[i++];
        if (!char.IsSurrogate((char)codePoint)) return codePoint;
        if (char.IsHighSurrogate((char)codePoint) && i < text.Length && char.IsLowSurrogate(text[i])) return char.ConvertToUtf32((char)codePoint, text[i++]);
        return 0xFFFD;
    }

    private static (int[] EntryOf, int Characters, long Count) Alphabet(IEnumerable<string> documents, CancellationToken stop)
    {
        long[] counts = new long[0x110000];
        long all = 0;
        foreach (string document in documents)
        {
            stop.ThrowIfCancellationRequested();
            for (int i = 0; i < document.Length; all++) counts[Next(document, ref i)]++;
        }
        int[] frequent = [.. Enumerable.Range(0, counts.Length).Where(c => counts[c] > 0).OrderByDescending(c => counts[c]).ThenBy(c => c).Take((int)Entries - FirstCharacter)];
        int[] entryOf = new int[counts.Length];
        Array.Fill(entryOf, Rare);
        for (int i = 0; i < frequent.Length; i++) entryOf[frequent[i]] = FirstCharacter + i;
        return (entryOf, frequent.Length, all);
    }

    /// <summary>The different keys in order, and how often each is there. The keys are sorted in their place.</summary>
    private static (ulong[] Unique, int[] Counts) Count(ulong[] keys)
    {
        Array.Sort(keys);
        int different = 0;
        for (int i = 0; i < keys.Length; i++) if (i == 0 || keys[i] != keys[i - 1]) different++;
        ulong[] unique = new ulong[different];
        int[] counts = new int[different];
        int place = -1;
        for (int i = 0; i < keys.Length; i++)
        {
            if (i == 0 || keys[i] != keys[i - 1]) unique[++place] = keys[i];
            counts[place]++;
        }
        return (unique, counts);
    }

    private static Order Smooth(ulong[] keys, int[] counts)
    {
        double[] discounts = Discounts(counts);
        List<ulong> contexts = [];
        List<long> totals = [];
        List<double> left = [];
        for (int i = 0; i < keys.Length; i++)
        {
            ulong context = keys[i] / Entries;
            if (contexts.Count == 0 || contexts[^1] != context)
            {
                contexts.Add(context);
                totals.Add(0);
                left.Add(0);
            }
            totals[^1] += counts[i];
            left[^1] += discounts[Math.Min(counts[i], 3) - 1];
        }
        for (int i = 0; i < left.Count; i++) left[i] /= totals[i];
        return new Order { Keys = keys, Counts = counts, Contexts = [.. contexts], Totals = [.. totals], Left = [.. left], Discounts = discounts };
    }

    /// <summary>Chen and Goodman's estimates from how many n-grams count 1, 2, 3 and 4; three quarters where a text is too small for them.</summary>
    private static double[] Discounts(int[] counts)
    {
        double[] of = new double[5];
        foreach (int count in counts) if (count < of.Length) of[count]++;
        if (of[1] == 0 || of[2] == 0 || of[3] == 0 || of[4] == 0) return [0.75, 0.75, 0.75];
        double y = of[1] / (of[1] + 2 * of[2]);
        double[] discounts = new double[3];
        for (int i = 1; i <= 3; i++) discounts[i - 1] = Math.Clamp(i - (i + 1) * y * of[i + 1] / of[i], 0.01, i - 0.01);
        return discounts;
    }
}
