using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Copies a matrix with any strides into dense rows, on all cores: transposed weights, misaligned ones, doubles.</summary>
/// <remarks>Both sides are walked in square tiles through a buffer that stays in the first-level cache, so that neither a transposed
/// source nor a stride that is a power of two is read one number a cache line.</remarks>
internal static unsafe class MatrixCopy
{
    private const int Tile = 64;

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
        _ = Parallel.For(0, (rows + Tile - 1) / Tile, band =>
        {
            TTo* tile = stackalloc TTo[Tile * Tile];
            int firstRow = band * Tile, height = Math.Min(Tile, rows - firstRow);
            for (int firstColumn = 0; firstColumn < columns; firstColumn += Tile)
            {
                int width = Math.Min(Tile, columns - firstColumn);
                TFrom* from = (TFrom*)source + (firstRow * rowStride) + (firstColumn * columnStride);
                if (rowStride < columnStride)
                {
                    for (int c = 0; c < width; c++)
                        for (int r = 0; r < height; r++)
                            tile[(r * Tile) + c] = Convert(from + (c * columnStride) + (r * rowStride), convert);
                }
                else
                {
                    for (int r = 0; r < height; r++)
                        for (int c = 0; c < width; c++)
                            tile[(r * Tile) + c] = Convert(from + (r * rowStride) + (c * columnStride), convert);
                }
                for (int r = 0; r < height; r++)
                {
                    TTo* to = (TTo*)target + ((long)(firstRow + r) * columns) + firstColumn;
                    new ReadOnlySpan<TTo>(tile + (r * Tile), width).CopyTo(new Span<TTo>(to, width));
                }
            }
        });
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
