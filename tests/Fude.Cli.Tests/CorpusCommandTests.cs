using System.IO.Compression;
using System.Text;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class CorpusCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public async Task Records_without_text_are_told_and_another_field_is_found()
    {
        string file = _folder.Write("empty.jsonl", "{\"text\": \"犬\"}\n{\"text\": \"\"}\n{\"text\": \"\"}\n{\"text\": \"猫\"}\n");
        Fude.Result result = await Fude.Run("corpus", "hold-out", file, "--train", _folder["a.jsonl"], "--held-out", _folder["b.jsonl"], "--share", "0");
        Assert.Equal($"2 documents (2 characters) to train on, 0 (0) held out; 2 records without text left out: {file}:2, {file}:3\n", result.Output);
        string other = _folder.Write("other.jsonl", "{\"id\": 3, \"instruction\": \"犬\", \"output\": \"猫\"}\n");
        string[] command = ["corpus", "hold-out", other, "--train", _folder["c.jsonl"], "--held-out", _folder["d.jsonl"]];
        Assert.Contains($"{other}:1: the JSON object has no field 'text'; the fields of text that it has, of which --field names another: instruction, output. ",
            (await Fude.Run(command)).Failure(), StringComparison.Ordinal);
        Assert.Equal(0, (await Fude.Run([.. command, "--field", "output"])).Status);
        Assert.Contains("--held-out-share is for --dialogues.", (await Fude.Run("corpus", "instructions", file, "--out", "x.jsonl", "--held-out-share", "0.1")).Failure(status: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_says_that_names_decide_how_files_are_read_and_what_is_kept_of_records()
    {
        string help = (await Fude.Run("corpus", "hold-out", "--help")).Output.ReplaceLineEndings(" ");
        Assert.Contains("Only the text of records is kept, not their other fields.", help, StringComparison.Ordinal);
        Assert.Contains("JSONL where the name ends in .jsonl", help, StringComparison.Ordinal);
    }

    [Fact]
    public async Task JSON_that_is_read_as_plain_text_because_of_its_name_is_remarked()
    {
        string text = _folder.Write("part-0000", "{\"text\": \"猫\"}\n"), named = _folder.Write("part.jsonl", "{\"text\": \"猫\"}\n");
        string[] split = ["corpus", "hold-out", "--train", _folder["t.jsonl"], "--held-out", _folder["h.jsonl"], "--force"];
        Assert.Contains($"note: {text} begins like JSON, but is read as plain text because of its name", (await Fude.Run([.. split, text])).Error, StringComparison.Ordinal);
        Assert.Equal((0, ""), ((await Fude.Run([.. split, named])).Status, (await Fude.Run([.. split, named])).Error));
        Assert.Contains($"注意: {text} は JSON のようですが、名前によりプレーンテキストとして読みます。", (await Fude.RunInJapanese([.. split, text])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_packed_corpus_that_is_cut_off_is_no_smaller_corpus()
    {
        using MemoryStream packed = new();
        using (GZipStream gzip = new(packed, CompressionLevel.Optimal, leaveOpen: true))
            gzip.Write(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 2000).Select(i => $"{i * 7919L % 1000}匹の猫\n\n"))));
        byte[] whole = packed.ToArray();
        string text = _folder.Write("text.txt.gz", whole);
        string[] split = ["corpus", "hold-out", text, "--train", _folder["t.jsonl"], "--held-out", _folder["h.jsonl"]];
        foreach (int length in (int[])[2, whole.Length / 3, whole.Length / 2, whole.Length - 8, whole.Length - 1])
        {
            _folder.Write("text.txt.gz", whole[..length]);
            Assert.Contains($"{text}: is cut off", (await Fude.Run(split)).Failure(), StringComparison.Ordinal);
            Assert.Equal([text], Directory.GetFiles(_folder.Path));
        }
        _folder.Write("text.txt.gz", whole);
        Assert.Equal(0, (await Fude.Run(split)).Status);
    }

    [Fact]
    public async Task Instructions_are_made_of_texts_and_conversations_and_told_by_task()
    {
        string texts = _folder.Write("texts.jsonl", """{"text": "桜（さくら）は、春に花を咲かせる樹木である。電車で学校へ通う子供たちが待っていた。"}""" + "\n{\n");
        string talks = _folder.Write("talks.jsonl", """{"instruction": "花を教えて", "output": "- 桜\n- 梅"}""" + "\n{}\n"), made = _folder["made.jsonl"];
        string[] make = ["corpus", "instructions", texts, "--dialogues", talks, "--share", "1", "--skip-bad", "2", "--out", made];
        Fude.Result result = await Fude.Run(make);
        Assert.Equal(0, result.Status);
        Assert.Matches("^[0-9]+ instructions: .*define 1.*items 1\n$", result.Output);
        Assert.Contains("left out: 1 (a broken line): " + texts + ":2", result.Error, StringComparison.Ordinal);
        Assert.Contains("talks.jsonl:2", result.Error, StringComparison.Ordinal);
        Assert.Contains("texts.jsonl:2", (await Fude.Run(["corpus", "instructions", texts, "--dialogues", talks, "--skip-bad", "1", "--out", _folder["two.jsonl"]])).Failure(), StringComparison.Ordinal);
        Assert.Contains("is there already", (await Fude.Run(make)).Failure(), StringComparison.Ordinal);
        byte[] first = File.ReadAllBytes(made);
        Assert.Equal(0, (await Fude.Run([.. make, "--force"])).Status);
        Assert.Equal(first, File.ReadAllBytes(made));
        Assert.Equal("1 instruction: items 1\n", (await Fude.Run([.. make, "--force", "--tasks", "items"])).Output);
        Assert.Contains("指示 ", (await Fude.RunInJapanese([.. make, "--force"])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_no_instruction_can_be_made_of_is_named()
    {
        string english = _folder.Write("a.txt", "Nothing here is Japanese. Nothing at all."), made = _folder["made.jsonl"];
        Assert.Contains("There is nothing to make instructions of", (await Fude.Run("corpus", "instructions", "--out", made)).Failure(2), StringComparison.Ordinal);
        Assert.Contains("there is no task 'haiku'; there are words, begin", (await Fude.Run("corpus", "instructions", english, "--tasks", "haiku", "--out", made)).Failure(2), StringComparison.Ordinal);
        Assert.Contains($"{english}: no instruction could be made of it", (await Fude.Run("corpus", "instructions", english, "--out", made)).Failure(), StringComparison.Ordinal);
        Assert.Contains("name the file .jsonl", (await Fude.Run("corpus", "instructions", english, "--out", _folder["made.txt"])).Failure(2), StringComparison.Ordinal);
        Assert.Contains("'haiku' という種類はありません", (await Fude.RunInJapanese("corpus", "instructions", english, "--tasks", "haiku", "--out", made)).Said, StringComparison.Ordinal);
        Assert.Equal([english], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task No_instructions_are_written_over_what_they_are_made_of_also_through_links()
    {
        _ = Directory.CreateDirectory(_folder["folder"]);
        string texts = _folder.Write("folder/texts.jsonl", """{"text": "電車で学校へ通う子供たちが待っていた。"}""");
        Directory.CreateSymbolicLink(_folder["link"], _folder["folder"]);
        foreach (string place in (string[])[texts, _folder["link/texts.jsonl"]])
            foreach (string[] files in (string[][])[[texts], ["--dialogues", texts]])
                Assert.Contains("would write over what is read", (await Fude.Run(["corpus", "instructions", .. files, "--out", place, "--force"])).Failure(), StringComparison.Ordinal);
        Assert.StartsWith("{\"text\"", File.ReadAllText(texts), StringComparison.Ordinal);
    }

    [Fact]
    public async Task No_documents_are_set_aside_over_their_source_through_a_linked_folder()
    {
        _ = Directory.CreateDirectory(_folder["real"]);
        string texts = _folder.Write("real/texts.jsonl", "{\"text\": \"猫\"}\n");
        Directory.CreateSymbolicLink(_folder["link"], _folder["real"]);
        foreach (string[] places in (string[][])[[texts, "--train", _folder["real/x.jsonl"], "--held-out", _folder["link/x.jsonl"]],
            [_folder["link/texts.jsonl"], "--train", texts, "--held-out", _folder["x.jsonl"]]])
            Assert.Contains($"{places[2]} would be written over", (await Fude.Run(["corpus", "hold-out", .. places, "--force"])).Failure(status: 2), StringComparison.Ordinal);
        Assert.Equal("{\"text\": \"猫\"}\n", File.ReadAllText(texts));
        Assert.Equal([texts], Directory.GetFiles(_folder["real"]));
    }

    public void Dispose() => _folder.Dispose();
}
