using Fude.Tensors;

namespace Fude.Generation;

/// <summary>Draws tokens by their probabilities, for all texts of one call.</summary>
internal abstract class TokenDraw
{
    /// <summary>The draw that the settings ask for.</summary>
    /// <param name="settings">Say which, and the seed.</param>
    /// <param name="rows">Texts of the call.</param>
    /// <param name="rowLength">Numbers of a row of probabilities, counted or not.</param>
    public static TokenDraw Create(GenerationSettings settings, int rows, int rowLength) => settings.TorchSeed is long seed
        ? new TorchDraw(new TorchRandom(seed, settings.TorchRandom), rowLength)
        : new SeededDraw(settings.Seed, rows);

    /// <summary>Called once a step, before row 0.</summary>
    public abstract void BeginStep();

    /// <summary>Draws one of the candidates of a row; rows come in order.</summary>
    /// <param name="row">Which text.</param>
    /// <param name="ids">Ascending places in the row of probabilities.</param>
    /// <param name="p">Their probabilities, which need not sum to 1; written over.</param>
    /// <returns>A place in <paramref name="ids"/>.</returns>
    public abstract int Draw(int row, ReadOnlySpan<int> ids, Span<float> p);

    /// <summary>Draws several different candidates of a row.</summary>
    /// <param name="row">Which text.</param>
    /// <param name="ids">Ascending places in the row of probabilities.</param>
    /// <param name="p">Their probabilities; written over.</param>
    /// <param name="drawn">Filled with places in <paramref name="ids"/>.</param>
    public abstract void DrawSeveral(int row, ReadOnlySpan<int> ids, Span<float> p, Span<int> drawn);

    /// <summary>Passes over a row whose text has ended.</summary>
    public abstract void Skip(int row);

    /// <summary>torch.multinomial: one generator for all rows, every number of every row uses it up.</summary>
    private sealed class TorchDraw(TorchRandom random, int rowLength) : TokenDraw
    {
        private TorchRandom.Multinomial _call;

        public override void BeginStep() => _call = random.BeginMultinomial(rowLength);

        public override int Draw(int row, ReadOnlySpan<int> ids, Span<float> p) => _call.Race(ids, p);

        public override void DrawSeveral(int row, ReadOnlySpan<int> ids, Span<float> p, Span<int> drawn)
        {
            _call.Race(ids, p);      // the winners of the race, the fastest first
            for (int i = 0; i < drawn.Length; i++)
            {
                drawn[i] = Math.Max(VectorMath.ArgMax(p), 0);
                p[drawn[i]] = float.NegativeInfinity;
            }
        }

        public override void Skip(int row) => _call.Skip();
    }

    /// <summary>
    /// fude's own: text number r of a call has its own stream, so its tokens do not depend on the others. A draw takes one number u in
    /// [0, 1) and goes along the candidates in order of id until the sum of probabilities passes u times their total.
    /// </summary>
    /// <remarks>Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64).</remarks>
    private sealed class SeededDraw : TokenDraw
    {
        private const ulong Gamma = 0x9E3779B97F4A7C15;
        private readonly ulong[] _states;

        public SeededDraw(long seed, int rows)
        {
            _states = new ulong[rows];
            for (int row = 0; row < rows; row++) _states[row] = Mix(Mix((ulong)seed) + (ulong)row * Gamma);
        }

        public override void BeginStep()
        {
        }

        public override int Draw(int row, ReadOnlySpan<int> ids, Span<float> p)
        {
            double total = 0;
            foreach (float x in p) total += x;
            double target = NextDouble(row) * total, sum = 0;
            int last = 0;
            for (int i = 0; i < p.Length; i++)
            {
                if (p[i] <= 0) continue;
                last = i;
                sum += p[i];
                if (sum > target) break;
            }
            return last;
        }

        public override void DrawSeveral(int row, ReadOnlySpan<int> ids, Span<float> p, Span<int> drawn)
        {
            for (int i = 0; i < drawn.Length; i++)
            {
                int place = Draw(row, ids, p);
                if (p[place] <= 0) place = FirstUndrawn(drawn[..i]);      // all probability is used up
                drawn[i] = place;
                p[place] = 0;
            }
        }

        public override void Skip(int row)
        {
        }

        private static int FirstUndrawn(ReadOnlySpan<int> drawn)
        {
            int place = 0;
            while (drawn.Contains(place)) place++;
            return place;
        }

        private double NextDouble(int row) => (Mix(_states[row] += Gamma) >> 11) * (1.0 / (1UL << 53));

        private static ulong Mix(ulong z)
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
