namespace Fude.Tensors;

/// <summary>How much of a tensor is dropped while training, and which random numbers say what.</summary>
/// <param name="Rate">Probability of a number to become 0; the others are divided by 1 − Rate. 0 drops nothing.</param>
/// <param name="Key">Chooses the random numbers: a number's fate depends on Key and its place alone, so that it can be computed again.</param>
/// <remarks>Srivastava et al., 2014, "Dropout". The numbers come from a hash of key and place, not from a sequence.</remarks>
public readonly record struct Dropout(float Rate, ulong Key);

/// <summary>What one step of <see cref="ITrainingOps.AdamW"/> needs to know.</summary>
/// <param name="LearningRate">η of this step.</param>
/// <param name="Beta1">Decay of the mean of gradients.</param>
/// <param name="Beta2">Decay of the mean of squared gradients.</param>
/// <param name="Epsilon">Added to the root of the latter.</param>
/// <param name="WeightDecay">λ: weights shrink by η·λ before the step.</param>
/// <param name="GradientScale">What gradients are multiplied by: the clipping coefficient.</param>
/// <param name="Step">Number of this step, from 1.</param>
public readonly record struct AdamWStep(
    double LearningRate, double Beta1, double Beta2, double Epsilon, double WeightDecay, float GradientScale, long Step);

/// <summary>Which loss <see cref="ITrainingOps.CrossEntropy"/> computes.</summary>
/// <param name="LabelSmoothing">ε: the target's share of the expected distribution is 1 − ε, the rest is spread evenly over all
/// entries (Szegedy et al., 2016, arXiv:1512.00567).</param>
/// <param name="ZLoss">ζ: ζ·ln²Z is added, with Z the sum of the exponentials of the logits (Chowdhery et al., 2022, arXiv:2204.02311).</param>
public readonly record struct LossForm(float LabelSmoothing = 0, float ZLoss = 0);

/// <summary>The loss of one row of logits.</summary>
/// <param name="LogProbability">ln p of the target, nats.</param>
/// <param name="Loss">What is minimised: −LogProbability, unless smoothed or with z-loss; not multiplied by the row's weight.</param>
public readonly record struct RowLoss(double LogProbability, double Loss);

/// <summary>The op set with its backward pass: for each op, from the gradient of its result to those of its arguments.</summary>
/// <remarks>
/// In each backward op dy is the gradient of the result. A gradient that is asked for (not null) is written, or added to what the tensor
/// holds where <c>adds</c> says so; gradients of weights are always added, as a weight has many uses. Sums over tokens run in one
/// fixed order, so results have the same bits whatever the number of threads. <see cref="Tape"/> calls these ops in the right order.
/// </remarks>
public interface ITrainingOps : IOps
{
    /// <summary>A tensor with any contents, which lives as long as one that an op makes.</summary>
    Tensor New(int rows, int columns);

    /// <summary>Sets every number of a tensor to 0.</summary>
    void Clear(Tensor x);

    /// <summary>target = scale·x.</summary>
    void Scale(Tensor target, Tensor x, float scale);

    /// <summary>target = x + scale·y: <see cref="IOps.Add"/> that leaves x as it was.</summary>
    void AddTo(Tensor target, Tensor x, Tensor y, float scale = 1);

    /// <summary>target = silu(gate)·up: <see cref="IOps.SwiGlu"/> that leaves gate as it was.</summary>
    void SwiGluTo(Tensor target, Tensor gate, Tensor up);

    /// <summary>target = gelu(x): <see cref="IOps.Gelu"/> that leaves x as it was.</summary>
    void GeluTo(Tensor target, Tensor x, GeluForm form);

    /// <summary>target = x with some numbers dropped; target may be x. Its backward pass is the same op on the gradient.</summary>
    void DropoutTo(Tensor target, Tensor x, Dropout dropout);

    /// <summary>y = x·Wᵀ + b as <see cref="IOps.MatMul(Tensor, Weight, Weight?)"/>, in the way that is fastest for many rows: other last bits.</summary>
    Tensor Multiply(Tensor x, Weight w, Weight? bias = null);

    /// <summary>The gradients of y = x·Wᵀ + b: dx = dy·W, dW = dyᵀ·x, db = the sum of dy's rows.</summary>
    /// <param name="x">[tokens, in].</param>
    /// <param name="w">[out, in] in any number format.</param>
    /// <param name="dy">[tokens, out].</param>
    /// <param name="dx">[tokens, in], or null.</param>
    /// <param name="adds">Whether dx is added to.</param>
    /// <param name="dw">[out, in], added to; or null.</param>
    /// <param name="db">[1, out], added to; or null.</param>
    void MultiplyBackward(Tensor x, Weight w, Tensor dy, Tensor? dx, bool adds, Tensor? dw, Tensor? db);

    /// <summary>The gradients of <see cref="IOps.Embed"/>: rows of dy are added to those they came from.</summary>
    /// <param name="batch">The tokens.</param>
    /// <param name="dy">[tokens, width].</param>
    /// <param name="tokens">[vocabulary, width], added to; or null.</param>
    /// <param name="positions">[context, width], added to; or null.</param>
    void EmbedBackward(Batch batch, Tensor dy, Tensor? tokens, Tensor? positions);

    /// <summary>The gradients of <see cref="IOps.RmsNorm"/>.</summary>
    /// <param name="x">[tokens, width].</param>
    /// <param name="gain">[width].</param>
    /// <param name="epsilon">As in the forward pass.</param>
    /// <param name="dy">[tokens, width].</param>
    /// <param name="dx">[tokens, width], or null.</param>
    /// <param name="adds">Whether dx is added to.</param>
    /// <param name="dgain">[1, width], added to; or null.</param>
    void RmsNormBackward(Tensor x, Weight gain, float epsilon, Tensor dy, Tensor? dx, bool adds, Tensor? dgain);

    /// <summary>The gradients of <see cref="IOps.LayerNorm"/>.</summary>
    /// <param name="x">[tokens, width].</param>
    /// <param name="gain">[width].</param>
    /// <param name="epsilon">As in the forward pass.</param>
    /// <param name="dy">[tokens, width].</param>
    /// <param name="dx">[tokens, width], or null.</param>
    /// <param name="adds">Whether dx is added to.</param>
    /// <param name="dgain">[1, width], added to; or null.</param>
    /// <param name="dbias">[1, width], added to; or null.</param>
    void LayerNormBackward(Tensor x, Weight gain, float epsilon, Tensor dy, Tensor? dx, bool adds, Tensor? dgain, Tensor? dbias);

    /// <summary>The gradient of <see cref="IOps.Rope"/>, over dy: turned back by the same angles.</summary>
    /// <param name="dy">[tokens, heads · size]; consumed.</param>
    /// <param name="batch">As in the forward pass.</param>
    /// <param name="shape">As in the forward pass.</param>
    /// <returns>dx, in the place of dy.</returns>
    Tensor RopeBackward(Tensor dy, Batch batch, RopeShape shape);

    /// <summary><see cref="IOps.Attention"/> over whole texts without caches, which keeps what the backward pass needs.</summary>
    /// <param name="q">[tokens, query heads · size].</param>
    /// <param name="k">[tokens, key heads · size].</param>
    /// <param name="v">[tokens, key heads · size].</param>
    /// <param name="heads">How columns divide into heads, scale and window.</param>
    /// <param name="batch">The sequences.</param>
    /// <param name="dropout">What is dropped from the weights after the softmax.</param>
    /// <param name="logSums">[tokens, query heads]: the logarithm of each query's sum of exponentials.</param>
    /// <returns>[tokens, query heads · size].</returns>
    Tensor Attend(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, Dropout dropout, out Tensor logSums);

    /// <summary>The gradients of <see cref="Attend"/>, which are written.</summary>
    /// <param name="q">As in the forward pass.</param>
    /// <param name="k">As in the forward pass.</param>
    /// <param name="v">As in the forward pass.</param>
    /// <param name="logSums">What the forward pass kept.</param>
    /// <param name="dy">The gradient of the result.</param>
    /// <param name="heads">As in the forward pass.</param>
    /// <param name="batch">As in the forward pass.</param>
    /// <param name="dropout">As in the forward pass.</param>
    /// <param name="dq">Like q.</param>
    /// <param name="dk">Like k.</param>
    /// <param name="dv">Like v.</param>
    void AttendBackward(
        Tensor q, Tensor k, Tensor v, Tensor logSums, Tensor dy, Heads heads, Batch batch, Dropout dropout,
        Tensor dq, Tensor dk, Tensor dv);

    /// <summary>The gradients of <see cref="IOps.SwiGlu"/>, which are written.</summary>
    /// <param name="gate">[tokens, hidden], as it was before the forward pass.</param>
    /// <param name="up">[tokens, hidden].</param>
    /// <param name="dy">[tokens, hidden].</param>
    /// <param name="dgate">[tokens, hidden].</param>
    /// <param name="dup">[tokens, hidden].</param>
    void SwiGluBackward(Tensor gate, Tensor up, Tensor dy, Tensor dgate, Tensor dup);

    /// <summary>The gradient of <see cref="IOps.Gelu"/>, which is written.</summary>
    /// <param name="x">[tokens, hidden], as it was before the forward pass.</param>
    /// <param name="form">As in the forward pass.</param>
    /// <param name="dy">[tokens, hidden].</param>
    /// <param name="dx">[tokens, hidden]; may be dy.</param>
    void GeluBackward(Tensor x, GeluForm form, Tensor dy, Tensor dx);

    /// <summary>The gradient of <see cref="IOps.TakeRows"/>: rows of dy are added to those they came from.</summary>
    /// <param name="dy">[rows, width].</param>
    /// <param name="rows">As in the forward pass.</param>
    /// <param name="dx">[tokens, width], added to.</param>
    void TakeRowsBackward(Tensor dy, int[] rows, Tensor dx);

    /// <summary>Cross-entropy of each row's softmax with its target.</summary>
    /// <param name="logits">[rows, vocabulary]; overwritten, with the gradient of Σ weight·loss where weights are given.</param>
    /// <param name="targets">The token expected of each row.</param>
    /// <param name="weights">What the loss of each row counts; empty when no gradient is wanted.</param>
    /// <param name="form">Label smoothing and z-loss.</param>
    /// <param name="losses">[rows], receives the loss of each row.</param>
    void CrossEntropy(Tensor logits, ReadOnlySpan<int> targets, ReadOnlySpan<float> weights, LossForm form, Span<RowLoss> losses);

    /// <summary>Σ x², summed in double precision in one fixed order.</summary>
    double SumOfSquares(nint numbers, long count);

    /// <summary>One step of AdamW on neighbouring numbers, all float32.</summary>
    /// <param name="values">The weights, changed.</param>
    /// <param name="gradients">Their gradients.</param>
    /// <param name="means">First moments, running means of the gradients; changed.</param>
    /// <param name="squares">Second moments, running means of the squared gradients; changed.</param>
    /// <param name="count">How many.</param>
    /// <param name="step">The step's numbers.</param>
    /// <remarks>Loshchilov and Hutter, 2019, arXiv:1711.05101, in the order of operations of torch.optim.AdamW.</remarks>
    void AdamW(nint values, nint gradients, nint means, nint squares, long count, in AdamWStep step);
}
