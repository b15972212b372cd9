using Fude.Tokenizers.Decoders;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Pipelines;
using Fude.Tokenizers.PreTokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Files;

/// <summary>Finds out what a folder or file holds, and which reference it follows.</summary>
internal static class TokenizerFolder
{
    private static readonly string[] LlamaClasses = ["LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"];
    private static readonly string[] Gpt2Classes = ["GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizer", "GPTNeoXTokenizerFast"];

    internal static Pipeline Load(string path)
    {
        if (Directory.Exists(path)) return LoadFolder(path);
        if (!File.Exists(path)) throw new FileNotFoundException(Say(
            $"{path}: there is no such file or folder.",
            $"{path}: そのようなファイルやフォルダーはありません。"), path);
        return Path.GetFileName(path) switch
        {
            string name when name.EndsWith(".model", StringComparison.OrdinalIgnoreCase) => new SentencePiecePipeline(SentencePieceFile.Read(path)),
            "vocab.json" or "merges.txt" => LoadVocabularyAndMerges(Path.GetDirectoryName(path)!, TokenizerConfig.Read(Path.GetDirectoryName(path)!)),
            string name when name.EndsWith(".json", StringComparison.OrdinalIgnoreCase) => new TokenizerJsonPipeline(TokenizerJsonFile.Read(path)),
            string name => throw new NotSupportedException(Say(
                $"{name}: fude reads tokenizer.json, SentencePiece's *.model, and vocab.json with merges.txt.",
                $"{name}: 対応していません。読めるのは tokenizer.json、SentencePiece の *.model、vocab.json と merges.txt の組です。")),
        };
    }

    private static Pipeline LoadFolder(string folder)
    {
        TokenizerConfig config = TokenizerConfig.Read(folder);
        string json = Path.Combine(folder, "tokenizer.json"), model = Path.Combine(folder, "tokenizer.model");
        if (File.Exists(json))
        {
            TokenizerParts parts = TokenizerJsonFile.Read(json);
            Apply(config, parts);
            return new TokenizerJsonPipeline(parts);
        }
        if (File.Exists(model))
        {
            SentencePieceFile file = SentencePieceFile.Read(model);
            if (!config.IsPresent && !IsOfLlama(folder)) return new SentencePiecePipeline(file);
            if (config.Class is not null && !LlamaClasses.Contains(config.Class))
                throw new NotSupportedException(Say(
                    $"{folder}: tokenizer_config.json asks for {config.Class} over tokenizer.model; fude supports LlamaTokenizer there, any " +
                    "tokenizer.json, and the .model by itself when its path is given.",
                    $"{folder}: tokenizer_config.json は tokenizer.model に {config.Class} を指定していますが、対応していません。この組み合わせで使えるのは LlamaTokenizer です。" +
                    "tokenizer.json はどれでも、.model はパスを直接指定すれば単独で読めます。"));
            config.DefaultLlama();
            return new LlamaPipeline(file, config);
        }
        if (File.Exists(Path.Combine(folder, "vocab.json")) && File.Exists(Path.Combine(folder, "merges.txt")))
            return LoadVocabularyAndMerges(folder, config);

        string[] others = [.. Directory.EnumerateFiles(folder, "*.model").Select(f => Path.GetFileName(f)!)];
        throw new FileNotFoundException(Say(
            $"{folder} has no tokenizer: neither tokenizer.json nor tokenizer.model, nor vocab.json with merges.txt." +
            (others.Length > 0 ? $" To use {others[0]} by itself, give its path." : ""),
            $"{folder} にトークナイザーがありません。tokenizer.json も tokenizer.model も、vocab.json と merges.txt の組も見つかりません。" +
            (others.Length > 0 ? $"{others[0]} を単独で使うには、そのパスを指定してください。" : "")));
    }

    // Without tokenizer_config.json transformers takes the class that belongs to the model.
    private static bool IsOfLlama(string folder)
    {
        string model = Path.Combine(folder, "config.json");
        return File.Exists(model) && JsonPart.Read(model).Find("model_type") is { IsString: true } type && type.Text() is "llama" or "mistral";
    }

    private static TokenizerJsonPipeline LoadVocabularyAndMerges(string folder, TokenizerConfig config)
    {
        JsonPart file = JsonPart.Read(Path.Combine(folder, "vocab.json"));
        string merges = Path.Combine(folder, "merges.txt");
        if (!File.Exists(merges)) throw new FileNotFoundException(Say(
            $"{folder}: vocab.json needs merges.txt beside it.",
            $"{folder}: vocab.json と同じ場所に merges.txt が必要です。"), merges);
        if (config.IsPresent && config.Class is not null && !Gpt2Classes.Contains(config.Class))
            throw new NotSupportedException(Say(
                $"{folder}: tokenizer_config.json asks for {config.Class} over vocab.json and merges.txt; fude supports {string.Join(", ", Gpt2Classes)} there.",
                $"{folder}: tokenizer_config.json は vocab.json と merges.txt に {config.Class} を指定していますが、対応していません。" +
                $"この組み合わせで使えるのは {string.Join("、", Gpt2Classes)} です。"));
        Vocabulary vocabulary = new();
        TokenizerJsonFile.ReadVocabulary(file, vocabulary);
        List<(string, string)> pairs = TokenizerJsonFile.ReadMergesText(merges);
        BpeModel.Options options = new(null, FusesUnknown: false, HasByteFallback: false, IgnoresMerges: false, "", "");
        TokenizerParts parts = new()
        {
            Vocabulary = vocabulary,
            Model = new BpeModel(vocabulary, pairs, options, "merges.txt"),
            Kind = TokenizerModel.ByteLevelBpe,
            Merges = pairs,
            PreTokenizer = new PreTokenizer.ByteLevel(config.AddsPrefixSpace ?? false, usesRegex: true),
            CreateDecoderStages = static () => [new DecoderStage.ByteLevel()],
            Rules = """
                {"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"post_processor":{"type":"ByteLevel","trim_offsets":false},"model":{"type":"BPE"}}
                """,
        };
        foreach (string attribute in (string[])["bos_token", "eos_token", "unk_token"])
            if (vocabulary.IdOf("<|endoftext|>") >= 0) config.Default(attribute, "<|endoftext|>");
        Apply(config, parts);
        // Where there is no tokenizer.json, GPT2TokenizerFast is made of GPT2Tokenizer, which heeds the flag.
        if (config.AddsBegin == true && config.Class is "GPT2Tokenizer" or "GPT2TokenizerFast")
            parts.Prefix = [Needed(config, vocabulary.BeginId, "add_bos_token", "bos_token")];
        return new(parts);
    }

    private static int Needed(TokenizerConfig config, int id, string flag, string token) =>
        id >= 0 ? id : throw new InvalidDataException(Say(
            $"{config.Source}: {flag} is true, but there is no {token}.",
            $"{config.Source}: {flag} が true ですが、{token} がありません。"));

    /// <summary>What transformers' classes add to a tokenizer.json.</summary>
    private static void Apply(TokenizerConfig config, TokenizerParts parts)
    {
        bool isLlama = LlamaClasses.Contains(config.Class);
        bool isGpt2 = Gpt2Classes.Contains(config.Class);
        if (config.IsPresent && isLlama) config.DefaultLlama();
        if (config.IsPresent)
        {
            HashSet<(int, AddedToken)> known = [.. parts.Added];
            foreach ((int id, AddedToken token) in config.Added)
                if (!known.Contains((id, token))) parts.AddToken(token, id, config.Source);
            HashSet<string> contents = [.. parts.Added.Select(a => a.Token.Content)];
            foreach (AddedToken token in config.AllSpecial)
                if (!contents.Contains(token.Content)) parts.AddToken(token with { Special = true }, null, config.Source);
            // Before 4.45, transformers cleans up unless it is told not to; the Llama classes say so themselves.
            parts.CleansUp = config.CleansUp ?? !isLlama;
            if (isGpt2 && config.AddsPrefixSpace is bool addsPrefixSpace && parts.PreTokenizer is PreTokenizer.ByteLevel bytes)
                parts.PreTokenizer = bytes.With(addsPrefixSpace);
        }

        Vocabulary vocabulary = parts.Vocabulary;
        vocabulary.BeginId = IdOf(config.Begin);
        vocabulary.EndId = IdOf(config.End);
        vocabulary.PaddingId = IdOf(config.Padding);
        if (vocabulary.UnknownId < 0) vocabulary.UnknownId = IdOf(config.Unknown);

        // These classes put their own template in the place of the file's.
        bool isNeoX = config.Class is "GPTNeoXTokenizer" or "GPTNeoXTokenizerFast";
        if (!config.IsPresent || !(isLlama || isNeoX)) return;
        parts.ReplacePostProcessor();
        parts.Prefix = config.AddsBegin ?? isLlama ? [Needed(config, vocabulary.BeginId, "add_bos_token", "bos_token")] : [];
        parts.Suffix = config.AddsEnd ?? false ? [Needed(config, vocabulary.EndId, "add_eos_token", "eos_token")] : [];

        int IdOf(AddedToken? token) => token is null ? -1 : vocabulary.IdOf(token.Content);
    }
}
