namespace Fude.Cli.Tests;

public sealed class TextTableTests
{
    [Fact]
    public void Columns_are_as_wide_as_their_widest_cell_on_a_screen() => Assert.Equal(
        """
        | 種類 |      数 |
        | ---- | ------: |
        | 花   |       1 |
        | tree | 123,456 |

        """, TextTable.Write([["種類", "数"], ["花", "1"], ["tree", "123,456"]]));
}
