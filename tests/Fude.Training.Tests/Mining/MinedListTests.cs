namespace Fude.Training.Tests;

public sealed class MinedListTests
{
    [Theory]
    [InlineData("- 桜", "桜")]
    [InlineData(" * 桜 ", "桜")]
    [InlineData("・桜", "桜")]
    [InlineData("1. 桜", "桜")]
    [InlineData("12) 桜", "桜")]
    [InlineData("3、桜", "桜")]
    [InlineData("-5度", null)]
    [InlineData("2024. 桜", null)]
    [InlineData("1", null)]
    [InlineData("-", null)]
    [InlineData("桜", null)]
    [InlineData("", null)]
    public void An_item_has_a_mark_or_a_number(string line, string? item) => Assert.Equal(item, MinedList.ItemOf(line));

    [Theory]
    [InlineData("どうぞ。\n\n- 桜\n- 梅。\n以上。", "桜|梅")]
    [InlineData("- 桜\n- 桜", "")]
    [InlineData("- 桜 。\n- 桜", "")]
    [InlineData("- 桜が咲くのを見に行くのはとても楽しいことで、家族や友達と一緒に出かけるとよい、春の花です\n- 梅", "")]
    [InlineData("- 桜: 見に行くのはとても楽しいことで、家族や友達と一緒に出かけるとよい、春の花です\n- 梅", "桜|梅")]
    [InlineData("桜です。", "")]
    public void Items_are_short_and_each_is_another(string answer, string items) => Assert.Equal(items, string.Join('|', MinedList.ItemsOf(answer)));

    [Fact]
    public void A_list_is_written_as_it_is_read() => Assert.Equal(["桜", "梅"], MinedList.ItemsOf(MinedList.Write(["桜", "梅"])));

    [Fact]
    public void A_long_list_is_read_whole()
    {
        string answer = string.Concat(Enumerable.Range(0, 100_000).Select(i => $"・{i}番\n"));
        Assert.Equal(100_000, MinedList.ItemsOf(answer).Count);
    }
}
