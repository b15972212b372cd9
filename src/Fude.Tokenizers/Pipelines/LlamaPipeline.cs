using Fude.Tokenizers.Decoders;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Normalizers;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Pipelines;

/// <summary>transformers' LlamaTokenizer (4.41): a SentencePiece model behind added tokens, with BOS in front.</summary>
internal sealed class LlamaPipeline : Pipeline
{
    private readonly SentencePieceFile _file;
    private readonly SentencePieceEncoder _encoder;
    private readonly AddedTokenFinder _finder;
    private readonly HashSet<int> _special = [], _apart = [];
    private readonly (int Id, AddedToken Token)[] _added;
    private readonly int _pieces;
    private readonly bool _legacy, _addsPrefixSpace, _addsBegin, _addsEnd, _cleansUp;
    private readonly string _unknown;
    private readonly int _unknownLength;

    internal LlamaPipeline(SentencePieceFile file, TokenizerConfig config)
    {
        _file = file;
        _legacy = config.Legacy ?? true;
        _addsPrefixSpace = config.AddsPrefixSpace ?? true;
        _addsBegin = config.AddsBegin ?? true;
        _addsEnd = config.AddsEnd ?? false;
        _cleansUp = config.CleansUp ?? false;
        Vocabulary = SentencePiecePipeline.VocabularyOf(file);
        int pieces = Vocabulary.Size;

        Dictionary<string, (int Id, AddedToken Token)> added = new(StringComparer.Ordinal);
        foreach ((int id, AddedToken token) in config.Added)
        {
            if (Vocabulary.TextOf(id) != token.Content) Vocabulary.Add(id, token.Content, 0, PieceKind.UserDefined, config.Source);
            added[token.Content] = (id, token);
        }
        foreach (AddedToken token in config.AllSpecial)
        {
            if (added.ContainsKey(token.Content)) continue;
            int id = Vocabulary.IdOf(token.Content);
            if (id < 0) Vocabulary.Add(id = Vocabulary.Size, token.Content, 0, PieceKind.Control, config.Source);
            added[token.Content] = (id, token);
        }
        _finder = new(added.Values.Select(t => (t.Id, t.Token, t.Token.Content)));
        foreach (AddedToken token in config.AllSpecial) _special.Add(added[token.Content].Id);
        HashSet<string> additional = [.. config.Additional.Select(t => t.Content)];
        foreach ((int id, AddedToken token) in added.Values)
        {
            bool isSpecial = _special.Contains(id);
            if (!isSpecial || (id >= pieces && additional.Contains(token.Content))) _apart.Add(id);
            if (id >= pieces) Vocabulary.Mark(id, isSpecial ? PieceKind.Control : PieceKind.UserDefined, isSpecial);
        }
        for (int id = 0; id < pieces; id++) Vocabulary.Mark(id, Vocabulary.KindOf(id), _special.Contains(id));
        _added = [.. added.Values];
        _pieces = pieces;
        Vocabulary.BeginId = IdOf(config.Begin);
        Vocabulary.EndId = IdOf(config.End);
        Vocabulary.PaddingId = IdOf(config.Padding);
        if ((_addsBegin && Vocabulary.BeginId < 0) || (_addsEnd && Vocabulary.EndId < 0))
            throw new InvalidDataException(Say(
                $"{config.Source}: a token is to be put around texts that the vocabulary does not have.",
                $"{config.Source}: テキストの前後に付けるトークンが語彙にありません。"));

        // Not legacy: no dummy prefix by SentencePiece, which would also strip; a prefix is part of the text instead.
        _encoder = new(file, Vocabulary, _legacy && file.AddsDummyPrefix);
        _unknown = config.Unknown!.Content;
        Workspace workspace = new();
        workspace.Tokens.Clear(tracked: false);
        _encoder.Encode(_unknown, 0, workspace);
        _unknownLength = workspace.Tokens.Count;

        int IdOf(AddedToken? token) => token is null ? -1 : added[token.Content].Id;
    }

    internal override Vocabulary Vocabulary { get; }

    internal override TokenizerModel Model => _file.IsBpe ? TokenizerModel.Bpe : TokenizerModel.Unigram;

    internal override void Encode(ReadOnlySpan<char> text, bool addSpecialTokens, Workspace workspace)
    {
        if (addSpecialTokens && _addsBegin) workspace.Tokens.AddOriginal(Vocabulary.BeginId, 0, 0);
        if (_legacy) EncodeParts(text, 0, workspace);
        else if (!text.IsEmpty) EncodeWithPrefix(text, workspace);
        if (addSpecialTokens && _addsEnd) workspace.Tokens.AddOriginal(Vocabulary.EndId, text.Length, text.Length);
    }

    private void EncodeWithPrefix(ReadOnlySpan<char> text, Workspace workspace)
    {
        int shift = _addsPrefixSpace ? 1 : 0, before = workspace.Tokens.Count;
        char[] scratch = workspace.Prefixed.Length >= text.Length + shift ? workspace.Prefixed : workspace.Prefixed = new char[text.Length + shift];
        text.Replace(scratch.AsSpan(shift), SentencePieceNormalizer.Space, ' ');
        if (_addsPrefixSpace) scratch[0] = SentencePieceNormalizer.Space;
        EncodeParts(scratch.AsSpan(0, text.Length + shift), -shift, workspace);

        TokenSink tokens = workspace.Tokens;
        if (tokens.Count - before > 1 && Vocabulary.TextOf(tokens.Ids[before]) == "\u2581" && _special.Contains(tokens.Ids[before + 1]))
            tokens.Remove(before, before + 1);
        if (!tokens.Tracked) return;
        for (int i = before; i < tokens.Count; i++)
        {
            tokens.Starts[i] = Math.Clamp(tokens.Starts[i], 0, text.Length);
            tokens.Ends[i] = Math.Clamp(tokens.Ends[i], 0, text.Length);
        }
    }

    private void EncodeParts(ReadOnlySpan<char> text, int offset, Workspace workspace)
    {
        List<AddedTokenMatch> parts = workspace.OuterMatches;
        parts.Clear();
        _finder.SplitSlow(text, parts, workspace.CodePoints);
        foreach (AddedTokenMatch part in parts)
        {
            if (part.Start >= part.End) continue;
            if (part.Id >= 0) workspace.Tokens.AddOriginal(part.Id, offset + part.Start, offset + part.End);
            else EncodePart(text[part.Start..part.End], offset + part.Start, workspace);
        }
    }

    private void EncodePart(ReadOnlySpan<char> text, int offset, Workspace workspace)
    {
        if (_legacy || text[0] is not (' ' or SentencePieceNormalizer.Space))
        {
            _encoder.Encode(text, offset, workspace);
            return;
        }
        // SentencePiece might strip the leading space, so something stands in front of it and is taken away again.
        int before = workspace.Tokens.Count;
        char[] guarded = System.Buffers.ArrayPool<char>.Shared.Rent(_unknown.Length + text.Length);
        _unknown.CopyTo(guarded);
        text.CopyTo(guarded.AsSpan(_unknown.Length));
        _encoder.Encode(guarded.AsSpan(0, _unknown.Length + text.Length), offset - _unknown.Length, workspace);
        System.Buffers.ArrayPool<char>.Shared.Return(guarded);
        if (workspace.Tokens.Count - before >= _unknownLength) workspace.Tokens.Remove(before, before + _unknownLength);
    }

    internal override void Describe(IDictionary<string, object> metadata)
    {
        GgufTokenizerFile.Describe(_file, metadata);
        metadata[GgufTokenizerFile.Kind] = "llama";
        metadata[GgufTokenizerFile.Legacy] = _legacy;
        metadata[GgufTokenizerFile.CleansUp] = _cleansUp;
        metadata[GgufTokenizerFile.Pieces] = (uint)_pieces;
        metadata[GgufTokenizerFile.PrefixSpace] = _legacy ? _file.AddsDummyPrefix : _addsPrefixSpace;
        metadata[GgufTokenizerFile.PrefixPiece] = _file.AddsDummyPrefix;
        GgufTokenizerFile.Describe(_added, Vocabulary, _special.Contains, metadata);
    }

    internal override TokenDecoder CreateDecoder(bool skipSpecialTokens)
    {
        bool addsDummyPrefix = _legacy && _file.AddsDummyPrefix;
        LlamaDecoder decoder = new(
            Vocabulary, _special, _apart, SentencePiecePipeline.DecoderOf(_file, Vocabulary, addsDummyPrefix), _legacy, _addsPrefixSpace, skipSpecialTokens);
        return _cleansUp ? new CleaningDecoder(decoder) : decoder;
    }
}
