using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Goes through the examples of a mixture, so many a step, for a number of epochs.</summary>
/// <remarks>The <see cref="Cursor"/> counts epochs as folds and examples as tokens.</remarks>
public abstract class MixedLessons : ILessons
{
    private readonly Mixture _mixture;
    private readonly int _perStep;
    private readonly long _total;
    private (int Source, int Index)[] _order;
    private int _orderOf;
    private long _before;

    private protected MixedLessons(Mixture mixture, int perStep, double epochs)
    {
        ArgumentNullException.ThrowIfNull(mixture);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(perStep);
        if (!(epochs is > 0 and <= 1e6)) throw new ArgumentException(Say(
            $"{epochs} epochs: more than 0 are expected.",
            $"周回数が {epochs} です。0 より大きくしてください。"), nameof(epochs));
        (_mixture, _perStep) = (mixture, perStep);
        int whole = (int)Math.Floor(epochs);
        for (int epoch = 0; epoch < whole; epoch++) _total += mixture.CountOf(epoch);
        _total += (long)Math.Round((epochs - whole) * mixture.CountOf(whole));
        _total = Math.Max(1, _total);
        _order = mixture.Order(0);
        Cursor = new Cursor(0, mixture.Seed, 0);
    }

    /// <inheritdoc/>
    public Cursor Cursor { get; private set; }

    /// <summary>Steps until all epochs are over; the last one may have fewer examples.</summary>
    public long Steps => (_total + _perStep - 1) / _perStep;

    /// <summary>Examples of the whole run.</summary>
    public long Examples => _total;

    /// <inheritdoc/>
    public void Seek(Cursor cursor)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(cursor.Fold, nameof(cursor));
        ArgumentOutOfRangeException.ThrowIfNegative(cursor.Tokens, nameof(cursor));
        if (cursor.Fold > _total || cursor.Tokens > _mixture.CountOf(cursor.Fold))
            throw new InvalidDataException(Say(
                $"The run had learnt {cursor.Tokens} examples of epoch {cursor.Fold + 1}, but that has {_mixture.CountOf(cursor.Fold)}: the data are others.",
                $"{cursor.Fold + 1} 周目を {cursor.Tokens} 例まで学習していたはずですが、今のデータは {_mixture.CountOf(cursor.Fold)} 例です。データが異なります。"));
        _before = 0;
        for (int epoch = 0; epoch < cursor.Fold; epoch++) _before += _mixture.CountOf(epoch);
        Cursor = cursor;
    }

    /// <inheritdoc/>
    public IReadOnlyList<Lesson> Next()
    {
        List<(int Source, int Index)> step = [];
        long rest = _total - _before - Cursor.Tokens;
        if (rest <= 0) throw new InvalidOperationException("All epochs are over.");
        while (step.Count < Math.Min(_perStep, rest))
        {
            if (_orderOf != Cursor.Fold) (_order, _orderOf) = (_mixture.Order(Cursor.Fold), Cursor.Fold);
            if (Cursor.Tokens == _order.Length)
            {
                _before += _order.Length;
                Cursor = new Cursor(Cursor.Fold + 1, Cursor.Seed, 0);
                continue;
            }
            step.Add(_order[Cursor.Tokens]);
            Cursor = Cursor with { Tokens = Cursor.Tokens + 1 };
        }
        return Lessons(step);
    }

    private protected abstract IReadOnlyList<Lesson> Lessons(IReadOnlyList<(int Source, int Index)> step);

    /// <summary>Divides what a step holds, in its order, so that no part has more tokens than wished unless it is one alone.</summary>
    private protected static List<List<T>> Divide<T>(IEnumerable<T> items, Func<T, int> length, int tokens)
    {
        List<List<T>> parts = [];
        int held = 0;
        foreach (T item in items)
        {
            if (parts.Count == 0 || held + length(item) > tokens)
            {
                parts.Add([]);
                held = 0;
            }
            parts[^1].Add(item);
            held += length(item);
        }
        return parts;
    }

    private protected static string Place(IEnumerable<string> places)
    {
        const int Named = 8;
        string[] all = [.. places];
        string named = string.Join(", ", all.Take(Named));
        int more = all.Length - Named;
        return Say($"holds {named}{(more > 0 ? $" and {more} more" : "")}", $"{named}{(more > 0 ? $" ほか {more} 件" : "")}");
    }
}

/// <summary>Examples of instruction data as lessons: several side by side in a micro-batch, none attending to another, and every learnt token of
/// a step counts the same, however the step is divided.</summary>
/// <param name="sources">The examples of each source.</param>
/// <param name="mixture">The order, of as many sources.</param>
/// <param name="perStep">Examples of a step.</param>
/// <param name="epochs">How often the data are gone through.</param>
/// <param name="tokensPerBatch">Tokens of a micro-batch at most, unless one example has more.</param>
public sealed class InstructionLessons(
    IReadOnlyList<IReadOnlyList<TrainingExample>> sources, Mixture mixture, int perStep, double epochs, int tokensPerBatch)
    : MixedLessons(mixture, perStep, epochs)
{
    private protected override IReadOnlyList<Lesson> Lessons(IReadOnlyList<(int Source, int Index)> step)
    {
        TrainingExample[] examples = [.. step.Select(place => sources[place.Source][place.Index])];
        double weight = 1.0 / examples.Sum(example => (long)example.Trained);
        return [.. Divide(examples, example => example.Length, tokensPerBatch).Select(part => new Lesson(
            part.Sum(example => (long)example.Length), Place(part.Select(example => example.Place)),
            learner => learner.Add(SupervisedBatch.Of([.. part.Select(example => example.ToText())]), weight)))];
    }

    /// <summary>Examples as batches for evaluation.</summary>
    public static IReadOnlyList<SupervisedBatch> Batches(IEnumerable<TrainingExample> examples, int tokensPerBatch) =>
        [.. Divide(examples, example => example.Length, tokensPerBatch).Select(part => SupervisedBatch.Of([.. part.Select(example => example.ToText())]))];
}

/// <summary>A preference and what the reference model thinks of it.</summary>
/// <param name="Pair">The pair.</param>
/// <param name="Reference">The reference's scores.</param>
/// <param name="Place">File and line.</param>
public sealed record JudgedPair(PreferencePair Pair, AnswerScores Reference, string Place);

/// <summary>Preferences as lessons, each of the same weight.</summary>
/// <param name="sources">The pairs of each source.</param>
/// <param name="mixture">The order, of as many sources.</param>
/// <param name="perStep">Pairs of a step.</param>
/// <param name="epochs">How often the data are gone through.</param>
/// <param name="loss">Which loss.</param>
public sealed class PreferenceLessons(
    IReadOnlyList<IReadOnlyList<JudgedPair>> sources, Mixture mixture, int perStep, double epochs, PreferenceLoss loss)
    : MixedLessons(mixture, perStep, epochs)
{
    private readonly List<PreferenceResult> _results = [];

    /// <summary>Mean results of the last step's pairs, by the names of their curves: how many are judged rightly, by what margin, and the rewards.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> LastStep => _results.Count == 0 ? [] :
    [
        new("preference_accuracy", _results.Average(result => result.Margin > 0 ? 1.0 : 0.0)),
        new("margin", _results.Average(result => result.RewardOfChosen - result.RewardOfRejected)),
        new("reward_chosen", _results.Average(result => result.RewardOfChosen)),
        new("reward_rejected", _results.Average(result => result.RewardOfRejected)),
    ];

    /// <summary>The mean loss of pairs, nothing learnt and nothing dropped.</summary>
    public static double MeanLoss(Learner learner, IReadOnlyList<JudgedPair> pairs, PreferenceLoss loss)
    {
        ArgumentNullException.ThrowIfNull(learner);
        ArgumentNullException.ThrowIfNull(loss);
        return pairs.Average(judged => loss.Of(learner.Score(judged.Pair), judged.Reference, judged.Pair).Loss);
    }

    private protected override IReadOnlyList<Lesson> Lessons(IReadOnlyList<(int Source, int Index)> step)
    {
        _results.Clear();
        double weight = 1.0 / step.Count;
        return [.. step.Select(place => sources[place.Source][place.Index]).Select(judged => new Lesson(
            2L * judged.Pair.Prompt.Length + judged.Pair.Chosen.Length + judged.Pair.Rejected.Length, Place([judged.Place]), learner =>
            {
                PreferenceResult result = learner.Add(judged.Pair, judged.Reference, loss, weight);
                _results.Add(result);
                return result.Loss * weight;
            }))];
    }
}
