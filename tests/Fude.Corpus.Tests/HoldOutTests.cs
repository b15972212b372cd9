using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Corpus.Tests;

/// <summary>Which documents are held out depends on their text alone.</summary>
public sealed class HoldOutTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private string[] Split(string name, IEnumerable<string> documents, double share, double keep, out string[] heldOut)
    {
        string source = _folder[name + ".jsonl"], train = _folder[name + "-train.jsonl.gz"], held = _folder[name + "-held.jsonl"];
        File.WriteAllLines(source, documents.Select(text => $"{{\"body\": \"{text}\"}}"));
        HoldOutReport report = HoldOut.Split(new TrainingText(source) { Field = "body" }, train, held, share, keep);
        string[] trained = [.. new TrainingText(train).Documents().Select(document => document.Text)];
        heldOut = [.. new TrainingText(held).Documents().Select(document => document.Text)];
        Assert.Equal((trained.Length, heldOut.Length), (report.Documents, report.HeldOutDocuments));
        Assert.Equal(trained.Sum(text => text.EnumerateRunes().Count()), report.Characters);
        Assert.Equal(heldOut.Sum(text => text.EnumerateRunes().Count()), report.HeldOutCharacters);
        return trained;
    }

    [Fact]
    public void Every_document_is_on_one_side_and_stays_there_whatever_else_comes()
    {
        string[] documents = [.. Enumerable.Range(0, 2000).Select(i => $"文書{i}𠮷")];
        string[] trained = Split("all", documents, 0.1, 1, out string[] heldOut);
        Assert.Equal(documents.Order(StringComparer.Ordinal), trained.Concat(heldOut).Order(StringComparer.Ordinal));
        Assert.InRange(heldOut.Length, 150, 250);
        // Half of them, in another order, and twice each.
        string[] some = [.. documents.Where((_, i) => i % 2 == 0).Reverse().SelectMany(text => (string[])[text, text])];
        string[] trainedAgain = Split("some", some, 0.1, 1, out string[] heldOutAgain);
        Assert.All(heldOutAgain, text => Assert.Contains(text, heldOut));
        Assert.All(trainedAgain, text => Assert.DoesNotContain(text, heldOut));
        Assert.All(heldOut, text => Assert.True(HoldOut.Holds(text, 0.1)));
    }

    [Fact]
    public void A_share_of_the_others_can_be_kept_and_the_same_ones_are_held_out()
    {
        string[] documents = [.. Enumerable.Range(0, 2000).Select(i => $"document {i}")];
        Split("all", documents, 0.1, 1, out string[] heldOut);
        string[] some = Split("some", documents, 0.1, 0.25, out string[] heldOutAgain);
        Assert.Equal(heldOut, heldOutAgain);
        Assert.InRange(some.Length, 380, 520);
    }

    [Fact]
    public void A_broken_source_leaves_nothing_behind()
    {
        string source = _folder["broken.jsonl"];
        File.WriteAllText(source, "{\"text\":\"a\"}\n{\n");
        Assert.Contains("broken.jsonl:2", Assert.Throws<InvalidDataException>(
            () => HoldOut.Split(new TrainingText(source), _folder["t.jsonl"], _folder["h.jsonl"], 0.01)).Message, StringComparison.Ordinal);
        Assert.Equal([source], Directory.GetFiles(_folder.Path));
        foreach ((string train, string heldOut) in ((string, string)[])[(_folder["t"], _folder["t"]), (source, _folder["h"]), (_folder["t"], source)])
            Assert.Contains("would be written over", Assert.Throws<ArgumentException>(
                () => HoldOut.Split(new TrainingText(source), train, heldOut, 0.01)).Message, StringComparison.Ordinal);
        Assert.Equal([source], Directory.GetFiles(_folder.Path));
        Assert.Throws<ArgumentOutOfRangeException>(() => HoldOut.Split(new TrainingText(source), _folder["t"], _folder["h"], 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => HoldOut.Split(new TrainingText(source), _folder["t"], _folder["h"], 0.1, 0));
    }

    [Fact]
    public void No_file_is_written_over_through_a_link()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets few users make links.");
        _ = Directory.CreateDirectory(_folder["real"]);
        string source = _folder.Write("real/source.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n"), before = File.ReadAllText(source);
        // The second leads there through the first, and the third is a file.
        _ = Directory.CreateSymbolicLink(_folder["link"], _folder["real"]);
        _ = Directory.CreateSymbolicLink(_folder["again"], "link");
        _ = File.CreateSymbolicLink(_folder["file.jsonl"], Path.Combine("again", "source.jsonl"));
        foreach ((string read, string train, string heldOut, string named) in ((string, string, string, string)[])[
            ("real/source.jsonl", "real/t.jsonl", "link/t.jsonl", "real/t.jsonl"), ("real/source.jsonl", "again/t.jsonl", "link/../link/t.jsonl", "again/t.jsonl"),
            ("link/source.jsonl", "real/source.jsonl", "h.jsonl", "real/source.jsonl"), ("real/source.jsonl", "t.jsonl", "again/source.jsonl", "again/source.jsonl"),
            ("file.jsonl", "t.jsonl", "link/source.jsonl", "link/source.jsonl"), ("real/source.jsonl", "file.jsonl", "h.jsonl", "file.jsonl")])
            UserLanguage.Fails(() => HoldOut.Split(new TrainingText(_folder[read]), _folder[train], _folder[heldOut], 0.1),
                $"{_folder[named]} would be written over: ", $"{_folder[named]} が上書きされてしまいます。");
        Assert.Equal(before, File.ReadAllText(source));
        Assert.Equal([source], Directory.GetFiles(_folder["real"]));
        HoldOutReport report = HoldOut.Split(new TrainingText(_folder["file.jsonl"]), _folder["link/t.jsonl"], _folder["link/h.jsonl"], 0.1);
        Assert.Equal(2, report.Documents + report.HeldOutDocuments);
    }

    [Fact]
    public void Links_that_lead_in_a_circle_are_no_endless_work()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets few users make links.");
        _ = File.CreateSymbolicLink(_folder["a.jsonl"], "b.jsonl");
        _ = File.CreateSymbolicLink(_folder["b.jsonl"], "a.jsonl");
        _ = File.CreateSymbolicLink(_folder["c"], Path.Combine("c", "d"));
        Assert.ThrowsAny<IOException>(() => HoldOut.Split(new TrainingText(_folder["a.jsonl"]), _folder["c/t.jsonl"], _folder["h.jsonl"], 0.1));
    }

    [Fact]
    public void Names_that_would_be_read_as_plain_text_are_refused_before_anything_is_written()
    {
        string source = _folder["source.jsonl"];
        File.WriteAllText(source, "{\"text\":\"a\"}\n");
        foreach ((string train, string heldOut, string named) in ((string, string, string)[])[("t.txt", "h.jsonl", "t.txt"), ("t.jsonl.gz", "h", "h"), ("t.jsonl.xz", "h.gz", "t.jsonl.xz")])
            UserLanguage.Fails(() => HoldOut.Split(new TrainingText(source), _folder[train], _folder[heldOut], 0.1),
                $"{_folder[named]}: documents are written as JSONL", $"{_folder[named]}: 文書は JSONL で書かれますが");
        Assert.Equal([source], Directory.GetFiles(_folder.Path));
    }
}
