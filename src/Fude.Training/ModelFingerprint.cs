using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Fude.Training;

/// <summary>Tells models apart by the bytes of config.json and the weights, or of the GGUF file.</summary>
internal static class ModelFingerprint
{
    /// <summary>A short fingerprint of a model.</summary>
    public static string Of(string path)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, _, byte[] content) in Files(path))
        {
            hash.AppendData(SHA256.HashData(MemoryMarshal.AsBytes(name.AsSpan())));
            hash.AppendData(content);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 8));
    }

    /// <summary>The files a model is made of, with their lengths and the SHA-256 of their bytes, in ordinal order.</summary>
    public static IEnumerable<(string Name, long Length, byte[] Hash)> Files(string path)
    {
        if (File.Exists(path))
        {
            yield return ("", new FileInfo(path).Length, HashOf(path));
            yield break;
        }
        foreach (string file in Directory.EnumerateFiles(path).Order(StringComparer.Ordinal))
            if (Path.GetExtension(file) is ".safetensors" or ".bin" || Path.GetFileName(file) == "config.json")
                yield return (Path.GetFileName(file), new FileInfo(file).Length, HashOf(file));
    }

    private static byte[] HashOf(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20, FileOptions.SequentialScan);
        return SHA256.HashData(stream);
    }
}
