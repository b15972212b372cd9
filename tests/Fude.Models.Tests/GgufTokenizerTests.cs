using System.Text;
using System.Text.Json;
using Fude.Tensors;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Models.Tests;

/// <summary>Tokenizers written to GGUF files and read back: the same ids and texts, for every kind that fude loads.</summary>
public sealed class GgufTokenizerTests : IDisposable
{
    private const string NoShared = "needs shared beside the checkout";

    // Beside the golden lines: special tokens in the text, white space, bytes, signs beyond the first plane, decomposed kana.
    private static readonly string[] Texts =
    [
        .. File.ReadLines(TestFolders.FindGolden("tokenizers/lines.jsonl")!).Where(line => line.Length > 0)
            .Select(line => JsonDocument.Parse(line).RootElement.GetProperty("text").GetString()!),
        "", " ", "<s>こんにちは</s>世界<unk>", "</s>", "a</s> b <s> c", "<EOD|LLM-jp>質問<s|LLM-jp>\n", "<|endoftext|>x<|padding|>", "か\u3099 𠮷野家 \u3000 ①ﾊﾟ",
        "\t\ttab\n\n\nline", "                        x", "<0x41>[UNUSED_3]",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("fude-gguf-tokenizer-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string Export(Tokenizer tokenizer, int moreRows = 5)
    {
        ModelConfig config = ModelConfig.Parse(Encoding.UTF8.GetBytes($$"""
            {"model_type":"llama","vocab_size":{{tokenizer.VocabularySize + moreRows}},"hidden_size":32,"intermediate_size":32,
             "num_hidden_layers":1,"num_attention_heads":2}
            """));
        string path = Path.Combine(_folder, "m.gguf");
        GgufExport.Write(config, () => new RandomWeights(NumberFormat.BF16), tokenizer, "m", path, QuantizationMix.Q8_0);
        return path;
    }

    /// <summary>Both do the same with every text, and with every id.</summary>
    private static void Same(Tokenizer expected, Tokenizer found)
    {
        Assert.Equal((expected.Model, expected.VocabularySize), (found.Model, found.VocabularySize));
        // What the tokenizer does not name, the model's configuration does.
        Assert.Equal((expected.BeginId ?? 1, expected.EndId ?? 2, expected.UnknownId), (found.BeginId, found.EndId, found.UnknownId));
        foreach (string text in Texts)
        {
            int[] ids = expected.Encode(text);
            Assert.Equal(ids, found.Encode(text));
            Assert.Equal(expected.Encode(text, addSpecialTokens: false), found.Encode(text, addSpecialTokens: false));
            Assert.Equal(expected.Decode(ids), found.Decode(ids));
            Assert.Equal(expected.Decode(ids, skipSpecialTokens: true), found.Decode(ids, skipSpecialTokens: true));
        }
    }

    private void ComesBack(Tokenizer tokenizer) => Same(tokenizer, ModelFolder.Open(Export(tokenizer)).Tokenizer);

    public static TheoryData<string> SentencePieceFolders => [.. TestFolders.GoldenFolders("tokenizers")
        .Where(name => TestFolders.FindGolden($"tokenizers/{name}/tokenizer.model") is not null)];

    [Theory, MemberData(nameof(SentencePieceFolders))]
    public void A_SentencePiece_model_comes_back_with_its_rules(string name) =>
        ComesBack(Tokenizer.Load(TestFolders.FindGolden($"tokenizers/{name}/tokenizer.model")!));

    private string LlamaFolder(string config, string? model = null)
    {
        string folder = Directory.CreateDirectory(Path.Combine(_folder, "tokenizer")).FullName;
        File.Copy(model ?? TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!, Path.Combine(folder, "tokenizer.model"));
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), config);
        return folder;
    }

    [Theory]
    [InlineData("""{"tokenizer_class":"LlamaTokenizer"}""")]
    [InlineData("""{"tokenizer_class":"LlamaTokenizer","legacy":false,"add_bos_token":false,"add_eos_token":true}""")]
    [InlineData("""{"tokenizer_class":"LlamaTokenizer","legacy":false,"add_prefix_space":false,"pad_token":"[PAD]","clean_up_tokenization_spaces":true}""")]
    [InlineData("""{"tokenizer_class":"LlamaTokenizer","additional_special_tokens":["<|user|>",{"content":"<|end|>","lstrip":true,"rstrip":true}]}""")]
    public void A_Llama_tokenizer_comes_back_with_its_configuration(string config)
    {
        Tokenizer tokenizer = Tokenizer.Load(LlamaFolder(config)), found = ModelFolder.Open(Export(tokenizer)).Tokenizer;
        Same(tokenizer, found);
        foreach (string text in (string[])["<|user|> 質問 <|end|> 回答", "a[PAD]b", "x <|end|>"])
        {
            Assert.Equal(tokenizer.Encode(text), found.Encode(text));
            Assert.Equal(tokenizer.Decode(tokenizer.Encode(text)), found.Decode(found.Encode(text)));
        }
    }

    [Theory]
    [InlineData("gpt-neox-tokenizer/tokenizer.json", "gpt2", "gpt-2")]
    [InlineData("gpt2-tokenizer/codegen-tokenizer.json", "gpt2", "gpt-2")]
    [InlineData("llama2-tokenizer/phi3-tokenizer.json", "llama", "default")]
    [InlineData("llm-jp-tokenizer/ver2.1", "t5", "default")]
    [InlineData("llm-jp-tokenizer/ver2.2", "t5", "default")]
    public void Published_tokenizers_come_back(string name, string kind, string words)
    {
        string? path = TestFolders.SharedData(name);
        Assert.SkipWhen(path is null, NoShared);
        Tokenizer tokenizer = Tokenizer.Load(path!);
        ComesBack(tokenizer);
        using Gguf gguf = Gguf.Open(Path.Combine(_folder, "m.gguf"));
        Assert.Equal((kind, words), (gguf.Text("tokenizer.ggml.model"), gguf.Text("tokenizer.ggml.pre")));
    }

    [Theory]
    [InlineData("gpt2-tokenizer/codegen-tokenizer.json")]
    [InlineData("llama2-tokenizer/tokenizer.model")]
    [InlineData("llm-jp-tokenizer/ver2.1/code10k_en20k_ja30k.ver2.1.model")]
    public void Without_fudes_own_keys_plain_text_has_the_same_ids(string name)
    {
        string? path = TestFolders.SharedData(name);
        Assert.SkipWhen(path is null, NoShared);
        Tokenizer tokenizer = Tokenizer.Load(path!);
        using Gguf gguf = Gguf.Open(Export(tokenizer));
        string plain = Path.Combine(_folder, "plain.gguf");
        Gguf.Write(plain, gguf.Metadata.Where(pair => !pair.Key.StartsWith("fude.", StringComparison.Ordinal)), []);
        Tokenizer found = ModelFolder.OpenTokenizer(plain);
        foreach (string text in Texts.Where(text => !text.Contains('<', StringComparison.Ordinal)))
            Assert.Equal(tokenizer.Encode(text, addSpecialTokens: false), found.Encode(text, addSpecialTokens: false));
    }

    [Fact]
    public void A_vocabulary_of_llama_cpp_gives_the_ids_of_Llama_2()
    {
        string? path = TestFolders.SharedData("llama2-tokenizer/ggml-vocab-llama-spm.gguf");
        Assert.SkipWhen(path is null, NoShared);
        string folder = LlamaFolder("""{"tokenizer_class":"LlamaTokenizer"}""", TestFolders.SharedData("llama2-tokenizer/tokenizer.model"));
        Same(Tokenizer.Load(folder), ModelFolder.OpenTokenizer(path!));
    }

    [Fact]
    public void Rows_without_a_piece_are_never_sampled()
    {
        Tokenizer tokenizer = Tokenizer.Load(TestFolders.FindGolden("tokenizers/spm-unigram-llmjp-like/tokenizer.model")!);
        ModelFolder model = ModelFolder.Open(Export(tokenizer, moreRows: 7));
        Assert.Equal(tokenizer.VocabularySize + 7, model.Config.Vocabulary);
        Assert.Equal(tokenizer.VocabularySize, model.SampleableTokens);
    }

    [Fact]
    public void Metadata_that_contradicts_itself_gives_errors_alone()
    {
        Tokenizer tokenizer = Tokenizer.Load(TestFolders.FindGolden("tokenizers/spm-unigram-llmjp-like/tokenizer.model")!);
        using Gguf gguf = Gguf.Open(Export(tokenizer));
        int count = gguf.Texts("tokenizer.ggml.tokens")!.Length;
        (string, object?)[] changes =
        [
            ("tokenizer.ggml.model", "bert"), ("tokenizer.ggml.model", 3u), ("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.tokens", null),
            ("tokenizer.ggml.tokens", new[] { "a" }), ("tokenizer.ggml.tokens", Array.Empty<string>()), ("tokenizer.ggml.scores", new float[3]),
            ("tokenizer.ggml.scores", Enumerable.Repeat(float.NaN, count).ToArray()), ("tokenizer.ggml.token_type", new int[count]), ("tokenizer.ggml.token_type", Enumerable.Repeat(7, count).ToArray()),
            ("tokenizer.ggml.eos_token_id", 1_000_000u), ("tokenizer.ggml.precompiled_charsmap", new byte[9]),
            ("tokenizer.ggml.add_space_prefix", "yes"), ("fude.tokenizer.json", "{"), ("fude.tokenizer.json", """{"model":{"type":"Unigram","unk_id":999999}}"""),
            ("fude.tokenizer.json", """{"model":{"type":"BPE"}}"""), ("fude.tokenizer.pieces", 0u), ("fude.tokenizer.pieces", uint.MaxValue),
        ];
        foreach ((string key, object? value) in changes)
        {
            string path = Path.Combine(_folder, "bad.gguf");
            Dictionary<string, object> metadata = gguf.Metadata.Where(pair => pair.Key != key).ToDictionary();
            if (value is not null) metadata[key] = value;
            Gguf.Write(path, metadata, []);
            Exception? error = Record.Exception(() => ModelFolder.OpenTokenizer(path));
            Assert.True(error is InvalidDataException or NotSupportedException, $"{key} {value}: {error}");
            Assert.Contains("bad.gguf", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void An_unknown_rule_for_words_is_called_by_name()
    {
        string path = Path.Combine(_folder, "words.gguf");
        Gguf.Write(path,
        [
            new("tokenizer.ggml.model", "gpt2"), new("tokenizer.ggml.pre", "deepseek-llm"), new("tokenizer.ggml.tokens", new[] { "a", "b", "ab" }),
            new("tokenizer.ggml.merges", new[] { "a b" }),
        ], []);
        Assert.Contains("deepseek-llm", Assert.Throws<NotSupportedException>(() => ModelFolder.OpenTokenizer(path)).Message, StringComparison.Ordinal);
    }
}
