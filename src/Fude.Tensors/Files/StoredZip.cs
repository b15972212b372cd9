using System.Buffers.Binary;
using System.Text;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Where the entries of a ZIP archive without compression lie: torch.save writes such archives.</summary>
/// <remarks>APPNOTE.TXT 6.3.10 of PKWARE, with the ZIP64 fields. Checksums are not verified: the numbers are mapped, not read.</remarks>
internal static class StoredZip
{
    private const uint EndSignature = 0x06054b50, End64Signature = 0x06064b50, Locator64Signature = 0x07064b50;
    private const uint EntrySignature = 0x02014b50, LocalSignature = 0x04034b50;
    private const int EndBytes = 22, Locator64Bytes = 20, End64Bytes = 56, EntryBytes = 46, LocalBytes = 30, MaxCommentBytes = 0xFFFF;

    /// <summary>One file of the archive: its bytes follow one another in the archive's file.</summary>
    public readonly record struct Entry(long Offset, long Length);

    /// <summary>The archive's files by name.</summary>
    public static Dictionary<string, Entry> Read(MappedFile file)
    {
        (long directory, long directoryBytes) = FindDirectory(file);
        if (directory < 0 || directoryBytes < 0 || directoryBytes > int.MaxValue || directory > file.Length - directoryBytes)
            throw Bad(
                file, $"its directory of {directoryBytes} bytes at {directory} is not in the file of {file.Length}",
                $"位置 {directory} から {directoryBytes} バイトのディレクトリーが、{file.Length} バイトのファイルに収まりません");

        Dictionary<string, Entry> entries = new(StringComparer.Ordinal);
        ReadOnlySpan<byte> rest = file.Span(directory, (int)directoryBytes);
        while (rest.Length > 0)
        {
            if (rest.Length < EntryBytes || U32(rest) != EntrySignature) throw Bad(file, "its directory is damaged", "ディレクトリーが破損しています");
            int nameBytes = U16(rest[28..]), extraBytes = U16(rest[30..]), bytes = EntryBytes + nameBytes + extraBytes + U16(rest[32..]);
            if (bytes > rest.Length) throw Bad(file, "its directory is cut off", "ディレクトリーが途中で切れています");
            string name = Encoding.UTF8.GetString(rest.Slice(EntryBytes, nameBytes));
            if (!entries.TryAdd(name, Locate(file, name, rest, rest.Slice(EntryBytes + nameBytes, extraBytes))))
                throw Bad(file, $"it has two files named '{name}'", $"'{name}' という名前のファイルが 2 つあります");
            rest = rest[bytes..];
        }
        return entries;
    }

    private static (long Offset, long Bytes) FindDirectory(MappedFile file)
    {
        int tailBytes = (int)Math.Min(file.Length, EndBytes + MaxCommentBytes);
        long tailOffset = file.Length - tailBytes;
        ReadOnlySpan<byte> tail = file.Span(tailOffset, tailBytes);
        for (int at = tailBytes - EndBytes; at >= 0; at--)
        {
            ReadOnlySpan<byte> end = tail[at..];
            if (U32(end) != EndSignature || U16(end[20..]) != end.Length - EndBytes) continue;
            if (U16(end[8..]) != 0xFFFF && U32(end[12..]) != uint.MaxValue && U32(end[16..]) != uint.MaxValue)
                return (U32(end[16..]), U32(end[12..]));
            return FindDirectory64(file, tailOffset + at);
        }
        throw Bad(
            file, "it has no end: it is cut off. Download or copy it again",
            "終端がなく、途中で切れています。ダウンロードまたはコピーをやり直してください");
    }

    private static (long Offset, long Bytes) FindDirectory64(MappedFile file, long end)
    {
        if (end < Locator64Bytes) throw Bad(file, "its ZIP64 end is missing", "ZIP64 の終端がありません");
        ReadOnlySpan<byte> locator = file.Span(end - Locator64Bytes, Locator64Bytes);
        ulong offset = U64(locator[8..]);
        if (U32(locator) != Locator64Signature || file.Length < End64Bytes || offset > (ulong)(file.Length - End64Bytes))
            throw Bad(file, "its ZIP64 end is damaged", "ZIP64 の終端が破損しています");
        ReadOnlySpan<byte> record = file.Span((long)offset, End64Bytes);
        if (U32(record) != End64Signature) throw Bad(file, "its ZIP64 end is damaged", "ZIP64 の終端が破損しています");
        return ((long)U64(record[48..]), (long)U64(record[40..]));
    }

    // The central directory alone is believed for sizes: torch leaves them out of the local headers.
    private static Entry Locate(MappedFile file, string name, ReadOnlySpan<byte> entry, ReadOnlySpan<byte> extra)
    {
        ulong stored = U32(entry[20..]), length = U32(entry[24..]), local = U32(entry[42..]);
        ReadOnlySpan<byte> zip64 = Zip64Field(extra);
        if (length == uint.MaxValue) length = Take(file, name, ref zip64);
        if (stored == uint.MaxValue) stored = Take(file, name, ref zip64);
        if (local == uint.MaxValue) local = Take(file, name, ref zip64);
        if ((U16(entry[8..]) & 1) != 0)
            throw new NotSupportedException(Say(
                $"{file.Path}: '{name}' is encrypted, which fude does not read.",
                $"{file.Path}: '{name}' は暗号化されています。fude は暗号化されたファイルに対応していません。"));
        if (U16(entry[10..]) != 0)
            throw new NotSupportedException(Say(
                $"{file.Path}: '{name}' is compressed, but fude maps weights where they lie, uncompressed as torch.save leaves them. " +
                "Pack the archive again without compression (zip -0), or save the model as safetensors.",
                $"{file.Path}: '{name}' が圧縮されています。fude は torch.save が書くとおりの無圧縮の重みを、ファイルのままメモリーに割り当てて読みます。" +
                "無圧縮（zip -0）でまとめ直すか、モデルを safetensors で保存してください。"));
        if (stored != length)
            throw Bad(
                file, $"'{name}' is stored as it is, yet has two lengths, {stored} and {length}",
                $"'{name}' は無圧縮なのに、長さが {stored} と {length} の 2 通りあります");
        if (file.Length < LocalBytes || local > (ulong)(file.Length - LocalBytes))
            throw Bad(file, $"'{name}' would begin beyond the end", $"'{name}' の先頭がファイルの終わりを越えています");
        ReadOnlySpan<byte> header = file.Span((long)local, LocalBytes);
        if (U32(header) != LocalSignature) throw Bad(file, $"'{name}' is not where the directory says", $"'{name}' がディレクトリーの示す位置にありません");
        long offset = (long)local + LocalBytes + U16(header[26..]) + U16(header[28..]);
        if (offset > file.Length || length > (ulong)(file.Length - offset))
            throw Bad(
                file, $"'{name}' of {length} bytes would end beyond the end", $"{length} バイトの '{name}' がファイルの終わりを越えています");
        return new Entry(offset, (long)length);
    }

    // The ZIP64 extra field (number 1) holds 8 bytes for each field that is all ones in the entry, in the order in which Locate asks.
    private static ReadOnlySpan<byte> Zip64Field(ReadOnlySpan<byte> extra)
    {
        while (extra.Length >= 4)
        {
            int bytes = U16(extra[2..]);
            if (bytes > extra.Length - 4) break;
            if (U16(extra) == 1) return extra.Slice(4, bytes);
            extra = extra[(4 + bytes)..];
        }
        return [];
    }

    private static ulong Take(MappedFile file, string name, ref ReadOnlySpan<byte> zip64)
    {
        if (zip64.Length < 8) throw Bad(file, $"the ZIP64 size of '{name}' is missing", $"'{name}' の ZIP64 のサイズがありません");
        ulong value = U64(zip64);
        zip64 = zip64[8..];
        return value;
    }

    private static InvalidDataException Bad(MappedFile file, string english, string japanese) => new(Say(
        $"{file.Path}: is not a sound PyTorch archive: {english}.", $"{file.Path}: PyTorch のアーカイブとして正しくありません。{japanese}。"));

    private static ushort U16(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt16LittleEndian(bytes);

    private static uint U32(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt32LittleEndian(bytes);

    private static ulong U64(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt64LittleEndian(bytes);
}
