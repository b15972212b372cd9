using System.Globalization;
using System.Text;
using Spectre.Console.Rendering;

namespace Fude.Cli;

/// <summary>Reads a message at a terminal: Japanese by an input method, several lines, history.</summary>
/// <remarks>
/// The terminal's input method composes on its own and commits whole words, which arrive as a burst of characters: the editor
/// redraws after a burst, never in the middle of one, counts a kanji as two cells, and moves and deletes by whole characters as a
/// reader sees them (か with its combining dakuten, 👩‍👩‍👧). Enter sends; Alt+Enter, Ctrl+J or a backslash before Enter starts a new
/// line, and so does an Enter with more input right behind it, as in a paste.
/// </remarks>
/// <param name="output">The terminal.</param>
/// <param name="readKey">The next key; waits for it.</param>
/// <param name="keyAvailable">Whether a key is there already.</param>
/// <param name="columns">The terminal's width now; 0 where it does not say, as on a serial line.</param>
internal sealed class LineEditor(TextWriter output, Func<ConsoleKeyInfo> readKey, Func<bool> keyAvailable, Func<int> columns)
{
    private const int UsualColumns = 80;

    private readonly List<string> _history = [];
    private readonly StringBuilder _text = new();
    private int _cursor;                // UTF-16 index into _text, always between two characters as a reader sees them
    private int _historyAt;             // _history.Count while a new message is being written
    private string _draft = "";         // that message, while an older one is looked at
    private int _cursorRow;             // row of the terminal's cursor below the prompt's first row

    /// <summary>One message, its lines separated by "\n"; null at the end of input (Ctrl+D on an empty line).</summary>
    /// <exception cref="OperationCanceledException">Ctrl+C on an empty line.</exception>
    public string? Read(string prompt)
    {
        _text.Clear();
        _cursor = 0;
        _cursorRow = 0;
        _historyAt = _history.Count;
        Draw(prompt);
        while (true)
        {
            ConsoleKeyInfo key = readKey();
            switch (Edit(key))
            {
                case Step.Send:
                    _cursor = _text.Length;
                    Draw(prompt);
                    output.Write('\n');
                    string message = _text.ToString();
                    if (message.Length > 0 && (_history.Count == 0 || _history[^1] != message)) _history.Add(message);
                    return message;
                case Step.End:
                    output.Write('\n');
                    return null;
                case Step.Stop:
                    output.Write('\n');
                    throw new OperationCanceledException();
                default:
                    if (!keyAvailable()) Draw(prompt);
                    break;
            }
        }
    }

    private enum Step
    {
        Continue,
        Send,
        End,
        Stop,
    }

    private Step Edit(ConsoleKeyInfo key)
    {
        bool control = key.Modifiers.HasFlag(ConsoleModifiers.Control);
        switch (key.Key)
        {
            case ConsoleKey.Enter when key.Modifiers.HasFlag(ConsoleModifiers.Alt) || keyAvailable():
            case ConsoleKey.J when control:
                Insert("\n");
                return Step.Continue;
            case ConsoleKey.Enter when _cursor > 0 && _text[_cursor - 1] == '\\':
                _text[_cursor - 1] = '\n';
                return Step.Continue;
            case ConsoleKey.Enter:
                return Step.Send;
            case ConsoleKey.C when control && _text.Length == 0:
                return Step.Stop;
            case ConsoleKey.C when control:
                Replace("");
                return Step.Continue;
            case ConsoleKey.D when control && _text.Length == 0:
                return Step.End;
            case ConsoleKey.D when control:
            case ConsoleKey.Delete:
                Remove(_cursor, Next(_cursor));
                return Step.Continue;
            case ConsoleKey.Backspace:
            case ConsoleKey.H when control:
                Remove(Previous(_cursor), _cursor);
                return Step.Continue;
            case ConsoleKey.W when control:
                int start = _cursor;
                while (start > 0 && char.IsWhiteSpace(_text[start - 1])) start--;
                while (start > 0 && !char.IsWhiteSpace(_text[start - 1])) start--;
                Remove(start, _cursor);
                return Step.Continue;
            case ConsoleKey.U when control:
                Remove(LineStart(_cursor), _cursor);
                return Step.Continue;
            case ConsoleKey.K when control:
                Remove(_cursor, LineEnd(_cursor));
                return Step.Continue;
            case ConsoleKey.LeftArrow:
            case ConsoleKey.B when control:
                _cursor = Previous(_cursor);
                return Step.Continue;
            case ConsoleKey.RightArrow:
            case ConsoleKey.F when control:
                _cursor = Next(_cursor);
                return Step.Continue;
            case ConsoleKey.Home:
            case ConsoleKey.A when control:
                _cursor = LineStart(_cursor);
                return Step.Continue;
            case ConsoleKey.End:
            case ConsoleKey.E when control:
                _cursor = LineEnd(_cursor);
                return Step.Continue;
            case ConsoleKey.UpArrow:
            case ConsoleKey.P when control:
                if (LineStart(_cursor) > 0) _cursor = LineStart(LineStart(_cursor) - 1);
                else Recall(_historyAt - 1);
                return Step.Continue;
            case ConsoleKey.DownArrow:
            case ConsoleKey.N when control:
                if (LineEnd(_cursor) < _text.Length) _cursor = LineEnd(LineEnd(_cursor) + 1);
                else Recall(_historyAt + 1);
                return Step.Continue;
            default:
                if (key.KeyChar == '\t') Insert("    ");
                else if (!char.IsControl(key.KeyChar)) Insert(key.KeyChar.ToString());
                return Step.Continue;
        }
    }

    private void Insert(string piece)
    {
        _text.Insert(_cursor, piece);
        _cursor += piece.Length;
    }

    private void Remove(int from, int to)
    {
        _text.Remove(from, to - from);
        _cursor = from;
    }

    private void Replace(string text)
    {
        _text.Clear().Append(text);
        _cursor = text.Length;
    }

    private void Recall(int index)
    {
        if (index < 0 || index > _history.Count) return;
        if (_historyAt == _history.Count) _draft = _text.ToString();
        _historyAt = index;
        Replace(index == _history.Count ? _draft : _history[index]);
    }

    private int Next(int index) => index == _text.Length ? index : index + StringInfo.GetNextTextElementLength(_text.ToString(), index);

    private int Previous(int index)
    {
        int previous = 0;
        string text = _text.ToString(0, index);
        for (int at = 0; at < index; at += StringInfo.GetNextTextElementLength(text, at)) previous = at;
        return previous;
    }

    private int LineStart(int index)
    {
        while (index > 0 && _text[index - 1] != '\n') index--;
        return index;
    }

    private int LineEnd(int index)
    {
        while (index < _text.Length && _text[index] != '\n') index++;
        return index;
    }

    /// <summary>Writes prompt and text over what was drawn before, and puts the cursor where it belongs.</summary>
    private void Draw(string prompt)
    {
        int width = columns() is > 0 and int known ? Math.Max(2, known) : UsualColumns;
        StringBuilder screen = new("\r");
        if (_cursorRow > 0) screen.Append(CultureInfo.InvariantCulture, $"\e[{_cursorRow}A");
        screen.Append("\e[J").Append(prompt);

        string text = _text.ToString();
        int indent = Cells(prompt), row = 0, column = indent, cursorRow = 0, cursorColumn = indent;
        for (int at = 0; at < text.Length;)
        {
            if (at == _cursor) (cursorRow, cursorColumn) = (row, column);
            int length = StringInfo.GetNextTextElementLength(text, at);
            if (text[at] == '\n')
            {
                screen.Append("\r\n").Append(' ', indent);
                (row, column) = (row + 1, indent);
            }
            else
            {
                string character = text.Substring(at, length);
                int cells = Cells(character);
                if (column + cells > width)
                {
                    screen.Append("\r\n");          // a wide character is never split over the right edge
                    (row, column) = (row + 1, 0);
                    if (at == _cursor) (cursorRow, cursorColumn) = (row, column);
                }
                screen.Append(character);
                column += cells;
            }
            at += length;
        }
        if (_cursor == text.Length) (cursorRow, cursorColumn) = (row, column);
        if (cursorColumn >= width)
        {
            if (cursorRow == row) screen.Append("\r\n");
            row = Math.Max(row, cursorRow + 1);
            (cursorRow, cursorColumn) = (cursorRow + 1, 0);
        }

        if (row > cursorRow) screen.Append(CultureInfo.InvariantCulture, $"\e[{row - cursorRow}A");
        screen.Append('\r');
        if (cursorColumn > 0) screen.Append(CultureInfo.InvariantCulture, $"\e[{cursorColumn}C");
        output.Write(screen.ToString());
        output.Flush();
        _cursorRow = cursorRow;
    }

    /// <summary>Columns that a text takes on a screen: two for a kanji.</summary>
    internal static int Cells(string text) => new Segment(text).CellCount();
}
