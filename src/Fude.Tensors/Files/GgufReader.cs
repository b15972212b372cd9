using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Reads the header of a GGUF file from its mapped bytes, believing nothing: every length is held against what is left.</summary>
/// <remarks>
/// The format (github.com/ggml-org/ggml, docs/gguf.md), all little-endian: "GGUF", version, number of tensors, number of metadata entries;
/// the entries: key, type, value; the tensors: name, dimensions with the fastest first, type, offset; zeros up to the alignment; the
/// numbers, each tensor at a multiple of the alignment.
/// </remarks>
/// <param name="file">The mapped file.</param>
/// <param name="skipsArrays">Whether arrays of the metadata, such as a tokenizer's pieces, are passed over: each is then an empty one.</param>
internal sealed class GgufReader(MappedFile file, bool skipsArrays = false)
{
    private const int MaxNameBytes = 65535, MaxDimensions = 4, MaxNesting = 4;
    private const long DefaultAlignment = 32, MaxAlignment = 1 << 20;
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private long _position;

    // What the header says about one tensor, not yet believed.
    private readonly record struct Claim(string Name, NumberFormat Format, long[] Shape, long Begin, long Bytes);

    public (Dictionary<string, object> Metadata, List<GgufTensor> Tensors) Read()
    {
        if (!Take(4, () => Say("the first four letters", "先頭の 4 文字")).SequenceEqual("GGUF"u8))
            throw new InvalidDataException(Say(
                $"{file.Path}: does not begin with the letters GGUF. This is not a GGUF file.",
                $"{file.Path}: 先頭が GGUF の 4 文字ではありません。GGUF ファイルではありません。"));
        uint version = ReadUInt32(() => Say("the version", "バージョン"));
        if (version is not (2 or 3))
            throw new NotSupportedException(Say(
                $"{file.Path}: is of GGUF version {version}{(version > 0xFFFF ? ", or big-endian" : "")}; fude reads versions 2 and 3, " +
                "little-endian. Convert the model again.",
                $"{file.Path}: GGUF のバージョンが {version} です{(version > 0xFFFF ? "（またはビッグエンディアンです）" : "")}。fude が読めるのは" +
                "リトルエンディアンのバージョン 2 と 3 です。モデルを変換し直してください。"));
        ulong tensors = ReadUInt64(() => Say("the number of tensors", "テンソルの数"));
        ulong entries = ReadUInt64(() => Say("the number of metadata entries", "メタデータの項目数"));

        // Both numbers only end the loops; memory grows with what was really read.
        Dictionary<string, object> metadata = new(StringComparer.Ordinal);
        for (ulong i = 0; i < entries; i++)
        {
            ulong entry = i;
            string key = ReadName(() => Say($"the key of metadata entry {entry}", $"メタデータの項目 {entry} のキー"));
            object value = ReadValue(ReadUInt32(() => Say($"the type of '{key}'", $"'{key}' の型")), () => Say($"'{key}'", $"'{key}' の値"), 0);
            if (!metadata.TryAdd(key, value))
                throw new InvalidDataException(Say(
                    $"{file.Path}: the metadata has '{key}' twice.", $"{file.Path}: メタデータに '{key}' が 2 度あります。"));
        }
        long alignment = AlignmentOf(metadata);
        List<Claim> claims = [];
        HashSet<string> names = new(StringComparer.Ordinal);
        for (ulong i = 0; i < tensors; i++)
        {
            Claim claim = ReadClaim(i, alignment);
            if (!names.Add(claim.Name))
                throw new InvalidDataException(Say(
                    $"{file.Path}: has tensor '{claim.Name}' twice.", $"{file.Path}: テンソル '{claim.Name}' が 2 つあります。"));
            claims.Add(claim);
        }
        return (metadata, Place(claims, (_position + alignment - 1) / alignment * alignment));
    }

    private long AlignmentOf(Dictionary<string, object> metadata)
    {
        if (!metadata.TryGetValue("general.alignment", out object? value)) return DefaultAlignment;
        // A smaller one than 8, which the format does not allow, would put numbers where they cannot be read in place.
        return value is uint alignment && alignment >= 8 && alignment <= MaxAlignment && (alignment & (alignment - 1)) == 0
            ? alignment
            : throw new InvalidDataException(Say(
                $"{file.Path}: general.alignment is {value}, but a power of two from 8 to {MaxAlignment} is expected.",
                $"{file.Path}: general.alignment が {value} ですが、8 から {MaxAlignment} までの 2 の累乗が必要です。"));
    }

    private Claim ReadClaim(ulong index, long alignment)
    {
        string name = ReadName(() => Say($"the name of tensor {index}", $"テンソル {index} の名前"));
        uint dimensions = ReadUInt32(() => Say($"the number of dimensions of tensor '{name}'", $"テンソル '{name}' の次元数"));
        if (dimensions is < 1 or > MaxDimensions)
            throw new InvalidDataException(Say(
                $"{file.Path}: tensor '{name}' has {dimensions} dimensions, but 1 to {MaxDimensions} are possible.",
                $"{file.Path}: テンソル '{name}' が {dimensions} 次元ですが、1 から {MaxDimensions} 次元まででなければなりません。"));
        long[] shape = new long[dimensions];
        for (int axis = shape.Length - 1; axis >= 0; axis--)
        {
            ulong size = ReadUInt64(() => Say($"the dimensions of tensor '{name}'", $"テンソル '{name}' の各次元の大きさ"));
            if (size is 0 or > long.MaxValue)
                throw new InvalidDataException(Say(
                    $"{file.Path}: tensor '{name}' has {size} numbers along one dimension.",
                    $"{file.Path}: テンソル '{name}' に大きさ {size} の次元があります。"));
            shape[axis] = (long)size;
        }
        uint type = ReadUInt32(() => Say($"the type of tensor '{name}'", $"テンソル '{name}' の型"));
        NumberFormat format = GgufTypes.FormatOf(type) ?? (GgufTypes.OtherName(type) is string other
            ? throw new NotSupportedException(Say(
                $"{file.Path}: tensor '{name}' is {other}, which fude does not read. It reads " +
                $"{string.Join(", ", Enum.GetNames<NumberFormat>())}.",
                $"{file.Path}: テンソル '{name}' の形式 {other} には対応していません。fude が読める形式: " +
                $"{string.Join("、", Enum.GetNames<NumberFormat>())}。"))
            : throw new InvalidDataException(Say(
                $"{file.Path}: tensor '{name}' is of type {type}, which there is not.",
                $"{file.Path}: テンソル '{name}' の型が {type} ですが、そのような型はありません。")));
        ulong offset = ReadUInt64(() => Say($"the offset of tensor '{name}'", $"テンソル '{name}' のオフセット"));
        if (offset > long.MaxValue || (long)offset % alignment != 0)
            throw new InvalidDataException(Say(
                $"{file.Path}: tensor '{name}' begins at byte {offset}, which is no multiple of {alignment}.",
                $"{file.Path}: テンソル '{name}' の先頭が {offset} バイト目で、{alignment} の倍数ではありません。"));

        if (shape[^1] % format.BlockLength() != 0)
            throw new InvalidDataException(Say(
                $"{file.Path}: tensor '{name}' has rows of {shape[^1]} numbers, which are not whole blocks of {format}.",
                $"{file.Path}: テンソル '{name}' の行の長さ {shape[^1]} は {format} のブロック長で割り切れません。"));
        UInt128 bytes = (UInt128)(shape[^1] / format.BlockLength()) * (UInt128)format.BlockBytes();
        for (int axis = 0; axis < shape.Length - 1 && bytes <= (UInt128)file.Length; axis++) bytes *= (UInt128)shape[axis];
        if (bytes > (UInt128)file.Length)
            throw new InvalidDataException(Say(
                $"{file.Path}: tensor '{name}' claims to be {format} [{string.Join(", ", shape)}], more than the file's {file.Length} " +
                "bytes. The file is cut off or damaged: download or copy it again.",
                $"{file.Path}: テンソル '{name}' は {format} [{string.Join(", ", shape)}] とされ、ファイルの {file.Length} バイトより大きくなります。" +
                "ファイルが途中で切れているか、破損しています。ダウンロードまたはコピーをやり直してください。"));
        return new Claim(name, format, shape, (long)offset, (long)bytes);
    }

    // Every tensor lies in the file, and no two share a byte.
    private List<GgufTensor> Place(List<Claim> claims, long start)
    {
        List<GgufTensor> tensors = new(claims.Count);
        long covered = 0, available = file.Length - start;
        foreach (Claim claim in claims.OrderBy(claim => claim.Begin))
        {
            if (claim.Begin > available - claim.Bytes)
                throw new InvalidDataException(Say(
                    $"{file.Path}: tensor '{claim.Name}' claims bytes {claim.Begin} to {(UInt128)claim.Begin + (UInt128)claim.Bytes} " +
                    $"of the {Math.Max(available, 0)} after the header. The file is cut off or damaged: download or copy it again.",
                    $"{file.Path}: テンソル '{claim.Name}' は {claim.Begin} から {(UInt128)claim.Begin + (UInt128)claim.Bytes} バイト目にあるとされますが、" +
                    $"ヘッダーの後は {Math.Max(available, 0)} バイトです。ファイルが途中で切れているか、破損しています。" +
                    "ダウンロードまたはコピーをやり直してください。"));
            if (claim.Begin < covered)
                throw new InvalidDataException(Say(
                    $"{file.Path}: tensor '{claim.Name}' overlaps the one before it.",
                    $"{file.Path}: テンソル '{claim.Name}' が前のテンソルと重なっています。"));
            covered = claim.Begin + claim.Bytes;
            tensors.Add(new GgufTensor(file.Path, claim.Name, claim.Format, claim.Shape, file.At(start + claim.Begin)));
        }
        return tensors;
    }

    private object ReadValue(uint type, Func<string> what, int depth)
    {
        switch (type)
        {
            case GgufTypes.Text: return ReadText(what, long.MaxValue);
            case GgufTypes.Array: return ReadArray(what, depth + 1);
            default:
                if (GgufTypes.BytesOf(type) is not int bytes) throw UnknownType(type, what);
                return Scalar(GgufTypes.TypeOf(type), Take(bytes, what), what);
        }
    }

    private Array ReadArray(Func<string> what, int depth)
    {
        if (depth > MaxNesting)
            throw new InvalidDataException(Say(
                $"{file.Path}: {what()} is an array of arrays, {depth} deep; {MaxNesting} are possible.",
                $"{file.Path}: {what()}は配列の配列が {depth} 段になっています。上限は {MaxNesting} 段です。"));
        uint type = ReadUInt32(() => Say($"the type of the elements of {what()}", $"{what()}の要素の型"));
        if (GgufTypes.BytesOf(type) is not int bytes) throw UnknownType(type, what);
        ulong count = ReadUInt64(() => Say($"the length of {what()}", $"{what()}の長さ"));
        // A text takes 8 bytes at least, an array 12.
        long least = type == GgufTypes.Text ? 8 : type == GgufTypes.Array ? 12 : bytes;
        if (count > (ulong)(Left / least) || count > (ulong)Array.MaxLength)
            throw new InvalidDataException(Say(
                $"{file.Path}: {what()} claims {count} elements, but the file has {Left} bytes after that. It is cut off or damaged: " +
                "download or copy it again.",
                $"{file.Path}: {what()}の要素数が {count} とされていますが、その後は {Left} バイトしかありません。ファイルが途中で切れているか、" +
                "破損しています。ダウンロードまたはコピーをやり直してください。"));
        if (skipsArrays && type != GgufTypes.Array)
        {
            if (type != GgufTypes.Text) Skip((long)count * bytes);
            else for (ulong i = 0; i < count; i++) Skip(ReadLength(what, long.MaxValue));
            return Array.Empty<object>();
        }
        if (type == GgufTypes.Text)
        {
            string[] texts = new string[count];
            for (int i = 0; i < texts.Length; i++) texts[i] = ReadText(what, long.MaxValue);
            return texts;
        }
        if (type == GgufTypes.Array)
        {
            Array[] arrays = new Array[count];
            for (int i = 0; i < arrays.Length; i++) arrays[i] = ReadArray(what, depth + 1);
            return arrays;
        }
        return type switch
        {
            0 => Numbers<byte>(count, bytes, what),
            1 => Numbers<sbyte>(count, bytes, what),
            2 => Numbers<ushort>(count, bytes, what),
            3 => Numbers<short>(count, bytes, what),
            4 => Numbers<uint>(count, bytes, what),
            5 => Numbers<int>(count, bytes, what),
            6 => Numbers<float>(count, bytes, what),
            7 => Array.ConvertAll(Numbers<byte>(count, bytes, what), value => Truth(value, what)),
            10 => Numbers<ulong>(count, bytes, what),
            11 => Numbers<long>(count, bytes, what),
            _ => Numbers<double>(count, bytes, what),
        };
    }

    private T[] Numbers<T>(ulong count, int bytes, Func<string> what)
        where T : unmanaged
    {
        T[] numbers = new T[count];
        for (long first = 0; first < numbers.LongLength;)
        {
            int piece = (int)Math.Min(numbers.LongLength - first, 1 << 20);
            Take(piece * bytes, what).CopyTo(MemoryMarshal.AsBytes(numbers.AsSpan((int)first, piece)));
            first += piece;
        }
        return numbers;
    }

    private object Scalar(Type type, ReadOnlySpan<byte> bytes, Func<string> what)
    {
        if (type == typeof(byte)) return bytes[0];
        if (type == typeof(sbyte)) return (sbyte)bytes[0];
        if (type == typeof(ushort)) return BinaryPrimitives.ReadUInt16LittleEndian(bytes);
        if (type == typeof(short)) return BinaryPrimitives.ReadInt16LittleEndian(bytes);
        if (type == typeof(uint)) return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if (type == typeof(int)) return BinaryPrimitives.ReadInt32LittleEndian(bytes);
        if (type == typeof(float)) return BinaryPrimitives.ReadSingleLittleEndian(bytes);
        if (type == typeof(bool)) return Truth(bytes[0], what);
        if (type == typeof(ulong)) return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        if (type == typeof(long)) return BinaryPrimitives.ReadInt64LittleEndian(bytes);
        return BinaryPrimitives.ReadDoubleLittleEndian(bytes);
    }

    private bool Truth(byte value, Func<string> what) =>
        value <= 1 ? value == 1 : throw new InvalidDataException(Say(
            $"{file.Path}: {what()} holds a truth value {value}, but 0 or 1 is expected.",
            $"{file.Path}: {what()}は真偽値のはずですが {value} です。0 か 1 が必要です。"));

    private string ReadName(Func<string> what)
    {
        string name = ReadText(what, MaxNameBytes);
        return name.Length > 0 ? name : throw new InvalidDataException(Say(
            $"{file.Path}: {what()} is empty.", $"{file.Path}: {what()}が空です。"));
    }

    private string ReadText(Func<string> what, long limit)
    {
        ReadOnlySpan<byte> bytes = Take(ReadLength(what, limit), what);
        try
        {
            return Utf8.GetString(bytes);
        }
        catch (DecoderFallbackException inner)
        {
            throw new InvalidDataException(Say(
                $"{file.Path}: a text of {what()} is not UTF-8.", $"{file.Path}: {what()}に UTF-8 でない文字列があります。"), inner);
        }
    }

    private int ReadLength(Func<string> what, long limit)
    {
        ulong length = ReadUInt64(what);
        return length <= (ulong)Math.Min(Left, Math.Min(limit, Array.MaxLength)) ? (int)length : throw new InvalidDataException(Say(
            $"{file.Path}: a text of {what()} claims {length} bytes, but {Math.Min(Left, limit)} are possible there. " +
            "The file is cut off or damaged: download or copy it again.",
            $"{file.Path}: {what()}に {length} バイトの文字列があるとされますが、そこに入るのは {Math.Min(Left, limit)} バイトまでです。" +
            "ファイルが途中で切れているか、破損しています。ダウンロードまたはコピーをやり直してください。"));
    }

    private uint ReadUInt32(Func<string> what) => BinaryPrimitives.ReadUInt32LittleEndian(Take(4, what));

    private ulong ReadUInt64(Func<string> what) => BinaryPrimitives.ReadUInt64LittleEndian(Take(8, what));

    private long Left => file.Length - _position;

    // What is read is put into words only where reading it fails.
    private ReadOnlySpan<byte> Take(int bytes, Func<string> what)
    {
        if (bytes > Left)
            throw new InvalidDataException(Say(
                $"{file.Path}: ends within {what()}. Download or copy it again.",
                $"{file.Path}: {what()}の途中で終わっています。ダウンロードまたはコピーをやり直してください。"));
        ReadOnlySpan<byte> taken = file.Span(_position, bytes);
        _position += bytes;
        return taken;
    }

    // What was held against Left before.
    private void Skip(long bytes) => _position += bytes;

    private InvalidDataException UnknownType(uint type, Func<string> what) => new(Say(
        $"{file.Path}: {what()} has values of type {type}, which there is not.",
        $"{file.Path}: {what()}の型が {type} ですが、そのような型はありません。"));
}
