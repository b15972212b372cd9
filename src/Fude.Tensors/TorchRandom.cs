using System.Runtime.CompilerServices;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>How torch makes exponentially distributed numbers, and with them the draws of torch.multinomial.</summary>
public enum TorchRandomPath
{
    /// <summary>One 53-bit uniform a number: torch up to 2.0 everywhere, later versions where they were built without MKL.</summary>
    Default,

    /// <summary>Intel MKL's MCG31m1, seeded anew at every call: official x86-64 wheels from about torch 2.1 on.</summary>
    Mkl,
}

/// <summary>The random numbers of torch's CPU generator, bit for bit: what follows <c>torch.manual_seed(seed)</c>.</summary>
/// <param name="seed">Only its low 32 bits count, as in torch.</param>
/// <param name="path">Which algorithm makes exponential numbers.</param>
/// <remarks>
/// Matsumoto and Nishimura, "Mersenne Twister", 1998 (MT19937). L'Ecuyer, "Tables of linear congruential generators", 1999 (MCG31m1:
/// x ← 1132489760·x mod 2³¹−1). Not thread-safe.
/// </remarks>
public sealed class TorchRandom(long seed, TorchRandomPath path = TorchRandomPath.Default)
{
    private const int Words = 624, Shift = 397;
    private const uint McgModulus = int.MaxValue, McgMultiplier = 1132489760;

    private readonly uint[] _state = Seed((uint)seed);
    private int _next = Words;
    private double? _cachedNormal;

    /// <summary>Which algorithm makes exponential numbers.</summary>
    public TorchRandomPath Path => path;

    /// <summary>The next 32-bit output of the engine.</summary>
    public uint NextUInt32()
    {
        if (_next == Words) Twist();
        uint y = _state[_next++];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C5680;
        y ^= (y << 15) & 0xEFC60000;
        return y ^ (y >> 18);
    }

    /// <summary>Two outputs, the first as the high word.</summary>
    public ulong NextUInt64()
    {
        ulong high = NextUInt32();
        return (high << 32) | NextUInt32();
    }

    /// <summary>torch.rand in float32: the low 24 bits of one output, in [0, 1).</summary>
    public float NextSingle() => (NextUInt32() & 0xFFFFFF) * (1f / (1 << 24));

    /// <summary>torch.rand in float64: the low 53 bits of two outputs, in [0, 1).</summary>
    public double NextDouble() => (NextUInt64() & ((1UL << 53) - 1)) * (1.0 / (1UL << 53));

    /// <summary>torch.randint: <paramref name="low"/> + output mod the range, which is below 2³².</summary>
    public long NextInteger(long low, long high)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(high, low);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)(high - low), 1UL << 32);
        return low + NextUInt32() % (high - low);
    }

    /// <summary>tensor.exponential_(1) in float32.</summary>
    public void FillExponential(Span<float> numbers)
    {
        if (path == TorchRandomPath.Mkl)
        {
            McgStream stream = NextMcgStream();
            foreach (ref float number in numbers) number = stream.NextExponential();
        }
        else
        {
            foreach (ref float number in numbers) number = NextExponential();
        }
    }

    /// <summary>torch.randn in float32; equal to about 1e-6, because torch takes vectorised logarithms and cosines.</summary>
    public void FillNormal(Span<float> numbers)
    {
        if (numbers.Length < 16)
        {
            foreach (ref float number in numbers) number = (float)NextNormal();
            return;
        }
        foreach (ref float number in numbers) number = NextSingle();
        int whole = numbers.Length / 16 * 16;
        for (int i = 0; i < whole; i += 16) BoxMuller(numbers.Slice(i, 16));
        if (whole == numbers.Length) return;
        Span<float> last = numbers[^16..];      // torch makes the last sixteen again, from fresh uniforms
        foreach (ref float number in last) number = NextSingle();
        BoxMuller(last);
    }

    /// <summary>tensor.bernoulli_(p): 1 with probability <paramref name="p"/>, else 0.</summary>
    /// <exception cref="NotSupportedException">On the MKL path, whose Bernoulli numbers nobody has published.</exception>
    public void FillBernoulli(Span<float> numbers, double p)
    {
        if (path == TorchRandomPath.Mkl)
            throw new NotSupportedException(Say(
                "torch's Bernoulli numbers are known for TorchRandomPath.Default only, not for Mkl.",
                "torch のベルヌーイ乱数を再現できるのは TorchRandomPath.Default だけで、Mkl には対応していません。"));
        foreach (ref float number in numbers) number = NextDouble() < p ? 1 : 0;
    }

    /// <summary>torch.randperm(n).</summary>
    public int[] Permutation(int n)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(n);
        int[] order = new int[n];
        for (int i = 0; i < n; i++) order[i] = i;
        for (int i = 0; i < n - 1; i++)
        {
            int j = i + (int)(NextUInt32() % (uint)(n - i));
            (order[i], order[j]) = (order[j], order[i]);
        }
        return order;
    }

    /// <summary>
    /// The races of one torch.multinomial call: number i of a row of <paramref name="rowLength"/> wins by the largest pᵢ/qᵢ with qᵢ
    /// exponential. Call it once a step, then <see cref="Multinomial.Race"/> or <see cref="Multinomial.Skip"/> for row 0, 1, 2 …
    /// </summary>
    public Multinomial BeginMultinomial(int rowLength) => new(this, rowLength);

    /// <summary>One call of torch.multinomial without replacement over a matrix of probabilities, row by row.</summary>
    /// <remarks>Every number of a row uses up randomness, also those with p = 0 or of texts that have ended.</remarks>
    public struct Multinomial
    {
        private readonly TorchRandom _random;
        private readonly int _rowLength;
        private McgStream _mcg;

        internal Multinomial(TorchRandom random, int rowLength)
        {
            _random = random;
            _rowLength = rowLength;
            if (random.Path == TorchRandomPath.Mkl) _mcg = random.NextMcgStream();
        }

        /// <summary>Passes over a row whose draw is not wanted.</summary>
        public void Skip() => Advance(_rowLength);

        /// <summary>pᵢ/qᵢ of some numbers of a row, whose other probabilities are 0.</summary>
        /// <param name="indices">Ascending indices in the row.</param>
        /// <param name="probabilities">p of each; replaced by p/q.</param>
        /// <returns>The place of the winner in the two spans: the largest, the first of equals.</returns>
        public int Race(scoped ReadOnlySpan<int> indices, scoped Span<float> probabilities)
        {
            int winner = 0, done = 0;
            float best = -1;
            for (int i = 0; i < indices.Length; i++)
            {
                Advance(indices[i] - done);
                float q = _random.Path == TorchRandomPath.Mkl ? _mcg.NextExponential() : _random.NextExponential();
                done = indices[i] + 1;
                float race = probabilities[i] /= q;
                if (race > best) (best, winner) = (race, i);
            }
            Advance(_rowLength - done);
            return winner;
        }

        private void Advance(int count)
        {
            if (_random.Path == TorchRandomPath.Mkl) _mcg.Skip(count);
            else _random.Discard(2L * count);
        }
    }

    // The logarithm is taken in float64 also for float32 tensors.
    private float NextExponential() => (float)-Math.Log(1 - NextDouble());

    private double NextNormal()
    {
        if (_cachedNormal is double cached)
        {
            _cachedNormal = null;
            return cached;
        }
        double u1 = NextDouble(), u2 = NextDouble();
        double radius = Math.Sqrt(-2 * Math.Log(1 - u2)), angle = 2 * Math.PI * u1;
        _cachedNormal = radius * Math.Sin(angle);
        return radius * Math.Cos(angle);
    }

    private static void BoxMuller(Span<float> block)
    {
        for (int j = 0; j < 8; j++)
        {
            float radius = MathF.Sqrt(-2 * MathF.Log(1 - block[j]));
            float angle = 2 * MathF.PI * block[j + 8];
            block[j] = radius * MathF.Cos(angle);
            block[j + 8] = radius * MathF.Sin(angle);
        }
    }

    /// <summary>Passes over outputs: whole blocks of 624 cost no tempering.</summary>
    private void Discard(long outputs)
    {
        while (outputs > Words - _next)
        {
            outputs -= Words - _next;
            Twist();
        }
        _next += (int)outputs;
    }

    private static uint[] Seed(uint seed)
    {
        uint[] state = new uint[Words];
        state[0] = seed;
        for (uint j = 1; j < Words; j++) state[j] = 1812433253 * (state[j - 1] ^ (state[j - 1] >> 30)) + j;
        return state;
    }

    private void Twist()
    {
        uint[] s = _state;
        int i = 0;
        for (; i < Words - Shift; i++) s[i] = s[i + Shift] ^ Mix(s[i], s[i + 1]);
        for (; i < Words - 1; i++) s[i] = s[i + Shift - Words] ^ Mix(s[i], s[i + 1]);
        s[i] = s[Shift - 1] ^ Mix(s[i], s[0]);
        _next = 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Mix(uint high, uint low)
    {
        uint y = (high & 0x80000000) | (low & 0x7FFFFFFF);
        return (y >> 1) ^ ((0u - (low & 1)) & 0x9908B0DF);
    }

    private McgStream NextMcgStream()
    {
        uint x = NextUInt32() % McgModulus;
        return new McgStream(x == 0 ? 1 : x);
    }

    /// <summary>MCG31m1; its first number is the seed itself.</summary>
    private struct McgStream(uint state)
    {
        private uint _x = state;

        // MKL adds the smallest normal float against 0; -ln(u) of a u below 1 is far above it, so only u rounding to 1 would show.
        public float NextExponential()
        {
            float q = (float)-Math.Log(_x / (double)McgModulus);
            _x = Times(_x, McgMultiplier);
            return q + 1.17549435e-38f;
        }

        /// <summary>x·a^count by repeated squaring.</summary>
        public void Skip(int count)
        {
            uint power = McgMultiplier;
            for (; count > 0; count >>= 1)
            {
                if ((count & 1) != 0) _x = Times(_x, power);
                power = Times(power, power);
            }
        }

        private static uint Times(uint x, uint y) => (uint)((ulong)x * y % McgModulus);
    }
}
