using Fude.Tensors;

namespace Fude.Training;

/// <summary>Losses of batches and their gradients, which add up until they are cleared.</summary>
/// <param name="model">What is trained.</param>
/// <param name="device">Computes.</param>
public sealed class Learner(TrainableModel model, ITrainingOps device)
{
    private int _mostTokens;

    /// <summary>The tape it records on: recomputation, dropout rates and their seed are set there.</summary>
    public Tape Tape { get; } = WithAdapterInputs(new Tape(device, model.Gradients), model);

    /// <summary>Label smoothing and z-loss.</summary>
    public LossForm Form { get; set; }

    /// <summary>Adds a batch's gradients.</summary>
    /// <param name="batch">At least one token is expected in it.</param>
    /// <param name="weight">What each token's loss counts: 1 / the tokens expected in the whole global batch for their mean, however the
    /// batch is divided; 1 / (micro-batches · tokens expected in this one) for the mean of the micro-batches' means.</param>
    /// <returns>Σ weight·loss, nats; 0 for a batch of which nothing is expected.</returns>
    public double Add(SupervisedBatch batch, double weight)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (batch.Targets.Length == 0) return 0;        // all its labels are masked
        Reserve(batch);
        Tape.IsRecording = true;
        Tensor logits = model.Model.Run(Tape, batch.Batch);
        float[] weights = new float[batch.Targets.Length];
        Array.Fill(weights, (float)weight);
        double loss = Tape.CrossEntropy(logits, batch.Targets, weights, Form);
        // A loss that is no number has no gradient worth computing; the caller is told by it.
        if (double.IsFinite(loss)) Tape.Backward();
        return loss;
    }

    /// <summary>Adds a preference's gradient.</summary>
    /// <param name="pair">A prompt with a better and a worse answer.</param>
    /// <param name="reference">What the reference model thinks of the two.</param>
    /// <param name="loss">Which loss.</param>
    /// <param name="weight">What it counts: 1 / the pairs of the global batch.</param>
    public PreferenceResult Add(PreferencePair pair, AnswerScores reference, PreferenceLoss loss, double weight)
    {
        ArgumentNullException.ThrowIfNull(pair);
        ArgumentNullException.ThrowIfNull(loss);
        SupervisedBatch batch = pair.ToBatch();
        Reserve(batch);
        Tape.IsRecording = true;
        Tensor logits = model.Model.Run(Tape, batch.Batch);
        AnswerScores policy = AnswerScores.Of(Tape.Score(logits, batch.Targets), pair);
        PreferenceResult result = loss.Of(policy, reference, pair);
        if (!double.IsFinite(result.Loss)) return result;
        float[] weights = new float[batch.Targets.Length];
        // ∂loss/∂(−ln p) of each token; ln p of the worse answer enters with the other sign.
        Array.Fill(weights, (float)(-weight * result.SlopeOfChosen), 0, pair.Chosen.Length);
        Array.Fill(weights, (float)(-weight * result.SlopeOfRejected), pair.Chosen.Length, pair.Rejected.Length);
        _ = Tape.CrossEntropy(logits, batch.Targets, weights);
        Tape.Backward();
        return result;
    }

    /// <summary>What the model thinks of a pair's answers: with the adapter switched off, or before training, the reference.</summary>
    public AnswerScores Score(PreferencePair pair)
    {
        ArgumentNullException.ThrowIfNull(pair);
        SupervisedBatch batch = pair.ToBatch();
        return AnswerScores.Of(Score(batch), pair);
    }

    /// <summary>Log-probabilities of what is expected, without gradients and dropout.</summary>
    public RowLoss[] Score(SupervisedBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Tape.IsRecording = false;
        try
        {
            return Tape.Score(model.Model.Run(Tape, batch.Batch), batch.Targets);
        }
        finally
        {
            Tape.IsRecording = true;
        }
    }

    /// <summary>Has the device take what the largest batch so far needs, which a pass in which nothing is computed tells.</summary>
    private void Reserve(SupervisedBatch batch)
    {
        if (device is not CpuOps processor || batch.Batch.Tokens.Length <= _mostTokens) return;
        _mostTokens = batch.Batch.Tokens.Length;
        using PassMeter meter = new(processor.Threads);
        using Tape tape = WithAdapterInputs(new Tape(meter, model.Gradients) { Recomputes = Tape.Recomputes, Rates = Tape.Rates }, model);
        _ = tape.CrossEntropy(model.Model.Run(tape, batch.Batch), batch.Targets, new float[batch.Targets.Length]);
        tape.Backward();
        processor.Reserve(meter.PeakBytes);
    }

    private static Tape WithAdapterInputs(Tape tape, TrainableModel model)
    {
        if (model.IsAdapter)
            tape.DropInputsOf(model.Parameters.Where(parameter => parameter.Name.Contains(".lora_A.", StringComparison.Ordinal)).Select(p => p.Weight));
        return tape;
    }
}
