using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A prompt with an answer that is preferred to another.</summary>
/// <param name="Prompt">At least one token.</param>
/// <param name="Chosen">The better answer, at least one token.</param>
/// <param name="Rejected">The worse one.</param>
public sealed record PreferencePair(int[] Prompt, int[] Chosen, int[] Rejected)
{
    internal SupervisedBatch ToBatch()
    {
        if (Prompt.Length == 0 || Chosen.Length == 0 || Rejected.Length == 0)
            throw new InvalidOperationException(Say("A prompt or an answer of a preference has no tokens.", "選好データのプロンプトか応答にトークンがありません。"));
        return SupervisedBatch.Of(Text(Chosen), Text(Rejected));
    }

    private LabelledText Text(int[] answer)
    {
        int[] masked = new int[Prompt.Length];
        Array.Fill(masked, LabelledText.Ignored);
        return new LabelledText([.. Prompt, .. answer], [.. masked, .. answer]);
    }
}

/// <summary>Log-probabilities of a pair's answers given the prompt, summed over their tokens, nats.</summary>
/// <param name="Chosen">Of the better one.</param>
/// <param name="Rejected">Of the worse one.</param>
public readonly record struct AnswerScores(double Chosen, double Rejected)
{
    internal static AnswerScores Of(RowLoss[] rows, PreferencePair pair)
    {
        double chosen = 0, rejected = 0;
        for (int i = 0; i < rows.Length; i++)
            if (i < pair.Chosen.Length) chosen += rows[i].LogProbability;
            else rejected += rows[i].LogProbability;
        return new AnswerScores(chosen, rejected);
    }
}

/// <summary>The form of a preference loss.</summary>
public enum PreferenceForm
{
    /// <summary>−ln σ(β·h): Rafailov et al., 2023, arXiv:2305.18290.</summary>
    Sigmoid,

    /// <summary>(h − 1/(2β))²: Azar et al., 2023, arXiv:2310.12036.</summary>
    Ipo,

    /// <summary>max(0, 1 − β·h): Zhao et al., 2023, arXiv:2305.10425.</summary>
    Hinge,
}

/// <summary>What a preference costs, and which way it pulls.</summary>
/// <param name="Loss">Nats.</param>
/// <param name="Margin">h: by how much more than the reference the policy prefers the better answer.</param>
/// <param name="RewardOfChosen">β·(policy − reference).</param>
/// <param name="RewardOfRejected">β·(policy − reference).</param>
/// <param name="SlopeOfChosen">The derivative of the loss by the better answer's log-probability.</param>
/// <param name="SlopeOfRejected">And by the worse one's.</param>
public readonly record struct PreferenceResult(
    double Loss, double Margin, double RewardOfChosen, double RewardOfRejected, double SlopeOfChosen, double SlopeOfRejected);

/// <summary>Direct preference optimisation.</summary>
/// <param name="Form">Which loss.</param>
/// <param name="Beta">How dear it is to leave the reference.</param>
/// <param name="LabelSmoothing">ε: the share of pairs that are believed to be labelled the wrong way round; with <see cref="PreferenceForm.Sigmoid"/>.</param>
/// <param name="PerToken">Whether log-probabilities are divided by the tokens of the answer, as trl does for <see cref="PreferenceForm.Ipo"/> since 0.8.</param>
public sealed record PreferenceLoss(PreferenceForm Form = PreferenceForm.Sigmoid, double Beta = 0.1, double LabelSmoothing = 0, bool PerToken = false)
{
    /// <summary>The loss of a pair.</summary>
    /// <param name="policy">What the model in training thinks.</param>
    /// <param name="reference">What the reference thinks.</param>
    /// <param name="pair">The pair.</param>
    public PreferenceResult Of(AnswerScores policy, AnswerScores reference, PreferencePair pair)
    {
        ArgumentNullException.ThrowIfNull(pair);
        double chosenUnit = PerToken ? 1.0 / pair.Chosen.Length : 1, rejectedUnit = PerToken ? 1.0 / pair.Rejected.Length : 1;
        double chosen = (policy.Chosen - reference.Chosen) * chosenUnit, rejected = (policy.Rejected - reference.Rejected) * rejectedUnit;
        double h = chosen - rejected, x = Beta * h;
        (double loss, double slope) = Form switch
        {
            PreferenceForm.Sigmoid => (
                (1 - LabelSmoothing) * Softplus(-x) + LabelSmoothing * Softplus(x),
                Beta * (LabelSmoothing * Sigmoid(x) - (1 - LabelSmoothing) * Sigmoid(-x))),
            PreferenceForm.Ipo => ((h - 1 / (2 * Beta)) * (h - 1 / (2 * Beta)), 2 * (h - 1 / (2 * Beta))),
            _ => (Math.Max(0, 1 - x), x < 1 ? -Beta : 0),
        };
        return new PreferenceResult(loss, h, Beta * chosen, Beta * rejected, slope * chosenUnit, -slope * rejectedUnit);
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    // ln(1 + eˣ) = −ln σ(−x)
    private static double Softplus(double x) => Math.Max(x, 0) + double.LogP1(Math.Exp(-Math.Abs(x)));
}
