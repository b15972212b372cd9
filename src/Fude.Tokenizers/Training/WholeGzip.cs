using System.IO.Compression;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>What a gzip file holds, one member after the other. That the file is cut off, damaged, or goes on as something else is an error where its
/// end should be.</summary>
/// <remarks>.NET takes a gzip file that is cut off, wherever that is, for one that ends. So it is given one more member behind the file's last byte, which
/// it asks for only when it has unpacked all before: if that comes out, and it alone, the members before were whole.</remarks>
internal sealed class WholeGzip : ForwardStream
{
    private readonly Followed _packed;
    private readonly GZipStream _plain;
    private bool _isOver;

    /// <summary>Unpacks a file.</summary>
    public WholeGzip(Stream packed)
    {
        _packed = new(packed);
        _plain = new(_packed, CompressionMode.Decompress);
    }

    private static ReadOnlySpan<byte> Last => "筆: the end"u8;

    /// <summary>The next bytes; none at the end of a whole file.</summary>
    /// <exception cref="InvalidDataException">The file is not whole. The message goes on after the file's name.</exception>
    public override int Read(Span<byte> buffer)
    {
        if (_isOver || buffer.IsEmpty) return 0;
        int read = Unpack(buffer);
        if (!_packed.IsOver) return read > 0 ? read : throw new InvalidDataException(Say(
            "something follows the end of its gzip that is no gzip. Copy it again, or unpack it with gzip, which passes over what follows.",
            "gzip の終わりの後に、gzip ではないものが続いています。コピーし直すか、gzip コマンド（後続を無視します）で展開してください。"));
        Span<byte> last = stackalloc byte[Last.Length + 1];
        int count = Math.Min(read, last.Length);
        buffer[..count].CopyTo(last);
        while (count < last.Length && Unpack(last[count..]) is > 0 and int more) count += more;
        if (!last[..count].SequenceEqual(Last)) throw CutOff(null);
        _isOver = true;
        return 0;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _plain.Dispose();
            _packed.Dispose();
        }
        base.Dispose(disposing);
    }

    private int Unpack(Span<byte> buffer)
    {
        try
        {
            return _plain.Read(buffer);
        }
        catch (InvalidDataException e)
        {
            // What follows the file makes no sense in the midst of a member.
            throw _packed.IsOver ? CutOff(e) : new InvalidDataException(Say(
                "begins like gzip, but is broken: what it holds cannot be unpacked, or is not what its checksum says. Copy it again.",
                "gzip のようですが、破損しています（展開できないか、チェックサムが一致しません）。コピーし直してください。"), e);
        }
    }

    private static InvalidDataException CutOff(Exception? cause) => new(Say(
        "is cut off: its gzip has no end. Copy it again.",
        "途中で切れています（gzip の終わりがありません）。コピーし直してください。"), cause);

    /// <summary>A file, and behind it <see cref="Last"/>.</summary>
    private sealed class Followed(Stream file) : ForwardStream
    {
        private readonly byte[] _behind = Packed(Last);
        private int _given;

        /// <summary>Whether the file was read to its end, and something of what follows.</summary>
        internal bool IsOver => _given > 0;

        public override int Read(Span<byte> buffer)
        {
            if (!IsOver && file.Read(buffer) is > 0 and int read) return read;
            int count = Math.Min(buffer.Length, _behind.Length - _given);
            _behind.AsSpan(_given, count).CopyTo(buffer);
            _given += count;
            return count;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing) file.Dispose();
            base.Dispose(disposing);
        }

        private static byte[] Packed(ReadOnlySpan<byte> bytes)
        {
            using MemoryStream packed = new();
            using (GZipStream gzip = new(packed, CompressionLevel.Fastest, leaveOpen: true)) gzip.Write(bytes);
            return packed.ToArray();
        }
    }
}
