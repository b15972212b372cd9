using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Fude.Tensors.Tests;

public sealed class NumberFormatsTests
{
    public static TheoryData<NumberFormat> Quantized() => new(Enum.GetValues<NumberFormat>().Where(format => format.IsQuantized()));

    public static TheoryData<NumberFormat> Makeable() =>
        new(Enum.GetValues<NumberFormat>().Where(format => format.IsQuantized() && format.CanNarrow()));

    [Theory]
    [InlineData(NumberFormat.F32, 1, 4)]
    [InlineData(NumberFormat.F16, 1, 2)]
    [InlineData(NumberFormat.BF16, 1, 2)]
    [InlineData(NumberFormat.Q8_0, 32, 34)]
    [InlineData(NumberFormat.Q4_0, 32, 18)]
    [InlineData(NumberFormat.Q4_1, 32, 20)]
    [InlineData(NumberFormat.Q5_0, 32, 22)]
    [InlineData(NumberFormat.Q5_1, 32, 24)]
    [InlineData(NumberFormat.Q2_K, 256, 84)]
    [InlineData(NumberFormat.Q3_K, 256, 110)]
    [InlineData(NumberFormat.Q4_K, 256, 144)]
    [InlineData(NumberFormat.Q5_K, 256, 176)]
    [InlineData(NumberFormat.Q6_K, 256, 210)]
    [InlineData(NumberFormat.IQ4_NL, 32, 18)]
    [InlineData(NumberFormat.IQ4_XS, 256, 136)]
    public void Sizes_are_those_of_GGUF(NumberFormat format, int length, int bytes)
    {
        Assert.Equal(length, format.BlockLength());
        Assert.Equal(bytes, format.BlockBytes());
        Assert.Equal(3L * bytes, format.Bytes(3 * length));
        Assert.Equal(0, format.Bytes(0));
    }

    [Theory, MemberData(nameof(Quantized))]
    public void A_row_that_is_not_whole_blocks_is_refused(NumberFormat format)
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => format.Bytes(format.BlockLength() + 16));
        Assert.Contains(format.ToString(), error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => format.Widen(new byte[format.BlockBytes()], new float[format.BlockLength() - 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => format.Widen(new byte[format.BlockBytes() - 1], new float[format.BlockLength()]));
    }

    // SHA-256 of the float32 bytes that ggml's dequantize_row_* (llama.cpp v0.5.0, libggml-base as built for node-llama-cpp 3.22.1, x64)
    // gives for the 64 blocks of RandomBlocks with seed 20240229.
    [Theory]
    [InlineData(NumberFormat.Q8_0, "b05e4eee66f75575423732634c492cf77d8b94c539a88f41170d433807f6d5ba")]
    [InlineData(NumberFormat.Q4_0, "91ebafa9e75630548445e1a4d3d9248dffd2c6af48150f0b52425bdd5dd04377")]
    [InlineData(NumberFormat.Q4_1, "57e577d9d72b0aca3f111f6fca34fe4d0c79f6d7d75696106b6f1a8ec5b882a9")]
    [InlineData(NumberFormat.Q5_0, "a214b50113e64dc60c2ea0e38a92d488c5b02a2303a6551493538ee7d5362323")]
    [InlineData(NumberFormat.Q5_1, "cb27e21b98ecc43eda74886994deb79290caf80e09d821c57f05208b5804f736")]
    [InlineData(NumberFormat.Q2_K, "a119554c2279b822a8012f91a0d0500cc1e2b37d27f116b134d7f9d8a2974414")]
    [InlineData(NumberFormat.Q3_K, "1b6f40dca82517a94ff60cb06755ac11fc256f0b5806a432ccfe95dc6482b573")]
    [InlineData(NumberFormat.Q4_K, "7dfcebee608d6032cd43c99c32a036413ccd8ffce5009610af9775f47d795bb1")]
    [InlineData(NumberFormat.Q5_K, "38df9a90ef6e88f0c2819b0556613ed2539a2a8bad69d49c9df008a3fce70186")]
    [InlineData(NumberFormat.Q6_K, "a7b3d1b2f468e82aa938a5820b225499218cc2bdfb02dd9b17b746817835c499")]
    [InlineData(NumberFormat.IQ4_NL, "79611c44f6eb32952053780b81d4c3cb05408d128020bd7c24b7d84e5bbe5c03")]
    [InlineData(NumberFormat.IQ4_XS, "c5dda1fa010a13fcaf3d9c4d6d46b1b27b1dfbfa2cbf90ee6ba44654f01d6e8b")]
    public void Widening_gives_ggmls_numbers_bit_for_bit(NumberFormat format, string expected)
    {
        byte[] blocks = RandomBlocks.Of(format, 64, seed: 20240229);
        float[] numbers = new float[64 * format.BlockLength()];
        format.Widen(blocks, numbers);
        Assert.Equal(expected, Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<float>(numbers))));
    }

    [Theory, MemberData(nameof(Quantized))]
    public void Widening_gives_what_the_bits_of_the_description_say(NumberFormat format)
    {
        const int Blocks = 20;
        byte[] blocks = RandomBlocks.Of(format, Blocks, seed: 7);
        float[] numbers = new float[Blocks * format.BlockLength()];
        format.Widen(blocks, numbers);
        for (int block = 0; block < Blocks; block++)
        {
            BitDecoder decoder = new(format, blocks[(block * format.BlockBytes())..((block + 1) * format.BlockBytes())]);
            for (int i = 0; i < format.BlockLength(); i++)
                Assert.Equal(BitConverter.SingleToInt32Bits(decoder[i]),
                    BitConverter.SingleToInt32Bits(numbers[(block * format.BlockLength()) + i]));
        }
    }

    [Fact]
    public void A_hand_computed_block_of_Q4_0()
    {
        byte[] block = new byte[18];
        (block[0], block[1]) = (0x00, 0x38);            // 0.5
        (block[2], block[17]) = (0xF0, 0x3A);           // numbers 0: 0, 16: 15; numbers 15: 10, 31: 3
        float[] numbers = new float[32];
        NumberFormat.Q4_0.Widen(block, numbers);
        Assert.Equal((-4f, 3.5f, 1f, -2.5f, -4f), (numbers[0], numbers[16], numbers[15], numbers[31], numbers[1]));
    }

    [Fact]
    public void A_hand_computed_block_of_Q4_K()
    {
        byte[] block = new byte[144];
        (block[1], block[3]) = (0x3C, 0x34);            // d = 1, dmin = 0.25
        (block[4], block[8]) = (0xC5, 0x82);            // run 0: scale 5, minimum 2; the top bits belong to run 4
        block[12] = 0x37;                               // run 4: scale 7 + 16·3 = 55, minimum 3 + 16·2 = 35
        block[16] = 0x0B;                               // number 0: 11
        block[16 + 64] = 0x09;                          // number 128, the first of run 4: 9
        float[] numbers = new float[256];
        NumberFormat.Q4_K.Widen(block, numbers);
        Assert.Equal((5 * 11) - 0.5f, numbers[0]);
        Assert.Equal((55 * 9) - 8.75f, numbers[128]);
        Assert.Equal(-0.5f, numbers[1]);
        Assert.Equal(0, numbers[32]);
    }

    public static TheoryData<NumberFormat, string> Cases() =>
        new(from format in Makeable().Select(row => row.Data) from data in RandomNumbers.Kinds select (format, data));

    [Theory, MemberData(nameof(Cases))]
    public void Quantising_loses_no_more_than_plain_rounding_block_by_block(NumberFormat format, string kind)
    {
        float[] x = RandomNumbers.Of(kind, 256 * 12, seed: 3), plain = PlainRounding.Of(format, x);
        float[] found = RoundTrip(format, x);
        for (int first = 0; first < x.Length; first += format.BlockLength())
        {
            double loss = Loss(x, found, first, format.BlockLength()), bound = Loss(x, plain, first, format.BlockLength());
            Assert.True(loss <= (bound * 1.00001) + 1e-30, $"block at {first}: {loss} against {bound}");
        }
    }

    [Theory, MemberData(nameof(Makeable))]
    public void On_normal_numbers_the_search_pays(NumberFormat format)
    {
        float[] x = RandomNumbers.Of("normal", 256 * 40, seed: 4);
        double loss = Loss(x, RoundTrip(format, x), 0, x.Length), plain = Loss(x, PlainRounding.Of(format, x), 0, x.Length);
        Assert.True(loss < 0.95 * plain, $"{loss} against {plain}");
    }

    // The bound is what the levels' spacing allows: with b bits a normal block of 32 spans about ±2.5σ.
    [Theory]
    [InlineData(NumberFormat.Q8_0, 0.0055)]
    [InlineData(NumberFormat.Q6_K, 0.02)]
    [InlineData(NumberFormat.Q5_0, 0.045)]
    [InlineData(NumberFormat.Q5_1, 0.038)]
    [InlineData(NumberFormat.Q5_K, 0.038)]
    [InlineData(NumberFormat.Q4_0, 0.09)]
    [InlineData(NumberFormat.Q4_1, 0.077)]
    [InlineData(NumberFormat.Q4_K, 0.077)]
    public void The_relative_error_is_that_of_the_number_of_bits(NumberFormat format, double bound)
    {
        float[] x = RandomNumbers.Of("normal", 256 * 40, seed: 5);
        double relative = Math.Sqrt(Loss(x, RoundTrip(format, x), 0, x.Length) / x.Sum(value => (double)value * value));
        Assert.InRange(relative, bound / 2, bound);
    }

    [Theory, MemberData(nameof(Makeable))]
    public void Importance_moves_the_error_to_where_it_counts_less(NumberFormat format)
    {
        float[] x = RandomNumbers.Of("normal", 256 * 12, seed: 6);
        float[] importance = [.. RandomNumbers.Of("normal", x.Length, seed: 7).Select(value => MathF.Exp(80 * value))];
        double unaware = Weighted(RoundTrip(format, x)), aware = Weighted(RoundTrip(format, x, importance));
        Assert.True(aware < 0.97 * unaware, $"{aware} against {unaware}");
        // Only ratios count, whatever their size.
        Assert.Equal(RoundTrip(format, x, importance), RoundTrip(format, x, [.. importance.Select(value => MathF.ScaleB(value, -60))]));

        double Weighted(float[] found) => x.Select((value, i) => importance[i] * (double)(value - found[i]) * (value - found[i])).Sum();
    }

    [Theory, MemberData(nameof(Makeable))]
    public void A_block_depends_on_its_own_numbers_alone(NumberFormat format)
    {
        float[] x = RandomNumbers.Of("outliers", 256 * 5, seed: 8);
        byte[] whole = new byte[format.Bytes(x.Length)], apart = new byte[whole.Length];
        format.Narrow(x, whole);
        for (int block = 0; block < x.Length / format.BlockLength(); block++)
            format.Narrow(
                x.AsSpan(block * format.BlockLength(), format.BlockLength()),
                apart.AsSpan(block * format.BlockBytes(), format.BlockBytes()));
        Assert.Equal(whole, apart);
    }

    [Theory, MemberData(nameof(Makeable))]
    public void Zeros_stay_zeros(NumberFormat format) => Assert.All(RoundTrip(format, new float[512]), number => Assert.Equal(0, number));

    [Theory, MemberData(nameof(Makeable))]
    public void Zeros_that_count_for_nothing_stay_zeros(NumberFormat format)
    {
        float[] x = new float[512];
        x[300] = 1;
        float[] found = RoundTrip(format, x, new float[512]);
        Assert.All(found[..256], number => Assert.Equal(0, number));
        Assert.All(found, number => Assert.InRange(number, -1.01f, 1.01f));
    }

    [Theory, MemberData(nameof(Makeable))]
    public void A_constant_is_kept_to_the_precision_of_a_half(NumberFormat format)
    {
        foreach (float value in (float[])[0.37f, -0.37f, 12345, -60000, 65504])
            Assert.All(
                RoundTrip(format, [.. Enumerable.Repeat(value, 256)]),
                number => Assert.InRange(number / value, 0.998f, 1.002f));
    }

    [Theory, MemberData(nameof(Makeable))]
    public void Numbers_too_small_for_a_half_are_kept_to_two_of_its_least_steps(NumberFormat format)
    {
        foreach (float scale in (float[])[1e-6f, 1e-8f, 1e-12f, 1e-20f, 1e-38f, float.Epsilon])
        {
            float[] x = [.. RandomNumbers.Of("normal", 256, seed: 9).Select(value => value * scale)];
            float[] found = RoundTrip(format, x);
            for (int i = 0; i < x.Length; i++) Assert.InRange(MathF.Abs(found[i] - x[i]), 0, 1.5e-7f);
        }
    }

    [Theory, MemberData(nameof(Makeable))]
    public void What_no_half_can_scale_is_refused(NumberFormat format)
    {
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity, 70000, -1e30f])
        {
            float[] x = new float[256];
            x[137] = bad;
            InvalidDataException error = Assert.Throws<InvalidDataException>(() => RoundTrip(format, x));
            Assert.Contains("number 137", error.Message, StringComparison.Ordinal);
        }
    }

    [Theory, MemberData(nameof(Makeable))]
    public void An_importance_that_is_negative_or_not_finite_or_missing_is_a_mistake(NumberFormat format)
    {
        float[] importance = new float[256];
        foreach (float bad in (float[])[-1, float.NaN, float.PositiveInfinity])
        {
            importance[3] = bad;
            Assert.Throws<ArgumentException>(() => RoundTrip(format, new float[256], importance));
        }
        Assert.Throws<ArgumentException>(() => RoundTrip(format, new float[256], new float[255]));
    }

    [Fact]
    public void Numbers_on_the_levels_are_kept_exactly()
    {
        float[] x = new float[256];
        for (int i = 0; i < x.Length; i++) x[i] = ((i * 37 % 16) - 8) * 0.125f;
        Assert.Equal(x, RoundTrip(NumberFormat.Q4_0, x));
        Assert.Equal(x, RoundTrip(NumberFormat.Q4_1, x));
        Assert.Equal(x, RoundTrip(NumberFormat.Q5_0, x));
        Assert.Equal(x, RoundTrip(NumberFormat.Q5_1, x));
        x[0] = 127 * 0.125f;
        Assert.Equal(x[..32], RoundTrip(NumberFormat.Q8_0, x)[..32]);
    }

    [Fact]
    public void A_half_is_the_nearest_one_at_every_half_and_around_every_middle_of_two()
    {
        List<float> numbers = [0, -0f, float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.MaxValue, float.Epsilon, 65519.996f, 65520, 65535.9f, 65536];
        for (int i = 0; i < 0x7C00; i++)
        {
            float half = (float)BitConverter.UInt16BitsToHalf((ushort)i), next = (float)BitConverter.UInt16BitsToHalf((ushort)(i + 1));
            float middle = i == 0x7BFF ? 65520 : (half + next) / 2;
            numbers.AddRange([half, -half, MathF.BitIncrement(half), middle, -middle, MathF.BitIncrement(middle), MathF.BitDecrement(middle)]);
        }
        byte[] bytes = new byte[2 * numbers.Count];
        NumberFormat.F16.Narrow(numbers.ToArray(), bytes);
        for (int i = 0; i < numbers.Count; i++)
            Assert.True(
                BitConverter.HalfToUInt16Bits((Half)numbers[i]) == BitConverter.ToUInt16(bytes, 2 * i), $"{numbers[i]:R}: {BitConverter.ToUInt16(bytes, 2 * i):x4}");
    }

    [Fact]
    public void The_bytes_of_Q8_0_never_hold_minus_128_and_its_scale_is_never_negative()
    {
        byte[] bytes = new byte[NumberFormat.Q8_0.Bytes(8192)];
        NumberFormat.Q8_0.Narrow(RandomNumbers.Of("outliers", 8192, seed: 10), bytes);
        for (int block = 0; block < bytes.Length; block += 34)
        {
            Assert.True(BitConverter.ToHalf(bytes, block) >= Half.Zero);
            Assert.DoesNotContain((byte)128, bytes[(block + 2)..(block + 34)]);
        }
    }

    [Theory]
    [InlineData(NumberFormat.Q2_K)]
    [InlineData(NumberFormat.Q3_K)]
    [InlineData(NumberFormat.IQ4_NL)]
    [InlineData(NumberFormat.IQ4_XS)]
    public void What_is_only_read_says_so(NumberFormat format)
    {
        Assert.False(format.CanNarrow());
        Assert.Contains("Q4_K", Assert.Throws<NotSupportedException>(() => RoundTrip(format, new float[256])).Message,
            StringComparison.Ordinal);
    }

    private static float[] RoundTrip(NumberFormat format, float[] x, float[]? importance = null)
    {
        byte[] bytes = new byte[format.Bytes(x.Length)];
        format.Narrow(x, bytes, importance);
        float[] numbers = new float[x.Length];
        format.Widen(bytes, numbers);
        return numbers;
    }

    private static double Loss(float[] x, float[] found, int first, int count)
    {
        double sum = 0;
        for (int i = first; i < first + count; i++) sum += (double)(x[i] - found[i]) * (x[i] - found[i]);
        return sum;
    }
}
