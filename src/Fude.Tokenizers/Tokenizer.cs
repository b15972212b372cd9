using System.Buffers;
using System.Globalization;
using System.Text;
using Fude.Tokenizers.Decoders;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Pipelines;
using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers;

/// <summary>Text ↔ token ids, exactly as the reference of the loaded files does it. Immutable; safe to use from several threads.</summary>
/// <remarks>
/// Lone surrogates, which are no text, are taken for U+FFFD. Time is linear in the length of the text (BPE: n log n), and a call's memory
/// is some tens of bytes a character, whatever the text.
/// </remarks>
public sealed class Tokenizer
{
    private readonly Pipeline _pipeline;
    private Workspace? _spare;

    internal Tokenizer(Pipeline pipeline) => _pipeline = pipeline;

    /// <summary>How text is cut into pieces.</summary>
    public TokenizerModel Model => _pipeline.Model;

    /// <summary>One more than the highest id. A model may have more rows than that: those must never be sampled.</summary>
    public int VocabularySize => Vocabulary.Size;

    /// <summary>The id that begins a text, or null.</summary>
    public int? BeginId => OrNull(Vocabulary.BeginId);

    /// <summary>The id that ends a text, or null.</summary>
    public int? EndId => OrNull(Vocabulary.EndId);

    /// <summary>The id of text that the vocabulary does not have, or null.</summary>
    public int? UnknownId => OrNull(Vocabulary.UnknownId);

    /// <summary>The id that fills up rows of a batch, or null.</summary>
    public int? PaddingId => OrNull(Vocabulary.PaddingId);

    /// <summary>The vocabulary in the order of ids; ids that have no piece are left out.</summary>
    public IEnumerable<VocabularyPiece> Pieces => Enumerable.Range(0, VocabularySize).Where(Vocabulary.Contains).Select(PieceOf);

    /// <summary>The merges of BPE in order; empty for unigram models and SentencePiece files, where scores give the order.</summary>
    public IReadOnlyList<(string Left, string Right)> Merges => _pipeline.Merges;

    private Vocabulary Vocabulary => _pipeline.Vocabulary;

    /// <summary>Loads a tokenizer.</summary>
    /// <param name="path">
    /// A folder with tokenizer.json, tokenizer.model, or vocab.json and merges.txt, in this order of preference; or one such file. A
    /// folder with tokenizer_config.json follows transformers' AutoTokenizer; a .model alone follows SentencePiece, a tokenizer.json
    /// alone Hugging Face's library.
    /// </param>
    /// <exception cref="FileNotFoundException">There is no such file or folder, or no tokenizer in it.</exception>
    /// <exception cref="InvalidDataException">A file is broken or contradicts itself.</exception>
    /// <exception cref="NotSupportedException">A file asks for a component that fude does not have.</exception>
    public static Tokenizer Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (path.Length == 0) throw new ArgumentException(Say(
            "The tokenizer's path is empty: give a model's folder or a tokenizer file.",
            "トークナイザーのパスが空です。モデルのフォルダーかトークナイザーのファイルを指定してください。"), nameof(path));
        return new(TokenizerFolder.Load(path));
    }

    /// <summary>The tokenizer in the metadata of a GGUF file; null when it has none.</summary>
    /// <exception cref="InvalidDataException">The metadata contradicts itself.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that fude does not have.</exception>
    internal static Tokenizer? OfGguf(IReadOnlyDictionary<string, object> metadata, string source) =>
        GgufTokenizerFile.Read(metadata, source) is { } pipeline ? new(pipeline) : null;

    /// <summary>What a GGUF file says of it beside its pieces.</summary>
    internal void Describe(IDictionary<string, object> metadata) => _pipeline.Describe(metadata);

    /// <summary>The ids of a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">
    /// Whether the tokens that the tokenizer puts around a text (BOS, EOS) are added. Special strings in the text are recognised
    /// either way, except by a .model alone, which recognises and adds none.
    /// </param>
    public int[] Encode(ReadOnlySpan<char> text, bool addSpecialTokens = true)
    {
        Workspace workspace = Run(text, addSpecialTokens, tracked: false);
        int[] ids = workspace.Tokens.Ids.ToArray();
        Return(workspace);
        return ids;
    }

    /// <inheritdoc cref="Encode(ReadOnlySpan{char}, bool)"/>
    public int[] Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Encode(text.AsSpan(), addSpecialTokens);
    }

    /// <summary>Writes the ids of a text to a buffer; allocates nothing but what the buffer does.</summary>
    /// <param name="text">The text.</param>
    /// <param name="ids">Receives the ids.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the tokenizer puts around a text are added.</param>
    /// <returns>How many ids were written.</returns>
    public int Encode(ReadOnlySpan<char> text, IBufferWriter<int> ids, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(ids);
        Workspace workspace = Run(text, addSpecialTokens, tracked: false);
        int count = workspace.Tokens.Count;
        ids.Write(workspace.Tokens.Ids);
        Return(workspace);
        return count;
    }

    /// <summary>Writes the ids of a text to memory of the caller; allocates nothing.</summary>
    /// <param name="text">The text.</param>
    /// <param name="ids">Receives the ids; left as it was when it is too small.</param>
    /// <param name="count">How many ids the text has.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the tokenizer puts around a text are added.</param>
    /// <returns>False when <paramref name="ids"/> is too small for them.</returns>
    public bool TryEncode(ReadOnlySpan<char> text, Span<int> ids, out int count, bool addSpecialTokens = true)
    {
        Workspace workspace = Run(text, addSpecialTokens, tracked: false);
        count = workspace.Tokens.Count;
        bool fits = workspace.Tokens.Ids.TryCopyTo(ids);
        Return(workspace);
        return fits;
    }

    /// <summary>How many ids a text has.</summary>
    public int Count(ReadOnlySpan<char> text, bool addSpecialTokens = true)
    {
        Workspace workspace = Run(text, addSpecialTokens, tracked: false);
        int count = workspace.Tokens.Count;
        Return(workspace);
        return count;
    }

    /// <summary>The tokens of a text with their places in it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the tokenizer puts around a text are added.</param>
    /// <remarks>As the tokenizers library has them: a byte-level tokenizer whose file says <c>trim_offsets</c> leaves white space out of a token's
    /// place, so that one of white space alone has an empty place at its end.</remarks>
    public EncodedText EncodeWithOffsets(ReadOnlySpan<char> text, bool addSpecialTokens = true) => EncodeWithOffsets(text, addSpecialTokens, trims: true);

    /// <summary>The tokens of a text with their places in it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the tokenizer puts around a text are added.</param>
    /// <param name="trims">Whether places leave out white space where the tokenizer's file asks for that; false for all characters of every token.</param>
    internal EncodedText EncodeWithOffsets(ReadOnlySpan<char> text, bool addSpecialTokens, bool trims)
    {
        Workspace workspace = Run(text, addSpecialTokens, tracked: true, trims: trims);
        int[] ids = workspace.Tokens.Ids.ToArray();
        (int, int)[] offsets = OffsetsOf(workspace.Tokens);
        Return(workspace);
        return new(ids, Array.ConvertAll(ids, TokenOf), offsets);
    }

    /// <summary>How a text becomes tokens, for people to see.</summary>
    /// <param name="text">The text.</param>
    /// <param name="addSpecialTokens">Whether the tokens that the tokenizer puts around a text are added.</param>
    public TokenizerExplanation Explain(ReadOnlySpan<char> text, bool addSpecialTokens = true)
    {
        List<string> seen = [];
        Workspace workspace = Run(text, addSpecialTokens, tracked: true, seen);
        int[] ids = workspace.Tokens.Ids.ToArray();
        (int Start, int End)[] offsets = OffsetsOf(workspace.Tokens);
        Return(workspace);
        ExplainedToken[] tokens = new ExplainedToken[ids.Length];
        for (int i = 0; i < ids.Length; i++)
        {
            (int start, int end) = offsets[i];
            tokens[i] = new(PieceOf(ids[i]), start, end, text[start..end].ToString(), IsSpecial(ids[i]));
        }
        return new(seen, tokens);
    }

    /// <summary>The text of ids.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    /// <exception cref="ArgumentException">An id is not in the vocabulary.</exception>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = false)
    {
        StringBuilder text = new(ids.Length * 3);
        TokenDecoder decoder = _pipeline.CreateDecoder(skipSpecialTokens);
        foreach (int id in ids)
        {
            CheckId(id);
            decoder.Push(id, text);
        }
        decoder.Finish(text, dropUnfinished: false);
        return text.ToString();
    }

    /// <summary>Begins to decode ids one by one.</summary>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    public StreamingDecoder DecodeStreaming(bool skipSpecialTokens = false) => new(this, _pipeline.CreateDecoder(skipSpecialTokens));

    /// <summary>The piece of an id, as the vocabulary has it; empty for an id that has none.</summary>
    /// <exception cref="ArgumentException">The id is not in the vocabulary.</exception>
    public string TokenOf(int id)
    {
        CheckId(id);
        return Vocabulary.TextOf(id) ?? "";
    }

    /// <summary>The id of a piece, written as the vocabulary has it, or null.</summary>
    public int? IdOf(string token)
    {
        ArgumentNullException.ThrowIfNull(token);
        return OrNull(Vocabulary.IdOf(token));
    }

    /// <summary>Whether decoding leaves the id out when it skips special tokens.</summary>
    public bool IsSpecial(int id) => Vocabulary.IsSpecial(id);

    internal void CheckId(int id)
    {
        if ((uint)id >= (uint)VocabularySize)
            throw new ArgumentException(Say(
                string.Create(CultureInfo.InvariantCulture, $"Token id {id} is not in the tokenizer's vocabulary, whose ids are 0 to {VocabularySize - 1}."),
                string.Create(CultureInfo.InvariantCulture, $"トークン ID {id} はトークナイザーの語彙にありません。ID は 0 から {VocabularySize - 1} までです。")),
                nameof(id));
    }

    private VocabularyPiece PieceOf(int id) => new(id, Vocabulary.TextOf(id)!, Vocabulary.ScoreOf(id), Vocabulary.KindOf(id));

    private Workspace Run(ReadOnlySpan<char> text, bool addSpecialTokens, bool tracked, List<string>? seen = null, bool trims = true)
    {
        // One spare workspace serves a single thread without allocating; more threads at once make their own.
        Workspace workspace = Interlocked.Exchange(ref _spare, null) ?? new();
        workspace.Tokens.Clear(tracked);
        workspace.Seen = seen;
        workspace.Trims = trims;
        _pipeline.Encode(WellFormed.Of(text, ref workspace.Repaired), addSpecialTokens, workspace);
        return workspace;
    }

    private void Return(Workspace workspace)
    {
        workspace.Seen = null;
        if (workspace.IsWorthKeeping) _spare = workspace;
    }

    private static (int Start, int End)[] OffsetsOf(TokenSink tokens)
    {
        (int, int)[] offsets = new (int, int)[tokens.Count];
        for (int i = 0; i < offsets.Length; i++) offsets[i] = (tokens.Starts[i], tokens.Ends[i]);
        return offsets;
    }

    private static int? OrNull(int id) => id >= 0 ? id : null;
}
