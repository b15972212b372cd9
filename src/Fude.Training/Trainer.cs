using Fude.Tensors;

namespace Fude.Training;

/// <summary>The numbers of a run.</summary>
public sealed record TrainerOptions
{
    /// <summary>The learning rate of each step; its steps are those of the run.</summary>
    public required Schedule Schedule { get; init; }

    /// <summary>Rows of a micro-batch: what is in memory at a time.</summary>
    public int RowsPerBatch { get; init; } = 4;

    /// <summary>Micro-batches of a step.</summary>
    public int BatchesPerStep { get; init; } = 1;

    /// <summary>The largest norm that gradients keep.</summary>
    public double ClipNorm { get; init; } = 1;

    /// <summary>Label smoothing and z-loss.</summary>
    public LossForm Loss { get; init; }

    /// <summary>What is dropped.</summary>
    public DropoutRates Dropout { get; init; } = new();

    /// <summary>Whether blocks are computed again on the way back, for less memory.</summary>
    public bool Recomputes { get; init; }

    /// <summary>Chooses what is dropped.</summary>
    public ulong Seed { get; init; }

    /// <summary>Steps between checkpoints; the last step has one in any case.</summary>
    public long CheckpointEvery { get; init; } = 100;

    /// <summary>Checkpoints that stay.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    /// <summary>Steps between evaluations on the held-out text; 0 for none.</summary>
    public long EvaluateEvery { get; init; }

    /// <summary>Evaluations without a better result after which the run ends; 0 for never.</summary>
    public int Patience { get; init; }
}

/// <summary>What a step did.</summary>
/// <param name="Step">Its number, from 1.</param>
/// <param name="Loss">Mean over the tokens of the step before its update, nats.</param>
/// <param name="GradientNorm">Before clipping.</param>
/// <param name="LearningRate">η.</param>
/// <param name="Tokens">Tokens learnt from so far.</param>
/// <param name="Seconds">What the step took, without checkpoint and evaluation.</param>
/// <param name="HeldOutLoss">Mean loss on the held-out text after the step, nats a token; null unless it was evaluated.</param>
public readonly record struct StepReport(
    long Step, double Loss, double GradientNorm, double LearningRate, long Tokens, double Seconds, double? HeldOutLoss);

/// <summary>A loss or a gradient was no finite number. The last checkpoint is untouched.</summary>
public sealed class DivergenceException : Exception
{
    /// <summary>With a message.</summary>
    public DivergenceException(string message)
        : base(message)
    {
    }

    /// <summary>Without a message.</summary>
    public DivergenceException()
    {
    }

    /// <summary>With a cause.</summary>
    public DivergenceException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>Trains a model step after step, with checkpoints from which the run goes on as if nothing had happened.</summary>
/// <param name="model">What is trained.</param>
/// <param name="device">Computes.</param>
/// <param name="optimizer">Of the same model.</param>
/// <param name="lessons">What it learns from.</param>
/// <param name="checkpoints">Where checkpoints go.</param>
/// <param name="options">The numbers of the run.</param>
/// <param name="heldOut">Batches that are never learnt from, for evaluation.</param>
/// <param name="time">The clock that steps are timed with.</param>
public sealed class Trainer(
    TrainableModel model, ITrainingOps device, AdamW optimizer, ILessons lessons, Checkpoints checkpoints, TrainerOptions options,
    IReadOnlyList<SupervisedBatch>? heldOut = null, TimeProvider? time = null)
{
    /// <summary>Trains on packed documents: <see cref="TrainerOptions.RowsPerBatch"/> rows in each of
    /// <see cref="TrainerOptions.BatchesPerStep"/> micro-batches.</summary>
    /// <param name="model">What is trained.</param>
    /// <param name="device">Computes.</param>
    /// <param name="optimizer">Of the same model.</param>
    /// <param name="data">What is read.</param>
    /// <param name="checkpoints">Where checkpoints go.</param>
    /// <param name="options">The numbers of the run.</param>
    /// <param name="heldOut">Batches that are never learnt from, for evaluation.</param>
    /// <param name="time">The clock that steps are timed with.</param>
    public Trainer(
        TrainableModel model, ITrainingOps device, AdamW optimizer, PackedDocuments data, Checkpoints checkpoints, TrainerOptions options,
        IReadOnlyList<SupervisedBatch>? heldOut = null, TimeProvider? time = null)
        : this(model, device, optimizer, new DocumentLessons(data, options.RowsPerBatch, options.BatchesPerStep), checkpoints, options, heldOut, time)
    {
    }

    private readonly Learner _learner = new(model, device) { Form = options.Loss };
    private readonly TimeProvider _time = time ?? TimeProvider.System;

    /// <summary>How far the run is.</summary>
    public RunState State { get; private set; } = new(0, 0, lessons.Cursor);

    /// <summary>Takes up the last checkpoint, if there is one.</summary>
    /// <returns>Whether there was one.</returns>
    /// <exception cref="InvalidDataException">It is damaged, of another model, or of other data.</exception>
    public bool Resume()
    {
        if (checkpoints.Restore(model, optimizer) is not { } state) return false;
        if (state.Cursor.Seed != lessons.Cursor.Seed)
            throw new InvalidDataException(
                $"{checkpoints.PathOf(state.Step)}: was trained on data in the order of seed {state.Cursor.Seed}, not {lessons.Cursor.Seed}.");
        lessons.Seek(state.Cursor);
        State = state;
        return true;
    }

    /// <summary>Runs to the last step of the schedule.</summary>
    /// <param name="progress">Told of every step; or null.</param>
    /// <param name="stop">Ends the run after the step it is in, with a checkpoint.</param>
    /// <exception cref="DivergenceException">A loss or a gradient was no finite number.</exception>
    /// <exception cref="IOException">A checkpoint could not be written.</exception>
    public void Run(Action<StepReport>? progress = null, CancellationToken stop = default)
    {
        _learner.Tape.Rates = options.Dropout;
        _learner.Tape.Recomputes = options.Recomputes;
        long saved = State.Step;
        while (State.Step < options.Schedule.Steps && !stop.IsCancellationRequested && !IsOver)
        {
            StepReport report = Step();
            if (heldOut is not null && options.EvaluateEvery > 0 && State.Step % options.EvaluateEvery == 0)
            {
                double loss = Evaluate(heldOut);
                bool isBest = State.BestHeldOutLoss is not { } best || loss < best;
                State = isBest
                    ? State with { BestHeldOutLoss = loss, EvaluationsSinceBest = 0 }
                    : State with { EvaluationsSinceBest = State.EvaluationsSinceBest + 1 };
                report = report with { HeldOutLoss = loss };
            }
            // First told, then kept: a log may be ahead of the checkpoint that a killed run goes on from, but has no gap.
            progress?.Invoke(report);
            if (State.Step % options.CheckpointEvery == 0)
            {
                Save();
                saved = State.Step;
            }
        }
        if (saved != State.Step) Save();
    }

    private void Save()
    {
        try
        {
            checkpoints.Save(model, optimizer, State, options.KeepCheckpoints);
        }
        catch (IOException e)
        {
            string last = checkpoints.Steps is [.., long step] ? $"{checkpoints.PathOf(step)} is there as it was, and the run goes on from it" : "There is none before";
            throw new IOException($"The checkpoint of step {State.Step} could not be written: {e.Message.TrimEnd('.')}. {last}.", e);
        }
    }

    // Nothing got better for long enough.
    private bool IsOver => options.Patience > 0 && State.EvaluationsSinceBest >= options.Patience;

    /// <summary>Mean loss of batches, nats a token: no smoothing, no z-loss, nothing dropped.</summary>
    public double Evaluate(IReadOnlyList<SupervisedBatch> batches)
    {
        ArgumentNullException.ThrowIfNull(batches);
        double sum = 0;
        long count = 0;
        foreach (SupervisedBatch batch in batches)
        {
            foreach (RowLoss row in _learner.Score(batch)) sum -= row.LogProbability;
            count += batch.Targets.Length;
        }
        return sum / count;
    }

    private StepReport Step()
    {
        long start = _time.GetTimestamp(), number = State.Step + 1, tokens = 0;
        IReadOnlyList<Lesson> batches = lessons.Next();
        model.Gradients.Clear();
        double loss = 0;
        for (int i = 0; i < batches.Count; i++)
        {
            _learner.Tape.Seed = options.Seed + (ulong)(State.Step * batches.Count + i);
            double part = batches[i].Add(_learner);
            if (!double.IsFinite(part)) throw Diverged($"the loss of micro-batch {i + 1} of step {number} is {part}", batches[i]);
            (loss, tokens) = (loss + part, tokens + batches[i].Tokens);
        }
        double norm = optimizer.GradientNorm(device), rate = options.Schedule.RateOf(State.Step);
        if (!double.IsFinite(norm)) throw Diverged($"the gradient's norm of step {number} is {norm}", batches[0], batches.Count > 1);
        optimizer.Step(device, rate, AdamW.Clipping(norm, options.ClipNorm));
        State = State with { Step = number, Tokens = State.Tokens + tokens, Cursor = lessons.Cursor };
        return new StepReport(number, loss, norm, rate, State.Tokens, _time.GetElapsedTime(start).TotalSeconds, null);
    }

    private DivergenceException Diverged(string what, Lesson lesson, bool isFirst = false)
    {
        // The weights that the step began with are what failed: a checkpoint of just these is none to go on from.
        long[] good = [.. checkpoints.Steps.Where(step => step < State.Step)];
        string last = good is [.., long step] ? $"The last good checkpoint is {checkpoints.PathOf(step)}" : "There is no good checkpoint";
        if (checkpoints.Steps.Contains(State.Step)) last += $"; {checkpoints.PathOf(State.Step)} leads here again: delete it to go on from one before";
        return new DivergenceException(
            $"The run stopped: {what}. Its {(isFirst ? "first micro-batch" : "batch")} {lesson.Place}. {last}. A lower learning rate or a longer warm-up may help.");
    }
}
