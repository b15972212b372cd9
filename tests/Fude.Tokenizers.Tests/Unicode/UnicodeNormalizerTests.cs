using System.Globalization;
using System.IO.Compression;
using System.Text;
using Fude.TestData;
using Fude.Tokenizers.Unicode;
using static System.Text.NormalizationForm;

namespace Fude.Tokenizers.Tests.Unicode;

public sealed class UnicodeNormalizerTests
{
    private static readonly NormalizationForm[] Forms = [FormC, FormD, FormKC, FormKD];

    [Theory]
    [InlineData("ﾌﾃﾞ", "ﾌﾃﾞ", "フデ")]                                         // 半角ｶﾅ, with its half-width sound mark
    [InlineData("ﾊﾟｿｺﾝ", "ﾊﾟｿｺﾝ", "パソコン")]
    [InlineData("か\u3099き", "がき", "がき")]                                   // 濁点 as a combining mark
    [InlineData("ハ\u309Aン", "パン", "パン")]
    [InlineData("か\u309Bき", "か\u309Bき", "か \u3099き")]                      // the spacing mark ゛ is a space and U+3099
    [InlineData("Ｆｕｄｅ　１２３！", "Ｆｕｄｅ　１２３！", "Fude 123!")]
    [InlineData("①㈱㍿㌔㎏", "①㈱㍿㌔㎏", "1(株)株式会社キロkg")]
    [InlineData("㋿", "㋿", "令和")]
    [InlineData("𠮷野家", "𠮷野家", "𠮷野家")]
    [InlineData("\uFA19\uFA1A\uF900\U0002F81A", "神祥豈冬", "神祥豈冬")]        // CJK compatibility ideographs, one of plane 2
    [InlineData("葛\U000E0100城", "葛\U000E0100城", "葛\U000E0100城")]           // an ideographic variation selector stays
    [InlineData("한글", "한글", "한글")]
    [InlineData("\u1112\u1161\u11AB\u1100\u1173\u11AF", "한글", "한글")]
    [InlineData("가\u11A8", "각", "각")]                                         // syllable without tail + tail
    [InlineData("가\u11A7", "가\u11A7", "가\u11A7")]                             // U+11A7 is no tail
    [InlineData("각\u11A8", "각\u11A8", "각\u11A8")]
    [InlineData("👩‍👩‍👧", "👩‍👩‍👧", "👩‍👩‍👧")]
    [InlineData("～〜〰", "～〜〰", "~〜〰")]                                     // only the full-width tilde has a plain one
    [InlineData("", "", "")]
    public void Japanese_text_is_composed(string text, string nfc, string nfkc)
    {
        Assert.Equal(nfc, UnicodeNormalizer.Get(FormC).Normalize(text));
        Assert.Equal(nfkc, UnicodeNormalizer.Get(FormKC).Normalize(text));
    }

    [Theory]
    [InlineData("がぱヴ", "か\u3099は\u309Aウ\u3099", "か\u3099は\u309Aウ\u3099")]
    [InlineData("ﾃﾞ", "ﾃﾞ", "テ\u3099")]
    [InlineData("한", "\u1112\u1161\u11AB", "\u1112\u1161\u11AB")]
    [InlineData("가", "\u1100\u1161", "\u1100\u1161")]
    [InlineData("ếﬁ", "e\u0302\u0301ﬁ", "e\u0302\u0301fi")]
    public void Japanese_text_is_decomposed(string text, string nfd, string nfkd)
    {
        Assert.Equal(nfd, UnicodeNormalizer.Get(FormD).Normalize(text));
        Assert.Equal(nfkd, UnicodeNormalizer.Get(FormKD).Normalize(text));
    }

    [Fact]
    public void Every_line_of_Unicodes_conformance_test_holds()
    {
        int lines = 0;
        foreach (string[] c in ConformanceLines())
        {
            lines++;
            // Column of the form (source; NFC; NFD; NFKC; NFKD) for canonical and for compatibility sources.
            Check(FormC, c, 1, 1, 1, 3, 3);
            Check(FormD, c, 2, 2, 2, 4, 4);
            Check(FormKC, c, 3, 3, 3, 3, 3);
            Check(FormKD, c, 4, 4, 4, 4, 4);
        }
        Assert.Equal(19_074, lines);

        static void Check(NormalizationForm form, string[] columns, params ReadOnlySpan<int> expected)
        {
            UnicodeNormalizer normalizer = UnicodeNormalizer.Get(form);
            for (int i = 0; i < columns.Length; i++)
            {
                string normalized = normalizer.Normalize(columns[i]);
                if (normalized != columns[expected[i]] || normalizer.IsNormalized(columns[i]) != (normalized == columns[i]))
                    Assert.Fail($"{form} of {Hex(columns[i])}: expected {Hex(columns[expected[i]])}, found {Hex(normalized)}.");
            }
        }
    }

    [Fact]
    public void Code_points_that_the_conformance_test_does_not_list_stay_as_they_are()
    {
        HashSet<string> listed = [.. ConformanceLines().Select(c => c[0])];
        for (int codePoint = 0; codePoint <= 0x10FFFF; codePoint++)
        {
            if (!Rune.IsValid(codePoint)) continue;
            string text = new Rune(codePoint).ToString();
            if (listed.Contains(text)) continue;
            foreach (NormalizationForm form in Forms)
            {
                bool same = Normalize(form, [codePoint]).Text is [int only] && only == codePoint;
                if (!same || !UnicodeNormalizer.Get(form).IsNormalized(text)) Assert.Fail($"{form} changes U+{codePoint:X4}.");
            }
        }
    }

    [Fact]
    public void The_quick_check_agrees_with_normalisation_wherever_a_character_stands()
    {
        // Every char of the Basic Multilingual Plane at every place of a vector, among characters that the quick check skips.
        string plain = "吾輩は猫である。名前はまだ無い。";
        foreach (NormalizationForm form in Forms)
        {
            UnicodeNormalizer normalizer = UnicodeNormalizer.Get(form);
            string settled = normalizer.Normalize(plain);
            for (int c = 0; c <= 0xFFFF; c++)
            {
                if (char.IsSurrogate((char)c)) continue;
                int place = c % settled.Length;
                string text = string.Concat(settled.AsSpan(0, place), [(char)c], settled.AsSpan(place));
                int[] codePoints = CodePoints(text);
                if (normalizer.IsNormalized(text) != Normalize(form, codePoints).Text.SequenceEqual(codePoints))
                    Assert.Fail($"The quick check of {form} is wrong for U+{c:X4} at {place}.");
            }
        }
    }

    [Fact]
    public void Hangul_follows_from_arithmetic()
    {
        for (int s = 0; s < 11_172; s++)
        {
            int[] syllable = [0xAC00 + s];
            int[] jamo = [0x1100 + (s / 588), 0x1161 + (s % 588 / 28), 0x11A7 + (s % 28)];
            if (s % 28 == 0) jamo = jamo[..2];
            Assert.Equal(jamo, Normalize(FormD, syllable).Text);
            Assert.Equal(syllable, Normalize(FormC, jamo).Text);
        }
    }

    [Theory]
    [InlineData(FormC, "xか\u3099き", new[] { 0, 1, 3 })]                         // a composite takes the place of its first part
    [InlineData(FormD, "がき", new[] { 0, 0, 1 })]                                // what is inserted shares the place before it
    [InlineData(FormKC, "㍿ﾃﾞ𠮷", new[] { 0, 0, 0, 0, 1, 3 })]
    [InlineData(FormKC, "㈱", new[] { 0, 0, 0 })]
    [InlineData(FormC, "\u1112\u1161\u11AB글", new[] { 0, 3 })]
    [InlineData(FormD, "a\u0315\u0300b", new[] { 0, 1, 2, 3 })]                   // the marks change places, the places stay
    [InlineData(FormC, "a\u0315\u0300b", new[] { 0, 2, 3 })]                      // à has swallowed one of two places
    [InlineData(FormKC, "㌀\u3099猫", new[] { 0, 0, 0, 1, 2 })]                    // ト was inserted: ド takes the place of its sound mark
    [InlineData(FormC, "👩‍👩‍👧", new[] { 0, 1, 2, 3, 4 })]
    public void Each_output_code_point_knows_its_source(NormalizationForm form, string text, int[] sources) =>
        Assert.Equal(sources, Normalize(form, CodePoints(text)).Sources);

    [Fact]
    public void Output_is_appended_and_carries_the_callers_own_sources()
    {
        List<int> output = ['>'], sources = [-1];
        UnicodeNormalizer.Get(FormC).Normalize(CodePoints("猫か\u3099"), [70, 80, 90], output, sources);
        Assert.Equal(CodePoints(">猫が"), output);
        Assert.Equal([-1, 70, 80], sources);
    }

    [Fact]
    public void Sources_that_do_not_fit_the_text_are_the_callers_mistake()
    {
        UnicodeNormalizer normalizer = UnicodeNormalizer.Get(FormC);
        Assert.Throws<ArgumentException>(() => normalizer.Normalize([1, 2], [0], [], []));
        Assert.Throws<ArgumentException>(() => normalizer.Normalize([1], [0], [], [0]));
        Assert.Throws<ArgumentOutOfRangeException>(() => UnicodeNormalizer.Get((NormalizationForm)3));
        Assert.Throws<ArgumentOutOfRangeException>(() => UnicodeNormalizer.Get((NormalizationForm)(-7)));
        Assert.Throws<ArgumentOutOfRangeException>(() => UnicodeNormalizer.Get((NormalizationForm)9));
    }

    [Fact]
    public void Unicode_9_leaves_newer_characters_alone()
    {
        // ㋿ is of 12.1, U+1DF6 (class 232) of 10.0, U+11938 = U+11935 U+11930 of 13.0; ㍿, か+U+3099 and U+0315, U+0300 are old.
        string text = "㋿㍿か\u3099a\u1DF6\u0300\U00011935\U00011930\U00011938";
        Assert.Equal("㋿株式会社がa\u1DF6\u0300\U00011935\U00011930\U00011938",
            UnicodeNormalizer.Get(FormKC, UnicodeVersion.Unicode9).Normalize(text));
        Assert.Equal("令和株式会社がà\u1DF6\U00011938\U00011938", UnicodeNormalizer.Get(FormKC).Normalize(text));
    }

    [Fact]
    public void Lone_surrogates_become_replacement_characters()
    {
        // Not a theory: attributes store strings as UTF-8, which has no lone surrogates.
        (string Text, string Expected)[] cases =
        [
            ("猫\uD842", "猫\uFFFD"), ("\uDFB7か\u3099", "\uFFFDが"), ("\uD842\uD842\uDFB7", "\uFFFD𠮷"), ("\uD842\u3099", "\uFFFD\u3099"),
            ("か\u0301\uDFB7", "か\u0301\uFFFD"),
        ];
        foreach ((string text, string expected) in cases)
        {
            Assert.False(UnicodeNormalizer.Get(FormC).IsNormalized(text));
            Assert.True(UnicodeNormalizer.Get(FormC).IsNormalized(expected));
            Assert.Equal(expected, UnicodeNormalizer.Get(FormC).Normalize(text));
            Assert.Equal(expected, UnicodeNormalizer.Get(FormKC).Normalize(text));
        }
        Assert.Equal([0xFFFD, 0xFFFD, 0xFFFD, 'a'], Normalize(FormC, [-1, 0xD800, 0x110000, 'a']).Text);
    }

    [Fact]
    public void Normalised_text_is_given_back_as_the_same_object()
    {
        string text = "吾輩は猫である。Nameはまだ無い👩‍👩‍👧";
        Assert.Same(text, UnicodeNormalizer.Get(FormC).Normalize(text));
        Assert.Same(text, UnicodeNormalizer.Get(FormKC).Normalize(text));
    }

    [Fact]
    public void A_million_marks_are_put_into_order()
    {
        const int Marks = 1_000_000;
        int[] text = new int[Marks + 1], sources = new int[Marks + 1];
        text[0] = 'e';
        for (int i = 0; i < Marks; i++) text[i + 1] = i % 3 == 0 ? 0x0315 : i % 3 == 1 ? 0x0301 : 0x0323;      // classes 232, 230, 220
        for (int i = 0; i < sources.Length; i++) sources[i] = i;
        List<int> output = [], outputSources = [];

        UnicodeNormalizer.Get(FormD).Normalize(text, sources, output, outputSources);
        int[] sorted = [.. text.Order(Comparer<int>.Create((a, b) => Class(a) - Class(b)))];
        Assert.Equal(sorted, output);
        Assert.Equal(sources, outputSources);

        output.Clear();
        outputSources.Clear();
        UnicodeNormalizer.Get(FormC).Normalize(text, sources, output, outputSources);
        Assert.Equal([0x1EB9, .. sorted[2..]], output);                              // ẹ composes with no other of the marks

        static int Class(int mark) => mark switch { 0x0323 => 220, 0x0301 => 230, 0x0315 => 232, _ => 0 };
    }

    [Fact]
    public void Random_text_is_normalised_alike_in_pieces_and_as_a_whole_and_only_once()
    {
        // Few characters that interact: marks of several classes, Jamo, kana with sound marks, composites, exclusions.
        int[] alphabet = [.. "aéか\u3099\u309Aが\u0301\u0323\u0315\u0327ᄒ\u1161\u11AB하한ﾃﾞﾟ㈱\u0344\u0958\u0344ﬁ猫 "];
        Random random = new(20);
        for (int round = 0; round < 3000; round++)
        {
            int[] text = random.GetItems(alphabet, random.Next(40));
            foreach (NormalizationForm form in Forms)
            {
                (int[] once, int[] sources) = Normalize(form, text);
                Assert.Equal(once, Normalize(form, once).Text);
                Assert.True(UnicodeNormalizer.Get(form).IsNormalized(Text(once)));
                Assert.True(sources.Zip(sources.Skip(1)).All(pair => pair.First <= pair.Second));
                Assert.All(sources, source => Assert.InRange(source, 0, text.Length - 1));

                // Canonically equivalent: the composed and the decomposed form decompose alike.
                NormalizationForm decomposed = form is FormC or FormD ? FormD : FormKD;
                Assert.Equal(Normalize(decomposed, text).Text, Normalize(decomposed, once).Text);

                // An unrelated starter cuts the text without changing either side.
                Assert.Equal([.. once, '猫', .. once], Normalize(form, [.. text, '猫', .. text]).Text);
            }
        }
    }

    private static (int[] Text, int[] Sources) Normalize(NormalizationForm form, int[] text)
    {
        List<int> output = [], sources = [];
        UnicodeNormalizer.Get(form).Normalize(text, [.. Enumerable.Range(0, text.Length)], output, sources);
        return ([.. output], [.. sources]);
    }

    private static int[] CodePoints(string text) => [.. text.EnumerateRunes().Select(rune => rune.Value)];

    private static string Text(int[] codePoints) => string.Concat(codePoints.Select(c => new Rune(c).ToString()));

    private static string Hex(string text) =>
        string.Join(' ', CodePoints(text).Select(c => c.ToString("X4", CultureInfo.InvariantCulture)));

    // Unicode's NormalizationTest.txt 15.0.0 without comments (eng/UnicodeTables/PackNormalizationTest.cs).
    private static IEnumerable<string[]> ConformanceLines()
    {
        string path = Path.Combine(TestFolders.Repository, "tests", "Fude.Tokenizers.Tests", "Unicode", "NormalizationTest.txt.br");
        using StreamReader reader = new(new BrotliStream(File.OpenRead(path), CompressionMode.Decompress));
        while (reader.ReadLine() is string line)
        {
            if (line.StartsWith('@')) continue;
            yield return [.. line.Split(';', StringSplitOptions.RemoveEmptyEntries).Select(column =>
                Text([.. column.Split(' ').Select(hex => int.Parse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture))]))];
        }
    }
}
