using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Sixteen float32 numbers that are computed side by side: the unit in which every CPU kernel is written.</summary>
/// <remarks>
/// One zmm register, two ymm, four 128-bit ones or a plain loop: each operation is the correctly rounded IEEE 754 one, lane by lane, and
/// <see cref="Sum"/> adds in one fixed tree, so a kernel written over lanes gives the same bits on every instruction set. Sums of a row
/// are always taken so: lane j adds the terms k ≡ j (mod 16) in ascending order, absent ones being +0, and the lanes are added at the end.
/// </remarks>
internal unsafe interface ILanes<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>Registers that hold the sixteen numbers: kernels choose their tiles by it, which bits do not depend on.</summary>
    static abstract int Registers { get; }

    static abstract T Zero { get; }

    static abstract T Broadcast(float value);

    static abstract T Load(float* source);

    /// <summary>Sixteen half-precision numbers, exactly.</summary>
    static abstract T LoadFloat16(ushort* source);

    /// <summary>Sixteen bfloat16 numbers, exactly.</summary>
    static abstract T LoadBFloat16(ushort* source);

    /// <summary>Sixteen signed bytes, exactly.</summary>
    static abstract T LoadInt8(sbyte* source);

    static abstract void Store(T value, float* target);

    static abstract T operator +(T left, T right);

    static abstract T operator -(T left, T right);

    static abstract T operator *(T left, T right);

    static abstract T operator /(T left, T right);

    /// <summary>a·b + c, rounded once.</summary>
    static abstract T MultiplyAdd(T a, T b, T c);

    static abstract T Abs(T value);

    /// <summary>a &lt; b ? ifLess : otherwise; NaN is not less.</summary>
    static abstract T SelectLess(T a, T b, T ifLess, T otherwise);

    /// <summary>value · 2ⁿ in two steps, so that results below the normal range are rounded once and large ones become infinite.</summary>
    /// <param name="value">What is scaled.</param>
    /// <param name="shifted">n + <see cref="Elementary.IntegerShift"/>: n is read from the low bits of its representation.</param>
    static abstract T ScaleByPowerOfTwo(T value, T shifted);

    /// <summary>value · 2ⁿ where value and the result are in the normal range.</summary>
    /// <param name="value">What is scaled.</param>
    /// <param name="shifted">As in <see cref="ScaleByPowerOfTwo"/>.</param>
    static abstract T AddToExponent(T value, T shifted);

    /// <summary>The sum in the fixed tree: j + (j+8), then j + (j+4), j + (j+2), j + (j+1).</summary>
    static abstract float Sum(T value);

    /// <summary>Four such sums at once.</summary>
    static abstract void SumFour(T a, T b, T c, T d, float* sums);
}

/// <summary>The parts of a row that do not fill sixteen lanes. Nothing beyond them is read or written.</summary>
internal static unsafe class Partial
{
    [InlineArray(16)]
    private struct Floats
    {
        private float _first;
    }

    [InlineArray(16)]
    private struct Halves
    {
        private ushort _first;
    }

    /// <summary>The first numbers, then +0.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static T Load<T>(float* source, int count)
        where T : unmanaged, ILanes<T>
    {
        Floats buffer = default;
        for (int i = 0; i < count; i++) buffer[i] = source[i];
        return T.Load((float*)&buffer);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static T LoadFloat16<T>(ushort* source, int count)
        where T : unmanaged, ILanes<T>
    {
        Halves buffer = default;
        for (int i = 0; i < count; i++) buffer[i] = source[i];
        return T.LoadFloat16((ushort*)&buffer);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static T LoadBFloat16<T>(ushort* source, int count)
        where T : unmanaged, ILanes<T>
    {
        Halves buffer = default;
        for (int i = 0; i < count; i++) buffer[i] = source[i];
        return T.LoadBFloat16((ushort*)&buffer);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Store<T>(T value, float* target, int count)
        where T : unmanaged, ILanes<T>
    {
        Floats buffer;
        T.Store(value, (float*)&buffer);
        for (int i = 0; i < count; i++) target[i] = buffer[i];
    }
}
