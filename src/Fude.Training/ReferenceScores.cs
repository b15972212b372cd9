using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>What the reference model of a preference training thinks of every pair: computed once and kept in a file.</summary>
/// <remarks>The file begins with a fingerprint of the reference's files and of the pairs' tokens. Another model or other pairs do not find
/// their own in it, so the scores are computed anew. A run that ends while they are computed goes on where it was.</remarks>
public static class ReferenceScores
{
    private const int HeaderBytes = 48;
    private const string PartEnding = ".part";

    /// <summary>The scores of all pairs: from the file when it has them, else computed and written to it.</summary>
    /// <param name="file">Where they are kept.</param>
    /// <param name="modelFolder">The reference's folder, whose config.json and weights are part of the fingerprint; or its GGUF file.</param>
    /// <param name="pairs">The pairs.</param>
    /// <param name="score">Computes: <see cref="Learner.Score(PreferencePair)"/> of the reference, or of the model in training with its
    /// adapter off.</param>
    /// <param name="progress">Told how many pairs are done, when they have to be computed; or null.</param>
    /// <param name="variant">What else the scores depend on: the format that the reference's weights are quantised to, and
    /// whether products are rounded.</param>
    /// <exception cref="InvalidDataException">The file is of these, and damaged.</exception>
    public static AnswerScores[] Of(
        string file, string modelFolder, IReadOnlyList<PreferencePair> pairs, Func<PreferencePair, AnswerScores> score, Action<int>? progress = null,
        string variant = "")
    {
        ArgumentNullException.ThrowIfNull(pairs);
        ArgumentNullException.ThrowIfNull(score);
        byte[] header = Header(modelFolder, pairs, variant);
        if (Read(file, header, pairs.Count) is { } known) return known;
        // Pair by pair beside the file, and under its name when all are there: what was judged before the run was stopped or killed is not judged again.
        string pending = file + PartEnding;
        AnswerScores[] scores = new AnswerScores[pairs.Count];
        using (FileStream stream = new(pending, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1))
        {
            int done = ReadPart(stream, header, scores);
            if (done == 0) stream.SetLength(0);
            stream.Position = 0;
            stream.Write(header);
            stream.SetLength(stream.Position = HeaderBytes + (done * 16L));
            for (int i = done; i < scores.Length; i++)
            {
                scores[i] = score(pairs[i]);
                if (!IsScore(scores[i]))
                    throw new DivergenceException(Say(
                        $"The reference gives pair {i + 1} the log-probabilities {scores[i].Chosen} and {scores[i].Rejected}.",
                        $"参照モデルによる組 {i + 1} の対数確率が {scores[i].Chosen} と {scores[i].Rejected} になりました。"));
                stream.Write(MemoryMarshal.AsBytes(scores.AsSpan(i, 1)));
                progress?.Invoke(i + 1);
            }
            stream.Flush(flushToDisk: true);
        }
        File.Move(pending, file, overwrite: true);
        return scores;
    }

    private static bool IsScore(AnswerScores scores) => double.IsFinite(scores.Chosen) && double.IsFinite(scores.Rejected);

    // How many pairs of these a run that ended early has judged. Where the machine ended with it, nulls may be all that the disk got.
    private static int ReadPart(FileStream stream, byte[] header, AnswerScores[] scores)
    {
        byte[] found = new byte[HeaderBytes];
        if (stream.ReadAtLeast(found, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes || !found.AsSpan().SequenceEqual(header)) return 0;
        int whole = stream.ReadAtLeast(MemoryMarshal.AsBytes(scores.AsSpan()), scores.Length * 16, throwOnEndOfStream: false) / 16;
        int bad = Array.FindIndex(scores, 0, whole, one => !IsScore(one) || one == default);
        return bad < 0 ? whole : bad;
    }

    private static AnswerScores[]? Read(string file, byte[] header, int count)
    {
        if (!File.Exists(file) || new FileInfo(file).Length != HeaderBytes + (long)count * 16) return null;
        using FileStream stream = File.OpenRead(file);
        byte[] found = new byte[HeaderBytes];
        stream.ReadExactly(found);
        if (!found.AsSpan().SequenceEqual(header)) return null;
        AnswerScores[] scores = new AnswerScores[count];
        stream.ReadExactly(MemoryMarshal.AsBytes(scores.AsSpan()));
        // None is ever written: see above.
        if (Array.FindIndex(scores, one => !IsScore(one)) is >= 0 and int bad)
            throw new InvalidDataException(Say(
                $"{file}: the reference's log-probabilities of pair {bad + 1} are {scores[bad].Chosen} and {scores[bad].Rejected}: the file is damaged. Delete it: the " +
                "reference then judges all pairs again.",
                $"{file}: 参照モデルによる組 {bad + 1} の対数確率が {scores[bad].Chosen} と {scores[bad].Rejected} です。ファイルが壊れています。" +
                "削除すると、参照モデルによる評価をすべてやり直します。"));
        return scores;
    }

    private static byte[] Header(string modelFolder, IReadOnlyList<PreferencePair> pairs, string variant)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, long length, byte[] content) in ModelFingerprint.Files(modelFolder))
        {
            Add(MemoryMarshal.AsBytes(name.AsSpan()));
            Length(length);
            hash.AppendData(content);
        }
        Add(MemoryMarshal.AsBytes(variant.AsSpan()));
        foreach (PreferencePair pair in pairs)
        {
            Add(MemoryMarshal.AsBytes<int>(pair.Prompt));
            Add(MemoryMarshal.AsBytes<int>(pair.Chosen));
            Add(MemoryMarshal.AsBytes<int>(pair.Rejected));
        }
        byte[] header = new byte[HeaderBytes];
        "FUDEREF1"u8.CopyTo(header);
        hash.GetHashAndReset().CopyTo(header.AsSpan(8));
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(40), pairs.Count);
        return header;

        // With its length before it, no part can pass for two.
        void Add(ReadOnlySpan<byte> bytes)
        {
            Length(bytes.Length);
            hash.AppendData(bytes);
        }

        void Length(long length)
        {
            Span<byte> number = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(number, length);
            hash.AppendData(number);
        }
    }
}
