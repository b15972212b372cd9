using System.Text;
using Fude.Tokenizers.Normalizers;
using Fude.Tokenizers.Training;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Tests.Training;

public sealed class CharsmapWriterTests
{
    [Fact]
    public void The_rules_of_NFKC_turn_every_code_point_into_its_normal_form()
    {
        Charsmap charsmap = new(CharsmapWriter.Nfkc(), "test");
        UnicodeNormalizer nfkc = UnicodeNormalizer.Get(NormalizationForm.FormKC);
        for (int c = 1; c < 0x110000; c++)
        {
            if (c is >= 0xD800 and < 0xE000) continue;
            string text = char.ConvertFromUtf32(c);
            int length = charsmap.Longest(text, out ReadOnlySpan<char> replacement);
            string normalized = length == 0 ? text : replacement.ToString();
            if (normalized != nfkc.Normalize(text)) Assert.Fail($"U+{c:X4} became '{normalized}', not '{nfkc.Normalize(text)}'.");
        }
    }

    [Theory]
    [InlineData("か\u3099", "が")]
    [InlineData("ｶﾞ", "ガ")]
    [InlineData("ﾊﾟ", "パ")]
    [InlineData("e\u0302\u0301", "ế")]
    [InlineData("ê\u0301", "ế")]
    [InlineData("Ａ\u030A", "Å")]
    public void Sequences_compose(string text, string expected)
    {
        Assert.Equal(text.Length, new Charsmap(CharsmapWriter.Nfkc(), "test").Longest(text, out ReadOnlySpan<char> replacement));
        Assert.Equal(expected, replacement.ToString());
    }

    [Fact]
    public void The_longest_rule_wins_and_other_text_has_none()
    {
        SortedDictionary<byte[], string> rules = new(Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)))
        {
            ["a"u8.ToArray()] = "一",
            ["ab"u8.ToArray()] = "",
            ["abcd"u8.ToArray()] = "四",
            ["猫"u8.ToArray()] = "cat",
        };
        Charsmap charsmap = new(CharsmapWriter.Write(rules), "test");
        Assert.Equal(2, charsmap.Longest("abc", out ReadOnlySpan<char> replacement));
        Assert.Equal("", replacement.ToString());
        Assert.Equal(4, charsmap.Longest("abcd", out replacement));
        Assert.Equal("四", replacement.ToString());
        Assert.Equal(1, charsmap.Longest("猫ab", out replacement));
        Assert.Equal("cat", replacement.ToString());
        Assert.Equal(0, charsmap.Longest("犬ab", out _));
    }
}
