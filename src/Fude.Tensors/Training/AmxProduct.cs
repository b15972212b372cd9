using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>What multiplies two packed tiles of A with two of B: <see cref="AmxBlocks"/>, and plain loops in tests where there is no AMX.</summary>
internal unsafe interface IBlockTile
{
    /// <summary>Before the first product of an item.</summary>
    static abstract void Open();

    /// <summary>sums[32][32] = a strip · a panel of one or more blocks.</summary>
    static abstract void Multiply(uint* strip, uint* panel, float* sums, long blocks);

    /// <summary>After the last.</summary>
    static abstract void Close();
}

/// <summary><see cref="MatrixProduct"/> of numbers rounded to bfloat16 and summed in blocks, in AMX's tiles: the same bits.</summary>
/// <remarks>A block of thirty-two k is one TDPBF16PS, whose pairs hold k and k + 16: the sums that it keeps of the pairs' halves are the block's two
/// chains. Strips of A are [blocks][32 rows][16 pairs], panels of B [blocks][2][16 pairs][16 columns]; what is not there is 0. C is added to
/// outside of the tiles, which would take a subnormal number in it for 0.</remarks>
internal static unsafe class AmxProduct
{
    internal const int Rows = 32, Columns = 32, Block = MatrixProduct.Block;

    private const int Lines = 16, Pairs = 16, TileNumbers = Lines * Pairs, Piece = MatrixProduct.Piece;

    /// <inheritdoc cref="MatrixProduct.Pack"/>
    internal static void Pack(void* argument, int item, int worker)
    {
        ref MatrixProduct.Job job = ref *(MatrixProduct.Job*)argument;
        int across = (job.N + MatrixProduct.PackedColumns - 1) / MatrixProduct.PackedColumns;
        int k = item / across * Piece, column = item % across * MatrixProduct.PackedColumns, count = Math.Min(Piece, job.K - k);
        MatrixProduct.Operand b = job.B;
        int columns = MatrixProduct.RoundUp(Math.Min(MatrixProduct.PackedColumns, job.N - column), Columns);
        uint* target = Panels(job, k, column, Blocks(count));
        for (int j = 0; j < columns; j += Columns)
            for (int first = 0; first < count; first += Block)
                for (int half = 0; half < Columns; half += Lines, target += TileNumbers)
                {
                    int line = column + j + half;
                    PackTile(b.Numbers + (k + first) * b.RowStride + line * b.ColumnStride, b.ColumnStride, b.RowStride,
                        Math.Clamp(job.N - line, 0, Lines), count - first, target, byPair: true);
                }
    }

    /// <inheritdoc cref="MatrixProduct.Run"/>
    internal static void Run<TTile>(void* argument, int item, int worker)
        where TTile : IBlockTile
    {
        ref MatrixProduct.Job job = ref *(MatrixProduct.Job*)argument;
        int across = (job.N + job.ItemColumns - 1) / job.ItemColumns;
        int row = item / across * job.ItemRows, column = item % across * job.ItemColumns;
        int rows = Math.Min(job.ItemRows, job.M - row), columns = Math.Min(job.ItemColumns, job.N - column);
        uint* a = (uint*)(job.Scratch + worker * MatrixProduct.ScratchBytes);
        float* c = job.C + row * job.CStride + column, sums = stackalloc float[Rows * Columns];
        TTile.Open();
        for (int k = 0; k < job.K || k == 0; k += Piece)
        {
            int count = Math.Min(Piece, job.K - k), blocks = Blocks(count);
            PackA(job.A, row, rows, k, count, a);
            uint* panels = Panels(job, k, column, blocks);
            for (int j = 0; j < columns; j += Columns)
                for (int i = 0; i < rows; i += Rows)
                {
                    if (blocks == 0) NativeMemory.Clear(sums, Rows * Columns * sizeof(float));
                    else TTile.Multiply(a + (nint)i * blocks * Pairs, panels + (nint)j * blocks * Pairs, sums, blocks);
                    MatrixProduct.Put<Lanes512>(sums, c + i * job.CStride + j, job.CStride, Math.Min(Rows, rows - i), Math.Min(Columns, columns - j), job.Adds || k > 0);
                }
        }
        TTile.Close();
    }

    private static int Blocks(int count) => (count + Block - 1) / Block;

    private static uint* Panels(in MatrixProduct.Job job, int k, int column, int blocks) =>
        (uint*)job.Packed + (nint)(k / 2) * MatrixProduct.RoundUp(job.N, Columns) + (nint)column * blocks * Pairs;

    private static void PackA(in MatrixProduct.Operand a, int row, int rows, int k, int count, uint* target)
    {
        for (int i = 0; i < rows; i += Rows)
            for (int first = 0; first < count; first += Block)
                for (int half = 0; half < Rows; half += Lines, target += TileNumbers)
                    PackTile(a.Numbers + (row + i + half) * a.RowStride + (k + first) * a.ColumnStride, a.RowStride, a.ColumnStride,
                        Math.Clamp(rows - i - half, 0, Lines), count - first, target, byPair: false);
    }

    /// <summary>Sixteen rows of A or columns of B, by thirty-two k.</summary>
    /// <param name="source">The first number.</param>
    /// <param name="lineStride">From one of the sixteen to the next.</param>
    /// <param name="stride">From one k to the next; one of the two strides is 1.</param>
    /// <param name="lines">How many of the sixteen there are.</param>
    /// <param name="count">How many k there are; more than thirty-two do not count.</param>
    /// <param name="target">Receives [line][pair], or [pair][line].</param>
    /// <param name="byPair">Whether the latter.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackTile(float* source, nint lineStride, nint stride, int lines, int count, uint* target, bool byPair)
    {
        uint* read = stackalloc uint[TileNumbers];
        bool readsByPair = stride != 1;
        uint* place = readsByPair == byPair ? target : read;
        Vector512<float> zero = Vector512<float>.Zero;
        Vector512<float> first = First(readsByPair ? lines : count), second = First(readsByPair ? lines : count - Pairs);
        for (int i = 0; i < Lines; i++, place += Lines)
        {
            float* numbers = source + i * (readsByPair ? stride : lineStride);
            nint half = readsByPair ? Pairs * stride : Pairs;
            bool hasFirst = i < (readsByPair ? count : lines), hasSecond = readsByPair ? i + Pairs < count : hasFirst;
            Vector512.Store(Bf16Numbers.Pairs(
                hasFirst ? Avx512F.MaskLoad(numbers, first, zero) : zero, hasSecond ? Avx512F.MaskLoad(numbers + half, second, zero) : zero), place);
        }
        if (readsByPair == byPair) return;
        for (int i = 0; i < Lines; i += 8)
            for (int j = 0; j < Pairs; j += 8)
            {
                float* from = (float*)read + i * Pairs + j;
                MatrixProduct.StoreTransposed(
                    Vector256.Load(from), Vector256.Load(from + Pairs), Vector256.Load(from + 2 * Pairs), Vector256.Load(from + 3 * Pairs),
                    Vector256.Load(from + 4 * Pairs), Vector256.Load(from + 5 * Pairs), Vector256.Load(from + 6 * Pairs), Vector256.Load(from + 7 * Pairs),
                    (float*)target + j * Lines + i, Lines);
            }

        static Vector512<float> First(int count) => Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(count)).AsSingle();
    }
}
