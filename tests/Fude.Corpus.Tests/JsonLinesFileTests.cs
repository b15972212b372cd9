using System.IO.Compression;
using Fude.TestData;

namespace Fude.Corpus.Tests;

public sealed class JsonLinesFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void A_file_appears_when_it_is_complete_and_replaces_the_one_before()
    {
        string path = _folder.Write("a.jsonl", "before");
        using (JsonLinesFile file = new(path))
        {
            file.Add(json => json.WriteString("text", "猫\n「犬」<&>"));
            file.Add(json => json.WriteNumber("n", 1));
            Assert.Equal("before", File.ReadAllText(path));
            file.Complete();
            Assert.Equal(2, file.Lines);
        }
        Assert.Equal("{\"text\":\"猫\\n「犬」<&>\"}\n{\"n\":1}\n", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void One_that_is_not_completed_leaves_nothing()
    {
        string path = _folder["new/a.jsonl.gz"];
        using (JsonLinesFile file = new(path)) file.Add(json => json.WriteNumber("n", 1));
        Assert.Empty(Directory.GetFiles(_folder["new"]));
    }

    [Fact]
    public void A_name_of_gzip_packs_it()
    {
        string path = _folder["a.jsonl.gz"];
        using (JsonLinesFile file = new(path))
        {
            file.Add(json => json.WriteNumber("n", 1));
            file.Complete();
        }
        using StreamReader reader = new(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
        Assert.Equal("{\"n\":1}\n", reader.ReadToEnd());
    }

    public void Dispose() => _folder.Dispose();
}
