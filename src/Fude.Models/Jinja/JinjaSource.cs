namespace Fude.Models.Jinja;

/// <summary>A template's text and where it comes from: what every message points into.</summary>
internal sealed class JinjaSource
{
    public const int MaxLength = 1 << 20;

    public JinjaSource(string text, string origin)
    {
        Origin = origin;
        if (text.Length > MaxLength)
            throw new InvalidDataException($"{origin} is {text.Length} characters long; a chat template has at most {MaxLength}.");
        // As Jinja reads a template: one kind of line break, and the last one is not part of it.
        text = text.ReplaceLineEndings("\n");
        Text = text.EndsWith('\n') ? text[..^1] : text;
    }

    public string Text { get; }

    public string Origin { get; }

    public string Place(int offset)
    {
        ReadOnlySpan<char> before = Text.AsSpan(0, Math.Min(offset, Text.Length));
        return $"line {before.Count('\n') + 1}, column {before.Length - before.LastIndexOf('\n')}";
    }

    public InvalidDataException Wrong(int offset, string what) => new($"{Origin}, {Place(offset)}: {what}");

    public NotSupportedException Unsupported(int offset, string what) => new($"{Origin}, {Place(offset)}: {what}");
}
