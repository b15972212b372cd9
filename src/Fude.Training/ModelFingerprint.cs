using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Fude.Training;

/// <summary>Tells models apart by all bytes of config.json and the weights, or of the GGUF file, and tokenizers by those of their files.</summary>
/// <remarks>SHA-256 takes a second for one or two gigabytes, about what reading them takes; a sample would let a model pass that was tuned in few
/// places.</remarks>
internal static class ModelFingerprint
{
    // What a folder's tokenizer is read from; of these only what is there.
    private static readonly string[] TokenizerFiles =
    [
        "added_tokens.json", "merges.txt", "special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json",
    ];

    // What a folder's prompt format is read from, besides.
    private static readonly string[] PromptFiles = ["chat_template.jinja", "prompt_format.json"];

    /// <summary>A short fingerprint of a model.</summary>
    public static string Of(string path) => Of(Files(path));

    /// <summary>A short fingerprint of the tokenizer of a folder, or of the file that is or holds one; null where there is none.</summary>
    public static string? OfTokenizer(string path) => File.Exists(path) ? Of([Read("", path)]) : Of(path, TokenizerFiles);

    /// <summary>A short fingerprint of what a folder says of its prompts, tokenizer_config.json left out; null where it says nothing.</summary>
    public static string? OfPrompts(string path) => Of(path, PromptFiles);

    private static string? Of(string folder, string[] names)
    {
        string[] files = [.. names.Select(name => Path.Combine(folder, name)).Where(File.Exists)];
        return files.Length == 0 ? null : Of(files.Select(file => Read(Path.GetFileName(file), file)));
    }

    private static string Of(IEnumerable<(string Name, long Length, byte[] Hash)> files)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, _, byte[] content) in files)
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
            yield return Read("", path);
            yield break;
        }
        foreach (string file in Directory.EnumerateFiles(path).Order(StringComparer.Ordinal))
            if (Path.GetExtension(file) is ".safetensors" or ".bin" || Path.GetFileName(file) == "config.json")
                yield return Read(Path.GetFileName(file), file);
    }

    // The length is that of what is hashed: a FileInfo of a link has the link's.
    private static (string Name, long Length, byte[] Hash) Read(string name, string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20, FileOptions.SequentialScan);
        return (name, stream.Length, SHA256.HashData(stream));
    }
}
