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
    private readonly StreamingDecoder _decoder;
    private readonly string[] _stops;
    private readonly Action<string>? _released;
    private readonly StringBuilder _text = new();
    private string _held = "";      // decoded, but it may be the beginning of a stop string
    private int _promptLeft;        // characters of the prompt that the decoder has yet to give

    /// <summary>Begins after a prompt.</summary>
    /// <param name="tokenizer">Decodes.</param>
    /// <param name="prompt">What the new tokens continue.</param>
    /// <param name="stops">Stop strings, none empty.</param>
    /// <param name="released">Told of each piece of text that is certain; never an empty one.</param>
    public TextAssembler(Tokenizer tokenizer, ReadOnlySpan<int> prompt, string[] stops, Action<string>? released = null)
    {
        (_stops, _released) = (stops, released);
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
        if (_stops.Length == 0)
        {
            Release(piece);
            return;
        }
        _held += piece;
        int stop = -1;
        foreach (string s in _stops)
        {
            int at = _held.IndexOf(s, StringComparison.Ordinal);
            if (at >= 0 && (stop < 0 || at < stop)) stop = at;
        }
        if (stop >= 0)
        {
            HasStopped = true;
            Release(_held[..stop]);
            _held = "";
            return;
        }
        int keep = LongestBeginning();
        Release(_held[..^keep]);
        _held = _held[^keep..];
    }

    /// <summary>Characters at the end of what is held that may be the beginning of a stop string.</summary>
    private int LongestBeginning()
    {
        int longest = 0;
        foreach (string s in _stops)
            for (int n = Math.Min(s.Length - 1, _held.Length); n > longest; n--)
                if (_held.AsSpan().EndsWith(s.AsSpan(0, n), StringComparison.Ordinal)) longest = n;
        return longest;
    }

    private void Release(string piece)
    {
        if (piece.Length == 0) return;
        _text.Append(piece);
        _released?.Invoke(piece);
    }
}
