using System.Text;
using Fude.Tokenizers.Text;

namespace Fude.Cli;

/// <summary>Text from files and pipes: UTF-8 or an error, never replacement characters.</summary>
internal static class TextInput
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>A whole file.</summary>
    public static string ReadFile(string path) => Decode(ReadBytes(path), path, line: null);

    /// <summary>The bytes of a whole file.</summary>
    public static byte[] ReadBytes(string path) => Directory.Exists(path)
        ? throw new Failure($"{path} is a folder; a file is expected.", $"{path} はフォルダーです。ファイルを指定してください。")
        : File.ReadAllBytes(path);

    /// <summary>All of a stream but one line break at its end and a byte order mark, which an editor, `echo` or a shell of Windows puts there and nobody
    /// means.</summary>
    public static string ReadText(Stream input)
    {
        using MemoryStream bytes = new();
        input.CopyTo(bytes);
        string text = Decode(bytes.GetBuffer().AsSpan(0, (int)bytes.Length), Language.Say("standard input", "標準入力"), line: null);
        if (text.StartsWith('\uFEFF')) text = text[1..];
        return text.EndsWith("\r\n", StringComparison.Ordinal) ? text[..^2] : text.EndsWith('\n') ? text[..^1] : text;
    }

    /// <summary>The lines of a stream, ended by "\n" or its end. All else is text, "\r" before the end of a line too.</summary>
    /// <param name="input">UTF-8.</param>
    /// <param name="takesMark">Whether a byte order mark is text, and not what a shell of Windows puts before it.</param>
    public static IEnumerable<string> ReadLines(Stream input, bool takesMark)
    {
        foreach (string line in ReadLines(input))
        {
            yield return takesMark ? line : line.TrimStart('\uFEFF');
            takesMark = true;
        }
    }

    private static IEnumerable<string> ReadLines(Stream input)
    {
        byte[] buffer = new byte[65536];
        int start = 0, searched = 0, end = 0, number = 0;       // where a line begins, how far it was looked for its end, what is there
        while (true)
        {
            int found = buffer.AsSpan(searched, end - searched).IndexOf((byte)'\n');
            if (found >= 0)
            {
                int next = searched + found + 1;
                yield return Decode(buffer.AsSpan(start, next - 1 - start), Language.Say("standard input", "標準入力"), ++number);
                start = searched = next;
                continue;
            }
            if (start > 0)
            {
                buffer.AsSpan(start, end - start).CopyTo(buffer);
                (start, end) = (0, end - start);
            }
            searched = end;
            if (end == Array.MaxLength)
                throw new Failure($"standard input, line {number + 1}: longer than {Array.MaxLength:N0} bytes.", $"標準入力の {number + 1} 行目: {Array.MaxLength:N0} バイトを超えています。");
            if (end == buffer.Length) Array.Resize(ref buffer, (int)Math.Min(buffer.Length * 2L, Array.MaxLength));
            int read = input.Read(buffer, end, buffer.Length - end);
            if (read > 0)
            {
                end += read;
                continue;
            }
            if (end > 0) yield return Decode(buffer.AsSpan(0, end), Language.Say("standard input", "標準入力"), ++number);
            yield break;
        }
    }

    /// <summary>Says that a text of the command line holds U+FFFD: it may be meant, but it is also what the bytes of an argument become that are not UTF-8.</summary>
    public static void TellReplaced(Terminal terminal, string? text)
    {
        if (text is null || !text.Contains('\uFFFD', StringComparison.Ordinal)) return;
        terminal.Error.WriteLine(Language.Say(
            "note: the text holds U+FFFD (�), which an argument's bytes become where they are not UTF-8. A text in another encoding goes through `iconv -t UTF-8` first.",
            "注意: テキストに U+FFFD（�）があります。引数の UTF-8 でないバイトはこの文字になります。ほかの文字コードのテキストは、先に `iconv -t UTF-8` で変換してください。"));
    }

    private static string Decode(ReadOnlySpan<byte> bytes, string source, int? line)
    {
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException e)
        {
            bool isUtf16 = bytes is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..];
            string remedy = isUtf16 ? NotUtf8.Remedy("UTF-16") : NotUtf8.Remedy();
            string where = line is null ? source : Language.Say($"{source}, line {line}", $"{source} の {line} 行目");
            throw new Failure(
                $"{where}: byte {e.Index + 1} is not UTF-8. {(isUtf16 ? "It is UTF-16. " : "")}{remedy}",
                $"{where}: {e.Index + 1} バイト目が UTF-8 ではありません{(isUtf16 ? "（UTF-16 です）" : "")}。{remedy}");
        }
    }
}
