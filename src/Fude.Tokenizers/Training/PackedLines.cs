using System.Buffers.Binary;
using System.IO.Compression;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>The lines of a file as bytes, without \n or \r\n, and without the byte order mark of the first. A file packed by gzip, which its first
/// bytes tell, is unpacked.</summary>
internal sealed class PackedLines : IDisposable
{
    private const int LongestLineBytes = 1 << 28, SmallestGzipBytes = 18;

    private readonly string _file;
    private readonly FileStream _raw;
    private readonly Stream _plain;
    private byte[] _buffer = new byte[1 << 16];
    private int _start, _end;
    private long _unpacked;
    private bool _isFinished, _isFirst = true;

    /// <summary>Opens a file.</summary>
    internal PackedLines(string file)
    {
        _file = file;
        _raw = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
        _plain = Unpacked(_raw);
    }

    /// <summary>Bytes of the file that have been read, as it is packed.</summary>
    internal long Position => _raw.Position;

    /// <summary>Bytes of the file.</summary>
    internal long Length => _raw.Length;

    /// <summary>What a file holds, unpacked where it is packed.</summary>
    internal static Stream Unpacked(FileStream file)
    {
        Span<byte> head = stackalloc byte[2];
        int read = file.ReadAtLeast(head, 2, throwOnEndOfStream: false);
        file.Position = 0;
        return read == 2 && head[0] == 0x1F && head[1] == 0x8B ? new GZipStream(file, CompressionMode.Decompress) : file;
    }

    /// <summary>The next line, valid until the one after it is asked for.</summary>
    /// <exception cref="InvalidDataException">The file begins like gzip, but is broken or cut off; or a line is longer than any text has.</exception>
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
                if (!any && _plain is GZipStream) RequireWhole();
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
            _unpacked += read;
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
    /// <exception cref="InvalidDataException">It is no valid gzip.</exception>
    internal static int Read(Stream plain, Span<byte> buffer, string file)
    {
        try
        {
            return plain.Read(buffer);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException(Say(
                $"{file}: begins like gzip, but is broken: {e.Message}",
                $"{file}: gzip のようですが、破損しています: {e.Message}"), e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _plain.Dispose();
        _raw.Dispose();
    }

    // .NET takes a gzip file that is cut off for one that ends. Its last four bytes are the size of its last member: where it is cut, they are
    // any number, and hardly ever so small.
    private void RequireWhole()
    {
        Span<byte> last = stackalloc byte[4];
        if (_raw.Length >= SmallestGzipBytes)
        {
            _raw.Position = _raw.Length - last.Length;
            _raw.ReadExactly(last);
            if (_unpacked >= uint.MaxValue || BinaryPrimitives.ReadUInt32LittleEndian(last) <= _unpacked) return;
        }
        throw new InvalidDataException(Say(
            $"{_file}: is cut off: its gzip has no end. Copy it again.",
            $"{_file}: 途中で切れています（gzip の終わりがありません）。コピーし直してください。"));
    }

    private ReadOnlyMemory<byte> Trim(int start, int end)
    {
        if (_isFirst && _buffer.AsSpan(start, end - start).StartsWith("\uFEFF"u8)) start += 3;
        _isFirst = false;
        if (end > start && _buffer[end - 1] == '\r') end--;
        return _buffer.AsMemory(start, end - start);
    }
}
