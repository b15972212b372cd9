using System.Text;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Decoders;

/// <summary>
/// One step of a tokenizer.json's decoder. The library maps a list of strings to a list of strings; here they flow: a string comes in
/// one or more <see cref="Write"/>s and an <see cref="EndToken"/>, and what is certain goes on to the next step.
/// </summary>
internal abstract class DecoderStage
{
    /// <summary>Where the output goes.</summary>
    internal DecoderStage Next { get; set; } = null!;

    internal virtual int UnfinishedBytes => 0;

    internal abstract void Write(ReadOnlySpan<char> text);

    internal virtual void EndToken() => Next.EndToken();

    /// <summary>No more tokens come.</summary>
    internal virtual void Finish(bool dropUnfinished) => Next.Finish(dropUnfinished);

    /// <summary>The end of the chain.</summary>
    internal sealed class Output : DecoderStage
    {
        internal StringBuilder Text { get; set; } = null!;

        internal override void Write(ReadOnlySpan<char> text) => Text.Append(text);

        internal override void EndToken()
        {
        }

        internal override void Finish(bool dropUnfinished)
        {
        }
    }

    /// <summary>Without a decoder, tokens are joined by spaces.</summary>
    internal sealed class Join : DecoderStage
    {
        private bool _isFirst = true, _inToken;

        internal override void Write(ReadOnlySpan<char> text)
        {
            Begin();
            Next.Write(text);
        }

        internal override void EndToken()
        {
            Begin();
            _inToken = false;
            Next.EndToken();
        }

        private void Begin()
        {
            if (_inToken) return;
            if (!_isFirst) Next.Write(" ");
            (_isFirst, _inToken) = (false, true);
        }
    }

    /// <summary>All strings become one.</summary>
    internal sealed class Fuse : DecoderStage
    {
        internal override void Write(ReadOnlySpan<char> text) => Next.Write(text);

        internal override void EndToken()
        {
        }

        internal override void Finish(bool dropUnfinished)
        {
            Next.EndToken();
            Next.Finish(dropUnfinished);
        }
    }

    /// <summary>A literal replaced within each string.</summary>
    internal sealed class Replace(string pattern, string replacement) : DecoderStage
    {
        private readonly LiteralReplacer _replacer = new(pattern, replacement);
        private readonly StringBuilder _text = new();

        internal override void Write(ReadOnlySpan<char> text)
        {
            _replacer.Write(text, _text);
            Pass();
        }

        internal override void EndToken()
        {
            _replacer.Finish(_text);
            Pass();
            Next.EndToken();
        }

        private void Pass()
        {
            foreach (ReadOnlyMemory<char> chunk in _text.GetChunks()) Next.Write(chunk.Span);
            _text.Clear();
        }
    }

    /// <summary>A literal taken from the beginning of each string, once.</summary>
    internal sealed class ReplaceAtBegin(string literal, string replacement) : DecoderStage
    {
        private string _held = "";
        private bool _isPast;

        internal override void Write(ReadOnlySpan<char> text)
        {
            if (_isPast)
            {
                Next.Write(text);
                return;
            }
            _held = string.Concat(_held, text);
            if (_held.Length < literal.Length && literal.StartsWith(_held, StringComparison.Ordinal)) return;
            Pass();
        }

        internal override void EndToken()
        {
            if (!_isPast) Pass();
            (_held, _isPast) = ("", false);
            Next.EndToken();
        }

        private void Pass()
        {
            _isPast = true;
            // An empty string has no matches.
            if (_held.Length > 0 && _held.StartsWith(literal, StringComparison.Ordinal))
            {
                Next.Write(replacement);
                Next.Write(_held.AsSpan(literal.Length));
            }
            else
            {
                Next.Write(_held);
            }
            _held = "";
        }
    }

    /// <summary>A pattern replaced within each string, which therefore must be whole.</summary>
    internal sealed class ReplacePattern(TextPattern pattern, string replacement) : DecoderStage
    {
        private readonly StringBuilder _token = new();
        private readonly List<Stretch> _matches = [];

        internal override void Write(ReadOnlySpan<char> text) => _token.Append(text);

        internal override void EndToken()
        {
            string token = _token.ToString();
            _token.Clear();
            _matches.Clear();
            if (token.Length > 0) pattern.FindAll(token, _matches);
            int done = 0;
            foreach (Stretch match in _matches)
            {
                Next.Write(token.AsSpan(done, match.Start - done));
                Next.Write(replacement);
                done = match.End;
            }
            Next.Write(token.AsSpan(done));
            Next.EndToken();
        }
    }

    /// <summary>Up to so many of one character taken from both ends of each string.</summary>
    internal sealed class Strip(char character, int start, int stop) : DecoderStage
    {
        private int _taken;              // from the beginning of this string; all of start once it has another character
        private int _held;               // of the character, at the end so far

        internal override void Write(ReadOnlySpan<char> text)
        {
            while (_taken < start && !text.IsEmpty)
            {
                if (text[0] != character)
                {
                    _taken = start;
                    break;
                }
                _taken++;
                text = text[1..];
            }
            if (text.IsEmpty) return;
            if (stop == 0)
            {
                Next.Write(text);
                return;
            }
            int trailing = text.Length - text.TrimEnd(character).Length;
            if (trailing < text.Length) WriteHeld(0);
            Next.Write(text[..^trailing]);
            _held += trailing;
            WriteHeld(stop);
        }

        internal override void EndToken()
        {
            _held = Math.Max(0, _held - stop);
            WriteHeld(0);
            _taken = 0;
            Next.EndToken();
        }

        private void WriteHeld(int keep)
        {
            Span<char> one = [character];
            for (; _held > keep; _held--) Next.Write(one);
        }
    }

    /// <summary>&lt;0xE3&gt; and its like become bytes. A run of them that is not UTF-8 as a whole is one U+FFFD a byte.</summary>
    internal sealed class ByteFallback : DecoderStage
    {
        private readonly List<byte> _bytes = [];
        private readonly StringBuilder _token = new();
        private bool _isMalformed;
        private int _checked;            // of the run, whole characters up to here

        internal override int UnfinishedBytes =>
            _isMalformed ? 0 : Utf8Reader.UnfinishedAtEnd(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes));

        internal override void Write(ReadOnlySpan<char> text) => _token.Append(text);

        internal override void EndToken()
        {
            string token = _token.ToString();
            _token.Clear();
            int value = Vocabulary.ByteOf(token);
            if (value >= 0)
            {
                _bytes.Add((byte)value);
                Check();
                return;
            }
            EndRun();
            Next.Write(token);
            Next.EndToken();
        }

        internal override void Finish(bool dropUnfinished)
        {
            if (dropUnfinished) _bytes.RemoveRange(_bytes.Count - UnfinishedBytes, UnfinishedBytes);
            EndRun();
            Next.Finish(dropUnfinished);
        }

        private void Check()
        {
            ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes);
            while (!_isMalformed && _checked < bytes.Length)
            {
                Utf8Verdict verdict = Utf8Reader.Read(bytes[_checked..], out _, out int length);
                if (verdict == Utf8Verdict.Unfinished) return;
                _isMalformed = verdict == Utf8Verdict.Malformed;
                _checked += length;
            }
            if (_isMalformed) WriteMalformed();      // whatever comes, the run is lost
        }

        private void EndRun()
        {
            if (_bytes.Count > 0 && (_isMalformed || _checked < _bytes.Count))
            {
                WriteMalformed();
            }
            else if (_bytes.Count > 0)
            {
                Next.Write(Encoding.UTF8.GetString(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes)));
                Next.EndToken();
            }
            _bytes.Clear();
            (_isMalformed, _checked) = (false, 0);
        }

        private void WriteMalformed()
        {
            for (int i = 0; i < _bytes.Count; i++)
            {
                Next.Write("\uFFFD");
                Next.EndToken();
            }
            _bytes.Clear();
            _checked = 0;
        }
    }

    /// <summary>GPT-2's printable characters become bytes and these, all together, text; every malformed stretch is one U+FFFD.</summary>
    internal sealed class ByteLevel : DecoderStage
    {
        private readonly List<byte> _bytes = [];
        private readonly StringBuilder _token = new();

        internal override int UnfinishedBytes =>
            Utf8Reader.UnfinishedAtEnd(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes));

        internal override void Write(ReadOnlySpan<char> text) => _token.Append(text);

        internal override void EndToken()
        {
            string token = _token.ToString();
            _token.Clear();
            int before = _bytes.Count;
            foreach (char c in token)
            {
                int value = ByteAlphabet.Find(c);
                if (value >= 0)
                {
                    _bytes.Add((byte)value);
                    continue;
                }
                // A token with any other character is text of its own.
                _bytes.RemoveRange(before, _bytes.Count - before);
                _bytes.AddRange(Encoding.UTF8.GetBytes(token));
                break;
            }
            WriteCharacters(isEnd: false);
        }

        internal override void Finish(bool dropUnfinished)
        {
            if (dropUnfinished) _bytes.RemoveRange(_bytes.Count - UnfinishedBytes, UnfinishedBytes);
            WriteCharacters(isEnd: true);
            Next.EndToken();
            Next.Finish(dropUnfinished);
        }

        private void WriteCharacters(bool isEnd)
        {
            ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes);
            Span<char> chars = stackalloc char[2];
            int done = 0;
            while (done < bytes.Length)
            {
                Utf8Verdict verdict = Utf8Reader.Read(bytes[done..], out int codePoint, out int length);
                if (verdict == Utf8Verdict.Unfinished && !isEnd) break;
                if (verdict == Utf8Verdict.Character) Next.Write(chars[..new Rune(codePoint).EncodeToUtf16(chars)]);
                else Next.Write("\uFFFD");
                done += length;
            }
            _bytes.RemoveRange(0, done);
        }
    }

    /// <summary>▁ becomes a space; in the first token it goes.</summary>
    internal sealed class Metaspace(char replacement, bool dropsFirst) : DecoderStage
    {
        private bool _isFirst = dropsFirst;

        internal override void Write(ReadOnlySpan<char> text)
        {
            while (!text.IsEmpty)
            {
                int at = text.IndexOf(replacement);
                Next.Write(at < 0 ? text : text[..at]);
                if (at < 0) return;
                if (!_isFirst) Next.Write(" ");
                text = text[(at + 1)..];
            }
        }

        internal override void EndToken()
        {
            _isFirst = false;
            Next.EndToken();
        }
    }

    /// <summary>The end mark of a word (BPEDecoder) becomes a space, but not in the last token.</summary>
    internal sealed class WordSuffix(string suffix) : DecoderStage
    {
        private readonly StringBuilder _token = new();
        private string? _waiting;

        internal override void Write(ReadOnlySpan<char> text) => _token.Append(text);

        internal override void EndToken()
        {
            Pass(" ");
            _waiting = _token.ToString();
            _token.Clear();
        }

        internal override void Finish(bool dropUnfinished)
        {
            Pass("");
            Next.Finish(dropUnfinished);
        }

        private void Pass(string replacement)
        {
            if (_waiting is null) return;
            Next.Write(suffix.Length == 0 ? _waiting : _waiting.Replace(suffix, replacement, StringComparison.Ordinal));
            Next.EndToken();
            _waiting = null;
        }
    }
}

/// <summary>The decoder of a tokenizer.json: a chain of steps.</summary>
internal sealed class StagedDecoder : TokenDecoder
{
    private readonly Vocabulary _vocabulary;
    private readonly bool _skipsSpecial;
    private readonly DecoderStage[] _stages;
    private readonly DecoderStage.Output _end = new();

    internal StagedDecoder(Vocabulary vocabulary, bool skipsSpecial, IEnumerable<DecoderStage> stages)
    {
        (_vocabulary, _skipsSpecial) = (vocabulary, skipsSpecial);
        _stages = [.. stages, _end];
        for (int i = 0; i + 1 < _stages.Length; i++) _stages[i].Next = _stages[i + 1];
    }

    internal override int UnfinishedBytes => _stages.Max(stage => stage.UnfinishedBytes);

    internal override void Push(int id, StringBuilder output)
    {
        string? token = _vocabulary.TextOf(id);
        if (token is null || (_skipsSpecial && _vocabulary.IsSpecial(id))) return;
        _end.Text = output;
        _stages[0].Write(token);
        _stages[0].EndToken();
    }

    internal override void Finish(StringBuilder output, bool dropUnfinished)
    {
        _end.Text = output;
        _stages[0].Finish(dropUnfinished);
    }
}
