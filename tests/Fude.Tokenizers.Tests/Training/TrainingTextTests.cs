using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

public sealed class TrainingTextTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static string[] Lines(TrainingText text) => [.. text.Read(new(), default)];

    private string Gzip(string name, string content)
    {
        using MemoryStream bytes = new();
        using (GZipStream gzip = new(bytes, CompressionLevel.Fastest)) gzip.Write(Encoding.UTF8.GetBytes(content));
        return _folder.Write(name, bytes.ToArray());
    }

    [Fact]
    public void Plain_text_is_read_by_lines_without_their_ends_and_the_byte_order_mark() =>
        Assert.Equal(["一行目", " 二行目 ", "四行目"], Lines(new(_folder.Write("a.txt", "\uFEFF一行目\r\n 二行目 \n\n四行目"))));

    [Fact]
    public void Jsonl_gives_the_lines_of_its_field()
    {
        string file = _folder.Write("a.jsonl", """
            {"id": 1, "text": "吾輩は\n猫である。\r\n", "more": {"text": "not this"}}

            {"text": "\u540d\u524d\ud842\udfb7", "list": [1, [2]]}
            """);
        Assert.Equal(["吾輩は", "猫である。", "名前𠮷"], Lines(new(file)));
        Assert.Equal(["x"], Lines(new(_folder.Write("b.jsonl", "{\"text\":\"a\",\"body\":\"x\"}")) { Field = "body" }));
    }

    [Fact]
    public void Several_files_and_gzip_are_read_in_order() =>
        Assert.Equal(
            ["一", "二", "三", "四"],
            Lines(new(_folder.Write("a.txt", "一\n"), Gzip("b.jsonl.gz", "{\"text\":\"二\"}\n"), Gzip("c", "三\n"), _folder.Write("d.ndjson", "{\"text\":\"四\"}"))));

    [Fact]
    public void Lines_longer_than_any_buffer_are_whole()
    {
        string longLine = string.Concat(Enumerable.Repeat("長い行", 100_000));
        Assert.Equal(["短", longLine, "短"], Lines(new(_folder.Write("a.txt", $"短\n{longLine}\n短\n"))));
    }

    public static TheoryData<string> BrokenLines() =>
        ["{\"text\": \"a", "[1]", "{\"txt\": \"a\"}", "{\"text\": 1}", "{\"text\": \"a\"} {}", "not json", "{\"text\":\"\\ud800\"}"];

    [Theory, MemberData(nameof(BrokenLines))]
    public void A_broken_json_line_is_an_error_that_names_file_and_line(string broken)
    {
        string file = _folder.Write("a.jsonl", $"{{\"text\":\"良い\"}}\n{broken}\n{{\"text\":\"行\"}}\n");
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => Lines(new(file)));
        Assert.StartsWith($"{file}:2: ", error.Message, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(BrokenLines))]
    public void So_many_broken_lines_are_skipped_as_allowed_and_counted(string broken)
    {
        string file = _folder.Write("a.jsonl", $"{broken}\n{{\"text\":\"良い\"}}\n{broken}\n");
        TrainingText.Tally tally = new();
        Assert.Equal(["良い"], new TrainingText(file) { SkipBadLines = 2 }.Read(tally, default));
        Assert.Equal(2, tally.BadLines);
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => Lines(new(file) { SkipBadLines = 1 }));
        Assert.StartsWith($"{file}:3: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Invalid_UTF8_is_a_broken_line()
    {
        string file = _folder.Write("a.txt", [.. "良い\n"u8, 0xE3, 0x81, (byte)'\n', .. "行"u8]);
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => Lines(new(file)));
        Assert.StartsWith($"{file}:2: invalid UTF-8", error.Message, StringComparison.Ordinal);
        Assert.Equal(["良い", "行"], Lines(new(file) { SkipBadLines = 1 }));
    }

    [Theory]
    [InlineData("sjis.txt")]
    [InlineData("sjis.jsonl")]
    public void Text_in_Shift_JIS_is_told_how_to_convert_and_only_then_what_may_be_skipped(string name)
    {
        // {"text": "㈱表"}, whose last byte of 表 is a backslash.
        string file = _folder.Write(name, [.. "{\"text\": \""u8, 0x87, 0x8A, 0x95, 0x5C, .. "\"}\n"u8]);
        UserLanguage.Fails(() => Lines(new(file)),
            $"{file}:1: invalid UTF-8; fude reads text in UTF-8 only. Convert the text first, e.g. `iconv -f CP932 -t UTF-8`. Where a few lines alone are broken, they can be skipped (--skip-bad N).",
            $"{file}:1: UTF-8 ではありません。テキストは UTF-8 でなければ読めません。`iconv -f CP932 -t UTF-8` などで変換してください。壊れた行がわずかなら、--skip-bad N で読み飛ばすこともできます。");
        byte[] line = File.ReadAllBytes(file);
        _folder.Write(name, [.. line, .. line]);
        UserLanguage.Fails(() => Lines(new(file) { SkipBadLines = 1 }),
            "`iconv -f CP932 -t UTF-8`. This is broken line 2;", "などで変換してください。壊れた行はこれで 2 行目です。");
    }

    [Fact]
    public void Broken_gzip_is_an_error_that_names_the_file()
    {
        byte[] whole = File.ReadAllBytes(Gzip("whole.gz", string.Join('\n', TrainingSentences.Make(200, 1))));
        whole.AsSpan(whole.Length / 2, 20).Fill(0xFF);
        string file = _folder.Write("broken.gz", whole);
        Assert.Contains(file, Assert.Throws<InvalidDataException>(() => Lines(new(file))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Gzip_that_is_cut_off_is_an_error_and_gzip_of_several_members_is_none()
    {
        byte[] whole = File.ReadAllBytes(Gzip("whole.gz", string.Join('\n', TrainingSentences.Make(200, 1))));
        string cut = _folder.Write("cut.gz", whole[..(whole.Length * 2 / 3)]), twice = _folder.Write("twice.gz", [.. whole, .. whole]);
        Assert.Contains("cut off", Assert.Throws<InvalidDataException>(() => Lines(new(cut))).Message, StringComparison.Ordinal);
        Assert.True(Lines(new(twice)).Length >= 399);
    }

    [Fact]
    public void A_cut_off_file_of_JSON_is_not_taken_for_broken_JSON()
    {
        byte[] whole = File.ReadAllBytes(Gzip("whole.jsonl.gz", string.Concat(TrainingSentences.Make(3000, 1).Select(line => $"{{\"text\": {JsonSerializer.Serialize(line)}}}\n"))));
        foreach (int parts in (ReadOnlySpan<int>)[2, 3, 4, 5, 6, 7])
            Assert.Contains("cut.jsonl.gz: is cut off", Assert.Throws<InvalidDataException>(
                () => Lines(new(_folder.Write("cut.jsonl.gz", whole[..(whole.Length * (parts - 1) / parts)])))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void JSON_that_is_no_JSONL_is_told_what_to_do_about()
    {
        string pretty = _folder.Write("pretty.json", "{\n  \"text\": \"猫\"\n}\n");
        UserLanguage.Fails(() => Lines(new(pretty)), $"{pretty}:1: broken JSON (column 2: the object does not end on its line; JSONL has one object a line, as jq -c . writes them)",
            $"{pretty}:1: JSON が壊れています（2 文字目: オブジェクトが行の終わりまでに閉じていません。");
        foreach (string text in (string[])["[{\"text\": \"猫\"}]\n", "[\n{\"text\": \"猫\"}\n]\n", "\n  [ {\n\"text\": \"猫\"}]"])
        {
            string array = _folder.Write("array.json", text);
            UserLanguage.Fails(() => Lines(new(array) { SkipBadLines = 9 }), $"{array}: is a JSON array; texts are read as JSONL", $"{array}: JSON の配列です");
        }
        // Cut within a string, it is a line that is cut and not one that goes on.
        Assert.Contains("reached end of data", Assert.Throws<InvalidDataException>(() => Lines(new(_folder.Write("cut.jsonl", "{\"text\": \"猫\n")))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_JSON_by_its_contents_alone_is_known()
    {
        foreach ((string name, string text, bool isOne) in ((string, string, bool)[])[
            ("part-0000", "\n {\"text\": \"猫\"}\n", true), ("a.jsonl.1", "{}", true), ("a.txt", "{猫}\n", false), ("b.txt", "猫\n{}\n", false),
            ("c.txt", "", false), ("a.jsonl", "{}", false), ("d.txt", "{\n}\n", false)])
            Assert.Equal(isOne, TrainingText.IsUnnamedJson(_folder.Write(name, text)));
        Assert.True(TrainingText.IsUnnamedJson(Gzip("packed", "{\"text\": \"猫\"}\n")));
        Assert.False(TrainingText.IsUnnamedJson(_folder["none"]));
    }

    [Fact]
    public void Documents_that_are_read_again_have_as_many_broken_lines_again()
    {
        List<BadLine> heard = [];
        string file = _folder.Write("a.jsonl", "{\"text\":\"猫\"}\n{\n");
        IEnumerable<TextDocument> documents = new TrainingText(file) { SkipBadLines = 1 }.Documents(skipped: heard.Add);
        Assert.Single(documents);
        Assert.Single(documents);
        Assert.Equal([new(file, 2), new(file, 2)], heard);
        Assert.Contains("This is broken line 2; 1 were to be skipped at most.", Assert.Throws<InvalidDataException>(
            () => new TrainingText(file) { SkipBadLines = 1, SkippedBefore = 1 }.Documents().Count()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_is_named()
    {
        string missing = Path.Combine(_folder.Path, "missing.txt");
        Assert.Contains(missing, Assert.Throws<FileNotFoundException>(() => Lines(new(missing))).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Lines(new()));
    }

    [Fact]
    public void Samples_are_drawn_evenly_from_all_lines_by_their_seed()
    {
        string file = _folder.WriteLines("a.txt", Enumerable.Range(0, 1000).Select(i => $"{i}"));
        int[] first = [.. Lines(new(file) { SampleLines = 200, Seed = 3 }).Select(int.Parse)];
        Assert.Equal(200, first.Distinct().Count());
        Assert.Equal(first.Order(), first);
        Assert.InRange(first.Average(), 430, 570);
        Assert.Equal(first, Lines(new(file) { SampleLines = 200, Seed = 3 }).Select(int.Parse));
        Assert.NotEqual(first, Lines(new(file) { SampleLines = 200, Seed = 4 }).Select(int.Parse));
        Assert.Equal(1000, Lines(new(file) { SampleLines = 5000 }).Length);
    }

    [Fact]
    public void Reading_tells_how_far_it_is()
    {
        string file = Gzip("a.txt.gz", string.Join('\n', TrainingSentences.Make(2000, 2)));
        TrainingText.Tally tally = new();
        double before = 0;
        foreach (string _ in new TrainingText(file).Read(tally, default))
        {
            Assert.InRange(tally.Fraction, before, 1);
            before = tally.Fraction;
        }
        Assert.Equal(1, tally.Fraction);
        Assert.Equal(2000, tally.Lines);

        // A sample is there only when all is read, but one hears of the reading.
        List<double> heard = [];
        string longer = Gzip("b.txt.gz", string.Concat(Enumerable.Range(0, 45_000).Select(i => $"{i}\n")));
        TrainingText.Tally sampled = new();
        sampled.Advanced = () => heard.Add(sampled.Fraction);
        Assert.Equal(10, new TrainingText(longer) { SampleLines = 10 }.Read(sampled, default).Count());
        Assert.Equal(4, heard.Count);
        Assert.Equal(heard.Order(), heard);
    }

    [Fact]
    public void Documents_are_lines_of_jsonl_and_paragraphs_lines_or_files_of_plain_text()
    {
        string json = _folder.Write("a.jsonl", "{\"text\":\"一\\n二\"}\n{\"text\":\"\"}\n{\"text\":\"三\"}\n");
        string plain = Gzip("b.txt.gz", "\n四\n五\n\n\n六\n");
        string last = _folder.Write("c.txt", "七");
        TextDocument[] Read(PlainTextDocument kind) => [.. new TrainingText(json, plain, last) { PlainText = kind }.Documents()];

        Assert.Equal(
            [new("一\n二", json, 1), new("三", json, 3), new("四\n五", plain, 2), new("六", plain, 6), new("七", last, 1)], Read(PlainTextDocument.Paragraphs));
        Assert.Equal(["一\n二", "三", "四", "五", "六", "七"], Read(PlainTextDocument.Line).Select(document => document.Text));
        Assert.Equal(["一\n二", "三", "四\n五\n\n\n六", "七"], Read(PlainTextDocument.File).Select(document => document.Text));
    }

    [Fact]
    public void A_file_that_is_named_twice_has_its_documents_twice()
    {
        string file = _folder.Write("a.txt", "一\n二\n");
        Assert.Equal([new("一\n二", file, 1), new("一\n二", file, 1)], new TrainingText(file, file).Documents());
        Assert.Equal(["一\n二", "一\n二"], new TrainingText(file, file) { PlainText = PlainTextDocument.File }.Documents().Select(document => document.Text));
    }

    [Theory, InlineData(" "), InlineData("\t"), InlineData("\u3000"), InlineData("\u3000 \t\u00A0")]
    public void A_line_of_white_space_alone_parts_paragraphs_and_nothing_else(string blank)
    {
        string file = _folder.Write("a.txt", $"{blank}\n\u3000一\n二\n{blank}\n{blank}\r\n三 \n{blank}"), json = _folder.Write("a.jsonl", $"{{\"text\":{JsonSerializer.Serialize(blank)}}}\n");
        Assert.Equal([new("\u3000一\n二", file, 2), new("三 ", file, 6)], new TrainingText(file).Documents());
        Assert.Equal([$"{blank}\n\u3000一\n二\n{blank}\n{blank}\n三 \n{blank}"], new TrainingText(file) { PlainText = PlainTextDocument.File }.Documents().Select(document => document.Text));
        Assert.Equal([blank], new TrainingText(json).Documents().Select(document => document.Text));
    }

    [Fact]
    public void A_file_that_a_link_leads_to_has_its_own_length()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets few users make links.");
        string file = _folder.WriteLines("a.txt", Enumerable.Repeat("吾輩は猫である。", 5000)), link = _folder["link.txt"];
        _ = File.CreateSymbolicLink(link, file);
        TrainingText.Tally tally = new();
        Assert.Equal(5000, new TrainingText(link).Read(tally, default).Count());
        Assert.Equal(new FileInfo(file).Length, tally.BytesTotal);
    }

    [Fact]
    public void Documents_are_counted_as_they_are_read()
    {
        string file = _folder.Write("a.jsonl", string.Concat(Enumerable.Repeat("{\"text\":\"行\"}\n", 1000)));
        List<double> shares = [];
        Assert.Equal(1000, new TrainingText(file).Documents(new Listener(shares)).Count());
        Assert.NotEmpty(shares);
        Assert.Equal(shares.Order(), shares);
        Assert.InRange(shares[^1], 0, 1);
    }

    private sealed class Listener(List<double> heard) : IProgress<double>
    {
        public void Report(double value) => heard.Add(value);
    }
}
