using System.Text;

namespace Fude.Tokenizers.Decoders;

/// <summary>transformers' clean_up_tokenization_spaces: no space before marks of English, one replacement after the other.</summary>
internal sealed class CleaningDecoder(TokenDecoder inner) : TokenDecoder
{
    private readonly LiteralReplacer[] _replacers =
    [
        new(" .", "."), new(" ?", "?"), new(" !", "!"), new(" ,", ","), new(" ' ", "'"), new(" n't", "n't"), new(" 'm", "'m"),
        new(" 's", "'s"), new(" 've", "'ve"), new(" 're", "'re"),
    ];

    private StringBuilder _text = new(), _other = new();

    internal override int UnfinishedBytes => inner.UnfinishedBytes;

    internal override void Push(int id, StringBuilder output)
    {
        inner.Push(id, _text);
        if (_text.Length > 0) Replace(output, isEnd: false);
    }

    internal override void Finish(StringBuilder output, bool dropUnfinished)
    {
        inner.Finish(_text, dropUnfinished);
        Replace(output, isEnd: true);
    }

    private void Replace(StringBuilder output, bool isEnd)
    {
        foreach (LiteralReplacer replacer in _replacers)
        {
            _other.Clear();
            replacer.Write(_text.ToString(), _other);
            if (isEnd) replacer.Finish(_other);
            (_text, _other) = (_other, _text);
        }
        output.Append(_text);
        _text.Clear();
    }
}
