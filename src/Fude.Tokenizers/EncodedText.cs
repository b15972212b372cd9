namespace Fude.Tokenizers;

/// <summary>A text as tokens, each with its place in the text.</summary>
/// <param name="Ids">The ids.</param>
/// <param name="Tokens">The pieces of the vocabulary: "▁the" or "Ġthe", not " the".</param>
/// <param name="Offsets">
/// The range of the text, in UTF-16 units, that each token stands for. Ranges never go backwards; tokens that share one character (its
/// bytes) have the same range; a token that stands for nothing in the text (one put around it, a dummy prefix) has an empty range.
/// </param>
public sealed record EncodedText(IReadOnlyList<int> Ids, IReadOnlyList<string> Tokens, IReadOnlyList<(int Start, int End)> Offsets);
