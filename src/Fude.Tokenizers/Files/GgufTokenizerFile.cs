using System.Globalization;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Pipelines;
using Fude.Tokenizers.PreTokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Files;

/// <summary>Reads a tokenizer from the metadata of a GGUF file.</summary>
/// <remarks>
/// llama.cpp's keys tell pieces, scores and special tokens. What they cannot tell stands under fude's own, "fude.tokenizer.…", which
/// others ignore: with them a tokenizer that fude wrote does exactly what it did before; without them, what llama.cpp's keys mean.
/// </remarks>
internal static class GgufTokenizerFile
{
    internal const string Model = "tokenizer.ggml.model", Words = "tokenizer.ggml.pre", Tokens = "tokenizer.ggml.tokens",
        TokenScores = "tokenizer.ggml.scores", Kinds = "tokenizer.ggml.token_type", Merges = "tokenizer.ggml.merges",
        PrefixSpace = "tokenizer.ggml.add_space_prefix", ExtraSpaces = "tokenizer.ggml.remove_extra_whitespaces",
        Charsmap = "tokenizer.ggml.precompiled_charsmap", AddBegin = "tokenizer.ggml.add_bos_token", AddEnd = "tokenizer.ggml.add_eos_token";

    internal const string Kind = "fude.tokenizer.kind", Rules = "fude.tokenizer.json", Prefix = "fude.tokenizer.prefix_ids",
        Suffix = "fude.tokenizer.suffix_ids", Scores = "fude.tokenizer.scores", AddedIds = "fude.tokenizer.added_ids",
        AddedFlags = "fude.tokenizer.added_flags", CleansUp = "fude.tokenizer.cleans_up", Legacy = "fude.tokenizer.legacy",
        Pieces = "fude.tokenizer.pieces", PrefixPiece = "fude.tokenizer.add_dummy_prefix", UnknownSurface = "fude.tokenizer.unknown_surface",
        Escapes = "fude.tokenizer.escape_whitespaces", AsSuffix = "fude.tokenizer.treat_whitespace_as_suffix";

    private const int SingleWord = 1, TakesLeft = 2, TakesRight = 4, Normalized = 8, Special = 16, NotInModel = 32, SpecialByConfig = 64;

    /// <summary>A row of the embedding that the tokenizer has no piece for; llama.cpp wants a name for it all the same.</summary>
    internal static string Filler(int id) => string.Create(CultureInfo.InvariantCulture, $"[UNUSED_{id}]");

    /// <summary>What a SentencePiece model says beside its pieces.</summary>
    internal static void Describe(SentencePieceFile file, IDictionary<string, object> metadata)
    {
        metadata[Words] = "default";
        metadata[PrefixSpace] = file.AddsDummyPrefix;
        metadata[ExtraSpaces] = file.RemovesExtraWhitespace;
        if (file.Charsmap.Length > 0) metadata[Charsmap] = file.Charsmap;
        metadata[UnknownSurface] = file.UnknownSurface;
        if (!file.EscapesWhitespace) metadata[Escapes] = false;
        if (file.TreatsWhitespaceAsSuffix) metadata[AsSuffix] = true;
    }

    /// <summary>Tokens that are looked for in the text.</summary>
    internal static void Describe(
        IReadOnlyList<(int Id, AddedToken Token)> added, Vocabulary vocabulary, Func<int, bool> isSpecialByConfig, IDictionary<string, object> metadata)
    {
        metadata[AddedIds] = added.Select(a => a.Id).ToArray();
        metadata[AddedFlags] = added.Select(a =>
            (a.Token.SingleWord ? SingleWord : 0) | (a.Token.TakesLeft ? TakesLeft : 0) | (a.Token.TakesRight ? TakesRight : 0)
            | (a.Token.Normalized ? Normalized : 0) | (a.Token.Special ? Special : 0)
            | (vocabulary.ModelIdOf(a.Token.Content) == a.Id ? 0 : NotInModel) | (isSpecialByConfig(a.Id) ? SpecialByConfig : 0)).ToArray();
    }

    /// <summary>Makes a tokenizer of the metadata.</summary>
    /// <returns>Null when the file has none.</returns>
    /// <exception cref="InvalidDataException">The metadata contradicts itself.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that fude does not have.</exception>
    internal static Pipeline? Read(IReadOnlyDictionary<string, object> metadata, string source)
    {
        Entries entries = new(metadata, source);
        string? model = entries.Find<string>(Model);
        return model switch
        {
            null or "none" or "no_vocab" => null,
            "llama" or "t5" or "gpt2" when entries.Find<string>(Rules) is string rules => OfRules(entries.ReadPieces(), rules, model != "t5"),
            "llama" or "t5" => OfSentencePieces(entries.ReadPieces(), model == "llama"),
            "gpt2" => OfBytes(entries.ReadPieces()),
            _ => throw new NotSupportedException(Say(
                $"{source}: has a tokenizer of the kind '{model}'; fude reads llama (SentencePiece's BPE), t5 (Unigram) and gpt2 (byte-level BPE).",
                $"{source}: 種類 '{model}' のトークナイザーには対応していません。読めるのは llama（SentencePiece の BPE）、t5（Unigram）、gpt2（バイトレベル BPE）です。")),
        };
    }

    private static Pipeline OfSentencePieces(Entries entries, bool isBpe)
    {
        int count = entries.Number(Pieces) ?? entries.Texts.Length;
        if (count < 1 || count > entries.Texts.Length) throw entries.Bad(Pieces, Say(
            $"is {count}, but there are {entries.Texts.Length} tokens",
            $"が {count} ですが、トークンは {entries.Texts.Length} 個です"));
        int unknown = entries.Id("unknown") ?? 0;
        if (unknown < count && Array.IndexOf(entries.PieceKinds, PieceKind.Unknown, 0, count) < 0) entries.PieceKinds[unknown] = PieceKind.Unknown;
        SentencePieceFile file = new(entries.Source)
        {
            IsBpe = isBpe,
            HasByteFallback = Array.IndexOf(entries.PieceKinds, PieceKind.Byte, 0, count) >= 0,
            AddsDummyPrefix = entries.Flag(PrefixPiece) ?? entries.Flag(PrefixSpace) ?? isBpe,
            RemovesExtraWhitespace = entries.Flag(ExtraSpaces) ?? false,
            EscapesWhitespace = entries.Flag(Escapes) ?? true,
            TreatsWhitespaceAsSuffix = entries.Flag(AsSuffix) ?? false,
            Charsmap = entries.Bytes(Charsmap) ?? [],
            UnknownSurface = entries.Find<string>(UnknownSurface) ?? " \u2047 ",
            BeginPiece = entries.TextOf("bos") ?? "",
            EndPiece = entries.TextOf("eos") ?? "",
            PaddingPiece = entries.TextOf("padding") ?? "",
        };
        for (int id = 0; id < count; id++)
            file.Pieces.Add(new(entries.Texts[id], entries.PieceScores[id], entries.PieceKinds[id], IsText: true));
        file.Check();
        if (entries.Find<string>(Kind) == "sentencepiece") return new SentencePiecePipeline(file);

        List<(int Id, AddedToken Token, bool IsSpecial)> added = [];
        if (entries.Added() is { } own)
        {
            foreach ((int id, AddedToken token, int flags) in own) added.Add((id, token, (flags & SpecialByConfig) != 0));
        }
        else
        {
            for (int id = 0; id < entries.Texts.Length; id++)
                if (entries.AddedOfKind(id) is AddedToken token) added.Add((id, token, token.Special));
        }
        List<(string, AddedToken)> special = [];
        foreach ((string attribute, string name) in ((string, string)[])[("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding")])
            if (entries.Id(name) is int id) special.Add((attribute, AddedToken.OfSpecial(entries.Texts[id])));
        special.Add(("unk_token", AddedToken.OfSpecial(file.Pieces.Find(piece => piece.Kind == PieceKind.Unknown).Text)));
        return new LlamaPipeline(file, TokenizerConfig.Of(
            entries.Source, entries.Flag(Legacy) ?? true, entries.Flag(AddBegin) ?? isBpe, entries.Flag(AddEnd) ?? !isBpe,
            entries.Flag(PrefixSpace) ?? true, entries.Flag(CleansUp) ?? false, added.Select(a => (a.Id, a.Token)), special,
            added.Where(a => a.IsSpecial && !special.Exists(s => s.Item2.Content == a.Token.Content)).Select(a => a.Token)));
    }

    /// <summary>Byte-level BPE of which llama.cpp's keys alone are there: the words are cut as the name says, and nothing is normalised.</summary>
    private static TokenizerJsonPipeline OfBytes(Entries entries)
    {
        string name = entries.Find<string>(Words) ?? "default";
        bool isOld = name == "default" && entries.Find<string>("general.architecture") is "gpt2" or "stablelm";
        const string Contracted = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|", Rest =
            @"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
        string words = name switch
        {
            "gpt-2" or "gpt2" or "phi-2" or "roberta-bpe" or "mpt" or "olmo" or "jais" or "trillion" => ByteLevel(usesRegex: true),
            "default" when isOld => ByteLevel(usesRegex: true),
            "llama-bpe" or "llama3" or "llama-v3" => Split(Contracted + @"\\p{N}{1,3}" + Rest),
            "qwen2" or "stablelm2" => Split(Contracted + @"\\p{N}" + Rest),
            _ => throw new NotSupportedException(Say(
                $"{entries.Source}: cuts text into words by the rule '{name}' ({Words}); fude knows gpt-2, mpt, olmo, llama-bpe, qwen2 and stablelm2.",
                $"{entries.Source}: 単語分割規則 '{name}'（{Words}）には対応していません。使えるのは gpt-2、mpt、olmo、llama-bpe、qwen2、stablelm2 です。")),
        };
        TokenizerParts parts = TokenizerJsonFile.Read(JsonPart.Parse(System.Text.Encoding.UTF8.GetBytes(
            $$"""
            {"pre_tokenizer":{{words}},"decoder":{"type":"ByteLevel"},"post_processor":{"type":"ByteLevel","trim_offsets":true},
             "model":{"type":"BPE","ignore_merges":{{(name is "llama-bpe" or "llama3" or "llama-v3" ? "true" : "false")}} } }
            """), entries.Source), entries.AsPieces([], isUnigram: false, null));
        for (int id = 0; id < entries.Texts.Length; id++)
            if (entries.AddedOfKind(id) is AddedToken token) parts.AddToken(token, id, entries.Source);
        SetSpecial(parts.Vocabulary, entries);
        bool begins = entries.Flag(AddBegin) ?? (name is "llama-bpe" or "llama3" or "llama-v3"), ends = entries.Flag(AddEnd) ?? false;
        if (begins && entries.Id("bos") is int begin) parts.Prefix = [begin];
        if (ends && entries.Id("eos") is int end) parts.Suffix = [end];
        return new TokenizerJsonPipeline(parts);

        string ByteLevel(bool usesRegex) =>
            $$"""{"type":"ByteLevel","add_prefix_space":{{(entries.Flag(PrefixSpace) == true ? "true" : "false")}},"use_regex":{{(usesRegex ? "true" : "false")}} }""";

        string Split(string regex) =>
            $$"""{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"{{regex}}"},"behavior":"Isolated"},{{ByteLevel(usesRegex: false)}} ]}""";
    }

    /// <summary>A tokenizer.json that fude took apart.</summary>
    private static TokenizerJsonPipeline OfRules(Entries entries, string rules, bool isBpe)
    {
        List<(int Id, AddedToken Token, int Flags)> added = entries.Added() ?? [];
        HashSet<int> others = [.. added.Where(a => (a.Flags & NotInModel) != 0).Select(a => a.Id)];
        TokenizerParts parts = TokenizerJsonFile.Read(
            JsonPart.Parse(System.Text.Encoding.UTF8.GetBytes(rules), $"{entries.Source}, {Rules}"),
            entries.AsPieces(others, !isBpe, entries.Doubles(Scores)), added.Select(a => (a.Id, a.Token)));
        if ((parts.Kind == TokenizerModel.Unigram) == isBpe)
            throw entries.Bad(Rules, Say($"describes another kind of model than {Model} names", $"の表すモデルの種類が {Model} と異なります"));
        SetSpecial(parts.Vocabulary, entries);
        parts.Prefix = entries.Ids(Prefix) ?? [];
        parts.Suffix = entries.Ids(Suffix) ?? [];
        parts.CleansUp = entries.Flag(CleansUp) ?? false;
        if (parts.PreTokenizer is PreTokenizer.ByteLevel bytes) parts.PreTokenizer = bytes.With(entries.Flag(PrefixSpace) ?? false);
        return new TokenizerJsonPipeline(parts);
    }

    private static void SetSpecial(Vocabulary vocabulary, Entries entries)
    {
        vocabulary.BeginId = entries.Id("bos") ?? -1;
        vocabulary.EndId = entries.Id("eos") ?? -1;
        vocabulary.PaddingId = entries.Id("padding") ?? -1;
        if (vocabulary.UnknownId < 0) vocabulary.UnknownId = entries.Id("unknown") ?? -1;
    }

    /// <summary>The metadata, checked: every list as long as that of the tokens, every id one of them.</summary>
    private sealed class Entries(IReadOnlyDictionary<string, object> metadata, string source)
    {
        internal string Source => source;

        internal string[] Texts { get; private set; } = [];

        internal float[] PieceScores { get; private set; } = [];

        internal PieceKind[] PieceKinds { get; private set; } = [];

        internal Entries ReadPieces()
        {
            string[] texts = Find<string[]>(Tokens) ?? throw new InvalidDataException(Say(
                $"{source}: has {Model}, but no {Tokens}.",
                $"{source}: {Model} はありますが、{Tokens} がありません。"));
            float[]? scores = Find<float[]>(TokenScores);
            int[]? kinds = Numbers(Kinds);
            if (scores is not null && scores.Length != texts.Length) throw Bad(TokenScores, CountedFor(scores.Length, texts.Length));
            if (kinds is not null && kinds.Length != texts.Length) throw Bad(Kinds, CountedFor(kinds.Length, texts.Length));
            if (texts.Length > Vocabulary.MaxSize) throw Bad(Tokens, Say(
                $"has {texts.Length} tokens; fude expects at most {Vocabulary.MaxSize}",
                $"のトークンが {texts.Length} 個あります。fude が読めるのは {Vocabulary.MaxSize} 個までです"));
            if (scores is not null && Array.Exists(scores, float.IsNaN)) throw Bad(TokenScores, Say(
                "has something that is no number",
                "に数でない値があります"));
            if (kinds is not null && Array.Exists(kinds, kind => kind is < (int)PieceKind.Normal or > (int)PieceKind.Byte))
                throw Bad(Kinds, Say("has a kind that is none of 1 to 6", "に 1 から 6 以外の種類があります"));
            int count = texts.Length;
            // Rows without a piece at the end are no tokens: nothing of them may be sampled.
            while (count > 0 && kinds?[count - 1] == (int)PieceKind.Unused && IsFiller(texts[count - 1], count - 1)) count--;
            if (count == 0) throw Bad(Tokens, Say("has no tokens", "にトークンがありません"));
            Texts = texts[..count];
            PieceScores = scores is null ? new float[count] : scores[..count];
            PieceKinds = kinds is null ? [.. Enumerable.Repeat(PieceKind.Normal, count)] : [.. kinds.Take(count).Select(kind => (PieceKind)kind)];
            return this;
        }

        /// <summary>The pieces of a tokenizer.json's model; without <paramref name="others"/>, which were added to it.</summary>
        internal PieceList AsPieces(HashSet<int> others, bool isUnigram, double[]? scores)
        {
            if (scores is not null && scores.Length > Texts.Length) throw Bad(Scores, CountedFor(scores.Length, Texts.Length));
            List<(int, string)> pieces = [];
            for (int id = 0; id < Texts.Length; id++)
                if (!others.Contains(id) && (isUnigram || PieceKinds[id] != PieceKind.Unused || !IsFiller(Texts[id], id))) pieces.Add((id, Texts[id]));
            List<(string, string)> merges = [];
            if (!isUnigram)
            {
                foreach (string merge in Find<string[]>(Merges) ?? throw new InvalidDataException(Say(
                    $"{source}: has no {Merges}.",
                    $"{source}: {Merges} がありません。")))
                {
                    // A piece may begin with a space, but holds no other.
                    int cut = merge.Length > 1 ? merge.IndexOf(' ', 1) : -1;
                    if (cut < 0 || cut == merge.Length - 1) throw Bad(Merges, Say(
                        $"has \"{merge}\", which is not two pieces with a space between them",
                        $"の \"{merge}\" は、空白で区切った 2 つの語になっていません"));
                    merges.Add((merge[..cut], merge[(cut + 1)..]));
                }
            }
            if (!isUnigram) return new(pieces, null, merges);
            double[] all = scores ?? Array.ConvertAll(PieceScores, score => (double)score);
            for (int i = 0; i < pieces.Count; i++)
                if (pieces[i].Item1 != i || i >= all.Length || !double.IsFinite(all[i]))
                    throw Bad(scores is null ? TokenScores : Scores, Say(
                        $"has no score for token {i}, or tokens were added in between",
                        $"にトークン {i} のスコアがないか、途中にトークンが追加されています"));
            return new(pieces, all[..pieces.Count], merges);
        }

        private static bool IsFiller(string text, int id) =>
            text == Filler(id) || text == string.Create(CultureInfo.InvariantCulture, $"[PAD{id}]");

        /// <summary>What a token is when its kind alone is known.</summary>
        internal AddedToken? AddedOfKind(int id) => Texts[id].Length == 0 ? null : PieceKinds[id] switch
        {
            PieceKind.Control or PieceKind.Unknown => AddedToken.OfSpecial(Texts[id]),
            PieceKind.UserDefined => AddedToken.OfSpecial(Texts[id]) with { Special = false },
            _ => null,
        };

        /// <summary>The tokens that fude noted down to be looked for in the text.</summary>
        internal List<(int Id, AddedToken Token, int Flags)>? Added()
        {
            if (Ids(AddedIds) is not { } ids) return null;
            int[] flags = Numbers(AddedFlags) ?? [];
            if (flags.Length != ids.Length) throw Bad(AddedFlags, CountedFor(flags.Length, ids.Length));
            return [.. ids.Zip(flags, (id, f) => (id, new AddedToken(
                Texts[id], (f & SingleWord) != 0, (f & TakesLeft) != 0, (f & TakesRight) != 0, (f & Normalized) != 0, (f & Special) != 0), f))];
        }

        internal string? TextOf(string name) => Id(name) is int id ? Texts[id] : null;

        /// <summary>The id of a special token, such as "bos"; null where there is none.</summary>
        internal int? Id(string name)
        {
            string key = $"tokenizer.ggml.{name}_token_id";
            int? id = Number(key);
            if (id >= Texts.Length) throw Bad(key, Say($"is {id}, but there are {Texts.Length} tokens", $"が {id} ですが、トークンは {Texts.Length} 個です"));
            return id < 0 ? null : id;      // some write −1 for none
        }

        internal int[]? Ids(string key)
        {
            int[]? ids = Numbers(key);
            if (ids is not null && Array.Exists(ids, id => id < 0 || id >= Texts.Length)) throw Bad(key, Say(
                $"has an id beyond the {Texts.Length} tokens",
                $"に {Texts.Length} 個のトークンの範囲を超える ID があります"));
            return ids;
        }

        internal T? Find<T>(string key)
            where T : class =>
            !metadata.TryGetValue(key, out object? value) ? null : value as T ?? throw Bad(key, Say(
                $"is {KindOf(value.GetType())}, but {KindOf(typeof(T))} is expected",
                $"が正しくありません（必要: {KindOf(typeof(T))}、実際: {KindOf(value.GetType())}）"));

        private static string KindOf(Type type)
        {
            (string english, string japanese) = Type.GetTypeCode(type.GetElementType() ?? type) switch
            {
                TypeCode.String => ("text", "文字列"),
                TypeCode.Boolean => ("truth value", "真偽値"),
                TypeCode.Single => ("float32 number", "float32 の数"),
                TypeCode.Double => ("float64 number", "float64 の数"),
                TypeCode.Object => ("array", "配列"),
                _ => ("whole number", "整数"),
            };
            return type.IsArray ? Say($"an array of {english}s", $"{japanese}の配列") : Say($"a {english}", japanese);
        }

        internal bool? Flag(string key) =>
            !metadata.TryGetValue(key, out object? value) ? null : value as bool? ?? throw Bad(key, Say("is no truth value", "が真偽値ではありません"));

        internal double[]? Doubles(string key) => Find<double[]>(key);

        internal byte[]? Bytes(string key) => !metadata.TryGetValue(key, out object? value) ? null : value switch
        {
            // Arrays of signed and unsigned numbers of one size are one type to .NET's casts.
            byte[] or sbyte[] => (byte[])value,
            _ => throw Bad(key, Say("is no list of bytes", "がバイトのリストではありません")),
        };

        internal int? Number(string key) => !metadata.TryGetValue(key, out object? value) ? null : value switch
        {
            byte x => x,
            sbyte x => x,
            ushort x => x,
            short x => x,
            int x => x,
            uint x => x <= int.MaxValue ? (int)x : -1,
            long x => x is >= 0 and <= int.MaxValue ? (int)x : -1,
            ulong x => x <= int.MaxValue ? (int)x : -1,
            _ => throw Bad(key, Say("is no whole number", "が整数ではありません")),
        };

        private int[]? Numbers(string key) => !metadata.TryGetValue(key, out object? value) ? null : value switch
        {
            int[] or uint[] => (int[])value,      // numbers beyond 2³¹ turn negative, and are refused as such
            _ => throw Bad(key, Say("is no list of whole numbers", "が整数のリストではありません")),
        };

        internal InvalidDataException Bad(string key, string what) => new(Say($"{source}: {key} {what}.", $"{source}: {key} {what}。"));

        private static string CountedFor(int numbers, int tokens) =>
            Say($"has {numbers} numbers for {tokens} tokens", $"の数が {numbers} 個で、トークンの {tokens} 個と合いません");
    }
}

/// <summary>The pieces and merges of a model, where they are not in its tokenizer.json.</summary>
/// <param name="Pieces">The pieces with their ids.</param>
/// <param name="Scores">Those of a Unigram model, whose ids are 0 to n − 1.</param>
/// <param name="Merges">Those of BPE.</param>
internal sealed record PieceList(IReadOnlyList<(int Id, string Text)> Pieces, double[]? Scores, List<(string, string)> Merges);
