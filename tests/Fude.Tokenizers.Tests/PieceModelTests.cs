using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Fluent;
using Fude.TestData;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Tests;

/// <summary>The parts of which the tokenizers are made, each against a slow and simple counterpart.</summary>
public sealed class PieceModelTests
{
    [Fact]
    public void Room_of_two_gigabytes_is_counted_as_such()
    {
        // Never touched: the system gives no memory for it.
        PairMerger.Line line = new() { Symbols = GC.AllocateUninitializedArray<PairMerger.Symbol>(1 << 27) };
        Assert.Equal(1L << 31, line.CapacityBytes);
    }

    private static readonly Gen<string> Words = Gen.ArrayOf(Gen.Elements('a', 'b', 'c', 'あ', '▁')).Select(c => new string(c));

    [Fact]
    public void A_trie_finds_what_a_dictionary_finds() =>
        Prop.ForAll(Gen.ArrayOf(Words).ToArbitrary(), Words.ToArbitrary(), (pieces, text) =>
        {
            Dictionary<string, int> values = [];
            for (int i = 0; i < pieces.Length; i++)
                if (pieces[i].Length > 0) values.TryAdd(pieces[i], i);
            PieceTrie trie = new(pieces.Select((p, i) => (p, i)));
            foreach (string piece in pieces.Append(text).Append("zz")) Assert.Equal(values.GetValueOrDefault(piece, -1), trie.Find(piece));
            int longest = Enumerable.Range(0, text.Length + 1).Last(n => n == 0 || values.ContainsKey(text[..n]));
            Assert.Equal(longest, trie.LongestPrefix(text, out int value));
            Assert.Equal(longest == 0 ? -1 : values[text[..longest]], value);
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void Merging_gives_what_merging_the_first_best_pair_again_and_again_gives() =>
        Prop.ForAll(Words.ToArbitrary(), Gen.Choose(0, 1 << 20).ToArbitrary(), (word, seed) =>
        {
            // Long enough for the heap now and then.
            string text = string.Concat(Enumerable.Repeat(word, 1 + (seed % 9)));
            Random random = new(seed);
            Dictionary<(string, string), (int Rank, string Whole)> rules = [];
            List<string> known = ["a", "b", "c", "あ", "▁"];
            for (int rank = 0; rank < 12; rank++)
            {
                (string left, string right) = (known[random.Next(known.Count)], known[random.Next(known.Count)]);
                if (known.Contains(left + right)) continue;
                known.Add(left + right);
                rules.Add((left, right), (rank, left + right));
            }
            List<string> expected = [.. text.Select(c => c.ToString())];
            while (true)
            {
                int best = -1;
                for (int i = 0; i + 1 < expected.Count; i++)
                    if (rules.TryGetValue((expected[i], expected[i + 1]), out (int Rank, string) rule)
                        && (best < 0 || rule.Rank < rules[(expected[best], expected[best + 1])].Rank)) best = i;
                if (best < 0) break;
                expected[best] += expected[best + 1];
                expected.RemoveAt(best + 1);
            }
            string json = SmallTokenizers.Characters("abcあ▁", [.. rules.OrderBy(r => r.Value.Rank).Select(r => r.Key)]);
            using TemporaryFolder folder = new();
            Assert.Equal(expected, Tokenizer.Load(folder.Write("tokenizer.json", json)).EncodeWithOffsets(text).Tokens);
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void The_search_finds_a_segmentation_of_the_greatest_score()
    {
        Random random = new(3);
        for (int round = 0; round < 40; round++)
        {
            (string Piece, double Score)[] pieces =
            [
                ("<unk>", -20), .. Enumerable.Range(0, 12).Select(_ => Text(random, 1 + random.Next(4))).Distinct().Select(p => (p, -random.Next(1, 1000) / 64.0)),
            ];
            using TemporaryFolder folder = new();
            Tokenizer tokenizer = Tokenizer.Load(folder.Write("tokenizer.json", SmallTokenizers.Unigram(pieces)));
            string text = Text(random, random.Next(600));
            double found = tokenizer.EncodeWithOffsets(text).Offsets.Zip(tokenizer.Encode(text)).Sum(
                t => t.Second == 0 ? -30.0 * (t.First.End - t.First.Start) : pieces[t.Second].Score);
            double[] best = new double[text.Length + 1];
            for (int end = 1; end <= text.Length; end++)
            {
                best[end] = pieces.Any(p => p.Piece == text[end - 1].ToString()) ? double.NegativeInfinity : best[end - 1] - 30;
                foreach ((string piece, double score) in pieces)
                    if (text.AsSpan(0, end).EndsWith(piece)) best[end] = Math.Max(best[end], best[end - piece.Length] + score);
            }
            Assert.Equal(best[^1], found);
        }

        static string Text(Random random, int length) => string.Concat(Enumerable.Range(0, length).Select(_ => "abcあ"[random.Next(4)]));
    }

    [Theory]
    [InlineData(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")]
    [InlineData(@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")]
    [InlineData(@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")]
    public void Patterns_scanned_by_hand_match_as_the_regular_expression_does(string pattern)
    {
        WordPattern scanner = WordPattern.Find(pattern)!;
        Regex regex = new(pattern, RegexOptions.CultureInvariant);
        Gen<string> texts = Gen.ArrayOf(Gen.Elements(
            "a", "B", "猫", "ｶﾞ", "1", "23", "①", " ", "  ", "\t", "\u3000", "\n", "\r\n", "'s", "'LL", "'", "!", "、", "\u0301", "re", "_")).Select(string.Concat);
        Prop.ForAll(texts.ToArbitrary(), text =>
        {
            List<Stretch> found = [];
            scanner.FindAll(text, found);
            Assert.Equal(regex.Matches(text).Select(m => (m.Index, m.Index + m.Length)), found.Select(f => (f.Start, f.End)));
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_pattern_sees_a_surrogate_pair_as_one_character_of_its_kind()
    {
        List<Stretch> found = [];
        TextPattern.OfRegex(@"\p{L}+|\p{So}", "a test").FindAll("a𠮷b🐈𠮷1", found);
        Assert.Equal([(0, 4), (4, 6), (6, 8)], found.Select(f => (f.Start, f.End)));
    }

    [Theory, InlineData(@"a++"), InlineData(@"\p{Han}"), InlineData(@"[[:alpha:]]"), InlineData(@"[a-z&&[b]]"), InlineData(@"\K"), InlineData(@"(")]
    public void A_pattern_that_cannot_be_translated_is_refused(string pattern) =>
        Assert.Contains(pattern, Assert.Throws<NotSupportedException>(() => TextPattern.OfRegex(pattern, "tokenizer.json")).Message);

    [Fact]
    public void UTF_8_is_judged_as_the_framework_judges_it()
    {
        Random random = new(5);
        byte[] bytes = new byte[12];
        for (int round = 0; round < 20000; round++)
        {
            for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)(random.Next(3) switch { 0 => random.Next(256), 1 => random.Next(0x80, 0xC0), _ => random.Next(0xC0, 0xF8) });
            string expected = System.Text.Encoding.UTF8.GetString(bytes), found = "";
            for (int at = 0; at < bytes.Length;)
            {
                found += Utf8Reader.Read(bytes.AsSpan(at), out int codePoint, out int length) == Utf8Verdict.Character ? char.ConvertFromUtf32(codePoint) : "\uFFFD";
                at += length;
            }
            Assert.Equal(expected, found);
        }
    }
}
