using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>Zeroes numbers at random and scales the rest: y = x / (1 − rate), or 0.</summary>
/// <remarks>The random number of a place is a hash of key and place: any thread can compute any part, and the backward pass computes it
/// again. Integer arithmetic has the same bits on every instruction set.</remarks>
internal static unsafe class DropoutKernel
{
    internal struct Job
    {
        public float* X;
        public float* Target;
        public long Count;
        public Dropout Dropout;
    }

    /// <summary>Numbers of one item.</summary>
    internal const int ItemCount = 16384;

    internal static void Run(void* argument, int item, int worker)
    {
        ref Job job = ref *(Job*)argument;
        long from = (long)item * ItemCount;
        Map(job.X + from, job.Target + from, (int)Math.Min(ItemCount, job.Count - from), job.Dropout, (ulong)item, 0);
    }

    /// <summary>Drops from one row in place. A number's place is its row and its column, counted from <paramref name="column"/>.</summary>
    internal static void Row(float* x, int count, Dropout dropout, ulong row, int column) => Map(x, x, count, dropout, row, column);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Map(float* x, float* target, int count, Dropout dropout, ulong row, int column)
    {
        ulong key = Mix(dropout.Key ^ Mix(row + 0x9E3779B97F4A7C15));
        uint first = (uint)key, second = (uint)(key >> 32), threshold = (uint)Math.Min(dropout.Rate * 4294967296.0, uint.MaxValue);
        float scale = 1 / (1 - dropout.Rate);
        Vector256<uint> places = Vector256.Create((uint)column) + Vector256.Create(0u, 1, 2, 3, 4, 5, 6, 7);
        int i = 0;
        for (; i <= count - 8; i += 8, places += Vector256.Create(8u))
        {
            Vector256<uint> keeps = Vector256.GreaterThanOrEqual(Hash(places, first, second), Vector256.Create(threshold));
            ((Vector256.Load(x + i) * scale).AsUInt32() & keeps).AsSingle().Store(target + i);
        }
        if (i == count) return;
        Vector256<uint> rest = Hash(places, first, second);
        for (int j = 0; i < count; i++, j++) target[i] = rest[j] >= threshold ? x[i] * scale : 0;
    }

    // Two rounds of multiply and shift with a key before each: every bit of the place reaches every bit of the hash.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Hash(Vector256<uint> place, uint first, uint second)
    {
        Vector256<uint> h = (place ^ Vector256.Create(first)) * Vector256.Create(0x9E3779B1u);
        h ^= h >>> 16;
        h *= Vector256.Create(0x7FEB352Du);
        h ^= h >>> 15;
        h = (h ^ Vector256.Create(second)) * Vector256.Create(0x846CA68Bu);
        return h ^ (h >>> 16);
    }

    // The finishing step of SplitMix64 (Steele, Lea and Flood, 2014).
    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
