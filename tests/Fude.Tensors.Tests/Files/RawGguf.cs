using System.Text;

namespace Fude.Tensors.Tests;

/// <summary>A GGUF file put together by hand, field by field, so that any of them may lie.</summary>
internal sealed class RawGguf
{
    private readonly List<byte> _entries = [], _tensors = [];

    public uint Version { get; set; } = 3;

    public ulong? EntryCount { get; set; }

    public ulong? TensorCount { get; set; }

    public int Data { get; set; }

    private ulong Entries { get; set; }

    private ulong Tensors { get; set; }

    /// <summary>An entry of any type; the value is written by the caller.</summary>
    public RawGguf Entry(string key, uint type, params object[] value)
    {
        Write(_entries, key, type);
        Write(_entries, value);
        Entries++;
        return this;
    }

    public RawGguf Tensor(string name, uint type, ulong offset, params ulong[] fastestFirst)
    {
        Write(_tensors, name, (uint)fastestFirst.Length);
        foreach (ulong size in fastestFirst) Write(_tensors, size);
        Write(_tensors, type, offset);
        Tensors++;
        return this;
    }

    public byte[] ToBytes(int alignment = 32)
    {
        List<byte> file = [.. "GGUF"u8];
        Write(file, Version, TensorCount ?? Tensors, EntryCount ?? Entries);
        file.AddRange(_entries);
        file.AddRange(_tensors);
        while (file.Count % alignment != 0) file.Add(0);
        for (int i = 0; i < Data; i++) file.Add((byte)(i * 37 % 61));
        return [.. file];
    }

    private static void Write(List<byte> target, params object[] fields)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        foreach (object field in fields)
        {
            switch (field)
            {
                case string text:
                    byte[] bytes = Encoding.UTF8.GetBytes(text);
                    writer.Write((ulong)bytes.Length);
                    writer.Write(bytes);
                    break;
                case byte[] raw: writer.Write(raw); break;
                case byte x: writer.Write(x); break;
                case uint x: writer.Write(x); break;
                case int x: writer.Write(x); break;
                case ulong x: writer.Write(x); break;
                case float x: writer.Write(x); break;
                default: throw new ArgumentException(field.GetType().Name);
            }
        }
        target.AddRange(stream.ToArray());
    }
}
