using System.Runtime.InteropServices;

namespace Fude.Tensors.Tests;

public sealed unsafe class MatrixCopyTests
{
    public static TheoryData<int, int, bool> Shapes() =>
        new(from rows in (int[])[1, 2, 15, 16, 17, 127, 300] from columns in (int[])[1, 3, 64, 129, 257] from transposed in (bool[])[false, true] select (rows, columns, transposed));

    [Theory, MemberData(nameof(Shapes))]
    public void Tiles_give_what_plain_indexing_gives(int rows, int columns, bool transposed)
    {
        // A matrix inside a wider one, so that neither stride is the dense one.
        int gap = 3, stride = (transposed ? rows : columns) + gap;
        double[] source = [.. Enumerable.Range(0, stride * (transposed ? columns : rows)).Select(i => (i * 0.37) - 50)];
        (long rowStride, long columnStride) = transposed ? (1L, (long)stride) : (stride, 1L);
        float[] expected = [.. from r in Enumerable.Range(0, rows) from c in Enumerable.Range(0, columns) select (float)source[(r * rowStride) + (c * columnStride)]];
        Assert.Equal(expected, Copy<double, float>(ElementType.F64, source));
        Assert.Equal(expected, Copy<float, float>(ElementType.F32, [.. source.Select(x => (float)x)]));
        Assert.Equal(expected.Select(x => (Half)x), Copy<Half, Half>(ElementType.F16, [.. source.Select(x => (Half)(float)x)]));

        TTo[] Copy<TFrom, TTo>(ElementType type, TFrom[] numbers)
            where TFrom : unmanaged
            where TTo : unmanaged
        {
            using NativeBuffer from = new((numbers.Length * sizeof(TFrom)) + 1), to = new(rows * columns * sizeof(TTo));
            nint odd = from.Address + 1;        // misaligned, as in some files
            MemoryMarshal.AsBytes<TFrom>(numbers).CopyTo(new Span<byte>((void*)odd, numbers.Length * sizeof(TFrom)));
            MatrixCopy.Run(type, odd, rowStride, columnStride, to.Address, rows, columns);
            return new Span<TTo>((void*)to.Address, rows * columns).ToArray();
        }
    }
}
