using System.Buffers.Binary;
using System.Text;

namespace Fude.Tensors.Tests;

/// <summary>Writes pickles instruction by instruction, as torch.save does it or as an attacker would.</summary>
internal sealed class PickleBuilder
{
    private readonly List<byte> _bytes = [];

    public static PickleBuilder Protocol(byte protocol) => new PickleBuilder().Raw(0x80, protocol);

    public byte[] Stop() => [.. _bytes, (byte)'.'];

    public PickleBuilder Raw(params ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public PickleBuilder Op(string instructions) => Raw(Encoding.Latin1.GetBytes(instructions));

    public PickleBuilder Text(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text), length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, utf8.Length);
        return Op("X").Raw(length).Raw(utf8);
    }

    public PickleBuilder Int(long number)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
        return Raw(0x8a, 8).Raw(bytes);
    }

    public PickleBuilder Ints(params long[] numbers)
    {
        Op("(");
        foreach (long number in numbers) Int(number);
        return Op("t");
    }

    public PickleBuilder Global(string module, string name) => Op($"c{module}\n{name}\n");

    /// <summary>torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict()).</summary>
    public PickleBuilder Tensor(string storageType, string key, long count, long offset, long[] shape, long[] strides, bool legacy = false)
    {
        Global("torch._utils", "_rebuild_tensor_v2").Op("((").Text("storage").Global("torch", storageType).Text(key).Text("cpu").Int(count);
        if (legacy) Op("N");
        return Op("tQ").Int(offset).Ints(shape).Ints(strides).Op("\x89").Global("collections", "OrderedDict").Op(")RtR");
    }
}

/// <summary>Writes ZIP archives as torch.save does it: uncompressed, sizes in the directory alone.</summary>
internal sealed class ZipBuilder
{
    private readonly List<(string Name, byte[] Data)> _entries = [];

    public ushort Method { get; init; }

    public ushort Flags { get; init; } = 0x0808;

    public bool IsZip64 { get; init; }

    public string Comment { get; init; } = "";

    public ZipBuilder Add(string name, byte[] data)
    {
        _entries.Add((name, data));
        return this;
    }

    public byte[] Build()
    {
        using MemoryStream archive = new(), directory = new();
        using BinaryWriter file = new(archive), central = new(directory);
        foreach ((string name, byte[] data) in _entries)
        {
            byte[] nameBytes = Encoding.UTF8.GetBytes(name);
            long offset = archive.Position;
            int padding = (int)((64 - ((offset + 30 + nameBytes.Length + 4) % 64)) % 64);       // "FB" pads the numbers to 64 bytes
            file.Write(0x04034b50u);
            file.Write((ushort)0);
            file.Write(Flags);
            file.Write(Method);
            file.Write(new byte[16]);
            file.Write((ushort)nameBytes.Length);
            file.Write((ushort)(4 + padding));
            file.Write(nameBytes);
            file.Write((ushort)0x4246);
            file.Write((ushort)padding);
            file.Write(new byte[padding]);
            file.Write(data);

            central.Write(0x02014b50u);
            central.Write(0u);
            central.Write(Flags);
            central.Write(Method);
            central.Write(0ul);
            central.Write(IsZip64 ? uint.MaxValue : (uint)data.Length);
            central.Write(IsZip64 ? uint.MaxValue : (uint)data.Length);
            central.Write((ushort)nameBytes.Length);
            central.Write((ushort)(IsZip64 ? 4 + 3 + 4 + 24 : 0));
            central.Write((ushort)0);
            central.Write(0ul);
            central.Write(IsZip64 ? uint.MaxValue : (uint)offset);
            central.Write(nameBytes);
            if (!IsZip64) continue;
            central.Write([0x99, 0x99, 3, 0, 1, 2, 3]);       // some other field first
            central.Write([1, 0, 24, 0]);
            central.Write((long)data.Length);
            central.Write((long)data.Length);
            central.Write(offset);
        }
        long start = archive.Position, bytes = directory.Length;
        file.Write(directory.ToArray());
        if (IsZip64)
        {
            long end = archive.Position;
            file.Write(0x06064b50u);
            file.Write(44L);
            file.Write(0x002D002Du);
            file.Write(0L);
            file.Write((long)_entries.Count);
            file.Write((long)_entries.Count);
            file.Write(bytes);
            file.Write(start);
            file.Write(0x07064b50u);
            file.Write(0u);
            file.Write(end);
            file.Write(1u);
        }
        byte[] comment = Encoding.UTF8.GetBytes(Comment);
        file.Write(0x06054b50u);
        file.Write(0u);
        file.Write((ushort)(IsZip64 ? 0xFFFF : _entries.Count));
        file.Write((ushort)(IsZip64 ? 0xFFFF : _entries.Count));
        file.Write(IsZip64 ? uint.MaxValue : (uint)bytes);
        file.Write(IsZip64 ? uint.MaxValue : (uint)start);
        file.Write((ushort)comment.Length);
        file.Write(comment);
        return archive.ToArray();
    }
}
