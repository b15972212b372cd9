using System.Buffers.Binary;
using System.Globalization;

namespace Fude.Tokenizers.Files;

/// <summary>Reads the fields of one protobuf message. Every length is checked against what is really there.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> message, string source)
{
    private readonly string _source = source;
    private ReadOnlySpan<byte> _rest = message;
    private int _wireType;

    /// <summary>The number of the field that <see cref="Next"/> found.</summary>
    internal int Field { get; private set; }

    /// <summary>Goes to the next field; the one before must have been read or skipped.</summary>
    internal bool Next()
    {
        if (_rest.IsEmpty) return false;
        ulong tag = Varint();
        Field = (int)Math.Min(tag >> 3, int.MaxValue);
        _wireType = (int)(tag & 7);
        return Field != 0 ? true : throw Broken("has a field with number 0");
    }

    internal ReadOnlySpan<byte> Bytes()
    {
        if (_wireType != 2) throw Broken(Found("bytes"));
        ulong length = Varint();
        if (length > (ulong)_rest.Length)
            throw Broken(string.Create(CultureInfo.InvariantCulture, $"says that field {Field} has {length} bytes, but only {_rest.Length} are left"));
        ReadOnlySpan<byte> bytes = _rest[..(int)length];
        _rest = _rest[(int)length..];
        return bytes;
    }

    internal ProtobufReader Message() => new(Bytes(), _source);

    internal long Integer() => _wireType == 0 ? (long)Varint() : throw Broken(Found("an integer"));

    internal bool Boolean() => Integer() != 0;

    internal float Single()
    {
        if (_wireType != 5) throw Broken(Found("a float"));
        return BitConverter.Int32BitsToSingle(BinaryPrimitives.ReadInt32LittleEndian(Fixed(4)));
    }

    internal void Skip()
    {
        switch (_wireType)
        {
            case 0: Varint(); break;
            case 1: Fixed(8); break;
            case 2: Bytes(); break;
            case 5: Fixed(4); break;
            default: throw Broken(string.Create(CultureInfo.InvariantCulture, $"has wire type {_wireType} in field {Field}"));
        }
    }

    private ReadOnlySpan<byte> Fixed(int length)
    {
        if (_rest.Length < length) throw Broken(string.Create(CultureInfo.InvariantCulture, $"ends inside field {Field}"));
        ReadOnlySpan<byte> bytes = _rest[..length];
        _rest = _rest[length..];
        return bytes;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0, i = 0; shift < 70; shift += 7, i++)
        {
            if (i == _rest.Length) throw Broken("ends inside a number");
            value |= (ulong)(_rest[i] & 0x7F) << shift;
            if (_rest[i] >= 0x80) continue;
            _rest = _rest[(i + 1)..];
            return value;
        }
        throw Broken("has a number of more than 10 bytes");
    }

    private readonly string Found(string expected) =>
        string.Create(CultureInfo.InvariantCulture, $"has wire type {_wireType} in field {Field}, where {expected} should be");

    private readonly InvalidDataException Broken(string what) =>
        new($"{_source} {what}: it is cut off, or no SentencePiece model (a protobuf ModelProto).");
}
