using System.Text;
using Fude.Tokenizers;

namespace Fude.Generation;

/// <summary>
/// Makes the text of one sequence as its tokens come: whole characters only, up to the first stop string, of which no part ever shows.
/// </summary>
/// <remarks>
/// The prompt is decoded along, so that prompt and text together are the decoding of the whole: a piece that begins with a space keeps it.
/// </remarks>
internal sealed class TextAssembler
{
    private readonly Tokenizer _tokenizer;
    private readonly StreamingDecoder _decoder;
    private readonly string[] _stops;
    private readonly Action<string>? _released;
    private readonly StringBuilder _text = new();
    private readonly List<int> _places = [];        // of each character of _named: how many of those that are held stand before it
    private string _held = "";      // decoded, but it may be the beginning of a stop string
    private string _named = "";     // such a beginning too, with the names of special tokens, which do not show, where they stand
    private int _promptLeft;        // characters of the prompt that the decoder has yet to give

    /// <summary>Begins after a prompt.</summary>
    /// <param name="tokenizer">Decodes.</param>
    /// <param name="prompt">What the new tokens continue.</param>
    /// <param name="stops">Stop strings, none empty.</param>
    /// <param name="released">Told of each piece of text that is certain; never an empty one.</param>
    public TextAssembler(Tokenizer tokenizer, ReadOnlySpan<int> prompt, string[] stops, Action<string>? released = null)
    {
        (_tokenizer, _stops, _released) = (tokenizer, stops, released);
        // A character that the prompt only begins belongs to the text that completes it.
        StreamingDecoder alone = tokenizer.DecodeStreaming(skipSpecialTokens: true);
        foreach (int id in prompt) _promptLeft += alone.Push(id).Length;
        _promptLeft += alone.Finish(dropUnfinished: true).Length;
        _decoder = tokenizer.DecodeStreaming(skipSpecialTokens: true);
        foreach (int id in prompt) Take(_decoder.Push(id));
    }

    /// <summary>Whether a stop string was met.</summary>
    public bool HasStopped { get; private set; }

    /// <summary>Whether a character that the last tokens only began was dropped.</summary>
    public bool DroppedCharacter { get; private set; }

    /// <summary>The text released so far; all of it after <see cref="Finish"/>.</summary>
    public string Text => _text.ToString();

    /// <summary>Adds a token.</summary>
    /// <returns>Whether a stop string is complete and the text ended by it.</returns>
    public bool Push(int token)
    {
        if (!HasStopped) Take(_decoder.Push(token));
        // A special token does not show, but a stop string may name it.
        if (!HasStopped && _stops.Length > 0 && _tokenizer.IsSpecial(token)) Find(_tokenizer.TokenOf(token), shows: false);
        return HasStopped;
    }

    /// <summary>Releases what was held back.</summary>
    /// <param name="finish">After a length limit an unfinished character is dropped; a model that ends on one itself shows U+FFFD.</param>
    public void Finish(FinishReason finish)
    {
        if (HasStopped) return;
        bool drop = finish == FinishReason.Length;
        DroppedCharacter = drop && _decoder.UnfinishedBytes > 0;
        Take(_decoder.Finish(drop));
        if (!HasStopped) Release(_held);
        _held = "";
    }

    private void Take(string piece)
    {
        if (_promptLeft > 0)
        {
            int skipped = Math.Min(_promptLeft, piece.Length);
            _promptLeft -= skipped;
            piece = piece[skipped..];
        }
        if (piece.Length == 0) return;
        if (_stops.Length == 0) Release(piece);
        else Find(piece, shows: true);
    }

    /// <summary>Looks for a stop string in what a piece makes of the text, and releases what is none whatever follows.</summary>
    private void Find(string piece, bool shows)
    {
        for (int i = 0; i < piece.Length; i++) _places.Add(shows ? _held.Length + i : _held.Length);
        _named += piece;
        if (shows) _held += piece;
        int stop = FirstStop(_held), named = FirstStop(_named);
        if (named >= 0 && (stop < 0 || _places[named] < stop)) stop = _places[named];
        if (stop >= 0)
        {
            HasStopped = true;
            Release(_held[..stop]);
            _held = "";
            return;
        }
        int kept = LongestBeginning(_named), certain = _held.Length - LongestBeginning(_held);
        if (kept > 0) certain = Math.Min(certain, _places[^kept]);
        Release(_held[..certain]);
        _held = _held[certain..];
        _named = _named[^kept..];
        _places.RemoveRange(0, _places.Count - kept);
        for (int i = 0; i < kept; i++) _places[i] -= certain;
    }

    private int FirstStop(string text)
    {
        int first = -1;
        foreach (string s in _stops)
        {
            int at = text.IndexOf(s, StringComparison.Ordinal);
            if (at >= 0 && (first < 0 || at < first)) first = at;
        }
        return first;
    }

    /// <summary>Characters at the end of a text that may be the beginning of a stop string.</summary>
    private int LongestBeginning(string text)
    {
        int longest = 0;
        foreach (string s in _stops)
            for (int n = Math.Min(s.Length - 1, text.Length); n > longest; n--)
                if (text.AsSpan().EndsWith(s.AsSpan(0, n), StringComparison.Ordinal)) longest = n;
        return longest;
    }

    private void Release(string piece)
    {
        if (piece.Length == 0) return;
        _text.Append(piece);
        _released?.Invoke(piece);
    }
}
