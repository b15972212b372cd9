using System.Numerics;

namespace Fude.Tokenizers.Training;

/// <summary>
/// The candidates that unigram training begins with: every character, and of the stretches that occur at least twice and cannot be made
/// longer without occurring less often, those that cover most characters (Kudo, 2018, section 3.2).
/// </summary>
/// <remarks>
/// They are the inner nodes of a suffix tree, read off a suffix array and its longest common prefixes with a stack (Abouelhoda, Kurtz and
/// Ohlebusch, 2004). Equal stretches of text stand in the array once, and count as often as they occur.
/// </remarks>
internal static class SeedPieces
{
    // Beyond this, the array is made of a part of the stretches of text, taken by a hash: about 20 bytes a character.
    private const int LongestText = 200_000_000;

    internal static CandidateSet Find(
        TrainingCorpus corpus, PieceRules rules, TokenizerTrainerOptions options, IProgress<TrainingProgress>? progress, CancellationToken stop)
    {
        List<double> scores = [];
        Report(0);
        (int[] text, uint[] weightAt) = Layout(corpus);
        int[] suffixes = SuffixArray.Build(text, corpus.Alphabet.Length, stop);
        Report(0.5);

        // For neighbours in the array: characters in common, up to one more than a piece may have; and how often each suffix occurs.
        int longest = options.MaxPieceLength;
        ushort[] common = GC.AllocateUninitializedArray<ushort>(suffixes.Length);
        uint[] weights = GC.AllocateUninitializedArray<uint>(suffixes.Length);
        ParallelShare.Run(options.WorkerThreads, suffixes.Length, 1 << 16, (_, first, end) =>
        {
            for (int i = first; i < end; i++)
            {
                int suffix = suffixes[i], before = i == 0 ? suffix : suffixes[i - 1], length = 0;
                weights[i] = weightAt[suffix];
                while (i > 0 && length <= longest && text[suffix + length] != 0 && text[suffix + length] == text[before + length]) length++;
                common[i] = (ushort)length;
            }
        }, stop);
        weightAt = [];
        Report(0.75);

        List<(int Rank, ushort Length, long Score)> candidates = [];
        Repeats(text, suffixes, common, weights, longest, (rank, length, frequency) =>
        {
            Span<int> piece = stackalloc int[length];
            for (int i = 0; i < length; i++) piece[i] = corpus.Alphabet[text[suffixes[rank] + i]];
            if (rules.IsValid(piece)) candidates.Add((rank, (ushort)length, frequency * length));
        }, stop);

        // Every character comes first; then as many of the others as there is room for, by the characters they cover.
        int characters = corpus.Alphabet.Length - 1;
        List<(int Rank, ushort Length, long Score)> chosen = Best(candidates, Math.Max(0, options.SeedPieces - characters));
        int[] firstRank = new int[corpus.Alphabet.Length];
        Array.Fill(firstRank, -1);
        for (int i = suffixes.Length - 1; i >= 0; i--) firstRank[text[suffixes[i]]] = i;
        for (int c = 1; c < firstRank.Length; c++)
            if (firstRank[c] >= 0) chosen.Add((firstRank[c], 1, corpus.CharacterCounts[c]));

        // By rank and length is lexicographic order, with characters that only the options ask for at their places between.
        chosen.Sort((a, b) => a.Rank != b.Rank ? a.Rank.CompareTo(b.Rank) : a.Length.CompareTo(b.Length));
        int absent = firstRank.AsSpan(1).Count(-1);
        double total = chosen.Sum(c => (double)Math.Max(1, c.Score)) + absent, logTotal = Math.Log(total);
        List<int> pool = [], starts = [];
        int next = 1;
        foreach ((int rank, ushort length, long score) in chosen)
        {
            AddAbsent(text[suffixes[rank]]);
            starts.Add(pool.Count);
            pool.AddRange(text.AsSpan(suffixes[rank], length));
            scores.Add(Math.Log(Math.Max(1, score)) - logTotal);
        }
        AddAbsent(firstRank.Length);
        starts.Add(pool.Count);
        Report(1);
        return new CandidateSet { Characters = [.. pool], Starts = [.. starts], Scores = [.. scores] };

        void AddAbsent(int below)
        {
            for (; next < below; next++)
            {
                if (firstRank[next] >= 0) continue;
                starts.Add(pool.Count);
                pool.Add(next);
                scores.Add(-logTotal);
            }
        }

        void Report(double fraction) =>
            progress?.Report(new(TrainingPhase.Seeding, fraction, corpus.Report.Lines, corpus.Characters, (long)(fraction < 1 ? 0 : scores.Count)));
    }

    /// <summary>Calls with (a place in the array, length, frequency) for each repeated stretch that is as long as its frequency lets it be.</summary>
    internal static void Repeats(
        ReadOnlySpan<int> text, ReadOnlySpan<int> suffixes, ReadOnlySpan<ushort> common, ReadOnlySpan<uint> weights, int longest,
        Action<int, int, long> found, CancellationToken stop)
    {
        // Open intervals of suffixes that share a prefix, each longer than the one below: where it begins, and the weight before it.
        Stack<(int Length, int First, long Before)> open = new();
        long sum = 0;
        for (int i = 0; i < suffixes.Length; i++)
        {
            if ((i & 0xFFFFF) == 0) stop.ThrowIfCancellationRequested();
            int here = common[i];
            int first = i;
            long before = sum;
            while (open.TryPeek(out (int Length, int First, long Before) top) && top.Length > here)
            {
                open.Pop();
                (first, before) = (top.First, top.Before);
                if (top.Length >= 2 && top.Length <= longest && sum - top.Before >= 2) found(top.First, top.Length, sum - top.Before);
            }
            if (here > 0 && (!open.TryPeek(out (int Length, int First, long Before) under) || under.Length < here))
            {
                // The interval begins with the suffix before this one, unless it goes on from one just closed.
                if (first == i) (first, before) = (i - 1, sum - weights[i - 1]);
                open.Push((here, first, before));
            }

            // A suffix of a stretch that occurs several times is a repeat by itself, up to the end of the stretch.
            if (weights[i] >= 2)
            {
                int end = suffixes[i], next = i + 1 < suffixes.Length ? common[i + 1] : 0;
                while (end - suffixes[i] <= longest && text[end] != 0) end++;
                int length = end - suffixes[i];
                if (length > here && length > next && length >= 2 && length <= longest) found(i, length, weights[i]);
            }
            sum += weights[i];
        }
        while (open.TryPop(out (int Length, int First, long Before) last))
            if (last.Length >= 2 && last.Length <= longest && sum - last.Before >= 2) found(last.First, last.Length, sum - last.Before);
    }

    /// <summary>The candidates with the highest scores; of equal ones at the limit, those that come first in the array.</summary>
    private static List<(int Rank, ushort Length, long Score)> Best(List<(int Rank, ushort Length, long Score)> candidates, int count)
    {
        if (candidates.Count <= count) return candidates;
        if (count == 0) return [];
        long[] scores = new long[candidates.Count];
        for (int i = 0; i < scores.Length; i++) scores[i] = candidates[i].Score;
        Array.Sort(scores);
        long limit = scores[^count];
        List<(int Rank, ushort Length, long Score)> best = candidates.FindAll(c => c.Score > limit);
        List<(int Rank, ushort Length, long Score)> equal = candidates.FindAll(c => c.Score == limit);
        equal.Sort((a, b) => a.Rank != b.Rank ? a.Rank.CompareTo(b.Rank) : a.Length.CompareTo(b.Length));
        best.AddRange(equal.Take(count - best.Count));
        return best;
    }

    /// <summary>The text to sort, and at each of its places how often it occurs.</summary>
    private static (int[] Text, uint[] WeightAt) Layout(TrainingCorpus corpus)
    {
        int shift = 0;
        while (corpus.Text.Length >> shift > LongestText) shift++;
        int length = 0;
        for (int s = 0; s < corpus.Count; s++)
            if (IsTaken(s)) length += corpus.Segment(s).Length + 1;
        int[] text = GC.AllocateUninitializedArray<int>(length);
        uint[] weightAt = GC.AllocateUninitializedArray<uint>(length);
        int used = 0;
        for (int s = 0; s < corpus.Count; s++)
        {
            if (!IsTaken(s)) continue;
            ReadOnlySpan<int> segment = corpus.Segment(s);
            segment.CopyTo(text.AsSpan(used));
            weightAt.AsSpan(used, segment.Length + 1).Fill((uint)Math.Min(corpus.Weights[s], uint.MaxValue));
            used += segment.Length + 1;
            text[used - 1] = 0;
        }
        return (text, weightAt);

        bool IsTaken(int segment) => shift == 0 || BitOperations.RotateRight((uint)segment * 0x9E3779B9, 7) >> (32 - shift) == 0;
    }
}
