using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Causal attention over whole texts, and its backward pass, by blocks of queries that meet all their keys as matrix products.</summary>
/// <remarks>
/// One item is one key head of one text, so that the sums over queries in the gradients of keys and values have one order. The weights are
/// not kept from the forward pass but computed again from the logarithms of the sums (Dao et al., 2022, arXiv:2205.14135).
/// </remarks>
internal static unsafe class TrainingAttention
{
    internal struct Job
    {
        public float* Q, K, V;

        /// <summary>The result; null in the backward pass, which does without.</summary>
        public float* Y;

        /// <summary>[tokens, query heads].</summary>
        public float* LogSums;

        /// <summary>The gradient of the result and those of Q, K and V; null in the forward pass.</summary>
        public float* Dy, Dq, Dk, Dv;

        /// <summary>First token and number of tokens of each text.</summary>
        public int* Texts;
        public int QueryHeads, KeyHeads, Size, Window;
        public float Scale;
        public Dropout Dropout;

        /// <summary>Tokens of the longest text.</summary>
        public int Longest;

        /// <summary>For every thread.</summary>
        public byte* Scratch;
        public long ScratchBytes;
    }

    /// <summary>Queries of a block, and keys of a piece of the sums over keys.</summary>
    private const int Block = 64;

    /// <summary>Scratch of one thread: three packed operands over all keys, two blocks of scores, one of them packed, and four small ones.</summary>
    internal static long ScratchBytes(int longest, int size)
    {
        long keys = Padded(longest), width = Padded(size);
        return (keys * (3 * width + 3 * Block) + 4 * Block * width) * sizeof(float);
    }

    private static long Padded(int count) => (count + Block - 1L) / Block * Block;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Forward<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int first = job.Texts[2 * (item / job.KeyHeads)], count = job.Texts[2 * (item / job.KeyHeads) + 1], keyHead = item % job.KeyHeads;
        int size = job.Size, group = job.QueryHeads / job.KeyHeads;
        nint queryWidth = (nint)job.QueryHeads * size, keyWidth = (nint)job.KeyHeads * size;
        nint keys = (nint)Padded(job.Longest), width = (nint)Padded(size);
        float* keysAcross = (float*)(job.Scratch + worker * job.ScratchBytes), values = keysAcross + keys * width;
        float* scores = values + keys * width, packedScores = scores + keys * Block, queries = packedScores + keys * Block;

        float* k = job.K + first * keyWidth + keyHead * size, v = job.V + first * keyWidth + keyHead * size;
        MatrixProduct.PackB(new() { Numbers = k, RowStride = 1, ColumnStride = keyWidth }, 0, size, 0, count, keysAcross);
        PackPieces(v, keyWidth, count, size, width, values);

        for (int g = 0; g < group; g++)
        {
            int head = keyHead * group + g;
            for (int row = 0; row < count; row += Block)
            {
                int rows = Math.Min(Block, count - row), end = row + rows, begin = FirstKey(job.Window, row);
                float* q = job.Q + (first + row) * queryWidth + head * size, y = job.Y + (first + row) * queryWidth + head * size;
                MatrixProduct.PackA(new() { Numbers = q, RowStride = queryWidth, ColumnStride = 1 }, 0, rows, 0, size, queries);
                MatrixProduct.Multiply<T>(queries, keysAcross + (nint)begin * size, scores, keys, rows, end - begin, size, adds: false);
                for (int i = 0; i < rows; i++)
                {
                    float* s = scores + i * keys;
                    long place = (long)(first + row + i) * job.QueryHeads + head;
                    Mask(s, From(job.Window, row + i) - begin, row + i + 1 - begin, end - begin);
                    job.LogSums[place] = Softmax<T>(s, end - begin, job.Scale);
                    if (job.Dropout.Rate > 0) DropoutKernel.Row(s, end - begin, job.Dropout, (ulong)place, begin);
                }
                for (int piece = begin; piece < end; piece += Block)
                {
                    int length = Math.Min(Block, end - piece);
                    MatrixProduct.PackA(
                        new() { Numbers = scores, RowStride = keys, ColumnStride = 1 }, 0, rows, piece - begin, length, packedScores);
                    MatrixProduct.Multiply<T>(packedScores, values + piece * width, y, queryWidth, rows, size, length, adds: piece > begin);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Backward<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int first = job.Texts[2 * (item / job.KeyHeads)], count = job.Texts[2 * (item / job.KeyHeads) + 1], keyHead = item % job.KeyHeads;
        int size = job.Size, group = job.QueryHeads / job.KeyHeads;
        nint queryWidth = (nint)job.QueryHeads * size, keyWidth = (nint)job.KeyHeads * size;
        nint keys = (nint)Padded(job.Longest), width = (nint)Padded(size);
        float* keysAcross = (float*)(job.Scratch + worker * job.ScratchBytes), valuesAcross = keysAcross + keys * width;
        float* packedKeys = valuesAcross + keys * width, scores = packedKeys + keys * width, slopes = scores + keys * Block;
        float* packedScores = slopes + keys * Block, queries = packedScores + keys * Block, gradients = queries + Block * width;
        float* queryRows = gradients + Block * width, gradientRows = queryRows + Block * width;

        nint text = first * keyWidth + keyHead * size;
        float* k = job.K + text, v = job.V + text, dk = job.Dk + text, dv = job.Dv + text;
        MatrixProduct.PackB(new() { Numbers = k, RowStride = 1, ColumnStride = keyWidth }, 0, size, 0, count, keysAcross);
        MatrixProduct.PackB(new() { Numbers = v, RowStride = 1, ColumnStride = keyWidth }, 0, size, 0, count, valuesAcross);
        PackPieces(k, keyWidth, count, size, width, packedKeys);
        for (int i = 0; i < count; i++)
        {
            new Span<float>(dk + i * keyWidth, size).Clear();
            new Span<float>(dv + i * keyWidth, size).Clear();
        }

        for (int g = 0; g < group; g++)
        {
            int head = keyHead * group + g;
            for (int row = 0; row < count; row += Block)
            {
                int rows = Math.Min(Block, count - row), end = row + rows, begin = FirstKey(job.Window, row), span = end - begin;
                nint place = (first + row) * queryWidth + head * size;
                MatrixProduct.Operand q = new() { Numbers = job.Q + place, RowStride = queryWidth, ColumnStride = 1 };
                MatrixProduct.Operand dy = new() { Numbers = job.Dy + place, RowStride = queryWidth, ColumnStride = 1 };
                MatrixProduct.PackA(q, 0, rows, 0, size, queries);
                MatrixProduct.PackA(dy, 0, rows, 0, size, gradients);
                MatrixProduct.Multiply<T>(queries, keysAcross + (nint)begin * size, scores, keys, rows, span, size, adds: false);
                MatrixProduct.Multiply<T>(gradients, valuesAcross + (nint)begin * size, slopes, keys, rows, span, size, adds: false);
                for (int i = 0; i < rows; i++)
                {
                    float* s = scores + i * keys, ds = slopes + i * keys;
                    long query = (long)(first + row + i) * job.QueryHeads + head;
                    Mask(s, From(job.Window, row + i) - begin, row + i + 1 - begin, span);
                    for (int j = span; j < ((span + 15) & ~15); j++) ds[j] = 0;
                    if (job.Dropout.Rate > 0) DropoutKernel.Row(ds, span, job.Dropout, (ulong)query, begin);
                    Slopes<T>(s, ds, span, job.Scale, job.LogSums[query]);
                    if (job.Dropout.Rate > 0) DropoutKernel.Row(s, span, job.Dropout, (ulong)query, begin);
                }

                // dq = ds·k
                for (int piece = begin; piece < end; piece += Block)
                {
                    int length = Math.Min(Block, end - piece);
                    MatrixProduct.PackA(
                        new() { Numbers = slopes, RowStride = keys, ColumnStride = 1 }, 0, rows, piece - begin, length, packedScores);
                    MatrixProduct.Multiply<T>(
                        packedScores, packedKeys + piece * width, job.Dq + place, queryWidth, rows, size, length, adds: piece > begin);
                }

                // dk = dk + dsᵀ·q, dv = dv + pᵀ·dy
                MatrixProduct.PackB(q, 0, rows, 0, size, queryRows);
                MatrixProduct.PackA(new() { Numbers = slopes, RowStride = 1, ColumnStride = keys }, 0, span, 0, rows, packedScores);
                MatrixProduct.Multiply<T>(packedScores, queryRows, dk + begin * keyWidth, keyWidth, span, size, rows, adds: true);
                MatrixProduct.PackB(dy, 0, rows, 0, size, gradientRows);
                MatrixProduct.PackA(new() { Numbers = scores, RowStride = 1, ColumnStride = keys }, 0, span, 0, rows, packedScores);
                MatrixProduct.Multiply<T>(packedScores, gradientRows, dv + begin * keyWidth, keyWidth, span, size, rows, adds: true);
            }
        }
    }

    private static int From(int window, int query) => window > 0 ? Math.Max(0, query - window + 1) : 0;

    /// <summary>The first key that a block of queries meets, at the beginning of a piece.</summary>
    private static int FirstKey(int window, int row) => From(window, row) / Block * Block;

    /// <summary>Rows of keys or values in pieces of <see cref="Block"/>, each packed as the right side of a product.</summary>
    private static void PackPieces(float* rows, nint stride, int count, int size, nint width, float* target)
    {
        for (int piece = 0; piece < count; piece += Block)
            MatrixProduct.PackB(new() { Numbers = rows, RowStride = stride, ColumnStride = 1 },
                piece, Math.Min(Block, count - piece), 0, size, target + piece * width);
    }

    // Keys that a query does not see, and those that fill the last lanes.
    private static void Mask(float* s, int from, int to, int span)
    {
        for (int j = 0; j < from; j++) s[j] = float.NegativeInfinity;
        for (int j = to; j < ((span + 15) & ~15); j++) s[j] = float.NegativeInfinity;
    }

    /// <summary>s = softmax(scale·s); returns the logarithm of the sum of exponentials.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Softmax<T>(float* s, int count, float scale)
        where T : unmanaged, ILanes<T>
    {
        T factor = T.Broadcast(scale), largest = T.Broadcast(float.NegativeInfinity), sum = T.Zero;
        for (int j = 0; j < count; j += 16)
        {
            T x = T.Load(s + j) * factor;
            T.Store(x, s + j);
            largest = T.SelectLess(largest, x, x, largest);
        }
        float* lanes = stackalloc float[16];
        T.Store(largest, lanes);
        float most = lanes[0];
        for (int j = 1; j < 16; j++) if (lanes[j] > most) most = lanes[j];
        T shift = T.Broadcast(most);
        for (int j = 0; j < count; j += 16)
        {
            T x = Elementary.Exp(T.Load(s + j) - shift);
            T.Store(x, s + j);
            sum += x;
        }
        float total = T.Sum(sum);
        T share = T.Broadcast(1 / total);
        for (int j = 0; j < count; j += 16) T.Store(T.Load(s + j) * share, s + j);
        return (float)(most + Angles.Log(total));
    }

    /// <summary>s becomes the weights p = e^(scale·s − logSum), ds = dp becomes scale·p·(dp − Σp·dp).</summary>
    /// <remarks>The sum is of these very products, not y·dy, which it equals but for rounding: where a query sees one key the difference is 0 then,
    /// as it is in torch, and not a rest that AdamW would take for a gradient.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Slopes<T>(float* s, float* ds, int count, float scale, float logSum)
        where T : unmanaged, ILanes<T>
    {
        T factor = T.Broadcast(scale), shift = T.Broadcast(logSum), sum = T.Zero;
        for (int j = 0; j < count; j += 16)
        {
            T p = Elementary.Exp(T.Load(s + j) * factor - shift);
            T.Store(p, s + j);
            sum = T.MultiplyAdd(p, T.Load(ds + j), sum);
        }
        T mean = T.Broadcast(T.Sum(sum));
        for (int j = 0; j < count; j += 16) T.Store(T.Load(s + j) * (T.Load(ds + j) - mean) * factor, ds + j);
    }
}
