using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class UnicodeScriptsTests
{
    [Theory]
    [InlineData('漢', UnicodeScripts.Han)]
    [InlineData('々', UnicodeScripts.Han)]
    [InlineData('あ', UnicodeScripts.Hiragana)]
    [InlineData('ア', UnicodeScripts.Katakana)]
    [InlineData('ｱ', UnicodeScripts.Katakana)]
    [InlineData('ー', UnicodeScripts.Common)]
    [InlineData('。', UnicodeScripts.Common)]
    [InlineData('1', UnicodeScripts.Common)]
    [InlineData(0x3099, UnicodeScripts.Inherited)]
    [InlineData(0x20BB7, UnicodeScripts.Han)]
    [InlineData(0x10FFFF, UnicodeScripts.Unknown)]
    [InlineData(-1, UnicodeScripts.Unknown)]
    [InlineData(0x110000, UnicodeScripts.Unknown)]
    public void Characters_have_their_scripts(int codePoint, byte script) => Assert.Equal(script, UnicodeScripts.Of(codePoint));

    [Fact]
    public void Letters_of_other_scripts_differ() =>
        Assert.Equal(4, new[] { 'a', 'я', 'α', 'ع' }.Select(c => UnicodeScripts.Of(c)).Distinct().Count());
}
