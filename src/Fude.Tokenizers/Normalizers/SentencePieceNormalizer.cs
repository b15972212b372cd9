using Fude.Tokenizers.Files;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Normalizers;

/// <summary>SentencePiece's own normaliser: character rules, whitespace, the dummy prefix.</summary>
internal sealed class SentencePieceNormalizer
{
    internal const char Space = '\u2581';          // ▁, lower one eighth block

    private readonly Charsmap? _charsmap;
    private readonly PieceTrie? _userDefined;      // left as they are
    private readonly bool _addsDummyPrefix, _removesExtraWhitespace, _escapes, _asSuffix;

    internal SentencePieceNormalizer(SentencePieceFile file, PieceTrie userDefined, bool addsDummyPrefix)
    {
        _charsmap = file.Charsmap.Length > 0 ? new(file.Charsmap, file.Source) : null;
        _userDefined = userDefined.IsEmpty ? null : userDefined;
        _addsDummyPrefix = addsDummyPrefix;
        _removesExtraWhitespace = file.RemovesExtraWhitespace;
        _escapes = file.EscapesWhitespace;
        _asSuffix = file.TreatsWhitespaceAsSuffix;
    }

    /// <summary>Appends the normal form of a piece of the (well-formed) original text, which begins there at <paramref name="offset"/>.</summary>
    internal void Run(ReadOnlySpan<char> text, int offset, TextBuffer output)
    {
        if (text.IsEmpty) return;
        if (_charsmap is null && !_removesExtraWhitespace) Plain(text, offset, output);
        else ByRule(text, offset, output);
    }

    // Without rules, a character stays a character.
    private void Plain(ReadOnlySpan<char> text, int offset, TextBuffer output)
    {
        if (_addsDummyPrefix && !_asSuffix) AddSpace(output, offset);
        int from = output.Length;
        output.AppendOriginal(text, offset);
        Span<char> copy = output.WrittenSince(from);
        if (_escapes) copy.Replace(' ', Space);
        if (_addsDummyPrefix && _asSuffix) AddSpace(output, offset + text.Length);
    }

    private void ByRule(ReadOnlySpan<char> text, int offset, TextBuffer output)
    {
        int consumed = 0, begin = output.Length;
        if (_removesExtraWhitespace)
        {
            while (consumed < text.Length)
            {
                ReadOnlySpan<char> first = Prefix(text[consumed..], out int length);
                if (!first.SequenceEqual(" ")) break;
                consumed += length;
            }
            if (consumed == text.Length) return;
        }

        if (_addsDummyPrefix && !_asSuffix) AddSpace(output, offset + consumed);
        bool afterSpace = _removesExtraWhitespace;
        while (consumed < text.Length)
        {
            ReadOnlySpan<char> piece = Prefix(text[consumed..], out int length);
            int start = offset + consumed, end = start + length;
            if (afterSpace) piece = piece.TrimStart(' ');
            foreach (char c in piece) output.Append(_escapes && c == ' ' ? Space : c, start, end);
            if (!piece.IsEmpty) afterSpace = piece[^1] == ' ';
            consumed += length;
            if (!_removesExtraWhitespace) afterSpace = false;
        }

        if (_removesExtraWhitespace)
        {
            char space = _escapes ? Space : ' ';
            int length = output.Length;
            while (length > begin && output.Span[length - 1] == space) length--;
            output.Truncate(length);
        }
        if (_addsDummyPrefix && _asSuffix) AddSpace(output, offset + text.Length);
    }

    /// <summary>What the beginning of the text becomes, and how much of it that takes.</summary>
    private ReadOnlySpan<char> Prefix(ReadOnlySpan<char> text, out int length)
    {
        if (_userDefined is not null && (length = _userDefined.LongestPrefix(text, out _)) > 0) return text[..length];
        if (_charsmap is not null && _charsmap.BeginsRule(text[0])
            && (length = _charsmap.Longest(text, out ReadOnlySpan<char> replacement)) > 0) return replacement;
        length = char.IsHighSurrogate(text[0]) ? 2 : 1;
        return text[..length];
    }

    private void AddSpace(TextBuffer output, int at) => output.Append(_escapes ? Space : ' ', at, at);
}
