using Fude.Tokenizers.Pipelines;

namespace Fude.Tokenizers.Files;

/// <summary>Finds out what a folder or file holds.</summary>
internal static class TokenizerFolder
{
    internal static Pipeline Load(string path)
    {
        if (Directory.Exists(path)) return new SentencePiecePipeline(SentencePieceFile.Read(Path.Combine(path, "tokenizer.model")));
        return new SentencePiecePipeline(SentencePieceFile.Read(path));
    }
}
