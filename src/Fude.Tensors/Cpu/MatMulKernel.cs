using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>y = x·Wᵀ + b for any number of rows.</summary>
/// <remarks>
/// Each number of y is one dot product in sixteen lanes (<see cref="ILanes{T}"/>), plus its bias: the same bits for one row as for many.
/// Few rows read the weights straight from memory, several far-apart rows of them at once, because one stream does not fill the
/// memory bus. Many rows are packed into strips first, once for all products of the same x; they meet a panel of weights, unpacked to
/// float32, in the second-level cache tile by tile (<see cref="PackedTile"/>), in pieces of the row between which the lanes are kept as they
/// are.
/// </remarks>
internal static unsafe class MatMulKernel
{
    internal struct Job
    {
        public float* X;
        public byte* W;
        public float* Bias;
        public float* Y;
        public int Rows, Inputs, Outputs;

        /// <summary>Outputs of one item.</summary>
        public int ItemOutputs;

        /// <summary>Rows of one item.</summary>
        public int ItemRows;

        /// <summary>More than <see cref="FewRows"/>: x in strips of <see cref="PackedTile.Rows"/> rows, see <see cref="Pack"/>.</summary>
        public float* Packed;

        /// <summary><see cref="ScratchBytes"/> for every thread.</summary>
        public byte* Scratch;
    }

    /// <summary>Rows up to which weights are read once: all rows pass by while four rows of weights are in the cache.</summary>
    internal const int FewRows = 24;

    private const int PanelOutputs = 32, PanelRows = 264, MaximalTile = DotTile.MaxX * DotTile.MaxW;

    // Sixteens of numbers. A piece of a strip of x, the same piece of a tile's weights and the lanes of a strip's tiles fill the first-level
    // cache between them; a panel's stretch of weights is half of the second-level cache.
    private const int PieceGroups = 48, StretchGroups = 256;
    private const int StripLanes = PanelOutputs / PackedTile.Outputs * PackedTile.Lanes;
    private const int PanelFloats = PanelOutputs * 16 * StretchGroups;

    /// <summary>Floats of <see cref="Job.Packed"/>.</summary>
    internal static long PackedFloats(int rows, int inputs) => (long)Strips(rows) * StripFloats(inputs);

    /// <summary>Strips of so many rows: the items of <see cref="Pack"/>.</summary>
    internal static int Strips(int rows) => (rows + PackedTile.Rows - 1) / PackedTile.Rows;

    private static nint StripFloats(int inputs) => (nint)((inputs + 15) / 16) * PackedTile.RowGroup;

    /// <summary>One item packs a strip of x: [inputs / 16 up][<see cref="PackedTile.Rows"/>][16], rows and numbers beyond the last being 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Pack(void* argument, int item, int worker)
    {
        ref Job job = ref *(Job*)argument;
        int inputs = job.Inputs, full = inputs & ~15;
        float* strip = job.Packed + item * StripFloats(inputs);
        for (int r = 0; r < PackedTile.Rows; r++, strip += 16)
        {
            int row = item * PackedTile.Rows + r;
            float* target = strip, x = job.X + (nint)row * inputs;
            if (row >= job.Rows)
            {
                for (int k = 0; k < inputs; k += 16, target += PackedTile.RowGroup) new Span<float>(target, 16).Clear();
                continue;
            }
            for (int k = 0; k < full; k += 16, target += PackedTile.RowGroup)
            {
                Vector256.Load(x + k).Store(target);
                Vector256.Load(x + k + 8).Store(target + 8);
            }
            for (int k = full; k < inputs; k++) target[k - full] = x[k];
            if (full < inputs) new Span<float>(target + (inputs - full), 16 - (inputs - full)).Clear();
        }
    }

    /// <summary>Scratch a thread needs when there are more than <see cref="FewRows"/>.</summary>
    internal const long ScratchBytes = (PanelRows / PackedTile.Rows * StripLanes + PanelFloats) * sizeof(float);

    /// <summary>Splits the job into items and returns their number.</summary>
    internal static int Plan(ref Job job, NumberFormat format, int threads)
    {
        if (job.Rows <= FewRows)
        {
            // Enough items that a thread held up elsewhere leaves its share to the others; large enough that each stream reads on for
            // a quarter of a MiB, which the prefetchers need to come up to speed.
            long rowBytes = Math.Max(1, format.Bytes(job.Inputs));
            long perItem = Math.Clamp(job.Outputs / (threads * 4L), (1 << 20) / rowBytes + 1, (4 << 20) / rowBytes + 1);
            perItem = Math.Min(perItem, (job.Outputs + threads - 1) / threads);
            job.ItemRows = job.Rows;
            job.ItemOutputs = (int)Math.Max((perItem + 3) & ~3, 4);
        }
        else
        {
            int blocks = (job.Rows + PanelRows - 1) / PanelRows, rows = (job.Rows + blocks - 1) / blocks;
            job.ItemRows = (rows + PackedTile.Rows - 1) / PackedTile.Rows * PackedTile.Rows;
            job.ItemOutputs = PanelOutputs;
        }
        return ((job.Rows + job.ItemRows - 1) / job.ItemRows) * ((job.Outputs + job.ItemOutputs - 1) / job.ItemOutputs);
    }

    internal static void Run<T, TStored>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        ref Job job = ref *(Job*)argument;
        int columns = (job.Outputs + job.ItemOutputs - 1) / job.ItemOutputs;
        int row = item / columns * job.ItemRows, output = item % columns * job.ItemOutputs;
        int rows = Math.Min(job.ItemRows, job.Rows - row), outputs = Math.Min(job.ItemOutputs, job.Outputs - output);
        if (job.Rows == 1) OneRow<T, TStored>(ref job, output, outputs);
        else if (job.Rows <= FewRows) Direct<T, TStored>(ref job, output, outputs);
        else Panel<T, TStored>(ref job, row, rows, output, outputs, job.Scratch + worker * ScratchBytes);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneRow<T, TStored>(ref Job job, int output, int outputs)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        int apart = (outputs + DotTile.Streams - 1) / DotTile.Streams;
        nint rowBytes = (nint)job.Inputs * TStored.Size;
        byte** w = stackalloc byte*[DotTile.Streams];
        float* sums = stackalloc float[DotTile.Streams];
        float* carry = stackalloc float[DotTile.Streams * 16];
        for (int i = 0; i < apart; i++)
        {
            for (int s = 0; s < DotTile.Streams; s++) w[s] = job.W + rowBytes * (output + Math.Min(i + s * apart, outputs - 1));
            DotTile.RunRow<T, TStored>(job.X, w, job.Inputs, carry, sums);
            for (int s = 0; s < DotTile.Streams; s++)
            {
                int o = i + s * apart;
                if (o < outputs) job.Y[output + o] = job.Bias is null ? sums[s] : sums[s] + job.Bias[output + o];
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Direct<T, TStored>(ref Job job, int output, int outputs)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        (int tileX, int tileW) = DotTile.Shape<T>();
        int apart = (outputs + tileW - 1) / tileW;
        nint rowBytes = (nint)job.Inputs * TStored.Size;
        float** x = stackalloc float*[DotTile.MaxX];
        byte** w = stackalloc byte*[DotTile.MaxW];
        float* sums = stackalloc float[MaximalTile];
        float* carry = stackalloc float[MaximalTile * 16];
        for (int i = 0; i < apart; i++)
        {
            for (int s = 0; s < tileW; s++) w[s] = job.W + rowBytes * (output + Math.Min(i + s * apart, outputs - 1));
            for (int row = 0; row < job.Rows; row += tileX)
            {
                for (int r = 0; r < tileX; r++) x[r] = job.X + (nint)Math.Min(row + r, job.Rows - 1) * job.Inputs;
                DotTile.Run<T, TStored>(x, w, job.Inputs, carry, sums);
                int tileRows = Math.Min(tileX, job.Rows - row);
                for (int r = 0; r < tileRows; r++)
                {
                    float* y = job.Y + (nint)(row + r) * job.Outputs + output;
                    for (int s = 0; s < tileW; s++)
                    {
                        int o = i + s * apart;
                        if (o < outputs) y[o] = job.Bias is null ? sums[r * tileW + s] : sums[r * tileW + s] + job.Bias[output + o];
                    }
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Panel<T, TStored>(ref Job job, int row, int rows, int output, int outputs, byte* scratch)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        float* panel = (float*)scratch, carries = panel + PanelFloats;
        float* sums = stackalloc float[PackedTile.Rows * PackedTile.Outputs];
        int groups = (job.Inputs + 15) / 16, tiles = (outputs + PackedTile.Outputs - 1) / PackedTile.Outputs;
        for (int stretch = 0; stretch < groups; stretch += StretchGroups)
        {
            int end = Math.Min(groups, stretch + StretchGroups), k = stretch * 16, count = Math.Min(job.Inputs, end * 16) - k;
            nint tileFloats = (nint)(end - stretch) * PackedTile.OutputGroup;
            for (int o = 0; o < tiles * PackedTile.Outputs; o++)
                Unpack<T, TStored>(
                    job.W + ((nint)(output + Math.Min(o, outputs - 1)) * job.Inputs + k) * TStored.Size, count,
                    panel + o / PackedTile.Outputs * tileFloats + o % PackedTile.Outputs * 16);
            for (int r = 0; r < rows; r += PackedTile.Rows)
            {
                float* strip = job.Packed + (row + r) / PackedTile.Rows * StripFloats(job.Inputs);
                // Between two stretches each strip has lanes of its own; where one is all, they stay in the first-level cache.
                float* carry = carries + (groups > StretchGroups ? r / PackedTile.Rows * StripLanes : 0);
                for (int g = stretch; g < end; g += PieceGroups)
                {
                    int pieceEnd = Math.Min(g + PieceGroups, end);
                    for (int tile = 0; tile < tiles; tile++)
                    {
                        PackedTile.Run<T>(
                            strip + (nint)g * PackedTile.RowGroup, panel + tile * tileFloats + (nint)(g - stretch) * PackedTile.OutputGroup,
                            pieceEnd - g, carry + tile * PackedTile.Lanes, first: g == 0, last: pieceEnd == groups, sums);
                        if (pieceEnd < groups) continue;
                        int o = tile * PackedTile.Outputs;
                        Put(ref job, sums, row + r, Math.Min(PackedTile.Rows, rows - r), output + o, Math.Min(PackedTile.Outputs, outputs - o));
                    }
                }
            }
        }
    }

    /// <summary>Writes a tile of sums, plus the bias, where it belongs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(ref Job job, float* sums, int row, int rows, int output, int outputs)
    {
        float* y = job.Y + (nint)row * job.Outputs + output;
        if (outputs == PackedTile.Outputs)
        {
            for (int t = 0; t < rows; t++, y += job.Outputs)
            {
                Vector128<float> four = Vector128.Load(sums + t * PackedTile.Outputs);
                (job.Bias is null ? four : four + Vector128.Load(job.Bias + output)).Store(y);
            }
            return;
        }
        for (int t = 0; t < rows; t++, y += job.Outputs)
            for (int s = 0; s < outputs; s++) y[s] = job.Bias is null ? sums[t * PackedTile.Outputs + s] : sums[t * PackedTile.Outputs + s] + job.Bias[output + s];
    }

    /// <summary>A row of a panel, sixteen numbers by sixteen.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Unpack<T, TStored>(byte* w, int count, float* target)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        int k = 0;
        for (; k <= count - 16; k += 16, target += PackedTile.OutputGroup) T.Store(TStored.Load<T>(w, k), target);
        if (k < count) T.Store(TStored.LoadPartial<T>(w, k, count - k), target);
    }
}
