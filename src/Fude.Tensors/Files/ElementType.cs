using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>What a tensor in a file is made of. Weights are F32, F16, BF16 or F64; the others occur in buffers and
/// reference values.</summary>
public enum ElementType
{
    /// <summary>A truth value in one byte.</summary>
    Bool,

    /// <summary>An unsigned byte.</summary>
    U8,

    /// <summary>A signed byte.</summary>
    I8,

    /// <summary>An 8-bit float with 5 bits of exponent.</summary>
    F8E5M2,

    /// <summary>An 8-bit float with 4 bits of exponent.</summary>
    F8E4M3,

    /// <summary>A signed 16-bit integer.</summary>
    I16,

    /// <summary>An unsigned 16-bit integer.</summary>
    U16,

    /// <summary>IEEE 754 half precision.</summary>
    F16,

    /// <summary>The upper half of a single-precision number.</summary>
    BF16,

    /// <summary>A signed 32-bit integer.</summary>
    I32,

    /// <summary>An unsigned 32-bit integer.</summary>
    U32,

    /// <summary>IEEE 754 single precision.</summary>
    F32,

    /// <summary>IEEE 754 double precision.</summary>
    F64,

    /// <summary>A signed 64-bit integer.</summary>
    I64,

    /// <summary>An unsigned 64-bit integer.</summary>
    U64,
}

/// <summary>Sizes and names of element types.</summary>
internal static class ElementTypes
{
    // As safetensors headers write them.
    private static readonly (string Name, ElementType Type)[] Names =
    [
        ("BOOL", ElementType.Bool), ("U8", ElementType.U8), ("I8", ElementType.I8), ("F8_E5M2", ElementType.F8E5M2),
        ("F8_E4M3", ElementType.F8E4M3), ("I16", ElementType.I16), ("U16", ElementType.U16), ("F16", ElementType.F16),
        ("BF16", ElementType.BF16), ("I32", ElementType.I32), ("U32", ElementType.U32), ("F32", ElementType.F32),
        ("F64", ElementType.F64), ("I64", ElementType.I64), ("U64", ElementType.U64),
    ];

    /// <summary>Bytes of one element.</summary>
    public static int Size(this ElementType type) => type switch
    {
        ElementType.Bool or ElementType.U8 or ElementType.I8 or ElementType.F8E5M2 or ElementType.F8E4M3 => 1,
        ElementType.I16 or ElementType.U16 or ElementType.F16 or ElementType.BF16 => 2,
        ElementType.I32 or ElementType.U32 or ElementType.F32 => 4,
        ElementType.F64 or ElementType.I64 or ElementType.U64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not an element type of fude."),
    };

    /// <summary>The name in safetensors headers, which messages use too.</summary>
    public static string FileName(this ElementType type) => Array.Find(Names, pair => pair.Type == type).Name;

    /// <summary>The type of that name; null when fude has none.</summary>
    public static ElementType? Named(string name)
    {
        foreach ((string known, ElementType type) in Names) if (known == name) return type;
        return null;
    }

    /// <summary>The type of a weight's numbers.</summary>
    public static ElementType Of(NumberFormat format) => format switch
    {
        NumberFormat.F32 => ElementType.F32,
        NumberFormat.F16 => ElementType.F16,
        NumberFormat.BF16 => ElementType.BF16,
        _ => throw new NotSupportedException(Say(
            $"safetensors files have no {format}: fude writes F32, F16 and BF16 to them.",
            $"safetensors に {format} はありません。fude が書き出せるのは F32、F16、BF16 です。")),
    };
}
