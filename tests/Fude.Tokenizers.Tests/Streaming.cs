using System.Text;

namespace Fude.Tokenizers.Tests;

/// <summary>Decodes id by id and holds the stream to its promises.</summary>
internal static class Streaming
{
    /// <summary>All pieces together; each must be whole characters.</summary>
    internal static string Concatenated(Tokenizer tokenizer, ReadOnlySpan<int> ids, bool skipSpecialTokens = false)
    {
        StreamingDecoder decoder = tokenizer.DecodeStreaming(skipSpecialTokens);
        StringBuilder text = new();
        foreach (int id in ids)
        {
            string piece = decoder.Push(id);
            Assert.True(piece.Length == 0 || (!char.IsLowSurrogate(piece[0]) && !char.IsHighSurrogate(piece[^1])), "A piece cuts a surrogate pair.");
            Assert.InRange(decoder.UnfinishedBytes, 0, 3);
            text.Append(piece);
        }
        return text.Append(decoder.Finish()).ToString();
    }
}
