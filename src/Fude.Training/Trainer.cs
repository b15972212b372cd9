using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>The numbers of a run.</summary>
public sealed record TrainerOptions
{
    /// <summary>The learning rate of each step; its steps are those of the run.</summary>
    public required Schedule Schedule { get; init; }

    /// <summary>Rows of a micro-batch of packed documents: what is in memory at a time.</summary>
    public int RowsPerBatch { get; init; } = 4;

    /// <summary>Micro-batches of a step of packed documents (gradient accumulation).</summary>
    public int BatchesPerStep { get; init; } = 1;

    /// <summary>Gradient clipping: the norm over all gradients above which they are scaled down to it; 0 for none.</summary>
    public double ClipNorm { get; init; } = 1;

    /// <summary>Label smoothing and z-loss.</summary>
    public LossForm Loss { get; init; }

    /// <summary>Dropout probabilities.</summary>
    public DropoutRates Dropout { get; init; } = new();

    /// <summary>Whether blocks are recomputed in the backward pass instead of being kept (activation checkpointing).</summary>
    public bool Recomputes { get; init; }

    /// <summary>Chooses what is dropped.</summary>
    public ulong Seed { get; init; }

    /// <summary>Steps between checkpoints; the last step has one in any case.</summary>
    public long CheckpointEvery { get; init; } = 100;

    /// <summary>Checkpoints that stay.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    /// <summary>Steps between evaluations on the held-out text, which the last step has in any case; 0 for none.</summary>
    public long EvaluateEvery { get; init; }

    /// <summary>Evaluations without a better result after which the run ends, with the weights of the best one; 0 for never.</summary>
    public int Patience { get; init; }

    /// <summary>Whether a run that comes to the end of its schedule ends with the weights of the best evaluation too, not with the last ones.</summary>
    public bool KeepsBest { get; init; }
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
/// <param name="heldOutLoss">Computes the mean loss of what is never learnt from; null where nothing is held out.</param>
/// <param name="heldOutMark">Tells that from others; null where nobody knows.</param>
/// <param name="time">The clock that steps are timed with.</param>
public sealed class Trainer(
    TrainableModel model, ITrainingOps device, AdamW optimizer, ILessons lessons, Checkpoints checkpoints, TrainerOptions options,
    Func<Learner, double>? heldOutLoss = null, string? heldOutMark = null, TimeProvider? time = null)
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
        : this(model, device, optimizer, new DocumentLessons(data, options.RowsPerBatch, options.BatchesPerStep), checkpoints, options,
            heldOut is null ? null : learner => MeanLoss(learner, heldOut), heldOut is null ? null : HeldOutMark.Of(heldOut), time)
    {
    }

    private readonly TrainerOptions _options = Checked(options);
    private readonly Learner _learner = new(model, device) { Form = options.Loss };
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private IReadOnlyList<Lesson> _lessons = [];        // of the last step
    private bool _hasOld = true;        // whether there may be checkpoints that are no longer wanted
    private long? _savedBest;       // what the last checkpoint speaks of

    /// <summary>How far the run is.</summary>
    public RunState State { get; private set; } = new(0, 0, lessons.Cursor);

    /// <summary>Whether the run has come to its end: that of the schedule, or an early one.</summary>
    public bool IsDone => State.Step >= _options.Schedule.Steps || EndedEarly;

    /// <summary>Whether nothing got better for as many evaluations as the run has patience for.</summary>
    public bool EndedEarly => _options.Patience > 0 && State.EvaluationsSinceBest >= _options.Patience;

    /// <summary>The step whose weights the run ends with: the last, or that of the best evaluation. Null while it goes on.</summary>
    public long? ResultStep => !IsDone ? null : (EndedEarly || _options.KeepsBest) && State.BestStep is { } best ? best : State.Step;

    /// <summary>The best evaluation that the checkpoint speaks of but whose weights are not there, nats a token; null where nothing is missing. A
    /// run that goes on seeks the best anew; one that is over ends with its last weights.</summary>
    public double? LostBest { get; private set; }

    /// <summary>The best evaluation so far where it was one of other held-out texts than there are now, nats a token; null otherwise. A run that goes on
    /// seeks the best anew.</summary>
    public double? OtherBest { get; private set; }

    /// <summary>Takes up the last checkpoint, if there is one.</summary>
    /// <returns>Whether there was one.</returns>
    /// <exception cref="InvalidDataException">It is damaged, of another model, or of other data.</exception>
    public bool Resume()
    {
        if (checkpoints.Restore(model, optimizer) is not { } state) return false;
        if (state.Cursor.Seed != lessons.Cursor.Seed)
            throw new InvalidDataException(Say(
                $"{checkpoints.PathOf(state.Step)}: was trained on data in the order of seed {state.Cursor.Seed}, not {lessons.Cursor.Seed}.",
                $"{checkpoints.PathOf(state.Step)}: データの順番を決める種は {state.Cursor.Seed} でしたが、{lessons.Cursor.Seed} が指定されています。"));
        lessons.Seek(state.Cursor);
        State = state;
        _savedBest = state.BestStep;
        if (!IsDone && state is { BestHeldOutLoss: { } elsewhere, BestOf: { } mark } && heldOutMark is not null && mark != heldOutMark)
        {
            OtherBest = elsewhere;
            State = state with { BestHeldOutLoss = null, EvaluationsSinceBest = 0, BestStep = null, BestOf = null };
            return true;
        }
        if (Keeps && state.BestStep is { } kept && checkpoints.BestSteps.Contains(kept)) checkpoints.CheckBest(model, kept);
        if (Keeps && state.BestHeldOutLoss is { } lost && !(state.BestStep is { } step && checkpoints.BestSteps.Contains(step)))
        {
            LostBest = lost;
            State = IsDone ? state with { BestStep = null } : state with { BestHeldOutLoss = null, EvaluationsSinceBest = 0, BestStep = null };
        }
        return true;
    }

    /// <summary>Gives the model the weights that the run ends with: see <see cref="ResultStep"/>.</summary>
    /// <exception cref="InvalidDataException">Those of the best evaluation are damaged.</exception>
    public void TakeResult()
    {
        if (ResultStep is { } step && step != State.Step) checkpoints.RestoreBest(model, step);
    }

    /// <summary>Runs to the last step of the schedule.</summary>
    /// <param name="progress">Told of every step; or null.</param>
    /// <param name="stop">Ends the run after the step it is in, with a checkpoint.</param>
    /// <exception cref="DivergenceException">A loss or a gradient was no finite number.</exception>
    /// <exception cref="IOException">A checkpoint could not be written.</exception>
    public void Run(Action<StepReport>? progress = null, CancellationToken stop = default)
    {
        _learner.Tape.Rates = _options.Dropout;
        _learner.Tape.Recomputes = _options.Recomputes;
        long saved = State.Step;
        while (!IsDone && !stop.IsCancellationRequested)
        {
            StepReport report = Step();
            if (_options.EvaluateEvery > 0 && (State.Step % _options.EvaluateEvery == 0 || State.Step == _options.Schedule.Steps) && Evaluate() is { } loss)
            {
                bool isBest = double.IsFinite(loss) && (State.BestHeldOutLoss is not { } best || loss < best);
                if (isBest && Keeps) KeepBest();
                State = isBest
                    ? State with { BestHeldOutLoss = loss, EvaluationsSinceBest = 0, BestStep = Keeps ? State.Step : null, BestOf = heldOutMark }
                    : State with { EvaluationsSinceBest = State.EvaluationsSinceBest + 1 };
                report = report with { HeldOutLoss = loss };
            }
            // First told, then kept: a log may be ahead of the checkpoint that a killed run goes on from, but has no gap.
            progress?.Invoke(report);
            if (State.Step % _options.CheckpointEvery == 0 && !IsDone)
            {
                Save();
                saved = State.Step;
            }
        }
        if (saved == State.Step) return;
        // No step comes that would show that the last one diverged. Where the result is the best of before, that is no failure, but no checkpoint either.
        if (ResultStep == State.Step) RequireFiniteLoss();
        else if (IsDone && !IsGood()) return;
        Save();
        if (IsDone) checkpoints.DropOld(_options.KeepCheckpoints);
    }

    // Whether the weights of the best evaluation may be wanted at the end.
    private bool Keeps => _options.KeepsBest || _options.Patience > 0;

    private void KeepBest() => Write(Say($"best weights so far, of step {State.Step},", $"これまでで最良の重み（ステップ {State.Step}）"), () =>
    {
        checkpoints.KeepBest(model, State.Step);
        checkpoints.DropBest(_savedBest, State.Step);
    });

    private void Save()
    {
        foreach (Parameter parameter in model.Parameters)
            if (!IsFinite(parameter))
                throw Diverged(Say(
                    $"{parameter.Name} holds no finite numbers after step {State.Step}",
                    $"ステップ {State.Step} の後、{parameter.Name} に有限でない数があります"), _lessons[0], _lessons.Count > 1);
        Write(Say($"checkpoint of step {State.Step}", $"ステップ {State.Step} のチェックポイント"), () =>
        {
            checkpoints.Save(model, optimizer, State);
            _hasOld = true;
            _savedBest = State.BestStep;
        });
    }

    private bool IsFinite(Parameter parameter) => double.IsFinite(device.SumOfSquares(parameter.Weight.Address, parameter.Count));

    private bool IsGood() => model.Parameters.All(IsFinite) && double.IsFinite(LossAfterLastStep());

    private double LossAfterLastStep()
    {
        model.Gradients.Clear();
        return _lessons[0].Add(_learner);
    }

    private void RequireFiniteLoss()
    {
        double loss = LossAfterLastStep();
        if (!double.IsFinite(loss)) throw Diverged(Say(
            $"after step {State.Step}, the last, the loss is {loss}", $"最後のステップ {State.Step} の後、損失が {loss} になりました"), _lessons[0], _lessons.Count > 1);
    }

    private void Write(string what, Action write)
    {
        try
        {
            write();
        }
        // A file that grows beyond what the disk or the user's limit allows is an argument out of range to .NET.
        catch (Exception e) when (e is IOException or ArgumentOutOfRangeException)
        {
            string last = checkpoints.Steps is [.., long step]
                ? Say($"goes on from {checkpoints.PathOf(step)}, which is as it was", $"{checkpoints.PathOf(step)} から再開します（これは元のままです）")
                : Say("begins anew, for there is no checkpoint before", "前のチェックポイントがないため最初から始まります");
            string why = e.Message.Split(" (Parameter '")[0].TrimEnd('.', '。');
            throw new IOException(Say(
                $"The {what} could not be written: {why}. Make room on the disk, and the same command {last}.",
                $"{what}を書き込めませんでした: {why}。ディスクの空きを増やして同じコマンドを実行すると、{last}。"), e);
        }
    }

    /// <summary>The mean loss of what is held out, as the model is now; null where nothing is.</summary>
    public double? Evaluate() => heldOutLoss?.Invoke(_learner);

    /// <summary>Mean loss of batches, nats a token: no smoothing, no z-loss, nothing dropped. NaN where nothing is expected of them.</summary>
    public static double MeanLoss(Learner learner, IReadOnlyList<SupervisedBatch> batches)
    {
        ArgumentNullException.ThrowIfNull(learner);
        ArgumentNullException.ThrowIfNull(batches);
        double sum = 0;
        long count = 0;
        foreach (SupervisedBatch batch in batches)
        {
            foreach (RowLoss row in learner.Score(batch)) sum -= row.LogProbability;
            count += batch.Targets.Length;
        }
        return sum / count;
    }

    private static TrainerOptions Checked(TrainerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.CheckpointEvery, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.KeepCheckpoints, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegative(options.EvaluateEvery, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegative(options.Patience, nameof(options));
        if (!(options.ClipNorm >= 0)) throw new ArgumentException($"Gradients cannot be clipped to a norm of {options.ClipNorm}: it has to be 0, for no limit, or more.", nameof(options));
        return options;
    }

    private StepReport Step()
    {
        long start = _time.GetTimestamp(), number = State.Step + 1, tokens = 0;
        IReadOnlyList<Lesson> batches = _lessons = lessons.Next();
        model.Gradients.Clear();
        double loss = 0;
        for (int i = 0; i < batches.Count; i++)
        {
            _learner.Tape.Seed = DropoutSeed(_options.Seed, State.Step, i);
            double part = batches[i].Add(_learner);
            if (!double.IsFinite(part)) throw Diverged(Say(
                $"the loss of micro-batch {i + 1} of step {number} is {part}",
                $"ステップ {number} のマイクロバッチ {i + 1} の損失が {part} になりました"), batches[i]);
            (loss, tokens) = (loss + part, tokens + batches[i].Tokens);
        }
        double norm = optimizer.GradientNorm(device), rate = _options.Schedule.RateOf(State.Step);
        if (!double.IsFinite(norm)) throw Diverged(Say(
            $"the gradient's norm of step {number} is {norm}",
            $"ステップ {number} の勾配のノルムが {norm} になりました"), batches[0], batches.Count > 1);
        // The weights that the step began with are good, and so is a checkpoint of them: those before it may go.
        if (_hasOld) checkpoints.DropOld(_options.KeepCheckpoints);
        _hasOld = false;
        optimizer.Step(device, rate, AdamW.Clipping(norm, _options.ClipNorm));
        State = State with { Step = number, Tokens = State.Tokens + tokens, Cursor = lessons.Cursor };
        return new StepReport(number, loss, norm, rate, State.Tokens, _time.GetElapsedTime(start).TotalSeconds, null);
    }

    // Of its own for every run, step and micro-batch, however many a step has.
    internal static ulong DropoutSeed(ulong run, long step, int part) => TrainableWeights.Next(ref run) + ((ulong)step << 20) + (ulong)part;

    private DivergenceException Diverged(string what, Lesson lesson, bool isFirst = false)
    {
        // The weights that the step began with are what failed: a checkpoint of just these is none to go on from.
        long[] good = [.. checkpoints.Steps.Where(step => step < State.Step)];
        string last = good is [.., long step]
            ? Say($"The last good checkpoint is {checkpoints.PathOf(step)}", $"最後の正常なチェックポイントは {checkpoints.PathOf(step)} です")
            : Say("There is no good checkpoint", "正常なチェックポイントはありません");
        if (checkpoints.Steps.Contains(State.Step))
        {
            string bad = checkpoints.PathOf(State.Step);
            last += Say($"; {bad} leads here again: delete it to go on from one before", $"。{bad} から再開しても同じことになるため、削除してその前から再開してください");
        }
        return new DivergenceException(Say(
            $"The run stopped: {what}. Its {(isFirst ? "first micro-batch" : "batch")} {lesson.Place}. {last}. A lower learning rate or a longer warm-up may help.",
            $"学習を中断しました。{what}（{(isFirst ? "最初のマイクロバッチ" : "バッチ")}: {lesson.Place}）。{last}。学習率を下げるか、ウォームアップを長くすると改善することがあります。"));
    }
}
