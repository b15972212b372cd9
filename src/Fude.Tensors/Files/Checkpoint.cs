using System.Text.Json;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>The weights of a model or an adapter in files: safetensors or PyTorch, in one file or in shards with an index.</summary>
/// <remarks>
/// Matrices that lie in the file as they are asked for are views of the mapped file; others are copied once. The files must not be
/// shortened while they are open: touching a page that is no longer there ends the process, as for every mapped file. To replace
/// weights that may be in use, rename a new file over the old one.
/// </remarks>
public sealed class Checkpoint : IWeightStore
{
    private const long MaxIndexBytes = 100_000_000;

    // In the order of preference: safetensors cannot hold code.
    private static readonly string[] FileNames =
        ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

    private readonly List<IDisposable> _files = [];
    private readonly List<NativeBuffer> _copies = [];
    private readonly Dictionary<string, StoredTensor> _tensors = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Name, bool Transposed), Weight> _weights = [];
    private readonly Lock _lock = new();

    private Checkpoint(string path) => Path = path;

    /// <summary>The file that was opened, or the index of the shards.</summary>
    public string Path { get; }

    /// <summary>Every tensor of the files by name.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <summary>Names of the tensors that nobody asked for so far, in ordinal order: after loading, those that are not
    /// the model's.</summary>
    public IReadOnlyList<string> Unused
    {
        get
        {
            lock (_lock)
            {
                List<string> names = [.. _tensors.Keys.Where(name => !_used.Contains(name))];
                names.Sort(StringComparer.Ordinal);
                return names;
            }
        }
    }

    /// <summary>Whether there are weights that <see cref="Open"/> would find: false for a folder that has
    /// only config.json and a tokenizer.</summary>
    public static bool Exists(string folderOrFile) => File.Exists(folderOrFile) || FindIn(folderOrFile) is not null;

    /// <summary>Maps the weights of a model's folder, or of one file (adapter_model.safetensors, a single shard).</summary>
    /// <exception cref="InvalidDataException">There are none, a shard is missing, or a file is damaged or unsafe.</exception>
    /// <exception cref="NotSupportedException">A file is of a kind that fude does not read.</exception>
    public static Checkpoint Open(string folderOrFile)
    {
        string path = folderOrFile;
        if (Directory.Exists(folderOrFile))
            path = FindIn(folderOrFile) ?? throw new InvalidDataException(Say(
                $"{folderOrFile}: the folder has no weights. One of {string.Join(", ", FileNames)} is expected.",
                $"{folderOrFile}: フォルダーに重みがありません。{string.Join("、", FileNames)} のどれかが必要です。"));
        else if (!File.Exists(folderOrFile))
            throw new FileNotFoundException(
                Say($"{folderOrFile}: no such file or folder of weights.", $"{folderOrFile}: 重みのファイルもフォルダーも見つかりません。"), folderOrFile);

        Checkpoint checkpoint = new(path);
        try
        {
            if (path.EndsWith(".json", StringComparison.Ordinal)) checkpoint.AddShards(path);
            else foreach (StoredTensor tensor in checkpoint.OpenFile(path)) checkpoint._tensors.Add(tensor.Name, tensor);
            return checkpoint;
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public bool Contains(string name) => _tensors.ContainsKey(name);

    /// <inheritdoc/>
    public Weight Matrix(string name, int rows, int columns, bool transposed = false)
    {
        lock (_lock)
        {
            StoredTensor tensor = Find(name, transposed ? [columns, rows] : [rows, columns]);
            if (_weights.TryGetValue((name, transposed), out Weight? known)) return known;
            NumberFormat format = FormatOf(tensor);
            long rowStride = tensor.Strides[transposed ? 1 : 0], columnStride = tensor.Strides[transposed ? 0 : 1];
            bool dense = (rows == 1 || rowStride == columns) && (columns == 1 || columnStride == 1);
            nint address = dense && tensor.IsAligned && tensor.Type != ElementType.F64
                ? tensor.Address
                : Copy(tensor, format, rowStride, columnStride, rows, columns);
            Weight weight = new(name, format, rows, columns, address);
            _weights.Add((name, transposed), weight);
            return weight;
        }
    }

    /// <inheritdoc/>
    public Weight Vector(string name, int length)
    {
        lock (_lock)
        {
            StoredTensor tensor = Find(name, [length]);
            if (_weights.TryGetValue((name, false), out Weight? known)) return known;
            _ = FormatOf(tensor);
            NativeBuffer copy = new(NumberFormat.F32.Bytes(length));
            _copies.Add(copy);
            Weight weight = new(name, NumberFormat.F32, 1, length, copy.Address);
            tensor.ToFloats().CopyTo(weight.Floats());
            _weights.Add((name, false), weight);
            return weight;
        }
    }

    /// <summary>Unmaps the files and frees the copies: every weight that came from here is gone.</summary>
    public void Dispose()
    {
        foreach (IDisposable file in _files) file.Dispose();
        foreach (NativeBuffer copy in _copies) copy.Dispose();
        _files.Clear();
        _copies.Clear();
        _weights.Clear();
        _tensors.Clear();
    }

    private static string? FindIn(string folder) =>
        FileNames.Select(name => System.IO.Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    private IEnumerable<StoredTensor> OpenFile(string path)
    {
        if (path.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            SafeTensors file = SafeTensors.Open(path);
            _files.Add(file);
            return file.Tensors.Values;
        }
        PyTorchFile pickled = PyTorchFile.Open(path);
        _files.Add(pickled);
        return pickled.Tensors.Values;
    }

    private void AddShards(string index)
    {
        Dictionary<string, string> shardOf = ReadIndex(index);
        string folder = System.IO.Path.GetDirectoryName(index)!;
        foreach (string shard in shardOf.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal))
        {
            string path = System.IO.Path.Combine(folder, shard);
            if (!File.Exists(path))
                throw new InvalidDataException(Say(
                    $"{index}: names the shard '{shard}', which is not beside it. Download it too.",
                    $"{index}: シャード '{shard}' が隣にありません。それもダウンロードしてください。"));
            foreach (StoredTensor tensor in OpenFile(path))
            {
                if (shardOf.TryGetValue(tensor.Name, out string? home) && home != shard) continue;
                if (!_tensors.TryAdd(tensor.Name, tensor))
                    throw new InvalidDataException(Say(
                        $"{path}: has tensor '{tensor.Name}', and so has {_tensors[tensor.Name].File}; " +
                        $"{index} does not say which one counts.",
                        $"{path}: テンソル '{tensor.Name}' が {_tensors[tensor.Name].File} にもあり、{index} からはどちらを使うのか分かりません。"));
            }
        }
        foreach ((string name, string shard) in shardOf)
            if (!_tensors.ContainsKey(name))
                throw new InvalidDataException(Say(
                    $"{System.IO.Path.Combine(folder, shard)}: has no tensor '{name}', which {index} says is there. " +
                    "The files are not of one model.",
                    $"{System.IO.Path.Combine(folder, shard)}: {index} にあるとされるテンソル '{name}' がありません。同じモデルのファイルではありません。"));
    }

    private static Dictionary<string, string> ReadIndex(string index)
    {
        MappedFile.RequireContent(index);
        long length = new FileInfo(index).Length;
        if (length > MaxIndexBytes)
            throw new InvalidDataException(Say(
                $"{index}: has {length} bytes, but {MaxIndexBytes} are the most an index of shards may have.",
                $"{index}: {length} バイトあります。シャードの索引は {MaxIndexBytes} バイトまでです。"));
        Dictionary<string, string> shardOf = new(StringComparer.Ordinal);
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(index));
            if (document.RootElement.ValueKind != JsonValueKind.Object
                || !document.RootElement.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
                throw new InvalidDataException(Say(
                    $"{index}: has no object 'weight_map' from tensor names to shards.",
                    $"{index}: テンソル名からシャードを引くオブジェクト 'weight_map' がありません。"));
            foreach (JsonProperty entry in map.EnumerateObject())
            {
                string shard = entry.Value.GetString() ?? "";
                if (shard is "" or "." or ".." || shard.AsSpan().IndexOfAny("/\\:\0") >= 0)
                    throw new InvalidDataException(Say(
                        $"{index}: says that tensor '{entry.Name}' is in '{shard}'. " +
                        "A shard must be a file beside the index, named without a path.",
                        $"{index}: テンソル '{entry.Name}' の場所が '{shard}' となっています。シャードには、索引と同じフォルダーにあるファイルの名前を、パスを付けずに書きます。"));
                if (shard.EndsWith(".json", StringComparison.Ordinal))
                    throw new InvalidDataException(Say(
                        $"{index}: says that tensor '{entry.Name}' is in '{shard}', which is not a file of weights.",
                        $"{index}: テンソル '{entry.Name}' の場所が '{shard}' となっていますが、重みのファイルではありません。"));
                if (!shardOf.TryAdd(entry.Name, shard) && shardOf[entry.Name] != shard)
                    throw new InvalidDataException(Say(
                        $"{index}: names the tensor '{entry.Name}' twice.", $"{index}: テンソル '{entry.Name}' が 2 度書かれています。"));
            }
        }
        catch (Exception inner) when (inner is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException(Say(
                $"{index}: is not the JSON of an index of shards: {WhatIsWrong(inner)}.",
                $"{index}: シャードの索引の JSON として読めません: {WhatIsWrong(inner)}。"), inner);
        }
        if (shardOf.Count == 0) throw new InvalidDataException(
            Say($"{index}: its weight_map is empty.", $"{index}: weight_map が空です。"));
        return shardOf;
    }

    private StoredTensor Find(string name, ReadOnlySpan<long> shape)
    {
        string expected = $"[{string.Join(", ", shape.ToArray())}]";
        if (!_tensors.TryGetValue(name, out StoredTensor? tensor))
            throw new InvalidDataException(Say(
                $"{Path}: has no tensor '{name}' among its {_tensors.Count}, but config.json asks for it as {expected}. " +
                "The weights and config.json are not of one model.",
                $"{Path}: config.json によれば必要な {expected} のテンソル '{name}' が、全 {_tensors.Count} 個の中にありません。" +
                "重みと config.json が同じモデルのものではありません。"));
        _used.Add(name);
        if (!tensor.Shape.SequenceEqual(shape.ToArray()))
            throw new InvalidDataException(Say(
                $"{tensor.File}: tensor '{name}' is {tensor.ShapeText}, but config.json asks for {expected}. " +
                "The weights and config.json are not of one model.",
                $"{tensor.File}: テンソル '{name}' の形は {tensor.ShapeText} ですが、config.json によれば {expected} のはずです。" +
                "重みと config.json が同じモデルのものではありません。"));
        return tensor;
    }

    private static NumberFormat FormatOf(StoredTensor tensor) => tensor.Type switch
    {
        ElementType.F32 or ElementType.F64 => NumberFormat.F32,
        ElementType.F16 => NumberFormat.F16,
        ElementType.BF16 => NumberFormat.BF16,
        _ => throw new InvalidDataException(Say(
            $"{tensor.File}: tensor '{tensor.Name}' {tensor.ShapeText} is {tensor.Type.FileName()}, " +
            "but weights must be F32, F16, BF16 or F64.",
            $"{tensor.File}: テンソル '{tensor.Name}' {tensor.ShapeText} は {tensor.Type.FileName()} です。" +
            "重みは F32、F16、BF16、F64 のどれかでなければなりません。")),
    };

    private nint Copy(StoredTensor tensor, NumberFormat format, long rowStride, long columnStride, int rows, int columns)
    {
        tensor.CheckCountAgainstMemory();
        NativeBuffer copy = new(checked(rows * format.Bytes(columns)));
        _copies.Add(copy);
        MatrixCopy.Run(tensor.Type, tensor.Address, rowStride, columnStride, copy.Address, rows, columns);
        return copy.Address;
    }
}
