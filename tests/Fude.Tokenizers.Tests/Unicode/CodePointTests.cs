using System.Globalization;
using System.Text;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Tests.Unicode;

public sealed class CodePointTests
{
    [Theory]
    [InlineData("吾輩ハ猫", "吾輩ハ猫")]
    [InlineData("ＦＵＤＥ", "ｆｕｄｅ")]                          // full-width letters stay full-width
    [InlineData("Ⅷ Ⓐ", "ⅷ ⓐ")]                                // numbers and symbols with a lowercase
    [InlineData("İSTANBUL", "i\u0307stanbul")]
    [InlineData("ΟΔΟΣ", "οδοσ")]                                // no final sigma
    [InlineData("ẞ ǅ 𐐀 Ა", "ß ǆ 𐐨 ა")]
    public void Lowercase_is_that_of_each_character_by_itself(string text, string lower) =>
        Assert.Equal(lower, CodePoint.ToLower(text));

    [Fact]
    public void Lone_surrogates_become_replacement_characters() => Assert.Equal("\uFFFDa", CodePoint.ToLower("\uD842A"));

    [Fact]
    public void Lowercase_agrees_with_dotnet_on_characters_that_both_know()
    {
        int lowered = 0;
        for (int codePoint = 0; codePoint <= 0x10FFFF; codePoint++)
        {
            int lower = CodePoint.ToLower(codePoint, out int second);
            Assert.Equal(codePoint == 0x130 ? 0x307 : 0, second);
            if (lower == codePoint) continue;
            lowered++;
            // The invariant culture leaves İ alone, and a .NET that uses an older ICU leaves letters that it does not know.
            int dotnet = Rune.ToLowerInvariant(new Rune(codePoint)).Value;
            Assert.True(dotnet == lower || dotnet == codePoint, $"U+{codePoint:X4}: found U+{lower:X4}, .NET has U+{dotnet:X4}.");
        }
        Assert.Equal(1433, lowered);
    }

    [Fact]
    public void Categories_of_assigned_characters_agree_with_dotnet()
    {
        // .NET's tables are of a newer Unicode, which corrects a category now and then: U+1171E is Mn in 15.0 and Mc in 16.0.
        List<string> differences = [];
        for (int codePoint = 0; codePoint <= 0x10FFFF; codePoint++)
        {
            UnicodeCategory category = CodePoint.Category(codePoint);
            if (category == UnicodeCategory.OtherNotAssigned) continue;
            if (category != CharUnicodeInfo.GetUnicodeCategory(codePoint)) differences.Add($"U+{codePoint:X4}");
        }
        Assert.True(differences.Count <= 5, string.Join(" ", differences));
    }

    [Theory]
    [InlineData("猫あアａA々ーﾃ𠮷한𝒜", nameof(CodePoint.IsLetter))]
    [InlineData("0９①½Ⅷ㈠௧", nameof(CodePoint.IsNumber))]
    [InlineData("、。「」・！（!#%&*_-", nameof(CodePoint.IsPunctuation))]
    [InlineData("$+<=>^`|~￥゛㍿👩", nameof(CodePoint.IsSymbol))]
    [InlineData(" \t\n\r\v\f\u0085\u00A0\u2003\u2028\u3000", nameof(CodePoint.IsWhiteSpace))]
    [InlineData("\u0301\u3099\u0903\u20DD\u302A", nameof(CodePoint.IsMark))]
    [InlineData("\u0301\u3099\u302A\uFE0F\U000E0100", nameof(CodePoint.IsNonspacingMark))]
    [InlineData("猫_9\u3099\u200Dー９ⅷⓐ", nameof(CodePoint.IsWord))]
    [InlineData("\0\u001B\u007F\u009F", nameof(CodePoint.IsControl))]
    [InlineData("猫ーⅷⓐ\u0903", nameof(CodePoint.IsAlphabetic))]
    public void Each_of_these_is(string text, string test) => Assert.All(text.EnumerateRunes(), rune => Assert.True(Is(test, rune.Value)));

    [Theory]
    [InlineData("1、 \u3099①ⓐ👩\uFFFF", nameof(CodePoint.IsLetter))]
    [InlineData("五千aー、", nameof(CodePoint.IsNumber))]
    [InlineData("$+<=>^`|~猫ー゛ ", nameof(CodePoint.IsPunctuation))]
    [InlineData("、!猫1 ", nameof(CodePoint.IsSymbol))]
    [InlineData("\u200B\uFEFF猫\u2060\u180E\u001C", nameof(CodePoint.IsWhiteSpace))]
    [InlineData("゛ﾞ猫\u200D", nameof(CodePoint.IsMark))]
    [InlineData("゛\u0903\u20DD", nameof(CodePoint.IsNonspacingMark))]
    [InlineData("、 ①½゛👩-", nameof(CodePoint.IsWord))]
    [InlineData("\u200B\u00AD ", nameof(CodePoint.IsControl))]
    [InlineData("1_\u3099①\u200D", nameof(CodePoint.IsAlphabetic))]
    public void None_of_these_is(string text, string test) => Assert.All(text.EnumerateRunes(), rune => Assert.False(Is(test, rune.Value)));

    [Fact]
    public void What_is_no_character_has_no_property()
    {
        Assert.Equal(UnicodeCategory.Surrogate, CodePoint.Category(0xD842));
        Assert.Equal(UnicodeCategory.PrivateUse, CodePoint.Category(0xE000));
        Assert.Equal(UnicodeCategory.PrivateUse, CodePoint.Category(0x10FFFD));
        foreach (int codePoint in (int[])[-1, int.MinValue, 0x110000, int.MaxValue, 0xFFFF, 0x10FFFF])
        {
            Assert.Equal(UnicodeCategory.OtherNotAssigned, CodePoint.Category(codePoint));
            Assert.False(CodePoint.IsWord(codePoint) || CodePoint.IsWhiteSpace(codePoint) || CodePoint.IsMark(codePoint));
            Assert.Equal(codePoint, CodePoint.ToLower(codePoint, out _));
        }
    }

    [Fact]
    public void Marks_newer_than_Unicode_9_are_none_to_Unicode_9()
    {
        Assert.True(CodePoint.IsMark(0x1DF6));
        Assert.False(CodePoint.IsMark(0x1DF6, UnicodeVersion.Unicode9));
        Assert.True(CodePoint.IsMark(0x3099, UnicodeVersion.Unicode9));
    }

    private static bool Is(string test, int codePoint) => test switch
    {
        nameof(CodePoint.IsLetter) => CodePoint.IsLetter(codePoint),
        nameof(CodePoint.IsNumber) => CodePoint.IsNumber(codePoint),
        nameof(CodePoint.IsPunctuation) => CodePoint.IsPunctuation(codePoint),
        nameof(CodePoint.IsSymbol) => CodePoint.IsSymbol(codePoint),
        nameof(CodePoint.IsWhiteSpace) => CodePoint.IsWhiteSpace(codePoint),
        nameof(CodePoint.IsMark) => CodePoint.IsMark(codePoint),
        nameof(CodePoint.IsNonspacingMark) => CodePoint.IsNonspacingMark(codePoint),
        nameof(CodePoint.IsWord) => CodePoint.IsWord(codePoint),
        nameof(CodePoint.IsControl) => CodePoint.IsControl(codePoint),
        nameof(CodePoint.IsAlphabetic) => CodePoint.IsAlphabetic(codePoint),
        _ => throw new ArgumentException($"Unknown test {test}.", nameof(test)),
    };
}
