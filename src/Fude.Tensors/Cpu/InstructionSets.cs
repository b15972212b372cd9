using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>The instruction sets that <see cref="CpuOps"/> has kernels for. All give the same bits; they differ in speed.</summary>
public static class InstructionSets
{
    /// <summary>The environment variable that overrides the choice.</summary>
    public const string Variable = "FUDE_ISA";

    internal const string Scalar = "scalar", Vector128Name = "vector128", Avx2Name = "avx2", Avx512Name = "avx512", AmxName = "amx";

    // The slowest first, and why each is not possible here, if so. vector128 is portable: Arm runs it with its own fused multiply-add.
    private static readonly (string Name, Func<string?> Refusal)[] Known =
    [
        (Scalar, () => null),
        (Vector128Name, () => Vector128.IsHardwareAccelerated ? null : Lacking()),
        (Avx2Name, () => Avx2.IsSupported && Fma.IsSupported ? null : Lacking()),
        (Avx512Name, () => Vector512.IsHardwareAccelerated && Avx512F.IsSupported && Avx512DQ.IsSupported ? null : Lacking()),
        (AmxName, () => IsSupported(Avx512Name) ? AmxTile.Refusal : Lacking()),
    ];

    /// <summary>Those that are possible here, the slowest first; AMX, which is last, has yet to be measured.</summary>
    /// <remarks>Where there is AMX, the system is asked for its permission to use it when this is read for the first time.</remarks>
    public static IReadOnlyList<string> Supported => field ??= [.. from known in Known where known.Refusal() is null select known.Name];

    /// <summary>What <c>FUDE_ISA</c> asks for, or else the fastest that is supported and has been measured: <c>amx</c> must be asked for.</summary>
    /// <exception cref="NotSupportedException"><c>FUDE_ISA</c> names none that is possible here.</exception>
    public static string Selected => Choose(Environment.GetEnvironmentVariable(Variable));

    internal static bool IsSupported(string name) => Known.Any(known => known.Name == name && known.Refusal() is null);

    internal static string Choose(string? wanted)
    {
        if (string.IsNullOrEmpty(wanted)) return Known.Last(known => known.Name != AmxName && known.Refusal() is null).Name;
        foreach ((string name, Func<string?> refusal) in Known)
        {
            if (name != wanted) continue;
            return refusal() is { } why ? throw Impossible(why) : name;
        }
        throw Impossible(Say("fude knows no such instruction set", "fude が対応していない命令セットです"));

        NotSupportedException Impossible(string why) => new(Say(
            $"{Variable}={wanted}: {why}. Possible here: {string.Join(", ", Supported)}.",
            $"{Variable}={wanted}: {why}。ここで使えるもの: {string.Join("、", Supported)}。"));
    }

    private static string Lacking() => Say("this processor lacks it", "このプロセッサーにはありません");
}
