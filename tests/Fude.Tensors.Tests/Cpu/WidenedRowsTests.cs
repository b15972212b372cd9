namespace Fude.Tensors.Tests;

public sealed unsafe class WidenedRowsTests
{
    public static TheoryData<NumberFormat, int> Cases()
    {
        TheoryData<NumberFormat, int> cases = [];
        foreach (NumberFormat format in Enum.GetValues<NumberFormat>())
            foreach (int width in (ReadOnlySpan<int>)[32, 96, 256, 1536])
                if (format.IsQuantized() && width % format.BlockLength() == 0) cases.Add(format, width);
        return cases;
    }

    [Theory, MemberData(nameof(Cases))]
    public void Quantised_weights_give_the_bits_of_their_float32_numbers(NumberFormat format, int width)
    {
        const int Outputs = 75;
        byte[] blocks = RandomBlocks.Of(format, Outputs * width / format.BlockLength(), seed: 12);
        float[] numbers = new float[Outputs * width];
        format.Widen(blocks, numbers);
        float[] x = Numbers.Normal(40 * width, seed: 3);
        using CpuOps ops = new(2);
        fixed (byte* stored = blocks)
        fixed (float* wide = numbers)
        {
            Weight w = new("w", format, Outputs, width, (nint)stored), same = new("w", NumberFormat.F32, Outputs, width, (nint)wide);
            foreach (int rows in (ReadOnlySpan<int>)[1, 2, 5, 6, 7, 40])
            {
                ops.Begin();
                Tensor input = ops.Put(x.AsSpan(0, rows * width), rows, width);
                Numbers.SameBits(ops.Read(ops.MatMul(input, same)), ops.Read(ops.MatMul(input, w)), $"{rows} rows");
            }
            ops.Begin();
            Batch batch = new([74, 0, 31, 32, 74], [0, 1, 2, 3, 4], [new Sequence(0, 5)], [4]);
            Numbers.SameBits(ops.Read(ops.Embed(batch, same, same)), ops.Read(ops.Embed(batch, w, w)), "embedding");
        }
    }
}
