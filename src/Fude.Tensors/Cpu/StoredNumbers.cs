using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>How a <see cref="NumberFormat"/> is read into lanes: the one place where kernels differ by format.</summary>
internal unsafe interface IStoredNumbers
{
    /// <summary>Bytes of a number.</summary>
    static abstract int Size { get; }

    /// <summary>Sixteen numbers from the given one on.</summary>
    static abstract T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T>;

    /// <summary>Fewer than sixteen, then +0.</summary>
    static abstract T LoadPartial<T>(byte* numbers, nint index, int count)
        where T : unmanaged, ILanes<T>;
}

/// <summary><see cref="NumberFormat.F32"/>.</summary>
internal readonly unsafe struct StoredFloat32 : IStoredNumbers
{
    public static int Size => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T> => T.Load((float*)numbers + index);

    public static T LoadPartial<T>(byte* numbers, nint index, int count)
        where T : unmanaged, ILanes<T> => Partial.Load<T>((float*)numbers + index, count);
}

/// <summary><see cref="NumberFormat.F16"/>.</summary>
internal readonly unsafe struct StoredFloat16 : IStoredNumbers
{
    public static int Size => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T> => T.LoadFloat16((ushort*)numbers + index);

    public static T LoadPartial<T>(byte* numbers, nint index, int count)
        where T : unmanaged, ILanes<T> => Partial.LoadFloat16<T>((ushort*)numbers + index, count);
}

/// <summary><see cref="NumberFormat.BF16"/>.</summary>
internal readonly unsafe struct StoredBFloat16 : IStoredNumbers
{
    public static int Size => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load<T>(byte* numbers, nint index)
        where T : unmanaged, ILanes<T> => T.LoadBFloat16((ushort*)numbers + index);

    public static T LoadPartial<T>(byte* numbers, nint index, int count)
        where T : unmanaged, ILanes<T> => Partial.LoadBFloat16<T>((ushort*)numbers + index, count);
}
