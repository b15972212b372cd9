using Fude.Tokenizers.Decoders;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Pipelines;

/// <summary>
/// A SentencePiece model by itself: text is text (control symbols in it are not recognised), and nothing is put around the ids.
/// </summary>
internal sealed class SentencePiecePipeline : Pipeline
{
    private readonly SentencePieceFile _file;
    private readonly SentencePieceEncoder _encoder;

    internal SentencePiecePipeline(SentencePieceFile file)
    {
        _file = file;
        Vocabulary = VocabularyOf(file);
        _encoder = new(file, Vocabulary, file.AddsDummyPrefix);
    }

    internal override Vocabulary Vocabulary { get; }

    internal override TokenizerModel Model => _file.IsBpe ? TokenizerModel.Bpe : TokenizerModel.Unigram;

    internal override void Encode(ReadOnlySpan<char> text, bool addSpecialTokens, Workspace workspace) => _encoder.Encode(text, 0, workspace);

    internal override void Describe(IDictionary<string, object> metadata)
    {
        GgufTokenizerFile.Describe(_file, metadata);
        metadata[GgufTokenizerFile.Kind] = "sentencepiece";
    }

    internal override TokenDecoder CreateDecoder(bool skipSpecialTokens) => DecoderOf(_file, Vocabulary, _file.AddsDummyPrefix);

    internal static SentencePieceDecoder DecoderOf(SentencePieceFile file, Vocabulary vocabulary, bool addsDummyPrefix) =>
        new(vocabulary, file.UnknownSurface, addsDummyPrefix || file.RemovesExtraWhitespace, file.RemovesExtraWhitespace);

    internal static Vocabulary VocabularyOf(SentencePieceFile file)
    {
        Vocabulary vocabulary = new();
        for (int id = 0; id < file.Pieces.Count; id++)
        {
            SentencePieceFile.Piece piece = file.Pieces[id];
            vocabulary.Add(id, piece.Text, piece.Score, piece.Kind, file.Source);
            if (piece.Kind == PieceKind.Unknown) vocabulary.UnknownId = id;
        }
        vocabulary.BeginId = Control(file.BeginPiece);
        vocabulary.EndId = Control(file.EndPiece);
        vocabulary.PaddingId = Control(file.PaddingPiece);
        return vocabulary;

        int Control(string text)
        {
            int id = vocabulary.IdOf(text);
            return id >= 0 && vocabulary.KindOf(id) == PieceKind.Control ? id : -1;
        }
    }
}
