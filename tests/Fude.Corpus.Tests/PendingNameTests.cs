using Fude.TestData;

namespace Fude.Corpus.Tests;

public sealed class PendingNameTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_a_killed_process_left_goes_and_nothing_else_does()
    {
        string[] others = [
            _folder.Write(".a.jsonl.notes", "x"), _folder.Write(".a.jsonl.abcdefgh.xy", "x"), _folder.Write(".a.jsonl.abcdefgh.xyz.bin", "x"),
            _folder.Write(".b.jsonl.abcdefgh.xyz", "x"), _folder.Write("a.jsonl", "x"), _folder.Write(".a.jsonl.ABCDEFGH.xyz", "x"),
        ];
        _folder.Write(".a.jsonl.k3lp0q2z.4gt", "half");
        using (JsonLinesFile file = new(_folder["a.jsonl"])) Assert.Equal(others.Length + 1, Directory.GetFiles(_folder.Path).Length);
        Assert.Equal(others.Order(StringComparer.Ordinal), Directory.GetFiles(_folder.Path).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void What_another_still_writes_stays()
    {
        string path = _folder["a.jsonl"];
        using JsonLinesFile one = new(path), other = new(path);
        one.Add(json => json.WriteNumber("n", 1));
        other.Complete();
        one.Complete();
        Assert.Equal("{\"n\":1}\n", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void All_files_of_a_shard_go()
    {
        foreach (string left in (string[])[".s.abcdefgh.xyz.bin", ".s.abcdefgh.xyz.idx", ".s.abcdefgh.xyz.tokenizer"]) _folder.Write(left, "half");
        string kept = _folder.Write(".s.abcdefgh.xyz", "x");
        using (TokenShardWriter shard = new(_folder["s"], 10))
        {
            shard.Add([1, 2]);
            shard.Complete();
        }
        Assert.Equal([kept, _folder["s.bin"], _folder["s.idx"]], Directory.GetFiles(_folder.Path).Order(StringComparer.Ordinal));
    }
}
