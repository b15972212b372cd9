using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary><see cref="MatrixProduct"/> of numbers rounded to bfloat16, in instructions that multiply pairs of them: the same bits as its
/// rounding form, in about half the time.</summary>
/// <remarks>A and B are packed as pairs of neighbouring k, the earlier one in the upper half: strips [pairs][12] of A and panels [pairs][32]
/// of B; rows, columns and a second number that are not there are 0. For the rest see <see cref="MatrixProduct"/>.</remarks>
internal static unsafe class Bf16Product
{
    // Rows that are fetched before they are packed: each is in another place of memory.
    private const int Ahead = 16;

    private const int Rows = Bf16Tile.Rows, Columns = Bf16Tile.Columns, Piece = MatrixProduct.Piece;

    /// <summary>Twice as many as of float32 numbers, which take as much scratch.</summary>
    internal const int LargestItemRows = 2 * MatrixProduct.LargestItemRows;

    /// <inheritdoc cref="MatrixProduct.Pack"/>
    internal static void Pack(void* argument, int item, int worker)
    {
        ref MatrixProduct.Job job = ref *(MatrixProduct.Job*)argument;
        int across = (job.N + MatrixProduct.PackedColumns - 1) / MatrixProduct.PackedColumns;
        int k = item / across * Piece, column = item % across * MatrixProduct.PackedColumns, count = Math.Min(Piece, job.K - k), pairs = (count + 1) / 2;
        MatrixProduct.Operand b = job.B;
        float* source = b.Numbers + k * b.RowStride + column * b.ColumnStride;
        uint* target = Panels(job, k, column, pairs);
        int end = Math.Min(MatrixProduct.PackedColumns, job.N - column);
        for (int j = 0; j < end; j += Columns, source += Columns * b.ColumnStride, target += (nint)Columns * pairs)
        {
            int present = Math.Min(Columns, end - j);
            if (b.ColumnStride != 1)
            {
                PackAlong(source, b.ColumnStride, present, count, target, Columns);
                continue;
            }
            PackAcross(source, b.RowStride, count, Math.Min(present, 16), target, Columns, 16);
            PackAcross(source + 16, b.RowStride, count, Math.Max(0, present - 16), target + 16, Columns, 16);
        }
    }

    /// <inheritdoc cref="MatrixProduct.Run"/>
    internal static void Run(void* argument, int item, int worker)
    {
        ref MatrixProduct.Job job = ref *(MatrixProduct.Job*)argument;
        int across = (job.N + job.ItemColumns - 1) / job.ItemColumns;
        int row = item / across * job.ItemRows, column = item % across * job.ItemColumns;
        int rows = Math.Min(job.ItemRows, job.M - row), columns = Math.Min(job.ItemColumns, job.N - column);
        uint* a = (uint*)(job.Scratch + worker * MatrixProduct.ScratchBytes);
        float* c = job.C + row * job.CStride + column;
        for (int k = 0; k < job.K || k == 0; k += Piece)
        {
            int count = Math.Min(Piece, job.K - k), pairs = (count + 1) / 2;
            PackA(job.A, row, rows, k, count, a);
            Multiply(a, Panels(job, k, column, pairs), c, job.CStride, rows, columns, pairs, job.Adds || k > 0);
        }
    }

    private static uint* Panels(in MatrixProduct.Job job, int k, int column, int pairs) =>
        (uint*)job.Packed + (nint)(k / 2) * MatrixProduct.RoundUp(job.N, Columns) + (nint)column * pairs;

    private static void Multiply(uint* a, uint* b, float* c, nint stride, int rows, int columns, int pairs, bool adds)
    {
        float* edge = stackalloc float[Rows * Columns];
        Bf16Tile.Shape whole = new() { Pairs = pairs, CStride = stride * sizeof(float) };
        Bf16Tile.Shape apart = new() { Pairs = pairs, CStride = Columns * sizeof(float) };
        nint routine = adds ? Bf16Tile.Adds : Bf16Tile.Writes;
        for (int j = 0; j < columns; j += Columns)
        {
            uint* panel = b + (nint)j * pairs;
            for (int i = 0; i < rows; i += Rows)
            {
                uint* strip = a + (nint)i * pairs;
                float* target = c + i * stride + j;
                int tileRows = Math.Min(Rows, rows - i), tileColumns = Math.Min(Columns, columns - j);
                if (tileRows == Rows && tileColumns == Columns)
                {
                    ((delegate* unmanaged[SuppressGCTransition]<uint*, uint*, float*, Bf16Tile.Shape*, void>)routine)(strip, panel, target, &whole);
                    continue;
                }
                ((delegate* unmanaged[SuppressGCTransition]<uint*, uint*, float*, Bf16Tile.Shape*, void>)Bf16Tile.Writes)(strip, panel, edge, &apart);
                MatrixProduct.Put<Lanes512>(edge, target, stride, tileRows, tileColumns, adds);
            }
        }
    }

    private static void PackA(in MatrixProduct.Operand a, int row, int rows, int k, int count, uint* target)
    {
        float* source = a.Numbers + row * a.RowStride + k * a.ColumnStride;
        nint apart = (nint)((count + 1) / 2) * Rows;
        if (a.RowStride != 1)
        {
            for (int i = 0; i < rows; i += Rows, target += apart)
                PackAlong(source + i * a.RowStride, a.RowStride, Math.Min(Rows, rows - i), count, target, Rows);
            return;
        }
        // The columns of A lie in rows, of which a few at a time are read for all strips.
        for (int first = 0; first < count; first += 16, source += 16 * a.ColumnStride, target += 8 * Rows)
            for (int i = 0; i < rows; i += Rows)
                PackAcross(source + i, a.ColumnStride, Math.Min(16, count - first), Math.Min(Rows, rows - i), target + i / Rows * apart, Rows, Rows);
    }

    /// <summary>Pairs of rows that follow each other: target[pair][0 … wide) of numbers [k][0 … present), then 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackAcross(float* source, nint stride, int count, int present, uint* target, nint width, int wide)
    {
        Vector512<float> read = Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(present)).AsSingle();
        Vector512<uint> write = Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(wide)).AsUInt32();
        Vector512<float> zero = Vector512<float>.Zero;
        int k = 0;
        for (; k < count - 1; k += 2, source += 2 * stride, target += width)
        {
            Sse.Prefetch0(source + Ahead * stride);
            Sse.Prefetch0(source + (Ahead + 1) * stride);
            Vector512<float> first = Avx512F.MaskLoad(source, read, zero), second = Avx512F.MaskLoad(source + stride, read, zero);
            Avx512F.MaskStore(target, write, Bf16Numbers.Pairs(first, second));
        }
        if (k < count) Avx512F.MaskStore(target, write, Bf16Numbers.Pairs(Avx512F.MaskLoad(source, read, zero), zero));
    }

    /// <summary>Rows along which k runs: target[pair][i] of row i, 0 where there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackAlong(float* source, nint stride, int present, int count, uint* target, int width)
    {
        int pairs = (count + 1) / 2, whole = 0;
        if (present == width)
        {
            whole = count / 16 * 8;
            for (int pair = 0; pair < whole; pair += 8)
            {
                float* numbers = source + 2 * pair;
                uint* place = target + (nint)pair * width;
                int i = 0;
                for (; i <= width - 8; i += 8, numbers += 8 * stride) TransposeEight(numbers, stride, (float*)place + i, width);
                if (i < width) TransposeFour(numbers, stride, (float*)place + i, width);
            }
        }
        for (int i = 0; i < width; i++)
        {
            float* numbers = source + i * stride;
            for (int pair = whole; pair < pairs; pair++)
                target[(nint)pair * width + i] = i >= present
                    ? 0 : Bf16Numbers.Pair(numbers[2 * pair], 2 * pair + 1 < count ? numbers[2 * pair + 1] : 0);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> EightPairs(float* source) => Bf16Numbers.Pairs(Vector512.Load(source)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TransposeEight(float* source, nint stride, float* target, nint width)
    {
        float* half = source + 4 * stride;
        MatrixProduct.StoreTransposed(
            EightPairs(source), EightPairs(source + stride), EightPairs(source + 2 * stride), EightPairs(source + 3 * stride),
            EightPairs(half), EightPairs(half + stride), EightPairs(half + 2 * stride), EightPairs(half + 3 * stride), target, width);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TransposeFour(float* source, nint stride, float* target, nint width)
    {
        Vector256<float> a = EightPairs(source), b = EightPairs(source + stride);
        Vector256<float> c = EightPairs(source + 2 * stride), d = EightPairs(source + 3 * stride);
        (a, b) = (Avx.UnpackLow(a, b), Avx.UnpackHigh(a, b));
        (c, d) = (Avx.UnpackLow(c, d), Avx.UnpackHigh(c, d));
        (a, c) = (Avx.Shuffle(a, c, 0b01_00_01_00), Avx.Shuffle(a, c, 0b11_10_11_10));
        (b, d) = (Avx.Shuffle(b, d, 0b01_00_01_00), Avx.Shuffle(b, d, 0b11_10_11_10));
        a.GetLower().Store(target);
        c.GetLower().Store(target + width);
        b.GetLower().Store(target + 2 * width);
        d.GetLower().Store(target + 3 * width);
        target += 4 * width;
        a.GetUpper().Store(target);
        c.GetUpper().Store(target + width);
        b.GetUpper().Store(target + 2 * width);
        d.GetUpper().Store(target + 3 * width);
    }
}
