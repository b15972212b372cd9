using System.Runtime.CompilerServices;

namespace Fude.Tensors;

/// <summary>Cross-entropy of the softmax of a row of logits, and its gradient in the row's place.</summary>
/// <remarks>loss = (1 − ε)·(ln Z − xₜ) + ε·(ln Z − mean(x)) + ζ·ln²Z; its gradient is pⱼ·(1 + 2ζ·ln Z) − (1 − ε)·[j = t] − ε/V.</remarks>
internal static unsafe class CrossEntropyKernel
{
    internal struct Job
    {
        public float* Logits;
        public int* Targets;

        /// <summary>Null when no gradient is wanted.</summary>
        public float* Weights;
        public RowLoss* Losses;
        public int Vocabulary;
        public LossForm Form;
    }

    /// <summary>One item is one row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Run<T>(void* argument, int item, int worker)
        where T : unmanaged, ILanes<T>
    {
        ref Job job = ref *(Job*)argument;
        int count = job.Vocabulary, target = job.Targets[item], rest = count % 16, whole = count - rest;
        float* x = job.Logits + (nint)item * count;
        float smoothing = job.Form.LabelSmoothing;

        T largest = T.Broadcast(float.NegativeInfinity), sum = T.Zero, total = T.Zero;
        for (int i = 0; i < whole; i += 16)
        {
            T logits = T.Load(x + i);
            largest = T.SelectLess(largest, logits, logits, largest);
            total += logits;
        }
        float* lanes = stackalloc float[16];
        T.Store(largest, lanes);
        float most = lanes[0];
        for (int i = 1; i < 16; i++) if (lanes[i] > most) most = lanes[i];
        for (int i = whole; i < count; i++) if (x[i] > most) most = x[i];
        if (rest > 0) total += Partial.Load<T>(x + whole, rest);

        double expected = x[target], mean = smoothing > 0 ? (double)T.Sum(total) / count : 0;
        T shift = T.Broadcast(most);
        for (int i = 0; i < whole; i += 16)
        {
            T e = Elementary.Exp(T.Load(x + i) - shift);
            T.Store(e, x + i);
            sum += e;
        }
        if (rest > 0)
        {
            Partial.Store(Elementary.Exp(Partial.Load<T>(x + whole, rest) - shift), x + whole, rest);
            sum += Partial.Load<T>(x + whole, rest);
        }
        // A sum that is not finite, or a NaN among the logits, must not pass for a loss.
        float z = T.Sum(sum);
        double logZ = float.IsFinite(z) ? most + Angles.Log(z) : double.NaN;
        double loss = (1 - smoothing) * (logZ - expected) + (smoothing > 0 ? smoothing * (logZ - mean) : 0) + job.Form.ZLoss * logZ * logZ;
        job.Losses[item] = new RowLoss(expected - logZ, loss);
        if (job.Weights is null) return;

        float weight = job.Weights[item];
        T share = T.Broadcast((float)(weight * (1 + 2 * job.Form.ZLoss * logZ) / z)), spread = T.Broadcast(-weight * smoothing / count);
        for (int i = 0; i < whole; i += 16) T.Store(T.MultiplyAdd(T.Load(x + i), share, spread), x + i);
        if (rest > 0) Partial.Store(T.MultiplyAdd(Partial.Load<T>(x + whole, rest), share, spread), x + whole, rest);
        x[target] -= weight * (1 - smoothing);
    }
}
