using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors.Tests;

/// <summary>What <see cref="AmxTile"/> computes, from the same panel, x and sums, in AVX-512 with VNNI: for processors without AMX, so that
/// what surrounds the tiles can be run there too.</summary>
internal static unsafe class SignedTile
{
    // The configuration that a processor would have.
    private static readonly byte* Configuration = (byte*)System.Runtime.InteropServices.NativeMemory.AllocZeroed(AmxTile.ConfigurationBytes);

    private static readonly Lazy<bool> Installed = new(() =>
    {
        AmxTile.Closing = MachineCode.MakeAnother(code =>
        {
            code.mov(rax, (long)Configuration);
            code.vpxord(zmm0, zmm0, zmm0);
            code.vmovups(__zmmword_ptr[rax], zmm0);
        });
        AmxTile.Opening = MachineCode.MakeAnother(code =>
        {
            code.mov(rax, (long)Configuration);
            code.vmovups(zmm0, __zmmword_ptr[MachineCode.Arguments[0]]);
            code.vmovups(__zmmword_ptr[rax], zmm0);
        });
        for (int rows = 1; rows <= AmxTile.Rows; rows++)
        {
            int tileRows = rows;
            AmxTile.Plain[rows] = MachineCode.MakeAnother(code => Write(code, tileRows, hasMinimum: false, hasTwoScales: false));
            AmxTile.Minimum[rows] = MachineCode.MakeAnother(code => Write(code, tileRows, hasMinimum: true, hasTwoScales: false));
            AmxTile.TwoScales[rows] = MachineCode.MakeAnother(code => Write(code, tileRows, hasMinimum: false, hasTwoScales: true));
        }
        return true;
    });

    /// <summary>Puts these routines in the place of AMX's.</summary>
    public static void Install() => Assert.True(Installed.Value);

    /// <summary>Whether a configuration was loaded and not released.</summary>
    public static bool IsOpen => Configuration[0] != 0;

    private static void Write(Assembler code, int rows, bool hasMinimum, bool hasTwoScales)
    {
        (AssemblerRegister64 panel, AssemblerRegister64 x) = (MachineCode.Arguments[0], MachineCode.Arguments[1]);
        (AssemblerRegister64 sums, AssemblerRegister64 runs) = (MachineCode.Arguments[2], MachineCode.Arguments[3]);
        (AssemblerRegisterZMM signs, AssemblerRegisterZMM levels, AssemblerRegisterZMM ints, AssemblerRegisterZMM numbers) = (zmm24, zmm25, zmm26, zmm27);
        static AssemblerRegisterZMM Sum(int row, int group) => new(Register.ZMM0 + (2 * row) + group);
        int Block(int row) => (rows * QuantizedRows.Length) + (row * 16);
        // Without the configuration for these rows and this depth it computes nothing.
        Label end = code.CreateLabel();
        int tile = rows == AmxTile.Rows ? 2 : 7;
        code.mov(rax, (long)Configuration);
        code.cmp(__byte_ptr[rax + (48 + tile)], rows);
        code.jne(end);
        code.cmp(__byte_ptr[rax + (16 + (2 * tile))], hasTwoScales ? 16 : 32);
        code.jne(end);
        code.mov(eax, 0x80808080);
        code.vpbroadcastd(signs, eax);
        for (int i = 0; i < 2 * rows; i++) code.vmovups(Sum(0, i), __zmmword_ptr[sums + (i * 64)]);
        Label next = code.CreateLabel();
        code.Label(ref next);
        for (int row = 0; row < rows; row++)
            for (int group = 0; group < 2; group++)
            {
                int at = group * GroupProduct.PanelApart;
                for (int half = 0; half < (hasTwoScales ? 2 : 1); half++)
                {
                    code.vpbroadcastd(ints, __dword_ptr[x + (Block(row) + 8 + (4 * half))]);
                    if (hasTwoScales && half == 0) code.vpsubd(ints, ints, __dword_bcst[x + (Block(row) + 12)]);
                    for (int quad = 4 * half; quad < (hasTwoScales && half == 0 ? 4 : 8); quad++)
                    {
                        code.vpxord(levels, signs, __zmmword_ptr[panel + (at + (64 * quad))]);
                        code.vpbroadcastd(numbers, __dword_ptr[x + ((row * QuantizedRows.Length) + (4 * quad))]);
                        code.vpdpbusd(ints, levels, numbers);
                    }
                    code.vcvtdq2ps(ints, ints);
                    code.vmovups(levels, __zmmword_ptr[panel + (at + 512 + (64 * half))]);
                    code.vmulps(levels, levels, __dword_bcst[x + Block(row)]);
                    code.vfmadd231ps(Sum(row, group), ints, levels);
                }
                if (!hasMinimum) continue;
                code.vmovups(levels, __zmmword_ptr[panel + (at + 576)]);
                code.vfmadd231ps(Sum(row, group), levels, __dword_bcst[x + (Block(row) + 4)]);
            }
        code.add(panel, Unpacked<GroupQ8Zero>.Bytes);
        code.add(x, rows * QuantizedRows.BlockBytes);
        code.dec(runs);
        code.jnz(next);
        for (int i = 0; i < 2 * rows; i++) code.vmovups(__zmmword_ptr[sums + (i * 64)], Sum(0, i));
        code.Label(ref end);
        code.nop();
    }
}
