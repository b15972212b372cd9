using System.Security.Cryptography;
using Fude.TestData;

namespace Fude.Training.Tests;

public sealed class ModelFingerprintTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void A_model_that_links_lead_to_is_the_model()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets few users make links.");
        foreach (string folder in (string[])["m", "linked"]) _ = Directory.CreateDirectory(_folder[folder]);
        byte[] weights = [.. Enumerable.Range(0, 500).Select(i => (byte)(7 * i))];
        string config = _folder.Write("m/config.json", "{}"), file = _folder.Write("m/model.safetensors", weights);
        foreach (string path in (string[])[config, file]) _ = File.CreateSymbolicLink(Path.Combine(_folder["linked"], Path.GetFileName(path)), path);
        (string Name, long Length, byte[] Hash)[] own = [.. ModelFingerprint.Files(_folder["m"])], linked = [.. ModelFingerprint.Files(_folder["linked"])];
        Assert.Equal([("config.json", 2L), ("model.safetensors", 500L)], own.Select(one => (one.Name, one.Length)));
        Assert.Equal(SHA256.HashData(weights), own[1].Hash);
        Assert.Equal(own.Select(one => (one.Name, one.Length, Convert.ToHexString(one.Hash))), linked.Select(one => (one.Name, one.Length, Convert.ToHexString(one.Hash))));
        Assert.Equal(ModelFingerprint.Of(_folder["m"]), ModelFingerprint.Of(_folder["linked"]));

        string gguf = _folder.Write("m.gguf", weights);
        _ = File.CreateSymbolicLink(_folder["linked.gguf"], gguf);
        Assert.Equal([("", 500L)], ModelFingerprint.Files(gguf).Select(one => (one.Name, one.Length)));
        Assert.Equal([("", 500L)], ModelFingerprint.Files(_folder["linked.gguf"]).Select(one => (one.Name, one.Length)));
        Assert.Equal(ModelFingerprint.OfTokenizer(gguf), ModelFingerprint.OfTokenizer(_folder["linked.gguf"]));
    }

    public void Dispose() => _folder.Dispose();
}
