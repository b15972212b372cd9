using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Sizes of number formats, and conversion from and to float32.</summary>
public static class NumberFormats
{
    // No number of a quantised row may exceed the largest half, so that every scale and minimum is one too.
    private const float Largest = 65504;

    /// <summary>How many neighbouring numbers of a row are stored together: a row has whole blocks. 1 where each stands alone.</summary>
    public static int BlockLength(this NumberFormat format) => format switch
    {
        NumberFormat.F32 or NumberFormat.F16 or NumberFormat.BF16 => 1,
        NumberFormat.Q8_0 or NumberFormat.Q4_0 or NumberFormat.Q4_1 or NumberFormat.Q5_0 or NumberFormat.Q5_1 or NumberFormat.IQ4_NL => 32,
        NumberFormat.Q2_K or NumberFormat.Q3_K or NumberFormat.Q4_K or NumberFormat.Q5_K or NumberFormat.Q6_K or NumberFormat.IQ4_XS => 256,
        _ => throw Unknown(format),
    };

    /// <summary>Bytes of one block.</summary>
    public static int BlockBytes(this NumberFormat format) => format switch
    {
        NumberFormat.F32 => 4,
        NumberFormat.F16 or NumberFormat.BF16 => 2,
        NumberFormat.Q8_0 => Q8_0.Bytes,
        NumberFormat.Q4_0 => Q4_0.Bytes,
        NumberFormat.Q4_1 => Q4_1.Bytes,
        NumberFormat.Q5_0 => Q5_0.Bytes,
        NumberFormat.Q5_1 => Q5_1.Bytes,
        NumberFormat.Q2_K => Q2_K.Bytes,
        NumberFormat.Q3_K => Q3_K.Bytes,
        NumberFormat.Q4_K => Q4_K.Bytes,
        NumberFormat.Q5_K => Q5_K.Bytes,
        NumberFormat.Q6_K => Q6_K.Bytes,
        NumberFormat.IQ4_NL => IQ4_NL.Bytes,
        NumberFormat.IQ4_XS => IQ4_XS.Bytes,
        _ => throw Unknown(format),
    };

    /// <summary>Whether numbers share scales, so that a row can only be split at the ends of blocks.</summary>
    public static bool IsQuantized(this NumberFormat format) => format.BlockLength() > 1;

    /// <summary>Whether <see cref="Narrow"/> can make it; the others are only read.</summary>
    public static bool CanNarrow(this NumberFormat format) =>
        format is not (NumberFormat.Q2_K or NumberFormat.Q3_K or NumberFormat.IQ4_NL or NumberFormat.IQ4_XS) && Enum.IsDefined(format);

    /// <summary>Bytes of <paramref name="count"/> numbers that lie next to each other in a row.</summary>
    /// <exception cref="ArgumentException">The format stores blocks, and <paramref name="count"/> is not a whole number of
    /// them.</exception>
    public static long Bytes(this NumberFormat format, long count)
    {
        int length = format.BlockLength();
        if (count % length != 0)
            throw new ArgumentException(
                Say($"{count} numbers are not whole blocks of {format}, which has {length} in a block. Choose a format whose blocks fit " +
                    "the row.",
                    $"{count} 個の数は {format} の {length} 個ずつのブロックに分けられません。ブロックが行に収まる形式を選んでください。"),
                nameof(count));
        return checked(count / length * format.BlockBytes());
    }

    /// <summary>The numbers in <paramref name="bytes"/> as float32.</summary>
    /// <remarks>F32, F16 and BF16 exactly; the quantised formats with the roundings that their files here state, which are those of ggml's
    /// reference (dequantize_row_*), bit for bit.</remarks>
    /// <param name="format">How they are stored.</param>
    /// <param name="bytes">As many stored numbers as <paramref name="numbers"/> has places.</param>
    /// <param name="numbers">Receives them.</param>
    public static void Widen(this NumberFormat format, ReadOnlySpan<byte> bytes, Span<float> numbers)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(bytes.Length, format.Bytes(numbers.Length), nameof(bytes));
        switch (format)
        {
            case NumberFormat.F32:
                MemoryMarshal.Cast<byte, float>(bytes).CopyTo(numbers);
                break;
            case NumberFormat.F16:
                WidenSixteenBits(MemoryMarshal.Cast<byte, ushort>(bytes), numbers, isHalf: true);
                break;
            case NumberFormat.BF16:
                WidenSixteenBits(MemoryMarshal.Cast<byte, ushort>(bytes), numbers, isHalf: false);
                break;
            case NumberFormat.Q8_0: Q8_0.Widen(bytes, numbers); break;
            case NumberFormat.Q4_0: Q4_0.Widen(bytes, numbers); break;
            case NumberFormat.Q4_1: Q4_1.Widen(bytes, numbers); break;
            case NumberFormat.Q5_0: Q5_0.Widen(bytes, numbers); break;
            case NumberFormat.Q5_1: Q5_1.Widen(bytes, numbers); break;
            case NumberFormat.Q2_K: Q2_K.Widen(bytes, numbers); break;
            case NumberFormat.Q3_K: Q3_K.Widen(bytes, numbers); break;
            case NumberFormat.Q4_K: Q4_K.Widen(bytes, numbers); break;
            case NumberFormat.Q5_K: Q5_K.Widen(bytes, numbers); break;
            case NumberFormat.Q6_K: Q6_K.Widen(bytes, numbers); break;
            case NumberFormat.IQ4_NL: IQ4_NL.Widen(bytes, numbers); break;
            case NumberFormat.IQ4_XS: IQ4_XS.Widen(bytes, numbers); break;
        }
    }

    /// <summary>Stores float32 numbers: rounded to the nearest (ties to even) where the format is merely narrower, quantised where it
    /// stores blocks.</summary>
    /// <param name="format">How to store them.</param>
    /// <param name="numbers">The numbers of one row, or of some whole blocks of it.</param>
    /// <param name="bytes">Receives as many.</param>
    /// <param name="importance">How much the squared error of each number counts, for quantised formats: the mean square of the input that
    /// this column meets. Empty where all count the same.</param>
    /// <remarks>
    /// Quantising minimises Σ importance·(x − x̂)² block by block, where x̂ is what <see cref="Widen"/> gives; plain rounding with the
    /// block's extremes as range is always among what is compared. It depends on the block alone and is the same on every machine.
    /// </remarks>
    /// <exception cref="InvalidDataException">A number to be quantised is not finite, or beyond ±65504.</exception>
    /// <exception cref="NotSupportedException">fude only reads the format: Q2_K, Q3_K, IQ4_NL, IQ4_XS.</exception>
    public static void Narrow(
        this NumberFormat format, ReadOnlySpan<float> numbers, Span<byte> bytes, ReadOnlySpan<float> importance = default)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(bytes.Length, format.Bytes(numbers.Length), nameof(bytes));
        if (format.IsQuantized()) Check(format, numbers, importance);
        switch (format)
        {
            case NumberFormat.F32:
                numbers.CopyTo(MemoryMarshal.Cast<byte, float>(bytes));
                break;
            case NumberFormat.F16:
                NarrowToHalf(numbers, MemoryMarshal.Cast<byte, ushort>(bytes));
                break;
            case NumberFormat.BF16:
                NarrowToBFloat16(numbers, MemoryMarshal.Cast<byte, ushort>(bytes));
                break;
            case NumberFormat.Q8_0: Q8_0.Narrow(numbers, bytes, importance); break;
            case NumberFormat.Q4_0: Q4_0.Narrow(numbers, bytes, importance); break;
            case NumberFormat.Q4_1: Q4_1.Narrow(numbers, bytes, importance); break;
            case NumberFormat.Q5_0: Q5_0.Narrow(numbers, bytes, importance); break;
            case NumberFormat.Q5_1: Q5_1.Narrow(numbers, bytes, importance); break;
            case NumberFormat.Q4_K: Q4_K.Narrow(numbers, bytes, importance); break;
            case NumberFormat.Q5_K: Q5_K.Narrow(numbers, bytes, importance); break;
            case NumberFormat.Q6_K: Q6_K.Narrow(numbers, bytes, importance); break;
            default:
                throw new NotSupportedException(Say(
                    $"fude reads {format} but does not make it. It quantises to Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K.",
                    $"fude は {format} を読めますが、作れません。量子化できるのは Q8_0、Q4_0、Q4_1、Q5_0、Q5_1、Q4_K、Q5_K、Q6_K です。"));
        }
    }

    private static void Check(NumberFormat format, ReadOnlySpan<float> numbers, ReadOnlySpan<float> importance)
    {
        if (importance.Length != 0 && importance.Length != numbers.Length)
            throw new ArgumentException($"{importance.Length} importances are given for {numbers.Length} numbers.", nameof(importance));
        for (int i = 0; i < numbers.Length; i++)
            if (!(MathF.Abs(numbers[i]) <= Largest))
                throw new InvalidDataException(Say(
                    $"number {i} of a row is {numbers[i]}, but {format} stores numbers from -{Largest} to {Largest}. The weights are " +
                    "damaged.",
                    $"ある行の要素 {i} が {numbers[i]} ですが、{format} で表せるのは -{Largest} から {Largest} までです。重みが破損しています。"));
        foreach (float weight in importance)
            if (!(weight >= 0 && float.IsFinite(weight)))
                throw new ArgumentException($"An importance is {weight}, but it must be finite and not negative.", nameof(importance));
    }

    // These loops run long in their first calls, as models load: too soon for the compiler's second tier.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenSixteenBits(ReadOnlySpan<ushort> stored, Span<float> numbers, bool isHalf)
    {
        int i = 0;
        for (; i + 16 <= numbers.Length; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Create(stored.Slice(i, 16)));
            (isHalf ? WidenHalf(low) : (low << 16).AsSingle()).CopyTo(numbers[i..]);
            (isHalf ? WidenHalf(high) : (high << 16).AsSingle()).CopyTo(numbers[(i + 8)..]);
        }
        for (; i < numbers.Length; i++)
            numbers[i] = isHalf ? (float)BitConverter.UInt16BitsToHalf(stored[i]) : BitConverter.UInt32BitsToSingle((uint)stored[i] << 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void NarrowToBFloat16(ReadOnlySpan<float> numbers, Span<ushort> stored)
    {
        int i = 0;
        for (; i + 16 <= numbers.Length; i += 16)
        {
            Vector256<uint> low = RoundToBFloat16(Vector256.Create(numbers.Slice(i, 8)));
            Vector256<uint> high = RoundToBFloat16(Vector256.Create(numbers.Slice(i + 8, 8)));
            Vector256.Narrow(low, high).CopyTo(stored[i..]);
        }
        for (; i < numbers.Length; i++)
            stored[i] = (ushort)RoundToBFloat16(Vector256.CreateScalarUnsafe(numbers[i])).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void NarrowToHalf(ReadOnlySpan<float> numbers, Span<ushort> stored)
    {
        int i = 0;
        for (; i + 16 <= numbers.Length; i += 16)
        {
            Vector256<float> low = Vector256.Create(numbers.Slice(i, 8)), high = Vector256.Create(numbers.Slice(i + 8, 8));
            if (!Vector256.EqualsAll(low, low) || !Vector256.EqualsAll(high, high)) break;
            Vector256.Narrow(RoundToHalf(low), RoundToHalf(high)).CopyTo(stored[i..]);
        }
        for (; i < numbers.Length; i++) stored[i] = BitConverter.HalfToUInt16Bits((Half)numbers[i]);
    }

    // A normal half: the exponent's bias is taken away, and adding 0xFFF, or 0x1000 where the kept part is odd, carries into it exactly when
    // the rest is above half. Below the normal range, adding ½ to a number rounds it to multiples of the smallest half, which then
    // stand in the sum's low bits. What is too large becomes infinite.
    private static Vector256<uint> RoundToHalf(Vector256<float> x)
    {
        Vector256<uint> sign = (x.AsUInt32() >>> 16) & Vector256.Create(0x8000u), bits = x.AsUInt32() & Vector256.Create(0x7FFFFFFFu);
        Vector256<uint> odd = (bits >>> 13) & Vector256<uint>.One;
        Vector256<uint> normal = (bits - Vector256.Create(112u << 23) + Vector256.Create(0xFFFu) + odd) >>> 13;
        Vector256<uint> tiny = (bits.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(0x3F000000u);
        Vector256<uint> half = Vector256.ConditionalSelect(Vector256.LessThan(bits, Vector256.Create(113u << 23)), tiny, normal);
        return sign | Vector256.ConditionalSelect(Vector256.GreaterThanOrEqual(bits, Vector256.Create(143u << 23)), Vector256.Create(0x7C00u), half);
    }

    // Exponent and fraction move to their places in a single; multiplying by 2^112 corrects the exponent's bias, and turns numbers
    // below the normal range into normal ones. Infinities and NaNs get the single's own highest exponent instead.
    private static Vector256<float> WidenHalf(Vector256<uint> half)
    {
        Vector256<uint> magnitude = (half & Vector256.Create(0x7FFFu)) << 13, sign = (half & Vector256.Create(0x8000u)) << 16;
        Vector256<uint> number = (magnitude.AsSingle() * 5.192296858534828e33f).AsUInt32();
        Vector256<uint> special = Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(0x7C00u << 13)) & Vector256.Create(0x7F800000u);
        return (sign | number | special).AsSingle();
    }

    // Adding 0x7FFF, or 0x8000 where the kept part is odd, carries into it exactly when the rest is above half. A NaN stays one.
    private static Vector256<uint> RoundToBFloat16(Vector256<float> x)
    {
        Vector256<uint> bits = x.AsUInt32(), odd = (bits >>> 16) & Vector256<uint>.One;
        Vector256<uint> rounded = (bits + Vector256.Create(0x7FFFu) + odd) >>> 16, notANumber = (bits >>> 16) | Vector256.Create(0x40u);
        return Vector256.ConditionalSelect(Vector256.Equals(x, x).AsUInt32(), rounded, notANumber);
    }

    private static ArgumentOutOfRangeException Unknown(NumberFormat format) => new(nameof(format), format, "Not a number format of fude.");
}
