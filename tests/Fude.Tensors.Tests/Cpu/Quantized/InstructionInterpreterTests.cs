using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Fude.Tensors.Tests;

/// <summary>Whether the interpreter is to be believed: against the processor where it can be, against the manual where it cannot.</summary>
public sealed unsafe class InstructionInterpreterTests
{
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void What_it_computes_is_what_the_processor_computes(bool hasMinimum, bool hasTwoScales)
    {
        Assert.SkipUnless(VnniTile.IsSupported, "This processor has no AVX-512 with VNNI.");
        foreach (int rows in (ReadOnlySpan<int>)[1, 2, 5, 6])
            foreach (int runs in (ReadOnlySpan<int>)[1, 2, 7])
                foreach (bool isExtreme in (ReadOnlySpan<bool>)[false, true])
                {
                    using TileInputs native = new(rows, runs, isExtreme, seed: (rows * 31) + runs), interpreted = new(rows, runs, isExtreme, seed: (rows * 31) + runs);
                    ((delegate* unmanaged<byte*, byte*, float*, long, void>)VnniTile.Of(rows, hasMinimum, hasTwoScales))(native.Panel, native.X, native.Sums, runs);
                    InstructionInterpreter interpreter = new();
                    interpreted.Allow(interpreter);
                    interpreted.Run(interpreter, MachineCode.Assemble(code => VnniTile.Write(code, rows, hasMinimum, hasTwoScales)));
                    interpreted.Same(new ReadOnlySpan<float>(native.Sums, rows * 32).ToArray(), $"{rows} rows, {runs} runs");
                }
    }

    [Fact]
    public void Products_of_tiles_wrap_around_and_clear_what_lies_beyond_them()
    {
        // [2, 2] = [2, 8 bytes] by [2, 8 bytes], both tiles filled beyond that.
        byte[] configuration = Configuration((0, 2, 8), (1, 2, 8), (2, 2, 8));
        sbyte[] a = [1, -2, 3, -4, 5, 6, -7, 8, -128, -128, -128, -128, 127, 127, 127, 127];
        sbyte[] b = [10, 20, 30, 40, -1, -1, -1, -1, -128, 127, 0, 1, -128, -128, -128, -128];
        int[] c = [int.MaxValue, 0, 0, int.MinValue];
        InstructionInterpreter interpreter = new();
        fixed (byte* shapes = configuration)
        fixed (sbyte* left = a, right = b)
        fixed (int* sums = c)
        {
            interpreter.Allow(shapes, 64);
            interpreter.Allow(left, 16);
            interpreter.Allow(right, 16);
            interpreter.Allow(sums, 16, mayWrite: true);
            interpreter.Run(
                MachineCode.Assemble(code =>
                {
                    code.ldtilecfg(__zmmword_ptr[MachineCode.Arguments[0]]);
                    code.mov(eax, 4);
                    foreach ((AssemblerRegisterTMM tile, AssemblerRegister64 from) in ((AssemblerRegisterTMM, AssemblerRegister64)[])
                        [(tmm0, MachineCode.Arguments[3]), (tmm1, MachineCode.Arguments[1]), (tmm2, MachineCode.Arguments[2])])
                        code.tileloadd(tile, __[from + (rax * 2)]);
                    code.tdpbssd(tmm0, tmm1, tmm2);
                    code.tilestored(__[MachineCode.Arguments[3] + (rax * 2)], tmm0);
                }),
                (nint)shapes, (nint)left, (nint)right, (nint)sums);
        }
        // Row 0: 10 − 40 + 90 − 160 = −100 and −640 + 762 − 0 + 8 = 130; 1 + 2 and so on.
        Assert.Equal(unchecked(int.MaxValue - 100 + 130), c[0]);
        Assert.Equal((-1 + 2 - 3 + 4) + (-128 * (5 + 6 - 7 + 8)), c[1]);
        Assert.Equal((-128 * 100) + 0, c[2]);
        Assert.Equal(unchecked(int.MinValue + (128 * 4) - (127 * 128 * 4)), c[3]);
        Assert.Equal(-1, interpreter.TileRow(2, 0)[4..8].ToArray().Select(value => (int)(sbyte)value).Distinct().Single());
        Assert.False(interpreter.TileRow(0, 0)[8..].ContainsAnyExcept((byte)0));
        Assert.False(interpreter.TileRow(0, 2).ContainsAnyExcept((byte)0));
        Assert.True(interpreter.HasTiles);
    }

    [Fact]
    public void What_a_processor_refuses_it_refuses()
    {
        (int, int, int)[] good = [(0, 3, 64), (1, 3, 32), (2, 8, 64)];
        void Product(Assembler code) => code.tdpbssd(tmm0, tmm1, tmm2);
        Refuses("tiles are not configured", null, Product);
        Refuses("tiles are not configured", Configuration(good), code =>
        {
            code.tilerelease();
            code.tilezero(tmm0);
        });
        Refuses("TMM3 is not configured", Configuration(good), code => code.tilezero(tmm3));
        Refuses("is not [2, 32] by", Configuration((0, 3, 64), (1, 2, 32), (2, 8, 64)), Product);
        Refuses("by [7, 64]", Configuration((0, 3, 64), (1, 3, 32), (2, 7, 64)), Product);
        Refuses("by [8, 60]", Configuration((0, 3, 64), (1, 3, 32), (2, 8, 60)), Product);
        Refuses("#GP: tile 1 is [17, 32]", Configuration((0, 3, 64), (1, 17, 32)), Product);
        Refuses("#GP: tile 1 is [3, 65]", Configuration((0, 3, 64), (1, 3, 65)), Product);
        Refuses("#GP: tile 1 is [0, 32]", Configuration((0, 3, 64), (1, 0, 32)), Product);
        byte[] palette = Configuration(good), reserved = Configuration(good);
        (palette[0], reserved[40]) = (2, 1);
        Refuses("no such palette", palette, Product);
        Refuses("a reserved byte", reserved, Product);
        // A row too many: the configuration's 64 bytes are all that may be read.
        Refuses("may not be read", Configuration((0, 3, 64)), code =>
        {
            code.mov(eax, 0);
            code.tileloadd(tmm0, __[MachineCode.Arguments[0] + (rax * 1)]);
            code.mov(eax, 1);
            code.tileloadd(tmm0, __[MachineCode.Arguments[0] + (rax * 1)]);
        });
        Refuses("may not be written", Configuration(good), code =>
        {
            code.mov(eax, 0);
            code.tilestored(__[MachineCode.Arguments[0] + (rax * 1)], tmm0);
        });
        Refuses("RBX is the caller's", Configuration(good), code => code.lea(rbx, __[MachineCode.Arguments[0]]));
        Refuses("not known", Configuration(good), code => code.vaddps(zmm0, zmm0, zmm0));
    }

    private static void Refuses(string why, byte[]? configuration, Action<Assembler> write)
    {
        InstructionInterpreter interpreter = new();
        nint shapes = Marshal.AllocHGlobal(64);
        try
        {
            if (configuration is not null) Marshal.Copy(configuration, 0, shapes, 64);
            interpreter.Allow((void*)shapes, 64);
            byte[] routine = MachineCode.Assemble(code =>
            {
                if (configuration is not null) code.ldtilecfg(__zmmword_ptr[MachineCode.Arguments[0]]);
                write(code);
            });
            Assert.Contains(why, Assert.Throws<InvalidOperationException>(() => interpreter.Run(routine, shapes)).Message, StringComparison.OrdinalIgnoreCase);
        }
        finally
        {
            Marshal.FreeHGlobal(shapes);
        }
    }

    private static byte[] Configuration(params ReadOnlySpan<(int Tile, int Rows, int RowBytes)> shapes)
    {
        byte[] configuration = new byte[64];
        configuration[0] = 1;
        foreach ((int tile, int rows, int rowBytes) in shapes) (configuration[48 + tile], configuration[16 + (2 * tile)]) = ((byte)rows, (byte)rowBytes);
        return configuration;
    }
}
