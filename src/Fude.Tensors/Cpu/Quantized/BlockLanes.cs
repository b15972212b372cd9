namespace Fude.Tensors;

/// <summary>The same registers as <see cref="ILanes{T}"/>, taken as sixteen int32 numbers or as 64 bytes: what products of quantised
/// weights are written in.</summary>
/// <remarks>Every operation here is exact, but for what it says of floats. AVX-512 uses the ymm registers of <see cref="Lanes256"/>: .NET
/// has no byte dot product for zmm.</remarks>
internal unsafe interface IBlockLanes<T> : ILanes<T>
    where T : unmanaged, IBlockLanes<T>
{
    /// <summary>sums[j] + Σ u[4j+i]·s[4j+i] over the four bytes of lane j, u unsigned and s signed.</summary>
    /// <param name="sums">int32.</param>
    /// <param name="u">Bytes; at most 127 where not <paramref name="isWide"/>.</param>
    /// <param name="s">Bytes, never −128.</param>
    /// <param name="isWide">Whether u uses all eight bits. A constant.</param>
    static abstract T Dot(T sums, T u, T s, bool isWide);

    static abstract T BroadcastInt(int value);

    /// <summary>Each int32 as float32; those below 2²⁴ are exact.</summary>
    static abstract T ToFloat(T ints);

    /// <summary>Each byte's low half.</summary>
    static abstract T LowHalves(T bytes);

    /// <summary>Each byte's high half, as a number below 16.</summary>
    static abstract T HighHalves(T bytes);

    /// <summary>Some bits of each byte, moved up, or down where <paramref name="up"/> is negative.</summary>
    /// <param name="bytes">Bytes.</param>
    /// <param name="up">How far. A constant.</param>
    /// <param name="mask">Which bits are kept in their new place. A constant.</param>
    static abstract T Bits(T bytes, int up, byte mask);

    static abstract T Or(T left, T right);

    /// <summary>value + addend in every byte.</summary>
    static abstract T AddBytes(T value, byte addend);

    /// <summary>Sixteen unsigned bytes as float32.</summary>
    static abstract T LoadUnsignedBytes(byte* source);

    /// <summary>Sixteen signed bytes as float32.</summary>
    static abstract T LoadSignedBytes(sbyte* source);

    /// <summary>The lowest byte of each lane.</summary>
    static abstract void StoreLowBytes(T ints, sbyte* target);

    /// <summary>The greatest lane; any when one is NaN.</summary>
    static abstract float Max(T value);
}
