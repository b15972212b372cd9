using static Fude.Tensors.Wording;

namespace Fude.Models.Jinja;

/// <summary>A template's text and where it comes from: what every message points into.</summary>
internal sealed class JinjaSource
{
    public const int MaxLength = 1 << 20;

    public JinjaSource(string text, string origin)
    {
        Origin = origin;
        if (text.Length > MaxLength)
            throw new InvalidDataException(Say(
                $"{origin} is {text.Length} characters long; a chat template has at most {MaxLength}.",
                $"{origin} は {text.Length} 文字あります。チャットテンプレートは {MaxLength} 文字までです。"));
        // As Jinja reads a template: one kind of line break, of which there are three to it, and the last one is not part of it.
        text = text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        Text = text.EndsWith('\n') ? text[..^1] : text;
    }

    public string Text { get; }

    public string Origin { get; }

    public string Place(int offset)
    {
        ReadOnlySpan<char> before = Text.AsSpan(0, Math.Min(offset, Text.Length));
        (int line, int column) = (before.Count('\n') + 1, before.Length - before.LastIndexOf('\n'));
        return Say($"line {line}, column {column}", $"{line} 行目の {column} 文字目");
    }

    /// <summary>What is said of a place in it.</summary>
    public string Told(int offset, string english, string japanese) =>
        Say($"{Origin}, {Place(offset)}: {english}", $"{Origin}（{Place(offset)}）: {japanese}");

    public InvalidDataException Wrong(int offset, string english, string japanese) => new(Told(offset, english, japanese));

    public NotSupportedException Unsupported(int offset, string english, string japanese) => new(Told(offset, english, japanese));
}
