using System.Text;

namespace Fude.Tokenizers.Decoders;

/// <summary>Ids → text, id by id: writes what is certain whatever comes, and the rest at the end.</summary>
internal abstract class TokenDecoder
{
    /// <summary>How many of the bytes held back are the beginning of a character.</summary>
    internal abstract int UnfinishedBytes { get; }

    internal abstract void Push(int id, StringBuilder output);

    /// <summary>Writes what was held back.</summary>
    /// <param name="output">Receives it.</param>
    /// <param name="dropUnfinished">Whether the beginning of a character at the end is dropped instead of becoming U+FFFD.</param>
    internal abstract void Finish(StringBuilder output, bool dropUnfinished);
}
