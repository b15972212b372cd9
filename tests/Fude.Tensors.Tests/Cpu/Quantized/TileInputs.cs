namespace Fude.Tensors.Tests;

/// <summary>What a routine for tiles takes: a panel of two unpacked groups, a tile of x and sums, with numbers as they come or at the ends of
/// what they may be.</summary>
internal sealed unsafe class TileInputs : IDisposable
{
    private readonly GuardedMemory _panel = new(GroupProduct.ScratchBytes), _x, _rows, _sums;
    private readonly int _tileRows, _runs;

    public TileInputs(int rows, int runs, bool isExtreme, int seed)
    {
        (_tileRows, _runs) = (rows, runs);
        long bytes = (long)rows * runs * QuantizedRows.BlockBytes;
        (_x, _rows, _sums) = (new(bytes), new(bytes), GuardedMemory.Of(Numbers.Normal(rows * 2 * GroupLayout.Rows, seed)));
        Random random = new(seed);
        for (int group = 0; group < 2; group++)
            for (int run = 0; run < runs; run++)
            {
                byte* at = Run(group, run);
                for (int i = 0; i < 512; i++) at[i] = (byte)(isExtreme ? Any(random, [0, 255, 128, 127]) : random.Next(256));
                for (int i = 0; i < 32; i++)
                    ((float*)(at + 512))[i] = isExtreme
                        ? (float)Any(random, [0, -0.0, 1e-42, -3e-40, 1e-38, 1, 3e38, -1e30])
                        : (random.NextSingle() - 0.5f) * 0.1f;
            }
        for (int run = 0; run < runs; run++)
            for (int row = 0; row < rows; row++)
            {
                sbyte* numbers = (sbyte*)Row(row) + (run * QuantizedRows.BlockBytes);
                (int front, int back) = (0, 0);
                for (int i = 0; i < 32; i++)
                {
                    numbers[i] = (sbyte)(isExtreme ? Any(random, [-127, 127, 127, 0]) : random.Next(-127, 128));
                    if (i < 16) front += numbers[i];
                    else back += numbers[i];
                }
                float scale = isExtreme ? (float)Any(random, [0, 1e-42, 1e-35, 1, 1e37, random.Next(9) == 0 ? double.NaN : 2]) : random.NextSingle();
                QuantizedRows.Block block = new()
                {
                    Scale = scale,
                    Sum = scale * (front + back),
                    Correction = -128 * (front + back),
                    SecondCorrection = -128 * back,
                };
                *(QuantizedRows.Block*)(numbers + QuantizedRows.Length) = block;
                byte* record = X + (run * rows * QuantizedRows.BlockBytes);
                new ReadOnlySpan<byte>(numbers, QuantizedRows.Length).CopyTo(new Span<byte>(record + (row * QuantizedRows.Length), QuantizedRows.Length));
                ((QuantizedRows.Block*)(record + (rows * QuantizedRows.Length)))[row] = block;
            }
    }

    public byte* Panel => (byte*)_panel.Address;

    public byte* X => (byte*)_x.Address;

    public float* Sums => (float*)_sums.Address;

    /// <summary>What the sums become by the kernel of plain loops, which levels above 128 belong to.</summary>
    public float[] Expected<TNumbers>()
        where TNumbers : struct, IGroupNumbers
    {
        float[] sums = _sums.Floats.ToArray();
        fixed (float* first = sums)
            for (int row = 0; row < _tileRows; row++)
                for (int group = 0; group < 2; group++)
                    GroupProduct.Tile<LanesScalar, Unpacked<TNumbers>>(Run(group, 0), _runs, Row(row), 1, first + (((2 * row) + group) * GroupLayout.Rows), 0);
        return sums;
    }

    /// <summary>Levels as AMX takes them: 0 stands for 0.</summary>
    public void MakeSigned()
    {
        for (int group = 0; group < 2; group++)
            for (int run = 0; run < _runs; run++)
                for (int i = 0; i < 512; i++) Run(group, run)[i] ^= 0x80;
    }

    /// <summary>Calls a routine with these as its arguments.</summary>
    public void Run(InstructionInterpreter interpreter, byte[] routine) =>
        interpreter.Run(routine, (nint)Panel, (nint)X, (nint)Sums, _runs);

    /// <summary>Allows what a routine may touch.</summary>
    public void Allow(InstructionInterpreter interpreter)
    {
        for (int group = 0; group < 2; group++) interpreter.Allow(Run(group, 0), (long)_runs * Unpacked<GroupQ8Zero>.Bytes);
        interpreter.Allow(Panel + GroupProduct.ProductsApart, AmxTile.ProductBytes, mayWrite: true);
        interpreter.Allow(X, _x.Bytes);
        interpreter.Allow(Sums, _sums.Bytes, mayWrite: true);
    }

    /// <summary>Compares bits; of what is no number, only that it is none.</summary>
    public void Same(float[] expected, string what)
    {
        Assert.Equal(expected.Length, _sums.Floats.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(
                BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(Sums[i])
                    || (float.IsNaN(expected[i]) && float.IsNaN(Sums[i])),
                $"{what}[{i}]: expected {expected[i]:R}, found {Sums[i]:R}");
    }

    public void Dispose()
    {
        _panel.Dispose();
        _x.Dispose();
        _rows.Dispose();
        _sums.Dispose();
    }

    private static double Any(Random random, ReadOnlySpan<double> choices) => choices[random.Next(choices.Length)];

    private byte* Run(int group, int run) => Panel + (group * GroupProduct.PanelApart) + (run * Unpacked<GroupQ8Zero>.Bytes);

    /// <summary>A row of x as a tile of one.</summary>
    private byte* Row(int row) => (byte*)_rows.Address + ((long)row * _runs * QuantizedRows.BlockBytes);
}
