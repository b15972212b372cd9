using System.Text.Json;
using System.Text.Unicode;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Text;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>The records of a file: JSON objects one a line (JSONL), or one JSON array of them; also packed by gzip, which its first bytes tell.</summary>
internal static class JsonRecords
{
    /// <summary>The records with their places: the line, from 1; of an array, the number of the element, from 1.</summary>
    /// <param name="file">The file.</param>
    /// <param name="tally">Hears of broken lines.</param>
    /// <param name="wanted">What the file should hold, where it is no JSON at all: a sentence or two.</param>
    /// <exception cref="FileNotFoundException">It is not there.</exception>
    /// <exception cref="InvalidDataException">It is no valid gzip, or more lines are broken than may be.</exception>
    public static IEnumerable<(JsonElement Record, long Line)> Read(string file, DataTally tally, string wanted)
    {
        Require(file);
        return Opened(file, tally, wanted);
    }

    /// <summary>Fails where there is no file to read.</summary>
    public static void Require(string file)
    {
        if (Directory.Exists(file)) throw new InvalidDataException(Say(
            $"{file} is a folder; a file of examples is expected.",
            $"{file} はフォルダーです。学習例のファイルを指定してください。"));
        if (!File.Exists(file)) throw new FileNotFoundException(Say(
            $"{file}: there is no such file of examples.",
            $"{file}: そのような学習例のファイルはありません。"), file);
    }

    private static IEnumerable<(JsonElement Record, long Line)> Opened(string file, DataTally tally, string wanted)
    {
        using PackedLines lines = new(file);
        bool isFirst = true;
        for (long number = 1; lines.Next(out ReadOnlyMemory<byte> whole); number++)
        {
            int indent = whole.Length - whole.Span.TrimStart(" \t\r"u8).Length;
            ReadOnlyMemory<byte> line = whole[indent..];
            line = line[..line.Span.TrimEnd(" \t\r"u8).Length];
            if (line.IsEmpty) continue;
            if (isFirst && line.Span[0] == (byte)'[')
            {
                foreach ((JsonElement, long) element in Elements(file, tally)) yield return element;
                yield break;
            }
            if (Parse(line, out (string Reason, string? Detail, string? Remedy) problem, before: indent) is { } record) yield return (record, number);
            else if (isFirst && !tally.MaySkip && problem.Detail is not null && line.Span[0] != (byte)'{') throw NotJson(file, number, wanted);
            else tally.AddBad(file, number, problem.Reason, problem.Detail, problem.Remedy);
            isFirst = false;
        }
    }

    // A text as it stands, or a table.
    private static InvalidDataException NotJson(string file, long line, string wanted) => new(Say(
        $"{file}:{line}: is no JSONL, which has one JSON object a line. {wanted}", $"{file}:{line}: JSONL（1 行に 1 つの JSON オブジェクト）ではありません。{wanted}"));

    // An array stands on many lines, or on one of any length: it is read whole.
    private static IEnumerable<(JsonElement Record, long Line)> Elements(string file, DataTally tally)
    {
        using MemoryStream all = new();
        using (Stream plain = PackedLines.Unpacked(File.OpenRead(file)))
        {
            byte[] buffer = new byte[1 << 16];
            for (int read = PackedLines.Read(plain, buffer, file); read > 0; read = PackedLines.Read(plain, buffer, file))
            {
                if (all.Length + read > int.MaxValue / 2)
                    throw new InvalidDataException(Say(
                        $"{file}: a JSON array of more than 1 GB cannot be read; write one object a line (JSONL).",
                        $"{file}: 1 GB を超える JSON 配列は読めません。1 行に 1 オブジェクト（JSONL）にしてください。"));
                all.Write(buffer, 0, read);
            }
        }
        ReadOnlyMemory<byte> bytes = all.GetBuffer().AsMemory(0, (int)all.Length);
        if (bytes.Span.StartsWith("\uFEFF"u8)) bytes = bytes[3..];
        JsonElement root = Parse(bytes, out (string Reason, string? Detail, string? Remedy) problem, JsonValueKind.Array)
            ?? throw new InvalidDataException(problem.Detail is { } detail
                ? Say($"{file}: {problem.Reason} ({detail})", $"{file}: {problem.Reason}（{detail}）")
                : problem.Remedy is { } remedy ? Say($"{file}: {problem.Reason}. {remedy}", $"{file}: {problem.Reason}。{remedy}")
                : Say($"{file}: {problem.Reason}", $"{file}: {problem.Reason}"));
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
    /// <param name="problem">What is wrong with it where there is none, where, and what to do about the whole file.</param>
    /// <param name="kind">What it has to be.</param>
    /// <param name="before">Bytes that stand before it in its line; a text of an array stands from the beginning of its file.</param>
    private static JsonElement? Parse(
        ReadOnlyMemory<byte> json, out (string Reason, string? Detail, string? Remedy) problem, JsonValueKind kind = JsonValueKind.Object, int before = 0)
    {
        if (!Utf8.IsValid(json.Span))
        {
            problem = (Say("the text is no UTF-8", "UTF-8 ではありません"), null, NotUtf8.Remedy());
            return null;
        }
        try
        {
            RequireText(json.Span);
            using JsonDocument document = JsonDocument.Parse(json);
            problem = default;
            if (document.RootElement.ValueKind == kind) return document.RootElement.Clone();
            problem = (Unexpected(kind, document.RootElement.ValueKind), null, null);
            return null;
        }
        catch (JsonException e)
        {
            problem = (Say("broken JSON", "JSON が壊れています"),
                // The line of JSONL is named already.
                kind == JsonValueKind.Array ? JsonMistake.InFile(e, json.Span) : JsonMistake.InLine(e, json.Span, before), null);
            return null;
        }
        catch (InvalidOperationException)
        {
            problem = (Say("a JSON string holds half a surrogate pair", "JSON の文字列にサロゲートペアの片方だけがあります"), null, null);
            return null;
        }
    }

    private static string Unexpected(JsonValueKind expected, JsonValueKind found) => Say(
        $"a JSON {(expected == JsonValueKind.Array ? "array" : "object")} is expected, not {KindOf(found)}", $"JSON の{(expected == JsonValueKind.Array ? "配列" : "オブジェクト")}ではなく{KindOf(found)}です");

    // JSON's grammar lets half a surrogate pair pass; whoever read such a string later would fail then.
    private static void RequireText(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json);
        while (reader.Read())
            if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName && reader.ValueIsEscaped) _ = reader.GetString();
    }
}
