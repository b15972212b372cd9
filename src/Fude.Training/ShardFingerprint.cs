using System.Globalization;
using System.Security.Cryptography;
using Fude.Corpus;
using Fude.Tokenizers.Files;

namespace Fude.Training;

/// <summary>Tells the tokens of shards apart, beside their indices: others of the same lengths are other data.</summary>
/// <remarks>SHA-256 of all bytes up to 1 GiB. Of a larger file it takes its length and as much of it, in 16,384 blocks at places spread evenly from the first
/// byte to the last: a second or so for each shard at every start of a run, whatever
/// its size, where the disk is quick. A shard that was made anew differs in nearly all of them.</remarks>
internal static class ShardFingerprint
{
    internal const int BlockBytes = 1 << 16, Blocks = 1 << 14;

    /// <summary>The tokens of a shard as a trait of a run; runs that earlier versions began have not noted it.</summary>
    /// <param name="name">What the shard is to the run.</param>
    /// <param name="path">Its path, without .bin.</param>
    public static RunTrait Of(string name, string path) => new($"{name} tokens", OfFile($"{path}.bin"), path) { IsLater = true };

    /// <summary>Whether two shards are one, or hold the same.</summary>
    public static bool AreOne(TokenShard one, TokenShard other) => RealPath.AreOne(one.Path + ".bin", other.Path + ".bin")
        || (one.Documents == other.Documents && one.Tokens == other.Tokens && RunIdentity.FingerprintOf(one.Path + ".idx") == RunIdentity.FingerprintOf(other.Path + ".idx")
            && OfFile(one.Path + ".bin") == OfFile(other.Path + ".bin"));

    /// <summary>A short fingerprint of a file.</summary>
    internal static string OfFile(string file, int blocks = Blocks, int blockBytes = BlockBytes)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        long length = stream.Length, room = length - blockBytes;
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(System.Text.Encoding.ASCII.GetBytes(length.ToString(CultureInfo.InvariantCulture)));
        byte[] block = new byte[blockBytes];
        if (length <= (long)blocks * blockBytes)
            for (int read; (read = stream.Read(block)) > 0;) hash.AppendData(block.AsSpan(0, read));
        else
            for (int i = 0; i < blocks; i++)
            {
                stream.Position = (long)((Int128)room * i / (blocks - 1));
                stream.ReadExactly(block);
                hash.AppendData(block);
            }
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 8));
    }
}
