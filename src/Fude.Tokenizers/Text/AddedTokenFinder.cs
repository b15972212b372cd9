using System.Buffers;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Text;

/// <summary>Finds added tokens in text: from left to right, at each place the longest.</summary>
internal sealed class AddedTokenFinder
{
    private readonly PieceTrie _trie;
    private readonly SearchValues<char> _begins;
    private readonly (int Id, AddedToken Token)[] _tokens;

    /// <summary>Prepares the search for the given forms of the tokens.</summary>
    internal AddedTokenFinder(IEnumerable<(int Id, AddedToken Token, string Form)> tokens)
    {
        (int Id, AddedToken Token, string Form)[] all = [.. tokens.Where(t => t.Form.Length > 0)];
        _tokens = [.. all.Select(t => (t.Id, t.Token))];
        _trie = new(all.Select((t, i) => (t.Form, i)));
        _begins = SearchValues.Create([.. all.Select(t => t.Form[0]).Distinct()]);
    }

    internal bool IsEmpty => _tokens.Length == 0;

    /// <summary>Cuts [start, end) of the text as Hugging Face's library does: what takes white space around it gets it here.</summary>
    internal void Split(ReadOnlySpan<char> text, int start, int end, List<AddedTokenMatch> matches)
    {
        if (start == end) return;
        int done = start;
        for (int at = start; (at = Next(text, at, end, out int length, out int index)) >= 0; at += length)
        {
            (int id, AddedToken token) = _tokens[index];
            int from = at, to = at + length;
            if (token.SingleWord && ((from > start && CodePoint.IsWord(WellFormed.CodePointBefore(text, from)))
                || (to < end && CodePoint.IsWord(WellFormed.CodePointAt(text, to, out _))))) continue;
            if (token.TakesLeft)
                while (from > done && CodePoint.IsWhiteSpace(text[from - 1])) from--;
            if (token.TakesRight)
                while (to < end && CodePoint.IsWhiteSpace(text[to])) to++;
            if (done < from) matches.Add(new(done, from, -1));
            matches.Add(new(from, to, id));
            done = to;
        }
        if (done < end) matches.Add(new(done, end, -1));
    }

    /// <summary>Cuts the text as transformers' own (slow) tokenizers do; what they call stripping takes white space from the neighbours.</summary>
    /// <param name="text">The text.</param>
    /// <param name="parts">Receives the parts; empty.</param>
    /// <param name="tokenOf">Room for which token each part is.</param>
    internal void SplitSlow(ReadOnlySpan<char> text, List<AddedTokenMatch> parts, List<int> tokenOf)
    {
        int done = 0;
        tokenOf.Clear();
        for (int at = 0; (at = Next(text, at, text.Length, out int length, out int index)) >= 0; at += length)
        {
            if (done < at) Add(done, at, -1);
            Add(at, at + length, index);
            done = at + length;
        }
        if (done < text.Length) Add(done, text.Length, -1);

        for (int i = 0; i < parts.Count; i++)
        {
            if (tokenOf[i] < 0) continue;
            (int id, AddedToken token) = _tokens[tokenOf[i]];
            AddedTokenMatch part = parts[i];
            // Whether it touches a word is asked of its neighbours as they were before it took white space from them.
            bool touchesLeft = i > 0 && parts[i - 1] is { } l && l.Start < l.End && text[l.End - 1] != ' ';
            bool touchesRight = i + 1 < parts.Count && parts[i + 1] is { } r && r.Start < r.End && text[r.Start] != ' ';
            if (token.TakesRight && i + 1 < parts.Count)
            {
                AddedTokenMatch right = parts[i + 1];
                int from = right.Start;
                while (from < right.End && IsPythonSpace(text[from])) from++;
                parts[i + 1] = right with { Start = from };
            }
            if (token.TakesLeft && i > 0)
            {
                AddedTokenMatch left = parts[i - 1];
                int to = left.End;
                while (to > left.Start && IsPythonSpace(text[to - 1])) to--;
                parts[i - 1] = left with { End = to };
            }
            if (!token.SingleWord) continue;
            if (touchesLeft) parts[i - 1] = new(parts[i - 1].Start, part.End, -1);
            else if (touchesRight) parts[i + 1] = new(part.Start, parts[i + 1].End, -1);
            if (touchesLeft || touchesRight) parts[i] = new(part.End, part.End, -1);
        }

        void Add(int start, int end, int index)
        {
            parts.Add(new(start, end, index < 0 ? -1 : _tokens[index].Id));
            tokenOf.Add(index);
        }
    }

    private static bool IsPythonSpace(char c) => CodePoint.IsWhiteSpace(c) || c is >= '\u001C' and <= '\u001F';

    private int Next(ReadOnlySpan<char> text, int at, int end, out int length, out int index)
    {
        while (true)
        {
            int next = at < end ? text[at..end].IndexOfAny(_begins) : -1;
            if (next < 0)
            {
                (length, index) = (0, -1);
                return -1;
            }
            at += next;
            length = _trie.LongestPrefix(text[at..end], out index);
            if (length > 0) return at;
            at++;
        }
    }
}
