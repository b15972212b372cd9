using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors;

/// <summary>A tile of one to six rows of x with two unpacked groups of weights, in AVX-512 with VNNI: what <see cref="GroupProduct"/> does
/// with <see cref="Unpacked{TNumbers}"/>, to the bit.</summary>
/// <remarks>
/// Two groups by six rows are twelve float sums and twelve integer ones: with two vectors of weights, one of x and scales they are all of the
/// thirty-two registers. For each quad of a block two loads of weights and six broadcasts of x feed twelve VPDPBUSD; between blocks each
/// integer sum is converted, scaled and added, which is a quarter of the instructions. Integer sums begin with the block's correction.
/// </remarks>
internal static unsafe class VnniTile
{
    public const int Rows = 6;

    private static readonly nint[] Plain = new nint[Rows + 1], Minimum = new nint[Rows + 1], TwoScales = new nint[Rows + 1];
    private static readonly Lock Making = new();

    /// <summary>Whether this processor and system have it.</summary>
    public static bool IsSupported { get; } =
        Avx512F.IsSupported && RuntimeInformation.ProcessArchitecture == Architecture.X64
        && X86Base.CpuId(0, 0).Eax >= 7 && (X86Base.CpuId(7, 0).Ecx & (1 << 11)) != 0       // AVX512_VNNI
        && MachineCode.Make(_ => { }) != 0;

    /// <summary>The routine for a number of rows.</summary>
    /// <returns>void(byte* panel, byte* x, float* sums, long runs): the two groups' runs lie <see cref="GroupProduct.PanelApart"/> apart;
    /// sums are [rows][2][16].</returns>
    public static nint Of(int rows, bool hasMinimum, bool hasTwoScales)
    {
        nint[] made = hasTwoScales ? TwoScales : hasMinimum ? Minimum : Plain;
        nint routine = Volatile.Read(ref made[rows]);
        return routine != 0 ? routine : Make(made, rows, hasMinimum, hasTwoScales);
    }

    // On its own: what a lambda captures is allocated where its method begins.
    private static nint Make(nint[] made, int rows, bool hasMinimum, bool hasTwoScales)
    {
        lock (Making)
        {
            if (made[rows] == 0)
                Volatile.Write(ref made[rows], MachineCode.MakeAnother(code => Write(code, rows, hasMinimum, hasTwoScales)));
            return made[rows];
        }
    }

    private static AssemblerRegisterZMM Zmm(int number) => new(Register.ZMM0 + number);

    internal static void Write(Assembler code, int rows, bool hasMinimum, bool hasTwoScales)
    {
        const int Groups = 2, Ints = Rows * Groups, Apart = GroupProduct.PanelApart;
        (AssemblerRegister64 panel, AssemblerRegister64 x) = (MachineCode.Arguments[0], MachineCode.Arguments[1]);
        (AssemblerRegister64 sums, AssemblerRegister64 runs) = (MachineCode.Arguments[2], MachineCode.Arguments[3]);
        AssemblerRegisterZMM weights = Zmm(24), moreWeights = Zmm(25), four = Zmm(26), scale = Zmm(27);
        int Block(int row) => (rows * QuantizedRows.Length) + (row * 16);

        for (int i = 0; i < rows * Groups; i++) code.vmovups(Zmm(i), __zmmword_ptr[sums + (i * 64)]);
        Label next = code.CreateLabel();
        code.Label(ref next);
        for (int half = 0; half < (hasTwoScales ? 2 : 1); half++)
        {
            for (int row = 0; row < rows; row++)
            {
                AssemblerRegisterZMM sum = Zmm(Ints + (row * Groups));
                code.vpbroadcastd(sum, __dword_ptr[x + (Block(row) + (half == 0 ? 8 : 12))]);
                if (hasTwoScales && half == 0) code.vpsubd(sum, sum, __dword_bcst[x + (Block(row) + 12)]);
                code.vmovdqa32(Zmm(Ints + (row * Groups) + 1), sum);
            }
            (int first, int last) = !hasTwoScales ? (0, 8) : half == 0 ? (0, 4) : (4, 8);
            for (int quad = first; quad < last; quad++)
            {
                code.vmovdqu32(weights, __zmmword_ptr[panel + (quad * 64)]);
                code.vmovdqu32(moreWeights, __zmmword_ptr[panel + (Apart + (quad * 64))]);
                for (int row = 0; row < rows; row++)
                {
                    code.vpbroadcastd(four, __dword_ptr[x + ((row * QuantizedRows.Length) + (quad * 4))]);
                    code.vpdpbusd(Zmm(Ints + (row * Groups)), weights, four);
                    code.vpdpbusd(Zmm(Ints + (row * Groups) + 1), moreWeights, four);
                }
            }
            int scales = half == 0 ? 512 : 576;
            code.vmovups(weights, __zmmword_ptr[panel + scales]);
            code.vmovups(moreWeights, __zmmword_ptr[panel + (Apart + scales)]);
            for (int row = 0; row < rows; row++)
                for (int group = 0; group < Groups; group++)
                {
                    AssemblerRegisterZMM sum = Zmm(Ints + (row * Groups) + group);
                    code.vcvtdq2ps(sum, sum);
                    code.vmulps(scale, group == 0 ? weights : moreWeights, __dword_bcst[x + Block(row)]);
                    code.vfmadd231ps(Zmm((row * Groups) + group), sum, scale);
                }
        }
        if (hasMinimum)
        {
            code.vmovups(weights, __zmmword_ptr[panel + 576]);
            code.vmovups(moreWeights, __zmmword_ptr[panel + (Apart + 576)]);
            for (int row = 0; row < rows; row++)
            {
                code.vfmadd231ps(Zmm(row * Groups), weights, __dword_bcst[x + (Block(row) + 4)]);
                code.vfmadd231ps(Zmm((row * Groups) + 1), moreWeights, __dword_bcst[x + (Block(row) + 4)]);
            }
        }
        code.add(panel, 640);
        code.add(x, rows * QuantizedRows.BlockBytes);
        code.dec(runs);
        code.jnz(next);
        for (int i = 0; i < rows * Groups; i++) code.vmovups(__zmmword_ptr[sums + (i * 64)], Zmm(i));
    }
}
