using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors;

/// <summary>Loops of nothing but the instruction that a kernel assembled at run time lives on, for <see cref="Roofline"/>.</summary>
internal static unsafe class PeakCode
{
    /// <summary>A loop.</summary>
    /// <param name="Routine">void(long rounds, byte* configuration of the tile registers).</param>
    /// <param name="Operations">Of a round; a multiply-add is two.</param>
    internal readonly record struct Loop(nint Routine, double Operations);

    private const int Sums = 24, AmxSums = 4, AmxRows = 16, AmxBytes = 64;

    private static readonly Lazy<Loop> Bf16Loop = new(() => new(MachineCode.MakeAnother(code => OnRegisters(code, code.vdpbf16ps)), Sums * 16 * 4));
    private static readonly Lazy<Loop> Int8Loop = new(() => new(MachineCode.MakeAnother(code => OnRegisters(code, code.vpdpbusd)), Sums * 16 * 8));
    private static readonly Lazy<Loop> AmxLoop = new(() => new(MachineCode.MakeAnother(code => OnTiles(code, code.tdpbssd)), AmxSums * 2.0 * AmxRows * 16 * AmxBytes));
    private static readonly Lazy<Loop> AmxBf16Loop = new(() => new(MachineCode.MakeAnother(code => OnTiles(code, code.tdpbf16ps)), AmxSums * 2.0 * AmxRows * 16 * AmxBytes / 2));

    /// <summary>VDPBF16PS: see <see cref="Bf16Tile"/>.</summary>
    public static Loop Bf16 => Bf16Loop.Value;

    /// <summary>VPDPBUSD: see <see cref="VnniTile"/>.</summary>
    public static Loop Int8 => Int8Loop.Value;

    /// <summary>TDPBSSD: see <see cref="AmxTile"/>.</summary>
    public static Loop Amx => AmxLoop.Value;

    /// <summary>TDPBF16PS: see <see cref="AmxBlocks"/>.</summary>
    public static Loop AmxBf16 => AmxBf16Loop.Value;

    /// <summary>Runs a loop.</summary>
    public static void Run(in Loop loop, long rounds)
    {
        byte* configuration = stackalloc byte[AmxTile.ConfigurationBytes];
        Describe(new Span<byte>(configuration, AmxTile.ConfigurationBytes));
        ((delegate* unmanaged[SuppressGCTransition]<long, byte*, void>)loop.Routine)(rounds, configuration);
    }

    /// <summary>Eight whole tiles.</summary>
    internal static void Describe(Span<byte> configuration)
    {
        configuration.Clear();
        configuration[0] = 1;
        for (int tile = 0; tile < 8; tile++) (configuration[16 + (2 * tile)], configuration[48 + tile]) = (AmxBytes, AmxRows);
    }

    private static void OnRegisters(Assembler code, Action<AssemblerRegisterZMM, AssemblerRegisterZMM, AssemblerRegisterZMM> multiply)
    {
        for (int i = 0; i < Sums + 2; i++) code.vpxord(Zmm(i), Zmm(i), Zmm(i));
        Label next = code.CreateLabel();
        code.Label(ref next);
        for (int i = 0; i < Sums; i++) multiply(Zmm(i), Zmm(Sums), Zmm(Sums + 1));
        code.dec(MachineCode.Arguments[0]);
        code.jnz(next);

        static AssemblerRegisterZMM Zmm(int number) => new(Register.ZMM0 + number);
    }

    internal static void OnTiles(Assembler code, Action<AssemblerRegisterTMM, AssemblerRegisterTMM, AssemblerRegisterTMM> multiply)
    {
        AssemblerRegisterTMM[] sums = [tmm0, tmm1, tmm2, tmm3];
        code.ldtilecfg(__zmmword_ptr[MachineCode.Arguments[1]]);
        foreach (AssemblerRegisterTMM tile in (AssemblerRegisterTMM[])[.. sums, tmm4, tmm5]) code.tilezero(tile);
        Label next = code.CreateLabel();
        code.Label(ref next);
        foreach (AssemblerRegisterTMM sum in sums) multiply(sum, tmm4, tmm5);
        code.dec(MachineCode.Arguments[0]);
        code.jnz(next);
        code.tilerelease();
    }
}
