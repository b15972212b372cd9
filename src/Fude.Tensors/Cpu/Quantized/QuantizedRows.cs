using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Activations as int8: each 32 neighbouring numbers of a row become q = x / d, rounded to nearest, ties to even, with
/// d = max |x| / 127.</summary>
/// <remarks>
/// What is rounded is x · (127 / max |x|), the factor a float32 and the product exact. Blocks without a number of 1e-30 or more count as
/// zeros; a block with an infinity or a NaN has d = NaN, so that it spoils its row as it would in float32. All paths give the same bits.
/// <para>
/// Rows lie in tiles of some rows, the last with what is left. A tile has a record for each block: 32 bytes of q for each row, then
/// for each row a <see cref="Block"/>. So a kernel that computes a tile walks along it with one pointer.
/// </para>
/// </remarks>
internal static unsafe class QuantizedRows
{
    /// <summary>Numbers that share a scale.</summary>
    internal const int Length = GroupLayout.Run;

    /// <summary>What a row of a tile takes for each block.</summary>
    internal const int BlockBytes = Length + 16;

    /// <summary>What kernels need to know of 32 numbers beside them.</summary>
    internal struct Block
    {
        /// <summary>d.</summary>
        public float Scale;

        /// <summary>d · Σq: what a minimum is multiplied with.</summary>
        public float Sum;

        /// <summary>−128 · Σq, which corrects a dot product whose other side was shifted up by 128 to be unsigned.</summary>
        public int Correction;

        /// <summary>The same of the second sixteen numbers.</summary>
        public int SecondCorrection;
    }

    internal struct Job
    {
        public float* X;
        public byte* Target;
        public int Rows, Columns;

        /// <summary>Rows of a tile.</summary>
        public int TileRows;

        /// <summary>Tiles of an item.</summary>
        public int ItemTiles;
    }

    internal static long Bytes(int rows, int columns) => (long)rows * (columns / Length) * BlockBytes;

    /// <summary>Where the tile begins whose first row is given.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static byte* Tile(byte* rows, int columns, int row) => rows + ((nint)row * (columns / Length) * BlockBytes);

    /// <summary>The number of items.</summary>
    internal static int Items(in Job job) => (job.Rows + (job.TileRows * job.ItemTiles) - 1) / (job.TileRows * job.ItemTiles);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Run<T>(void* argument, int item, int worker)
        where T : unmanaged, IBlockLanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int first = item * job.ItemTiles * job.TileRows, end = Math.Min(job.Rows, first + (job.ItemTiles * job.TileRows));
        for (int tile = first; tile < end; tile += job.TileRows)
        {
            int rows = Math.Min(job.TileRows, job.Rows - tile);
            byte* target = Tile(job.Target, job.Columns, tile);
            for (int row = 0; row < rows; row++)
                Quantize<T>(
                    job.X + ((nint)(tile + row) * job.Columns), job.Columns, (sbyte*)target + (row * Length),
                    (Block*)(target + (rows * Length)) + row, rows * BlockBytes);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Quantize<T>(float* x, int columns, sbyte* q, Block* block, int apart)
        where T : unmanaged, IBlockLanes<T>
    {
        T shift = T.Broadcast(Elementary.IntegerShift);
        for (int i = 0; i < columns; i += Length, q += apart, block = (Block*)((byte*)block + apart))
        {
            T a = T.Load(x + i), b = T.Load(x + i + 16), sizeA = T.Abs(a), sizeB = T.Abs(b);
            // NaN where a number is not finite, else 0.
            float spoilt = T.Sum((a - a) + (b - b)), max = T.Max(T.SelectLess(sizeA, sizeB, sizeB, sizeA));
            float inverse = max >= 1e-30f && spoilt == 0 ? 127f / max : 0, scale = inverse > 0 ? max / 127f : spoilt;
            T factor = T.Broadcast(inverse);
            a = inverse > 0 ? T.MultiplyAdd(a, factor, shift) : shift;
            b = inverse > 0 ? T.MultiplyAdd(b, factor, shift) : shift;
            T.StoreLowBytes(a, q);
            T.StoreLowBytes(b, q + 16);
            // Whole numbers below 2²⁴: the sums are exact.
            float front = T.Sum(a - shift), back = T.Sum(b - shift);
            *block = new Block
            {
                Scale = scale,
                Sum = scale * (front + back),
                Correction = -128 * (int)(front + back),
                SecondCorrection = -128 * (int)back,
            };
        }
    }
}
