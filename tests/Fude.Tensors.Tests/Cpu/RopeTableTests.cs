namespace Fude.Tensors.Tests;

/// <summary>Angles against the formulas in double precision; rotations against their matrices.</summary>
public sealed unsafe class RopeTableTests
{
    [Theory, InlineData(16, 10000f), InlineData(20, 10000f), InlineData(128, 500000f), InlineData(2, 10000f)]
    public void Frequencies_fall_geometrically_from_1(int dimensions, float theta)
    {
        using RopeTable table = new(new RopeShape(dimensions, dimensions, theta));
        float* rows = table.Rows(0, 300, 301);
        for (int position = 0; position <= 300; position++)
            for (int i = 0; i < table.Half; i++)
            {
                double angle = position * Math.Pow(theta, -2.0 * i / dimensions);
                // The frequency is a float32: the angle is off by up to 2⁻²³ of itself.
                Assert.Equal(Math.Cos(angle), rows[position * 2 * table.Half + i], 1e-7 + angle * 2.5e-7);
                Assert.Equal(Math.Sin(angle), rows[position * 2 * table.Half + table.Half + i], 1e-7 + angle * 2.5e-7);
            }
    }

    [Fact]
    public void Linear_scaling_divides_positions()
    {
        using RopeTable plain = new(new RopeShape(8, 8, 10000)), scaled = new(new RopeShape(8, 8, 10000, new RopeScaling.Linear(4)));
        for (int position = 0; position < 50; position++)
            Numbers.SameBits(Row(plain, position, 50), Row(scaled, 4 * position, 200));
    }

    [Fact]
    public void Dynamic_scaling_begins_beyond_the_training_context_and_depends_on_the_texts_length_alone()
    {
        const int Context = 64, Dimensions = 16;
        RopeShape shape = new(Dimensions, Dimensions, 10000, new RopeScaling.Dynamic(2, Context));
        using RopeTable table = new(shape), plain = new(shape with { Scaling = null }), other = new(shape);
        Numbers.SameBits(Row(plain, 63, 64), Row(table, 63, 64));
        foreach (int extent in (int[])[65, 100, 64, 129, 65])
            for (int position = 0; position < extent; position += 7)
            {
                float[] row = Row(table, position, extent);
                double theta = extent <= Context ? 10000 : 10000 * Math.Pow(2.0 * extent / Context - 1, Dimensions / (Dimensions - 2.0));
                for (int i = 0; i < Dimensions / 2; i++)
                    Assert.Equal(Math.Cos(position * Math.Pow(theta, -2.0 * i / Dimensions)), row[i], 1e-4);
                // Whatever was asked for before, a position of a text of this length has these angles.
                other.Rows(position / 2, position, 99);
                Numbers.SameBits(row, Row(other, position, extent));
            }
    }

    [Fact]
    public void Llama3_scaling_keeps_fast_frequencies_divides_slow_ones_and_blends_between()
    {
        RopeScaling.Llama3 scaling = new(8, 1, 4, 8192);
        using RopeTable table = new(new RopeShape(128, 128, 500000, scaling));
        float[] row = Row(table, 1, 2);
        int kept = 0, divided = 0, blended = 0;
        for (int i = 0; i < 64; i++)
        {
            double frequency = Math.Pow(500000, -2.0 * i / 128), wavelength = 2 * Math.PI / frequency;
            double expected = frequency;
            if (wavelength > 8192) (expected, divided) = (frequency / 8, divided + 1);
            else if (wavelength < 2048) kept++;
            else
            {
                double smooth = (8192 / wavelength - 1) / 3;
                (expected, blended) = ((1 - smooth) * frequency / 8 + smooth * frequency, blended + 1);
            }
            Assert.Equal(Math.Sin(expected), row[64 + i], 1e-6 * Math.Sin(expected));
        }
        Assert.True(kept > 0 && divided > 0 && blended > 0);
    }

    [Theory, InlineData(20, 20), InlineData(80, 20), InlineData(128, 128), InlineData(5, 4)]
    public void Pairs_turn_and_the_rest_of_a_head_stays(int headSize, int dimensions)
    {
        const int Heads = 3, Tokens = 5;
        RopeShape shape = new(headSize, dimensions, 10000);
        int width = Heads * headSize, half = dimensions / 2;
        float[] x = Numbers.Normal(Tokens * width, 1);
        double[] expected = [.. x];
        int[] positions = [4, 0, 100, 3, 2];
        for (int t = 0; t < Tokens; t++)
            for (int h = 0; h < Heads; h++)
                for (int i = 0; i < half; i++)
                {
                    int a = t * width + h * headSize + i, b = a + half;
                    double angle = positions[t] * Math.Pow(10000, -2.0 * i / dimensions);
                    expected[a] = x[a] * Math.Cos(angle) - x[b] * Math.Sin(angle);
                    expected[b] = x[b] * Math.Cos(angle) + x[a] * Math.Sin(angle);
                }
        using CpuOps ops = new(2);
        Batch batch = new(new int[Tokens], positions, [new Sequence(0, Tokens)], [0]);
        // Angles up to 100 in float32.
        Numbers.Near(expected, ops.Read(ops.Rope(ops.Put(x, Tokens, width), batch, shape)), 5e-5);
    }

    [Fact]
    public void A_prompt_in_chunks_turns_as_the_whole_one_when_it_says_how_long_it_is()
    {
        const int Tokens = 40;
        RopeShape shape = new(8, 8, 10000, new RopeScaling.Dynamic(2, 16));
        float[] x = Numbers.Normal(Tokens * 8, 1), parts = new float[x.Length];
        using CpuOps ops = new(1);
        float[] whole = ops.Read(ops.Rope(ops.Put(x, Tokens, 8), Batch.Of(new int[Tokens]), shape)).ToArray();
        for (int first = 0; first < Tokens; first += 10)
        {
            int[] positions = [.. Enumerable.Range(first, 10)];
            Batch batch = new(new int[10], positions, [new Sequence(0, 10, null, Tokens)], [0]);
            ops.Read(ops.Rope(ops.Put(x.AsSpan(first * 8, 80), 10, 8), batch, shape)).CopyTo(parts.AsSpan(first * 8));
        }
        Numbers.SameBits(whole, parts);
    }

    private static float[] Row(RopeTable table, int position, int extent) =>
        new ReadOnlySpan<float>(table.Rows(position, position, extent), 2 * table.Half).ToArray();
}
