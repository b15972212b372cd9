using System.Buffers.Binary;
using System.Text.Json;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A file of named tensors in Hugging Face's safetensors format, memory-mapped; and the writer of such files.</summary>
/// <remarks>
/// 8 bytes: length of the header, little-endian; the header, JSON: name → dtype, shape, data_offsets; the numbers, without holes
/// (github.com/huggingface/safetensors, "Format"). Everything the header says is checked against the file before it is believed.
/// </remarks>
public sealed partial class SafeTensors : IDisposable
{
    private const long MaxHeaderBytes = 100_000_000;      // the limit of the format's own readers
    private readonly MappedFile _file;
    private readonly Dictionary<string, StoredTensor> _tensors;
    private readonly Dictionary<string, string> _metadata;

    private SafeTensors(MappedFile file, Dictionary<string, StoredTensor> tensors, Dictionary<string, string> metadata) =>
        (_file, _tensors, _metadata) = (file, tensors, metadata);

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <summary>The file's __metadata__; empty when it has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>Maps a file and reads its header; numbers are read when they are touched.</summary>
    /// <remarks>See <see cref="Checkpoint"/> for what happens to a file that is shortened while it is open.</remarks>
    /// <exception cref="InvalidDataException">The file is cut off or its header does not fit it.</exception>
    /// <exception cref="NotSupportedException">A tensor is of a type that fude does not know.</exception>
    public static SafeTensors Open(string path)
    {
        MappedFile file = MappedFile.Open(path);
        try
        {
            (Dictionary<string, StoredTensor> tensors, Dictionary<string, string> metadata) = ReadHeader(file);
            return new SafeTensors(file, tensors, metadata);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Unmaps the file: its tensors are gone.</summary>
    public void Dispose() => _file.Dispose();

    private static (Dictionary<string, StoredTensor> Tensors, Dictionary<string, string> Metadata) ReadHeader(MappedFile file)
    {
        if (file.Length < 8)
            throw new InvalidDataException(Say(
                $"{file.Path}: {file.Length} bytes are too few for a safetensors file. Download or copy it again.",
                $"{file.Path}: {file.Length} バイトしかなく、safetensors として短すぎます。ダウンロードまたはコピーをやり直してください。"));
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(file.Span(0, 8));
        if (length > MaxHeaderBytes)
            throw new InvalidDataException(Say(
                $"{file.Path}: the header claims {length} bytes, but {MaxHeaderBytes} are the most it may have. " +
                "This is not a safetensors file.",
                $"{file.Path}: ヘッダーが {length} バイトとされていますが、上限は {MaxHeaderBytes} バイトです。safetensors ファイルではありません。"));
        if ((long)length > file.Length - 8)
            throw new InvalidDataException(Say(
                $"{file.Path}: the header claims {length} bytes, but the file has {file.Length - 8} after its first 8. " +
                "Download or copy it again.",
                $"{file.Path}: ヘッダーが {length} バイトとされていますが、先頭の 8 バイトの後は {file.Length - 8} バイトしかありません。" +
                "ダウンロードまたはコピーをやり直してください。"));

        ReadOnlySpan<byte> json = file.Span(8, (int)length);
        List<Claim> claims = [];
        Dictionary<string, string> metadata = [];
        try
        {
            ParseHeader(json, file.Path, claims, metadata);
        }
        catch (Exception inner) when (inner is JsonException or InvalidOperationException)
        {
            // Utf8JsonReader throws JsonException for grammar, InvalidOperationException for a value of another kind or bad UTF-8.
            throw new InvalidDataException(Say(
                $"{file.Path}: the header is not the JSON of a safetensors file: {WhatIsWrong(inner)}.",
                $"{file.Path}: ヘッダーが safetensors の JSON として読めません: {WhatIsWrong(inner)}。"), inner);
        }
        return (Place(file, 8 + (long)length, claims), metadata);
    }

    // What the header says about one tensor, not yet believed.
    private readonly record struct Claim(string Name, ElementType Type, long[] Shape, long Begin, long End);

    private static void ParseHeader(ReadOnlySpan<byte> json, string path, List<Claim> claims, Dictionary<string, string> metadata)
    {
        Utf8JsonReader reader = new(json);
        Expect(ref reader, JsonTokenType.StartObject, path, () => Say("the header", "ヘッダーの JSON"));
        HashSet<string> names = new(StringComparer.Ordinal);
        while (Next(ref reader, path) != JsonTokenType.EndObject)
        {
            string name = reader.GetString()!;
            if (!names.Add(name))
                throw new InvalidDataException(Say(
                    $"{path}: the header names '{name}' twice.", $"{path}: ヘッダーに '{name}' が 2 度あります。"));
            if (name == "__metadata__") ParseMetadata(ref reader, path, metadata);
            else claims.Add(ParseClaim(ref reader, path, name));
        }
        if (reader.Read())
            throw new InvalidDataException(Say(
                $"{path}: there is more after the header's JSON object.", $"{path}: ヘッダーの JSON オブジェクトの後に余分なものがあります。"));
    }

    private static void ParseMetadata(ref Utf8JsonReader reader, string path, Dictionary<string, string> metadata)
    {
        Expect(ref reader, JsonTokenType.StartObject, path, () => "__metadata__");
        while (Next(ref reader, path) != JsonTokenType.EndObject)
        {
            string key = reader.GetString()!;
            Expect(ref reader, JsonTokenType.String, path, () => Say($"__metadata__ '{key}'", $"__metadata__ の '{key}'"));
            metadata[key] = reader.GetString()!;
        }
    }

    private static Claim ParseClaim(ref Utf8JsonReader reader, string path, string name)
    {
        Expect(ref reader, JsonTokenType.StartObject, path, () => Say($"tensor '{name}'", $"テンソル '{name}'"));
        string? type = null;
        List<long>? shape = null, offsets = null;
        while (Next(ref reader, path) != JsonTokenType.EndObject)
        {
            string key = reader.GetString()!;
            switch (key)
            {
                case "dtype" when type is null:
                    Expect(ref reader, JsonTokenType.String, path, () => Say($"the dtype of tensor '{name}'", $"テンソル '{name}' の dtype"));
                    type = reader.GetString();
                    break;
                case "shape" when shape is null:
                    shape = ParseNumbers(ref reader, path, () => Say($"the shape of tensor '{name}'", $"テンソル '{name}' の shape"));
                    break;
                case "data_offsets" when offsets is null:
                    offsets = ParseNumbers(ref reader, path, () => Say($"the data_offsets of tensor '{name}'", $"テンソル '{name}' の data_offsets"));
                    break;
                default:
                    throw new InvalidDataException(Say(
                        $"{path}: tensor '{name}' has the key '{key}', but once each dtype, shape and data_offsets are expected.",
                        $"{path}: テンソル '{name}' にキー '{key}' がありますが、dtype、shape、data_offsets がひとつずつ必要です。"));
            }
        }
        if (type is null || shape is null || offsets is not [long begin, long end])
            throw new InvalidDataException(Say(
                $"{path}: tensor '{name}' lacks a dtype, a shape or two data_offsets.",
                $"{path}: テンソル '{name}' に dtype、shape、2 つの data_offsets のどれかがありません。"));
        ElementType known = ElementTypes.Named(type) ?? throw new NotSupportedException(Say(
            $"{path}: tensor '{name}' has the dtype '{type}', which fude does not know. Weights are F32, F16, BF16 or F64.",
            $"{path}: テンソル '{name}' の dtype '{type}' には対応していません。重みは F32、F16、BF16、F64 のどれかです。"));
        return new Claim(name, known, [.. shape], begin, end);
    }

    private static List<long> ParseNumbers(ref Utf8JsonReader reader, string path, Func<string> what)
    {
        Expect(ref reader, JsonTokenType.StartArray, path, what);
        List<long> numbers = [];
        while (Next(ref reader, path) != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
                throw new InvalidDataException(Say(
                    $"{path}: {what()} holds something that is not a whole number from 0 to 2^63 - 1.",
                    $"{path}: {what()} に 0 から 2^63 - 1 までの整数でないものがあります。"));
            numbers.Add(number);
        }
        return numbers;
    }

    private static JsonTokenType Next(ref Utf8JsonReader reader, string path) =>
        reader.Read() ? reader.TokenType : throw new InvalidDataException(
            Say($"{path}: the header's JSON ends too early.", $"{path}: ヘッダーの JSON が途中で終わっています。"));

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType expected, string path, Func<string> what)
    {
        if (Next(ref reader, path) == expected) return;
        (string english, string japanese) = expected switch
        {
            JsonTokenType.StartObject => ("object", "オブジェクト"),
            JsonTokenType.StartArray => ("array", "配列"),
            _ => ("string", "文字列"),
        };
        throw new InvalidDataException(Say(
            $"{path}: {what()} is not the {english} it should be.", $"{path}: {what()} は{japanese}でなければなりません。"));
    }

    // Sizes are those of the shapes, and the tensors cover the rest of the file without holes or overlaps.
    private static Dictionary<string, StoredTensor> Place(MappedFile file, long start, List<Claim> claims)
    {
        long available = file.Length - start, covered = 0;
        Dictionary<string, StoredTensor> tensors = new(claims.Count, StringComparer.Ordinal);
        claims.Sort(static (a, b) => a.Begin != b.Begin ? a.Begin.CompareTo(b.Begin) : a.End.CompareTo(b.End));
        foreach (Claim claim in claims)
        {
            if (claim.End < claim.Begin || claim.End > available)
                throw new InvalidDataException(Say(
                    $"{file.Path}: tensor '{claim.Name}' claims bytes {claim.Begin} to {claim.End} of the {available} after the header. " +
                    "The file is cut off or damaged: download or copy it again.",
                    $"{file.Path}: テンソル '{claim.Name}' は {claim.Begin} から {claim.End} バイト目にあるとされますが、ヘッダーの後は {available} バイトです。" +
                    "ファイルが途中で切れているか、破損しています。ダウンロードまたはコピーをやり直してください。"));
            if (claim.Begin != covered)
                throw new InvalidDataException(Say(
                    $"{file.Path}: tensor '{claim.Name}' begins at byte {claim.Begin}, but the one before it ends at {covered}: " +
                    "there must be neither holes nor overlaps.",
                    $"{file.Path}: テンソル '{claim.Name}' は {claim.Begin} バイト目から始まりますが、前のテンソルの終わりは {covered} です。" +
                    "隙間も重なりもあってはなりません。"));
            if (SizeInBytes(claim) is not long bytes || bytes != claim.End - claim.Begin)
                throw new InvalidDataException(Say(
                    $"{file.Path}: tensor '{claim.Name}' is {claim.Type.FileName()} [{string.Join(", ", claim.Shape)}], " +
                    $"which does not fit the {claim.End - claim.Begin} bytes it has.",
                    $"{file.Path}: テンソル '{claim.Name}' の {claim.Type.FileName()} [{string.Join(", ", claim.Shape)}] は、" +
                    $"割り当ての {claim.End - claim.Begin} バイトと合いません。"));
            covered = claim.End;
            tensors.Add(claim.Name, new StoredTensor(
                file.Path, claim.Name, claim.Type, claim.Shape, StoredTensor.DenseStrides(claim.Shape), file.At(start + claim.Begin)));
        }
        if (covered != available)
            throw new InvalidDataException(Say(
                $"{file.Path}: {available - covered} bytes at the end belong to no tensor. The file is damaged.",
                $"{file.Path}: 末尾の {available - covered} バイトがどのテンソルにも属しません。ファイルが破損しています。"));
        return tensors;
    }

    private static long? SizeInBytes(Claim claim) =>
        StoredTensor.CountOf(claim.Shape) is long count && count <= long.MaxValue / claim.Type.Size() ? count * claim.Type.Size() : null;
}
