using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>What computes the tiles of a <see cref="GroupProduct"/>.</summary>
internal enum TileCode
{
    /// <summary>The code of <see cref="GroupProduct"/> itself.</summary>
    Managed,

    /// <summary><see cref="VnniRows"/> and <see cref="VnniTile"/>. One row is quicker without them: it waits for memory, and loads of 64
    /// bytes mostly lie across two lines of the cache.</summary>
    Vnni,

    /// <summary><see cref="VnniRows"/>, and <see cref="AmxTile"/> for more than a few rows.</summary>
    Amx,
}

/// <summary>y = x·Wᵀ + b over quantised weights in groups of sixteen rows (<see cref="GroupLayout"/>) and activations in int8
/// (<see cref="QuantizedRows"/>).</summary>
/// <remarks>
/// The numeric definition, for every path, number of rows and of threads: a number of y is one float32 sum, from 0 on, to which the blocks
/// of 32 are added in ascending order,
/// <code>
/// sum = fma((float)Σ x·(level − offset), scale_w · scale_x, sum)      once for each scale: twice a block where sixteen numbers share one
/// sum = fma(minimum_w, scale_x · Σx, sum)                             in formats with minima
/// </code>
/// and at last the bias is added. Σ are exact in int32; scale_w and minimum_w are d·s and −dmin·m, exact in float32; products of scales are
/// rounded to float32.
/// <para>
/// A vector lane is a row of the weights: a byte dot product multiplies four numbers of each of sixteen rows with the same four of x. Few
/// rows of x read the weights straight from memory, from as many far-apart places at once as the processor likes, unpacking in registers.
/// Many rows meet two groups unpacked, a piece of the row at a time so that it stays in the first-level cache; a tile's sums wait in
/// memory between the pieces. AVX-512 with VNNI has routines of its own for both (<see cref="VnniRows"/>, <see cref="VnniTile"/>), and AMX
/// for the second (<see cref="AmxTile"/>); where they cannot be had, the code here gives the same bits.
/// </para>
/// </remarks>
internal static unsafe class GroupProduct
{
    internal struct Job
    {
        /// <summary>From <see cref="QuantizedRows"/>.</summary>
        public byte* X;

        /// <summary>The matrix's first group.</summary>
        public byte* W;
        public float* Bias;
        public float* Y;
        public int Rows, Inputs, Outputs;

        /// <summary>Which row of the matrix the first output is.</summary>
        public int FirstRow;

        /// <summary>Bytes of a group.</summary>
        public nint GroupBytes;

        /// <summary>Far-apart places of the weights that few rows are read from in turn; set by planning.</summary>
        public int Streams;

        /// <summary>Groups of an item.</summary>
        public int ItemGroups;

        /// <summary>Rows of an item, whole tiles.</summary>
        public int ItemRows;

        /// <summary>Rows of a tile of x.</summary>
        public int TileRows;

        public NumberFormat Format;

        public TileCode Code;

        /// <summary><see cref="ScratchBytes"/> for every thread.</summary>
        public byte* Scratch;
    }

    private const int MostFewRows = 64;

    /// <summary>Rows up to which weights are unpacked in registers, in every tile anew: eight rows a tile pay for it, four do not.</summary>
    /// <remarks>AMX's 24 are counted, not measured: a run of two groups takes <see cref="VnniRows"/> about 110 cycles for every eight rows,
    /// and <see cref="AmxTile"/> 50 to 60 for unpacking, about 40 for every twelve rows, and some of the memory's time, which VnniRows hides.
    /// </remarks>
    internal static int FewRowsFor(TileCode code) => code switch { TileCode.Amx => 24, TileCode.Vnni => MostFewRows, _ => 8 };

    // Far-apart places of the weights that a thread reads in turn, 256 numbers of sixteen rows at a time. AMD's prefetchers fill the bus from
    // one place (Zen 5: 93 to 97 % of what it gives; two places 87 %, four 70 to 75 %); Intel's server cores need several.
    private static readonly int BestStreams = IsAmd() ? 1 : MaximalStreams;

    internal const int MaximalStreams = 4;
    private const int PanelGroups = 2, PanelRuns = 16, PanelRows = 384;
    private const int PanelBytes = PanelGroups * PanelApart;

    /// <summary>From the panel's one group to the other.</summary>
    internal const int PanelApart = PanelRuns * 640;

    /// <summary>From the panel to where <see cref="AmxTile"/> keeps its products.</summary>
    internal const int ProductsApart = PanelBytes + (PanelRows * PanelGroups * GroupLayout.Rows * sizeof(float));

    /// <summary>Scratch a thread needs when there are more than a few.</summary>
    internal const long ScratchBytes = ProductsApart + AmxTile.ProductBytes;

    /// <summary>Rows of a tile of x that the kernels want.</summary>
    internal static int TileRowsFor(int rows, TileCode code) =>
        code == TileCode.Managed ? 4 : rows <= FewRowsFor(code) ? VnniRows.Rows : code == TileCode.Amx ? AmxTile.Rows : VnniTile.Rows;

    /// <summary>Splits the job into items and returns their number.</summary>
    internal static int Plan(ref Job job, int threads) => Plan(ref job, threads, BestStreams);

    internal static int Plan(ref Job job, int threads, int streams)
    {
        job.Streams = streams;
        int groups = Groups(job);
        if (job.Rows <= FewRowsFor(job.Code))
        {
            // As in MatMulKernel.
            long perItem = Math.Clamp(groups / (threads * 4L), ((1 << 20) / job.GroupBytes) + 1, ((4 << 20) / job.GroupBytes) + 1);
            perItem = Math.Min(perItem, (groups + threads - 1) / threads);
            job.ItemRows = job.Rows;
            job.ItemGroups = (int)Math.Max((perItem + streams - 1) / streams * streams, 1);
        }
        else
        {
            int tiles = (job.Rows + job.TileRows - 1) / job.TileRows, most = PanelRows / job.TileRows;
            int blocks = (tiles + most - 1) / most;
            job.ItemRows = (tiles + blocks - 1) / blocks * job.TileRows;
            job.ItemGroups = PanelGroups;
        }
        return ((job.Rows + job.ItemRows - 1) / job.ItemRows) * ((groups + job.ItemGroups - 1) / job.ItemGroups);
    }

    internal static void Run<T, TNumbers>(void* argument, int item, int worker)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        ref Job job = ref *(Job*)argument;
        int groups = Groups(job), columns = (groups + job.ItemGroups - 1) / job.ItemGroups;
        int row = item / columns * job.ItemRows, group = item % columns * job.ItemGroups;
        int rows = Math.Min(job.ItemRows, job.Rows - row);
        groups = Math.Min(job.ItemGroups, groups - group);
        group += job.FirstRow / GroupLayout.Rows;
        if (job.Rows <= FewRowsFor(job.Code)) Direct<T, TNumbers>(ref job, group, groups);
        else Panel<T, TNumbers>(ref job, row, rows, group, groups, job.Scratch + (worker * ScratchBytes));
    }

    private static bool IsAmd() => X86Base.IsSupported && X86Base.CpuId(0, 0).Ebx == 0x68747541;      // "Auth"enticAMD

    /// <summary>Groups that the outputs are in.</summary>
    private static int Groups(in Job job) =>
        ((job.FirstRow + job.Outputs + GroupLayout.Rows - 1) / GroupLayout.Rows) - (job.FirstRow / GroupLayout.Rows);

    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Direct<T, TNumbers>(ref Job job, int group, int groups)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        int streams = job.Streams, apart = (groups + streams - 1) / streams, units = job.Inputs / (GroupLayout.Run * TNumbers.RunsInUnit);
        const int Stride = GroupLayout.Rows;
        float* sums = stackalloc float[MaximalStreams * MostFewRows * Stride];
        for (int i = 0; i < apart; i++)
        {
            new Span<float>(sums, streams * job.Rows * Stride).Clear();
            int pieceUnits = streams == 1 && job.Rows <= job.TileRows ? units : 8 / TNumbers.RunsInUnit;
            for (int unit = 0; unit < units; unit += pieceUnits)
            {
                int count = Math.Min(pieceUnits, units - unit);
                for (int s = 0; s < streams; s++)
                {
                    int which = i + (s * apart);
                    if (which >= groups) break;
                    byte* w = job.W + (job.GroupBytes * (group + which)) + ((nint)unit * UnitBytes<TNumbers>());
                    for (int row = 0; row < job.Rows; row += job.TileRows)
                    {
                        int tileRows = Math.Min(job.TileRows, job.Rows - row);
                        byte* x = QuantizedRows.Tile(job.X, job.Inputs, row)
                            + ((nint)unit * TNumbers.RunsInUnit * tileRows * QuantizedRows.BlockBytes);
                        float* tileSums = sums + (((s * job.Rows) + row) * Stride);
                        if (job.Code != TileCode.Managed && tileRows > 1) Call(VnniRows.Of(job.Format, tileRows), w, x, tileSums, count);
                        else Tile<T, TNumbers>(w, count, x, tileRows, tileSums, Stride);
                    }
                }
            }
            for (int s = 0; s < streams; s++)
            {
                int which = i + (s * apart);
                if (which >= groups) break;
                for (int row = 0; row < job.Rows; row++) Put<T>(ref job, sums + (((s * job.Rows) + row) * Stride), row, group + which);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Panel<T, TNumbers>(ref Job job, int row, int rows, int group, int groups, byte* scratch)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        const int Stride = PanelGroups * GroupLayout.Rows;
        float* sums = (float*)(scratch + PanelBytes);
        new Span<float>(sums, rows * Stride).Clear();
        int runs = job.Inputs / GroupLayout.Run;
        nint whole = TileRoutine<TNumbers>(job.Code, job.TileRows), last = TileRoutine<TNumbers>(job.Code, rows % job.TileRows);
        bool usesAmx = job.Code == TileCode.Amx;
        if (usesAmx) AmxTile.Open(rows % AmxTile.Rows, TNumbers.HasTwoScales);      // nothing throws before it is closed
        for (int run = 0; run < runs; run += PanelRuns)
        {
            int count = Math.Min(PanelRuns, runs - run);
            for (int g = 0; g < groups; g++)
            {
                byte* w = job.W + (job.GroupBytes * (group + g)) + ((nint)(run / TNumbers.RunsInUnit) * UnitBytes<TNumbers>());
                Unpacked<TNumbers>.Fill<T>(w, count / TNumbers.RunsInUnit, scratch + (g * PanelApart), zero: usesAmx ? (byte)0 : (byte)128);
            }
            for (int r = 0; r < rows; r += job.TileRows)
            {
                int tileRows = Math.Min(job.TileRows, rows - r);
                byte* x = QuantizedRows.Tile(job.X, job.Inputs, row + r) + ((nint)run * tileRows * QuantizedRows.BlockBytes);
                if (job.Code != TileCode.Managed)
                {
                    // Where there is one group, the other's sums are of no use to anyone.
                    Call(tileRows == job.TileRows ? whole : last, scratch, x, sums + (r * Stride), count);
                    continue;
                }
                for (int g = 0; g < groups; g++)
                    Tile<T, Unpacked<TNumbers>>(
                        scratch + (g * PanelApart), count, x, tileRows, sums + (r * Stride) + (g * GroupLayout.Rows), Stride);
            }
        }
        if (usesAmx) AmxTile.Close();
        for (int r = 0; r < rows; r++)
            for (int g = 0; g < groups; g++) Put<T>(ref job, sums + (r * Stride) + (g * GroupLayout.Rows), row + r, group + g);
    }

    /// <summary>The routine for a tile of an unpacked panel, or 0 where there is none.</summary>
    private static nint TileRoutine<TNumbers>(TileCode code, int rows)
        where TNumbers : struct, IGroupNumbers =>
        code == TileCode.Managed || rows == 0 ? 0
            : code == TileCode.Amx ? AmxTile.Of(rows, TNumbers.HasMinimum, TNumbers.HasTwoScales)
            : VnniTile.Of(rows, TNumbers.HasMinimum, TNumbers.HasTwoScales);

    // A routine takes microseconds: the garbage collector may wait for it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Call(nint routine, byte* w, byte* x, float* sums, long count) =>
        ((delegate* unmanaged[SuppressGCTransition]<byte*, byte*, float*, long, void>)routine)(w, x, sums, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static nint UnitBytes<TNumbers>()
        where TNumbers : struct, IGroupNumbers => TNumbers.HeaderBytes + (TNumbers.RunsInUnit * TNumbers.RunBytes);

    /// <summary>Writes those of a group's sums that are outputs, plus the bias.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<T>(ref Job job, float* sums, int row, int group)
        where T : unmanaged, IBlockLanes<T>
    {
        int output = (group * GroupLayout.Rows) - job.FirstRow;
        float* y = job.Y + ((nint)row * job.Outputs);
        if (output >= 0 && output + GroupLayout.Rows <= job.Outputs)
        {
            T sum = T.Load(sums);
            T.Store(job.Bias is null ? sum : sum + T.Load(job.Bias + output), y + output);
            return;
        }
        for (int j = Math.Max(0, -output); j < Math.Min(GroupLayout.Rows, job.Outputs - output); j++)
            y[output + j] = job.Bias is null ? sums[j] : sums[j] + job.Bias[output + j];
    }

    /// <summary>Adds units of one group to the sums of a tile of one to four rows.</summary>
    /// <param name="w">The first unit.</param>
    /// <param name="units">Their number.</param>
    /// <param name="x">The tile's record for the first block.</param>
    /// <param name="rows">Rows of the tile.</param>
    /// <param name="sums">[rows][16].</param>
    /// <param name="stride">From one row's sums to the next's.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Tile<T, TNumbers>(byte* w, int units, byte* x, int rows, float* sums, int stride)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        if (rows == 1) One<T, TNumbers>(w, units, x, sums);
        else UpToFour<T, TNumbers>(w, units, x, rows, sums, stride);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void One<T, TNumbers>(byte* w, int units, byte* x, float* sums)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        float* header = stackalloc float[32];
        T sum = T.Load(sums);
        for (int unit = 0; unit < units; unit++)
        {
            TNumbers.Open<T>(w, header);
            w += TNumbers.HeaderBytes;
            for (int run = 0; run < TNumbers.RunsInUnit; run++, w += TNumbers.RunBytes, x += QuantizedRows.BlockBytes)
            {
                if (TNumbers.IsFar) Ahead(w, TNumbers.RunBytes);
                QuantizedRows.Block* block = (QuantizedRows.Block*)(x + QuantizedRows.Length);
                T front = First<T, TNumbers>(block), back = Second<T, TNumbers>(block);
                Quads<T, TNumbers>(w, 0, x, ref front, ref back);
                Quads<T, TNumbers>(w, 1, x, ref front, ref back);
                Quads<T, TNumbers>(w, 2, x, ref front, ref back);
                Quads<T, TNumbers>(w, 3, x, ref front, ref back);
                T scale = TNumbers.Scale<T>(header, w);
                T second = TNumbers.HasMinimum || TNumbers.HasTwoScales ? TNumbers.Second<T>(header, w) : default;
                sum = Add<T, TNumbers>(sum, front, back, scale, second, block);
            }
        }
        T.Store(sum, sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quads<T, TNumbers>(byte* w, int i, byte* x, ref T front, ref T back)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        TNumbers.Quads(w, i, out T quad, out T fourth);
        Dots<T, TNumbers>(quad, fourth, (int*)x + i, ref front, ref back);
    }

    // Where sixteen numbers share a scale, the halves are summed apart: quads 0 to 3 and 4 to 7.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Dots<T, TNumbers>(T quad, T fourth, int* x, ref T front, ref T back)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        front = T.Dot(front, quad, T.BroadcastInt(x[0]), TNumbers.IsWide);
        if (TNumbers.HasTwoScales) back = T.Dot(back, fourth, T.BroadcastInt(x[4]), TNumbers.IsWide);
        else front = T.Dot(front, fourth, T.BroadcastInt(x[4]), TNumbers.IsWide);
    }

    // −offset · Σ from −128 · Σ.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T First<T, TNumbers>(QuantizedRows.Block* block)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers =>
        TNumbers.Offset == 0 ? T.Zero
            : T.BroadcastInt((TNumbers.HasTwoScales ? block->Correction - block->SecondCorrection : block->Correction) / 128 * TNumbers.Offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Second<T, TNumbers>(QuantizedRows.Block* block)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers =>
        TNumbers.HasTwoScales && TNumbers.Offset != 0 ? T.BroadcastInt(block->SecondCorrection / 128 * TNumbers.Offset) : T.Zero;

    /// <summary>Adds a block to a sum: the numeric definition.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Add<T, TNumbers>(T sum, T front, T back, T scale, T second, QuantizedRows.Block* block)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        T scaleX = T.Broadcast(block->Scale);
        sum = T.MultiplyAdd(T.ToFloat(front), scale * scaleX, sum);
        if (TNumbers.HasTwoScales) sum = T.MultiplyAdd(T.ToFloat(back), second * scaleX, sum);
        if (TNumbers.HasMinimum) sum = T.MultiplyAdd(second, T.Broadcast(block->Sum), sum);
        return sum;
    }

    // Two or three rows do the work of four, the last of them again and again.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UpToFour<T, TNumbers>(byte* w, int units, byte* x, int rows, float* sums, int stride)
        where T : unmanaged, IBlockLanes<T>
        where TNumbers : struct, IGroupNumbers
    {
        float* header = stackalloc float[32];
        int c = Math.Min(2, rows - 1), d = rows - 1, apart = rows * QuantizedRows.BlockBytes;
        T sumA = T.Load(sums), sumB = T.Load(sums + stride), sumC = T.Load(sums + (c * stride)), sumD = T.Load(sums + (d * stride));
        for (int unit = 0; unit < units; unit++)
        {
            TNumbers.Open<T>(w, header);
            w += TNumbers.HeaderBytes;
            for (int run = 0; run < TNumbers.RunsInUnit; run++, w += TNumbers.RunBytes, x += apart)
            {
                if (TNumbers.IsFar) Ahead(w, TNumbers.RunBytes);
                QuantizedRows.Block* block = (QuantizedRows.Block*)(x + (rows * QuantizedRows.Length));
                T frontA = First<T, TNumbers>(block), backA = Second<T, TNumbers>(block);
                T frontB = First<T, TNumbers>(block + 1), backB = Second<T, TNumbers>(block + 1);
                T frontC = First<T, TNumbers>(block + c), backC = Second<T, TNumbers>(block + c);
                T frontD = First<T, TNumbers>(block + d), backD = Second<T, TNumbers>(block + d);
                int* xc = (int*)(x + (c * QuantizedRows.Length)), xd = (int*)(x + (d * QuantizedRows.Length));
                for (int i = 0; i < 4; i++)
                {
                    TNumbers.Quads(w, i, out T quad, out T fourth);
                    Dots<T, TNumbers>(quad, fourth, (int*)x + i, ref frontA, ref backA);
                    Dots<T, TNumbers>(quad, fourth, (int*)x + 8 + i, ref frontB, ref backB);
                    Dots<T, TNumbers>(quad, fourth, xc + i, ref frontC, ref backC);
                    Dots<T, TNumbers>(quad, fourth, xd + i, ref frontD, ref backD);
                }
                T scale = TNumbers.Scale<T>(header, w);
                T second = TNumbers.HasMinimum || TNumbers.HasTwoScales ? TNumbers.Second<T>(header, w) : default;
                sumA = Add<T, TNumbers>(sumA, frontA, backA, scale, second, block);
                sumB = Add<T, TNumbers>(sumB, frontB, backB, scale, second, block + 1);
                sumC = Add<T, TNumbers>(sumC, frontC, backC, scale, second, block + c);
                sumD = Add<T, TNumbers>(sumD, frontD, backD, scale, second, block + d);
            }
        }
        T.Store(sumA, sums);
        T.Store(sumB, sums + stride);
        if (rows > 2) T.Store(sumC, sums + (2 * stride));
        if (rows > 3) T.Store(sumD, sums + (3 * stride));
    }

    // A whole page ahead, as DotTile does.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead(byte* w, int bytes)
    {
        if (!Sse.IsSupported) return;
        w += 4096;
        Sse.Prefetch0(w);
        Sse.Prefetch0(w + 64);
        Sse.Prefetch0(w + 128);
        Sse.Prefetch0(w + 192);
        if (bytes > 256) Sse.Prefetch0(w + 256);
        if (bytes > 320) Sse.Prefetch0(w + 320);
        if (bytes > 384) Sse.Prefetch0(w + 384);
        if (bytes > 448) Sse.Prefetch0(w + 448);
        if (bytes > 512) Sse.Prefetch0(w + 512);
    }
}
