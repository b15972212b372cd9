using System.Runtime.InteropServices;

namespace Fude.Tokenizers.Training;

/// <summary>The positions of a text in the order of the suffixes that begin there, in linear time by induced sorting.</summary>
/// <remarks>
/// SA-IS: Nong, Zhang and Chan, "Linear Suffix Array Construction by Almost Pure Induced-Sorting", 2009. A suffix is of type S if it is
/// smaller than the one after it, of type L if larger; the leftmost S of a run (LMS) is where sorting begins. Works in 8 bytes a
/// character beside the text and the result, and half of it again in each recursion.
/// </remarks>
internal static unsafe class SuffixArray
{
    /// <summary>The suffix array of a text whose characters are in [0, <paramref name="alphabet"/>).</summary>
    internal static int[] Build(ReadOnlySpan<int> text, int alphabet, CancellationToken stop = default)
    {
        int[] suffixes = GC.AllocateUninitializedArray<int>(text.Length);
        fixed (int* s = text, sa = suffixes) Build(s, sa, text.Length, alphabet, stop);
        return suffixes;
    }

    private static void Build(int* text, int* suffixes, int n, int alphabet, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        if (n < 2)
        {
            if (n == 1) suffixes[0] = 0;
            return;
        }

        // typed[i] = 2·text[i] + (1 if suffix i is of type S): one read tells both.
        int* typed = Allocate(n);
        int* nameOf = null;
        int[] lTypes = new int[alphabet + 1], sTypes = new int[alphabet + 1], next = new int[alphabet + 1];
        try
        {
            typed[n - 1] = text[n - 1] << 1;
            for (int i = n - 2; i >= 0; i--)
            {
                int here = text[i] << 1, after = typed[i + 1];
                typed[i] = here | (here == (after & ~1) ? after & 1 : here < after ? 1 : 0);
            }

            // The bucket of c holds its L suffixes, from lTypes[c], then its S suffixes, from sTypes[c].
            int lmsCount = 0;
            for (int i = 0; i < n; i++)
            {
                if ((typed[i] & 1) == 0) sTypes[typed[i] >> 1]++;
                else lTypes[(typed[i] >> 1) + 1]++;
                if (IsLms(typed, i)) lmsCount++;
            }
            for (int c = 0; c <= alphabet; c++)
            {
                sTypes[c] += lTypes[c];
                if (c < alphabet) lTypes[c + 1] += sTypes[c];
            }

            int* lms = Allocate(lmsCount * 2);
            try
            {
                int* sorted = lms + lmsCount;
                int count = 0;
                for (int i = 1; i < n; i++)
                    if (IsLms(typed, i)) lms[count++] = i;
                Induce(typed, suffixes, n, lms, lmsCount, lTypes, sTypes, next, stop);
                if (lmsCount == 0) return;

                // Name the LMS substrings, which are now sorted; equal ones get the same name.
                count = 0;
                for (int i = 0; i < n; i++)
                    if (IsLms(typed, suffixes[i])) sorted[count++] = suffixes[i];
                nameOf = Allocate(n);
                for (int i = 0; i < lmsCount; i++) nameOf[lms[i]] = i;          // first the ordinal, to find where a substring ends
                int* names = Allocate(lmsCount);
                try
                {
                    int name = 0;
                    names[nameOf[sorted[0]]] = 0;
                    for (int i = 1; i < lmsCount; i++)
                    {
                        int left = sorted[i - 1], right = sorted[i];
                        int leftOrdinal = nameOf[left], rightOrdinal = nameOf[right];
                        int leftEnd = leftOrdinal + 1 < lmsCount ? lms[leftOrdinal + 1] : n;
                        int rightEnd = rightOrdinal + 1 < lmsCount ? lms[rightOrdinal + 1] : n;
                        bool same = leftEnd - left == rightEnd - right && leftEnd < n && rightEnd < n;
                        for (int k = 0; same && k <= leftEnd - left; k++) same = typed[left + k] == typed[right + k];
                        if (!same) name++;
                        names[rightOrdinal] = name;
                    }
                    Free(ref nameOf);
                    int* order = Allocate(lmsCount);
                    try
                    {
                        if (name + 1 == lmsCount)
                            for (int i = 0; i < lmsCount; i++) order[names[i]] = i;
                        else
                            Build(names, order, lmsCount, name + 1, stop);
                        for (int i = 0; i < lmsCount; i++) sorted[i] = lms[order[i]];
                    }
                    finally
                    {
                        Free(ref order);
                    }
                }
                finally
                {
                    Free(ref names);
                }
                Induce(typed, suffixes, n, sorted, lmsCount, lTypes, sTypes, next, stop);
            }
            finally
            {
                Free(ref lms);
            }
        }
        finally
        {
            Free(ref typed);
            Free(ref nameOf);
        }
    }

    private static bool IsLms(int* typed, int i) => i > 0 && (typed[i] & 1) != 0 && (typed[i - 1] & 1) == 0;

    /// <summary>From the LMS suffixes in some order, sorts the L suffixes forwards and the S suffixes backwards.</summary>
    private static void Induce(
        int* typed, int* suffixes, int n, int* lms, int lmsCount, int[] lTypes, int[] sTypes, int[] next, CancellationToken stop)
    {
        new Span<int>(suffixes, n).Fill(-1);
        fixed (int* place = next)
        {
            sTypes.CopyTo(next, 0);
            for (int i = 0; i < lmsCount; i++) suffixes[place[typed[lms[i]] >> 1]++] = lms[i];
            stop.ThrowIfCancellationRequested();

            lTypes.CopyTo(next, 0);
            suffixes[place[typed[n - 1] >> 1]++] = n - 1;
            for (int i = 0; i < n; i++)
            {
                int before = suffixes[i] - 1;
                if (before < 0) continue;
                int character = typed[before];
                if ((character & 1) == 0) suffixes[place[character >> 1]++] = before;
            }
            stop.ThrowIfCancellationRequested();

            lTypes.CopyTo(next, 0);
            for (int i = n - 1; i >= 0; i--)
            {
                int before = suffixes[i] - 1;
                if (before < 0) continue;
                int character = typed[before];
                if ((character & 1) != 0) suffixes[--place[(character >> 1) + 1]] = before;
            }
        }
    }

    private static int* Allocate(int count) => (int*)NativeMemory.Alloc((nuint)Math.Max(1, count), sizeof(int));

    private static void Free(ref int* memory)
    {
        NativeMemory.Free(memory);
        memory = null;
    }
}
