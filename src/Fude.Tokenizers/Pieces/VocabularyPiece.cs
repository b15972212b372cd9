namespace Fude.Tokenizers;

/// <summary>One entry of a vocabulary.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Text">The piece as the vocabulary has it: "▁the" or "Ġthe", not " the".</param>
/// <param name="Score">Unigram: its log-probability. BPE: minus its place in the order of merges; 0 where it has none.</param>
/// <param name="Kind">What it is.</param>
public readonly record struct VocabularyPiece(int Id, string Text, float Score, PieceKind Kind);
