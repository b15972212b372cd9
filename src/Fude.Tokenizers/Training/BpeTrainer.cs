using System.Text;

namespace Fude.Tokenizers.Training;

/// <summary>
/// Trains a byte-pair encoding: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016,
/// arXiv:1508.07909, over characters, with SentencePiece's rules for what may be a piece.
/// </summary>
/// <remarks>
/// Again and again the most frequent pair of neighbours becomes one symbol; of equally frequent pairs the shorter, then the one first in
/// the order of code points. A run of three equal symbols holds their pair once. A pair whose text is a piece already is passed over. Every
/// step is exact over the text that is counted: no pair is forgotten for a while as in SentencePiece's list of active symbols. Of a text beyond
/// <see cref="TokenizerTrainerOptions.HeldCharacters"/> the rarest stretches are thinned out first (<see cref="TrainingTextReport.Thinnings"/>).
/// </remarks>
public static class BpeTrainer
{
    /// <summary>Trains on text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">What the tokenizer is to look like.</param>
    /// <param name="progress">Hears how far the training is; null for silence.</param>
    /// <param name="stop">Ends the training early.</param>
    /// <returns>The pieces, exactly as many as asked for: merges in their order, then single characters by falling frequency.</returns>
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
        int characters = corpus.Alphabet.Length - 1, wanted = UnigramTrainer.WantedPieces(corpus, options) - characters;

        Merger merger = new(corpus, rules, progress, stop);
        List<string> pieces = merger.Run(wanted);
        if (pieces.Count < wanted) throw UnigramTrainer.TooFew(options, pieces.Count + characters);
        pieces.AddRange(Enumerable.Range(1, characters).Select(c => char.ConvertFromUtf32(corpus.Alphabet[c])));
        return new TrainedTokenizer(
            TokenizerModel.Bpe, pieces.Select((piece, rank) => new VocabularyPiece(0, piece, -rank, PieceKind.Normal)), options, corpus.Report);
    }

    /// <summary>Two neighbouring symbols, how often they stand side by side, and where they did when the younger of them was made.</summary>
    private sealed class Pair(int left, int right, int length)
    {
        internal readonly int Left = left, Right = right, Length = length;
        internal long Count;            // for two equal symbols an upper bound: neighbours in a run overlap
        internal long Counted = -1;     // for two equal symbols: Count when the true number was last taken
        internal long Queued;           // the number in the queue
        internal int[] Places = [];
        internal int First, End;
    }

    private sealed class Merger : IComparer<Pair>
    {
        private readonly TrainingCorpus _corpus;
        private readonly PieceRules _rules;
        private readonly IProgress<TrainingProgress>? _progress;
        private readonly CancellationToken _stop;

        // At the first character of a symbol stands the symbol, at its last one the complement of it: both neighbours are found from there.
        // Symbols are character numbers first, then merges. 0 ends a stretch.
        private readonly int[] _symbolAt;
        private readonly int[] _segmentAt;
        private readonly List<int[]> _codePoints = [];            // of each symbol
        private readonly Dictionary<long, Pair?> _pairs = [];     // null: may never be a piece
        private readonly PriorityQueue<Pair, Pair> _queue;

        internal Merger(TrainingCorpus corpus, PieceRules rules, IProgress<TrainingProgress>? progress, CancellationToken stop)
        {
            (_corpus, _rules, _progress, _stop) = (corpus, rules, progress, stop);
            _queue = new(this);
            _symbolAt = [.. corpus.Text];
            _segmentAt = new int[_symbolAt.Length];
            for (int s = 0; s < corpus.Count; s++) _segmentAt.AsSpan(corpus.Starts[s]..corpus.Starts[s + 1]).Fill(s);
            foreach (int character in corpus.Alphabet) _codePoints.Add([character]);
        }

        internal List<string> Run(int wanted)
        {
            Report(TrainingPhase.Seeding, 0, 0);
            List<(Pair Pair, int Place)> found = [];
            for (int i = 0; i + 1 < _symbolAt.Length; i++)
            {
                if ((i & 0xFFFFF) == 0) _stop.ThrowIfCancellationRequested();
                if (_symbolAt[i] != 0 && _symbolAt[i + 1] != 0) Found(_symbolAt[i], _symbolAt[i + 1], i, found);
            }
            Queue(found);
            Report(TrainingPhase.Seeding, 1, _pairs.Count);

            List<string> pieces = [];
            HashSet<string> known = [];
            while (pieces.Count < wanted && _queue.TryDequeue(out Pair? best, out _))
            {
                _stop.ThrowIfCancellationRequested();
                if (!IsUpToDate(best)) continue;
                int[] codePoints = [.. _codePoints[best.Left], .. _codePoints[best.Right]];
                StringBuilder text = new();
                foreach (int c in codePoints) text.Append(char.ConvertFromUtf32(c));
                if (!known.Add(text.ToString())) continue;
                pieces.Add(text.ToString());
                _codePoints.Add(codePoints);
                found.Clear();
                Merge(best, _codePoints.Count - 1, found);
                Queue(found);
                if (pieces.Count % 64 == 0 || pieces.Count == wanted) Report(TrainingPhase.Merging, (double)pieces.Count / wanted, pieces.Count);
            }
            return pieces;
        }

        /// <summary>Most frequent first, then shortest, then in the order of code points. No two pairs compare as equal.</summary>
        public int Compare(Pair? x, Pair? y)
        {
            if (x!.Queued != y!.Queued) return y.Queued.CompareTo(x.Queued);
            if (x.Length != y.Length) return x.Length.CompareTo(y.Length);
            (int[] xLeft, int[] xRight, int[] yLeft, int[] yRight) = (_codePoints[x.Left], _codePoints[x.Right], _codePoints[y.Left], _codePoints[y.Right]);
            for (int i = 0; i < x.Length; i++)
            {
                int a = i < xLeft.Length ? xLeft[i] : xRight[i - xLeft.Length], b = i < yLeft.Length ? yLeft[i] : yRight[i - yLeft.Length];
                if (a != b) return a.CompareTo(b);
            }
            return x.Left.CompareTo(y.Left);        // the same text from other parts: the longer known left part last
        }

        /// <summary>Whether the pair is what its place in the queue said; if not, it is queued again with what it is. Numbers only fall.</summary>
        private bool IsUpToDate(Pair pair)
        {
            long count = pair.Count;
            if (pair.Left == pair.Right && count > 0)
            {
                if (pair.Counted == pair.Count) return true;
                pair.Counted = pair.Count;
                count = CountWithoutOverlap(pair);
            }
            else if (pair.Queued == count && count > 0) return true;
            if (count <= 0) return false;
            pair.Queued = count;
            _queue.Enqueue(pair, pair);
            return false;
        }

        private long CountWithoutOverlap(Pair pair)
        {
            long count = 0;
            int length = _codePoints[pair.Left].Length, end = -1;
            for (int k = pair.First; k < pair.End; k++)
            {
                int place = pair.Places[k];
                if (place < end || _symbolAt[place] != pair.Left || _symbolAt[place + length] != pair.Right) continue;
                count += _corpus.Weights[_segmentAt[place]];
                end = place + (2 * length);
            }
            return count;
        }

        private void Merge(Pair best, int merged, List<(Pair Pair, int Place)> found)
        {
            int leftLength = _codePoints[best.Left].Length, length = best.Length;
            for (int k = best.First; k < best.End; k++)
            {
                int place = best.Places[k];
                if (_symbolAt[place] != best.Left || _symbolAt[place + leftLength] != best.Right) continue;
                long weight = _corpus.Weights[_segmentAt[place]];
                int before = place > 0 ? _symbolAt[place - 1] : 0;
                if (before < 0) before = ~before;
                int after = _symbolAt[place + length];
                if (before != 0) Lose(before, best.Left, weight);
                if (after != 0) Lose(best.Right, after, weight);

                // What lay between is no longer the beginning or the end of a symbol.
                _symbolAt[place + leftLength - 1] = _symbolAt[place + leftLength] = int.MinValue;
                _symbolAt[place] = merged;
                _symbolAt[place + length - 1] = ~merged;
                if (before != 0) Found(before, merged, place - _codePoints[before].Length, found);
                if (after != 0) Found(merged, after, place, found);
            }
            best.Count = 0;
            best.Places = [];
            best.First = best.End = 0;
        }

        private void Lose(int left, int right, long weight)
        {
            if (_pairs[Key(left, right)] is Pair pair) pair.Count -= weight;
        }

        private void Found(int left, int right, int place, List<(Pair Pair, int Place)> found)
        {
            ref Pair? pair = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_pairs, Key(left, right), out bool exists);
            if (!exists)
            {
                int[] codePoints = [.. _codePoints[left], .. _codePoints[right]];
                pair = _rules.IsValid(codePoints) ? new Pair(left, right, codePoints.Length) : null;
            }
            if (pair is null) return;
            pair.Count += _corpus.Weights[_segmentAt[place]];
            pair.End++;                 // counts the places, until they are laid out
            found.Add((pair, place));
        }

        /// <summary>Lays the places of new pairs side by side, and queues the pairs.</summary>
        private void Queue(List<(Pair Pair, int Place)> found)
        {
            int[] places = new int[found.Count];
            int used = 0;
            List<Pair> pairs = [];
            foreach ((Pair pair, _) in found)
            {
                if (pair.Places == places) continue;
                pair.Places = places;
                pair.First = used;
                used += pair.End;
                pair.End = pair.First;
                pairs.Add(pair);
            }
            foreach ((Pair pair, int place) in found) places[pair.End++] = place;
            foreach (Pair pair in pairs)
            {
                if (pair.Count <= 0) continue;
                pair.Queued = pair.Count;
                _queue.Enqueue(pair, pair);
            }
        }

        private void Report(TrainingPhase phase, double fraction, int pieces) =>
            _progress?.Report(new(phase, fraction, _corpus.Report.Lines, _corpus.Characters, pieces));

        private static long Key(int left, int right) => (long)left << 32 | (uint)right;
    }
}
