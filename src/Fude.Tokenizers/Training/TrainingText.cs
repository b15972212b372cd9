using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>How a file of training text is laid out.</summary>
public enum TrainingTextFormat
{
    /// <summary>By the name: JSONL for .jsonl, .ndjson and .json, each also with .gz; plain text otherwise.</summary>
    ByName,

    /// <summary>UTF-8, one sentence or paragraph a line.</summary>
    Lines,

    /// <summary>One JSON object a line; the text is in one of its fields, and may have several lines.</summary>
    Jsonl,
}

/// <summary>What a document of plain text is. A line of JSONL is one in any case.</summary>
public enum PlainTextDocument
{
    /// <summary>What stands between blank lines, as in CC-100. A line of white space alone is blank.</summary>
    Paragraphs,

    /// <summary>A line.</summary>
    Line,

    /// <summary>A whole file.</summary>
    File,
}

/// <summary>One document of training text.</summary>
/// <param name="Text">Its text, with "\n" between its lines.</param>
/// <param name="File">Where it was read.</param>
/// <param name="Line">Its first line there, from 1.</param>
public readonly record struct TextDocument(string Text, string File, long Line);

/// <summary>A broken line of training text.</summary>
/// <param name="File">Where it is.</param>
/// <param name="Line">Which of its lines, from 1.</param>
public readonly record struct BadLine(string File, long Line);

/// <summary>The text a tokenizer or a model is trained on: files, read one after the other. Gzip is recognised by its first bytes.</summary>
/// <param name="files">The files, in the order they are read.</param>
public sealed class TrainingText(params IReadOnlyList<string> files)
{
    private const int LongestDocument = 1 << 28;

    /// <summary>The files, in the order they are read.</summary>
    public IReadOnlyList<string> Files { get; } = files;

    /// <summary>How the files are laid out.</summary>
    public TrainingTextFormat Format { get; init; } = TrainingTextFormat.ByName;

    /// <summary>JSONL: the field that holds the text.</summary>
    public string Field { get; init; } = "text";

    /// <summary>
    /// Broken lines (no JSON object, no such field, no string in it, invalid UTF-8) to pass over before one of them is an error. How many
    /// there were is reported.
    /// </summary>
    public int SkipBadLines { get; init; }

    /// <summary>Broken lines of other texts that count for <see cref="SkipBadLines"/> too.</summary>
    internal int SkippedBefore { get; init; }

    /// <summary>Lines to draw at random from all of the text, each with the same chance; 0 to take every line.</summary>
    public int SampleLines { get; init; }

    /// <summary>The seed of the draw.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>What <see cref="Documents"/> takes for a document of plain text.</summary>
    public PlainTextDocument PlainText { get; init; }

    /// <summary>
    /// The documents, in the order of the files. Those without a character are left out. Lines to sample are for tokenizers and do not matter here.
    /// </summary>
    /// <param name="progress">Hears what share of the files' bytes has been read, from 0 to 1; null for silence.</param>
    /// <param name="skipped">Hears of every broken line that is passed over.</param>
    /// <param name="empty">Hears of every record whose text has no character.</param>
    /// <param name="stop">Ends the reading.</param>
    /// <exception cref="FileNotFoundException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">More lines are broken than may be skipped, or a file is no valid gzip.</exception>
    public IEnumerable<TextDocument> Documents(
        IProgress<double>? progress = null, Action<BadLine>? skipped = null, Action<BadLine>? empty = null, CancellationToken stop = default)
    {
        long bytes = Measure();
        return Counted();

        // Each reading counts anew.
        IEnumerable<TextDocument> Counted()
        {
            Tally tally = new() { Skipped = skipped, BytesTotal = bytes, BadLines = SkippedBefore };
            if (progress is not null) tally.Advanced = () => progress.Report(tally.Fraction);
            foreach (TextDocument document in ReadDocuments(tally, empty, stop)) yield return document;
        }
    }

    /// <summary>What has been read. Written by the reader while it goes.</summary>
    internal sealed class Tally
    {
        internal long Lines, BadLines, BytesRead, BytesTotal;

        /// <summary>Called now and then while files are read, also before the first line of a sample is there.</summary>
        internal Action? Advanced;

        /// <summary>The first broken lines that were passed over.</summary>
        internal readonly Skips Passed = new();

        /// <summary>Called when a broken line is passed over.</summary>
        internal Action<BadLine>? Skipped;

        internal void Skip(BadLine line)
        {
            Passed.Add(line);
            Skipped?.Invoke(line);
        }

        internal double Fraction => BytesTotal == 0 ? 1 : Math.Min(1, (double)BytesRead / BytesTotal);
    }

    /// <summary>Broken lines that were passed over: how many, and the first of them.</summary>
    internal sealed class Skips
    {
        private const int Most = 3;

        private readonly List<BadLine> _first = [];

        internal long Count { get; private set; }

        internal IReadOnlyList<BadLine> First => _first;

        internal void Add(BadLine line)
        {
            if (Count++ < Most) _first.Add(line);
        }
    }

    /// <summary>The lines that are not empty, sampled if so wished, without their ends.</summary>
    /// <exception cref="FileNotFoundException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">More lines are broken than may be skipped, or a file is no valid gzip.</exception>
    internal IEnumerable<string> Read(Tally tally, CancellationToken stop)
    {
        tally.BytesTotal = Measure();
        return SampleLines > 0 ? Sample(ReadAll(tally, stop)) : ReadAll(tally, stop);
    }

    // The bytes of all files.
    private long Measure()
    {
        long bytes = 0;
        if (Files.Count == 0) throw new ArgumentException(Say("No file of training text was named.", "学習するテキストのファイルが指定されていません。"));
        foreach (string file in Files)
        {
            if (Directory.Exists(file)) throw new InvalidDataException(Say(
                $"{file} is a folder; a file of text is expected.",
                $"{file} はフォルダーです。テキストファイルを指定してください。"));
            if (!File.Exists(file)) throw new FileNotFoundException(Say(
                $"{file}: there is no such file of text.",
                $"{file}: そのようなテキストファイルはありません。"), file);
            // Of the file that is read: a FileInfo of a link has the link's length.
            using PackedLines lines = new(file);
            bytes += lines.Length;
        }
        return bytes;
    }

    /// <summary>Vitter's algorithm R: after n lines, each of them is held with probability SampleLines / n.</summary>
    private IEnumerable<string> Sample(IEnumerable<string> lines)
    {
        List<(long Order, string Line)> held = new(Math.Min(SampleLines, 1 << 20));
        SplitMix random = new(Seed);
        long seen = 0;
        foreach (string line in lines)
        {
            seen++;
            if (held.Count < SampleLines) held.Add((seen, line));
            else if (random.Below((ulong)seen) is ulong slot && slot < (ulong)SampleLines) held[(int)slot] = (seen, line);
        }
        held.Sort((a, b) => a.Order.CompareTo(b.Order));
        foreach ((_, string line) in held) yield return line;
    }

    private IEnumerable<string> ReadAll(Tally tally, CancellationToken stop)
    {
        foreach ((string text, _, _, bool isJson) in ReadLines(tally, stop))
        {
            if (!isJson)
            {
                if (text.Length == 0) continue;
                tally.Lines++;
                yield return text;
                continue;
            }
            for (int start = 0; start < text.Length;)
            {
                int end = text.IndexOf('\n', start);
                if (end < 0) end = text.Length;
                int length = end - start - (end > start && text[end - 1] == '\r' ? 1 : 0);
                if (length > 0)
                {
                    tally.Lines++;
                    yield return length == text.Length ? text : text.Substring(start, length);
                }
                start = end + 1;
            }
        }
    }

    private IEnumerable<TextDocument> ReadDocuments(Tally tally, Action<BadLine>? empty, CancellationToken stop)
    {
        StringBuilder held = new();
        (int File, long Line) begin = (0, 0);
        foreach ((string text, int number, long line, bool isJson) in ReadLines(tally, stop))
        {
            string file = Files[number];
            bool isBlank = PlainText == PlainTextDocument.Paragraphs ? string.IsNullOrWhiteSpace(text) : text.Length == 0;
            if (held.Length > 0 && (begin.File != number || isJson || (isBlank && PlainText == PlainTextDocument.Paragraphs)))
            {
                yield return new TextDocument(held.ToString(), Files[begin.File], begin.Line);
                held.Clear();
            }
            if (isJson || PlainText == PlainTextDocument.Line)
            {
                if (text.Length > 0) yield return new TextDocument(text, file, line);
                else if (isJson) empty?.Invoke(new(file, line));
                continue;
            }
            if (held.Length == 0)
            {
                if (isBlank) continue;
                begin = (number, line);
            }
            else held.Append('\n');
            held.Append(text);
            if (held.Length > LongestDocument)
                throw new InvalidDataException(Say(
                    FormattableString.Invariant($"{file}:{line}: the document that begins at line {begin.Line} is longer than {LongestDocument} characters; say otherwise what a document is."),
                    FormattableString.Invariant($"{file}:{line}: {begin.Line} 行目から始まる文書が {LongestDocument} 文字を超えています。文書の区切り方を変えてください。")));
        }
        if (held.Length > 0) yield return new TextDocument(held.ToString(), Files[begin.File], begin.Line);
    }

    /// <summary>Every line of the files that is not broken: of JSONL the field's text, which may have several lines; of plain text also the empty ones.
    /// A file goes by its place among the files: one may be named twice.</summary>
    private IEnumerable<(string Text, int File, long Line, bool IsJson)> ReadLines(Tally tally, CancellationToken stop)
    {
        long before = 0;
        for (int place = 0; place < Files.Count; place++)
        {
            string file = Files[place];
            bool json = Format == TrainingTextFormat.Jsonl || (Format == TrainingTextFormat.ByName && IsJsonName(file));
            using PackedLines lines = new(file);
            bool isFirst = true;
            for (long number = 1; lines.Next(out ReadOnlyMemory<byte> line); number++)
            {
                stop.ThrowIfCancellationRequested();
                tally.BytesRead = before + lines.Position;
                if (number % (json ? 100 : 10_000) == 0) tally.Advanced?.Invoke();
                if (json && isFirst && !line.Span.Trim(" \t"u8).IsEmpty)
                {
                    isFirst = false;
                    RequireNoArray(line.Span, file);
                }
                if ((json ? JsonText(line.Span, file, number, tally) : LineText(line.Span, file, number, tally)) is { } text)
                    yield return (text, place, number, json);
            }
            before += lines.Length;
            tally.BytesRead = before;
        }
    }

    // One array of all texts, on one line or on many: no line of it is a text.
    private static void RequireNoArray(ReadOnlySpan<byte> line, string file)
    {
        ReadOnlySpan<byte> rest = line.Trim(" \t"u8);
        if (rest[0] != (byte)'[' || rest[1..].TrimStart(" \t"u8) is not ([] or [(byte)'{', ..])) return;
        throw new InvalidDataException(Say(
            $"{file}: is a JSON array; texts are read as JSONL, one object a line, as jq -c '.[]' makes of it.",
            $"{file}: JSON の配列です。テキストは 1 行に 1 オブジェクトの JSONL にしてください（jq -c '.[]' で変換できます）。"));
    }

    /// <summary>Whether a file begins with a JSON object on a line, which <see cref="TrainingTextFormat.ByName"/> takes for plain text.</summary>
    /// <exception cref="InvalidDataException">It is no text that can be read.</exception>
    internal static bool IsUnnamedJson(string file)
    {
        if (!File.Exists(file) || IsJsonName(file)) return false;
        using PackedLines lines = new(file);
        while (lines.Next(out ReadOnlyMemory<byte> line))
        {
            if (line.Span.Trim(" \t"u8).IsEmpty) continue;
            try
            {
                Utf8JsonReader reader = new(line.Span);
                return reader.Read() && reader.TokenType == JsonTokenType.StartObject && reader.TrySkip()
                    && line.Span[(int)reader.BytesConsumed..].Trim(" \t\r"u8).IsEmpty;
            }
            catch (JsonException)
            {
                return false;
            }
        }
        return false;
    }

    private string? LineText(ReadOnlySpan<byte> line, string file, long number, Tally tally)
    {
        if (Utf8.IsValid(line)) return Encoding.UTF8.GetString(line);
        Bad(file, number, InvalidUtf8(), tally, NotUtf8.Remedy());
        return null;
    }

    private static string InvalidUtf8() => Say("invalid UTF-8; fude reads text in UTF-8 only", "UTF-8 ではありません。テキストは UTF-8 でなければ読めません");

    private string? JsonText(ReadOnlySpan<byte> line, string file, long number, Tally tally)
    {
        if (line.Trim(" \t"u8).IsEmpty) return null;
        try
        {
            Utf8JsonReader reader = new(line);
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject) return Broken(Say(
                $"no JSON object, but {KindOf(reader.TokenType)}",
                $"JSON オブジェクトではなく{KindOf(reader.TokenType)}です"));
            string? text = null;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool wanted = reader.ValueTextEquals(Field);
                reader.Read();
                if (!wanted)
                {
                    reader.Skip();
                    continue;
                }
                if (reader.TokenType != JsonTokenType.String) return Broken(Say(
                    $"the field '{Field}' is no string, but {KindOf(reader.TokenType)}",
                    $"フィールド '{Field}' が文字列ではなく{KindOf(reader.TokenType)}です"));
                text = reader.GetString();
            }
            if (reader.Read()) return Broken(Say("something follows the JSON object", "JSON オブジェクトの後に余分なものがあります"));
            if (text is not null) return text;
            string others = TextFields(line);
            return Broken(others.Length == 0 ? Say($"the JSON object has no field '{Field}'", $"JSON オブジェクトにフィールド '{Field}' がありません") : Say(
                $"the JSON object has no field '{Field}'; the fields of text that it has, of which --field names another: {others}",
                $"JSON オブジェクトにフィールド '{Field}' がありません。文字列のフィールド（--field で指定できます）: {others}"));
        }
        catch (JsonException e)
        {
            return !Utf8.IsValid(line) ? NoUtf8() : Broken(Say($"broken JSON ({JsonMistake.InLine(e, line)})", $"JSON が壊れています（{JsonMistake.InLine(e, line)}）"));
        }
        catch (InvalidOperationException e)
        {
            return !Utf8.IsValid(line) ? NoUtf8() : Broken(Say(
                $"a JSON string that is no Unicode text: {JsonMistake.What(e)}",
                $"JSON の文字列が Unicode になっていません: {JsonMistake.What(e)}"));
        }

        string? NoUtf8()
        {
            Bad(file, number, InvalidUtf8(), tally, NotUtf8.Remedy());
            return null;
        }

        string? Broken(string what)
        {
            Bad(file, number, what, tally);
            return null;
        }
    }

    private static string TextFields(ReadOnlySpan<byte> line)
    {
        const int Most = 8;
        List<string> names = [];
        Utf8JsonReader reader = new(line);
        _ = reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName && names.Count < Most)
        {
            string name = reader.GetString()!;
            _ = reader.Read();
            if (reader.TokenType == JsonTokenType.String) names.Add(name);
            reader.Skip();
        }
        return string.Join(", ", names);
    }

    // A remedy is for the file: what may be skipped comes after it.
    private void Bad(string file, long line, string what, Tally tally, string? remedy = null)
    {
        if (++tally.BadLines <= SkipBadLines)
        {
            tally.Skip(new(file, line));
            return;
        }
        throw new InvalidDataException(
            Say(FormattableString.Invariant($"{file}:{line}: {what}. "), FormattableString.Invariant($"{file}:{line}: {what}。"))
            + (remedy is null ? "" : Say($"{remedy} ", remedy))
            + (SkipBadLines == 0 && remedy is not null
                ? Say("Where a few lines alone are broken, they can be skipped (--skip-bad N).", "壊れた行がわずかなら、--skip-bad N で読み飛ばすこともできます。")
                : SkipBadLines == 0
                ? Say("Correct the line, or allow a number of broken lines to be skipped (--skip-bad N).", "行を直すか、読み飛ばしてよい行数を --skip-bad N で指定してください。")
                : Say(
                    FormattableString.Invariant($"This is broken line {tally.BadLines}; {SkipBadLines} were to be skipped at most."),
                    FormattableString.Invariant($"壊れた行はこれで {tally.BadLines} 行目です。読み飛ばしてよいのは {SkipBadLines} 行までです。"))));
    }

    /// <summary>Whether a file of this name is read as JSONL and not as plain text.</summary>
    internal static bool IsJsonName(string file)
    {
        string name = file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? file[..^3] : file;
        return name.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase) || name.EndsWith(".ndjson", StringComparison.OrdinalIgnoreCase)
            || name.EndsWith(".json", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>SplitMix64 (Steele, Lea and Flood, 2014): small, and the same on every machine.</summary>
    private struct SplitMix(ulong state)
    {
        internal ulong Below(ulong limit) => Math.BigMul(Next(), limit, out _);

        private ulong Next()
        {
            ulong z = state += 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
