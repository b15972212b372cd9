using System.Text;

namespace Fude.Cli;

/// <summary>Tables in Markdown, aligned so that they can be read as they are.</summary>
internal static class TextTable
{
    /// <summary>A table whose first line is the heading; all columns but the first are set to the right.</summary>
    public static string Write(IReadOnlyList<string[]> lines)
    {
        List<string[]> table = [.. lines];
        int[] widths = [.. Enumerable.Range(0, table[0].Length).Select(column => Math.Max(3, table.Max(line => LineEditor.Cells(line[column]))))];
        table.Insert(1, [.. widths.Select((width, column) => column == 0 ? new string('-', width) : new string('-', width - 1) + ":")]);
        StringBuilder text = new();
        foreach (string[] line in table)
        {
            for (int column = 0; column < line.Length; column++)
            {
                string space = new(' ', widths[column] - LineEditor.Cells(line[column]));
                text.Append("| ").Append(column == 0 ? line[column] + space : space + line[column]).Append(' ');
            }
            text.Append("|\n");
        }
        return text.ToString();
    }
}
