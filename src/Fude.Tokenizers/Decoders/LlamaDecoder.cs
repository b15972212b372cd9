using System.Text;
using Fude.Tokenizers.Normalizers;
using Fude.Tokenizers.Pieces;

namespace Fude.Tokenizers.Decoders;

/// <summary>
/// transformers' LlamaTokenizer.decode: special tokens stand as they are, what is between them SentencePiece decodes, and added tokens
/// that are not special have a space on both sides.
/// </summary>
internal sealed class LlamaDecoder(
    Vocabulary vocabulary, IReadOnlySet<int> special, IReadOnlySet<int> apart, SentencePieceDecoder pieces,
    bool legacy, bool addsPrefixSpace, bool skipsSpecial) : TokenDecoder
{
    // With legacy, a special token puts a space in front of the text that came before it: that text must wait until it is known.
    private readonly StringBuilder _run = new();
    private bool _hasPart;         // something has been written before this group
    private bool _groupHasText;
    private int _index;            // of the next token in its group
    private bool _afterSpecial;

    internal override int UnfinishedBytes => pieces.UnfinishedBytes;

    internal override void Push(int id, StringBuilder output)
    {
        if (skipsSpecial && special.Contains(id)) return;
        string token = vocabulary.TextOf(id)!;
        if (apart.Contains(id))
        {
            EndGroup(output, dropUnfinished: false);
            if (_hasPart) output.Append(' ');
            output.Append(token);
            _hasPart = true;
            return;
        }

        ReadOnlySpan<char> piece = token;
        if (_index == 0 && addsPrefixSpace && piece.StartsWith(SentencePieceNormalizer.Space)) piece = piece[1..];
        if (special.Contains(id) && piece.Length == token.Length)
        {
            if (!_afterSpecial && _index > 0 && legacy) Write(" ", output);
            pieces.Finish(_run, dropUnfinished: false);
            WriteRun(output);
            Write(piece, output);
            _afterSpecial = true;
        }
        else
        {
            if (_afterSpecial && _index == 1 && addsPrefixSpace && !piece.StartsWith(SentencePieceNormalizer.Space)) Write(" ", output);
            if (piece.Length < token.Length)
            {
                int known = vocabulary.IdOf(piece);
                pieces.Push(piece, known >= 0 ? known : vocabulary.UnknownId, _run);
            }
            else
            {
                pieces.Push(piece, id, _run);
            }
            if (!legacy || skipsSpecial) WriteRun(output);
            _afterSpecial = false;
        }
        _index++;
    }

    internal override void Finish(StringBuilder output, bool dropUnfinished)
    {
        bool hadTokens = _index > 0;
        EndGroup(output, dropUnfinished);
        // The last group is joined even when it is empty.
        if (hadTokens && !_groupHadText && _hasPart) output.Append(' ');
    }

    private bool _groupHadText;

    private void EndGroup(StringBuilder output, bool dropUnfinished)
    {
        pieces.Finish(_run, dropUnfinished);
        WriteRun(output);
        _groupHadText = _groupHasText;
        _hasPart |= _groupHasText;
        (_index, _groupHasText, _afterSpecial) = (0, false, false);
    }

    private void WriteRun(StringBuilder output)
    {
        if (_run.Length == 0) return;
        Write(_run.ToString(), output);
        _run.Clear();
    }

    private void Write(ReadOnlySpan<char> text, StringBuilder output)
    {
        if (text.IsEmpty) return;
        if (!_groupHasText && _hasPart) output.Append(' ');
        _groupHasText = true;
        output.Append(text);
    }
}
