using System.Security.Cryptography;
using System.Text;

namespace Fude.Cli;

/// <summary>Fingerprints of what lies at a path: a file, a folder with all it holds, or a token shard (NAME for NAME.bin and NAME.idx).</summary>
internal static class Fingerprint
{
    /// <summary>Whether there is something at a path.</summary>
    public static bool Exists(string path) => File.Exists(path) || Directory.Exists(path) || IsShard(path);

    /// <summary>The SHA-256 of what lies at a path: of its names and contents, not of dates. Null where nothing is.</summary>
    public static string? Of(string path, CancellationToken stop)
    {
        if (File.Exists(path)) return OfFile(path);
        bool isFolder = Directory.Exists(path);
        if (!isFolder && !IsShard(path)) return null;
        string[] files = isFolder
            ? [.. Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)]
            : [path + ".bin", path + ".idx"];
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in files)
        {
            stop.ThrowIfCancellationRequested();
            string name = isFolder ? Path.GetRelativePath(path, file).Replace('\\', '/') : file[^4..];
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\0{OfFile(file)}\n"));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The SHA-256 of a text.</summary>
    public static string OfText(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static bool IsShard(string path) => File.Exists(path + ".bin") && File.Exists(path + ".idx");

    private static string OfFile(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 20);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
