using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>The lines of a file as bytes, without \n or \r\n, and without the byte order mark of the first. A file packed by gzip, which its first
/// bytes tell, is unpacked.</summary>
internal sealed class PackedLines : IDisposable
{
    private const int LongestLineBytes = 1 << 28;

    private readonly string _file;
    private readonly FileStream _raw;
    private readonly Stream _plain;
    private byte[] _buffer = new byte[1 << 16];
    private int _start, _end;
    private bool _isFinished, _isFirst = true;

    /// <summary>Opens a file.</summary>
    internal PackedLines(string file)
    {
        _file = file;
        _raw = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
        try
        {
            _plain = Unpacked(_raw);
        }
        catch
        {
            _raw.Dispose();
            throw;
        }
    }

    /// <summary>Bytes of the file that have been read, as it is packed.</summary>
    internal long Position => _raw.Position;

    /// <summary>Bytes of the file.</summary>
    internal long Length => _raw.Length;

    /// <summary>What a file holds, unpacked where it is packed.</summary>
    /// <exception cref="InvalidDataException">It is a pipe.</exception>
    internal static Stream Unpacked(FileStream file)
    {
        // Many commands read their texts twice, and know by the first bytes whether they are packed.
        if (!file.CanSeek) throw new InvalidDataException(Say(
            $"{file.Name}: is a pipe or a device, and fude may read a text more than once. Write it into a file first.",
            $"{file.Name}: パイプまたはデバイスです。fude はテキストを何度か読むことがあるため、いったんファイルに保存してから指定してください。"));
        Span<byte> head = stackalloc byte[2];
        int read = file.ReadAtLeast(head, 2, throwOnEndOfStream: false);
        file.Position = 0;
        return read == 2 && head[0] == 0x1F && head[1] == 0x8B ? new WholeGzip(file) : file;
    }

    /// <summary>The next line, valid until the one after it is asked for.</summary>
    /// <exception cref="InvalidDataException">The file begins like gzip, but is broken or cut off; it is UTF-16; or a line is longer than any text has.</exception>
    internal bool Next(out ReadOnlyMemory<byte> line)
    {
        int searched = _start;
        while (true)
        {
            int newline = _buffer.AsSpan(searched, _end - searched).IndexOf((byte)'\n');
            if (newline >= 0)
            {
                line = Trim(_start, searched + newline);
                _start = searched + newline + 1;
                return true;
            }
            if (_isFinished)
            {
                bool any = _end > _start;
                line = Trim(_start, _end);
                _start = _end;
                return any;
            }
            int held = _end - _start;
            if (_start > 0) _buffer.AsSpan(_start, held).CopyTo(_buffer);
            else if (held == _buffer.Length)
            {
                if (held >= LongestLineBytes)
                    throw new InvalidDataException(Say(
                        $"{_file}: a line is longer than {LongestLineBytes} bytes; this is no text by lines.",
                        $"{_file}: {LongestLineBytes} バイトを超える行があります。行に分かれたテキストではありません。"));
                Array.Resize(ref _buffer, held * 2);
            }
            (_start, _end, searched) = (0, held, held);
            int read = Read(_plain, _buffer.AsSpan(_end), _file);
            _isFinished = read == 0;
            _end += read;
        }
    }

    /// <summary>Characters (code points) of UTF-8 bytes.</summary>
    internal static int Characters(ReadOnlySpan<byte> text)
    {
        int count = 0;
        foreach (byte unit in text)
            if ((unit & 0xC0) != 0x80) count++;
        return count;
    }

    /// <summary>Reads from what <see cref="Unpacked"/> gave.</summary>
    /// <exception cref="InvalidDataException">It is no valid gzip, or not a whole one.</exception>
    internal static int Read(Stream plain, Span<byte> buffer, string file)
    {
        try
        {
            return plain.Read(buffer);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException(Say($"{file}: {e.Message}", $"{file}: {e.Message}"), e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _plain.Dispose();
        _raw.Dispose();
    }

    // Text in UTF-16 has every line broken, in ways that tell nothing. A byte order mark of it is no UTF-8, nor is a text of other characters than 0
    // and every second time 0.
    private void RequireNoUtf16(ReadOnlySpan<byte> head)
    {
        bool isMarked = head is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..];
        if (!isMarked && head is not ([not 0, 0, not 0, 0, ..] or [0, not 0, 0, not 0, ..])) return;
        string remedy = NotUtf8.Remedy(isMarked ? "UTF-16" : head[0] == 0 ? "UTF-16BE" : "UTF-16LE");
        throw new InvalidDataException(Say(
            $"{_file}: is UTF-16; fude reads UTF-8 only. {remedy}", $"{_file}: UTF-16 です。読めるのは UTF-8 だけです。{remedy}"));
    }

    private ReadOnlyMemory<byte> Trim(int start, int end)
    {
        if (_isFirst) RequireNoUtf16(_buffer.AsSpan(start, Math.Min(4, _end - start)));
        if (_isFirst && _buffer.AsSpan(start, end - start).StartsWith("\uFEFF"u8)) start += 3;
        _isFirst = false;
        if (end > start && _buffer[end - 1] == '\r') end--;
        return _buffer.AsMemory(start, end - start);
    }
}
