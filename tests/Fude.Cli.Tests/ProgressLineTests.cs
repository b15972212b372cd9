namespace Fude.Cli.Tests;

public sealed class ProgressLineTests
{
    [Theory]
    [InlineData("abcdef", 7, "abcdef")]
    [InlineData("abcdef", 6, "abcde")]
    [InlineData("ステップ 1", 8, "ステッ")]        // two columns each, and the last one stays free
    [InlineData("か\u3099き", 4, "か\u3099")]
    [InlineData("abcdef", 0, "abcdef")]
    public async Task A_line_is_cut_to_the_screen_that_it_is_drawn_on(string text, int columns, string expected)
    {
        using StringWriter error = new();
        using (ProgressLine line = new(new Terminal(Stream.Null, TextWriter.Null, error, ErrorIsScreen: true), () => columns))
        {
            // The first line is drawn a tenth of a second after the beginning.
            while (error.ToString().Length == 0)
            {
                line.Draw(text);
                await Task.Delay(10, TestContext.Current.CancellationToken);
            }
        }
        Assert.Equal($"\r\e[K{expected}\r\e[K", error.ToString());
    }
}
