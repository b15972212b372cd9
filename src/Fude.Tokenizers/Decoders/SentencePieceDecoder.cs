using System.Text;
using Fude.Tokenizers.Normalizers;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Decoders;

/// <summary>SentencePiece's Decode, piece by piece: bytes become characters, ▁ a space, and what normalising put in front goes.</summary>
internal sealed class SentencePieceDecoder(Vocabulary vocabulary, string unknownSurface, bool stripsPrefix, bool stripsAll) : TokenDecoder
{
    private readonly List<byte> _bytes = [];
    private bool _atBegin = true, _sawPrefix, _isEmpty = true;

    internal override int UnfinishedBytes =>
        Utf8Reader.UnfinishedAtEnd(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes));

    internal override void Push(int id, StringBuilder output) => Push(vocabulary.TextOf(id), id, output);

    /// <summary>A piece by its text: one that the vocabulary does not have is text of its own.</summary>
    internal void Push(ReadOnlySpan<char> piece, int id, StringBuilder output)
    {
        PieceKind kind = vocabulary.KindOf(id);
        if (kind == PieceKind.Byte)
        {
            _bytes.Add((byte)Vocabulary.ByteOf(piece));
            WriteCharacters(output, isEnd: false);
            return;
        }
        WriteCharacters(output, isEnd: true);
        if (_sawPrefix || !_isEmpty) _atBegin = false;
        _sawPrefix = false;
        if (kind == PieceKind.Control) return;
        if (kind == PieceKind.Unknown)
        {
            Write(piece.SequenceEqual(vocabulary.TextOf(id)) ? unknownSurface : piece, output);
            return;
        }
        if (_atBegin && stripsPrefix && piece.StartsWith(SentencePieceNormalizer.Space))
        {
            piece = piece[1..];
            _sawPrefix = !stripsAll;      // where extra whitespace is removed, all that leads goes
        }
        int from = output.Length;
        Write(piece, output);
        output.Replace(SentencePieceNormalizer.Space, ' ', from, output.Length - from);
    }

    internal override void Finish(StringBuilder output, bool dropUnfinished)
    {
        if (dropUnfinished) _bytes.RemoveRange(_bytes.Count - UnfinishedBytes, UnfinishedBytes);
        WriteCharacters(output, isEnd: true);
        (_atBegin, _sawPrefix, _isEmpty) = (true, false, true);
    }

    // Every byte that begins no character is one U+FFFD.
    private void WriteCharacters(StringBuilder output, bool isEnd)
    {
        if (_bytes.Count == 0) return;
        ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes);
        int done = 0;
        Span<char> chars = stackalloc char[2];
        while (done < bytes.Length)
        {
            Utf8Verdict verdict = Utf8Reader.Read(bytes[done..], out int codePoint, out int length);
            if (verdict == Utf8Verdict.Unfinished && !isEnd) break;
            if (verdict == Utf8Verdict.Character)
            {
                Write(chars[..new Rune(codePoint).EncodeToUtf16(chars)], output);
                done += length;
            }
            else
            {
                Write("\uFFFD", output);
                done++;
            }
        }
        _bytes.RemoveRange(0, done);
    }

    private void Write(ReadOnlySpan<char> text, StringBuilder output)
    {
        output.Append(text);
        _isEmpty &= text.IsEmpty;
    }
}
