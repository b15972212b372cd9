namespace Fude.Tokenizers.Training;

/// <summary>What a piece is for. The numbers are those of SentencePiece's model files.</summary>
public enum TrainedPieceKind
{
    /// <summary>Learnt from text.</summary>
    Normal = 1,

    /// <summary>Stands for what has no other piece.</summary>
    Unknown = 2,

    /// <summary>Never matched in text.</summary>
    Control = 3,

    /// <summary>Always matched whole.</summary>
    UserDefined = 4,

    /// <summary>One byte of UTF-8, written &lt;0x41&gt;.</summary>
    Byte = 6,
}

/// <summary>One entry of a trained vocabulary.</summary>
/// <param name="Text">The piece, with ▁ (U+2581) for a space.</param>
/// <param name="Score">Unigram: the natural logarithm of the piece's probability. BPE: minus the rank of its merge.</param>
/// <param name="Kind">What the piece is for.</param>
public readonly record struct TrainedPiece(string Text, float Score, TrainedPieceKind Kind);
