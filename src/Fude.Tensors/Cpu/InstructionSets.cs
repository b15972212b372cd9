using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Fude.Tensors;

/// <summary>The instruction sets that <see cref="CpuOps"/> has kernels for. All give the same bits; they differ in speed.</summary>
public static class InstructionSets
{
    /// <summary>The environment variable that overrides the choice.</summary>
    public const string Variable = "FUDE_ISA";

    internal const string Scalar = "scalar", Vector128Name = "vector128", Avx2Name = "avx2", Avx512Name = "avx512";

    // The slowest first. vector128 is portable: Arm runs it with its own fused multiply-add.
    private static readonly (string Name, bool IsSupported)[] Known =
    [
        (Scalar, true),
        (Vector128Name, Vector128.IsHardwareAccelerated),
        (Avx2Name, Avx2.IsSupported && Fma.IsSupported),
        (Avx512Name, Vector512.IsHardwareAccelerated && Avx512F.IsSupported && Avx512DQ.IsSupported),
        ("amx", false),
    ];

    /// <summary>Those that this processor has and fude uses, the slowest first.</summary>
    public static IReadOnlyList<string> Supported { get; } = [.. from known in Known where known.IsSupported select known.Name];

    /// <summary>What <c>FUDE_ISA</c> asks for, or else the fastest that is supported.</summary>
    /// <exception cref="NotSupportedException"><c>FUDE_ISA</c> names none that is possible here.</exception>
    public static string Selected => Choose(Environment.GetEnvironmentVariable(Variable));

    internal static string Choose(string? wanted)
    {
        if (string.IsNullOrEmpty(wanted)) return Supported[^1];
        if (Supported.Contains(wanted)) return wanted;
        string why = wanted == "amx" ? "fude does not use it yet"
            : Known.Any(known => known.Name == wanted) ? "this processor lacks it"
            : "fude knows no such instruction set";
        throw new NotSupportedException($"{Variable}={wanted}: {why}. Possible here: {string.Join(", ", Supported)}.");
    }
}
