using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Fude.Tensors;

public sealed partial class SafeTensors
{
    private const string SingleName = "model.safetensors", IndexName = "model.safetensors.index.json";

    /// <summary>Writes a file of tensors: all of it, or nothing.</summary>
    /// <param name="path">The file; one that is there is replaced when the new one is complete.</param>
    /// <param name="tensors">What it shall hold; the numbers are asked for one tensor after the other.</param>
    /// <param name="metadata">Texts for __metadata__. "format" is "pt" unless given: transformers refuses files without it.</param>
    /// <exception cref="ArgumentException">Two tensors have one name, or a shape is impossible.</exception>
    /// <exception cref="IOException">The disk is full, for instance.</exception>
    public static void Write(string path, IEnumerable<NewTensor> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using PendingFile file = WriteAside(path, [.. tensors], metadata);
        file.Keep();
    }

    /// <summary>Writes a model's weights into a folder, as model.safetensors or in several files with an index.</summary>
    /// <param name="folder">The folder; weights in safetensors that are there are replaced when the new ones are complete.</param>
    /// <param name="tensors">What to write, in the order in which shards are filled.</param>
    /// <param name="maxShardBytes">Bytes of numbers in a file at most; a larger tensor gets a file of its own.</param>
    /// <param name="metadata">Texts for __metadata__ of every file.</param>
    /// <exception cref="ArgumentException">Two tensors have one name, or a shape is impossible.</exception>
    /// <exception cref="IOException">The disk is full, for instance.</exception>
    public static void WriteSharded(
        string folder,
        IEnumerable<NewTensor> tensors,
        long maxShardBytes = 5_000_000_000,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxShardBytes);
        List<List<NewTensor>> shards = Divide(tensors, maxShardBytes);
        string[] names = shards.Count == 1
            ? [SingleName]
            : [.. shards.Select((_, i) =>
                string.Create(CultureInfo.InvariantCulture, $"model-{i + 1:D5}-of-{shards.Count:D5}.safetensors"))];
        SortedDictionary<string, string> shardOf = new(StringComparer.Ordinal);
        for (int i = 0; i < shards.Count; i++)
            foreach (NewTensor tensor in shards[i])
                if (!shardOf.TryAdd(tensor.Name, names[i]))
                    throw new ArgumentException($"Two tensors are named '{tensor.Name}'.", nameof(tensors));

        _ = Directory.CreateDirectory(folder);
        List<PendingFile> files = [];
        try
        {
            for (int i = 0; i < shards.Count; i++) files.Add(WriteAside(Path.Combine(folder, names[i]), shards[i], metadata));
            if (shards.Count > 1)
            {
                // From here to the last rename the folder has no weights at all: never half of the old ones and half of the new.
                File.Delete(Path.Combine(folder, SingleName));
                File.Delete(Path.Combine(folder, IndexName));
                files.Add(WriteIndex(folder, shards, shardOf));
            }
            foreach (PendingFile file in files) file.Keep();
        }
        finally
        {
            foreach (PendingFile file in files) file.Dispose();
        }
        DeleteOthers(folder, names);
    }

    private static List<List<NewTensor>> Divide(IEnumerable<NewTensor> tensors, long maxShardBytes)
    {
        List<List<NewTensor>> shards = [[]];
        long bytes = 0;
        foreach (NewTensor tensor in tensors)
        {
            if (shards[^1].Count > 0 && tensor.Bytes > maxShardBytes - bytes)
            {
                shards.Add([]);
                bytes = 0;
            }
            shards[^1].Add(tensor);
            bytes += tensor.Bytes;
        }
        return shards;
    }

    private static PendingFile WriteAside(string path, List<NewTensor> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        // Large elements first, as the format's own writer does it: every tensor is aligned to its elements.
        NewTensor[] ordered =
            [.. tensors.OrderByDescending(tensor => tensor.Type.Size()).ThenBy(tensor => tensor.Name, StringComparer.Ordinal)];
        byte[] header = Header(ordered, metadata);
        long bytes = ordered.Sum(tensor => tensor.Bytes);
        PendingFile file = new(path, header.Length + bytes);
        try
        {
            file.Stream.Write(header);
            foreach (NewTensor tensor in ordered)
            {
                long expected = file.Stream.Position + tensor.Bytes;
                tensor.WriteNumbers(file.Stream);
                if (file.Stream.Position != expected)
                    throw new ArgumentException(
                        $"Tensor '{tensor.Name}' has {tensor.Bytes} bytes, but {file.Stream.Position - expected + tensor.Bytes} were written.",
                        nameof(tensors));
            }
            file.Complete();
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static byte[] Header(NewTensor[] tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using MemoryStream json = new();
        json.Write(stackalloc byte[8]);     // the length, which is not known yet
        using (Utf8JsonWriter writer = new(json))
        {
            writer.WriteStartObject();
            writer.WriteStartObject("__metadata__");
            if (metadata is null || !metadata.ContainsKey("format")) writer.WriteString("format", "pt");
            foreach ((string key, string value) in metadata ?? new Dictionary<string, string>()) writer.WriteString(key, value);
            writer.WriteEndObject();
            HashSet<string> names = new(StringComparer.Ordinal) { "__metadata__" };
            long offset = 0;
            foreach (NewTensor tensor in tensors)
            {
                if (!names.Add(tensor.Name)) throw new ArgumentException($"Two tensors are named '{tensor.Name}'.", nameof(tensors));
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", tensor.Type.FileName());
                writer.WriteStartArray("shape");
                foreach (long size in tensor.Shape) writer.WriteNumberValue(size);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                writer.WriteNumberValue(offset = checked(offset + tensor.Bytes));
                writer.WriteEndArray();
                writer.WriteEndObject();
            }
            writer.WriteEndObject();
        }
        while (json.Length % 8 != 0) json.WriteByte((byte)' ');
        byte[] header = json.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(header, header.Length - 8);
        return header;
    }

    private static PendingFile WriteIndex(string folder, List<List<NewTensor>> shards, SortedDictionary<string, string> shardOf)
    {
        PendingFile file = new(Path.Combine(folder, IndexName), 0);
        try
        {
            using (Utf8JsonWriter writer = new(file.Stream, new JsonWriterOptions { Indented = true }))
            {
                writer.WriteStartObject();
                writer.WriteStartObject("metadata");
                writer.WriteNumber("total_size", shards.Sum(shard => shard.Sum(tensor => tensor.Bytes)));
                writer.WriteEndObject();
                writer.WriteStartObject("weight_map");
                foreach ((string name, string shard) in shardOf) writer.WriteString(name, shard);
                writer.WriteEndObject();
                writer.WriteEndObject();
            }
            file.Complete();
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    // What an earlier model left: an old model.safetensors would be found before a new index.
    private static void DeleteOthers(string folder, string[] names)
    {
        if (names.Length == 1) File.Delete(Path.Combine(folder, IndexName));
        foreach (string file in Directory.EnumerateFiles(folder, "model-*.safetensors"))
            if (ShardName().IsMatch(Path.GetFileName(file)) && !names.Contains(Path.GetFileName(file))) File.Delete(file);
    }

    [GeneratedRegex(@"^model-\d{5}-of-\d{5}\.safetensors$", RegexOptions.CultureInvariant)]
    private static partial Regex ShardName();
}
