namespace Fude.Tensors.Tests;

public sealed class WeightTests
{
    // Bit patterns of every 16-bit number there is.
    private static readonly ushort[] Patterns = [.. Enumerable.Range(0, 65536).Select(i => (ushort)i)];

    [Fact]
    public void Sixteen_bit_numbers_survive_widening_and_narrowing()
    {
        foreach (NumberFormat format in (NumberFormat[])[NumberFormat.F16, NumberFormat.BF16])
        {
            byte[] bytes = [.. Patterns.SelectMany(BitConverter.GetBytes)], back = new byte[bytes.Length];
            float[] numbers = new float[Patterns.Length];
            format.Widen(bytes, numbers);
            format.Narrow(numbers, back);
            for (int i = 0; i < numbers.Length; i++)
            {
                ushort expected = Patterns[i], found = BitConverter.ToUInt16(back, 2 * i);
                if (float.IsNaN(numbers[i])) Assert.True(IsNaN(format, expected) && IsNaN(format, found));
                else Assert.Equal(expected, found);
            }
        }
    }

    [Fact]
    public void Every_sixteen_bit_number_has_its_value()
    {
        byte[] bytes = [.. Patterns.SelectMany(BitConverter.GetBytes)];
        float[] halves = new float[Patterns.Length], brains = new float[Patterns.Length];
        NumberFormat.F16.Widen(bytes, halves);
        NumberFormat.BF16.Widen(bytes, brains);
        Assert.Equal(Patterns.Select(bits => (float)BitConverter.UInt16BitsToHalf(bits)), halves);
        Assert.Equal(Patterns.Select(bits => BitConverter.UInt32BitsToSingle((uint)bits << 16)), brains);
        // Fewer numbers than a vector holds take another way.
        NumberFormat.F16.Widen(bytes.AsSpan(2, 30), halves.AsSpan(0, 15));
        Assert.Equal(Patterns.Skip(1).Take(15).Select(bits => (float)BitConverter.UInt16BitsToHalf(bits)), halves.Take(15));
    }

    [Theory]
    [InlineData(0x3F80_8000u, 0x3F80)]      // halfway, even below
    [InlineData(0x3F81_8000u, 0x3F82)]      // halfway, even above
    [InlineData(0x3F80_8001u, 0x3F81)]
    [InlineData(0x3F80_7FFFu, 0x3F80)]
    [InlineData(0x7F7F_FFFFu, 0x7F80)]      // the largest number rounds to infinity
    [InlineData(0x8000_0001u, 0x8000)]
    [InlineData(0x7F80_0001u, 0x7FC0)]      // a NaN whose upper half would be infinity
    public void BFloat16_is_rounded_to_the_nearest_even(uint single, ushort expected)
    {
        foreach (int count in (int[])[1, 15, 16, 17, 40])
        {
            float[] numbers = new float[count];
            Array.Fill(numbers, BitConverter.UInt32BitsToSingle(single));
            byte[] bytes = new byte[count * 2];
            NumberFormat.BF16.Narrow(numbers, bytes);
            for (int i = 0; i < count; i++) Assert.Equal(expected, BitConverter.ToUInt16(bytes, 2 * i));
        }
    }

    [Fact]
    public void Slices_and_rows_are_views_of_the_same_numbers()
    {
        using RandomWeights random = new(NumberFormat.F16, 3);
        Weight weight = random.Matrix("w", 6, 5);
        float[] all = weight.ToFloats(), row = new float[5];
        weight.ReadRow(4, row);
        Assert.Equal(all[20..25], row);
        Assert.Equal(all[10..20], weight.Slice(2, 2).ToFloats());
        Assert.Throws<ArgumentOutOfRangeException>(() => weight.ReadRow(6, row));
        Assert.Throws<ArgumentOutOfRangeException>(() => weight.ReadRow(-1, row));
        Assert.Throws<ArgumentOutOfRangeException>(() => weight.Slice(5, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => weight.Slice(2, int.MaxValue));
        Assert.Throws<ArgumentOutOfRangeException>(() => weight.SliceVector(0, 1));
        Weight vector = random.Vector("v.weight", 4);
        Assert.Equal([1, 1], vector.SliceVector(2, 2).ToFloats());
        Assert.Throws<ArgumentOutOfRangeException>(() => vector.SliceVector(3, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => vector.SliceVector(-1, 2));
    }

    private static bool IsNaN(NumberFormat format, ushort bits) => format == NumberFormat.F16
        ? (bits & 0x7C00) == 0x7C00 && (bits & 0x03FF) != 0
        : (bits & 0x7F80) == 0x7F80 && (bits & 0x007F) != 0;
}
