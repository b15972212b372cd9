namespace Fude.Tokenizers.Training;

/// <summary>A stage of training, in the order they come.</summary>
public enum TrainingPhase
{
    /// <summary>Files are read and their stretches of text counted. The fraction is that of the bytes read, compressed ones where they are.</summary>
    Reading,

    /// <summary>Candidates are searched in a suffix array (Unigram), or pairs counted (BPE).</summary>
    Seeding,

    /// <summary>Unigram: EM and pruning. The fraction is that of the way, on a logarithmic scale, from the seeds to the wanted size.</summary>
    Pruning,

    /// <summary>BPE: merging. The fraction is that of the merges made.</summary>
    Merging,

    /// <summary>Unigram: the scores of the final pieces are estimated.</summary>
    Finishing,
}

/// <summary>Where a training stands. Every number is measured; none is a guess.</summary>
/// <param name="Phase">The stage.</param>
/// <param name="Fraction">The part of the stage that is done, 0 to 1. It never falls within a stage.</param>
/// <param name="Lines">Lines of text read so far.</param>
/// <param name="Characters">Code points of text counted so far, every occurrence.</param>
/// <param name="Pieces">Candidates or pieces now held.</param>
/// <param name="LogLikelihoodPerCharacter">Unigram: natural logarithm of the marginal likelihood, per code point; NaN before the first EM step.</param>
public readonly record struct TrainingProgress(
    TrainingPhase Phase, double Fraction, long Lines, long Characters, long Pieces, double LogLikelihoodPerCharacter = double.NaN);
