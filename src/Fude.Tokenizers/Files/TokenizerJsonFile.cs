using System.Globalization;
using System.Text;
using System.Text.Json;
using Fude.Tokenizers.Decoders;
using Fude.Tokenizers.Normalizers;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Pipelines;
using Fude.Tokenizers.PreTokenizers;
using Fude.Tokenizers.Text;
using Fude.Tokenizers.Unicode;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Files;

/// <summary>Reads a tokenizer.json. A component that fude does not have is an error that names it.</summary>
internal static class TokenizerJsonFile
{
    private const int MaxNested = 16;

    internal static TokenizerParts Read(string path) => Read(JsonPart.Read(path));

    /// <summary>Reads the file.</summary>
    /// <remarks>truncation and padding are left out of account, as transformers does when it is not asked for them.</remarks>
    /// <param name="file">The file.</param>
    /// <param name="own">The model's pieces and merges, where the file has none.</param>
    /// <param name="moreAdded">Added tokens that are not in the file.</param>
    internal static TokenizerParts Read(JsonPart file, PieceList? own = null, IEnumerable<(int Id, AddedToken Token)>? moreAdded = null)
    {
        JsonPart model = file.Get("model");
        // Old files do not name the type of their model; its keys tell.
        string type = model.Text("type") ?? (model.Find("merges") is not null ? "BPE" : model.Find("unk_id") is not null ? "Unigram" : "(none)");
        Vocabulary vocabulary = new();
        PieceModel pieces;
        double[]? scores = null;
        IReadOnlyList<(string, string)> merges = [];
        JsonPart? preTokenizer = file.Find("pre_tokenizer"), decoder = file.Find("decoder");
        switch (type)
        {
            case "BPE":
                merges = own?.Merges ?? ReadMerges(model.Get("merges"));
                pieces = ReadBpe(model, vocabulary, merges, own);
                break;
            case "Unigram":
                pieces = ReadUnigram(model, vocabulary, own, out scores);
                break;
            default:
                throw Unsupported(model, type, Say("BPE and Unigram", "BPE と Unigram"));
        }
        TokenizerParts parts = new()
        {
            Vocabulary = vocabulary,
            Model = pieces,
            Kind = type == "Unigram" ? TokenizerModel.Unigram : UsesBytes(preTokenizer) ? TokenizerModel.ByteLevelBpe : TokenizerModel.Bpe,
            Merges = merges,
            Scores = scores,
            Rules = RulesOf(file, type),
            Normalizers = file.Find("normalizer") is JsonPart normalizer ? [.. ReadNormalizer(normalizer, 0)] : [],
            PreTokenizer = preTokenizer is JsonPart p ? ReadPreTokenizer(p, 0) : null,
            CreateDecoderStages = decoder is JsonPart d ? ReadDecoders(d) : static () => [new DecoderStage.Join()],
        };
        if (file.Find("added_tokens") is JsonPart added)
            foreach (JsonPart token in added.Items()) ReadAdded(token, parts);
        foreach ((int id, AddedToken token) in moreAdded ?? []) parts.AddToken(token, id, file.Source);
        if (file.Find("post_processor") is JsonPart postProcessor) ReadPostProcessor(postProcessor, parts, 0);
        return parts;
    }

    /// <summary>The pairs of a merges.txt.</summary>
    internal static List<(string Left, string Right)> ReadMergesText(string path)
    {
        string name = Path.GetFileName(path);
        List<(string, string)> merges = [];
        int number = 0;
        foreach (string line in File.ReadLines(path, new UTF8Encoding(false, throwOnInvalidBytes: false)))
        {
            number++;
            if ((number == 1 && line.StartsWith("#version", StringComparison.Ordinal)) || line.Length == 0) continue;
            string[] parts = line.Split(' ');
            if (parts.Length != 2)
                throw new InvalidDataException(Say(
                    string.Create(CultureInfo.InvariantCulture, $"{name}, line {number}: \"{line}\" should be two pieces with a space between them."),
                    string.Create(CultureInfo.InvariantCulture, $"{name}:{number}: \"{line}\" は、空白で区切った 2 つの語でなければなりません。")));
            merges.Add((parts[0], parts[1]));
        }
        return merges;
    }

    /// <summary>A vocabulary that is an object {"piece": id}.</summary>
    internal static void ReadVocabulary(JsonPart part, Vocabulary vocabulary)
    {
        foreach ((string text, JsonPart id) in part.Properties()) vocabulary.Add(id.Integer(), text, 0, PieceKind.Normal, part.Source);
    }

    private static void ReadAdded(JsonPart part, TokenizerParts parts)
    {
        AddedToken token = AddedToken.Read(part, special: false);
        int id = part.Get("id").Integer();
        Vocabulary.CheckId(id, token.Content, part.Source);
        parts.AddToken(token, id, part.Source);
    }

    private static List<(string, string)> ReadMerges(JsonPart part)
    {
        List<(string, string)> merges = new(part.Count);
        foreach (JsonPart merge in part.Items())
        {
            if (merge.IsArray)
            {
                if (!merge.TryPair(out JsonPart left, out JsonPart right)) throw merge.Wrong(Say("a list of two pieces", "2 つの語のリスト"));
                merges.Add((left.Text(), right.Text()));
                continue;
            }
            string[] parts = merge.Text().Split(' ');
            if (parts.Length != 2) throw merge.Wrong(Say("two pieces with a space between them", "空白で区切った 2 つの語"));
            merges.Add((parts[0], parts[1]));
        }
        return merges;
    }

    // What is left of the file without pieces, merges and added tokens.
    private static string RulesOf(JsonPart file, string type)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            foreach (string key in (string[])["normalizer", "pre_tokenizer", "post_processor", "decoder"])
                if (file.Find(key) is JsonPart part) part.WriteTo(json, key);
            json.WriteStartObject("model");
            json.WriteString("type", type);
            foreach ((string key, JsonPart part) in file.Get("model").Properties())
                if (key is not ("type" or "vocab" or "merges")) part.WriteTo(json, key);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static BpeModel ReadBpe(JsonPart model, Vocabulary vocabulary, IReadOnlyList<(string, string)> merges, PieceList? own)
    {
        if (own is null) ReadVocabulary(model.Get("vocab"), vocabulary);
        else foreach ((int id, string text) in own.Pieces) vocabulary.Add(id, text, 0, PieceKind.Normal, model.Source);
        if (model.Find("dropout") is JsonPart dropout && dropout.Number() != 0)
            throw new NotSupportedException(Say(
                $"{model.Source}: model.dropout makes encoding random; fude supports null and 0.",
                $"{model.Source}: model.dropout があると結果が乱数で変わります。使えるのは null と 0 です。"));
        BpeModel.Options options = new(
            model.Text("unk_token"), model.Boolean("fuse_unk", false), model.Boolean("byte_fallback", false), model.Boolean("ignore_merges", false),
            model.Text("continuing_subword_prefix") ?? "", model.Text("end_of_word_suffix") ?? "");
        BpeModel bpe = new(vocabulary, merges, options, model.Source);
        if (options.UnknownToken is string unknown) SetUnknown(vocabulary, vocabulary.IdOf(unknown));
        if (options.HasByteFallback) MarkBytes(vocabulary);
        for (int rank = 0; rank < merges.Count; rank++)
        {
            // The score that GGUF and SentencePiece would give: minus the rank of the first merge that makes the piece.
            int id = vocabulary.IdOf(merges[rank].Item1 + merges[rank].Item2);
            if (id >= 0 && vocabulary.ScoreOf(id) == 0) vocabulary.SetScore(id, -rank);
        }
        return bpe;
    }

    private static UnigramModel ReadUnigram(JsonPart model, Vocabulary vocabulary, PieceList? own, out double[] scores)
    {
        scores = own?.Scores ?? ReadScored(model.Get("vocab"), vocabulary);
        if (own is not null)
            foreach ((int id, string text) in own.Pieces) vocabulary.Add(id, text, (float)scores[id], PieceKind.Normal, model.Source);
        int unknownId = model.Find("unk_id")?.Integer() ?? -1;
        if (unknownId < -1 || unknownId >= scores.Length)
            throw new InvalidDataException(Say(
                string.Create(CultureInfo.InvariantCulture, $"{model.Source}: model.unk_id is {unknownId}, but the ids are 0 to {scores.Length - 1}."),
                string.Create(CultureInfo.InvariantCulture, $"{model.Source}: model.unk_id が {unknownId} ですが、ID は 0 から {scores.Length - 1} までです。")));
        bool hasByteFallback = model.Boolean("byte_fallback", false);
        if (unknownId >= 0) SetUnknown(vocabulary, unknownId);
        if (hasByteFallback) MarkBytes(vocabulary);
        return new(vocabulary, scores, unknownId, hasByteFallback);
    }

    private static double[] ReadScored(JsonPart list, Vocabulary vocabulary)
    {
        double[] scores = new double[list.Count];
        if (scores.Length == 0) throw list.Wrong(Say("a list with at least one piece", "1 つ以上の語のリスト"));
        int id = 0;
        foreach (JsonPart entry in list.Items())
        {
            if (!entry.TryPair(out JsonPart piece, out JsonPart score)) throw entry.Wrong(Say("a list of piece and score", "語とスコアのリスト"));
            scores[id] = score.SerdeNumber();
            vocabulary.Add(id, piece.Text(), (float)scores[id], PieceKind.Normal, list.Source);
            id++;
        }
        return scores;
    }

    private static void SetUnknown(Vocabulary vocabulary, int id)
    {
        vocabulary.UnknownId = id;
        vocabulary.Mark(id, PieceKind.Unknown, isSpecial: false);
    }

    private static void MarkBytes(Vocabulary vocabulary)
    {
        foreach (int id in vocabulary.ByteIds)
            if (id >= 0) vocabulary.Mark(id, PieceKind.Byte, isSpecial: false);
    }

    private static IEnumerable<Normalizer> ReadNormalizer(JsonPart part, int depth)
    {
        string type = TypeOf(part);
        if (type == "Sequence") return [.. Nested(part, "normalizers", depth).SelectMany(p => ReadNormalizer(p, depth + 1))];
        return
        [
            type switch
            {
                "NFC" => new Normalizer.UnicodeForm(NormalizationForm.FormC),
                "NFD" => new Normalizer.UnicodeForm(NormalizationForm.FormD),
                "NFKC" => new Normalizer.UnicodeForm(NormalizationForm.FormKC),
                "NFKD" => new Normalizer.UnicodeForm(NormalizationForm.FormKD),
                "Lowercase" => new Normalizer.Lowercase(),
                "Strip" => new Normalizer.Strip(part.Boolean("strip_left", true), part.Boolean("strip_right", true)),
                "Prepend" => new Normalizer.Prepend(part.Get("prepend").Text()),
                "Replace" => ReadPattern(part.Get("pattern")) is (string literal, null)
                    ? new Normalizer.ReplaceLiteral(literal, part.Get("content").Text())
                    : new Normalizer.ReplacePattern(ReadPattern(part.Get("pattern")).Regex!, part.Get("content").Text()),
                "Precompiled" => new Normalizer.Precompiled(new(ReadCharsmap(part.Get("precompiled_charsmap")), part.Source)),
                _ => throw Unsupported(part, type, Say(
                    "NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Precompiled and Sequence",
                    "NFC、NFD、NFKC、NFKD、Lowercase、Strip、Prepend、Replace、Precompiled、Sequence")),
            },
        ];
    }

    private static byte[] ReadCharsmap(JsonPart part)
    {
        try
        {
            return Convert.FromBase64String(part.Text());
        }
        catch (FormatException e)
        {
            throw new InvalidDataException(Say($"{part.Source}: {part.Path} is not in base64.", $"{part.Source}: {part.Path} が base64 ではありません。"), e);
        }
    }

    private static (string? Literal, TextPattern? Regex) ReadPattern(JsonPart part)
    {
        if (part.Find("String") is JsonPart literal) return (literal.Text(), null);
        if (part.Find("Regex") is JsonPart regex) return (null, TextPattern.OfRegex(regex.Text(), part.Source));
        throw part.Wrong(Say("""{"String": …} or {"Regex": …}""", """{"String": …} または {"Regex": …}"""));
    }

    private static bool UsesBytes(JsonPart? part) =>
        part is JsonPart p
        && (p.Text("type") == "ByteLevel" || (p.Find("pretokenizers") is JsonPart list && list.IsArray && list.Items().Any(i => i.IsObject && i.Text("type") == "ByteLevel")));

    private static PreTokenizer ReadPreTokenizer(JsonPart part, int depth)
    {
        string type = TypeOf(part);
        switch (type)
        {
            case "Sequence":
                return new PreTokenizer.Sequence([.. Nested(part, "pretokenizers", depth).Select(p => ReadPreTokenizer(p, depth + 1))]);
            case "ByteLevel":
                return new PreTokenizer.ByteLevel(part.Boolean("add_prefix_space", true), part.Boolean("use_regex", true));
            case "Metaspace":
                return new PreTokenizer.Metaspace(ReadReplacement(part), ReadPrefix(part), part.Boolean("split", true));
            case "Split":
                (string? literal, TextPattern? regex) = ReadPattern(part.Get("pattern"));
                return new PreTokenizer.Split(regex ?? TextPattern.OfLiteral(literal!), ReadBehavior(part.Get("behavior")), part.Boolean("invert", false));
            case "Digits":
                return new PreTokenizer.SplitCharacters(
                    CodePoint.IsNumber, part.Boolean("individual_digits", false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous);
            case "Punctuation":
                return new PreTokenizer.SplitCharacters(
                    IsPunctuation, part.Find("behavior") is JsonPart behavior ? ReadBehavior(behavior) : SplitBehavior.Isolated);
            case "Whitespace":
                return new PreTokenizer.Whitespace();
            case "WhitespaceSplit":
                return new PreTokenizer.SplitCharacters(CodePoint.IsWhiteSpace, SplitBehavior.Removed);
            default:
                throw Unsupported(part, type, Say(
                    "ByteLevel, Metaspace, Split, Digits, Punctuation, Whitespace, WhitespaceSplit and Sequence",
                    "ByteLevel、Metaspace、Split、Digits、Punctuation、Whitespace、WhitespaceSplit、Sequence"));
        }
    }

    private static bool IsPunctuation(int codePoint) =>
        codePoint < 0x80 ? char.IsPunctuation((char)codePoint) || char.IsSymbol((char)codePoint) : CodePoint.IsPunctuation(codePoint);

    private static char ReadReplacement(JsonPart part)
    {
        string text = part.Text("replacement") ?? "\u2581";
        return text.Length == 1 ? text[0] : throw part.Get("replacement").Wrong(Say("one character", "1 文字"));
    }

    private static MetaspacePrefix ReadPrefix(JsonPart part)
    {
        // Before prepend_scheme there was add_prefix_space.
        if (part.Find("prepend_scheme") is not JsonPart scheme) return part.Boolean("add_prefix_space", true) ? MetaspacePrefix.Always : MetaspacePrefix.Never;
        return scheme.Text() switch
        {
            "always" => MetaspacePrefix.Always,
            "first" => MetaspacePrefix.First,
            "never" => MetaspacePrefix.Never,
            _ => throw scheme.Wrong(Say("\"always\", \"first\" or \"never\"", "\"always\"、\"first\"、\"never\" のどれか")),
        };
    }

    private static SplitBehavior ReadBehavior(JsonPart part) => part.Text() switch
    {
        "Removed" => SplitBehavior.Removed,
        "Isolated" => SplitBehavior.Isolated,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        "Contiguous" => SplitBehavior.Contiguous,
        _ => throw part.Wrong(Say(
            "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous",
            "Removed、Isolated、MergedWithPrevious、MergedWithNext、Contiguous のどれか")),
    };

    private static Func<IEnumerable<DecoderStage>> ReadDecoders(JsonPart part)
    {
        List<Func<DecoderStage>> makers = [];
        Read(part, fused: false, 0);
        return () => makers.Select(make => make());

        // Once the strings are one, a replacement at its beginning need not wait for its end.
        bool Read(JsonPart p, bool fused, int depth)
        {
            string type = TypeOf(p);
            switch (type)
            {
                case "Sequence":
                    foreach (JsonPart nested in Nested(p, "decoders", depth)) fused = Read(nested, fused, depth + 1);
                    return fused;
                case "Fuse":
                    makers.Add(static () => new DecoderStage.Fuse());
                    return true;
                case "ByteFallback":
                    makers.Add(static () => new DecoderStage.ByteFallback());
                    return fused;
                case "ByteLevel":
                    makers.Add(static () => new DecoderStage.ByteLevel());
                    return true;
                case "Metaspace":
                    (char replacement, bool drops) = (ReadReplacement(p), ReadPrefix(p) != MetaspacePrefix.Never);
                    makers.Add(() => new DecoderStage.Metaspace(replacement, drops));
                    return fused;
                case "BPEDecoder":
                    string suffix = p.Text("suffix") ?? "</w>";
                    makers.Add(() => new DecoderStage.WordSuffix(suffix));
                    return fused;
                case "Strip":
                    string content = p.Get("content").Text();
                    if (content.Length != 1) throw p.Get("content").Wrong(Say("one character", "1 文字"));
                    (int start, int stop) = (p.Get("start").Integer(), p.Get("stop").Integer());
                    if (start < 0 || stop < 0) throw p.Wrong(Say("a Strip with counts that are not negative", "個数が負でない Strip"));
                    makers.Add(() => new DecoderStage.Strip(content[0], start, stop));
                    return fused;
                case "Replace":
                    (string? literal, TextPattern? regex) = ReadPattern(p.Get("pattern"));
                    string with = p.Get("content").Text();
                    if (regex is TextPattern.BeginOfText begin) makers.Add(() => new DecoderStage.ReplaceAtBegin(begin.Text, with));
                    else if (regex is TextPattern.Literal same) makers.Add(() => new DecoderStage.Replace(same.Text, with));
                    else if (regex is not null) makers.Add(() => new DecoderStage.ReplacePattern(regex, with));
                    else if (literal!.Length > 0) makers.Add(() => new DecoderStage.Replace(literal, with));
                    return fused;
                default:
                    throw Unsupported(p, type, Say(
                        "ByteLevel, ByteFallback, Metaspace, BPEDecoder, Fuse, Strip, Replace and Sequence",
                        "ByteLevel、ByteFallback、Metaspace、BPEDecoder、Fuse、Strip、Replace、Sequence"));
            }
        }
    }

    private static void ReadPostProcessor(JsonPart part, TokenizerParts parts, int depth)
    {
        string type = TypeOf(part);
        switch (type)
        {
            case "Sequence":
                foreach (JsonPart nested in Nested(part, "processors", depth)) ReadPostProcessor(nested, parts, depth + 1);
                break;
            case "ByteLevel":
                parts.TrimsOffsets = part.Boolean("trim_offsets", true);
                parts.KeepsPrefixSpace = part.Boolean("add_prefix_space", true);
                break;
            case "TemplateProcessing":
                ReadTemplate(part, parts);
                break;
            default:
                throw Unsupported(part, type, Say("TemplateProcessing, ByteLevel and Sequence", "TemplateProcessing、ByteLevel、Sequence"));
        }
    }

    private static void ReadTemplate(JsonPart part, TokenizerParts parts)
    {
        Dictionary<string, int[]> special = new(StringComparer.Ordinal);
        foreach ((string name, JsonPart token) in part.Get("special_tokens").Properties())
        {
            special[name] = [.. token.Get("ids").Items().Select(id => id.Integer())];
            foreach (int id in special[name])
                if (!parts.Vocabulary.Contains(id))
                    throw new InvalidDataException(Say(
                        string.Create(CultureInfo.InvariantCulture, $"{token.Source}: {token.Path} has id {id}, which is not in the vocabulary."),
                        string.Create(CultureInfo.InvariantCulture, $"{token.Source}: {token.Path} の ID {id} が語彙にありません。")));
        }
        List<int> prefix = [], suffix = [];
        int texts = 0;
        foreach (JsonPart item in part.Get("single").Items())
        {
            if (item.Find("Sequence") is not null)
            {
                texts++;
                continue;
            }
            string name = item.Get("SpecialToken").Get("id").Text();
            if (!special.TryGetValue(name, out int[]? ids))
                throw new InvalidDataException(Say(
                    $"{item.Source}: {item.Path} names \"{name}\", which {part.Path}.special_tokens does not have.",
                    $"{item.Source}: {item.Path} が \"{name}\" を指していますが、{part.Path}.special_tokens にありません。"));
            (texts == 0 ? prefix : suffix).AddRange(ids);
        }
        if (texts != 1) throw part.Get("single").Wrong(Say("a template with the text once", "テキストが 1 回だけ入るテンプレート"));
        // The outer one of two templates goes round the inner one.
        parts.Prefix = [.. prefix, .. parts.Prefix];
        parts.Suffix = [.. parts.Suffix, .. suffix];
    }

    private static string TypeOf(JsonPart part) => part.Get("type").Text();

    private static IEnumerable<JsonPart> Nested(JsonPart part, string key, int depth) =>
        depth < MaxNested ? part.Get(key).Items() : throw part.Wrong(Say("nested less deeply", "もっと浅い入れ子"));

    private static NotSupportedException Unsupported(JsonPart part, string type, string supported) =>
        new(Say($"{part.Source}: {part.Path} is of type {type}; fude supports {supported}.", $"{part.Source}: {part.Path} の型 {type} には対応していません。使えるのは {supported} です。"));
}
