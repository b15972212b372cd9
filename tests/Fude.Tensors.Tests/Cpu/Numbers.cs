namespace Fude.Tensors.Tests;

/// <summary>Random numbers, weights over them, and comparisons.</summary>
internal static unsafe class Numbers
{
    /// <summary>Normal numbers (Box and Muller), from a seed.</summary>
    public static float[] Normal(long count, int seed, float scale = 1)
    {
        Random random = new(seed);
        float[] numbers = new float[count];
        for (int i = 0; i < count; i++)
            numbers[i] = scale * (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        return numbers;
    }

    /// <summary>The numbers of a weight as doubles.</summary>
    public static double[] Values(Weight weight)
    {
        double[] values = new double[(long)weight.Rows * weight.Columns];
        for (int i = 0; i < values.Length; i++)
            values[i] = weight.Format switch
            {
                NumberFormat.F32 => ((float*)weight.Address)[i],
                NumberFormat.F16 => (double)((Half*)weight.Address)[i],
                _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)weight.Address)[i] << 16),
            };
        return values;
    }

    /// <summary>A tensor of a device with these numbers.</summary>
    public static Tensor Put(this CpuOps ops, ReadOnlySpan<float> numbers, int rows, int columns)
    {
        Tensor x = ops.New(rows, columns);
        numbers.CopyTo(new Span<float>((void*)x.Address, numbers.Length));
        return x;
    }

    public static void Near(ReadOnlySpan<double> expected, ReadOnlySpan<float> actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - actual[i]) <= tolerance, $"[{i}]: expected {expected[i]:R}, found {actual[i]:R}");
    }

    public static void SameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what = "")
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(
                BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(actual[i]),
                $"{what}[{i}]: expected {expected[i]:R}, found {actual[i]:R}");
    }
}

/// <summary>Weights in guarded memory, and who owns it.</summary>
internal sealed class TestWeights : IDisposable
{
    private readonly List<GuardedMemory> _memory = [];

    public Weight Random(NumberFormat format, int rows, int columns, int seed, float scale = 1) =>
        Of(format, rows, columns, Numbers.Normal((long)rows * columns, seed, scale));

    public Weight Of(NumberFormat format, int rows, int columns, ReadOnlySpan<float> numbers)
    {
        GuardedMemory memory = GuardedMemory.Of(numbers, format);
        _memory.Add(memory);
        return new Weight($"{format}[{rows}, {columns}]", format, rows, columns, memory.Address);
    }

    public void Dispose()
    {
        foreach (GuardedMemory memory in _memory) memory.Dispose();
    }
}
