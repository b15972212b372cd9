using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors;

/// <summary>One to eight rows of x with a group of weights as it lies in memory, in AVX-512 with VNNI: what <see cref="GroupProduct"/> does
/// for few rows, to the bit.</summary>
/// <remarks>
/// Levels are unpacked in registers and meet every row of x by VPDPBUSD with a broadcast of four bytes. Quads 0 to 3 and 4 to 7 of a block
/// have a sum each where they have scales of their own or registers allow, which more than four rows do not: then all quads are added to
/// one, and with two scales the first half of a run is done before the second. A unit's runs follow one another without a loop, and each
/// asks for what lies a page ahead.
/// </remarks>
internal static class VnniRows
{
    public const int Rows = 8;

    private static readonly nint[,] Made = new nint[Enum.GetValues<NumberFormat>().Length, Rows + 1];
    private static readonly Lock Making = new();

    /// <summary>The routine for a format that has a <see cref="GroupLayout"/> and a number of rows.</summary>
    /// <returns>void(byte* units, byte* x, float* sums, long count); sums are [rows][16].</returns>
    public static nint Of(NumberFormat format, int rows)
    {
        nint routine = Volatile.Read(ref Made[(int)format, rows]);
        return routine != 0 ? routine : Make(format, rows);
    }

    // On its own: what a lambda captures is allocated where its method begins.
    private static nint Make(NumberFormat format, int rows)
    {
        lock (Making)
        {
            ref nint made = ref Made[(int)format, rows];
            if (made == 0) Volatile.Write(ref made, MachineCode.MakeAnother(code => new Writer(code, GroupLayout.Of(format)!, rows).Write()));
            return made;
        }
    }

    private sealed class Writer(Assembler code, GroupLayout layout, int rows)
    {
        private const int Ahead = 4096;

        private readonly AssemblerRegister64 _units = MachineCode.Arguments[0], _x = MachineCode.Arguments[1];
        private readonly AssemblerRegister64 _sums = MachineCode.Arguments[2], _count = MachineCode.Arguments[3];

        // zmm0 to 7 are the float sums, 8 to 15 the integer ones, those of the second halves at the upper end.
        private readonly AssemblerRegisterZMM _scale = zmm16, _second = zmm17, _factor = zmm18, _low = zmm19, _high = zmm20, _bits = zmm21;
        private readonly AssemblerRegisterZMM _upper = zmm22, _moreUpper = zmm23, _unitScale = zmm24, _unitMinimum = zmm25;
        private readonly AssemblerRegisterZMM _lowHalves = zmm26, _upperMask = zmm27, _zero = zmm28;

        private bool IsSuper => layout.UnitLength > GroupLayout.Run;

        private bool HasTwoScales => IsSuper && !layout.HasMinimum;

        private static AssemblerRegisterZMM Sum(int row) => new(Register.ZMM0 + row);

        private static AssemblerRegisterZMM Front(int row) => new(Register.ZMM8 + row);

        private AssemblerRegisterZMM Back(int row) => rows > 4 ? Front(row) : new(Register.ZMM12 + row);

        public void Write()
        {
            for (int row = 0; row < rows; row++) code.vmovups(Sum(row), __zmmword_ptr[_sums + (row * 64)]);
            code.vpxord(_zero, _zero, _zero);
            Fill(_lowHalves, 0x0F0F0F0F);
            if (layout.Bits is 5 or 6) Fill(_upperMask, layout.Bits == 5 ? 0x10101010 : 0x30303030);
            Label next = code.CreateLabel();
            code.Label(ref next);
            if (IsSuper)
            {
                code.vcvtph2ps(_unitScale, __ymmword_ptr[_units]);
                if (layout.HasMinimum)
                {
                    code.vcvtph2ps(_unitMinimum, __ymmword_ptr[_units + 32]);
                    code.vsubps(_unitMinimum, _zero, _unitMinimum);
                }
            }
            int runs = layout.UnitLength / GroupLayout.Run;
            for (int run = 0; run < runs; run++)
                WriteRun(layout.HeaderBytes + (run * layout.RunBytes), run * rows * QuantizedRows.BlockBytes);
            code.add(_units, layout.UnitBytes);
            code.add(_x, runs * rows * QuantizedRows.BlockBytes);
            code.dec(_count);
            code.jnz(next);
            for (int row = 0; row < rows; row++) code.vmovups(__zmmword_ptr[_sums + (row * 64)], Sum(row));
        }

        private void Fill(AssemblerRegisterZMM register, int value)
        {
            code.mov(eax, value);
            code.vpbroadcastd(register, eax);
        }

        private void WriteRun(int run, int x)
        {
            for (int line = 0; line < layout.RunBytes; line += 64) code.prefetcht0(__byte_ptr[_units + (run + Ahead + line)]);
            int Block(int row) => x + (rows * QuantizedRows.Length) + (row * 16);
            WriteScales(run);
            bool apart = HasTwoScales && rows > 4;
            for (int row = 0; row < rows; row++)
            {
                Correct(Front(row), Block(row) + 8, HasTwoScales ? Block(row) + 12 : null);
                if (rows <= 4) Correct(Back(row), HasTwoScales ? Block(row) + 12 : null, null);
            }
            WriteDots(run + layout.RunHeaderBytes, x, front: true, back: !apart);
            for (int row = 0; row < rows; row++)
            {
                if (!HasTwoScales && rows <= 4) code.vpaddd(Front(row), Front(row), Back(row));
                AddScaled(row, Front(row), _scale, Block(row));
            }
            if (apart)
            {
                for (int row = 0; row < rows; row++) Correct(Back(row), Block(row) + 12, null);
                WriteDots(run + layout.RunHeaderBytes, x, front: false, back: true);
            }
            for (int row = 0; row < rows; row++)
            {
                if (HasTwoScales) AddScaled(row, Back(row), _second, Block(row));
                if (layout.HasMinimum) code.vfmadd231ps(Sum(row), _second, __dword_bcst[_x + (Block(row) + 4)]);
            }
        }

        /// <summary>The byte products of a run: quads 0 to 3, 4 to 7, or all.</summary>
        private void WriteDots(int vectors, int x, bool front, bool back)
        {
            if (layout.Bits is 5 or 6) code.vmovdqu32(_upper, __zmmword_ptr[_units + (vectors + 256)]);
            if (layout.Bits == 6) code.vmovdqu32(_moreUpper, __zmmword_ptr[_units + (vectors + 320)]);
            for (int quad = 0; quad < 4; quad++)
            {
                code.vmovdqu32(_low, __zmmword_ptr[_units + (vectors + (quad * 64))]);
                if (layout.Bits == 8)
                {
                    code.vmovdqu32(_high, __zmmword_ptr[_units + (vectors + (quad * 64) + 256)]);
                }
                else
                {
                    code.vpsrlw(_high, _low, 4);
                    code.vpandd(_low, _low, _lowHalves);
                    code.vpandd(_high, _high, _lowHalves);
                    if (layout.Bits == 5)
                    {
                        AddUpper(_low, _upper, 4 - quad);
                        AddUpper(_high, _upper, -quad);
                    }
                    if (layout.Bits == 6)
                    {
                        AddUpper(_low, _upper, 4 - (2 * quad));
                        AddUpper(_high, _moreUpper, 4 - (2 * quad));
                    }
                }
                for (int row = 0; row < rows; row++)
                    if (front) code.vpdpbusd(Front(row), _low, __dword_bcst[_x + (x + (row * QuantizedRows.Length) + (quad * 4))]);
                for (int row = 0; row < rows; row++)
                    if (back) code.vpdpbusd(Back(row), _high, __dword_bcst[_x + (x + (row * QuantizedRows.Length) + (quad * 4) + 16)]);
            }
        }

        // −offset · Σ from −128 · Σ.
        private void Correct(AssemblerRegisterZMM sum, int? correction, int? less)
        {
            if (layout.Offset == 0 || correction is null)
            {
                code.vmovdqa32(sum, _zero);
                return;
            }
            code.vpbroadcastd(sum, __dword_ptr[_x + correction.Value]);
            if (less is not null) code.vpsubd(sum, sum, __dword_bcst[_x + less.Value]);
            int shift = 7 - int.Log2(layout.Offset);
            if (shift > 0) code.vpsrad(sum, sum, (byte)shift);
        }

        // levels |= (bits << up) & mask
        private void AddUpper(AssemblerRegisterZMM levels, AssemblerRegisterZMM bits, int up)
        {
            if (up > 0) code.vpslld(_bits, bits, (byte)up);
            else if (up < 0) code.vpsrld(_bits, bits, (byte)-up);
            code.vpternlogd(levels, up == 0 ? bits : _bits, _upperMask, 0xF8);
        }

        private void WriteScales(int run)
        {
            if (!IsSuper)
            {
                code.vcvtph2ps(_scale, __ymmword_ptr[_units + run]);
                if (layout.HasMinimum) code.vcvtph2ps(_second, __ymmword_ptr[_units + (run + 32)]);
                return;
            }
            foreach ((AssemblerRegisterZMM scale, int at) in ((AssemblerRegisterZMM, int)[])[(_scale, run), (_second, run + 16)])
            {
                if (HasTwoScales) code.vpmovsxbd(scale, __xmmword_ptr[_units + at]);
                else code.vpmovzxbd(scale, __xmmword_ptr[_units + at]);
                code.vcvtdq2ps(scale, scale);
                code.vmulps(scale, scale, at == run || HasTwoScales ? _unitScale : _unitMinimum);
            }
        }

        private void AddScaled(int row, AssemblerRegisterZMM ints, AssemblerRegisterZMM scale, int block)
        {
            code.vcvtdq2ps(ints, ints);
            code.vmulps(_factor, scale, __dword_bcst[_x + block]);
            code.vfmadd231ps(Sum(row), ints, _factor);
        }
    }
}
