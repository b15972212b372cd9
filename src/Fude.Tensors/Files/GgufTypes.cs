namespace Fude.Tensors;

/// <summary>The numbers that GGUF files give to types of values and of tensors.</summary>
internal static class GgufTypes
{
    public const int Text = 8, Array = 9;

    // By the number of the type of value; the text and the array have no size of their own.
    private static readonly (Type Type, int Bytes)[] Values =
    [
        (typeof(byte), 1), (typeof(sbyte), 1), (typeof(ushort), 2), (typeof(short), 2), (typeof(uint), 4), (typeof(int), 4),
        (typeof(float), 4),
        (typeof(bool), 1), (typeof(string), 0), (typeof(Array), 0), (typeof(ulong), 8), (typeof(long), 8), (typeof(double), 8),
    ];

    private static readonly (int Number, NumberFormat Format)[] Formats =
    [
        (0, NumberFormat.F32), (1, NumberFormat.F16), (30, NumberFormat.BF16),
        (2, NumberFormat.Q4_0), (3, NumberFormat.Q4_1), (6, NumberFormat.Q5_0), (7, NumberFormat.Q5_1), (8, NumberFormat.Q8_0),
        (10, NumberFormat.Q2_K), (11, NumberFormat.Q3_K), (12, NumberFormat.Q4_K), (13, NumberFormat.Q5_K), (14, NumberFormat.Q6_K),
        (20, NumberFormat.IQ4_NL), (23, NumberFormat.IQ4_XS),
    ];

    // Types of ggml that fude has no use for, so that a message can name them.
    private static readonly (int Number, string Name)[] Others =
    [
        (9, "Q8_1"), (15, "Q8_K"), (16, "IQ2_XXS"), (17, "IQ2_XS"), (18, "IQ3_XXS"), (19, "IQ1_S"), (21, "IQ3_S"), (22, "IQ2_S"),
        (24, "I8"), (25, "I16"), (26, "I32"), (27, "I64"), (28, "F64"), (29, "IQ1_M"), (31, "Q4_0_4_4"), (32, "Q4_0_4_8"), (33, "Q4_0_8_8"),
        (34, "TQ1_0"), (35, "TQ2_0"), (36, "IQ4_NL_4_4"), (37, "IQ4_NL_4_8"), (38, "IQ4_NL_8_8"), (39, "MXFP4"), (40, "NVFP4"),
        (41, "Q1_0"), (42, "Q2_0"),
    ];

    /// <summary>Bytes of a value of that type; 0 for texts and arrays, null for an unknown number.</summary>
    public static int? BytesOf(uint type) => type < Values.Length ? Values[type].Bytes : null;

    /// <summary>The .NET type of a value.</summary>
    public static Type TypeOf(uint type) => Values[type].Type;

    /// <summary>The number of a value's type.</summary>
    public static uint NumberOf(Type type)
    {
        int number = System.Array.FindIndex(Values, pair => type.IsArray ? pair.Type == typeof(Array) : pair.Type == type);
        return number >= 0
            ? (uint)number
            : throw new ArgumentException($"A GGUF file cannot hold a {type.Name}: it holds numbers, truth values, strings and arrays " +
                "of them.");
    }

    /// <summary>The number of a format.</summary>
    public static uint NumberOf(NumberFormat format) => (uint)System.Array.Find(Formats, pair => pair.Format == format).Number;

    /// <summary>The format of that number; null when fude has none.</summary>
    public static NumberFormat? FormatOf(uint number)
    {
        foreach ((int known, NumberFormat format) in Formats) if (known == number) return format;
        return null;
    }

    /// <summary>The name of a tensor type that fude does not read; null when nobody does.</summary>
    public static string? OtherName(uint number)
    {
        foreach ((int known, string name) in Others) if (known == number) return name;
        return null;
    }
}
