using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>Causal attention with a running softmax over blocks of keys: Milakov and Gimelshein, 2018, arXiv:1805.02867; Dao et al., 2022,
/// arXiv:2205.14135.</summary>
/// <remarks>
/// Keys are walked in blocks of <see cref="Block"/> that begin at multiples of it, counted from the text's beginning. A query takes from
/// each block the largest of its scores, the exponentials of their distances to it, the sum of those in the lanes' tree, and the sum of
/// values weighted by them, key after key from 0 on (<see cref="AttentionTile"/>). What the blocks gave is put together in ascending order. So
/// a query's numbers depend on its own text alone: not on the queries it is computed with, nor on which thread took which block.
/// Few rows (tokens times query heads of one key head) read keys and values from the cache as they are, once and in the order in which they
/// lie, head after head; heads, and blocks where heads are too few, are shared out over threads. Many rows meet float32 panels in the
/// second-level cache, strip by strip.
/// </remarks>
internal static unsafe class AttentionKernel
{
    /// <summary>Keys that share a largest score.</summary>
    internal const int Block = 256;

    /// <summary>Positions of a page of the cache.</summary>
    internal const int Page = 32;

    private const int PagesInBlock = Block / Page, Strip = AttentionTile.Rows;

    /// <summary>Rows that meet a panel together, unless one token has more.</summary>
    private const int PanelRows = 256;

    /// <summary>A run of tokens of one text, as the kernel sees it.</summary>
    internal struct Text
    {
        /// <summary>The first token in the batch, and the number of its key.</summary>
        public int First, FirstKey;

        /// <summary>Its tokens in this batch.</summary>
        public int Count;

        /// <summary>How the cache keeps its numbers.</summary>
        public NumberFormat Format;

        /// <summary>Number of the first page that <see cref="Pages"/> names.</summary>
        public int FirstPage;

        /// <summary>The pages, at this layer's first head: of the cache, or of this call alone.</summary>
        public nint* Pages;

        /// <summary>Items of the texts before.</summary>
        public int ItemsBefore;

        /// <summary>Many rows: tokens of an item.</summary>
        public int ItemTokens;

        /// <summary>Few rows: into how many items the heads are divided, and the blocks. 0 for many rows.</summary>
        public int Ranges, Runs;

        /// <summary>Where more than one run puts what each block gave: [block][head][rows][padded + 2].</summary>
        public float* Partials;

        /// <summary>Runs of each range of heads that are not done yet.</summary>
        public int* Waiting;
    }

    internal struct Job
    {
        public float* Q;
        public float* K;
        public float* V;
        public float* Y;
        public Text* Texts;
        public int TextCount;
        public int QueryHeads, KeyHeads, Size, Window;
        public float Scale;
        public byte* Scratch;
        public long ScratchBytes;
    }

    /// <summary>Which keys of a block the rows of a strip see.</summary>
    private ref struct Sight
    {
        private fixed int _from[Strip], _to[Strip];

        /// <summary>The keys that any row sees, and those that all do.</summary>
        public int Earliest, Latest, Shared, SharedEnd;

        /// <param name="rows">Rows of the strip.</param>
        /// <param name="firstKey">The number in the block of the key of the token that row 0 of the item is of.</param>
        /// <param name="firstRow">The strip's first row in the item.</param>
        /// <param name="group">Rows of a token.</param>
        /// <param name="window">Keys a token sees at most, or 0.</param>
        public Sight(int rows, int firstKey, int firstRow, int group, int window)
        {
            (Earliest, Latest, Shared, SharedEnd) = (Block, 0, 0, Block);
            for (int r = 0; r < rows; r++)
            {
                int key = firstKey + (firstRow + r) / group;
                int from = window > 0 ? Math.Clamp(key - window + 1, 0, Block) : 0, to = Math.Clamp(key + 1, from, Block);
                (_from[r], _to[r]) = (from, to);
                (Shared, SharedEnd) = (Math.Max(Shared, from), Math.Min(SharedEnd, to));
                if (from < to) (Earliest, Latest) = (Math.Min(Earliest, from), Math.Max(Latest, to));
            }
        }

        public readonly int From(int row) => _from[row];

        public readonly int To(int row) => _to[row];
    }

    /// <summary>Whether rows of a text read the cache as it is.</summary>
    private static bool IsShort(in Job job, in Text text) => text.Count * (job.QueryHeads / job.KeyHeads) <= Strip;

    /// <summary>Scratch of one thread.</summary>
    internal static long ScratchBytes(in Job job)
    {
        long group = job.QueryHeads / job.KeyHeads, padded = HeadLayout.PaddedSize(job.Size), scales = HeadLayout.Groups((int)padded) * (long)Block;
        long few = job.KeyHeads * (long)Strip * (job.Size + Block + 2 * padded + 4);
        long rows = (Math.Max(PanelRows, group) + Strip - 1) / Strip * Strip;
        long many = rows * (job.Size + padded + 2) + Strip * (Block + padded + 2) + (long)Block * (job.Size + padded);
        return ((Math.Max(few, many) + scales) * sizeof(float) + 64 * 16 + 63) & ~63L;
    }

    /// <summary>Divides the work on a text, and returns the number of items.</summary>
    internal static int Plan(in Job job, ref Text text, int threads)
    {
        if (!IsShort(job, text))
        {
            // Panels are made anew for every item: as few items as keep all threads at work.
            int group = job.QueryHeads / job.KeyHeads, tokens = Math.Max(1, PanelRows / group);
            while ((long)((text.Count + tokens - 1) / tokens) * job.KeyHeads < 8L * threads && tokens * group > 4 * Strip) tokens = (tokens + 1) / 2;
            text.ItemTokens = tokens;
            return checked((text.Count + tokens - 1) / tokens * job.KeyHeads);
        }
        // As few ranges of heads as keep all threads at work: what lies together is read together.
        int wanted = threads == 1 ? 1 : (4 * threads + job.TextCount - 1) / job.TextCount;
        text.Runs = Math.Min(wanted, Blocks(job, text));
        text.Ranges = Math.Min((wanted + text.Runs - 1) / text.Runs, job.KeyHeads);
        return checked(text.Ranges * text.Runs);
    }

    /// <summary>Floats of <see cref="Text.Partials"/>.</summary>
    internal static long PartialFloats(in Job job, in Text text) =>
        text.Runs <= 1 ? 0 : (long)job.KeyHeads * Blocks(job, text) * PartialFloats(job);

    private static long PartialFloats(in Job job) => Strip * (HeadLayout.PaddedSize(job.Size) + 2L);

    private static int FirstBlock(in Job job, in Text text) => job.Window > 0 ? Math.Max(0, text.FirstKey - job.Window + 1) / Block : 0;

    private static int Blocks(in Job job, in Text text) => (text.FirstKey + text.Count - 1) / Block + 1 - FirstBlock(job, text);

    /// <summary>The text that an item is of: the last whose items begin at or before it.</summary>
    private static ref Text Find(ref Job job, int item)
    {
        int low = 0, high = job.TextCount - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if (job.Texts[middle].ItemsBefore <= item) low = middle;
            else high = middle - 1;
        }
        return ref job.Texts[low];
    }

    /// <summary>One item puts the keys and values of one head of one text into its cache; few rows do that themselves.</summary>
    internal static void Append(void* argument, int item, int worker)
    {
        ref Job job = ref *(Job*)argument;
        ref Text text = ref job.Texts[item / job.KeyHeads];
        if (text.Runs > 0) return;
        Append(ref job, ref text, item % job.KeyHeads, text.FirstKey, text.FirstKey + text.Count);
    }

    private static void Append(ref Job job, ref Text text, int head, int firstKey, int endKey)
    {
        HeadLayout layout = new(text.Format, job.Size);
        nint width = (nint)job.KeyHeads * job.Size;
        for (int key = firstKey; key < endKey;)
        {
            nint row = (text.First + key - text.FirstKey) * width + (nint)head * job.Size;
            byte* page = (byte*)text.Pages[key / Page - text.FirstPage];
            byte* keys = layout.Keys(page, head), values = layout.Values(page, head, job.KeyHeads);
            // Many keys from a page's beginning on turn together.
            int count = key % Page == 0 && layout.CanWritePages ? Math.Min(Page, endKey - key) : 1;
            if (count >= 8) layout.WritePage(keys, values, count, job.K + row, job.V + row, width);
            else for (int i = 0; i < count; i++) layout.Write(keys, values, key % Page + i, job.K + row + i * width, job.V + row + i * width);
            key += count;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Run<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        ref Text text = ref Find(ref job, item);
        float* scratch = (float*)(job.Scratch + worker * job.ScratchBytes);
        item -= text.ItemsBefore;
        if (text.Runs == 0)
        {
            // The last tokens have the most keys: they come first, so that no thread begins a long item at the end.
            int itemTokens = text.ItemTokens, tiles = (text.Count + itemTokens - 1) / itemTokens;
            int token = (tiles - 1 - item / job.KeyHeads) * itemTokens;
            Many<T>(ref job, ref text, item % job.KeyHeads, token, Math.Min(itemTokens, text.Count - token), scratch);
            return;
        }
        switch (text.Format)
        {
            case NumberFormat.F32: Few<T, CachedFloat32>(ref job, ref text, item, scratch); break;
            case NumberFormat.F16: Few<T, CachedFloat16>(ref job, ref text, item, scratch); break;
            case NumberFormat.BF16: Few<T, CachedBFloat16>(ref job, ref text, item, scratch); break;
            default: Few<T, CachedInt8>(ref job, ref text, item, scratch); break;
        }
    }

    /// <summary>Takes a piece of scratch, in whole cache lines.</summary>
    private static float* Take(ref float* scratch, long floats)
    {
        float* taken = scratch;
        scratch += (floats + 15) & ~15L;
        return taken;
    }

    /// <summary>Rows of a strip from one on, as [size][8]; absent rows are 0.</summary>
    private static void PackQueries(ref Job job, ref Text text, int head, int firstRow, int rows, float* target)
    {
        int group = job.QueryHeads / job.KeyHeads, size = job.Size;
        nint width = (nint)job.QueryHeads * size;
        if (group == 1)
        {
            MatrixProduct.PackA(
                new() { Numbers = job.Q + (text.First + firstRow) * width + (nint)head * size, RowStride = width, ColumnStride = 1 }, 0, rows, 0, size, target);
            return;
        }
        for (int r = 0; r < Strip; r++)
        {
            if (r >= rows)
            {
                for (int i = 0; i < size; i++) target[i * Strip + r] = 0;
                continue;
            }
            int row = firstRow + r;
            float* q = job.Q + (text.First + row / group) * width + (nint)(head * group + row % group) * size;
            for (int i = 0; i < size; i++) target[i * Strip + r] = q[i];
        }
    }

    /// <summary>An item of few rows: some blocks of some heads, read from the cache as they are.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Few<T, TStored>(ref Job job, ref Text text, int item, float* scratch)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        int group = job.QueryHeads / job.KeyHeads, rows = text.Count * group, written = AttentionTile.Written(rows);
        int size = job.Size, padded = HeadLayout.PaddedSize(size), range = item % text.Ranges, run = item / text.Ranges;
        int head = (int)((long)job.KeyHeads * range / text.Ranges), heads = (int)((long)job.KeyHeads * (range + 1) / text.Ranges) - head;
        int blocks = Blocks(job, text), firstBlock = FirstBlock(job, text), endKey = text.FirstKey + text.Count;
        int begin = (int)((long)blocks * run / text.Runs), end = (int)((long)blocks * (run + 1) / text.Runs);
        HeadLayout layout = new(text.Format, size);
        for (int h = 0; h < heads; h++)
            Append(ref job, ref text, head + h, Math.Max(text.FirstKey, (firstBlock + begin) * Block), Math.Min(endKey, (firstBlock + end) * Block));

        float* queries = Take(ref scratch, (long)heads * Strip * size), scores = Take(ref scratch, (long)heads * written * Block);
        float* blockSums = Take(ref scratch, (long)heads * written * padded), sums = Take(ref scratch, (long)heads * written * padded);
        float* blockLargest = Take(ref scratch, heads * written), blockTotals = Take(ref scratch, heads * written);
        float* largest = Take(ref scratch, heads * written), totals = Take(ref scratch, heads * written);
        float* scales = Take(ref scratch, (long)HeadLayout.Groups(padded) * Block);
        byte** pages = stackalloc byte*[PagesInBlock];
        nint queryFloats = rows == 1 ? size : (nint)Strip * size;
        for (int h = 0; h < heads && rows > 1; h++) PackQueries(ref job, ref text, head + h, 0, rows, queries + h * queryFloats);
        if (rows == 1) queries = job.Q + (nint)text.First * job.QueryHeads * size + head * (nint)size;
        for (int i = 0; i < heads * written; i++) totals[i] = 0;

        for (int i = begin; i < end; i++)
        {
            int blockKey = (firstBlock + i) * Block;
            nint* stored = text.Pages + (blockKey / Page - text.FirstPage);
            Sight sight = new(rows, text.FirstKey - blockKey, 0, group, job.Window);
            int firstPage = sight.Earliest / Page, endPage = (sight.Latest + Page - 1) / Page;
            for (int page = firstPage; page < endPage; page++)
            {
                byte* keys = layout.Keys((byte*)stored[page], head);
                byte* then = page + 1 < endPage ? layout.Keys((byte*)stored[page + 1], head) : layout.Values((byte*)stored[firstPage], head, job.KeyHeads);
                for (int h = 0; h < heads; h++, keys += layout.KeyBytes)
                {
                    byte* ahead = h + 1 < heads ? keys + layout.KeyBytes : then;
                    AttentionTile.Scores<T, TStored>(
                        queries + h * queryFloats, rows, keys, ahead, size, scores + (nint)h * written * Block + page * Page);
                }
            }
            for (int h = 0; h < heads; h++)
                for (int r = 0; r < rows; r++)
                {
                    int place = h * written + r;
                    blockTotals[place] = 0;
                    if (sight.From(r) < sight.To(r))
                        (blockLargest[place], blockTotals[place]) = Softmax<T>(scores + (nint)place * Block, sight.From(r), sight.To(r), job.Scale);
                }
            for (nint k = 0; k < (nint)heads * written * padded; k += 16) T.Store(T.Zero, blockSums + k);
            for (int page = firstPage; page < endPage; page++)
            {
                byte* values = layout.Values((byte*)stored[page], head, job.KeyHeads);
                byte* then = page + 1 < endPage ? layout.Values((byte*)stored[page + 1], head, job.KeyHeads)
                    : i + 1 < end ? layout.Keys((byte*)stored[endPage], head) : values;
                for (int h = 0; h < heads; h++, values += layout.ValueBytes)
                {
                    pages[page] = values;
                    if (TStored.HasScales) WidenScales<T>(values, page, padded, scales);
                    AddValues<T, TStored>(
                        ref sight, rows, page * Page, (page + 1) * Page, scores + (nint)h * written * Block, pages,
                        h + 1 < heads ? values + layout.ValueBytes : then, scales,
                        blockSums + (nint)h * written * padded, padded);
                }
            }
            if (text.Runs == 1)
            {
                for (int h = 0; h < heads; h++)
                    for (int place = h * written; place < h * written + rows; place++)
                        Merge<T>(sums + (nint)place * padded, ref largest[place], ref totals[place],
                            blockSums + (nint)place * padded, blockLargest[place], blockTotals[place], padded);
                continue;
            }
            for (int h = 0; h < heads; h++)
            {
                float* partial = text.Partials + ((long)i * job.KeyHeads + head + h) * PartialFloats(job);
                for (int r = 0; r < rows; r++, partial += padded + 2)
                {
                    int place = h * written + r;
                    Buffer.MemoryCopy(blockSums + (nint)place * padded, partial, padded * sizeof(float), padded * sizeof(float));
                    (partial[padded], partial[padded + 1]) = (blockLargest[place], blockTotals[place]);
                }
            }
        }
        if (text.Runs > 1)
        {
            if (Interlocked.Decrement(ref text.Waiting[range]) != 0) return;
            // The last one to finish puts the blocks together, in their order.
            for (int i = 0; i < blocks; i++)
                for (int h = 0; h < heads; h++)
                {
                    float* partial = text.Partials + ((long)i * job.KeyHeads + head + h) * PartialFloats(job);
                    for (int place = h * written; place < h * written + rows; place++, partial += padded + 2)
                        Merge<T>(sums + (nint)place * padded, ref largest[place], ref totals[place], partial, partial[padded], partial[padded + 1], padded);
                }
        }
        for (int h = 0; h < heads; h++)
            for (int r = 0; r < rows; r++)
                Put<T>(ref job, ref text, head + h, r, sums + (nint)(h * written + r) * padded, totals[h * written + r]);
    }

    /// <summary>An item of many rows: some tokens of one head, all their keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Many<T>(ref Job job, ref Text text, int head, int token, int tokens, float* scratch)
        where T : unmanaged, ILanes<T>
    {
        int group = job.QueryHeads / job.KeyHeads, rows = tokens * group, strips = (rows + Strip - 1) / Strip;
        int size = job.Size, padded = HeadLayout.PaddedSize(size);
        HeadLayout layout = new(text.Format, size);
        float* queries = Take(ref scratch, (long)strips * Strip * size), sums = Take(ref scratch, (long)rows * padded);
        float* largest = Take(ref scratch, rows), totals = Take(ref scratch, rows);
        float* scores = Take(ref scratch, Strip * Block), blockSums = Take(ref scratch, (long)Strip * padded);
        float* keyPanel = Take(ref scratch, (long)Block * size), valuePanel = Take(ref scratch, (long)Block * padded);
        byte** keyPages = stackalloc byte*[2 * PagesInBlock], valuePages = keyPages + PagesInBlock;
        float* blockLargest = stackalloc float[2 * Strip], blockTotals = blockLargest + Strip;
        for (int i = 0; i < strips; i++)
            PackQueries(ref job, ref text, head, token * group + i * Strip, Math.Min(Strip, rows - i * Strip), queries + (nint)i * Strip * size);
        for (int r = 0; r < rows; r++) totals[r] = 0;

        int firstKey = text.FirstKey + token, endKey = firstKey + tokens, begin = job.Window > 0 ? Math.Max(0, firstKey - job.Window + 1) : 0;
        for (int blockKey = begin / Block * Block; blockKey < endKey; blockKey += Block)
        {
            int firstPage = Math.Max(blockKey, begin) / Page, endPage = (Math.Min(endKey, blockKey + Block) + Page - 1) / Page;
            for (int page = firstPage; page < endPage; page++)
            {
                int i = page - blockKey / Page;
                float* keys = keyPanel + (nint)i * Page * size, values = valuePanel + (nint)i * Page * padded;
                keyPages[i] = (byte*)keys;
                valuePages[i] = (byte*)values;
                // Pages lie a power of two apart and would push each other out of the cache, so float32 is copied too.
                byte* stored = (byte*)text.Pages[page - text.FirstPage];
                byte* next = page + 1 < endPage ? (byte*)text.Pages[page + 1 - text.FirstPage] : stored;
                byte* storedKeys = layout.Keys(stored, head), storedValues = layout.Values(stored, head, job.KeyHeads);
                nint ahead = (nint)(layout.Keys(next, head) - storedKeys);
                switch (text.Format)
                {
                    case NumberFormat.F32: Widen<T, CachedFloat32>(layout, storedKeys, storedValues, ahead, keys, values); break;
                    case NumberFormat.F16: Widen<T, CachedFloat16>(layout, storedKeys, storedValues, ahead, keys, values); break;
                    case NumberFormat.BF16: Widen<T, CachedBFloat16>(layout, storedKeys, storedValues, ahead, keys, values); break;
                    default: Widen<T, CachedInt8>(layout, storedKeys, storedValues, ahead, keys, values); break;
                }
            }
            for (int i = 0; i < strips; i++)
            {
                int first = i * Strip, count = Math.Min(Strip, rows - first);
                Sight sight = new(count, firstKey - blockKey, first, group, job.Window);
                if (sight.Earliest >= sight.Latest) continue;
                // A strip of one row is laid out for eight like the others.
                for (int page = sight.Earliest / Page; page * Page < sight.Latest; page++)
                    AttentionTile.Scores<T, CachedFloat32>(queries + (nint)first * size, Strip, keyPages[page], null, size, scores + page * Page);
                for (nint k = 0; k < (nint)Strip * padded; k += 16) T.Store(T.Zero, blockSums + k);
                for (int r = 0; r < count; r++)
                {
                    blockTotals[r] = 0;
                    if (sight.From(r) < sight.To(r))
                        (blockLargest[r], blockTotals[r]) = Softmax<T>(scores + r * Block, sight.From(r), sight.To(r), job.Scale);
                }
                AddValues<T, CachedFloat32>(ref sight, count, 0, Block, scores, valuePages, null, null, blockSums, padded);
                for (int r = 0; r < count; r++)
                    Merge<T>(sums + (nint)(first + r) * padded, ref largest[first + r], ref totals[first + r],
                        blockSums + (nint)r * padded, blockLargest[r], blockTotals[r], padded);
            }
        }
        for (int r = 0; r < rows; r++) Put<T>(ref job, ref text, head, token * group + r, sums + (nint)r * padded, totals[r]);
    }

    /// <summary>Adds the values of some keys of a block, weighted, to the sums of a strip.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddValues<T, TStored>(
        ref Sight sight, int rows, int first, int end, float* weights, byte** pages, byte* ahead, float* scales, float* sums, int padded)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        // Keys that all rows see go together; before and after them come those that only some do.
        int shared = Math.Max(first, sight.Shared), sharedEnd = Math.Min(end, sight.SharedEnd);
        bool areTogether = rows > 1 && shared < sharedEnd;
        for (int r = 0; r < rows; r++)
        {
            int from = Math.Max(first, sight.From(r)), to = Math.Min(areTogether ? shared : end, sight.To(r));
            if (from < to) AttentionTile.RowValues<T, TStored>(weights + r * Block, pages, ahead, from, to, padded, scales, sums + (nint)r * padded);
        }
        if (!areTogether) return;
        AttentionTile.Values<T, TStored>(weights, rows, pages, ahead, shared, sharedEnd, padded, scales, sums);
        for (int r = 0; r < rows; r++)
        {
            int to = Math.Min(end, sight.To(r));
            if (sharedEnd < to)
                AttentionTile.RowValues<T, TStored>(weights + r * Block, pages, ahead, sharedEnd, to, padded, scales, sums + (nint)r * padded);
        }
    }

    /// <summary>Turns the scores of some keys of a block into exponentials; returns the largest, and the sum of the exponentials.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static (float Largest, float Total) Softmax<T>(float* s, int from, int to, float scale)
        where T : unmanaged, ILanes<T>
    {
        int first = from & ~15, end = (to + 15) & ~15;
        for (int j = first; j < from; j++) s[j] = float.NegativeInfinity;
        for (int j = to; j < end; j++) s[j] = float.NegativeInfinity;
        T factor = T.Broadcast(scale), most = T.Broadcast(float.NegativeInfinity);
        for (int j = first; j < end; j += 16)
        {
            T x = T.Load(s + j) * factor;
            most = T.SelectLess(most, x, x, most);
        }
        float* lanes = stackalloc float[16];
        T.Store(most, lanes);
        Vector128<float> four = Vector128.Max(
            Vector128.Max(Vector128.Load(lanes), Vector128.Load(lanes + 4)),
            Vector128.Max(Vector128.Load(lanes + 8), Vector128.Load(lanes + 12)));
        float largest = MathF.Max(MathF.Max(four[0], four[1]), MathF.Max(four[2], four[3]));
        T shift = T.Broadcast(largest), sum = T.Zero;
        for (int j = first; j < end; j += 16)
        {
            T x = Elementary.ExpBelowZero(T.Load(s + j) * factor - shift);
            T.Store(x, s + j);
            sum += x;
        }
        return (largest, T.Sum(sum));
    }

    /// <summary>Puts what a block gave to what the blocks before it did.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Merge<T>(float* sums, ref float largest, ref float total, float* block, float blockLargest, float blockTotal, int padded)
        where T : unmanaged, ILanes<T>
    {
        if (blockTotal == 0) return;      // no key of it is seen
        if (total == 0)
        {
            for (int i = 0; i < padded; i += 16) T.Store(T.Load(block + i), sums + i);
            (largest, total) = (blockLargest, blockTotal);
            return;
        }
        float most = MathF.Max(largest, blockLargest);
        T old = Elementary.ExpBelowZero(T.Broadcast(largest) - T.Broadcast(most));
        T added = Elementary.ExpBelowZero(T.Broadcast(blockLargest) - T.Broadcast(most));
        for (int i = 0; i < padded; i += 16) T.Store(T.MultiplyAdd(T.Load(block + i), added, T.Load(sums + i) * old), sums + i);
        float* lanes = stackalloc float[16];
        T.Store(T.MultiplyAdd(T.Broadcast(blockTotal), added, T.Broadcast(total) * old), lanes);
        (largest, total) = (most, lanes[0]);
    }

    private static void Put<T>(ref Job job, ref Text text, int head, int row, float* sums, float total)
        where T : unmanaged, ILanes<T>
    {
        int group = job.QueryHeads / job.KeyHeads, size = job.Size;
        float* y = job.Y + (text.First + row / group) * ((nint)job.QueryHeads * size) + (nint)(head * group + row % group) * size;
        T share = T.Broadcast(1f / total);
        int i = 0;
        for (; i <= size - 16; i += 16) T.Store(T.Load(sums + i) * share, y + i);
        if (i < size) Partial.Store(T.Load(sums + i) * share, y + i, size - i);
    }

    /// <summary>The scales of a page of values as float32.</summary>
    private static void WidenScales<T>(byte* values, int page, int padded, float* scales)
        where T : unmanaged, ILanes<T>
    {
        ushort* stored = (ushort*)(values + (nint)Page * padded);
        for (int group = 0; group < HeadLayout.Groups(padded); group++, stored += Page)
        {
            T.Store(T.LoadFloat16(stored), scales + group * Block + page * Page);
            T.Store(T.LoadFloat16(stored + 16), scales + group * Block + page * Page + 16);
        }
    }

    /// <summary>A page of one head as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen<T, TStored>(HeadLayout layout, byte* storedKeys, byte* storedValues, nint ahead, float* keys, float* values)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        int size = layout.Size, padded = layout.Padded;
        if (!TStored.HasScales)
        {
            WidenAll<T, TStored>(storedKeys, ahead, (nint)Page * size, keys);
            WidenAll<T, TStored>(storedValues, ahead, (nint)Page * padded, values);
            return;
        }
        ushort* scales = (ushort*)(storedKeys + (nint)Page * size * TStored.Size);
        for (int group = 0; group < size; group += HeadLayout.Group, scales += Page)
        {
            T first = T.LoadFloat16(scales), second = T.LoadFloat16(scales + 16);
            int end = Math.Min(size, group + HeadLayout.Group) * Page;
            for (nint i = (nint)group * Page; i < end; i += Page)
            {
                Ahead(storedKeys + i * TStored.Size + ahead);
                T.Store(TStored.Load<T>(storedKeys, i) * first, keys + i);
                T.Store(TStored.Load<T>(storedKeys, i + 16) * second, keys + i + 16);
            }
        }
        float* wide = stackalloc float[Page];
        scales = (ushort*)(storedValues + (nint)Page * padded * TStored.Size);
        for (int group = 0; group < padded; group += HeadLayout.Group, scales += Page)
        {
            T.Store(T.LoadFloat16(scales), wide);
            T.Store(T.LoadFloat16(scales + 16), wide + 16);
            for (int j = 0; j < Page; j++)
            {
                nint place = (nint)j * padded + group;
                Ahead(storedValues + place * TStored.Size + ahead);
                T scale = T.Broadcast(wide[j]);
                T.Store(TStored.Load<T>(storedValues, place) * scale, values + place);
                if (group + 16 < padded) T.Store(TStored.Load<T>(storedValues, place + 16) * scale, values + place + 16);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenAll<T, TStored>(byte* stored, nint ahead, nint count, float* target)
        where T : unmanaged, ILanes<T>
        where TStored : struct, ICachedNumbers
    {
        // Both are whole pages: multiples of 32.
        for (nint i = 0; i < count; i += 32)
        {
            Ahead(stored + i * TStored.Size + ahead);
            if (TStored.Size > 2) Ahead(stored + i * TStored.Size + ahead + 64);
            T.Store(TStored.Load<T>(stored, i), target + i);
            T.Store(TStored.Load<T>(stored, i + 16), target + i + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead(byte* place)
    {
        if (Sse.IsSupported) Sse.Prefetch0(place);
    }
}
