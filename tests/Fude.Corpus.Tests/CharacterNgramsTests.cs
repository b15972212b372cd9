namespace Fude.Corpus.Tests;

public sealed class CharacterNgramsTests
{
    private static readonly string[] Documents = [.. Sentences(300, seed: 1)];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Probabilities_of_all_characters_add_up_to_1_after_any_context(int order)
    {
        CharacterNgrams model = CharacterNgrams.Train(Documents, order);
        int[] letters = [.. "猫は名前".Select(letter => model.EntryOf(letter))];
        foreach (ulong context in (ulong[])[0, CharacterNgrams.ContextOf(letters[0]), CharacterNgrams.ContextOf(letters), CharacterNgrams.ContextOf(1, 1, 1, 1)])
            Assert.Equal(1, Enumerable.Range(0, CharacterNgrams.EntryCount).Sum(entry => model.Probability(context, entry)), 1e-9);
    }

    // The formulas of the paper, word for word, over dictionaries of strings.
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(5)]
    public void It_is_the_smoothing_of_the_paper(int order)
    {
        CharacterNgrams model = CharacterNgrams.Train(Documents, order);
        foreach (string text in (string[])[.. Sentences(5, seed: 9), "𠮷野家で猫が鳴く。", "zzz", ""])
        {
            double expected = 0;
            string padded = new string('\0', order - 1) + Replaced(text);
            for (int i = order - 1; i < padded.Length; i++) expected -= Math.Log2(Plain(padded[(i - order + 1)..i], padded[i], order, order));
            expected += Replaced(text).Count(c => c == '\x01') * Math.Log2(0x110000 - 0x800 - Alphabet.Count);
            (double bits, long characters) = model.Measure(text);
            Assert.Equal(expected, bits, 1e-6 * (1 + expected));
            Assert.Equal(text.EnumerateRunes().Count(), characters);
        }
    }

    [Fact]
    public void A_text_like_its_own_costs_less_than_another()
    {
        CharacterNgrams model = CharacterNgrams.Train(Documents), shorter = CharacterNgrams.Train(Documents, 2);
        string like = string.Concat(Sentences(20, seed: 5)), other = "寿限無寿限無五劫の擦り切れ海砂利水魚の水行末";
        Assert.True(Cost(model, like) < Cost(shorter, like));
        Assert.True(Cost(model, like) < 2);
        Assert.True(Cost(model, other) > 10);

        static double Cost(CharacterNgrams model, string text) => model.Measure(text).Bits / model.Measure(text).Characters;
    }

    [Fact]
    public void Text_without_a_character_is_refused()
    {
        _ = Assert.Throws<ArgumentException>(() => CharacterNgrams.Train([]));
        _ = Assert.Throws<ArgumentException>(() => CharacterNgrams.Train([""]));
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => CharacterNgrams.Train(Documents, 6));
    }

    [Fact]
    public void Half_a_surrogate_pair_is_a_character_like_any()
    {
        CharacterNgrams model = CharacterNgrams.Train([.. Documents, "\uD842"]);
        Assert.Equal(2, model.Measure("a\uDFB7").Characters);
    }

    private static readonly HashSet<char> Alphabet = [.. string.Concat(Documents)];

    // Rare characters as one, each one char.
    private static string Replaced(string text) =>
        string.Concat(text.EnumerateRunes().Select(rune => rune.IsBmp && Alphabet.Contains((char)rune.Value) ? (char)rune.Value : '\x01'));

    private static double Plain(string context, char next, int order, int longest)
    {
        if (order == 0) return 1.0 / CharacterNgrams.EntryCount;
        string shorter = context.Length == 0 ? "" : context[1..];
        Dictionary<string, int> counts = CountsOf(order, longest);
        double[] of = [.. Enumerable.Range(0, 5).Select(c => (double)counts.Values.Count(value => value == c))];
        double y = of[1] / (of[1] + 2 * of[2]);
        double[] d = of.AsSpan(1).Contains(0) ? [0, 0.75, 0.75, 0.75] : [0, .. Enumerable.Range(1, 3).Select(i => Math.Clamp(i - (i + 1) * y * of[i + 1] / of[i], 0.01, i - 0.01))];
        KeyValuePair<string, int>[] after = [.. counts.Where(pair => pair.Key[..^1] == context)];
        double below = Plain(shorter, next, order - 1, longest);
        if (after.Length == 0) return below;
        int total = after.Sum(pair => pair.Value), own = counts.GetValueOrDefault(context + next);
        double left = after.Sum(pair => d[Math.Min(pair.Value, 3)]) / total;
        return (own == 0 ? 0 : own - d[Math.Min(own, 3)]) / total + left * below;
    }

    private static readonly Dictionary<(int Longest, int Order), Dictionary<string, int>> Known = [];

    private static Dictionary<string, int> CountsOf(int order, int longest)
    {
        if (Known.TryGetValue((longest, order), out Dictionary<string, int>? known)) return known;
        Dictionary<string, int> counts = [];
        if (order == longest)
        {
            foreach (string document in Documents)
            {
                string padded = new string('\0', order - 1) + document;
                for (int i = 0; i + order <= padded.Length; i++) counts[padded.Substring(i, order)] = counts.GetValueOrDefault(padded.Substring(i, order)) + 1;
            }
        }
        else
        {
            foreach (string longer in CountsOf(order + 1, longest).Keys) counts[longer[1..]] = counts.GetValueOrDefault(longer[1..]) + 1;
        }
        return Known[(longest, order)] = counts;
    }

    private static IEnumerable<string> Sentences(int count, int seed)
    {
        string[] words = ["吾輩は", "猫である", "名前は", "まだ無い", "どこで", "生れたか", "見当が", "つかぬ", "。", "、"];
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => string.Concat(Enumerable.Range(0, 8).Select(_ => words[random.Next(words.Length)])))];
    }
}
