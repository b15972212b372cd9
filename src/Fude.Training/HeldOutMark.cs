using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Fude.Training;

/// <summary>Tells what is held out from other such texts, by the SHA-256 of its tokens: losses on different ones do not compare.</summary>
internal static class HeldOutMark
{
    /// <summary>Of rows of text; how many of them a batch has does not matter.</summary>
    public static string Of(IReadOnlyList<SupervisedBatch> batches) => Of([.. batches.Select(batch => batch.Batch.Tokens), .. batches.Select(batch => batch.Targets)]);

    /// <summary>Of preferences.</summary>
    public static string Of(IReadOnlyList<JudgedPair> pairs) => Of(pairs.SelectMany(judged =>
        (int[][])[[judged.Pair.Prompt.Length, judged.Pair.Chosen.Length], judged.Pair.Prompt, judged.Pair.Chosen, judged.Pair.Rejected]));

    private static string Of(IEnumerable<int[]> lists)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (int[] list in lists) hash.AppendData(MemoryMarshal.AsBytes<int>(list));
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 8));
    }
}
