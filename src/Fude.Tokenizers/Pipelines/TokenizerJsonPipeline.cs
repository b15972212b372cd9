using System.Text.Json.Nodes;
using Fude.Tokenizers.Decoders;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Normalizers;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.PreTokenizers;
using Fude.Tokenizers.Text;
using Fude.Tokenizers.Unicode;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Pipelines;

/// <summary>
/// Hugging Face's library: added tokens are taken out of the text, what is between them is normalised, cut into words and given to the
/// model, and the ids get their surroundings.
/// </summary>
internal sealed class TokenizerJsonPipeline : Pipeline
{
    private readonly TokenizerParts _parts;
    private readonly AddedTokenFinder _outer, _inner;

    internal TokenizerJsonPipeline(TokenizerParts parts)
    {
        _parts = parts;
        _outer = new(parts.Added.Where(a => !a.Token.Normalized).Select(a => (a.Id, a.Token, a.Token.Content)));
        // Tokens that are looked for in normalised text are normalised too.
        Workspace workspace = new();
        _inner = new([.. parts.Added.Where(a => a.Token.Normalized).Select(a => (a.Id, a.Token, NormalForm(a.Token.Content, workspace)))]);
    }

    internal override Vocabulary Vocabulary => _parts.Vocabulary;

    internal override TokenizerModel Model => _parts.Kind;

    internal override IReadOnlyList<(string Left, string Right)> Merges => _parts.Merges;

    internal override void Encode(ReadOnlySpan<char> text, bool addSpecialTokens, Workspace workspace)
    {
        TokenSink tokens = workspace.Tokens;
        if (addSpecialTokens)
            foreach (int id in _parts.Prefix) tokens.AddOriginal(id, 0, 0);
        int first = tokens.Count;
        if (_outer.IsEmpty)
        {
            EncodePart(text, 0, workspace);
        }
        else
        {
            List<AddedTokenMatch> matches = workspace.OuterMatches;
            matches.Clear();
            _outer.Split(text, 0, text.Length, matches);
            foreach (AddedTokenMatch match in matches)
            {
                if (match.Id >= 0) tokens.AddOriginal(match.Id, match.Start, match.End);
                else EncodePart(text[match.Start..match.End], match.Start, workspace);
            }
        }
        if (_parts.TrimsOffsets && workspace.Trims && tokens.Tracked) TrimOffsets(text, tokens, first);
        if (addSpecialTokens)
            foreach (int id in _parts.Suffix) tokens.AddOriginal(id, text.Length, text.Length);
    }

    private void EncodePart(ReadOnlySpan<char> text, int offset, Workspace workspace)
    {
        if (text.IsEmpty) return;
        workspace.Text.Clear(workspace.Tokens.Tracked);
        workspace.Text.AppendOriginal(text, offset);
        Normalize(workspace);
        workspace.Seen?.Add(workspace.Text.Span.ToString());
        if (_inner.IsEmpty)
        {
            EncodeWords(0, workspace.Text.Length, offset, workspace);
            return;
        }
        List<AddedTokenMatch> matches = workspace.InnerMatches;
        matches.Clear();
        _inner.Split(workspace.Text.Span, 0, workspace.Text.Length, matches);
        if (_parts.PreTokenizer is not null && matches.Count > 1)
        {
            // The words of one part may be rewritten: the normal form stays aside until all parts are done.
            TextBuffer normal = workspace.NormalText;
            normal.Clear(workspace.Text.Tracked);
            normal.Append(workspace.Text, 0, workspace.Text.Length);
            foreach (AddedTokenMatch match in matches)
            {
                if (match.Id >= 0)
                {
                    workspace.Tokens.Add(match.Id, normal, match.Start, match.End);
                    continue;
                }
                workspace.Text.Clear(normal.Tracked);
                workspace.Text.Append(normal, match.Start, match.End);
                EncodeWords(0, workspace.Text.Length, offset + match.Start, workspace);
            }
            return;
        }
        foreach (AddedTokenMatch match in matches)
        {
            if (match.Id >= 0) workspace.Tokens.Add(match.Id, workspace.Text, match.Start, match.End);
            else EncodeWords(match.Start, match.End, offset + match.Start, workspace);
        }
    }

    private void EncodeWords(int start, int end, int offset, Workspace workspace)
    {
        if (start == end) return;
        if (_parts.PreTokenizer is null)
        {
            _parts.Model.Encode(workspace.Text, start, end, workspace);
            return;
        }
        workspace.Stretches.Clear();
        workspace.Stretches.Add(new(start, end));
        _parts.PreTokenizer.Run(workspace, offset);
        List<Stretch> words = workspace.Stretches;
        for (int i = 0; i < words.Count; i++) _parts.Model.Encode(workspace.Text, words[i].Start, words[i].End, workspace);
    }

    private void Normalize(Workspace workspace)
    {
        foreach (Normalizer step in _parts.Normalizers)
        {
            workspace.OtherText.Clear(workspace.Text.Tracked);
            if (step.Run(workspace.Text, workspace.OtherText, workspace)) workspace.SwapTexts();
        }
    }

    private string NormalForm(string text, Workspace workspace)
    {
        workspace.Text.Clear(tracked: false);
        workspace.Text.AppendOriginal(text, 0);
        Normalize(workspace);
        return workspace.Text.Span.ToString();
    }

    // ByteLevel's trim_offsets: a token's white space is not part of its place. It is looked for in the token, where Ġ is a space and what stands for
    // the bytes of other white space is none; an added token is the text that it was found in.
    private void TrimOffsets(ReadOnlySpan<char> text, TokenSink tokens, int first)
    {
        for (int i = first; i < tokens.Count; i++)
        {
            int start = tokens.Starts[i], end = tokens.Ends[i];
            ReadOnlySpan<char> token = _parts.IsAdded(tokens.Ids[i]) ? text[start..end] : Vocabulary.TextOf(tokens.Ids[i]);
            int leading = 0, trailing = 0;
            while (leading < token.Length && IsSpace(token[leading])) leading++;
            while (trailing < token.Length && IsSpace(token[^(trailing + 1)])) trailing++;
            // The one space that was put in front is no part of the text.
            if (leading == 1 && _parts.KeepsPrefixSpace && (i == first || start == 0)) leading = 0;
            tokens.Starts[i] = Math.Min(start + leading, end);
            if (trailing <= end) tokens.Ends[i] = Math.Max(end - trailing, tokens.Starts[i]);
        }

        static bool IsSpace(char c) => c == ByteAlphabet.Characters[' '] || CodePoint.IsWhiteSpace(c);
    }

    internal override void Describe(IDictionary<string, object> metadata)
    {
        metadata[GgufTokenizerFile.Kind] = "tokenizer.json";
        metadata[GgufTokenizerFile.Rules] = _parts.Rules;
        metadata[GgufTokenizerFile.CleansUp] = _parts.CleansUp;
        metadata[GgufTokenizerFile.Prefix] = _parts.Prefix;
        metadata[GgufTokenizerFile.Suffix] = _parts.Suffix;
        if (_parts.Scores is { } scores && scores.Any(score => (float)score != score)) metadata[GgufTokenizerFile.Scores] = scores;
        GgufTokenizerFile.Describe(_parts.Added, Vocabulary, _ => false, metadata);
        if (Model == TokenizerModel.ByteLevelBpe)
        {
            metadata[GgufTokenizerFile.Words] = _parts.PreTokenizer!.GgufName
                ?? throw new NotSupportedException(Say(
                    "the tokenizer cuts text into words by a rule that GGUF files have no name for. fude writes GPT-2's (GPT-NeoX's " +
                    "too) and Llama 3's.",
                    "このトークナイザーの単語分割規則には、GGUF での名前がありません。fude が書き出せるのは GPT-2（GPT-NeoX も同じ）と Llama 3 の規則です。"));
            metadata[GgufTokenizerFile.PrefixSpace] = _parts.PreTokenizer is PreTokenizer.ByteLevel { AddsPrefixSpace: true };
            return;
        }
        metadata[GgufTokenizerFile.Words] = "default";
        foreach (Normalizer step in _parts.Normalizers)
            if (step.Charsmap is { } charsmap) metadata[GgufTokenizerFile.Charsmap] = charsmap;
        Workspace workspace = new();
        workspace.Tokens.Clear(tracked: false);
        Encode("あ", addSpecialTokens: false, workspace);
        metadata[GgufTokenizerFile.PrefixSpace] =
            workspace.Tokens.Count > 0 && Vocabulary.TextOf(workspace.Tokens.Ids[0])!.StartsWith(SentencePieceNormalizer.Space);
        metadata[GgufTokenizerFile.ExtraSpaces] = false;
    }

    internal override TokenDecoder CreateDecoder(bool skipSpecialTokens)
    {
        StagedDecoder decoder = new(Vocabulary, skipSpecialTokens, _parts.CreateDecoderStages());
        return _parts.CleansUp ? new CleaningDecoder(decoder) : decoder;
    }
}

/// <summary>What a tokenizer.json (or vocab.json and merges.txt) is made of.</summary>
internal sealed class TokenizerParts
{
    private readonly Dictionary<int, int> _places = [];        // of ids in Added

    internal required Vocabulary Vocabulary { get; init; }

    internal required PieceModel Model { get; init; }

    internal required TokenizerModel Kind { get; init; }

    internal IReadOnlyList<(string Left, string Right)> Merges { get; init; } = [];

    /// <summary>The scores of a Unigram model, as exactly as it computes with them.</summary>
    internal double[]? Scores { get; init; }

    /// <summary>A tokenizer.json of everything but the pieces, the merges and the added tokens.</summary>
    internal required string Rules { get; set; }

    internal List<(int Id, AddedToken Token)> Added { get; } = [];

    /// <summary>Whether an id is one of those.</summary>
    internal bool IsAdded(int id) => _places.ContainsKey(id);

    internal Normalizer[] Normalizers { get; init; } = [];

    internal PreTokenizer? PreTokenizer { get; set; }

    /// <summary>Ids in front of the text when special tokens are added.</summary>
    internal int[] Prefix { get; set; } = [];

    /// <summary>Ids behind the text when special tokens are added.</summary>
    internal int[] Suffix { get; set; } = [];

    internal bool TrimsOffsets { get; set; }

    /// <summary>Whether trimming leaves the first token one space, which its pre-tokenizer may have put there.</summary>
    internal bool KeepsPrefixSpace { get; set; }

    internal bool CleansUp { get; set; }

    /// <summary>Makes a fresh chain for one text.</summary>
    internal required Func<IEnumerable<DecoderStage>> CreateDecoderStages { get; init; }

    /// <summary>Forgets what the file does to the tokens of a text: a class has a template of its own.</summary>
    internal void ReplacePostProcessor()
    {
        TrimsOffsets = false;
        JsonObject rules = JsonNode.Parse(Rules)!.AsObject();
        if (rules.Remove("post_processor")) Rules = rules.ToJsonString();
    }

    /// <summary>Takes a token in; one that the vocabulary does not have gets <paramref name="id"/>, or the next free one.</summary>
    internal void AddToken(AddedToken token, int? id, string source)
    {
        if (token.Content.Length == 0) return;
        int known = Vocabulary.IdOf(token.Content);
        if (known >= 0 && id is int expected && known != expected && Vocabulary.TextOf(expected) != token.Content)
            throw new InvalidDataException(Say(
                string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{source}: the added token \"{token.Content}\" has id {expected}, but the vocabulary gives it id {known}."),
                string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{source}: 追加トークン \"{token.Content}\" の ID が {expected} ですが、語彙では {known} です。")));
        int at = known >= 0 ? known : id ?? Vocabulary.Size;
        if (known < 0) Vocabulary.Add(at, token.Content, 0, PieceKind.Normal, source, isAdded: true);
        if (_places.TryAdd(at, Added.Count)) Added.Add((at, token));
        else Added[_places[at]] = (at, token);
        bool isUnknown = Vocabulary.UnknownId == at;
        Vocabulary.Mark(at, isUnknown ? PieceKind.Unknown : token.Special ? PieceKind.Control : PieceKind.UserDefined, token.Special);
    }
}
