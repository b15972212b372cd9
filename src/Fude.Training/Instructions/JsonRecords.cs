using System.Buffers.Binary;
using System.IO.Compression;
using System.Text.Json;
using System.Text.Unicode;
using static Fude.Training.Wording;

namespace Fude.Training;

/// <summary>The records of a file: JSON objects one a line (JSONL), or one JSON array of them; also packed by gzip, which its first bytes tell.</summary>
internal static class JsonRecords
{
    private const int LongestLineBytes = 1 << 28;

    /// <summary>The records with their places: the line, from 1; of an array, the number of the element, from 1.</summary>
    /// <param name="file">The file.</param>
    /// <param name="tally">Hears of broken lines.</param>
    /// <exception cref="FileNotFoundException">It is not there.</exception>
    /// <exception cref="InvalidDataException">It is no valid gzip, or more lines are broken than may be.</exception>
    public static IEnumerable<(JsonElement Record, long Line)> Read(string file, DataTally tally)
    {
        if (Directory.Exists(file)) throw new InvalidDataException($"{file} is a folder; a file of examples is expected.");
        if (!File.Exists(file)) throw new FileNotFoundException($"{file}: there is no such file of examples.", file);
        return Opened(file, tally);
    }

    private static IEnumerable<(JsonElement Record, long Line)> Opened(string file, DataTally tally)
    {
        using FileStream raw = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
        bool isGzip = IsGzip(raw);
        using Stream plain = isGzip ? new GZipStream(raw, CompressionMode.Decompress) : raw;
        bool isFirst = true;
        long number = 0, unpacked = 0;
        foreach (ReadOnlyMemory<byte> whole in Lines(plain, file))
        {
            number++;
            unpacked += whole.Length + 1;
            ReadOnlyMemory<byte> line = number == 1 && whole.Span.StartsWith("\uFEFF"u8) ? whole[3..] : whole;
            int indent = line.Length - line.Span.TrimStart(" \t\r"u8).Length;
            line = line[indent..];
            line = line[..line.Span.TrimEnd(" \t\r"u8).Length];
            if (line.IsEmpty) continue;
            if (isFirst && line.Span[0] == (byte)'[')
            {
                foreach ((JsonElement, long) element in Elements(file, tally)) yield return element;
                yield break;
            }
            isFirst = false;
            if (Parse(line, out (string Reason, string? Detail) problem, before: indent) is { } record) yield return (record, number);
            else tally.AddBad(file, number, problem.Reason, problem.Detail);
        }
        if (isGzip) RequireWhole(file, unpacked);
    }

    // .NET takes a gzip file that is cut off for one that ends. Its last four bytes are the size of its last member: where it is cut, they are
    // any number, and hardly ever so small.
    private static void RequireWhole(string file, long unpacked)
    {
        using FileStream raw = File.OpenRead(file);
        Span<byte> last = stackalloc byte[4];
        raw.Position = Math.Max(0, raw.Length - last.Length);
        raw.ReadExactly(last);
        if (unpacked < uint.MaxValue && BinaryPrimitives.ReadUInt32LittleEndian(last) > unpacked)
            throw new InvalidDataException($"{file}: is cut off: its gzip has no end. Copy it again.");
    }

    // An array stands on many lines, or on one of any length: it is read whole.
    private static IEnumerable<(JsonElement Record, long Line)> Elements(string file, DataTally tally)
    {
        using MemoryStream all = new();
        using (FileStream raw = File.OpenRead(file))
        using (Stream plain = IsGzip(raw) ? new GZipStream(raw, CompressionMode.Decompress) : raw)
        {
            byte[] buffer = new byte[1 << 16];
            for (int read = plain.Read(buffer); read > 0; read = plain.Read(buffer))
            {
                if (all.Length + read > int.MaxValue / 2)
                    throw new InvalidDataException($"{file}: a JSON array of more than 1 GB cannot be read; write one object a line (JSONL).");
                all.Write(buffer, 0, read);
            }
        }
        ReadOnlyMemory<byte> bytes = all.GetBuffer().AsMemory(0, (int)all.Length);
        if (bytes.Span.StartsWith("\uFEFF"u8)) bytes = bytes[3..];
        JsonElement root = Parse(bytes, out (string Reason, string? Detail) problem, JsonValueKind.Array)
            ?? throw new InvalidDataException($"{file}: {problem.Reason}{(problem.Detail is null ? "" : Say($" ({problem.Detail})", $"（{problem.Detail}）"))}");
        long number = 0;
        foreach (JsonElement element in root.EnumerateArray())
        {
            number++;
            if (element.ValueKind == JsonValueKind.Object) yield return (element, number);
            else tally.AddBad(file, number, Unexpected(JsonValueKind.Object, element.ValueKind));
        }
    }

    /// <summary>One JSON text.</summary>
    /// <param name="json">The text.</param>
    /// <param name="problem">What is wrong with it where there is none, and where.</param>
    /// <param name="kind">What it has to be.</param>
    /// <param name="before">Bytes that stand before it in its line; a text of an array stands from the beginning of its file.</param>
    private static JsonElement? Parse(ReadOnlyMemory<byte> json, out (string Reason, string? Detail) problem, JsonValueKind kind = JsonValueKind.Object, int before = 0)
    {
        problem = (Say("the text is no UTF-8", "UTF-8 ではありません"), null);
        if (!Utf8.IsValid(json.Span)) return null;
        try
        {
            RequireText(json.Span);
            using JsonDocument document = JsonDocument.Parse(json);
            problem = (Unexpected(kind, document.RootElement.ValueKind), null);
            return document.RootElement.ValueKind == kind ? document.RootElement.Clone() : null;
        }
        catch (JsonException e)
        {
            problem = (Say("broken JSON", "JSON が壊れています"), PlaceOf(e, json.Span, kind == JsonValueKind.Array, before));
            return null;
        }
        catch (InvalidOperationException)
        {
            problem = (Say("a JSON string holds half a surrogate pair", "JSON の文字列にサロゲートペアの片方だけがあります"), null);
            return null;
        }
    }

    private static string Unexpected(JsonValueKind expected, JsonValueKind found) => Say(
        $"a JSON {(expected == JsonValueKind.Array ? "array" : "object")} is expected, not {found}", $"JSON の{(expected == JsonValueKind.Array ? "配列" : "オブジェクト")}ではなく {found} です");

    // The reader counts lines and bytes from 0; a person counts lines and characters of the file from 1. The line of JSONL is named already.
    private static string PlaceOf(JsonException e, ReadOnlySpan<byte> json, bool ofFile, int before)
    {
        int start = 0;
        for (long line = e.LineNumber ?? 0; line > 0; line--) start += json[start..].IndexOf((byte)'\n') + 1;
        int end = Math.Min(json.Length, start + (int)(e.BytePositionInLine ?? 0));
        int column = 1 + (start == 0 ? before : 0);
        foreach (byte unit in json[start..end])
            if ((unit & 0xC0) != 0x80) column++;
        string what = e.Message.Split(" LineNumber:")[0].TrimEnd('.');
        return ofFile
            ? Say($"line {e.LineNumber + 1}, column {column}: {what}", $"{e.LineNumber + 1} 行 {column} 文字目: {what}")
            : Say($"column {column}: {what}", $"{column} 文字目: {what}");
    }

    // JSON's grammar lets half a surrogate pair pass; whoever read such a string later would fail then.
    private static void RequireText(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json);
        while (reader.Read())
            if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName && reader.ValueIsEscaped) _ = reader.GetString();
    }

    private static bool IsGzip(FileStream file)
    {
        Span<byte> head = stackalloc byte[2];
        int read = file.ReadAtLeast(head, 2, throwOnEndOfStream: false);
        file.Position = 0;
        return read == 2 && head[0] == 0x1F && head[1] == 0x8B;
    }

    /// <summary>The lines without their ends; each is valid until the next is asked for.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Lines(Stream stream, string file)
    {
        byte[] buffer = new byte[1 << 16];
        int start = 0, end = 0;
        while (true)
        {
            int searched = start;
            int length;
            while ((length = buffer.AsSpan(searched, end - searched).IndexOf((byte)'\n')) < 0)
            {
                searched = end;
                if (start > 0)
                {
                    buffer.AsSpan(start, end - start).CopyTo(buffer);
                    (searched, end, start) = (searched - start, end - start, 0);
                }
                if (end == buffer.Length)
                {
                    if (end >= LongestLineBytes)
                        throw new InvalidDataException($"{file}: a line is longer than {LongestLineBytes} bytes; one JSON object a line is expected.");
                    Array.Resize(ref buffer, end * 2);
                }
                int read = Read(stream, buffer.AsSpan(end), file);
                if (read == 0)
                {
                    if (end > start) yield return buffer.AsMemory(start, end - start);
                    yield break;
                }
                end += read;
            }
            yield return buffer.AsMemory(start, searched + length - start);
            start = searched + length + 1;
        }
    }

    private static int Read(Stream stream, Span<byte> buffer, string file)
    {
        try
        {
            return stream.Read(buffer);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{file}: begins like gzip, but is broken: {e.Message}", e);
        }
    }
}
