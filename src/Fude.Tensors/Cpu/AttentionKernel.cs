using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Causal attention with a running softmax over blocks of keys: Milakov and Gimelshein, 2018, arXiv:1805.02867.</summary>
/// <remarks>
/// Keys are walked in blocks of <see cref="Block"/> that begin at multiples of it, counted from the text's beginning. A query takes from
/// each block its scores (dot products in sixteen lanes), the largest of them, the sum of their exponentials in the lanes' tree, and adds
/// the values weighted one after the other. So its numbers depend on its own text alone, not on the queries it is computed with.
/// </remarks>
internal static unsafe class AttentionKernel
{
    /// <summary>Keys of a block, and positions of a page of the cache.</summary>
    internal const int Block = 32;

    /// <summary>Rows (tokens times query heads of one key head) that walk the keys together, unless one token has more.</summary>
    private const int TargetRows = 24;

    /// <summary>A run of tokens of one text, as the kernel sees it.</summary>
    internal struct Text
    {
        /// <summary>The first token in the batch, and the number of its key.</summary>
        public int First, FirstKey;

        /// <summary>Its tokens in this batch.</summary>
        public int Count;

        /// <summary>Number of the first block that <see cref="Pages"/> names.</summary>
        public int FirstBlock;

        /// <summary>Items of the texts before.</summary>
        public int ItemsBefore;

        /// <summary>The page of each block, at this layer's keys; null without a cache.</summary>
        public nint* Pages;
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

        /// <summary>Tokens of one item.</summary>
        public int ItemTokens;
        public byte* Scratch;
        public long ScratchBytes;

        /// <summary>Floats from the keys of a page to its values, and from one head to the next.</summary>
        public long ValueOffset, HeadOffset;
    }

    /// <summary>Tokens of an item for so many query heads to a key head.</summary>
    internal static int ItemTokens(int group) => Math.Max(1, TargetRows / group);

    /// <summary>Scratch of one thread.</summary>
    internal static long ScratchBytes(int group, int size)
    {
        long rows = Math.Max(TargetRows, group);
        // Keys and values of a block; queries, sums of values, scores, largest score and sum of exponentials.
        return ((2L * Block * size + rows * (Padded(size) * 2 + Block + 2)) * sizeof(float) + 63) & ~63L;
    }

    private static long Padded(int size) => (size + 15) & ~15;

    internal static int Items(in Job job, int tokens) => (tokens + job.ItemTokens - 1) / job.ItemTokens * job.KeyHeads;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Run<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int low = 0, high = job.TextCount - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if (job.Texts[middle].ItemsBefore <= item) low = middle;
            else high = middle - 1;
        }
        ref Text text = ref job.Texts[low];
        // The last tokens have the most keys: they come first, so that no thread begins a long item at the end.
        item -= text.ItemsBefore;
        int head = item % job.KeyHeads, tiles = (text.Count + job.ItemTokens - 1) / job.ItemTokens;
        int token = (tiles - 1 - item / job.KeyHeads) * job.ItemTokens;
        int tokens = Math.Min(job.ItemTokens, text.Count - token);
        Tile<T>(ref job, ref text, head, token, tokens, (float*)(job.Scratch + worker * job.ScratchBytes));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<T>(ref Job job, ref Text text, int head, int token, int tokens, float* scratch)
        where T : unmanaged, ILanes<T>
    {
        int group = job.QueryHeads / job.KeyHeads, rows = tokens * group, size = job.Size;
        nint padded = (nint)Padded(size), queryWidth = (nint)job.QueryHeads * size, keyWidth = (nint)job.KeyHeads * size;
        float* ownKeys = scratch, ownValues = ownKeys + Block * size;
        float* queries = ownValues + Block * size, sums = queries + rows * padded, scores = sums + rows * padded;
        float* largest = scores + rows * Block, totals = largest + rows;
        for (int r = 0; r < rows; r++)
        {
            float* q = job.Q + (text.First + token + r / group) * queryWidth + (head * group + r % group) * size;
            Buffer.MemoryCopy(q, queries + r * padded, size * sizeof(float), size * sizeof(float));
            for (int i = size; i < padded; i++) queries[r * padded + i] = 0;
            for (int i = 0; i < padded; i++) sums[r * padded + i] = 0;
            (largest[r], totals[r]) = (float.NegativeInfinity, 0);
        }

        int firstKey = text.FirstKey + token, lastKey = firstKey + tokens - 1;
        int begin = job.Window > 0 ? Math.Max(0, firstKey - job.Window + 1) : 0;
        for (int block = begin / Block; block <= lastKey / Block; block++)
        {
            int blockKey = block * Block, keys = Math.Min(Block, lastKey + 1 - blockKey);
            float* k = ownKeys, v = ownValues;
            if (text.Pages is null)
            {
                // In the tensors a head's keys lie a power of two apart, and would push each other out of the cache.
                float* firstK = job.K + (text.First + blockKey) * keyWidth + head * size;
                float* firstV = job.V + (text.First + blockKey) * keyWidth + head * size;
                for (int j = 0; j < keys; j++)
                {
                    Buffer.MemoryCopy(firstK + j * keyWidth, k + j * size, size * sizeof(float), size * sizeof(float));
                    Buffer.MemoryCopy(firstV + j * keyWidth, v + j * size, size * sizeof(float), size * sizeof(float));
                }
            }
            else
            {
                k = (float*)text.Pages[block - text.FirstBlock] + head * job.HeadOffset;
                v = k + job.ValueOffset;
            }
            Scores<T>(queries, padded, rows, k, keys, size, scores);
            for (int r = 0; r < rows; r++)
            {
                int key = firstKey + r / group, from = job.Window > 0 ? Math.Max(0, key - job.Window + 1 - blockKey) : 0;
                int to = Math.Min(keys, key + 1 - blockKey);
                if (from >= to) continue;
                float* s = scores + r * Block;
                for (int j = 0; j < from; j++) s[j] = float.NegativeInfinity;
                for (int j = to; j < Block; j++) s[j] = float.NegativeInfinity;
                float correction = Softmax<T>(s, job.Scale, ref largest[r], ref totals[r]);
                AddValues<T>(sums + r * padded, correction, s, v, from, to, size);
            }
        }

        for (int r = 0; r < rows; r++)
        {
            float* y = job.Y + (text.First + token + r / group) * queryWidth + (head * group + r % group) * size;
            T scale = T.Broadcast(1f / totals[r]);
            float* sum = sums + r * padded;
            int i = 0;
            for (; i <= size - 16; i += 16) T.Store(T.Load(sum + i) * scale, y + i);
            if (i < size) Partial.Store(T.Load(sum + i) * scale, y + i, size - i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores<T>(float* queries, nint padded, int rows, float* k, int keys, int size, float* scores)
        where T : unmanaged, ILanes<T>
    {
        (int tileX, int tileW) = DotTile.Shape<T>();
        float** x = stackalloc float*[6];
        byte** w = stackalloc byte*[4];
        float* sums = stackalloc float[24];
        float* carry = stackalloc float[24 * 16];
        if (rows == 1)
        {
            for (int j = 0; j < keys; j += DotTile.Streams)
            {
                for (int s = 0; s < DotTile.Streams; s++) w[s] = (byte*)(k + Math.Min(j + s, keys - 1) * size);
                DotTile.RunRow<T, StoredFloat32>(queries, w, size, carry, sums);
                for (int s = 0; s < DotTile.Streams && j + s < keys; s++) scores[j + s] = sums[s];
            }
            return;
        }
        for (int j = 0; j < keys; j += tileW)
        {
            for (int s = 0; s < tileW; s++) w[s] = (byte*)(k + Math.Min(j + s, keys - 1) * size);
            for (int r = 0; r < rows; r += tileX)
            {
                for (int t = 0; t < tileX; t++) x[t] = queries + Math.Min(r + t, rows - 1) * padded;
                DotTile.Run<T, StoredFloat32>(x, w, size, carry, first: true, last: true, sums);
                // A tile may reach beyond the last key, not beyond the block: what it writes there is masked.
                for (int t = 0; t < tileX && r + t < rows; t++)
                    if (tileW == 4) Vector128.Load(sums + t * 4).Store(scores + (r + t) * Block + j);
                    else for (int s = 0; s < tileW; s++) scores[(r + t) * Block + j + s] = sums[t * tileW + s];
            }
        }
    }

    /// <summary>Turns a block's scores into exponentials and returns what the sums so far are to be multiplied by.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Softmax<T>(float* s, float scale, ref float largest, ref float total)
        where T : unmanaged, ILanes<T>
    {
        T factor = T.Broadcast(scale), a = T.Load(s) * factor, b = T.Load(s + 16) * factor;
        float* lanes = stackalloc float[16];
        T.Store(T.SelectLess(a, b, b, a), lanes);
        Vector128<float> four = Vector128.Max(
            Vector128.Max(Vector128.Load(lanes), Vector128.Load(lanes + 4)),
            Vector128.Max(Vector128.Load(lanes + 8), Vector128.Load(lanes + 12)));
        float most = MathF.Max(largest, MathF.Max(MathF.Max(four[0], four[1]), MathF.Max(four[2], four[3])));
        T shift = T.Broadcast(most);
        a = Elementary.Exp(a - shift);
        b = Elementary.Exp(b - shift);
        T.Store(a, s);
        T.Store(b, s + 16);
        float correction = 1;       // e⁰, exactly
        if (most != largest)
        {
            T.Store(Elementary.Exp(T.Broadcast(largest) - shift), lanes);
            correction = lanes[0];
            largest = most;
        }
        total = MathF.FusedMultiplyAdd(total, correction, T.Sum(a + b));
        return correction;
    }

    /// <summary>sum = sum·correction, then + weight·value key after key.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddValues<T>(float* sum, float correction, float* weights, float* v, int from, int to, int size)
        where T : unmanaged, ILanes<T>
    {
        T scale = T.Broadcast(correction);
        int i = 0;
        // Eight sums side by side hide the latency of an addition, where there are registers for them.
        for (; T.Registers == 1 && i <= size - 128; i += 128)
        {
            T a = T.Load(sum + i) * scale, b = T.Load(sum + i + 16) * scale;
            T c = T.Load(sum + i + 32) * scale, d = T.Load(sum + i + 48) * scale;
            T e = T.Load(sum + i + 64) * scale, f = T.Load(sum + i + 80) * scale;
            T g = T.Load(sum + i + 96) * scale, h = T.Load(sum + i + 112) * scale;
            float* value = v + from * size + i;
            for (int j = from; j < to; j++, value += size)
            {
                T weight = T.Broadcast(weights[j]);
                a = T.MultiplyAdd(weight, T.Load(value), a);
                b = T.MultiplyAdd(weight, T.Load(value + 16), b);
                c = T.MultiplyAdd(weight, T.Load(value + 32), c);
                d = T.MultiplyAdd(weight, T.Load(value + 48), d);
                e = T.MultiplyAdd(weight, T.Load(value + 64), e);
                f = T.MultiplyAdd(weight, T.Load(value + 80), f);
                g = T.MultiplyAdd(weight, T.Load(value + 96), g);
                h = T.MultiplyAdd(weight, T.Load(value + 112), h);
            }
            T.Store(a, sum + i);
            T.Store(b, sum + i + 16);
            T.Store(c, sum + i + 32);
            T.Store(d, sum + i + 48);
            T.Store(e, sum + i + 64);
            T.Store(f, sum + i + 80);
            T.Store(g, sum + i + 96);
            T.Store(h, sum + i + 112);
        }
        for (; i <= size - 64; i += 64)
        {
            T a = T.Load(sum + i) * scale, b = T.Load(sum + i + 16) * scale;
            T c = T.Load(sum + i + 32) * scale, d = T.Load(sum + i + 48) * scale;
            float* value = v + from * size + i;
            for (int j = from; j < to; j++, value += size)
            {
                T weight = T.Broadcast(weights[j]);
                a = T.MultiplyAdd(weight, T.Load(value), a);
                b = T.MultiplyAdd(weight, T.Load(value + 16), b);
                c = T.MultiplyAdd(weight, T.Load(value + 32), c);
                d = T.MultiplyAdd(weight, T.Load(value + 48), d);
            }
            T.Store(a, sum + i);
            T.Store(b, sum + i + 16);
            T.Store(c, sum + i + 32);
            T.Store(d, sum + i + 48);
        }
        if (i < size) AddLastValues<T>(sum, scale, weights, v, from, to, i, size);
    }

    // The columns that do not fill four sets of lanes; apart, because what it calls would make the compiler keep lanes in memory.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddLastValues<T>(float* sum, T scale, float* weights, float* v, int from, int to, int i, int size)
        where T : unmanaged, ILanes<T>
    {
        for (; i < size; i += 16)
        {
            int rest = Math.Min(16, size - i);
            T a = T.Load(sum + i) * scale;
            for (int j = from; j < to; j++)
            {
                float* value = v + j * size + i;
                a = T.MultiplyAdd(T.Broadcast(weights[j]), rest == 16 ? T.Load(value) : Partial.Load<T>(value, rest), a);
            }
            T.Store(a, sum + i);
        }
    }
}
