using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Fude.Tokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Corpus;

/// <summary>Which tokenizer a shard is of: beside NAME.bin and NAME.idx, fude keeps NAME.tokenizer with the number of its pieces and a fingerprint of
/// them. Ids of another vocabulary of the same size would be learnt without an error.</summary>
/// <remarks>Scores and rules do not count, nor do tokens that were added later: ids mean the same with them.</remarks>
public static class ShardTokenizer
{
    /// <summary>How the name of the file ends.</summary>
    internal const string Extension = ".tokenizer";

    /// <summary>Refuses a tokenizer that a shard is not of. Shards that other programs wrote do not say.</summary>
    /// <param name="shard">The shard.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="place">Where it is, for the message.</param>
    /// <exception cref="InvalidDataException">The shard is of another one.</exception>
    public static void Require(TokenShard shard, Tokenizer tokenizer, string place)
    {
        ArgumentNullException.ThrowIfNull(shard);
        ArgumentNullException.ThrowIfNull(tokenizer);
        string file = shard.Path + Extension;
        if (!File.Exists(file)) return;
        string[] words = WordsOf(file);
        if (words.Length != 2 || !int.TryParse(words[0], NumberStyles.None, CultureInfo.InvariantCulture, out int count))
            throw new InvalidDataException(Say(
                $"{file} should hold the number of a tokenizer's pieces and a fingerprint of them, but does not. Remove it, or tokenize the texts anew.",
                $"{file} に、トークナイザーの語の数とそのハッシュ値がありません。このファイルを削除するか、テキストをもう一度トークン化してください。"));
        if (count > tokenizer.VocabularySize || Fingerprint(tokenizer, count) != words[1])
            throw new InvalidDataException(Say(
                $"{shard.Path} is of another tokenizer than {place}: their pieces differ. Tokenize the texts with the latter (fude corpus tokenize), or give the former; " +
                $"if you know that they are the same, remove {file}.",
                $"{shard.Path} は {place} と異なるトークナイザーのシャードです（語が一致しません）。{place} でテキストをトークン化し直すか（fude corpus tokenize）、" +
                $"元のトークナイザーを指定してください。同じものだと分かっている場合は {file} を削除してください。"));
    }

    /// <summary>Refuses tokens of a document that are beyond a vocabulary: what can be known of a shard that does not say whose it is.</summary>
    /// <param name="shard">The shard.</param>
    /// <param name="document">Which of its documents.</param>
    /// <param name="tokens">Tokens of it.</param>
    /// <param name="vocabulary">Entries of the vocabulary.</param>
    /// <param name="whose">The vocabulary, for the message.</param>
    /// <exception cref="InvalidDataException">One is.</exception>
    public static void RequireWithin(TokenShard shard, int document, ReadOnlySpan<int> tokens, int vocabulary, string whose)
    {
        ArgumentNullException.ThrowIfNull(shard);
        foreach (int token in tokens)
            if ((uint)token >= (uint)vocabulary)
                throw new InvalidDataException(Say(
                    $"{shard.Path}: document {document} has token {token}, but the {whose} has {vocabulary} entries. The shard is of another tokenizer.",
                    $"{shard.Path}: 文書 {document} にトークン {token} がありますが、{whose}は {vocabulary} 語です。別のトークナイザーのシャードです。"));
    }

    /// <summary>Writes it beside a shard; it is on the disk then.</summary>
    internal static void Write(string path, Tokenizer tokenizer)
    {
        string text = string.Create(CultureInfo.InvariantCulture, $"{tokenizer.VocabularySize} {Fingerprint(tokenizer, tokenizer.VocabularySize)}\n");
        using FileStream file = new(path + Extension, FileMode.CreateNew, FileAccess.Write, FileShare.None);
        file.Write(Encoding.UTF8.GetBytes(text));
        file.Flush(flushToDisk: true);
    }

    // Of a file that is longer than such a one can be: none.
    private static string[] WordsOf(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read);
        using StreamReader text = new(stream);
        return stream.Length > 100 ? [] : text.ReadToEnd().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
    }

    // The first 16 hexadecimal digits of the SHA-256 of the first ids' pieces.
    private static string Fingerprint(Tokenizer tokenizer, int count)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> head = stackalloc byte[8];
        foreach (VocabularyPiece piece in tokenizer.Pieces)
        {
            if (piece.Id >= count) continue;
            BinaryPrimitives.WriteInt32LittleEndian(head, piece.Id);
            BinaryPrimitives.WriteInt32LittleEndian(head[4..], piece.Text.Length);
            hash.AppendData(head);
            hash.AppendData(MemoryMarshal.AsBytes(piece.Text.AsSpan()));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 8));
    }
}
