using System.Text;

namespace Fude.Cli.Tests;

public sealed class LineEditorTests
{
    private const char Escape = '\e';

    [Fact]
    public void A_line_of_Japanese_is_read_as_typed() => Assert.Equal(["吾輩は猫である"], Read("吾輩は猫である", Enter));

    [Fact]
    public void Backspace_takes_a_whole_character_a_surrogate_pair_and_a_family_alike() =>
        Assert.Equal(["あ"], Read("あ𠮷", Backspace, "👩‍👩‍👧", Backspace, "か\u3099", Backspace, Enter));

    [Fact]
    public void Arrows_walk_by_whole_characters() => Assert.Equal(["a𠮷b"], Read("𠮷b", Left, Left, "a", Enter));

    [Theory]
    [InlineData(ConsoleModifiers.Alt)]
    [InlineData(ConsoleModifiers.None)]
    public void A_message_has_several_lines(ConsoleModifiers modifiers)
    {
        object newLine = modifiers == ConsoleModifiers.Alt
            ? new ConsoleKeyInfo('\r', ConsoleKey.Enter, shift: false, alt: true, control: false)
            : "\\";
        object[] keys = modifiers == ConsoleModifiers.Alt ? ["一", newLine, "二", Enter] : ["一", newLine, Enter, "二", Enter];
        Assert.Equal(["一\n二"], Read(keys));
    }

    [Fact]
    public void A_pasted_text_keeps_its_line_breaks() => Assert.Equal(["一\n二"], Read("一", new Burst("\r二"), Enter));

    [Fact]
    public void Older_messages_come_back_and_the_draft_is_kept() =>
        Assert.Equal(["一", "二", "一", "草稿"], Read("一", Enter, "二", Enter, Up, Up, Enter, "草稿", Up, Down, Enter));

    [Fact]
    public void Control_C_clears_the_line_and_stops_on_an_empty_one()
    {
        Assert.Equal(["b"], Read("a", Control(ConsoleKey.C), "b", Enter));
        Assert.Throws<OperationCanceledException>(() => Read("a", Control(ConsoleKey.C), Control(ConsoleKey.C)));
    }

    [Fact]
    public void Control_D_on_an_empty_line_is_the_end() => Assert.Equal([null], Read(Control(ConsoleKey.D)));

    [Fact]
    public void The_cursor_stands_two_columns_further_for_a_kanji()
    {
        StringBuilder screen = new();
        Read(screen, "猫", Left, Enter);
        Assert.Contains($"> 猫\r{Escape}[4C", screen.ToString(), StringComparison.Ordinal);      // behind the prompt and one kanji
        Assert.Contains($"> 猫\r{Escape}[2C", screen.ToString(), StringComparison.Ordinal);      // and before it
    }

    [Fact]
    public void A_wide_character_is_not_split_over_the_edge()
    {
        StringBuilder screen = new();
        Read(screen, "漢字漢字漢字漢字漢", Enter);             // 2 + 9·2 cells, and 19 columns
        Assert.Contains("漢字漢字漢字漢字\r\n漢", screen.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_terminal_that_does_not_say_its_width_has_a_usual_one()
    {
        StringBuilder screen = new();
        ReadAt(0, screen, "漢字漢字漢字漢字漢", Enter);
        Assert.Contains("> 漢字漢字漢字漢字漢\r", screen.ToString(), StringComparison.Ordinal);
    }

    private static readonly ConsoleKeyInfo Enter = new('\r', ConsoleKey.Enter, false, false, false);
    private static readonly ConsoleKeyInfo Backspace = new('\b', ConsoleKey.Backspace, false, false, false);
    private static readonly ConsoleKeyInfo Left = new('\0', ConsoleKey.LeftArrow, false, false, false);
    private static readonly ConsoleKeyInfo Up = new('\0', ConsoleKey.UpArrow, false, false, false);
    private static readonly ConsoleKeyInfo Down = new('\0', ConsoleKey.DownArrow, false, false, false);

    private sealed record Burst(string Text);

    private static ConsoleKeyInfo Control(ConsoleKey key) => new((char)(key - ConsoleKey.A + 1), key, false, false, control: true);

    private static List<string?> Read(params object[] keys) => Read(new StringBuilder(), keys);

    private static List<string?> Read(StringBuilder screen, params object[] keys) => ReadAt(19, screen, keys);

    /// <summary>Types texts and keys; a burst's characters are there all at once. Reads messages until the keys are used up.</summary>
    private static List<string?> ReadAt(int columns, StringBuilder screen, params object[] keys)
    {
        Queue<(ConsoleKeyInfo Key, bool MoreAtOnce)> typed = new();
        foreach (object item in keys)
        {
            if (item is ConsoleKeyInfo key)
            {
                typed.Enqueue((key, false));
                continue;
            }
            string text = item is Burst burst ? burst.Text : (string)item;
            for (int i = 0; i < text.Length; i++)
                typed.Enqueue((text[i] == '\r' ? Enter : new ConsoleKeyInfo(text[i], 0, false, false, false), item is Burst && i + 1 < text.Length));
        }
        bool more = false;
        using StringWriter output = new(screen);
        LineEditor editor = new(output, () => { (ConsoleKeyInfo key, more) = typed.Dequeue(); return key; }, () => more, () => columns);
        List<string?> messages = [];
        while (typed.Count > 0) messages.Add(editor.Read("> "));
        return messages;
    }
}
