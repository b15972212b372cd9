using Fude.TestData;

namespace Fude.Tokenizers.Tests;

public sealed class TokenizerFolderTests
{
    private static readonly string Model = TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!;

    [Fact]
    public void A_model_alone_never_parses_control_symbols_and_a_LlamaTokenizer_does()
    {
        Tokenizer alone = Tokenizer.Load(Model);
        Assert.DoesNotContain(1, alone.Encode("<s>猫"));
        using TemporaryFolder folder = Llama("""{"tokenizer_class": "LlamaTokenizer"}""");
        Tokenizer llama = Tokenizer.Load(folder.Path);
        Assert.Equal([1, 1, .. alone.Encode("猫"), 2], llama.Encode("<s>猫</s>"));
        Assert.Equal([1, .. alone.Encode("猫")], llama.Encode("<s>猫", addSpecialTokens: false));
        Assert.Equal("猫", llama.Decode(llama.Encode("猫"), skipSpecialTokens: true));
        Assert.Equal((1, 2, 0), (llama.BeginId, llama.EndId, llama.UnknownId));
        Assert.Equal([(0, 0), (0, 3), (3, 3), (3, 4)], llama.EncodeWithOffsets("<s>猫").Offsets);      // BOS, <s>, ▁, 猫
    }

    [Fact]
    public void A_folder_without_tokenizer_config_is_a_model_alone()
    {
        using TemporaryFolder folder = new();
        File.Copy(Model, Path.Combine(folder.Path, "tokenizer.model"));
        Assert.Equal(Tokenizer.Load(Model).Encode("<s>猫"), Tokenizer.Load(folder.Path).Encode("<s>猫"));
    }

    [Theory]
    [InlineData("llama", true), InlineData("mistral", true), InlineData("gpt2", false)]
    public void A_folder_without_tokenizer_config_is_read_with_the_class_of_its_model(string type, bool isLlama)
    {
        using TemporaryFolder folder = new();
        File.Copy(Model, Path.Combine(folder.Path, "tokenizer.model"));
        folder.Write("config.json", $$"""{"model_type": "{{type}}"}""");
        Assert.Equal(isLlama, Tokenizer.Load(folder.Path).Encode("</s>", addSpecialTokens: false) is [2]);
    }

    [Theory]
    [InlineData("""{"legacy": true}""", "▁a <s> ▁b")]
    [InlineData("""{"legacy": false}""", "▁a <s> b")]
    [InlineData("""{"legacy": false, "add_prefix_space": false}""", "a <s> b")]
    public void Legacy_puts_a_prefix_after_special_tokens_too(string config, string expected)
    {
        using TemporaryFolder folder = Llama(config);
        Assert.Equal(expected, string.Join(' ', Tokenizer.Load(folder.Path).EncodeWithOffsets("a<s>b", addSpecialTokens: false).Tokens));
    }

    [Fact]
    public void Flags_and_added_tokens_of_the_configuration_count()
    {
        using TemporaryFolder folder = Llama("""
            {"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "add_eos_token": true, "pad_token": "<pad>",
             "added_tokens_decoder": {"3600": {"content": "<|im|>", "special": false, "normalized": false}}}
            """);
        Tokenizer tokenizer = Tokenizer.Load(folder.Path);
        Assert.Equal([3600, 3601, 2], tokenizer.Encode("<|im|><pad>"));
        Assert.Equal((3602, 3601), (tokenizer.VocabularySize, tokenizer.PaddingId));
        Assert.Equal("<|im|>", tokenizer.Decode([3600, 3601], skipSpecialTokens: true));
        // An added token that is not special has spaces round it when transformers' slow classes decode.
        int[] ids = tokenizer.Encode("猫<|im|>犬", addSpecialTokens: false);
        Assert.Equal("猫 <|im|> 犬", tokenizer.Decode(ids));
        Assert.Equal("猫 <|im|> 犬", Streaming.Concatenated(tokenizer, ids));
    }

    [Fact]
    public void Special_tokens_and_added_tokens_of_the_old_files_count()
    {
        using TemporaryFolder folder = Llama("""{"tokenizer_class": "LlamaTokenizer"}""");
        folder.Write("special_tokens_map.json", """{"pad_token": {"content": "<pad>"}, "additional_special_tokens": ["<x>"]}""");
        folder.Write("added_tokens.json", """{"<pad>": 3600, "<y>": 3601, "<x>": 3602}""");
        Tokenizer tokenizer = Tokenizer.Load(folder.Path);
        Assert.Equal([3600, 3601, 3602], tokenizer.Encode("<pad><y><x>", addSpecialTokens: false));
        Assert.Equal("<y>", tokenizer.Decode([3600, 3601, 3602], skipSpecialTokens: true));
        Assert.True(tokenizer.IsSpecial(3600) && !tokenizer.IsSpecial(3601) && tokenizer.IsSpecial(3602));
    }

    [Fact]
    public void Tokenizer_json_goes_before_tokenizer_model()
    {
        using TemporaryFolder folder = Llama("""{"tokenizer_class": "LlamaTokenizer"}""");
        folder.Write("tokenizer.json", SmallTokenizers.Characters("ab", [], added: """[{"id": 2, "content": "<s>", "special": true}]"""));
        Tokenizer tokenizer = Tokenizer.Load(folder.Path);
        // LlamaTokenizerFast puts its own template round: BOS.
        Assert.Equal([2, 0, 1], tokenizer.Encode("ab"));
        Assert.Equal(5, tokenizer.VocabularySize);      // and adds </s> and <unk>, which the file lacks
    }

    [Theory]
    [InlineData("""{"tokenizer_class": "PreTrainedTokenizerFast"}""", "a, b!")]
    [InlineData("""{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false}""", "a , b !")]
    public void Decoding_cleans_up_as_transformers_does(string config, string expected)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", SmallTokenizers.Characters("a,b! ", []));
        folder.Write("tokenizer_config.json", config);
        Tokenizer tokenizer = Tokenizer.Load(folder.Path);
        int[] ids = tokenizer.Encode("a , b !");
        Assert.Equal(expected, tokenizer.Decode(ids));
        Assert.Equal(expected, Streaming.Concatenated(tokenizer, ids));
        Assert.Equal("a , b !", Tokenizer.Load(Path.Combine(folder.Path, "tokenizer.json")).Decode(ids));
    }

    [Fact]
    public void Vocab_json_and_merges_txt_are_GPT_2()
    {
        using TemporaryFolder folder = new();
        folder.Write("vocab.json", """{"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "<|endoftext|>": 5, "æ": 6, "Ĺ": 7, "¥": 8}""");
        string merges = folder.Write("merges.txt", "#version: 0.2\na b\nĠ ab\n");
        foreach (string path in (string[])[folder.Path, Path.Combine(folder.Path, "vocab.json")])
        {
            Tokenizer tokenizer = Tokenizer.Load(path);
            Assert.Equal([3, 4, 6, 7, 8], tokenizer.Encode("ab ab日"));
            Assert.Equal("ab ab日", tokenizer.Decode([3, 4, 6, 7, 8]));
            Assert.Equal([("a", "b"), ("Ġ", "ab")], tokenizer.Merges);
        }
        folder.Write("tokenizer_config.json", """{"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true, "eos_token": "<|endoftext|>"}""");
        Assert.Equal([4, 5], Tokenizer.Load(folder.Path).Encode("ab<|endoftext|>"));
        Assert.Equal(5, Tokenizer.Load(folder.Path).EndId);

        // transformers makes a tokenizer of these two files that leaves places as they are, and puts BOS in front if it is told to (as OPT's files do).
        Tokenizer spaced = Tokenizer.Load(folder.Path);
        Assert.Equal([(0, 2), (2, 5)], spaced.EncodeWithOffsets("ab ab").Offsets);
        Assert.Equal([4, 4], spaced.Encode("ab ab"));
        folder.Write("tokenizer_config.json", """{"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "bos_token": "<|endoftext|>"}""");
        Assert.Equal([5, 3, 4], Tokenizer.Load(folder.Path).Encode("ab ab"));
        Assert.Equal([3, 4], Tokenizer.Load(folder.Path).Encode("ab ab", addSpecialTokens: false));

        folder.Write("merges.txt", "#version: 0.2\na b\na c\n");
        Assert.Contains("\"c\"", Assert.Throws<InvalidDataException>(() => Tokenizer.Load(folder.Path)).Message);
        folder.Write("merges.txt", "a b c\n");
        Assert.Contains("line 1", Assert.Throws<InvalidDataException>(() => Tokenizer.Load(folder.Path)).Message);
        File.Delete(merges);
        Assert.Contains("merges.txt", Assert.Throws<FileNotFoundException>(() => Tokenizer.Load(folder.Path)).Message);
    }

    [Theory]
    [InlineData("PreTrainedTokenizerFast", 1), InlineData("GPTNeoXTokenizerFast", 0)]
    public void A_class_with_a_template_of_its_own_leaves_places_as_they_are(string type, int start)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", """
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "post_processor": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
             "model": {"type": "BPE", "vocab": {"a": 0, "Ġ": 1, "Ġa": 2}, "merges": ["Ġ a"]} }
            """);
        folder.Write("tokenizer_config.json", $$"""{"tokenizer_class": "{{type}}"}""");
        Assert.Equal([(start, 2)], Tokenizer.Load(folder.Path).EncodeWithOffsets(" a").Offsets);
    }

    [Fact]
    public void White_space_that_a_whole_word_takes_keeps_it_whole_with_transformers_own_classes()
    {
        using TemporaryFolder folder = Llama("""{"added_tokens_decoder": {"3600": {"content": "<x>", "lstrip": true, "single_word": true}}}""");
        Tokenizer tokenizer = Tokenizer.Load(folder.Path);
        Assert.Contains(3600, tokenizer.Encode("猫 <x>"));
        Assert.DoesNotContain(3600, tokenizer.Encode("猫<x>"));
    }

    [Fact]
    public void A_hundred_thousand_added_tokens_take_no_more_than_their_share_each()
    {
        const int Count = 100_000;
        string added = string.Join(", ", Enumerable.Range(0, Count).Select(i => $$"""{"id": {{4000 + i}}, "content": "<{{i}}>", "special": true}"""));
        string decoder = string.Join(", ", Enumerable.Range(0, Count).Select(i => $$""" "{{4000 + i}}": {"content": "<{{i}}>", "special": true, "lstrip": true} """));
        string special = string.Join(", ", Enumerable.Range(0, Count).Select(i => $"\"<{i}>\""));
        string config = $$"""{"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": { {{decoder}} }, "additional_special_tokens": [{{special}}]}""";
        using TemporaryFolder fast = new(), slow = Llama(config);
        fast.Write("tokenizer.json", SmallTokenizers.Characters("ab", [], added: $"[{added}]"));
        fast.Write("tokenizer_config.json", config);
        Assert.Equal(4000 + Count - 1, Tokenizer.Load(fast.Path).Encode($"<{Count - 1}>")[^1]);
        Assert.Equal(4000 + Count - 1, Tokenizer.Load(slow.Path).Encode($"<{Count - 1}>")[^1]);
    }

    [Fact]
    public void What_cannot_be_loaded_says_so_in_one_line()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("no tokenizer", Assert.Throws<FileNotFoundException>(() => Tokenizer.Load(folder.Path)).Message);
        Assert.Contains("nowhere", Assert.Throws<FileNotFoundException>(() => Tokenizer.Load(Path.Combine(folder.Path, "nowhere"))).Message);
        Assert.Contains("notes.txt", Assert.Throws<NotSupportedException>(() => Tokenizer.Load(folder.Write("notes.txt", "猫"))).Message);
        Assert.Contains("no JSON", Assert.Throws<InvalidDataException>(() => Tokenizer.Load(folder.Write("tokenizer.json", "猫"))).Message);
        using TemporaryFolder other = Llama("""{"tokenizer_class": "T5Tokenizer"}""");
        Assert.Contains("T5Tokenizer", Assert.Throws<NotSupportedException>(() => Tokenizer.Load(other.Path)).Message);
        other.Write("tokenizer_config.json", """{"added_tokens_decoder": {"x": {"content": "a"}}}""");
        Assert.Contains("\"x\"", Assert.Throws<InvalidDataException>(() => Tokenizer.Load(other.Path)).Message);
        other.Write("tokenizer_config.json", """{"legacy": "yes"}""");
        Assert.Contains("legacy should be true or false", Assert.Throws<InvalidDataException>(() => Tokenizer.Load(other.Path)).Message);
        other.Write("tokenizer_config.json", """{"added_tokens_decoder": {"5": {"content": "a"}}}""");
        Assert.Contains("id 5", Assert.Throws<InvalidDataException>(() => Tokenizer.Load(other.Path)).Message);
    }

    private static TemporaryFolder Llama(string config)
    {
        TemporaryFolder folder = new();
        File.Copy(Model, Path.Combine(folder.Path, "tokenizer.model"));
        folder.Write("tokenizer_config.json", config);
        return folder;
    }
}
