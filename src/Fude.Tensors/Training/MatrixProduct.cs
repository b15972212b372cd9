using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>C = A·B or C = C + A·B, where each of A and B may lie transposed: the products of the backward pass.</summary>
/// <remarks>
/// A number of C is summed over k in pieces of <see cref="Piece"/>: within a piece one fused multiply-add after the other from 0 on, and
/// the pieces are added to C in ascending order. With <see cref="Job.InBlocks"/> a piece is the sum of blocks of <see cref="Block"/>, in ascending order from
/// 0 on, and a block that of two chains of sixteen, each one fused multiply-add after the other from 0 on. So its bits depend on nothing else: not on the tile, the lanes, nor the threads. Pieces
/// of A and B are packed so that the inner kernel reads both from beginning to end: strips of <see cref="Rows"/> rows of A, k after k, and
/// panels of <see cref="Columns"/> columns of B, k after k (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
/// 2008). B is packed once for all items, by all threads. A panel's piece stays in the first-level cache while an item's strips, in the
/// second, go by.
/// </remarks>
internal static unsafe class MatrixProduct
{
    /// <summary>A matrix in memory that may lie transposed: number (i, j) is at i·RowStride + j·ColumnStride; one of the two is 1.</summary>
    internal struct Operand
    {
        public float* Numbers;
        public nint RowStride, ColumnStride;
    }

    internal struct Job
    {
        /// <summary>[M, K].</summary>
        public Operand A;

        /// <summary>[K, N].</summary>
        public Operand B;

        /// <summary>[M, N], rows <see cref="CStride"/> apart.</summary>
        public float* C;
        public nint CStride;
        public int M, N, K;

        /// <summary>Whether the product is added to what C holds.</summary>
        public bool Adds;

        /// <summary>Whether numbers of A and B are rounded to bfloat16 first: see <see cref="Bf16Numbers"/>.</summary>
        public bool Rounds;

        /// <summary>Whether sums are taken in blocks.</summary>
        public bool InBlocks;

        /// <summary>Rows and columns of C in one item; multiples of the tile's (of <see cref="Columns"/>, and <see cref="Rows"/> or those of another tile).</summary>
        public int ItemRows, ItemColumns;

        /// <summary><see cref="PackedNumbers"/> numbers: B, piece after piece, each as panels.</summary>
        public float* Packed;

        /// <summary><see cref="ScratchBytes"/> for every thread.</summary>
        public byte* Scratch;
    }

    internal const int Rows = 8, Columns = 32, Piece = 256, Block = 2 * Chain;
    internal const int LargestItemRows = 96, PackedColumns = 256;

    private const int Chain = 16;

    /// <summary>Scratch of one thread.</summary>
    internal const long ScratchBytes = (long)LargestItemRows * Piece * sizeof(float);

    /// <summary>Numbers of the packed B.</summary>
    internal static long PackedNumbers(in Job job) => Math.Max(job.K, RoundUp(job.K, Block) / 2) * (long)RoundUp(job.N, Columns);

    /// <summary>Items of <see cref="Pack"/>, which has to be done before <see cref="Run"/>.</summary>
    internal static int PackItems(in Job job) => checked(((job.K + Piece - 1) / Piece) * ((job.N + PackedColumns - 1) / PackedColumns));

    /// <summary>Splits the product into items of whole strips and returns their number.</summary>
    internal static int Plan(ref Job job, int threads, int stripRows = Rows, int largestRows = LargestItemRows)
    {
        job.ItemColumns = RoundUp(job.N, Columns);
        job.ItemRows = Math.Min(largestRows, RoundUp(job.M, stripRows));
        // Enough items that a thread held up elsewhere leaves its share to the others.
        while (Items(job) < threads * 4 && job.ItemRows > 4 * stripRows) job.ItemRows = RoundUp(job.ItemRows / 2, stripRows);
        while (Items(job) < threads * 4 && job.ItemColumns > 4 * Columns) job.ItemColumns = RoundUp(job.ItemColumns / 2, Columns);
        return Items(job);
    }

    /// <summary>One item packs some columns of a piece of B.</summary>
    internal static void Pack(void* argument, int item, int worker)
    {
        ref Job job = ref *(Job*)argument;
        int across = (job.N + PackedColumns - 1) / PackedColumns, k = item / across * Piece, column = item % across * PackedColumns;
        int count = Math.Min(Piece, job.K - k);
        int columns = Math.Min(PackedColumns, job.N - column);
        float* panels = Panels(job, k, column, count);
        PackB(job.B, k, count, column, columns, panels);
        if (job.Rounds) Bf16Numbers.RoundAll(panels, (nint)RoundUp(columns, Columns) * count);
    }

    internal static void Run<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int across = (job.N + job.ItemColumns - 1) / job.ItemColumns;
        int row = item / across * job.ItemRows, column = item % across * job.ItemColumns;
        int rows = Math.Min(job.ItemRows, job.M - row), columns = Math.Min(job.ItemColumns, job.N - column);
        float* a = (float*)(job.Scratch + worker * ScratchBytes), c = job.C + row * job.CStride + column;
        for (int k = 0; k < job.K || k == 0; k += Piece)
        {
            int count = Math.Min(Piece, job.K - k);
            PackA(job.A, row, rows, k, count, a);
            if (job.Rounds) Bf16Numbers.RoundAll(a, (nint)RoundUp(rows, Rows) * count);
            Multiply<T>(a, Panels(job, k, column, count), c, job.CStride, rows, columns, count, job.Adds || k > 0, job.InBlocks);
        }
    }

    private static float* Panels(in Job job, int k, int column, int count) =>
        job.Packed + (nint)k * RoundUp(job.N, Columns) + (nint)column * count;

    private static int Items(in Job job) => (job.M + job.ItemRows - 1) / job.ItemRows * ((job.N + job.ItemColumns - 1) / job.ItemColumns);

    internal static int RoundUp(int count, int unit) => (count + unit - 1) / unit * unit;

    /// <summary>C (+)= packed A · packed B, tile by tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Multiply<T>(float* a, float* b, float* c, nint stride, int rows, int columns, int count, bool adds, bool inBlocks = false)
        where T : unmanaged, ILanes<T>
    {
        float* edge = stackalloc float[Rows * Columns];
        for (int j = 0; j < columns; j += Columns)
        {
            float* panel = b + (nint)j * count;
            int i = 0;
            if (T.Registers == 2 && !inBlocks && columns - j >= Columns)
                for (; i <= rows - 3 * Rows; i += 3 * Rows) ThreeStrips(a + (nint)i * count, panel, count, c + i * stride + j, stride, adds);
            for (; i < rows; i += Rows)
            {
                float* strip = a + (nint)i * count, target = c + i * stride + j;
                int tileRows = Math.Min(Rows, rows - i), tileColumns = Math.Min(Columns, columns - j);
                if (inBlocks)
                {
                    BlockedTile<T>(strip, panel, count, edge);
                    Put<T>(edge, target, stride, tileRows, tileColumns, adds);
                    continue;
                }
                if (tileRows == Rows && tileColumns == Columns)
                {
                    Tile<T>(strip, panel, count, target, stride, adds);
                    continue;
                }
                Tile<T>(strip, panel, count, edge, Columns, adds: false);
                Put<T>(edge, target, stride, tileRows, tileColumns, adds);
            }
        }
    }

    /// <summary>What of a tile, whose rows lie <see cref="Columns"/> apart, is within C.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Put<T>(float* tile, float* c, nint stride, int rows, int columns, bool adds)
        where T : unmanaged, ILanes<T>
    {
        for (int y = 0; y < rows; y++, tile += Columns, c += stride)
        {
            int x = 0;
            for (; x <= columns - 16; x += 16) T.Store(adds ? T.Load(c + x) + T.Load(tile + x) : T.Load(tile + x), c + x);
            for (; x < columns; x++) c[x] = adds ? c[x] + tile[x] : tile[x];
        }
    }

    private static void BlockedTile<T>(float* a, float* b, int count, float* c)
        where T : unmanaged, ILanes<T>
    {
        float* others = stackalloc float[Rows * Columns];
        for (int k = 0; k < count || k == 0; k += Block, a += Block * Rows, b += Block * Columns)
        {
            float* sums = k == 0 ? c : others;
            Tile<T>(a, b, Math.Min(Chain, count - k), sums, Columns, adds: false);
            if (count - k > Chain) Tile<T>(a + Chain * Rows, b + Chain * Columns, Math.Min(Chain, count - k - Chain), sums, Columns, adds: true);
            if (k > 0) Put<T>(others, c, Columns, Rows, Columns, adds: true);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Tile<T>(float* a, float* b, int count, float* c, nint stride, bool adds)
        where T : unmanaged, ILanes<T>
    {
        if (T.Registers == 1)
        {
            EightByTwo<T>(a, b, count, c, stride, adds);
            return;
        }
        for (int i = 0; i < Rows; i += 4)
            for (int j = 0; j < Columns; j += 16) FourByOne<T>(a + i, b + j, count, c + i * stride + j, stride, adds);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightByTwo<T>(float* a, float* b, int count, float* c, nint stride, bool adds)
        where T : unmanaged, ILanes<T>
    {
        T p0, p1, q0, q1, r0, r1, s0, s1, t0, t1, u0, u1, v0, v1, w0, w1;
        p0 = p1 = q0 = q1 = r0 = r1 = s0 = s1 = t0 = t1 = u0 = u1 = v0 = v1 = w0 = w1 = T.Zero;
        float* end = a + (nint)count * Rows;
        for (; a < end; a += Rows, b += Columns)
        {
            T x = T.Load(b), y = T.Load(b + 16);
            T z = T.Broadcast(a[0]);
            (p0, p1) = (T.MultiplyAdd(z, x, p0), T.MultiplyAdd(z, y, p1));
            z = T.Broadcast(a[1]);
            (q0, q1) = (T.MultiplyAdd(z, x, q0), T.MultiplyAdd(z, y, q1));
            z = T.Broadcast(a[2]);
            (r0, r1) = (T.MultiplyAdd(z, x, r0), T.MultiplyAdd(z, y, r1));
            z = T.Broadcast(a[3]);
            (s0, s1) = (T.MultiplyAdd(z, x, s0), T.MultiplyAdd(z, y, s1));
            z = T.Broadcast(a[4]);
            (t0, t1) = (T.MultiplyAdd(z, x, t0), T.MultiplyAdd(z, y, t1));
            z = T.Broadcast(a[5]);
            (u0, u1) = (T.MultiplyAdd(z, x, u0), T.MultiplyAdd(z, y, u1));
            z = T.Broadcast(a[6]);
            (v0, v1) = (T.MultiplyAdd(z, x, v0), T.MultiplyAdd(z, y, v1));
            z = T.Broadcast(a[7]);
            (w0, w1) = (T.MultiplyAdd(z, x, w0), T.MultiplyAdd(z, y, w1));
        }
        Put(p0, p1, c, adds);
        Put(q0, q1, c += stride, adds);
        Put(r0, r1, c += stride, adds);
        Put(s0, s1, c += stride, adds);
        Put(t0, t1, c += stride, adds);
        Put(u0, u1, c += stride, adds);
        Put(v0, v1, c += stride, adds);
        Put(w0, w1, c + stride, adds);
    }

    // Three strips are four times six rows: with sixteen columns twelve sums of eight, as many as sixteen ymm registers hold beside their factors.
    private static void ThreeStrips(float* p, float* b, int count, float* c, nint stride, bool adds)
    {
        float* q = p + (nint)count * Rows, r = q + (nint)count * Rows;
        for (int j = 0; j < Columns; j += 16, b += 16, c += 16)
        {
            SixByTwo(p, p + 2, p + 4, b, count, c, stride, adds);
            SixByTwo(p + 6, q, q + 2, b, count, c + 6 * stride, stride, adds);
            SixByTwo(q + 4, q + 6, r, b, count, c + 12 * stride, stride, adds);
            SixByTwo(r + 2, r + 4, r + 6, b, count, c + 18 * stride, stride, adds);
        }
    }

    // Six rows of C, sixteen columns of each. Pairs of rows lie within one strip each, from p, q and r on.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixByTwo(float* p, float* q, float* r, float* b, int count, float* c, nint stride, bool adds)
    {
        Vector256<float> a0 = default, b0 = default, c0 = default, d0 = default, e0 = default, f0 = default;
        Vector256<float> a1 = default, b1 = default, c1 = default, d1 = default, e1 = default, f1 = default;
        float* end = b + (nint)count * Columns;
        for (; b < end; b += Columns, p += Rows, q += Rows, r += Rows)
        {
            Vector256<float> x = Vector256.Load(b), y = Vector256.Load(b + 8), z = Vector256.Create(p[0]);
            a0 = Fma.MultiplyAdd(z, x, a0);
            a1 = Fma.MultiplyAdd(z, y, a1);
            z = Vector256.Create(p[1]);
            b0 = Fma.MultiplyAdd(z, x, b0);
            b1 = Fma.MultiplyAdd(z, y, b1);
            z = Vector256.Create(q[0]);
            c0 = Fma.MultiplyAdd(z, x, c0);
            c1 = Fma.MultiplyAdd(z, y, c1);
            z = Vector256.Create(q[1]);
            d0 = Fma.MultiplyAdd(z, x, d0);
            d1 = Fma.MultiplyAdd(z, y, d1);
            z = Vector256.Create(r[0]);
            e0 = Fma.MultiplyAdd(z, x, e0);
            e1 = Fma.MultiplyAdd(z, y, e1);
            z = Vector256.Create(r[1]);
            f0 = Fma.MultiplyAdd(z, x, f0);
            f1 = Fma.MultiplyAdd(z, y, f1);
        }
        PutHalf(a0, a1, c, adds);
        PutHalf(b0, b1, c += stride, adds);
        PutHalf(c0, c1, c += stride, adds);
        PutHalf(d0, d1, c += stride, adds);
        PutHalf(e0, e1, c += stride, adds);
        PutHalf(f0, f1, c + stride, adds);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutHalf(Vector256<float> first, Vector256<float> second, float* target, bool adds)
    {
        (adds ? Vector256.Load(target) + first : first).Store(target);
        (adds ? Vector256.Load(target + 8) + second : second).Store(target + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<T>(T first, T second, float* target, bool adds)
        where T : unmanaged, ILanes<T>
    {
        T.Store(adds ? T.Load(target) + first : first, target);
        T.Store(adds ? T.Load(target + 16) + second : second, target + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByOne<T>(float* a, float* b, int count, float* c, nint stride, bool adds)
        where T : unmanaged, ILanes<T>
    {
        T p, q, r, s;
        p = q = r = s = T.Zero;
        float* end = a + (nint)count * Rows;
        for (; a < end; a += Rows, b += Columns)
        {
            T x = T.Load(b);
            p = T.MultiplyAdd(T.Broadcast(a[0]), x, p);
            q = T.MultiplyAdd(T.Broadcast(a[1]), x, q);
            r = T.MultiplyAdd(T.Broadcast(a[2]), x, r);
            s = T.MultiplyAdd(T.Broadcast(a[3]), x, s);
        }
        T.Store(adds ? T.Load(c) + p : p, c);
        c += stride;
        T.Store(adds ? T.Load(c) + q : q, c);
        c += stride;
        T.Store(adds ? T.Load(c) + r : r, c);
        c += stride;
        T.Store(adds ? T.Load(c) + s : s, c);
    }

    /// <summary>Rows from one on and a piece of k, as strips [rows / 8][k][8]; rows beyond the last are 0.</summary>
    internal static void PackA(in Operand a, int row, int rows, int k, int count, float* target)
    {
        float* source = a.Numbers + row * a.RowStride + k * a.ColumnStride;
        int whole = 0;
        if (a.RowStride == 1)
        {
            // The columns of A lie in rows, which are read from beginning to end into all strips side by side.
            whole = rows / Rows * Rows;
            CopyStrips(source, a.ColumnStride, count, whole / Rows, target);
        }
        for (int i = whole; i < rows; i += Rows)
        {
            float* strip = target + (nint)i * count, first = source + i * a.RowStride;
            int present = Math.Min(Rows, rows - i);
            if (a.RowStride == 1) CopyRows(first, a.ColumnStride, count, present, strip, Rows);
            else TransposeRows(first, a.RowStride, present, count, strip, Rows);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CopyStrips(float* source, nint stride, int count, int strips, float* target)
    {
        nint apart = (nint)count * Rows;
        for (int k = 0; k < count; k++, source += stride, target += Rows)
        {
            float* strip = target;
            for (int i = 0; i < strips; i++, strip += apart) Vector256.Load(source + i * Rows).Store(strip);
        }
    }

    /// <summary>A piece of k and columns from one on, as panels [columns / 32][k][32]; columns beyond the last are 0.</summary>
    internal static void PackB(in Operand b, int k, int count, int column, int columns, float* target)
    {
        for (int j = 0; j < columns; j += Columns, target += (nint)Columns * count)
        {
            float* source = b.Numbers + k * b.RowStride + (column + j) * b.ColumnStride;
            int present = Math.Min(Columns, columns - j);
            if (b.ColumnStride == 1)
            {
                CopyRows(source, b.RowStride, count, present, target, Columns);
                continue;
            }
            for (int x = 0; x < Columns; x += 8)
                TransposeRows(source + x * b.ColumnStride, b.ColumnStride, Math.Clamp(present - x, 0, 8), count, target + x, Columns);
        }
    }

    // target[i][0 … present) = source row i, then 0 up to the width.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CopyRows(float* source, nint stride, int rows, int present, float* target, int width)
    {
        if (present == width && width == Columns)
        {
            for (int i = 0; i < rows; i++, source += stride, target += Columns)
            {
                Vector256.Load(source).Store(target);
                Vector256.Load(source + 8).Store(target + 8);
                Vector256.Load(source + 16).Store(target + 16);
                Vector256.Load(source + 24).Store(target + 24);
            }
            return;
        }
        for (int i = 0; i < rows; i++, source += stride, target += width)
        {
            for (int j = 0; j < present; j++) target[j] = source[j];
            for (int j = present; j < width; j++) target[j] = 0;
        }
    }

    // target[k][i] = row i of the source at k, for 8 rows of which those not present are 0; target rows lie width apart.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TransposeRows(float* source, nint stride, int present, int count, float* target, int width)
    {
        int k = 0;
        if (present == 8 && Avx.IsSupported)
            for (; k <= count - 8; k += 8) TransposeEight(source + k, stride, target + (nint)k * width, width);
        for (int i = 0; i < 8; i++)
            for (int j = k; j < count; j++) target[(nint)j * width + i] = i < present ? source[i * stride + j] : 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TransposeEight(float* source, nint stride, float* target, nint width)
    {
        Vector256<float> a = Vector256.Load(source), b = Vector256.Load(source + stride);
        Vector256<float> c = Vector256.Load(source + 2 * stride), d = Vector256.Load(source + 3 * stride);
        source += 4 * stride;
        Vector256<float> e = Vector256.Load(source), f = Vector256.Load(source + stride);
        Vector256<float> g = Vector256.Load(source + 2 * stride), h = Vector256.Load(source + 3 * stride);
        StoreTransposed(a, b, c, d, e, f, g, h, target, width);
    }

    /// <summary>Stores eight rows as eight columns, whose rows lie width apart.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void StoreTransposed(
        Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d,
        Vector256<float> e, Vector256<float> f, Vector256<float> g, Vector256<float> h, float* target, nint width)
    {
        // Pairs, then fours within the halves, then the halves.
        (a, b) = (Avx.UnpackLow(a, b), Avx.UnpackHigh(a, b));
        (c, d) = (Avx.UnpackLow(c, d), Avx.UnpackHigh(c, d));
        (e, f) = (Avx.UnpackLow(e, f), Avx.UnpackHigh(e, f));
        (g, h) = (Avx.UnpackLow(g, h), Avx.UnpackHigh(g, h));
        (a, c) = (Avx.Shuffle(a, c, 0b01_00_01_00), Avx.Shuffle(a, c, 0b11_10_11_10));
        (b, d) = (Avx.Shuffle(b, d, 0b01_00_01_00), Avx.Shuffle(b, d, 0b11_10_11_10));
        (e, g) = (Avx.Shuffle(e, g, 0b01_00_01_00), Avx.Shuffle(e, g, 0b11_10_11_10));
        (f, h) = (Avx.Shuffle(f, h, 0b01_00_01_00), Avx.Shuffle(f, h, 0b11_10_11_10));
        Avx.Permute2x128(a, e, 0x20).Store(target);
        Avx.Permute2x128(c, g, 0x20).Store(target + width);
        Avx.Permute2x128(b, f, 0x20).Store(target + 2 * width);
        Avx.Permute2x128(d, h, 0x20).Store(target + 3 * width);
        target += 4 * width;
        Avx.Permute2x128(a, e, 0x31).Store(target);
        Avx.Permute2x128(c, g, 0x31).Store(target + width);
        Avx.Permute2x128(b, f, 0x31).Store(target + 2 * width);
        Avx.Permute2x128(d, h, 0x31).Store(target + 3 * width);
    }
}
