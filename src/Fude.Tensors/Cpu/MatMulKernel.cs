using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>y = x·Wᵀ + b for any number of rows.</summary>
/// <remarks>
/// Each number of y is one dot product in sixteen lanes (<see cref="ILanes{T}"/>), plus its bias: the same bits for one row as for many.
/// Few rows read the weights straight from memory, several far-apart rows of them at once, because one stream does not fill the
/// memory bus. Many rows meet a panel of weights in the second-level cache tile by tile, in pieces of the row between which the lanes are
/// kept as they are; formats that are dear to read are unpacked to float32 once a panel.
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

        /// <summary><see cref="ScratchBytes"/> for every thread.</summary>
        public byte* Scratch;
    }

    /// <summary>Rows up to which weights are read once: all rows pass by while four rows of weights are in the cache.</summary>
    internal const int FewRows = 24;

    private const int PanelOutputs = 32, PanelRows = 192, Piece = 1024, MaximalTile = 24;
    private const int CarryFloats = PanelRows * PanelOutputs * 16;

    /// <summary>Scratch a thread needs when there are more than <see cref="FewRows"/>.</summary>
    internal const long ScratchBytes = (CarryFloats + PanelOutputs * Piece) * sizeof(float);

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
            job.ItemOutputs = (int)Math.Max(perItem + 3 & ~3, 4);
        }
        else
        {
            int blocks = (job.Rows + PanelRows - 1) / PanelRows, rows = (job.Rows + blocks - 1) / blocks;
            job.ItemRows = (rows + 5) / 6 * 6;
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
        float** x = stackalloc float*[6];
        byte** w = stackalloc byte*[4];
        float* sums = stackalloc float[MaximalTile];
        float* carry = stackalloc float[MaximalTile * 16];
        for (int i = 0; i < apart; i++)
        {
            for (int s = 0; s < tileW; s++) w[s] = job.W + rowBytes * (output + Math.Min(i + s * apart, outputs - 1));
            for (int row = 0; row < job.Rows; row += tileX)
            {
                for (int r = 0; r < tileX; r++) x[r] = job.X + (nint)Math.Min(row + r, job.Rows - 1) * job.Inputs;
                DotTile.Run<T, TStored>(x, w, job.Inputs, carry, first: true, last: true, sums);
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
        nint rowBytes = (nint)job.Inputs * TStored.Size;
        float* carry = (float*)scratch, panel = carry + CarryFloats;
        for (int k = 0; k < job.Inputs; k += Piece)
        {
            int count = Math.Min(Piece, job.Inputs - k);
            byte* w = job.W + rowBytes * output + (nint)k * TStored.Size;
            if (TStored.IsLight)
            {
                PanelPiece<T, TStored>(ref job, row, rows, output, outputs, w, rowBytes, k, count, carry);
                continue;
            }
            for (int o = 0; o < outputs; o++) Unpack<T, TStored>(w + rowBytes * o, count, panel + o * Piece);
            PanelPiece<T, StoredFloat32>(ref job, row, rows, output, outputs, (byte*)panel, Piece * sizeof(float), k, count, carry);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PanelPiece<T, TStored>(
        ref Job job, int row, int rows, int output, int outputs, byte* panel, nint rowBytes, int k, int count, float* carry)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        (int tileX, int tileW) = DotTile.Shape<T>();
        float** x = stackalloc float*[6];
        byte** w = stackalloc byte*[4];
        float* sums = stackalloc float[MaximalTile];
        bool first = k == 0, last = k + count == job.Inputs;
        // A tile's rows of x stay in the first-level cache while the panel passes by.
        for (int r = 0; r < rows; r += tileX)
        {
            int tileRows = Math.Min(tileX, rows - r);
            for (int t = 0; t < tileX; t++) x[t] = job.X + (nint)(row + r + Math.Min(t, tileRows - 1)) * job.Inputs + k;
            for (int o = 0; o < outputs; o += tileW, carry += tileX * tileW * 16)
            {
                int tileOutputs = Math.Min(tileW, outputs - o);
                for (int s = 0; s < tileW; s++) w[s] = panel + rowBytes * (o + Math.Min(s, tileOutputs - 1));
                DotTile.Run<T, TStored>(x, w, count, carry, first, last, sums);
                if (last) Put(ref job, sums, tileW, row + r, tileRows, output + o, tileOutputs);
            }
        }
    }

    /// <summary>Writes a tile of sums, plus the bias, where it belongs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(ref Job job, float* sums, int tileW, int row, int rows, int output, int outputs)
    {
        float* y = job.Y + (nint)row * job.Outputs + output;
        if (outputs == 4)
        {
            for (int t = 0; t < rows; t++, y += job.Outputs)
            {
                Vector128<float> four = Vector128.Load(sums + t * 4);
                (job.Bias is null ? four : four + Vector128.Load(job.Bias + output)).Store(y);
            }
            return;
        }
        for (int t = 0; t < rows; t++, y += job.Outputs)
            for (int s = 0; s < outputs; s++) y[s] = job.Bias is null ? sums[t * tileW + s] : sums[t * tileW + s] + job.Bias[output + s];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Unpack<T, TStored>(byte* w, int count, float* target)
        where T : unmanaged, ILanes<T>
        where TStored : struct, IStoredNumbers
    {
        int k = 0;
        for (; k <= count - 16; k += 16) T.Store(TStored.Load<T>(w, k), target + k);
        if (k < count) Partial.Store(TStored.LoadPartial<T>(w, k, count - k), target + k, count - k);
    }
}
