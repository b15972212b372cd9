using System.Runtime.InteropServices;

namespace Fude.Tokenizers.Pieces;

/// <summary>
/// Byte-pair encoding: merges neighbours in the order of the rules' priorities, the leftmost first among equals, until no rule applies.
/// Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016, arXiv:1508.07909.
/// </summary>
/// <remarks>
/// Where two characters stand side by side in no piece, nothing can ever merge across: the text falls into short stretches that are
/// worked one by one, with the very result of working the whole. A short stretch is searched for its best pair again and again; a long
/// one has a heap, so that time is O(n log n) whatever the text.
/// </remarks>
internal sealed class PairMerger
{
    private const int NoPriority = int.MaxValue;

    // Up to this length, repeated search is quicker than a heap.
    private const int ShortStretch = 40;

    private readonly PairTable _pairs;
    private readonly int[] _priorities, _results;
    private readonly bool _hasGaps;
    private readonly bool[]? _unused;
    private readonly int[] _lengths;

    /// <summary>Prepares merging.</summary>
    /// <param name="pairs">Rules of pairs. Holds adjacencies too, if <paramref name="hasGaps"/>.</param>
    /// <param name="priorities">Priority of each rule, the lowest first.</param>
    /// <param name="results">Symbol that each rule makes.</param>
    /// <param name="hasGaps">Whether pairs without entry separate stretches.</param>
    /// <param name="unused">Symbols that may be made on the way but are taken apart in the end; null where there are none.</param>
    /// <param name="lengths">Length of each symbol's text; only asked for where there are unused ones.</param>
    internal PairMerger(PairTable pairs, int[] priorities, int[] results, bool hasGaps, bool[]? unused = null, int[]? lengths = null)
    {
        _pairs = pairs;
        _priorities = priorities;
        _results = results;
        _hasGaps = hasGaps && unused is null;
        _unused = unused;
        _lengths = lengths ?? [];
    }

    /// <summary>Merges the symbols of <paramref name="line"/> in place. Negative symbols never merge.</summary>
    internal void Run(Line line)
    {
        Symbol[] symbols = line.Symbols;
        int count = line.Count, kept = 0, first = 0;
        if (_unused is not null) line.Splits.Clear();
        for (int i = 0; i < count; i++)
        {
            int rule = i + 1 < count ? LookUp(line, symbols[i].Id, symbols[i + 1].Id) : PairTable.None;
            if (i + 1 < count && (rule != PairTable.None || !_hasGaps))
            {
                SetRule(ref symbols[i], rule);
                continue;
            }
            SetRule(ref symbols[i], PairTable.None);
            if (i == first) symbols[kept++] = symbols[i];
            else if (i - first < ShortStretch) kept = MergeShort(line, first, i + 1, kept);
            else kept = MergeLong(line, first, i + 1, kept);
            first = i + 1;
        }
        line.Count = kept;
        if (_unused is not null) TakeUnusedApart(line);
    }

    private int MergeShort(Line line, int first, int end, int kept)
    {
        Span<Symbol> symbols = line.Symbols.AsSpan(first, end - first);
        while (true)
        {
            int best = NoPriority, at = 0;
            for (int i = 0; i < symbols.Length; i++)
            {
                if (symbols[i].Priority >= best) continue;
                best = symbols[i].Priority;
                at = i;
            }
            if (best == NoPriority) break;
            symbols[at].Id = _results[symbols[at].Rule];
            symbols[(at + 2)..].CopyTo(symbols[(at + 1)..]);
            symbols = symbols[..^1];
            if (at > 0) SetRule(ref symbols[at - 1], LookUp(line, symbols[at - 1].Id, symbols[at].Id));
            SetRule(ref symbols[at], at + 1 < symbols.Length ? LookUp(line, symbols[at].Id, symbols[at + 1].Id) : PairTable.None);
        }
        symbols.CopyTo(line.Symbols.AsSpan(kept));
        return kept + symbols.Length;
    }

    private int MergeLong(Line line, int first, int end, int kept)
    {
        Symbol[] symbols = line.Symbols;
        int[] next = line.Next, previous = line.Previous;
        List<ulong> heap = line.Heap;
        heap.Clear();
        for (int i = first; i < end; i++)
        {
            (next[i], previous[i]) = (i + 1, i - 1);
            if (symbols[i].Priority != NoPriority) heap.Add(Key(symbols[i].Priority, i));
        }
        for (int i = (heap.Count / 2) - 1; i >= 0; i--) SiftDown(CollectionsMarshal.AsSpan(heap), i);

        while (heap.Count > 0)
        {
            ulong top = heap[0];
            heap[0] = heap[^1];
            heap.RemoveAt(heap.Count - 1);
            if (heap.Count > 0) SiftDown(CollectionsMarshal.AsSpan(heap), 0);

            int at = (int)(uint)top, right = next[at];
            if (symbols[at].Priority != (int)(top >> 32)) continue;     // merged away, or its neighbour has changed
            symbols[at].Id = _results[symbols[at].Rule];
            symbols[right].Priority = NoPriority;
            next[at] = next[right];
            if (next[at] < end) previous[next[at]] = at;
            if (previous[at] >= first) Renew(previous[at], at);
            if (next[at] < end) Renew(at, next[at]);
            else SetRule(ref symbols[at], PairTable.None);
        }
        for (int i = first; i < end; i = next[i]) symbols[kept++] = symbols[i];
        return kept;

        void Renew(int left, int right)
        {
            SetRule(ref symbols[left], LookUp(line, symbols[left].Id, symbols[right].Id));
            if (symbols[left].Priority == NoPriority) return;
            heap.Add(Key(symbols[left].Priority, left));
            SiftUp(CollectionsMarshal.AsSpan(heap));
        }
    }

    private int LookUp(Line line, int left, int right)
    {
        int rule = _pairs[left, right];
        // As SentencePiece does: the last look at a pair that makes an unused piece is how it is taken apart.
        if (_unused is not null && rule >= 0 && _unused[_results[rule]]) line.Splits[_results[rule]] = (left, right);
        return rule;
    }

    private void SetRule(ref Symbol symbol, int rule)
    {
        symbol.Rule = rule;
        symbol.Priority = rule >= 0 ? _priorities[rule] : NoPriority;
    }

    private void TakeUnusedApart(Line line)
    {
        if (line.Splits.Count == 0) return;
        List<Symbol> whole = [.. line.Symbols.AsSpan(0, line.Count)];
        Stack<Symbol> open = new();
        line.Clear();
        foreach (Symbol symbol in whole)
        {
            open.Push(symbol);
            while (open.TryPop(out Symbol part))
            {
                if (part.Id >= 0 && part.Id < _unused!.Length && _unused[part.Id] && line.Splits.TryGetValue(part.Id, out (int Left, int Right) halves))
                {
                    open.Push(part with { Id = halves.Right, Start = part.Start + _lengths[halves.Left] });
                    open.Push(part with { Id = halves.Left });
                }
                else
                {
                    line.Add(part.Id, part.Start);
                }
            }
        }
    }

    private static ulong Key(int priority, int position) => ((ulong)(uint)priority << 32) | (uint)position;

    private static void SiftDown(Span<ulong> heap, int at)
    {
        ulong key = heap[at];
        while (true)
        {
            int child = (2 * at) + 1;
            if (child >= heap.Length) break;
            if (child + 1 < heap.Length && heap[child + 1] < heap[child]) child++;
            if (heap[child] >= key) break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = key;
    }

    private static void SiftUp(Span<ulong> heap)
    {
        int at = heap.Length - 1;
        ulong key = heap[at];
        while (at > 0 && heap[(at - 1) / 2] > key)
        {
            heap[at] = heap[(at - 1) / 2];
            at = (at - 1) / 2;
        }
        heap[at] = key;
    }

    /// <summary>One symbol, and the rule for it and its right neighbour.</summary>
    internal struct Symbol
    {
        public int Id;
        public int Start;
        public int Rule;
        public int Priority;
    }

    /// <summary>The symbols being merged; reused.</summary>
    internal sealed class Line
    {
        internal Symbol[] Symbols = new Symbol[256];
        private int[] _next = [], _previous = [];

        internal int Count { get; set; }

        internal int[] Next => Links(ref _next);

        internal int[] Previous => Links(ref _previous);

        internal List<ulong> Heap { get; } = [];

        internal Dictionary<int, (int Left, int Right)> Splits { get; } = [];

        internal long CapacityBytes => (Symbols.Length * 16L) + (((long)_next.Length + _previous.Length) * sizeof(int)) + (Heap.Capacity * (long)sizeof(ulong));

        internal void Clear() => Count = 0;

        /// <summary>Adds a symbol that begins at <paramref name="start"/>.</summary>
        internal void Add(int id, int start)
        {
            if (Count == Symbols.Length) Array.Resize(ref Symbols, Symbols.Length * 2);
            Symbols[Count].Id = id;
            Symbols[Count++].Start = start;
        }

        private int[] Links(ref int[] links)
        {
            if (links.Length < Symbols.Length) links = new int[Symbols.Length];
            return links;
        }
    }
}
