namespace Fude.Tokenizers;

/// <summary>How a text became tokens.</summary>
/// <param name="NormalizedText">What the model was given: the pieces of text between added tokens, after normalisation.</param>
/// <param name="Tokens">The tokens in order.</param>
public sealed record TokenizerExplanation(IReadOnlyList<string> NormalizedText, IReadOnlyList<ExplainedToken> Tokens);

/// <summary>One token, and why it is one.</summary>
/// <param name="Piece">The vocabulary entry: for a unigram model its score, for BPE the place of its merge is in the score.</param>
/// <param name="Start">Where the text it stands for begins.</param>
/// <param name="End">Where the text it stands for ends.</param>
/// <param name="Text">The text it stands for; empty for a token put around the text.</param>
/// <param name="IsSpecial">Whether decoding leaves it out when it skips special tokens.</param>
public sealed record ExplainedToken(VocabularyPiece Piece, int Start, int End, string Text, bool IsSpecial);
