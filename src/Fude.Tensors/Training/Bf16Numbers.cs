using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Float32 numbers as the matrix products of bfloat16 training take them.</summary>
/// <remarks>
/// Rounded to the nearest bfloat16, ties to even; numbers below 2⁻⁵⁶ in magnitude become 0. A product of two others is a multiple of 2⁻¹²⁶, the
/// smallest normal float32, and so is every sum of such products: instructions that take subnormal numbers for 0 and such that do not give the
/// same bits. What is no number stays none.
/// </remarks>
internal static unsafe class Bf16Numbers
{
    private const uint Sign = 0x8000_0000, Infinity = 0x7F80_0000, Upper = 0xFFFF_0000, Quiet = 0x7FC0_0000, Smallest = (127 - 56) << 23;

    /// <summary>One number, its lower half 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Round(float number)
    {
        uint bits = BitConverter.SingleToUInt32Bits(number), size = bits & ~Sign;
        if (size < Smallest) return 0;
        return size > Infinity ? Quiet : bits + 0x7FFF + ((bits >> 16) & 1) & Upper;
    }

    /// <summary>Sixteen numbers, their lower halves 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Round(Vector512<float> numbers)
    {
        Vector512<uint> bits = numbers.AsUInt32(), size = bits & Vector512.Create(~Sign);
        Vector512<uint> rounded = bits + Vector512.Create(0x7FFFu) + ((bits >>> 16) & Vector512<uint>.One) & Vector512.Create(Upper);
        rounded = Vector512.ConditionalSelect(Vector512.GreaterThan(size, Vector512.Create(Infinity)), Vector512.Create(Quiet), rounded);
        return Vector512.AndNot(rounded, Vector512.LessThan(size, Vector512.Create(Smallest)));
    }

    /// <summary>Two numbers as an instruction for pairs takes them: the earlier one in the upper half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Pair(float first, float second) => Round(first) | Round(second) >> 16;

    /// <summary>Sixteen pairs, of a number in the one and its neighbour in the other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Pairs(Vector512<float> first, Vector512<float> second) => Round(first) | Round(second) >>> 16;

    /// <summary>Eight pairs of sixteen numbers that follow each other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Pairs(Vector512<float> numbers)
    {
        Vector512<ulong> rounded = Round(numbers).AsUInt64();
        // The first is in the lower half of each 64 bits, and its own upper half is where it has to be.
        rounded |= rounded >>> 48;
        return System.Runtime.Intrinsics.X86.Avx512F.ConvertToVector256UInt32(rounded);
    }

    /// <summary>Rounds numbers where they lie.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RoundAll(float* numbers, nint count)
    {
        nint i = 0;
        for (; i <= count - 16; i += 16) Vector512.Store(Round(Vector512.Load(numbers + i)), (uint*)numbers + i);
        for (; i < count; i++) ((uint*)numbers)[i] = Round(numbers[i]);
    }
}
