using System.Text;

namespace Fude.Tensors;

public sealed partial class Gguf
{
    private const int Alignment = 32, MaxNameBytes = 63;

    /// <summary>Writes a GGUF file of version 3: all of it, or nothing.</summary>
    /// <param name="path">The file; one that is there is replaced when the new one is complete.</param>
    /// <param name="metadata">Keys and values in the file's order; values are of the types that <see cref="Metadata"/> names.</param>
    /// <param name="tensors">What it shall hold; the numbers are asked for one tensor after the other.</param>
    /// <param name="progress">Hears the bytes of numbers written so far, after each tensor.</param>
    /// <exception cref="ArgumentException">Two keys or tensors have one name, a name is too long, or a value or shape is
    /// impossible.</exception>
    /// <exception cref="IOException">The disk is full, for instance.</exception>
    public static void Write(
        string path, IEnumerable<KeyValuePair<string, object>> metadata, IEnumerable<NewGgufTensor> tensors,
        IProgress<long>? progress = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        NewGgufTensor[] all = [.. tensors];
        byte[] header = Header([.. metadata], all);
        using PendingFile file = new(path, header.Length + all.Sum(tensor => Aligned(tensor.Bytes)));
        file.Stream.Write(header);
        foreach (NewGgufTensor tensor in all)
        {
            long start = file.Stream.Position;
            tensor.WriteNumbers(file.Stream);
            if (file.Stream.Position - start != tensor.Bytes)
                throw new ArgumentException(
                    $"Tensor '{tensor.Name}' has {tensor.Bytes} bytes, but {file.Stream.Position - start} were written.", nameof(tensors));
            file.Stream.Write(new byte[Aligned(tensor.Bytes) - tensor.Bytes]);
            progress?.Report(file.Stream.Position - header.Length);
        }
        file.Complete();
        file.Keep();
    }

    private static long Aligned(long bytes) => checked(bytes + Alignment - 1) / Alignment * Alignment;

    private static byte[] Header(KeyValuePair<string, object>[] metadata, NewGgufTensor[] tensors)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);        // little-endian on every machine
        writer.Write("GGUF"u8);
        writer.Write(3);
        writer.Write((long)tensors.Length);
        writer.Write((long)metadata.Length);
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach ((string key, object value) in metadata)
        {
            if (!names.Add(key)) throw new ArgumentException($"The metadata has '{key}' twice.", nameof(metadata));
            if (key == "general.alignment") throw new ArgumentException(
                $"general.alignment is {Alignment} here and need not be said.", nameof(metadata));
            WriteText(writer, key);
            writer.Write(GgufTypes.NumberOf(value.GetType()));
            WriteValue(writer, value);
        }
        names.Clear();
        long offset = 0;
        foreach (NewGgufTensor tensor in tensors)
        {
            if (!names.Add(tensor.Name)) throw new ArgumentException($"Two tensors are named '{tensor.Name}'.", nameof(tensors));
            if (Encoding.UTF8.GetByteCount(tensor.Name) is 0 or > MaxNameBytes)
                throw new ArgumentException($"'{tensor.Name}' is no name for a tensor: it must have 1 to {MaxNameBytes} bytes.",
                    nameof(tensors));
            WriteText(writer, tensor.Name);
            writer.Write(tensor.Shape.Count);
            foreach (long size in tensor.Shape.Reverse()) writer.Write(size);
            writer.Write(GgufTypes.NumberOf(tensor.Format));
            writer.Write(offset);
            offset = checked(offset + Aligned(tensor.Bytes));
        }
        writer.Write(new byte[Aligned(stream.Position) - stream.Position]);
        return stream.ToArray();
    }

    private static void WriteValue(BinaryWriter writer, object value)
    {
        switch (value)
        {
            case byte x: writer.Write(x); break;
            case sbyte x: writer.Write(x); break;
            case ushort x: writer.Write(x); break;
            case short x: writer.Write(x); break;
            case uint x: writer.Write(x); break;
            case int x: writer.Write(x); break;
            case float x: writer.Write(x); break;
            case bool x: writer.Write(x); break;
            case string x: WriteText(writer, x); break;
            case ulong x: writer.Write(x); break;
            case long x: writer.Write(x); break;
            case double x: writer.Write(x); break;
            case Array { Rank: 1 } array:
                writer.Write(GgufTypes.NumberOf(array.GetType().GetElementType()!));
                writer.Write((long)array.Length);
                foreach (object element in array) WriteValue(writer, element);
                break;
            default: throw new ArgumentException($"A GGUF file cannot hold a {value.GetType().Name}.");
        }
    }

    private static void WriteText(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((long)bytes.Length);
        writer.Write(bytes);
    }
}
