using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A micro-batch: what is in memory at a time.</summary>
/// <param name="Tokens">Tokens that are read in it.</param>
/// <param name="Place">Where its data are, for messages: "begins at token 300 of fold 1".</param>
/// <param name="Add">Adds its gradients and gives its part of the step's loss.</param>
public sealed record Lesson(long Tokens, string Place, Func<Learner, double> Add);

/// <summary>What a run learns from, step after step, and from any place on.</summary>
public interface ILessons
{
    /// <summary>What comes next. Whoever seeks it meets the same lessons from there on.</summary>
    Cursor Cursor { get; }

    /// <summary>Goes to another place.</summary>
    /// <exception cref="InvalidDataException">There is no such place: the data are others than those that the cursor is of.</exception>
    void Seek(Cursor cursor);

    /// <summary>The micro-batches of the next step; their losses are divided so that their sum is the step's.</summary>
    IReadOnlyList<Lesson> Next();
}

/// <summary>Packed documents as lessons: every token counts the same.</summary>
internal sealed class DocumentLessons(PackedDocuments data, int rows, int batches) : ILessons
{
    public Cursor Cursor => data.Cursor;

    public void Seek(Cursor cursor) => data.Seek(cursor);

    public IReadOnlyList<Lesson> Next()
    {
        long tokens = checked((long)rows * data.Context);
        double weight = 1.0 / checked(tokens * batches);
        Lesson[] lessons = new Lesson[batches];
        for (int i = 0; i < batches; i++)
        {
            Cursor place = data.Cursor;
            SupervisedBatch batch = data.Next(rows);
            lessons[i] = new Lesson(
                tokens,
                Say($"begins at token {place.Tokens} of fold {place.Fold} (seed {place.Seed})", $"フォールド {place.Fold}（種 {place.Seed}）の {place.Tokens} トークンから"),
                learner => learner.Add(batch, weight));
        }
        return lessons;
    }
}
