using System.Text;
using Fude.Tokenizers.Decoders;

namespace Fude.Tokenizers;

/// <summary>
/// Decodes ids as they come: each <see cref="Push"/> gives the text that is certain whatever follows, in whole characters, and all of it
/// together, with what <see cref="Finish"/> gives, is <see cref="Tokenizer.Decode"/> of all the ids.
/// </summary>
/// <remarks>
/// Text is held back while it may change: bytes of an unfinished character; a run of byte tokens in a tokenizer.json, whose decoder
/// gives U+FFFD for every byte if one is wrong; spaces that a later token may take away. Not for several threads at once.
/// </remarks>
public sealed class StreamingDecoder
{
    private readonly Tokenizer _tokenizer;
    private readonly TokenDecoder _decoder;
    private readonly StringBuilder _output = new();
    private bool _isFinished;

    internal StreamingDecoder(Tokenizer tokenizer, TokenDecoder decoder) => (_tokenizer, _decoder) = (tokenizer, decoder);

    /// <summary>How many of the bytes held back are the beginning of a character that further tokens may complete; 0 to 3.</summary>
    public int UnfinishedBytes => _decoder.UnfinishedBytes;

    /// <summary>Adds a token.</summary>
    /// <returns>The text that is now certain; often none.</returns>
    /// <exception cref="ArgumentException">The id is not in the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">The decoder has been finished.</exception>
    public string Push(int id)
    {
        if (_isFinished) throw new InvalidOperationException("The decoder has been finished; start a new one for another text.");
        _tokenizer.CheckId(id);
        _decoder.Push(id, _output);
        return Take();
    }

    /// <summary>Ends the text.</summary>
    /// <param name="dropUnfinished">
    /// Whether a character that the last tokens only began is dropped; otherwise it becomes U+FFFD, as in <see cref="Tokenizer.Decode"/>.
    /// </param>
    /// <returns>The text that was held back.</returns>
    public string Finish(bool dropUnfinished = false)
    {
        if (_isFinished) return "";
        _isFinished = true;
        _decoder.Finish(_output, dropUnfinished);
        return Take();
    }

    private string Take()
    {
        if (_output.Length == 0) return "";
        string text = _output.ToString();
        _output.Clear();
        return text;
    }
}
