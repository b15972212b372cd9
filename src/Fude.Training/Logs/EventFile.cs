using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace Fude.Training;

/// <summary>A file of scalars that TensorBoard draws: records of TensorFlow's TFRecord format, each an Event of event.proto.</summary>
/// <remarks>
/// A record is the length as 8 bytes, its masked CRC-32C, the bytes, and theirs (little-endian). Masked: turned right by 15 bits, plus
/// 0xa282ead8. Of the messages only these fields are written: Event.wall_time (1, double), .step (2), .file_version (3), .summary (5),
/// .session_log (7); Summary.value (1); Value.tag (1), .simple_value (2, float); SessionLog.status (1).
/// </remarks>
internal sealed class EventFile : IDisposable
{
    private const string Prefix = "events.out.tfevents.", Suffix = ".fude";
    private const int SessionStart = 1;
    private readonly FileStream _file;
    private readonly MemoryStream _event = new(), _summary = new(), _value = new();

    private EventFile(FileStream file) => _file = file;

    /// <summary>Begins a file in a folder, in the place of those that an earlier part of the run left there.</summary>
    public static EventFile Create(string folder, double unixSeconds)
    {
        _ = Directory.CreateDirectory(folder);
        foreach (string old in Directory.EnumerateFiles(folder, Prefix + "*" + Suffix)) File.Delete(old);
        string name = FormattableString.Invariant($"{Prefix}{Math.Max(0, Math.Floor(unixSeconds)):0000000000}{Suffix}");
        EventFile file = new(new FileStream(Path.Combine(folder, name), FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, 1 << 14));
        file.Begin(unixSeconds, 0);
        Bytes(file._event, 3, "brain.Event:2"u8);
        file.WriteRecord();
        // A TensorBoard that watches the folder drops what it knew of the steps that follow.
        file.Begin(unixSeconds, 0);
        Bytes(file._event, 7, [1 << 3, SessionStart]);
        file.WriteRecord();
        file.Flush();
        return file;
    }

    /// <summary>Adds the scalars of a step.</summary>
    public void Add(double unixSeconds, long step, ReadOnlySpan<KeyValuePair<string, double>> scalars)
    {
        _summary.SetLength(0);
        Span<byte> four = stackalloc byte[4];
        foreach ((string name, double number) in scalars)
        {
            _value.SetLength(0);
            Bytes(_value, 1, Encoding.UTF8.GetBytes(name));
            Varint(_value, (2 << 3) | 5);
            BinaryPrimitives.WriteSingleLittleEndian(four, (float)number);
            _value.Write(four);
            Bytes(_summary, 1, Written(_value));
        }
        Begin(unixSeconds, step);
        Bytes(_event, 5, Written(_summary));
        WriteRecord();
    }

    /// <summary>Gives to the system what was added.</summary>
    public void Flush() => _file.Flush();

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>The CRC-32C (Castagnoli) of bytes, masked as TFRecord has it.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> bytes)
    {
        uint crc = ~0u;
        for (; bytes.Length >= 8; bytes = bytes[8..]) crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        foreach (byte one in bytes) crc = BitOperations.Crc32C(crc, one);
        return unchecked(BitOperations.RotateRight(~crc, 15) + 0xa282ead8);
    }

    private void Begin(double unixSeconds, long step)
    {
        _event.SetLength(0);
        Varint(_event, (1 << 3) | 1);
        Span<byte> eight = stackalloc byte[8];
        BinaryPrimitives.WriteDoubleLittleEndian(eight, unixSeconds);
        _event.Write(eight);
        Varint(_event, 2 << 3);
        Varint(_event, (ulong)step);
    }

    private void WriteRecord()
    {
        ReadOnlySpan<byte> data = Written(_event);
        Span<byte> head = stackalloc byte[12];
        BinaryPrimitives.WriteUInt64LittleEndian(head, (ulong)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(head[8..], MaskedCrc(head[..8]));
        Span<byte> tail = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(tail, MaskedCrc(data));
        _file.Write(head);
        _file.Write(data);
        _file.Write(tail);
    }

    private static ReadOnlySpan<byte> Written(MemoryStream stream) => stream.GetBuffer().AsSpan(0, (int)stream.Length);

    private static void Bytes(MemoryStream stream, int field, ReadOnlySpan<byte> bytes)
    {
        Varint(stream, (ulong)((field << 3) | 2));
        Varint(stream, (ulong)bytes.Length);
        stream.Write(bytes);
    }

    private static void Varint(MemoryStream stream, ulong value)
    {
        for (; value >= 0x80; value >>= 7) stream.WriteByte((byte)(value | 0x80));
        stream.WriteByte((byte)value);
    }
}
