using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>A folder is the old one or the new one, whatever is in the way and whenever the process ends.</summary>
public sealed class WholeFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void A_folder_is_replaced_as_a_whole_and_keeps_what_others_put_into_it()
    {
        Fill("model", ("weights", "old"), ("shard-2", "old"), ("notes.md", "日記"));
        _ = Directory.CreateDirectory(_folder["model/more"]);
        File.WriteAllText(_folder["model/more/x"], "x");
        WholeFolder.Write(_folder["model"], pending =>
        {
            Assert.Equal("old", Read("model/weights"));
            Fill(pending, ("weights", "new"), ("notes.txt", "new"));
            Assert.Equal("old", Read("model/weights"));
        }, name => name is "notes.md" or "notes.txt" or "more");
        Assert.Equal(["more", "notes.md", "notes.txt", "weights"], Names("model"));
        Assert.Equal(("new", "日記", "x"), (Read("model/weights"), Read("model/notes.md"), Read("model/more/x")));
        Assert.Equal(["model"], Names(""));
    }

    [Fact]
    public void What_fails_while_it_is_written_leaves_the_old_one_and_is_told_by_its_own_name()
    {
        Fill("model", ("weights", "old"));
        IOException e = Assert.Throws<IOException>(() => WholeFolder.Write(_folder["model"], pending =>
        {
            Fill(pending, ("weights", "half"));
            throw new IOException($"{Path.Combine(pending, "weights")}: no room", 28);
        }));
        Assert.Equal(($"{_folder["model/weights"]}: no room", 28), (e.Message, e.HResult));
        Assert.Equal("old", Read("model/weights"));
        Assert.Equal(["model"], Names(""));
    }

    [Theory]
    [InlineData("old", "", "new", "old")]           // killed while it was written
    [InlineData("", "old", "new", "new")]           // between the two renames
    [InlineData("", "old", "", "old")]
    [InlineData("new", "old", "", "new")]           // before the old one was gone
    [InlineData("", "", "new", "")]                 // the first of all, half written
    public void Whenever_a_process_is_killed_one_whole_folder_is_there(string place, string aside, string pending, string expected)
    {
        foreach ((string name, string content) in ((string, string)[])[("model", place), (".model.fude.old", aside), (".model.fude", pending)])
            if (content.Length > 0) Fill(name, content == "old" ? [("weights", content), ("notes.md", "日記")] : [("weights", content)]);
        WholeFolder.Heal(_folder["model"], name => name == "notes.md");
        Assert.Equal(expected.Length > 0 ? ["model"] : [], Names(""));
        if (expected.Length == 0) return;
        Assert.Equal(expected, Read("model/weights"));
        if (place == "old" || aside == "old") Assert.Equal("日記", Read("model/notes.md"));
    }

    [Fact]
    public void Where_the_folder_is_a_link_what_it_leads_to_is_replaced()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets few users make links.");
        _ = Directory.CreateDirectory(_folder["disk"]);
        Fill("disk/model", ("weights", "old"));
        _ = Directory.CreateSymbolicLink(_folder["model"], _folder["disk/model"]);
        WholeFolder.Write(_folder["model"], pending => Fill(pending, ("weights", "new")));
        Assert.NotNull(new DirectoryInfo(_folder["model"]).LinkTarget);
        Assert.Equal(("new", "new"), (Read("disk/model/weights"), Read("model/weights")));
        Assert.Equal(["model"], Names("disk"));
    }

    public void Dispose() => _folder.Dispose();

    private void Fill(string name, params (string File, string Content)[] files)
    {
        _ = Directory.CreateDirectory(_folder[name]);
        foreach ((string file, string content) in files) File.WriteAllText(Path.Combine(_folder[name], file), content);
    }

    private string Read(string name) => File.ReadAllText(_folder[name]);

    private string[] Names(string name) => [.. Directory.EnumerateFileSystemEntries(_folder[name]).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];
}
