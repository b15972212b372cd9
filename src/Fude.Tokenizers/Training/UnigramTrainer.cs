using System.Numerics;
using Fude.Tokenizers.Pieces;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>
/// Trains a unigram tokenizer: Kudo, "Subword Regularization", 2018, arXiv:1804.10959, with the particulars of SentencePiece's trainer.
/// </summary>
/// <remarks>
/// From a large seed vocabulary, rounds of EM and pruning: each round re-estimates the pieces' probabilities from their expected counts
/// over all segmentations, then drops the pieces whose loss would cost the likelihood least. At the end the pieces that stay are estimated
/// once more, without a prior, so that their probabilities sum to 1 (but for the rounding of scores). The result depends on the text and the options alone.
/// </remarks>
public static class UnigramTrainer
{
    // Pieces that are expected to be used less often than this are dropped at once, as in SentencePiece.
    private const double LeastExpected = 0.5;

    // Pieces are pruned by loss down to this multiple of the vocabulary; of those, the ones stay that save most tokens. Of SentencePiece's 1.1
    // the most probable ones stay, which leaves longer text and a lower likelihood (bench/Fude.Bench/TokenizerTrainingBench.cs).
    private const double NearlyDone = 1.35;

    // Text is cut anew each time when so many times fewer pieces are left.
    private const int WorthCutting = 3;

    // Plain EM steps over the final pieces.
    private const int FinalSteps = 2;

    /// <summary>Trains on text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">What the tokenizer is to look like.</param>
    /// <param name="progress">Hears how far the training is, several times a second at most; null for silence.</param>
    /// <param name="stop">Ends the training early.</param>
    /// <returns>The pieces, exactly as many as asked for.</returns>
    /// <exception cref="ArgumentException">An option is out of range, or the text does not yield so many pieces.</exception>
    /// <exception cref="InvalidDataException">The text is empty or broken.</exception>
    public static TrainedTokenizer Train(
        TrainingText text, TokenizerTrainerOptions options, IProgress<TrainingProgress>? progress = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        PieceRules rules = new(options);
        TrainingCorpus corpus = TrainingCorpus.Read(text, options, rules, null, progress, stop);
        int wanted = WantedPieces(corpus, options);
        CandidateSet pieces = SeedPieces.Find(corpus, rules, options, progress, stop);
        if (pieces.Count < wanted) throw TooFew(options, pieces.Count);
        return new TrainedTokenizer(TokenizerModel.Unigram, Estimate(corpus, pieces, wanted, options, progress, stop), options, corpus.Report);
    }

    /// <summary>
    /// Estimates anew, by EM over a text, the probabilities of a vocabulary's learnt pieces. The pieces stay as they are, in their order:
    /// for vocabularies merged from several trainings.
    /// </summary>
    /// <param name="pieces">The vocabulary. Only the scores of its normal pieces change.</param>
    /// <param name="text">The text to estimate from.</param>
    /// <param name="options">
    /// How text is prepared: normalisation, whitespace, threads. The special and user-defined pieces of <paramref name="pieces"/> are kept
    /// out of the text beside those of the options; the vocabulary's size and shape do not matter here.
    /// </param>
    /// <param name="steps">EM steps.</param>
    /// <param name="progress">Hears how far the work is.</param>
    /// <param name="stop">Ends the work early.</param>
    /// <returns>The same pieces with new scores: natural logarithms of probabilities that sum to 1 over the normal pieces.</returns>
    public static IReadOnlyList<VocabularyPiece> Reestimate(
        IReadOnlyList<VocabularyPiece> pieces, TrainingText text, TokenizerTrainerOptions options, int steps = 4,
        IProgress<TrainingProgress>? progress = null, CancellationToken stop = default) =>
        EstimateAnew(pieces, text, options, steps, progress, stop).Pieces;

    /// <summary><see cref="Reestimate"/>, with what was read.</summary>
    internal static (IReadOnlyList<VocabularyPiece> Pieces, TrainingTextReport Report) EstimateAnew(
        IReadOnlyList<VocabularyPiece> pieces, TrainingText text, TokenizerTrainerOptions options, int steps,
        IProgress<TrainingProgress>? progress, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(pieces);
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(steps, 1);
        Dictionary<string, int> idOf = [];
        for (int id = 0; id < pieces.Count; id++)
            if (pieces[id].Kind == PieceKind.Normal && pieces[id].Text.Length > 0 && !idOf.TryAdd(pieces[id].Text, id))
                throw new ArgumentException(Say(
                    $"The piece '{pieces[id].Text}' is given twice, as {idOf[pieces[id].Text]} and {id}.",
                    $"語 '{pieces[id].Text}' が {idOf[pieces[id].Text]} と {id} に重複しています。"), nameof(pieces));
        if (idOf.Count == 0) throw new ArgumentException(Say(
            "There is no normal piece whose score could be estimated.",
            "スコアを推定できる通常の語がありません。"), nameof(pieces));

        options = options with
        {
            VocabularySize = Vocabulary.MaxSize,
            UserDefinedPieces = [.. options.UserDefinedPieces.Union(pieces.Where(p => p.Kind == PieceKind.UserDefined).Select(p => p.Text))],
            WhitespaceRuns = 0,
        };
        HashSet<string> known = [.. options.MetaPieces().Select(p => p.Text)];
        options = options with
        {
            ControlPieces = [.. options.ControlPieces, .. pieces.Where(p => p.Kind == PieceKind.Control && !known.Contains(p.Text)).Select(p => p.Text)],
        };
        options.Check();

        PieceSegmentation segmentation = new(idOf.Keys);
        TrainingCorpus corpus = TrainingCorpus.Read(text, options, segmentation, segmentation.CodePoints, progress, stop);
        (CandidateSet set, int[] ids) = PieceSegmentation.Number(corpus, idOf, id => pieces[id].Score);
        set = EstimateFinally(corpus, set, steps, options, progress, stop);
        VocabularyPiece[] result = [.. pieces];
        for (int i = 0; i < ids.Length; i++) result[ids[i]] = pieces[ids[i]] with { Score = Rounded(set.Scores[i]) };
        return (result, corpus.Report);
    }

    /// <summary>How many pieces are to be learnt.</summary>
    internal static int WantedPieces(TrainingCorpus corpus, TokenizerTrainerOptions options)
    {
        int given = options.MetaPieces().Count, characters = corpus.Alphabet.Length - 1;
        if (given + characters <= options.VocabularySize) return options.VocabularySize - given;
        throw new ArgumentException(Say(
            FormattableString.Invariant(
                $"VocabularySize is {options.VocabularySize}, but the text needs {characters} characters and the options {given} further pieces: ")
            + FormattableString.Invariant($"at least {given + characters}. Ask for a larger vocabulary, or a lower CharacterCoverage than {options.CharacterCoverage}."),
            FormattableString.Invariant(
                $"VocabularySize が {options.VocabularySize} ですが、テキストの {characters} 文字と、オプションで決まる {given} 語が必要です（合わせて {given + characters} 以上）。")
            + FormattableString.Invariant($"語彙数を増やすか、CharacterCoverage を {options.CharacterCoverage} より下げてください。")));
    }

    internal static ArgumentException TooFew(TokenizerTrainerOptions options, int learnable)
    {
        int most = options.MetaPieces().Count + learnable;
        return new ArgumentException(Say(
            FormattableString.Invariant($"VocabularySize is {options.VocabularySize}, but this text yields {most} pieces at most. Ask for at most {most}, or give more text."),
            FormattableString.Invariant($"VocabularySize が {options.VocabularySize} ですが、このテキストから作れるのは {most} 語までです。{most} 以下にするか、テキストを増やしてください。")));
    }

    /// <summary>Digamma, the derivative of ln Γ: by its recurrence up to 8, then its asymptotic series.</summary>
    internal static double Digamma(double x)
    {
        double result = 0;
        for (; x < 8; x++) result -= 1 / x;
        double inverse = 1 / (x * x);
        return result + Math.Log(x) - (0.5 / x)
            - (inverse * ((1.0 / 12) - (inverse * ((1.0 / 120) - (inverse * ((1.0 / 252) - (inverse * ((1.0 / 240) - (inverse / 132)))))))));
    }

    /// <summary>
    /// To the next 1/1024. Sums over a line are then exact in float32 as in float64 (up to 16,384 nats, some 4,000 characters), so that
    /// SentencePiece and the readers of tokenizer.json meet the same ties and choose the same segmentation. It costs nothing that could be
    /// measured: a probability is off by 1 in 2,000 at most.
    /// </summary>
    private static float Rounded(double score) => (float)(Math.Round(score * 1024) / 1024);

    private static List<VocabularyPiece> Estimate(
        TrainingCorpus corpus, CandidateSet pieces, int wanted, TokenizerTrainerOptions options, IProgress<TrainingProgress>? progress,
        CancellationToken stop)
    {
        int nearly = (int)Math.Min(int.MaxValue, options.VocabularySize * NearlyDone), seeds = pieces.Count;
        int alphabet = corpus.Alphabet.Length;
        int piecesWhenCut = pieces.Count;
        double perCharacter = double.NaN;
        CandidateTrie? trie = null;       // of the pieces at hand, when it is made already
        while (true)
        {
            for (int step = 0; step < options.SubIterations; step++)
            {
                CandidateModel model = new(pieces, alphabet, trie);
                (long[] expected, double unit, perCharacter) = Expect(corpus, model, perCharacter, options.WorkerThreads, stop);
                int before = pieces.Count;
                pieces = Maximize(pieces, expected, unit, wanted);
                trie = pieces.Count == before ? model.Trie : null;
                Report();
            }
            bool last = pieces.Count <= nearly;
            int target = last ? wanted : Math.Max(nearly, (int)(pieces.Count * options.ShrinkingFactor));
            pieces = Prune(corpus, new CandidateModel(pieces, alphabet, trie), target, last, options.WorkerThreads, stop);
            Report();
            if (last) break;

            // Fewer pieces reach across fewer places; cutting and counting anew costs about one EM step.
            trie = new CandidateTrie(pieces, alphabet);
            if (pieces.Count > piecesWhenCut / WorthCutting) continue;
            corpus = corpus.Recut(trie, options.WorkerThreads, stop);
            piecesWhenCut = pieces.Count;
        }

        pieces = EstimateFinally(corpus, pieces, FinalSteps, options, progress, stop);
        List<VocabularyPiece> learnt = [];
        for (int i = 0; i < pieces.Count; i++) learnt.Add(new(0, corpus.StringOf(pieces[i]), Rounded(pieces.Scores[i]), PieceKind.Normal));
        learnt.Sort((a, b) => a.Score != b.Score ? b.Score.CompareTo(a.Score) : string.CompareOrdinal(a.Text, b.Text));
        return learnt;

        void Report()
        {
            double way = seeds <= wanted ? 1 : Math.Log((double)seeds / pieces.Count) / Math.Log((double)seeds / wanted);
            progress?.Report(new(TrainingPhase.Pruning, Math.Clamp(way, 0, 1), corpus.Report.Lines, corpus.Characters, pieces.Count, perCharacter));
        }
    }

    /// <summary>Plain EM over pieces that all stay: the probabilities sum to 1. What is never expected counts as half a time.</summary>
    private static CandidateSet EstimateFinally(
        TrainingCorpus corpus, CandidateSet pieces, int steps, TokenizerTrainerOptions options, IProgress<TrainingProgress>? progress,
        CancellationToken stop)
    {
        CandidateTrie trie = new(pieces, corpus.Alphabet.Length);
        corpus = corpus.Recut(trie, options.WorkerThreads, stop);
        double perCharacter = double.NaN;
        for (int step = 0; step < steps; step++)
        {
            CandidateModel model = new(pieces, corpus.Alphabet.Length, trie);
            (long[] expected, double unit, perCharacter) = Expect(corpus, model, perCharacter, options.WorkerThreads, stop);
            double[] scores = new double[pieces.Count];
            double sum = 0;
            for (int i = 0; i < scores.Length; i++) sum += scores[i] = Math.Max(LeastExpected, expected[i] / unit);
            for (int i = 0; i < scores.Length; i++) scores[i] = Math.Log(scores[i] / sum);
            pieces = new CandidateSet { Characters = pieces.Characters, Starts = pieces.Starts, Scores = scores };
            progress?.Report(new(
                TrainingPhase.Finishing, (step + 1.0) / steps, corpus.Report.Lines, corpus.Characters, pieces.Count, perCharacter));
        }
        return pieces;
    }

    /// <summary>The E step: how often each piece is expected in the text, in units of 1 / unit, and ln P(text) per character.</summary>
    internal static (long[] Expected, double Unit, double PerCharacter) Expect(
        TrainingCorpus corpus, CandidateModel model, double perCharacter, int threads, CancellationToken stop)
    {
        // Fixed point: the sum over all pieces is at most that of all characters, and has to stay below 2⁶².
        int bits = Math.Clamp(61 - BitOperations.Log2((ulong)Math.Max(1, corpus.Characters)), 0, 30);
        double unit = 1L << bits, scale = double.IsNaN(perCharacter) ? 5 : -perCharacter;
        const double LogUnit = 1 << 30;

        double[] weights = UnigramLattice.Weights(model, scale);
        UnigramLattice?[] lattices = new UnigramLattice?[threads];
        long[]?[] counts = new long[]?[threads];
        Int128[] logs = new Int128[threads];
        ParallelShare.Run(threads, corpus.Count, 1024, (worker, first, end) =>
        {
            UnigramLattice lattice = lattices[worker] ??= new UnigramLattice(model, scale, weights);
            long[] expected = counts[worker] ??= new long[model.Pieces.Count];
            Int128 log = 0;
            for (int s = first; s < end; s++)
            {
                double probability = lattice.Expect(corpus.Segment(s), corpus.Weights[s], unit, expected);
                log += (Int128)Math.Round(probability * LogUnit * corpus.Weights[s]);
            }
            logs[worker] += log;
        }, stop);

        long[] sum = counts.First(c => c is not null)!;
        foreach (long[]? other in counts)
            if (other is not null && other != sum)
                for (int i = 0; i < sum.Length; i++) sum[i] += other[i];
        Int128 total = 0;
        foreach (Int128 log in logs) total += log;
        return (sum, unit, (double)total / LogUnit / Math.Max(1, corpus.Characters));
    }

    /// <summary>
    /// The M step, with the digamma of a sparse Dirichlet prior (Liang and Klein, 2007). Drops what is hardly expected, but no character,
    /// and nothing that is needed to reach the wanted size.
    /// </summary>
    internal static CandidateSet Maximize(CandidateSet pieces, long[] expected, double unit, int wanted)
    {
        long least = (long)(LeastExpected * unit);
        bool[] keep = new bool[pieces.Count];
        int kept = 0;
        for (int i = 0; i < keep.Length; i++)
        {
            keep[i] = expected[i] >= least || pieces.Length(i) == 1;
            if (keep[i]) kept++;
        }
        if (kept < wanted)
            foreach (int i in Enumerable.Range(0, keep.Length).Where(i => !keep[i]).OrderByDescending(i => expected[i]).Take(wanted - kept)) keep[i] = true;

        double sum = 0;
        double[] scores = new double[keep.Length];
        for (int i = 0; i < keep.Length; i++)
            if (keep[i]) sum += scores[i] = Math.Max(LeastExpected, expected[i] / unit);
        double logSum = Digamma(sum);
        for (int i = 0; i < keep.Length; i++)
            if (keep[i]) scores[i] = Digamma(scores[i]) - logSum;
        return pieces.Keep(keep, scores);
    }

    /// <summary>
    /// Keeps the pieces whose loss would cost most: what happens if all places of a piece in the best segmentations fell to the best
    /// segmentation of the piece itself into others. The cost is counted in likelihood, or in tokens. Characters always stay.
    /// </summary>
    internal static CandidateSet Prune(TrainingCorpus corpus, CandidateModel model, int target, bool byTokens, int threads, CancellationToken stop)
    {
        CandidateSet pieces = model.Pieces;
        long[] counts = CountInBest(corpus, model, threads, stop);
        double sum = counts.Sum(c => (double)c), logSum = Math.Log(sum);

        // The less, the sooner a piece goes. Those not in any best segmentation, or not best for their own text, go before all others.
        double[] loss = new double[pieces.Count];
        ParallelShare.Run(threads, pieces.Count, 1024, (_, first, end) =>
        {
            UnigramLattice lattice = new(model, 0, []);
            List<int> alternative = [];
            for (int i = first; i < end; i++)
            {
                if (pieces.Length(i) == 1) loss[i] = double.PositiveInfinity;
                else if (counts[i] == 0 || lattice.Best(pieces[i], alternative, without: i) > pieces.Scores[i]) loss[i] = double.NegativeInfinity;
                else if (byTokens) loss[i] = (double)counts[i] * (alternative.Count - 1);
                else
                {
                    double logSumAlternative = Math.Log(sum + ((double)counts[i] * (alternative.Count - 1)));
                    double logAlternative = 0;
                    foreach (int other in alternative)
                        logAlternative += Math.Log((other < 0 ? 0 : (double)counts[other]) + counts[i]) - logSumAlternative;
                    loss[i] = counts[i] * (Math.Log(counts[i]) - logSum - logAlternative);
                }
            }
        }, stop);

        int[] order = new int[pieces.Count];
        for (int i = 0; i < order.Length; i++) order[i] = i;
        Array.Sort(order, (a, b) =>
            loss[a] != loss[b] ? loss[b].CompareTo(loss[a])
            : pieces.Scores[a] != pieces.Scores[b] ? pieces.Scores[b].CompareTo(pieces.Scores[a])
            : a.CompareTo(b));
        bool[] keep = new bool[pieces.Count];
        foreach (int i in order.AsSpan(0, Math.Min(target, order.Length))) keep[i] = true;
        return pieces.Keep(keep, pieces.Scores);
    }

    /// <summary>How often each piece is used in the most probable segmentation of the text.</summary>
    internal static long[] CountInBest(TrainingCorpus corpus, CandidateModel model, int threads, CancellationToken stop)
    {
        UnigramLattice?[] lattices = new UnigramLattice?[threads];
        long[]?[] counts = new long[]?[threads];
        ParallelShare.Run(threads, corpus.Count, 1024, (worker, first, end) =>
        {
            UnigramLattice lattice = lattices[worker] ??= new UnigramLattice(model, 0, []);
            long[] count = counts[worker] ??= new long[model.Pieces.Count];
            List<int> best = [];
            for (int s = first; s < end; s++)
            {
                lattice.Best(corpus.Segment(s), best);
                foreach (int piece in best)
                    if (piece >= 0) count[piece] += corpus.Weights[s];
            }
        }, stop);
        long[] sum = counts.First(c => c is not null)!;
        foreach (long[]? other in counts)
            if (other is not null && other != sum)
                for (int i = 0; i < sum.Length; i++) sum[i] += other[i];
        return sum;
    }
}
