using System.Buffers.Binary;
using System.Globalization;
using static Fude.Tokenizers.Wording;

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
        return Field != 0 ? true : throw Broken(Say("has a field with number 0", "番号 0 のフィールドがあります"));
    }

    internal ReadOnlySpan<byte> Bytes()
    {
        if (_wireType != 2) throw Broken(Found(Say("bytes", "バイト列")));
        ulong length = Varint();
        if (length > (ulong)_rest.Length)
            throw Broken(Say(
                string.Create(CultureInfo.InvariantCulture, $"says that field {Field} has {length} bytes, but only {_rest.Length} are left"),
                string.Create(CultureInfo.InvariantCulture, $"フィールド {Field} は {length} バイトとされていますが、残りは {_rest.Length} バイトです")));
        ReadOnlySpan<byte> bytes = _rest[..(int)length];
        _rest = _rest[(int)length..];
        return bytes;
    }

    internal ProtobufReader Message() => new(Bytes(), _source);

    internal long Integer() => _wireType == 0 ? (long)Varint() : throw Broken(Found(Say("an integer", "整数")));

    internal bool Boolean() => Integer() != 0;

    internal float Single()
    {
        if (_wireType != 5) throw Broken(Found(Say("a float", "浮動小数点数")));
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
            default:
                throw Broken(Say(
                    string.Create(CultureInfo.InvariantCulture, $"has wire type {_wireType} in field {Field}"),
                    string.Create(CultureInfo.InvariantCulture, $"フィールド {Field} のワイヤ型が {_wireType} です")));
        }
    }

    private ReadOnlySpan<byte> Fixed(int length)
    {
        if (_rest.Length < length) throw Broken(Say(
            string.Create(CultureInfo.InvariantCulture, $"ends inside field {Field}"),
            string.Create(CultureInfo.InvariantCulture, $"フィールド {Field} の途中で終わっています")));
        ReadOnlySpan<byte> bytes = _rest[..length];
        _rest = _rest[length..];
        return bytes;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0, i = 0; shift < 70; shift += 7, i++)
        {
            if (i == _rest.Length) throw Broken(Say("ends inside a number", "数の途中で終わっています"));
            value |= (ulong)(_rest[i] & 0x7F) << shift;
            if (_rest[i] >= 0x80) continue;
            _rest = _rest[(i + 1)..];
            return value;
        }
        throw Broken(Say("has a number of more than 10 bytes", "10 バイトを超える数があります"));
    }

    private readonly string Found(string expected) =>
        Say(
            string.Create(CultureInfo.InvariantCulture, $"has wire type {_wireType} in field {Field}, where {expected} should be"),
            string.Create(CultureInfo.InvariantCulture, $"フィールド {Field} のワイヤ型が {_wireType} です（必要: {expected}）"));

    private readonly InvalidDataException Broken(string what) =>
        new(Say(
            $"{_source} {what}: it is cut off, or no SentencePiece model (a protobuf ModelProto).",
            $"{_source}: {what}。途中で切れているか、SentencePiece のモデル（protobuf の ModelProto）ではありません。"));
}
