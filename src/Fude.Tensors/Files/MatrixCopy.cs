using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Copies a matrix with any strides into dense rows, on all cores: transposed weights, misaligned ones, doubles.</summary>
/// <remarks>
/// The work is cut into square tiles of 512 bytes a side, so that both sides are touched in runs of several cache lines even where
/// the rows of one lie across those of the other. A tile is turned from a buffer in the second-level cache; rows of that buffer are 9
/// lines apart, not 8, and so do not fall onto the same few sets of the first-level cache.
/// </remarks>
internal static unsafe class MatrixCopy
{
    private const int SideBytes = 512, GapBytes = 64, Block = 16;

    /// <summary>Copies, and narrows F64 to F32.</summary>
    /// <param name="type">F32, F16, BF16 or F64.</param>
    /// <param name="source">The first number; need not be aligned.</param>
    /// <param name="rowStride">Numbers from one row to the next.</param>
    /// <param name="columnStride">Numbers from one column to the next.</param>
    /// <param name="target">[rows, columns], dense.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public static void Run(ElementType type, nint source, long rowStride, long columnStride, nint target, int rows, int columns)
    {
        switch (type)
        {
            case ElementType.F32:
                Tiles<uint, uint>(source, rowStride, columnStride, target, rows, columns, static x => x);
                break;
            case ElementType.F16 or ElementType.BF16:
                Tiles<ushort, ushort>(source, rowStride, columnStride, target, rows, columns, static x => x);
                break;
            case ElementType.F64:
                Tiles<double, float>(source, rowStride, columnStride, target, rows, columns, static x => (float)x);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Only floating-point weights are copied.");
        }
    }

    private static void Tiles<TFrom, TTo>(
        nint source, long rowStride, long columnStride, nint target, int rows, int columns, Func<TFrom, TTo> convert)
        where TFrom : unmanaged
        where TTo : unmanaged
    {
        int side = SideBytes / sizeof(TFrom);
        long across = (columns + side - 1) / side, down = (rows + side - 1) / side;
        _ = Parallel.For(0, across * down, tile =>
        {
            (long row, long column) = (tile / across * side, tile % across * side);
            TFrom* from = (TFrom*)source + (row * rowStride) + (column * columnStride);
            TTo* to = (TTo*)target + (row * columns) + column;
            (int height, int width) = ((int)Math.Min(side, rows - row), (int)Math.Min(side, columns - column));
            if (rowStride < columnStride) Turn(from, rowStride, columnStride, to, columns, height, width, convert);
            else
                for (int r = 0; r < height; r++) Run(from + (r * rowStride), columnStride, to + ((long)r * columns), width, convert);
        });
    }

    // One tile whose columns lie in runs.
    [SkipLocalsInit, MethodImpl(MethodImplOptions.AggressiveOptimization)]      // runs long in its first calls, as a model loads
    private static void Turn<TFrom, TTo>(
        TFrom* from, long rowStride, long columnStride, TTo* to, int columns, int height, int width, Func<TFrom, TTo> convert)
        where TFrom : unmanaged
        where TTo : unmanaged
    {
        int stride = (SideBytes + GapBytes) / sizeof(TFrom);
        TFrom* turned = stackalloc TFrom[SideBytes / sizeof(TFrom) * stride];      // [width, height]
        for (int c = 0; c < width; c++) Run(from + (c * columnStride), rowStride, turned + (c * stride), height, static x => x);
        for (int firstRow = 0; firstRow < height; firstRow += Block)
        {
            int endRow = Math.Min(firstRow + Block, height);
            for (int firstColumn = 0; firstColumn < width; firstColumn += Block)
            {
                int endColumn = Math.Min(firstColumn + Block, width);
                for (int r = firstRow; r < endRow; r++)
                {
                    TTo* row = to + ((long)r * columns);
                    TFrom* column = turned + r;
                    for (int c = firstColumn; c < endColumn; c++) row[c] = Convert(column + (c * stride), convert);
                }
            }
        }
    }

    // Some numbers that lie a stride apart, side by side.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TFrom, TTo>(TFrom* from, long stride, TTo* to, int count, Func<TFrom, TTo> convert)
        where TFrom : unmanaged
        where TTo : unmanaged
    {
        if (stride == 1 && typeof(TFrom) == typeof(TTo)) Unsafe.CopyBlockUnaligned(to, from, (uint)(count * sizeof(TFrom)));
        else
            for (int i = 0; i < count; i++) to[i] = Convert(from + (i * stride), convert);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TTo Convert<TFrom, TTo>(TFrom* from, Func<TFrom, TTo> convert)
        where TFrom : unmanaged
        where TTo : unmanaged
    {
        TFrom x = Unsafe.ReadUnaligned<TFrom>(from);
        // The comparison is a constant to the JIT: where nothing changes, no delegate is called.
        return typeof(TFrom) == typeof(TTo) ? Unsafe.BitCast<TFrom, TTo>(x) : convert(x);
    }
}
