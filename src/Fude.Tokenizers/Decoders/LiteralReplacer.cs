using System.Text;

namespace Fude.Tokenizers.Decoders;

/// <summary>Replaces a literal in text that comes in pieces; holds back what may be its beginning.</summary>
internal sealed class LiteralReplacer(string pattern, string replacement)
{
    private string _held = "";

    internal void Write(ReadOnlySpan<char> text, StringBuilder output)
    {
        if (pattern.Length == 1)
        {
            for (int at; (at = text.IndexOf(pattern[0])) >= 0; text = text[(at + 1)..]) output.Append(text[..at]).Append(replacement);
            output.Append(text);
            return;
        }
        ReadOnlySpan<char> rest = _held.Length == 0 ? text : string.Concat(_held, text);
        for (int at; (at = rest.IndexOf(pattern)) >= 0; rest = rest[(at + pattern.Length)..]) output.Append(rest[..at]).Append(replacement);
        int keep = Math.Min(pattern.Length - 1, rest.Length);
        while (keep > 0 && !rest.EndsWith(pattern.AsSpan(0, keep))) keep--;
        output.Append(rest[..^keep]);
        _held = rest[^keep..].ToString();
    }

    /// <summary>Ends the text: what was held back comes out as it is.</summary>
    internal void Finish(StringBuilder output)
    {
        output.Append(_held);
        _held = "";
    }
}
