using System.Globalization;
using System.Text.RegularExpressions;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A model in a GGUF file, or in several: metadata and tensors under llama.cpp's names, memory-mapped.</summary>
/// <remarks>
/// As an <see cref="IWeightStore"/> it answers to the names in the file; which tensor of a family that is, the family's table says.
/// See <see cref="Checkpoint"/> for what happens to a file that is shortened while it is open.
/// </remarks>
public sealed partial class Gguf : IWeightStore
{
    private const int MaxFiles = 99_999;
    private readonly bool _skipsArrays;
    private readonly List<MappedFile> _files = [];
    private readonly List<NativeBuffer> _copies = [];
    private readonly Dictionary<string, GgufTensor> _tensors = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Name, bool Transposed), Weight> _weights = [];
    private readonly Lock _lock = new();
    private Dictionary<string, object> _metadata = [];

    private Gguf(string path, bool skipsArrays) => (Path, _skipsArrays) = (path, skipsArrays);

    /// <summary>The file that was opened.</summary>
    public string Path { get; }

    /// <summary>Every tensor by name.</summary>
    public IReadOnlyDictionary<string, GgufTensor> Tensors => _tensors;

    /// <summary>The metadata: byte, sbyte, ushort, short, uint, int, float, bool, string, ulong, long, double, or an array of one of them
    /// (string[], float[], …); an array of arrays is an Array[].</summary>
    public IReadOnlyDictionary<string, object> Metadata => _metadata;

    /// <summary>Names of the tensors that nobody asked for so far, in ordinal order.</summary>
    public IReadOnlyList<string> Unused
    {
        get
        {
            lock (_lock) return [.. _tensors.Keys.Where(name => !_used.Contains(name)).Order(StringComparer.Ordinal)];
        }
    }

    /// <summary>Whether a file begins as GGUF files do.</summary>
    public static bool IsGguf(string path)
    {
        if (new FileInfo(path).Length == 0) return false;       // a pipe or a device, maybe: opening it could wait for ever
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        Span<byte> start = stackalloc byte[4];
        return stream.ReadAtLeast(start, 4, throwOnEndOfStream: false) == 4 && start.SequenceEqual("GGUF"u8);
    }

    /// <summary>Maps a file and reads its header; the others of a split model (name-00001-of-00003.gguf) with it, whichever is
    /// named.</summary>
    /// <exception cref="InvalidDataException">A file is damaged, or one of several is missing or of another model.</exception>
    /// <exception cref="NotSupportedException">The version or a tensor's type is one that fude does not read.</exception>
    public static Gguf Open(string path) => Open(path, tensorsOnly: false);

    /// <summary>Opens a file for its tensors alone: the arrays of its metadata are left empty, which saves reading a tokenizer.</summary>
    /// <inheritdoc cref="Open(string)"/>
    public static Gguf OpenTensors(string path) => Open(path, tensorsOnly: true);

    private static Gguf Open(string path, bool tensorsOnly)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!File.Exists(path)) throw new FileNotFoundException(Say($"{path}: no such file.", $"{path}: ファイルが見つかりません。"), path);
        Gguf gguf = new(path, skipsArrays: tensorsOnly);
        try
        {
            Dictionary<string, object> metadata = gguf.Add(path, null);
            if (SplitCount(path, metadata) is int count and > 1) gguf.AddOthers(path, metadata, count);
            else gguf._metadata = metadata;
            return gguf;
        }
        catch
        {
            gguf.Dispose();
            throw;
        }
    }

    /// <summary>A text of the metadata; null when it is not there.</summary>
    /// <exception cref="InvalidDataException">It is something else than a text.</exception>
    public string? Text(string key) => Value<string>(key, "a text", "文字列");

    /// <summary>A truth value of the metadata; null when it is not there.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public bool? Flag(string key) => _metadata.TryGetValue(key, out object? value)
        ? value as bool? ?? throw Bad(key, value, "a truth value", "真偽値")
        : null;

    /// <summary>A whole number of the metadata, of whatever size; null when it is not there.</summary>
    /// <exception cref="InvalidDataException">It is something else, or outside the range of a long.</exception>
    public long? Integer(string key) => !_metadata.TryGetValue(key, out object? value) ? null : value switch
    {
        byte x => x,
        sbyte x => x,
        ushort x => x,
        short x => x,
        uint x => x,
        int x => x,
        long x => x,
        ulong x and <= long.MaxValue => (long)x,
        _ => throw Bad(key, value, "a whole number", "整数"),
    };

    /// <summary>A number of the metadata; null when it is not there.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public double? Real(string key) => !_metadata.TryGetValue(key, out object? value) ? null : value switch
    {
        float x => x,
        double x => x,
        string or bool or Array => throw Bad(key, value, "a number", "数値"),
        _ => Integer(key),
    };

    /// <summary>An array of texts; null when it is not there.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public string[]? Texts(string key) => Value<string[]>(key, "an array of texts", "文字列の配列");

    /// <summary>An array of float32 numbers; null when it is not there.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public float[]? Reals(string key) => Value<float[]>(key, "an array of float32 numbers", "float32 の配列");

    /// <summary>An array of whole numbers of at most 32 bits; null when it is not there.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public int[]? Integers(string key) => !_metadata.TryGetValue(key, out object? value) ? null : value switch
    {
        // The order matters: to .NET an array of uint is also one of int.
        _ when value.GetType() == typeof(int[]) => (int[])value,
        _ when value.GetType() == typeof(uint[]) => Array.ConvertAll(
            (uint[])value, x => x <= int.MaxValue ? (int)x : throw Bad(key, x, "at most 2^31 - 1", "2^31 - 1 以下の数")),
        _ when value.GetType() == typeof(ushort[]) => Array.ConvertAll((ushort[])value, x => (int)x),
        _ when value.GetType() == typeof(short[]) => Array.ConvertAll((short[])value, x => (int)x),
        _ when value.GetType() == typeof(byte[]) => Array.ConvertAll((byte[])value, x => (int)x),
        _ when value.GetType() == typeof(sbyte[]) => Array.ConvertAll((sbyte[])value, x => (int)x),
        _ => throw Bad(key, value, "an array of whole numbers of at most 32 bits", "32 ビット以下の整数の配列"),
    };

    /// <inheritdoc/>
    public bool Contains(string name) => _tensors.ContainsKey(name);

    /// <inheritdoc/>
    public Weight Matrix(string name, int rows, int columns, bool transposed = false)
    {
        lock (_lock)
        {
            GgufTensor tensor = Find(name, transposed ? [columns, rows] : [rows, columns]);
            if (_weights.TryGetValue((name, transposed), out Weight? known)) return known;
            if (transposed && tensor.Format.IsQuantized())
                throw new NotSupportedException(Say(
                    $"{tensor.File}: tensor '{name}' is {tensor.Format} and cannot be transposed: its blocks lie along the rows.",
                    $"{tensor.File}: テンソル '{name}' は {tensor.Format} のため転置できません。ブロックが行に沿って並んでいます。"));
            Weight weight = new(name, tensor.Format, rows, columns, transposed ? Transpose(tensor, rows, columns) : tensor.Address);
            _weights.Add((name, transposed), weight);
            return weight;
        }
    }

    /// <inheritdoc/>
    public Weight Vector(string name, int length)
    {
        lock (_lock)
        {
            GgufTensor tensor = Find(name, [length]);
            if (_weights.TryGetValue((name, false), out Weight? known)) return known;
            Weight stored = new(name, tensor.Format, 1, length, tensor.Address), weight = stored;
            if (tensor.Format != NumberFormat.F32)
            {
                weight = new Weight(name, NumberFormat.F32, 1, length, Allocate(NumberFormat.F32.Bytes(length)));
                stored.ReadRow(0, weight.Floats());
            }
            _weights.Add((name, false), weight);
            return weight;
        }
    }

    /// <inheritdoc/>
    /// <remarks>The pages are given up; they come back from the file should they be read again.</remarks>
    public void Release(Weight matrix)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        foreach (MappedFile file in _files) file.Discard(matrix.Address, matrix.Bytes);
    }

    /// <summary>Unmaps the files and frees the copies: every weight that came from here is gone.</summary>
    public void Dispose()
    {
        foreach (MappedFile file in _files) file.Dispose();
        foreach (NativeBuffer copy in _copies) copy.Dispose();
        _files.Clear();
        _copies.Clear();
        _weights.Clear();
        _tensors.Clear();
    }

    [GeneratedRegex(@"^(?<stem>.*)-(?<number>[0-9]{5})-of-(?<count>[0-9]{5})\.gguf\z",
        RegexOptions.Singleline | RegexOptions.CultureInvariant)]
    private static partial Regex SplitName { get; }

    private Dictionary<string, object> Add(string path, int? number)
    {
        MappedFile file = MappedFile.Open(path);
        _files.Add(file);
        (Dictionary<string, object> metadata, List<GgufTensor> tensors) = new GgufReader(file, _skipsArrays).Read();
        foreach (GgufTensor tensor in tensors)
            if (!_tensors.TryAdd(tensor.Name, tensor))
                throw new InvalidDataException(Say(
                    $"{path}: has tensor '{tensor.Name}', and so has {_tensors[tensor.Name].File}.",
                    $"{path}: テンソル '{tensor.Name}' が {_tensors[tensor.Name].File} にもあります。"));
        if (number is int expected && Whole(path, metadata, "split.no") != expected)
            throw new InvalidDataException(Say(
                $"{path}: says that it is number {Whole(path, metadata, "split.no") + 1} of its model, but is named as number " +
                $"{expected + 1}.",
                $"{path}: 内容ではモデルの {Whole(path, metadata, "split.no") + 1} 番目のファイルですが、ファイル名では {expected + 1} 番目です。"));
        return metadata;
    }

    // split.no counts from 0, the names from 1; the first file has the model's metadata.
    private void AddOthers(string path, Dictionary<string, object> opened, int count)
    {
        Match name = SplitName.Match(System.IO.Path.GetFileName(path));
        int self = name.Success ? int.Parse(name.Groups["number"].ValueSpan, CultureInfo.InvariantCulture) - 1 : -1;
        if (!name.Success || int.Parse(name.Groups["count"].ValueSpan, CultureInfo.InvariantCulture) != count
            || self != Whole(path, opened, "split.no"))
            throw new InvalidDataException(Say(
                $"{path}: is file {Whole(path, opened, "split.no") + 1} of {count} of its model, which must be named " +
                $"NAME-{Whole(path, opened, "split.no") + 1:D5}-of-{count:D5}.gguf for the others to be found.",
                $"{path}: {count} 個に分かれたモデルの {Whole(path, opened, "split.no") + 1} 番目のファイルです。ほかのファイルを探せるように、" +
                $"名前は NAME-{Whole(path, opened, "split.no") + 1:D5}-of-{count:D5}.gguf の形でなければなりません。"));
        _metadata = opened;
        string folder = System.IO.Path.GetDirectoryName(path)!;
        for (int number = 0; number < count; number++)
        {
            if (number == self) continue;
            string other = System.IO.Path.Combine(
                folder, string.Create(CultureInfo.InvariantCulture, $"{name.Groups["stem"].Value}-{number + 1:D5}-of-{count:D5}.gguf"));
            if (!File.Exists(other)) throw new InvalidDataException(Say(
                $"{path}: is one file of {count}, but {other} is not there. Download it too.",
                $"{path}: {count} 個に分かれたファイルのひとつですが、{other} がありません。それもダウンロードしてください。"));
            Dictionary<string, object> metadata = Add(other, number);
            if (SplitCount(other, metadata) != count) throw new InvalidDataException(Say(
                $"{other}: is not of the same model as {path}.", $"{other}: {path} と同じモデルのものではありません。"));
            if (number == 0) _metadata = metadata;
        }
        if (_metadata.ContainsKey("split.tensors.count") && Whole(path, _metadata, "split.tensors.count") is long tensors
            && tensors != _tensors.Count)
            throw new InvalidDataException(Say(
                $"{path}: its {count} files hold {_tensors.Count} tensors, but {tensors} are announced.",
                $"{path}: {count} 個のファイルにテンソルが {_tensors.Count} 個ありますが、記載では {tensors} 個です。"));
    }

    private static int SplitCount(string path, Dictionary<string, object> metadata)
    {
        long count = metadata.ContainsKey("split.count") ? Whole(path, metadata, "split.count") : 0;
        return count is >= 0 and <= MaxFiles ? (int)count : throw new InvalidDataException(
            Say($"{path}: split.count is {count}.", $"{path}: split.count が {count} です。"));
    }

    private static long Whole(string path, Dictionary<string, object> metadata, string key) =>
        metadata.TryGetValue(key, out object? value) && value is byte or ushort or uint or sbyte or short or int
            ? Convert.ToInt64(value, CultureInfo.InvariantCulture)
            : throw new InvalidDataException(Say(
                $"{path}: {key} is {value ?? "missing"}, but a whole number is expected.",
                $"{path}: {key} が{(value is null ? "ありません" : $" {value} です")}。整数が必要です。"));

    private T? Value<T>(string key, string english, string japanese)
        where T : class => !_metadata.TryGetValue(key, out object? value) ? null : value as T ?? throw Bad(key, value, english, japanese);

    private InvalidDataException Bad(string key, object value, string english, string japanese)
    {
        string? element = (value as Array)?.GetType().GetElementType()!.Name;
        return new(Say(
            $"{Path}: {key} is {(element is null ? value : $"an array of {element}")}, but {english} is expected.",
            $"{Path}: {key} が{(element is null ? $" {value} " : $" {element} の配列")}ですが、{japanese}が必要です。"));
    }

    private GgufTensor Find(string name, long[] shape)
    {
        string expected = $"[{string.Join(", ", shape)}]";
        if (!_tensors.TryGetValue(name, out GgufTensor? tensor))
            throw new InvalidDataException(Say(
                $"{Path}: has no tensor '{name}' among its {_tensors.Count}, but the model needs it as {expected}. The file is not " +
                "complete.",
                $"{Path}: モデルに必要な {expected} のテンソル '{name}' が、全 {_tensors.Count} 個の中にありません。ファイルが不完全です。"));
        _used.Add(name);
        if (!tensor.Shape.SequenceEqual(shape))
            throw new InvalidDataException(Say(
                $"{tensor.File}: tensor '{name}' is {tensor.ShapeText}, but the metadata asks for {expected}. The file contradicts " +
                "itself.",
                $"{tensor.File}: テンソル '{name}' の形は {tensor.ShapeText} ですが、メタデータによれば {expected} のはずです。ファイルの中で食い違っています。"));
        return tensor;
    }

    private nint Transpose(GgufTensor tensor, int rows, int columns)
    {
        nint address = Allocate(checked(rows * tensor.Format.Bytes(columns)));
        MatrixCopy.Run(ElementTypes.Of(tensor.Format), tensor.Address, 1, rows, address, rows, columns);
        return address;
    }

    private nint Allocate(long bytes)
    {
        NativeBuffer copy = new(bytes);
        _copies.Add(copy);
        return copy.Address;
    }
}
