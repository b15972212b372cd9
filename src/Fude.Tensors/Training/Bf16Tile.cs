using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors;

/// <summary>A tile of twelve rows by thirty-two columns of a product of bfloat16 numbers, by VDPBF16PS.</summary>
/// <remarks>
/// The instruction adds two products to a float32 sum, one fused multiply-add after the other, that of the upper halves first (Intel's manual;
/// processors of AMD do the same). With the earlier k in the upper half this is the chain that <see cref="MatrixProduct"/> defines. It takes
/// subnormal numbers for 0: <see cref="Bf16Numbers"/> leaves none. Twenty-four sums, two vectors of B and four numbers of A in turn are 30
/// registers; fourteen loads feed twenty-four products.
/// </remarks>
internal static unsafe class Bf16Tile
{
    internal const int Rows = 12, Columns = 32;

    /// <summary>What a routine is told beside its three places.</summary>
    internal struct Shape
    {
        /// <summary>Pairs of k.</summary>
        public long Pairs;

        /// <summary>Bytes from a row of C to the next.</summary>
        public long CStride;
    }

    /// <summary>Whether this processor and system have it.</summary>
    public static bool IsSupported { get; } =
        Avx512F.IsSupported && RuntimeInformation.ProcessArchitecture == Architecture.X64
        && X86Base.CpuId(0, 0).Eax >= 7 && X86Base.CpuId(7, 0).Eax >= 1 && (X86Base.CpuId(7, 1).Eax & (1 << 5)) != 0    // AVX512_BF16
        && MachineCode.Make(_ => { }) != 0;

    /// <summary>void(uint* a, uint* b, float* c, Shape*): C = A·B, of a strip [pairs][12] and a panel [pairs][32].</summary>
    public static nint Writes { get; } = IsSupported ? MachineCode.MakeAnother(code => Write(code, adds: false)) : 0;

    /// <summary>The same with C = C + A·B.</summary>
    public static nint Adds { get; } = IsSupported ? MachineCode.MakeAnother(code => Write(code, adds: true)) : 0;

    private static AssemblerRegisterZMM Zmm(int number) => new(Register.ZMM0 + number);

    private static void Write(Assembler code, bool adds)
    {
        (AssemblerRegister64 a, AssemblerRegister64 b) = (MachineCode.Arguments[0], MachineCode.Arguments[1]);
        (AssemblerRegister64 c, AssemblerRegister64 shape) = (MachineCode.Arguments[2], MachineCode.Arguments[3]);
        const int First = 2 * Rows, Second = First + 1, One = First + 2;
        for (int i = 0; i < 2 * Rows; i++) code.vpxord(Zmm(i), Zmm(i), Zmm(i));
        code.mov(rax, __qword_ptr[shape]);
        code.mov(r10, __qword_ptr[shape + 8]);
        // C is wanted at the end, from the second-level cache or farther.
        code.mov(r11, c);
        for (int i = 0; i < Rows; i++)
        {
            code.prefetchw(__byte_ptr[r11]);
            code.prefetchw(__byte_ptr[r11 + 64]);
            code.add(r11, r10);
        }
        Label next = code.CreateLabel(), done = code.CreateLabel();
        code.test(rax, rax);
        code.jz(done);
        code.Label(ref next);
        code.vmovdqu32(Zmm(First), __zmmword_ptr[b]);
        code.vmovdqu32(Zmm(Second), __zmmword_ptr[b + 64]);
        for (int i = 0; i < Rows; i++)
        {
            AssemblerRegisterZMM one = Zmm(One + (i % 4));
            code.vpbroadcastd(one, __dword_ptr[a + (4 * i)]);
            code.vdpbf16ps(Zmm(2 * i), one, Zmm(First));
            code.vdpbf16ps(Zmm(2 * i + 1), one, Zmm(Second));
        }
        code.add(a, 4 * Rows);
        code.add(b, 4 * Columns);
        code.dec(rax);
        code.jnz(next);
        code.Label(ref done);
        for (int i = 0; i < Rows; i++)
        {
            for (int half = 0; half < 2; half++)
            {
                AssemblerRegisterZMM sum = Zmm(2 * i + half);
                if (adds) code.vaddps(sum, sum, __zmmword_ptr[c + (64 * half)]);
                code.vmovups(__zmmword_ptr[c + (64 * half)], sum);
            }
            code.add(c, r10);
        }
    }
}
