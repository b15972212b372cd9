using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>How a cache of keys and values keeps its numbers: the one place where attention differs by format.</summary>
/// <remarks>
/// The keys of a head in a page are [size][32 positions], so that sixteen lanes are sixteen keys and a score needs no sum over lanes; the
/// values are [32 positions][size rounded up to 16]. Where numbers share a scale (32 neighbouring numbers of one key or value), the
/// scales follow as halves, [size / 32][32 positions]. What is read is the number times its scale, which float32 holds exactly.
/// </remarks>
internal unsafe interface ICachedNumbers
{
    /// <summary>Bytes of a number without its scale.</summary>
    static abstract int Size { get; }

    static abstract bool HasScales { get; }

    /// <summary>Sixteen numbers from the given one on, without scales.</summary>
    static abstract T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T>;
}

/// <summary><see cref="NumberFormat.F32"/>.</summary>
internal readonly unsafe struct CachedFloat32 : ICachedNumbers
{
    public static int Size => 4;

    public static bool HasScales => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T> => T.Load((float*)numbers + index);
}

/// <summary><see cref="NumberFormat.F16"/>.</summary>
internal readonly unsafe struct CachedFloat16 : ICachedNumbers
{
    public static int Size => 2;

    public static bool HasScales => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T> => T.LoadFloat16((ushort*)numbers + index);
}

/// <summary><see cref="NumberFormat.BF16"/>.</summary>
internal readonly unsafe struct CachedBFloat16 : ICachedNumbers
{
    public static int Size => 2;

    public static bool HasScales => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T> => T.LoadBFloat16((ushort*)numbers + index);
}

/// <summary><see cref="NumberFormat.Q8_0"/>, rounded to the nearest with the largest number of 32 as ±127.</summary>
internal readonly unsafe struct CachedInt8 : ICachedNumbers
{
    public static int Size => 1;

    public static bool HasScales => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T> => T.LoadInt8((sbyte*)numbers + index);
}
