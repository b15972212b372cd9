using Iced.Intel;

namespace Fude.Tensors.Tests;

/// <summary>The routines in AMX, interpreted: few processors have it. Where one does, the tests of every path run them on it.</summary>
public sealed unsafe class AmxTileTests
{
    public static TheoryData<bool, bool, int> Cases() =>
        [.. from kind in ((bool, bool)[])[(false, false), (true, false), (false, true)] from rows in Enumerable.Range(1, AmxTile.Rows) select (kind.Item1, kind.Item2, rows)];

    [Theory, MemberData(nameof(Cases))]
    public void A_tile_has_the_bits_of_the_plain_loops(bool hasMinimum, bool hasTwoScales, int rows)
    {
        byte[] routine = MachineCode.Assemble(code => AmxTile.Write(code, rows, hasMinimum, hasTwoScales));
        foreach (int runs in (ReadOnlySpan<int>)[1, 2, 3, 7, 16])
            foreach (bool isExtreme in (ReadOnlySpan<bool>)[false, true])
            {
                using TileInputs inputs = new(rows, runs, isExtreme, seed: (rows * 100) + runs);
                float[] expected = hasMinimum ? inputs.Expected<GroupQ4K>() : hasTwoScales ? inputs.Expected<GroupQ6K>() : inputs.Expected<GroupQ8Zero>();
                inputs.MakeSigned();
                InstructionInterpreter interpreter = new();
                inputs.Allow(interpreter);
                // A tile of twelve rows must not need a shorter one beside it.
                Open(interpreter, rows % AmxTile.Rows, hasTwoScales);
                inputs.Run(interpreter, routine);
                inputs.Same(expected, $"{rows} rows, {runs} runs, {(isExtreme ? "extremes" : "numbers as they come")}");
            }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void One_configuration_does_for_whole_tiles_and_the_last(bool hasTwoScales)
    {
        for (int last = 1; last < AmxTile.Rows; last++)
        {
            InstructionInterpreter interpreter = new();
            Open(interpreter, last, hasTwoScales);
            foreach (int rows in (ReadOnlySpan<int>)[AmxTile.Rows, last, AmxTile.Rows])
            {
                using TileInputs inputs = new(rows, runs: 2, isExtreme: false, seed: last);
                float[] expected = hasTwoScales ? inputs.Expected<GroupQ6K>() : inputs.Expected<GroupQ8Zero>();
                inputs.MakeSigned();
                inputs.Allow(interpreter);
                inputs.Run(interpreter, MachineCode.Assemble(code => AmxTile.Write(code, rows, hasMinimum: false, hasTwoScales)));
                inputs.Same(expected, $"{rows} rows");
            }
            Assert.True(interpreter.HasTiles);
            interpreter.Run(MachineCode.Assemble(AmxTile.WriteClosing));
            Assert.False(interpreter.HasTiles);
        }
    }

    [Theory]
    [InlineData(false, false, 2, 72)]
    [InlineData(true, false, 2, 96)]
    [InlineData(false, true, 4, 144)]
    public void A_block_of_twelve_rows_takes_the_instructions_that_its_use_was_decided_by(bool hasMinimum, bool hasTwoScales, int products, int vectors)
    {
        int Count(int runs, params ReadOnlySpan<Mnemonic> which)
        {
            using TileInputs inputs = new(AmxTile.Rows, runs, isExtreme: false, seed: 1);
            InstructionInterpreter interpreter = new();
            inputs.Allow(interpreter);
            Open(interpreter, last: 0, hasTwoScales);
            inputs.Run(interpreter, MachineCode.Assemble(code => AmxTile.Write(code, AmxTile.Rows, hasMinimum, hasTwoScales)));
            int count = 0;
            foreach (Mnemonic mnemonic in which) count += interpreter.Counts.GetValueOrDefault(mnemonic);
            return count;
        }
        Assert.Equal(products, Count(9, Mnemonic.Tdpbssd) - Count(8, Mnemonic.Tdpbssd));
        Assert.Equal(
            vectors,
            Count(9, Mnemonic.Vcvtdq2ps, Mnemonic.Vmulps, Mnemonic.Vfmadd231ps) - Count(8, Mnemonic.Vcvtdq2ps, Mnemonic.Vmulps, Mnemonic.Vfmadd231ps));
    }

    [Fact]
    public void The_loop_of_its_roof_multiplies_whole_tiles_and_gives_the_registers_up()
    {
        byte* configuration = stackalloc byte[AmxTile.ConfigurationBytes];
        PeakCode.Describe(new Span<byte>(configuration, AmxTile.ConfigurationBytes));
        InstructionInterpreter interpreter = new();
        interpreter.Allow(configuration, AmxTile.ConfigurationBytes);
        interpreter.Run(MachineCode.Assemble(code => PeakCode.OnTiles(code, code.tdpbssd)), 5, (nint)configuration);
        interpreter.Run(MachineCode.Assemble(code => PeakCode.OnTiles(code, code.tdpbf16ps)), 3, (nint)configuration);
        Assert.Equal((4 * 5, 4 * 3), (interpreter.Counts[Mnemonic.Tdpbssd], interpreter.Counts[Mnemonic.Tdpbf16ps]));
        Assert.False(interpreter.HasTiles);
    }

    private static void Open(InstructionInterpreter interpreter, int last, bool hasTwoScales)
    {
        byte* configuration = stackalloc byte[AmxTile.ConfigurationBytes];
        AmxTile.Describe(new Span<byte>(configuration, AmxTile.ConfigurationBytes), last, hasTwoScales);
        interpreter.Allow(configuration, AmxTile.ConfigurationBytes);
        interpreter.Run(MachineCode.Assemble(AmxTile.WriteOpening), (nint)configuration);
    }
}
