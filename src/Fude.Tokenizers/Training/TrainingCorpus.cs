using System.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>
/// Counted text: every different stretch that no piece can leave or enter, and how often it occurs. Characters are numbered from 1 by
/// falling frequency; 0 ends a stretch.
/// </summary>
internal sealed class TrainingCorpus
{
    // Text without any place to cut is cut all the same after so many chars, or a hostile line would ask for gigabytes.
    private const int LongestSegment = 4096;

    /// <summary>All stretches, each with a 0 after it.</summary>
    internal required int[] Text { get; init; }

    /// <summary>Where each stretch begins in <see cref="Text"/>, and one more: the length of the text.</summary>
    internal required int[] Starts { get; init; }

    /// <summary>How often each stretch occurs.</summary>
    internal required long[] Weights { get; init; }

    /// <summary>The code point of each character number; [0] is -1.</summary>
    internal required int[] Alphabet { get; init; }

    /// <summary>How often each numbered character occurs in all of the text.</summary>
    internal required long[] CharacterCounts { get; init; }

    /// <summary>Characters of all of the text that are numbered, every occurrence.</summary>
    internal required long Characters { get; init; }

    /// <summary>What the reading found.</summary>
    internal required TrainingTextReport Report { get; init; }

    internal int Count => Weights.Length;

    // Whether a character occurs; spaces are everywhere, and tell nothing.
    private bool HasText => Enumerable.Range(1, Alphabet.Length - 1).Any(c => CharacterCounts[c] > 0 && Alphabet[c] != PieceRules.Space);

    internal ReadOnlySpan<int> Segment(int i) => Text.AsSpan(Starts[i], Starts[i + 1] - Starts[i] - 1);

    internal string StringOf(ReadOnlySpan<int> characters)
    {
        StringBuilder text = new(characters.Length);
        Span<char> pair = stackalloc char[2];
        foreach (int c in characters) text.Append(pair[..new Rune(Alphabet[c]).EncodeToUtf16(pair)]);
        return text.ToString();
    }

    /// <summary>Reads, normalises, cuts and counts text.</summary>
    /// <param name="text">The files.</param>
    /// <param name="options">Normalisation, special pieces, coverage, threads.</param>
    /// <param name="segmentation">Where text can be cut.</param>
    /// <param name="alphabet">The code points to number, or null to take those that make up the coverage, and ▁.</param>
    /// <param name="progress">Hears of the reading.</param>
    /// <param name="stop">Ends the work.</param>
    internal static TrainingCorpus Read(
        TrainingText text, TokenizerTrainerOptions options, ISegmentation segmentation, IReadOnlySet<int>? alphabet,
        IProgress<TrainingProgress>? progress, CancellationToken stop)
    {
        const int BatchCharacters = 1 << 19;
        TextPreparation preparation = new(options);
        SegmentCounter segments = new(options.HeldCharacters);
        TrainingText.Tally tally = new();
        long characters = 0;
        if (progress is not null) tally.Advanced = () => progress.Report(new(TrainingPhase.Reading, tally.Fraction, tally.Lines, characters, 0));

        // Lines are read and stretches counted here, in the order of the text; what lies between is done by the other threads.
        Queue<Task<Batch>> ahead = new();
        List<string> lines = [];
        int lineCharacters = 0;
        try
        {
            foreach (string line in text.Read(tally, stop))
            {
                lines.Add(line);
                if ((lineCharacters += line.Length) < BatchCharacters) continue;
                Launch();
                if (ahead.Count >= options.WorkerThreads) Merge(ahead.Dequeue());
            }
            Launch();
            while (ahead.TryDequeue(out Task<Batch>? batch)) Merge(batch);
        }
        finally
        {
            // Nothing runs on after an error; the error at hand is the one to tell of.
            foreach (Task<Batch> batch in ahead) ((IAsyncResult)batch).AsyncWaitHandle.WaitOne();
        }
        progress?.Report(new(TrainingPhase.Reading, 1, tally.Lines, characters, 0));
        if (segments.Count == 0)
            throw new InvalidDataException(Say(
                $"{string.Join(", ", text.Files)}: no text to train on ({tally.Lines} lines that are not empty, {tally.BadLines} broken ones skipped).",
                $"{string.Join(", ", text.Files)}: 学習するテキストがありません（空でない行 {tally.Lines} 行、読み飛ばした壊れた行 {tally.BadLines} 行）。"));
        TrainingCorpus corpus = Build(segments, options, alphabet, new(tally.Lines, tally.BadLines, segments.Thinnings, 0) { FirstBadLines = tally.Passed.First });
        if (alphabet is not null && !corpus.HasText)
            throw new InvalidDataException(Say(
                $"{string.Join(", ", text.Files)}: no piece of the vocabulary has a character of this text, so it tells nothing of them. Give text of the kind " +
                "that the vocabulary is for.",
                $"{string.Join(", ", text.Files)}: このテキストの文字は語彙に 1 つもないため、スコアを推定できません。語彙と同じ言語や分野のテキストを指定してください。"));
        return corpus;

        void Launch()
        {
            if (lines.Count == 0) return;
            List<string> batch = lines;
            ahead.Enqueue(options.WorkerThreads == 1
                ? Task.FromResult(Cut(batch, preparation, segmentation))
                : Task.Run(() => Cut(batch, preparation, segmentation), stop));
            (lines, lineCharacters) = ([], 0);
        }

        void Merge(Task<Batch> task)
        {
            Batch batch = task.GetAwaiter().GetResult();
            int start = 0;
            for (int i = 0; i < batch.Ends.Count; i++)
            {
                segments.Add(batch.Text.AsSpan(start, batch.Ends[i] - start), batch.Hashes[i], 1);
                start = batch.Ends[i];
            }
            characters += batch.Characters;
            progress?.Report(new(TrainingPhase.Reading, tally.Fraction, tally.Lines, characters, 0));
        }
    }

    /// <summary>
    /// The same text, cut also wherever none of the pieces reaches across, and counted anew. Sums over all segmentations stay exactly what
    /// they are, over far fewer characters.
    /// </summary>
    internal TrainingCorpus Recut(CandidateTrie trie, int threads, CancellationToken stop)
    {
        // Each worker marks the cuts of its share of the stretches: a bit for each character before which there is one.
        bool[] cut = GC.AllocateUninitializedArray<bool>(Text.Length);
        ParallelShare.Run(threads, Count, 4096, (_, first, last) =>
        {
            for (int s = first; s < last; s++) trie.MarkCuts(Segment(s), cut.AsSpan(Starts[s]));
        }, stop);

        IdCounter counter = new(Text.Length / 4);
        for (int s = 0; s < Count; s++)
        {
            if ((s & 0xFFFF) == 0) stop.ThrowIfCancellationRequested();
            int end = Starts[s + 1] - 1;
            for (int i = Starts[s]; i < end;)
            {
                int next = i + 1;
                while (next < end && !cut[next]) next++;
                counter.Add(Text.AsSpan(i, next - i), Weights[s]);
                i = next;
            }
        }
        (int[] text, int[] starts, long[] weights) = counter.ToArrays();
        return new TrainingCorpus
        {
            Text = text,
            Starts = starts,
            Weights = weights,
            Alphabet = Alphabet,
            CharacterCounts = CharacterCounts,
            Characters = Characters,
            Report = Report,
        };
    }

    private sealed record Batch(char[] Text, List<int> Ends, List<ulong> Hashes, long Characters);

    private static Batch Cut(List<string> lines, TextPreparation preparation, ISegmentation segmentation)
    {
        char[] output = new char[lines.Sum(l => l.Length + 1) + 16];
        List<int> ends = [];
        List<ulong> hashes = [];
        int[] codePoints = new int[1024];
        bool[] cut = new bool[1024];
        int used = 0;
        long characters = 0;
        foreach (string line in lines)
        {
            string text = preparation.Prepare(line);
            int count = preparation.Decode(text, ref codePoints);
            if (cut.Length < count) cut = new bool[codePoints.Length];
            for (int i = 0; i < count;)
            {
                if (codePoints[i] < 0)
                {
                    i++;
                    continue;
                }
                int end = codePoints.AsSpan(i, count - i).IndexOf(-1);
                end = end < 0 ? count : i + end;
                segmentation.MarkCuts(codePoints.AsSpan(i, end - i), cut.AsSpan(i));
                characters += end - i;
                int start = used;
                for (int k = i; k < end; k++)
                {
                    if (k > i && (cut[k] || used - start >= LongestSegment)) End();
                    if (output.Length - used < 2) Array.Resize(ref output, output.Length * 2);      // normalisation can lengthen text
                    if (codePoints[k] < 0x10000) output[used++] = (char)codePoints[k];
                    else used += new Rune(codePoints[k]).EncodeToUtf16(output.AsSpan(used));
                }
                End();
                i = end;

                void End()
                {
                    ends.Add(used);
                    hashes.Add(SegmentCounter.Hash(output.AsSpan(start, used - start)));
                    start = used;
                }
            }
        }
        return new Batch(output, ends, hashes, characters);
    }

    private static TrainingCorpus Build(
        SegmentCounter segments, TokenizerTrainerOptions options, IReadOnlySet<int>? given, TrainingTextReport report)
    {
        Dictionary<int, long> countOf = [];
        long[] basic = new long[0x10000];
        for (int s = 0; s < segments.Count; s++)
        {
            ReadOnlySpan<char> text = segments.Text(s);
            long weight = segments.Occurrences(s);
            for (int i = 0; i < text.Length; i++)
            {
                if (!char.IsSurrogate(text[i]))
                {
                    basic[text[i]] += weight;
                    continue;
                }
                int c = char.ConvertToUtf32(text[i], text[++i]);
                countOf[c] = countOf.GetValueOrDefault(c) + weight;
            }
        }
        for (int c = 0; c < basic.Length; c++)
            if (basic[c] > 0) countOf[c] = basic[c];
        foreach (Rune required in options.RequiredCharacters.EnumerateRunes())
            if (required.Value != 0) countOf.TryAdd(required.Value == ' ' ? PieceRules.Space : required.Value, 0);

        // Characters by falling frequency, until enough of the text is covered; those required whatever their number.
        HashSet<int> always = given is not null
            ? [.. given]
            : [.. options.RequiredCharacters.EnumerateRunes().Select(r => r.Value == ' ' ? PieceRules.Space : r.Value)];
        foreach (int c in always) countOf.TryAdd(c, 0);
        long total = countOf.Values.Sum(), covered = 0;
        List<int> alphabet = [-1];
        List<long> counts = [0];
        foreach ((int c, long count) in countOf.OrderByDescending(p => always.Contains(p.Key)).ThenByDescending(p => p.Value).ThenBy(p => p.Key))
        {
            if (!always.Contains(c) && (given is not null || covered >= options.CharacterCoverage * total)) break;
            alphabet.Add(c);
            counts.Add(count);
            covered += count;
        }

        // Spaces are ▁ here. Without a piece they would become its bytes, which are that character and no space when they come back.
        if (given is null && !alphabet.Contains((int)PieceRules.Space) && options.MetaPieces().TrueForAll(piece => piece.Text != "▁"))
        {
            long spaces = countOf.GetValueOrDefault((int)PieceRules.Space);
            alphabet.Add(PieceRules.Space);
            counts.Add(spaces);
            covered += spaces;
        }

        int[] order = [.. Enumerable.Range(1, alphabet.Count - 1).OrderByDescending(i => counts[i]).ThenBy(i => alphabet[i]).Prepend(0)];
        if (order[0] != 0) throw new InvalidOperationException("Character number 0 is taken.");
        int[] sortedAlphabet = [.. order.Select(i => alphabet[i])];
        Dictionary<int, int> astral = [];
        int[] numberOf = new int[0x10000];
        for (int i = 1; i < sortedAlphabet.Length; i++)
        {
            if (sortedAlphabet[i] < 0x10000) numberOf[sortedAlphabet[i]] = i;
            else astral[sortedAlphabet[i]] = i;
        }

        List<int> starts = [];
        List<long> weights = [];
        long length = 0;
        for (int s = 0; s < segments.Count; s++) length += segments.Text(s).Length + 1;
        int[] output = GC.AllocateUninitializedArray<int>(checked((int)Math.Min(length, Array.MaxLength)));
        int used = 0;
        for (int s = 0; s < segments.Count; s++)
        {
            ReadOnlySpan<char> text = segments.Text(s);
            int start = used;
            for (int i = 0; i < text.Length; i++)
            {
                int number = !char.IsSurrogate(text[i]) ? numberOf[text[i]] : astral.GetValueOrDefault(char.ConvertToUtf32(text[i], text[++i]));
                if (number != 0) output[used++] = number;
                else End(s);          // a character without a number: no piece holds it
            }
            End(s);

            void End(int segment)
            {
                if (used == start) return;
                output[used++] = 0;
                starts.Add(start);
                weights.Add(segments.Occurrences(segment));
                start = used;
            }
        }
        starts.Add(used);
        return new TrainingCorpus
        {
            Text = output.Length == used ? output : output[..used],
            Starts = [.. starts],
            Weights = [.. weights],
            Alphabet = sortedAlphabet,
            CharacterCounts = [.. order.Select(i => counts[i])],
            Characters = covered,
            Report = report with { Coverage = total == 0 ? 1 : (double)covered / total },
        };
    }
}

/// <summary>What was read for a training.</summary>
/// <param name="Lines">Lines that are not empty.</param>
/// <param name="BadLines">Broken lines that were skipped.</param>
/// <param name="Thinnings">How often rare stretches of text were thinned out to keep to the memory allowed; 0: every count is exact.</param>
/// <param name="Coverage">The share of the characters of the text that have a piece of their own.</param>
public sealed record TrainingTextReport(long Lines, long BadLines, int Thinnings, double Coverage)
{
    /// <summary>The first of the broken lines.</summary>
    public IReadOnlyList<BadLine> FirstBadLines { get; init; } = [];
}

/// <summary>Knows where no piece reaches across.</summary>
internal interface ISegmentation
{
    /// <summary>Sets cuts[i] for each i &gt; 0 such that no piece holds both of characters i - 1 and i; clears the others.</summary>
    void MarkCuts(ReadOnlySpan<int> codePoints, Span<bool> cuts);
}
