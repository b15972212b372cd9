using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>A trained tokenizer: its pieces, and the files that others read it from.</summary>
public sealed class TrainedTokenizer
{
    // The score of runs of spaces in llm-jp's unigram tokenizers: better than any way to write them with shorter pieces.
    private const float RunScore = -1;

    internal const string SentencePieceName = "tokenizer.model";
    private static readonly string[] HuggingFaceNames = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

    internal TrainedTokenizer(TokenizerModel model, IEnumerable<VocabularyPiece> learnt, TokenizerTrainerOptions options, TrainingTextReport report)
    {
        (Model, Options, Report) = (model, options, report);
        List<VocabularyPiece> meta = options.MetaPieces();
        VocabularyPiece[] rest = [.. learnt];
        Pieces = [.. meta.Select(Scored).Concat(rest).Select((piece, id) => piece with { Id = id })];

        // BPE: runs are merged after everything else, the short ones first, for the long ones are made of them.
        VocabularyPiece Scored(VocabularyPiece piece) =>
            piece.Kind != PieceKind.Normal ? piece : piece with { Score = model == TokenizerModel.Bpe ? -(rest.Length + piece.Text.Length) : RunScore };
    }

    /// <summary>Makes a tokenizer of pieces that were learnt elsewhere, such as a vocabulary merged from several trainings.</summary>
    /// <param name="model"><see cref="TokenizerModel.Unigram"/> or <see cref="TokenizerModel.Bpe"/>.</param>
    /// <param name="learnt">The normal pieces with their scores, in the order of their ids. Their ids are given anew.</param>
    /// <param name="options">Says which special, control, user-defined, byte and whitespace pieces go before them, and how text is prepared.</param>
    /// <exception cref="ArgumentException">A piece is empty, given twice or of another kind, or an option is out of range.</exception>
    public static TrainedTokenizer Of(TokenizerModel model, IEnumerable<VocabularyPiece> learnt, TokenizerTrainerOptions options) =>
        Of(model, learnt, options, new TrainingTextReport(0, 0, 0, 1));

    /// <summary>Likewise, with what was read for the scores.</summary>
    internal static TrainedTokenizer Of(TokenizerModel model, IEnumerable<VocabularyPiece> learnt, TokenizerTrainerOptions options, TrainingTextReport report)
    {
        ArgumentNullException.ThrowIfNull(learnt);
        ArgumentNullException.ThrowIfNull(options);
        if (model is not (TokenizerModel.Unigram or TokenizerModel.Bpe))
            throw new ArgumentOutOfRangeException(nameof(model), $"{model}: such tokenizers are not trained; Unigram and Bpe are.");
        VocabularyPiece[] pieces = [.. learnt];
        options = options with { VocabularySize = options.MetaPieces().Count + pieces.Length };
        options.Check();
        HashSet<string> seen = [.. options.MetaPieces().Select(p => p.Text)];
        foreach (VocabularyPiece piece in pieces)
        {
            if (piece.Kind != PieceKind.Normal || string.IsNullOrEmpty(piece.Text) || !seen.Add(piece.Text))
                throw new ArgumentException(
                    $"The piece '{piece.Text}' ({piece.Kind}) is empty, not normal, or there already; each learnt piece is normal text of its own.", nameof(learnt));
        }
        return new TrainedTokenizer(model, pieces, options, report);
    }

    /// <summary>Unigram or BPE.</summary>
    public TokenizerModel Model { get; }

    /// <summary>
    /// The pieces; the index is the id. First unknown, begin, end and padding, then control pieces, user-defined ones, bytes and runs of
    /// spaces, then what was learnt: unigram pieces by falling probability, BPE pieces in the order of their merges and then characters.
    /// </summary>
    public IReadOnlyList<VocabularyPiece> Pieces { get; }

    /// <summary>What it was trained with.</summary>
    public TokenizerTrainerOptions Options { get; }

    /// <summary>What was read.</summary>
    public TrainingTextReport Report { get; }

    /// <summary>The files that <see cref="Save"/> writes.</summary>
    public static IReadOnlyList<string> FileNames { get; } = [SentencePieceName, .. HuggingFaceNames];

    /// <summary>Whether the two files that <see cref="Save"/> writes give some texts other ids: see the remarks of <see cref="SaveHuggingFace"/>.</summary>
    public bool FilesDiffer => Options.AddDummyPrefix && HuggingFaceWriter.SplitsText(this);

    /// <summary>Writes all files into a folder. They are those of one tokenizer: all of them new, or where that fails as they were.</summary>
    /// <exception cref="NotSupportedException">The tokenizer has ▁ after words, for which tokenizer.json has no component.</exception>
    public void Save(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        AtomicFile.Write([(Path.Combine(folder, SentencePieceName), SentencePieceWriter.Write(this)), .. HuggingFace(folder)]);
    }

    /// <summary>Writes a SentencePiece model (tokenizer.model). The file appears whole or not at all.</summary>
    public void SaveSentencePiece(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, SentencePieceWriter.Write(this));
    }

    /// <summary>Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, for transformers and what else reads them.</summary>
    /// <remarks>
    /// Encoding gives the ids of the SentencePiece model, with what the format itself has different: special pieces are found in text, and
    /// names of bytes (&lt;0x41&gt;) where a unigram tokenizer has no pieces to spell them;
    /// in BPE with user-defined pieces of several characters, no ▁ is put before a text that begins with a space or with such a piece.
    /// </remarks>
    /// <exception cref="NotSupportedException">The tokenizer has ▁ after words, for which tokenizer.json has no component.</exception>
    public void SaveHuggingFace(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        AtomicFile.Write(HuggingFace(folder));
    }

    private (string Path, byte[] Bytes)[] HuggingFace(string folder)
    {
        if (Options is { TreatWhitespaceAsSuffix: true, AddDummyPrefix: true })
            throw new NotSupportedException(Say(
                "tokenizer.json has no component that puts a space after a text (TreatWhitespaceAsSuffix with AddDummyPrefix); " +
                "SaveSentencePiece writes such a tokenizer.",
                "tokenizer.json には、テキストの後に空白を付ける部品がありません（TreatWhitespaceAsSuffix と AddDummyPrefix の組み合わせ）。このようなトークナイザーは SaveSentencePiece で書き出せます。"));
        byte[][] contents = [HuggingFaceWriter.Tokenizer(this), HuggingFaceWriter.Config(this), HuggingFaceWriter.SpecialTokens(this)];
        return [.. HuggingFaceNames.Zip(contents, (name, bytes) => (Path.Combine(folder, name), bytes))];
    }
}
