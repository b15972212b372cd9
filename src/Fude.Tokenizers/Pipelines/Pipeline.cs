using Fude.Tokenizers.Decoders;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Pipelines;

/// <summary>One way from text to ids and back; each follows one reference to the letter.</summary>
internal abstract class Pipeline
{
    internal abstract Vocabulary Vocabulary { get; }

    internal abstract TokenizerModel Model { get; }

    /// <summary>The merges of BPE in order, where the file has them.</summary>
    internal virtual IReadOnlyList<(string Left, string Right)> Merges => [];

    /// <summary>Appends the tokens of <paramref name="text"/>, which is well-formed.</summary>
    internal abstract void Encode(ReadOnlySpan<char> text, bool addSpecialTokens, Workspace workspace);

    /// <summary>What a GGUF file says of it beside its pieces: llama.cpp's keys, and fude's own for what those cannot say.</summary>
    internal abstract void Describe(IDictionary<string, object> metadata);

    internal abstract TokenDecoder CreateDecoder(bool skipSpecialTokens);
}
