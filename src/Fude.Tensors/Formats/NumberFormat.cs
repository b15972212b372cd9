namespace Fude.Tensors;

#pragma warning disable CA1707 // The names are those of GGUF files and of everyone who speaks of them: Q4_K, not Q4K.

/// <summary>How the numbers of a weight are stored.</summary>
/// <remarks>
/// The quantised formats keep a row in blocks of <see cref="NumberFormats.BlockLength"/> neighbouring numbers, each with scales of its own,
/// in exactly the layout of GGUF files (github.com/ggml-org/ggml, docs/gguf.md). One file beside this one describes each.
/// </remarks>
public enum NumberFormat
{
    /// <summary>IEEE 754 single precision, 4 bytes.</summary>
    F32,

    /// <summary>IEEE 754 half precision, 2 bytes.</summary>
    F16,

    /// <summary>The upper half of a single-precision number, 2 bytes.</summary>
    BF16,

    /// <summary>32 signed bytes and a scale: 8.5 bits a number.</summary>
    Q8_0,

    /// <summary>32 numbers of 4 bits and a scale: 4.5 bits a number.</summary>
    Q4_0,

    /// <summary>32 numbers of 4 bits, a scale and a minimum: 5 bits a number.</summary>
    Q4_1,

    /// <summary>32 numbers of 5 bits and a scale: 5.5 bits a number.</summary>
    Q5_0,

    /// <summary>32 numbers of 5 bits, a scale and a minimum: 6 bits a number.</summary>
    Q5_1,

    /// <summary>256 numbers of 2 bits, a 4-bit scale and minimum for every 16: 2.625 bits a number.</summary>
    Q2_K,

    /// <summary>256 numbers of 3 bits, a 6-bit scale for every 16: 3.4375 bits a number.</summary>
    Q3_K,

    /// <summary>256 numbers of 4 bits, a 6-bit scale and minimum for every 32: 4.5 bits a number.</summary>
    Q4_K,

    /// <summary>256 numbers of 5 bits, a 6-bit scale and minimum for every 32: 5.5 bits a number.</summary>
    Q5_K,

    /// <summary>256 numbers of 6 bits, an 8-bit scale for every 16: 6.5625 bits a number.</summary>
    Q6_K,

    /// <summary>32 indices of 4 bits into a table of unevenly spaced values, and a scale: 4.5 bits a number.</summary>
    IQ4_NL,

    /// <summary>256 indices of 4 bits into the same table, a 6-bit scale for every 32: 4.25 bits a number.</summary>
    IQ4_XS,
}
