using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Pieces;

/// <summary>A tokenizer.json's model: a stretch of text → ids.</summary>
internal abstract class PieceModel
{
    /// <summary>Appends the tokens of [start, end) of the text.</summary>
    internal abstract void Encode(TextBuffer text, int start, int end, Workspace workspace);
}
