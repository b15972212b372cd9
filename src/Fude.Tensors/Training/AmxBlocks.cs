using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors;

/// <summary><see cref="AmxProduct"/>'s tiles in TDPBF16PS: two by two of sixteen by sixteen sums, which stay in their registers for a piece.</summary>
/// <remarks>Intel's manual: the products of the pairs' lower halves are added one fused multiply-add after the other from 0 on, those of the upper
/// halves likewise, then the two sums, and that to the tile. Not measured: no processor with AMX was at hand. Tests interpret the assembled bytes.</remarks>
internal readonly unsafe struct AmxBlocks : IBlockTile
{
    private const int RowBytes = 64, Rows = 16, TileBytes = Rows * RowBytes;

    private static readonly Lazy<nint> Routine = new(() => MachineCode.MakeAnother(Write));

    /// <summary>Whether this processor and system have it; the system is asked for its permission once.</summary>
    public static bool IsSupported { get; } = AmxTile.Refusal is null && (X86Base.CpuId(7, 0).Edx & (1 << 22)) != 0;     // AMX-BF16

    public static void Open()
    {
        byte* configuration = stackalloc byte[AmxTile.ConfigurationBytes];
        PeakCode.Describe(new Span<byte>(configuration, AmxTile.ConfigurationBytes));
        AmxTile.OpenAs(configuration);
    }

    public static void Multiply(uint* strip, uint* panel, float* sums, long blocks) =>
        ((delegate* unmanaged[SuppressGCTransition]<uint*, uint*, float*, long, void>)Routine.Value)(strip, panel, sums, blocks);

    public static void Close() => AmxTile.Close();

    internal static void Write(Assembler code)
    {
        (AssemblerRegister64 strip, AssemblerRegister64 panel) = (MachineCode.Arguments[0], MachineCode.Arguments[1]);
        (AssemblerRegister64 sums, AssemblerRegister64 blocks) = (MachineCode.Arguments[2], MachineCode.Arguments[3]);
        AssemblerRegisterTMM[] upper = [tmm0, tmm1], lower = [tmm2, tmm3], ofStrip = [tmm4, tmm5], ofPanel = [tmm6, tmm7];
        Label next = code.CreateLabel();
        code.mov(eax, RowBytes);        // from row to row of packed tiles, and half of that of sums
        foreach (AssemblerRegisterTMM sum in (AssemblerRegisterTMM[])[.. upper, .. lower]) code.tilezero(sum);
        code.Label(ref next);
        code.tileloadd(ofStrip[0], __[strip + (rax * 1)]);
        for (int i = 0; i < 2; i++)
        {
            code.tileloadd(ofPanel[i], __[panel + (rax * 1) + (i * TileBytes)]);
            code.tdpbf16ps(upper[i], ofStrip[0], ofPanel[i]);
        }
        code.tileloadd(ofStrip[1], __[strip + (rax * 1) + TileBytes]);
        for (int i = 0; i < 2; i++) code.tdpbf16ps(lower[i], ofStrip[1], ofPanel[i]);
        code.add(strip, 2 * TileBytes);
        code.add(panel, 2 * TileBytes);
        code.dec(blocks);
        code.jnz(next);
        for (int i = 0; i < 2; i++)
        {
            code.tilestored(__[sums + (rax * 2) + (i * RowBytes)], upper[i]);
            code.tilestored(__[sums + (rax * 2) + (2 * Rows * RowBytes) + (i * RowBytes)], lower[i]);
        }
    }
}
