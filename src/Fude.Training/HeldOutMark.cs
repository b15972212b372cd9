using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Fude.Training;

/// <summary>Tells what is held out from other such texts, by the SHA-256 of its tokens: losses on different ones do not compare.</summary>
internal static class HeldOutMark
{
    /// <summary>Of rows of text; how many of them a batch has does not matter.</summary>
    public static string Of(IReadOnlyList<SupervisedBatch> batches) => Of([.. batches.Select(batch => batch.Batch.Tokens), .. batches.Select(batch => batch.Targets)]);

    /// <summary>Of preferences.</summary>
    public static string Of(IReadOnlyList<JudgedPair> pairs) => Of(pairs.SelectMany(judged => ListsOf(judged.Pair)));

    /// <summary>Of one example.</summary>
    public static ulong Of(TrainingExample example) => BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData(MemoryMarshal.AsBytes(example.Tokens)));

    /// <summary>Of one preference.</summary>
    public static ulong Of(PreferencePair pair) => BinaryPrimitives.ReadUInt64BigEndian(Hash(ListsOf(pair)));

    /// <summary>How many of what is held out are also among what is learnt, both by their marks.</summary>
    public static int CountAlsoLearnt(ulong[] heldOut, IEnumerable<ulong> learnt)
    {
        if (heldOut.Length == 0) return 0;
        HashSet<ulong> alsoLearnt = [.. heldOut];
        alsoLearnt.IntersectWith(learnt);
        return heldOut.Count(mark => alsoLearnt.Contains(mark));
    }

    private static int[][] ListsOf(PreferencePair pair) => [[pair.Prompt.Length, pair.Chosen.Length], pair.Prompt, pair.Chosen, pair.Rejected];

    private static string Of(IEnumerable<int[]> lists) => Convert.ToHexStringLower(Hash(lists).AsSpan(0, 8));

    private static byte[] Hash(IEnumerable<int[]> lists)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (int[] list in lists) hash.AppendData(MemoryMarshal.AsBytes<int>(list));
        return hash.GetHashAndReset();
    }
}
