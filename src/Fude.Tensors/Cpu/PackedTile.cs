using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary><see cref="DotTile"/> over packed numbers: six rows and four, sixteen numbers of each after sixteen of the one before.</summary>
/// <remarks>
/// Many rows that lie a power of two apart push each other out of the nearest cache; packed, a tile reads two streams from beginning to end.
/// What does not fill sixteen lanes is +0. A row is walked in pieces; between them the lanes rest in <c>carry</c>, unrounded and unsummed, so
/// that the bits are those of one walk.
/// </remarks>
internal static unsafe class PackedTile
{
    /// <summary>Rows of x and of w in a tile.</summary>
    public const int Rows = 6, Outputs = 4;

    /// <summary>Floats of sixteen numbers of each row of x, and of w.</summary>
    public const int RowGroup = 16 * Rows, OutputGroup = 16 * Outputs;

    /// <summary>Floats of a tile's lanes.</summary>
    public const int Lanes = 16 * Rows * Outputs;

    /// <summary>One tile: sums[i·4 + j] = Σ x[i][k]·w[j][k] over a piece of the rows, or its lanes.</summary>
    /// <param name="x">[groups][<see cref="Rows"/>][16].</param>
    /// <param name="w">[groups][<see cref="Outputs"/>][16].</param>
    /// <param name="groups">Sixteens of numbers in the piece.</param>
    /// <param name="carry">[<see cref="Rows"/>·<see cref="Outputs"/>][16] lanes between pieces.</param>
    /// <param name="first">Whether the lanes begin at 0.</param>
    /// <param name="last">Whether they are summed.</param>
    /// <param name="sums">Written when the piece is the last.</param>
    public static void Run<T>(float* x, float* w, int groups, float* carry, bool first, bool last, float* sums)
        where T : unmanaged, ILanes<T>
    {
        if (T.Registers == 1)
        {
            SixByFour<T>(x, w, groups, carry, first, last, sums);
            return;
        }
        if (T.Registers == 2)
        {
            for (int i = 0; i < Rows; i += 3)
                for (int j = 0; j < Outputs; j += 2)
                    ThreeByTwo(x + 16 * i, w + 16 * j, groups, carry + 16 * (i * Outputs + j * 3), first, last, sums + i * Outputs + j);
            return;
        }
        for (int i = 0; i < Rows; i += 2)
            for (int j = 0; j < Outputs; j += 2)
                TwoByTwo<T>(x + 16 * i, w + 16 * j, groups, carry + 16 * (i * Outputs + j * 2), first, last, sums + i * Outputs + j);
    }

    // Lanes of a quarter of a tile, [3][2][16], each in two ymm registers: twelve sums, and half of the lanes' factors at a time.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ThreeByTwo(float* x, float* w, int groups, float* carry, bool first, bool last, float* sums)
    {
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector256<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector256<float> c0 = default, c1 = default, c2 = default, c3 = default;
        if (!first)
        {
            (a0, a1, a2, a3) = (Vector256.Load(carry), Vector256.Load(carry + 8), Vector256.Load(carry + 16), Vector256.Load(carry + 24));
            (b0, b1, b2, b3) = (Vector256.Load(carry + 32), Vector256.Load(carry + 40), Vector256.Load(carry + 48), Vector256.Load(carry + 56));
            (c0, c1, c2, c3) = (Vector256.Load(carry + 64), Vector256.Load(carry + 72), Vector256.Load(carry + 80), Vector256.Load(carry + 88));
        }
        for (float* end = x + (nint)groups * RowGroup; x < end; x += RowGroup, w += OutputGroup)
        {
            Vector256<float> v = Vector256.Load(w), other = Vector256.Load(w + 16), u = Vector256.Load(x);
            a0 = Fma.MultiplyAdd(u, v, a0);
            a2 = Fma.MultiplyAdd(u, other, a2);
            u = Vector256.Load(x + 16);
            b0 = Fma.MultiplyAdd(u, v, b0);
            b2 = Fma.MultiplyAdd(u, other, b2);
            u = Vector256.Load(x + 32);
            c0 = Fma.MultiplyAdd(u, v, c0);
            c2 = Fma.MultiplyAdd(u, other, c2);
            v = Vector256.Load(w + 8);
            other = Vector256.Load(w + 24);
            u = Vector256.Load(x + 8);
            a1 = Fma.MultiplyAdd(u, v, a1);
            a3 = Fma.MultiplyAdd(u, other, a3);
            u = Vector256.Load(x + 24);
            b1 = Fma.MultiplyAdd(u, v, b1);
            b3 = Fma.MultiplyAdd(u, other, b3);
            u = Vector256.Load(x + 40);
            c1 = Fma.MultiplyAdd(u, v, c1);
            c3 = Fma.MultiplyAdd(u, other, c3);
        }
        if (last)
        {
            (sums[0], sums[1]) = (Lanes256.Sum(new(a0, a1)), Lanes256.Sum(new(a2, a3)));
            (sums[Outputs], sums[Outputs + 1]) = (Lanes256.Sum(new(b0, b1)), Lanes256.Sum(new(b2, b3)));
            (sums[2 * Outputs], sums[2 * Outputs + 1]) = (Lanes256.Sum(new(c0, c1)), Lanes256.Sum(new(c2, c3)));
            return;
        }
        a0.Store(carry);
        a1.Store(carry + 8);
        a2.Store(carry + 16);
        a3.Store(carry + 24);
        b0.Store(carry + 32);
        b1.Store(carry + 40);
        b2.Store(carry + 48);
        b3.Store(carry + 56);
        c0.Store(carry + 64);
        c1.Store(carry + 72);
        c2.Store(carry + 80);
        c3.Store(carry + 88);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixByFour<T>(float* x, float* w, int groups, float* carry, bool first, bool last, float* sums)
        where T : unmanaged, ILanes<T>
    {
        T a0 = T.Zero, a1 = T.Zero, a2 = T.Zero, a3 = T.Zero;
        T b0 = T.Zero, b1 = T.Zero, b2 = T.Zero, b3 = T.Zero;
        T c0 = T.Zero, c1 = T.Zero, c2 = T.Zero, c3 = T.Zero;
        T d0 = T.Zero, d1 = T.Zero, d2 = T.Zero, d3 = T.Zero;
        T e0 = T.Zero, e1 = T.Zero, e2 = T.Zero, e3 = T.Zero;
        T f0 = T.Zero, f1 = T.Zero, f2 = T.Zero, f3 = T.Zero;
        if (!first)
        {
            a0 = T.Load(carry);
            a1 = T.Load(carry + 16);
            a2 = T.Load(carry + 32);
            a3 = T.Load(carry + 48);
            b0 = T.Load(carry + 64);
            b1 = T.Load(carry + 80);
            b2 = T.Load(carry + 96);
            b3 = T.Load(carry + 112);
            c0 = T.Load(carry + 128);
            c1 = T.Load(carry + 144);
            c2 = T.Load(carry + 160);
            c3 = T.Load(carry + 176);
            d0 = T.Load(carry + 192);
            d1 = T.Load(carry + 208);
            d2 = T.Load(carry + 224);
            d3 = T.Load(carry + 240);
            e0 = T.Load(carry + 256);
            e1 = T.Load(carry + 272);
            e2 = T.Load(carry + 288);
            e3 = T.Load(carry + 304);
            f0 = T.Load(carry + 320);
            f1 = T.Load(carry + 336);
            f2 = T.Load(carry + 352);
            f3 = T.Load(carry + 368);
        }
        for (float* end = x + (nint)groups * RowGroup; x < end; x += RowGroup, w += OutputGroup)
        {
            T v0 = T.Load(w), v1 = T.Load(w + 16), v2 = T.Load(w + 32), v3 = T.Load(w + 48);
            T u = T.Load(x);
            a0 = T.MultiplyAdd(u, v0, a0);
            a1 = T.MultiplyAdd(u, v1, a1);
            a2 = T.MultiplyAdd(u, v2, a2);
            a3 = T.MultiplyAdd(u, v3, a3);
            u = T.Load(x + 16);
            b0 = T.MultiplyAdd(u, v0, b0);
            b1 = T.MultiplyAdd(u, v1, b1);
            b2 = T.MultiplyAdd(u, v2, b2);
            b3 = T.MultiplyAdd(u, v3, b3);
            u = T.Load(x + 32);
            c0 = T.MultiplyAdd(u, v0, c0);
            c1 = T.MultiplyAdd(u, v1, c1);
            c2 = T.MultiplyAdd(u, v2, c2);
            c3 = T.MultiplyAdd(u, v3, c3);
            u = T.Load(x + 48);
            d0 = T.MultiplyAdd(u, v0, d0);
            d1 = T.MultiplyAdd(u, v1, d1);
            d2 = T.MultiplyAdd(u, v2, d2);
            d3 = T.MultiplyAdd(u, v3, d3);
            u = T.Load(x + 64);
            e0 = T.MultiplyAdd(u, v0, e0);
            e1 = T.MultiplyAdd(u, v1, e1);
            e2 = T.MultiplyAdd(u, v2, e2);
            e3 = T.MultiplyAdd(u, v3, e3);
            u = T.Load(x + 80);
            f0 = T.MultiplyAdd(u, v0, f0);
            f1 = T.MultiplyAdd(u, v1, f1);
            f2 = T.MultiplyAdd(u, v2, f2);
            f3 = T.MultiplyAdd(u, v3, f3);
        }
        if (last)
        {
            T.SumFour(a0, a1, a2, a3, sums);
            T.SumFour(b0, b1, b2, b3, sums + 4);
            T.SumFour(c0, c1, c2, c3, sums + 8);
            T.SumFour(d0, d1, d2, d3, sums + 12);
            T.SumFour(e0, e1, e2, e3, sums + 16);
            T.SumFour(f0, f1, f2, f3, sums + 20);
            return;
        }
        T.Store(a0, carry);
        T.Store(a1, carry + 16);
        T.Store(a2, carry + 32);
        T.Store(a3, carry + 48);
        T.Store(b0, carry + 64);
        T.Store(b1, carry + 80);
        T.Store(b2, carry + 96);
        T.Store(b3, carry + 112);
        T.Store(c0, carry + 128);
        T.Store(c1, carry + 144);
        T.Store(c2, carry + 160);
        T.Store(c3, carry + 176);
        T.Store(d0, carry + 192);
        T.Store(d1, carry + 208);
        T.Store(d2, carry + 224);
        T.Store(d3, carry + 240);
        T.Store(e0, carry + 256);
        T.Store(e1, carry + 272);
        T.Store(e2, carry + 288);
        T.Store(e3, carry + 304);
        T.Store(f0, carry + 320);
        T.Store(f1, carry + 336);
        T.Store(f2, carry + 352);
        T.Store(f3, carry + 368);
    }

    // Lanes of a sixth of a tile: [2][2][16].
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TwoByTwo<T>(float* x, float* w, int groups, float* carry, bool first, bool last, float* sums)
        where T : unmanaged, ILanes<T>
    {
        T a0 = T.Zero, a1 = T.Zero;
        T b0 = T.Zero, b1 = T.Zero;
        if (!first)
        {
            a0 = T.Load(carry);
            a1 = T.Load(carry + 16);
            b0 = T.Load(carry + 32);
            b1 = T.Load(carry + 48);
        }
        for (float* end = x + (nint)groups * RowGroup; x < end; x += RowGroup, w += OutputGroup)
        {
            T v0 = T.Load(w), v1 = T.Load(w + 16);
            T u = T.Load(x);
            a0 = T.MultiplyAdd(u, v0, a0);
            a1 = T.MultiplyAdd(u, v1, a1);
            u = T.Load(x + 16);
            b0 = T.MultiplyAdd(u, v0, b0);
            b1 = T.MultiplyAdd(u, v1, b1);
        }
        if (!last)
        {
            T.Store(a0, carry);
            T.Store(a1, carry + 16);
            T.Store(b0, carry + 32);
            T.Store(b1, carry + 48);
            return;
        }
        float* four = stackalloc float[4];
        T.SumFour(a0, a1, b0, b1, four);
        (sums[0], sums[1], sums[Outputs], sums[Outputs + 1]) = (four[0], four[1], four[2], four[3]);
    }
}
