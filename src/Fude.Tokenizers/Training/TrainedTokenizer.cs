namespace Fude.Tokenizers.Training;

/// <summary>The two kinds of tokenizer that fude trains.</summary>
public enum TrainedTokenizerKind
{
    /// <summary>Unigram language model.</summary>
    Unigram = 1,

    /// <summary>Byte-pair encoding.</summary>
    Bpe = 2,
}

/// <summary>A trained tokenizer: its pieces, and the files that others read it from.</summary>
public sealed class TrainedTokenizer
{
    internal TrainedTokenizer(TrainedTokenizerKind kind, IEnumerable<TrainedPiece> learnt, TokenizerTrainerOptions options, TrainingTextReport report)
    {
        (Kind, Options, Report) = (kind, options, report);
        Pieces = [.. options.MetaPieces(), .. learnt];
    }

    /// <summary>Unigram or BPE.</summary>
    public TrainedTokenizerKind Kind { get; }

    /// <summary>The pieces; the index is the id.</summary>
    public IReadOnlyList<TrainedPiece> Pieces { get; }

    /// <summary>What it was trained with.</summary>
    public TokenizerTrainerOptions Options { get; }

    /// <summary>What was read.</summary>
    public TrainingTextReport Report { get; }
}
