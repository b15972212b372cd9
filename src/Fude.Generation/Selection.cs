using System.Numerics;

namespace Fude.Generation;

/// <summary>Finds where a sorted row would be cut, without sorting it.</summary>
internal sealed class Selection(int capacity)
{
    private const int FirstShift = 21, SecondShift = 10, Buckets = 1 << 11;

    private readonly float[] _numbers = new float[capacity];
    private readonly int[] _indices = new int[capacity];
    private readonly double[] _histogram = new double[Buckets];

    /// <summary>The k-th largest number; −∞ when there are fewer than k.</summary>
    /// <remarks>One pass keeps the numbers above the k-th largest so far; most vectors hold none of them and are passed over
    /// whole.</remarks>
    public float KthLargest(ReadOnlySpan<float> x, int k)
    {
        if (k > x.Length) return float.NegativeInfinity;
        int limit = Math.Min(_numbers.Length, Math.Max(4 * k, 256));
        float threshold = float.NegativeInfinity;
        int count = 0, i = 0;
        for (; i + Vector<float>.Count <= x.Length; i += Vector<float>.Count)
        {
            if (!Vector.GreaterThanAny(new Vector<float>(x[i..]), new Vector<float>(threshold))) continue;
            if (count + Vector<float>.Count > limit) (threshold, count) = (Partition(_numbers.AsSpan(0, count), k), k);
            for (int j = i; j < i + Vector<float>.Count; j++)
                if (x[j] > threshold) _numbers[count++] = x[j];
        }
        for (; i < x.Length; i++)
        {
            if (!(x[i] > threshold)) continue;
            if (count == limit) (threshold, count) = (Partition(_numbers.AsSpan(0, count), k), k);
            _numbers[count++] = x[i];
        }
        return count < k ? float.NegativeInfinity : Partition(_numbers.AsSpan(0, count), k);
    }

    /// <summary>Where the running sum of weights, taken in ascending order of the keys, first rises above a threshold.</summary>
    /// <param name="keys">No NaN.</param>
    /// <param name="weights">Not negative.</param>
    /// <param name="threshold">Compared with the sum rounded to float32.</param>
    /// <returns>The key at which it does, and how many of the keys equal to it, in order of index, come before; (+∞, 0) when it never
    /// does.</returns>
    /// <remarks>A radix selection over the bits of the keys, 11 at a time: linear, whatever the keys.</remarks>
    public (float Key, int EqualBefore) Crossing(ReadOnlySpan<float> keys, ReadOnlySpan<float> weights, float threshold)
    {
        double below = 0;
        _histogram.AsSpan().Clear();
        for (int i = 0; i < keys.Length; i++) _histogram[Order(keys[i]) >> FirstShift] += weights[i];
        if (Bucket(ref below, threshold) is not int first) return (float.PositiveInfinity, 0);
        int count = 0;
        for (int i = 0; i < keys.Length; i++)
            if (Order(keys[i]) >> FirstShift == first) _indices[count++] = i;

        for (int shift = SecondShift; ; shift = 0)
        {
            Span<int> indices = _indices.AsSpan(0, count);
            _histogram.AsSpan().Clear();
            foreach (int i in indices) _histogram[(Order(keys[i]) >> shift) & (Buckets - 1)] += weights[i];
            // Summed in other groups, the last bucket may miss the threshold by a rounding: then the crossing is at its end.
            int bucket = Bucket(ref below, threshold) ?? LastBucket(keys, indices, shift);
            count = 0;
            foreach (int i in indices)
                if (((Order(keys[i]) >> shift) & (Buckets - 1)) == bucket) _indices[count++] = i;
            if (shift == 0) break;
        }

        int before = 0;
        while (before < count - 1 && (float)(below += weights[_indices[before]]) <= threshold) before++;
        return (keys[_indices[0]], before);
    }

    /// <summary>The bucket in which the sum rises above the threshold; <paramref name="below"/> becomes the sum before it.</summary>
    private int? Bucket(ref double below, float threshold)
    {
        double sum = below;
        for (int bucket = 0; bucket < Buckets; bucket++)
        {
            double next = sum + _histogram[bucket];
            if ((float)next > threshold)
            {
                below = sum;
                return bucket;
            }
            sum = next;
        }
        return null;
    }

    private static int LastBucket(ReadOnlySpan<float> keys, ReadOnlySpan<int> indices, int shift)
    {
        int last = 0;
        foreach (int i in indices) last = Math.Max(last, (int)(Order(keys[i]) >> shift) & (Buckets - 1));
        return last;
    }

    /// <summary>Unsigned integers in the order of the floats; −0 is 0.</summary>
    private static uint Order(float x)
    {
        int bits = BitConverter.SingleToInt32Bits(x + 0f);
        return (uint)bits ^ ((uint)(bits >> 31) | 0x80000000);
    }

    /// <summary>Brings the k largest numbers to the front and returns the smallest of them.</summary>
    private static float Partition(Span<float> x, int k)
    {
        int low = 0, high = x.Length - 1;
        for (int rounds = 2 * BitOperations.Log2((uint)x.Length) + 8; low < high; rounds--)
        {
            if (rounds == 0)      // unlucky pivots: sorting bounds the time
            {
                x[low..(high + 1)].Sort(static (a, b) => b.CompareTo(a));
                break;
            }
            float pivot = Median(x[low], x[low + (high - low) / 2], x[high]);
            int i = low, j = high;
            while (i <= j)
            {
                while (x[i] > pivot) i++;
                while (x[j] < pivot) j--;
                if (i <= j) (x[i], x[j]) = (x[j--], x[i++]);
            }
            if (k - 1 <= j) high = j;
            else if (k - 1 >= i) low = i;
            else break;
        }
        return x[k - 1];
    }

    private static float Median(float a, float b, float c) => MathF.Max(MathF.Min(a, b), MathF.Min(MathF.Max(a, b), c));
}
