using System.Text;
using Fude.TestData;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Tests;

/// <summary>What a tokenizer.json can say, on files small enough to see through; expected ids follow from the library's rules.</summary>
public sealed class TokenizerJsonFileTests
{
    private static readonly (string, string)[] Merges = [("a", "b"), ("ab", "c"), ("▁", "a"), ("1", "2")];
    private const string Letters = "abcxyz▁ 123.,ABＡ";

    [Theory]
    // A merge whose part, or whose product, is not in the vocabulary.
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}""", "\"ab\"")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "ab": 1}, "merges": ["a b"]}}""", "needs \"b\"")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "ab": 1}, "merges": ["a b c"]}}""", "model.merges[0]")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}""", "id 0 is given to both \"a\" and \"b\"")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 2000000000}, "merges": []}}""", "2000000000")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}""", "-1")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 1.5}, "merges": []}}""", "model.vocab.a should be an integer")]
    [InlineData("""{"model": {"type": "BPE", "vocab": ["a"], "merges": []}}""", "model.vocab should be an object")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": 3}}""", "model.merges should be a list")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}""", "model.merges[0]")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "u"}}""", "\"u\"")]
    [InlineData("""{"model": {"type": "BPE", "merges": []}}""", "vocab")]
    [InlineData("""{"model": {"type": "Unigram", "unk_id": 5, "vocab": [["a", -1.0]]}}""", "unk_id is 5")]
    [InlineData("""{"model": {"type": "Unigram", "unk_id": 0, "vocab": []}}""", "model.vocab")]
    [InlineData("""{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", "b"]]}}""", "model.vocab[0][1] should be a number")]
    [InlineData("""{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 1e999]]}}""", "a number")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"\ud800": 0}, "merges": []}}""", "surrogate")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "\ud800_normalizer_pre_tokenizer": 1}""", "a key in the file holds half a surrogate pair")]
    [InlineData("""{"model": 3}""", "model should be an object")]
    [InlineData("""[]""", "should be an object")]
    [InlineData("""{}""", "\"model\"")]
    [InlineData("""{"model": """, "is no JSON")]
    [InlineData("""{"added_tokens": [{"id": 7, "content": "a"}], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}""", "id 7")]
    [InlineData("""{"added_tokens": [{"id": 0, "content": "b"}], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}""", "id 0")]
    [InlineData("""{"added_tokens": [{"id": 2000000000, "content": "b"}], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}""", "2000000000")]
    [InlineData("""{"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}], "special_tokens": {}}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}""", "\"x\"")]
    [InlineData("""{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}""", "base64")]
    public void A_broken_file_is_an_error_that_says_where(string json, string expected)
    {
        string message = Assert.Throws<InvalidDataException>(() => Load(json)).Message;
        Assert.Contains(expected, message);
        Assert.Contains("tokenizer.json", message);
        Assert.DoesNotContain("\n", message);
    }

    [Theory]
    [InlineData("normalizer", "StripAccents")]
    [InlineData("normalizer", "BertNormalizer")]
    [InlineData("pre_tokenizer", "BertPreTokenizer")]
    [InlineData("pre_tokenizer", "UnicodeScripts")]
    [InlineData("post_processor", "RobertaProcessing")]
    [InlineData("decoder", "WordPiece")]
    [InlineData("decoder", "CTC")]
    [InlineData("model", "WordPiece")]
    public void An_unknown_component_is_named_with_what_there_is(string part, string type)
    {
        string json = part == "model"
            ? $$"""{"model": {"type": "{{type}}", "vocab": {} } }"""
            : $$"""{"{{part}}": {"type": "{{type}}"}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []} }""";
        string message = Assert.Throws<NotSupportedException>(() => Load(json)).Message;
        Assert.Contains($"{part} is of type {type}", message);
        Assert.Contains("fude supports", message);
    }

    [Theory, InlineData(", \"dropout\": 0.1", true), InlineData(", \"dropout\": 0.0", false), InlineData("", false)]
    public void Dropout_is_refused_unless_it_is_none(string dropout, bool refused)
    {
        string json = $$"""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []{{dropout}} } }""";
        if (refused) Assert.Contains("dropout", Assert.Throws<NotSupportedException>(() => Load(json)).Message);
        else Assert.Equal([0], Load(json).Encode("a"));
    }

    [Theory]
    [InlineData("""{"type": "Prepend", "prepend": "▁"}""", "abc", "▁ abc")]
    [InlineData("""{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}""", "x a", "x ▁a")]
    [InlineData("""{"type": "Replace", "pattern": {"Regex": "[xy]+"}, "content": "z"}""", "xyxa", "z a")]
    [InlineData("""{"type": "Replace", "pattern": {"Regex": "(?<!\\n)^"}, "content": "▁"}""", "a", "▁a")]
    [InlineData("""{"type": "Lowercase"}""", "AB", "ab")]
    [InlineData("""{"type": "NFKC"}""", "Ａ", "A")]
    [InlineData("""{"type": "Strip", "strip_left": true, "strip_right": false}""", " a ", "a  ")]
    [InlineData("""{"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "x"}]}""", "Ａ", "x a")]
    public void Normalizers_change_the_text(string normalizer, string text, string expected) =>
        Assert.Equal(expected, Tokens(SmallTokenizers.Characters(Letters, Merges, normalizer), text));

    [Theory]
    [InlineData("""{"type": "WhitespaceSplit"}""", "ab  abc", "ab abc")]
    [InlineData("""{"type": "Whitespace"}""", "ab,.abc 1", "ab , . abc 1")]
    [InlineData("""{"type": "Digits", "individual_digits": true}""", "a123", "a 1 2 3")]
    [InlineData("""{"type": "Digits", "individual_digits": false}""", "a123", "a 12 3")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}""", "ab a", "▁ ab ▁a")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "add_prefix_space": false}""", "a a", "a ▁a")]
    [InlineData("""{"type": "Split", "pattern": {"String": "b"}, "behavior": "Isolated", "invert": false}""", "abc", "a b c")]
    [InlineData("""{"type": "Split", "pattern": {"String": "b"}, "behavior": "Removed", "invert": false}""", "abc", "a c")]
    [InlineData("""{"type": "Split", "pattern": {"String": "b"}, "behavior": "MergedWithPrevious", "invert": false}""", "abc", "ab c")]
    [InlineData("""{"type": "Split", "pattern": {"Regex": "b|c"}, "behavior": "MergedWithNext", "invert": false}""", "abca", "a b c a")]
    [InlineData("""{"type": "Split", "pattern": {"Regex": "[ab]"}, "behavior": "Removed", "invert": true}""", "xaby", "a b")]
    [InlineData("""{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation"}]}""", "ab. abc", "ab . abc")]
    public void Pre_tokenizers_cut_the_text(string preTokenizer, string text, string expected) =>
        Assert.Equal(expected, Tokens(SmallTokenizers.Characters(Letters, Merges, preTokenizer: preTokenizer), text, separator: " "));

    [Fact]
    public void A_template_goes_round_the_text_when_special_tokens_are_added()
    {
        Tokenizer tokenizer = Load(SmallTokenizers.Characters("abc", [], postProcessor: """
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "S", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "E", "type_id": 0}}],
             "special_tokens": {"S": {"id": "S", "ids": [2, 1]}, "E": {"id": "E", "ids": [2]}}}
            """));
        Assert.Equal([2, 1, 0, 2], tokenizer.Encode("a"));
        Assert.Equal([0], tokenizer.Encode("a", addSpecialTokens: false));
        Assert.Equal([2, 1, 2], tokenizer.Encode(""));
        Assert.Equal([(0, 0), (0, 0), (0, 1), (1, 1)], tokenizer.EncodeWithOffsets("a").Offsets);
    }

    [Theory]
    [InlineData("""{"id": 5, "content": "[X]", "special": true}""", "a[X] b", "a|[X]| |b")]
    [InlineData("""{"id": 5, "content": "[X]", "lstrip": true, "special": true}""", "a  [X] b", "a|[X]| |b")]
    [InlineData("""{"id": 5, "content": "[X]", "rstrip": true, "special": true}""", "a[X]  b", "a|[X]|b")]
    [InlineData("""{"id": 5, "content": "ab", "single_word": true}""", "ab", "ab")]
    [InlineData("""{"id": 5, "content": "ab", "single_word": true}""", "abc ab", "a|b|c| |ab")]
    [InlineData("""{"id": 5, "content": "XX", "normalized": true}""", "axx", "a|XX")]
    [InlineData("""{"id": 5, "content": "XX", "normalized": false}""", "axx", "a|x|x")]
    public void Added_tokens_are_found_as_their_flags_say(string token, string text, string expected)
    {
        Tokenizer tokenizer = Load(SmallTokenizers.Characters("abcx ", [], normalizer: """{"type": "Lowercase"}""", added: $"[{token}]"));
        Assert.Equal(expected, string.Join('|', tokenizer.EncodeWithOffsets(text).Tokens));
    }

    [Theory]
    [InlineData("null", "a ▁b c")]
    [InlineData("""{"type": "Fuse"}""", "a▁bc")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}""", "a bc")]
    [InlineData("""{"type": "Replace", "pattern": {"String": "▁"}, "content": "_"}""", "a_bc")]
    [InlineData("""{"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 1, "stop": 0}]}""", "▁bc")]
    [InlineData("""{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}""", "abc")]
    [InlineData("""{"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"Regex": "(?<!\\n)^a"}, "content": "-"}]}""", "a▁bc")]
    [InlineData("""{"type": "BPEDecoder", "suffix": "b"}""", "a▁ c")]
    public void Decoders_join_the_tokens(string decoder, string expected)
    {
        Tokenizer tokenizer = Load(SmallTokenizers.Characters("abc▁", [("▁", "b")], decoder: decoder));
        int[] ids = [0, 4, 2];
        if (decoder.Contains("(?<!", StringComparison.Ordinal)) expected = "-▁bc";
        Assert.Equal(expected, tokenizer.Decode(ids));
        Assert.Equal(expected, Streaming.Concatenated(tokenizer, ids));
    }

    [Fact]
    public void A_run_of_byte_tokens_that_is_no_text_is_one_mark_a_byte()
    {
        Tokenizer tokenizer = Load("""
            {"decoder": {"type": "ByteFallback"}, "model": {"type": "BPE", "byte_fallback": true, "vocab": {"a": 0, "<0xE3>": 1, "<0x81>": 2, "<0x82>": 3}, "merges": []}}
            """);
        Assert.Equal("あa", tokenizer.Decode([1, 2, 3, 0]));
        Assert.Equal("\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDa", tokenizer.Decode([1, 2, 3, 1, 2, 0]));
        Assert.Equal([1, 2, 3], tokenizer.Encode("あ"));
        Assert.Equal([(0, 1), (0, 1), (0, 1)], tokenizer.EncodeWithOffsets("あ").Offsets);

        StreamingDecoder decoder = tokenizer.DecodeStreaming();
        Assert.Equal("", string.Concat(((int[])[1, 2, 3, 1, 2]).Select(decoder.Push)));      // the run may still turn out to be no text
        Assert.Equal(2, decoder.UnfinishedBytes);
        Assert.Equal("あ", decoder.Finish(dropUnfinished: true));
    }

    [Fact]
    public void Byte_level_BPE_gives_back_any_text()
    {
        Tokenizer tokenizer = Load(SmallTokenizers.ByteLevel());
        Assert.Equal(TokenizerModel.ByteLevelBpe, tokenizer.Model);
        foreach (string line in GoldenTokens.Lines)
        {
            string text = UnicodeNormalizer.Get(NormalizationForm.FormC, UnicodeVersion.Unicode9).Normalize(line);
            int[] ids = tokenizer.Encode(text);
            Assert.Equal(text, tokenizer.Decode(ids));
            Assert.Equal(text, Streaming.Concatenated(tokenizer, ids));
        }
        Assert.Equal(["Ġthe", "ĠĠ", "Ġ", "Ġ", "æĹ¥", "<|end|>", "▲"], tokenizer.EncodeWithOffsets(" the    日<|end|>▲").Tokens);
        Assert.Equal("日▲", tokenizer.Decode(tokenizer.Encode("日<|end|>▲"), skipSpecialTokens: true));
    }

    [Fact]
    public void Unknown_text_is_fused_or_not_as_the_file_says()
    {
        Assert.Equal("a u b", Tokens(SmallTokenizers.Characters("abu", [], more: """, "unk_token": "u", "fuse_unk": true"""), "a??b"));
        Assert.Equal("a u u b", Tokens(SmallTokenizers.Characters("abu", [], more: """, "unk_token": "u", "fuse_unk": false"""), "a??b"));
        Assert.Equal("a b", Tokens(SmallTokenizers.Characters("abu", []), "a??b"));
        Assert.Equal("a <unk> b", Tokens(SmallTokenizers.Unigram(("<unk>", 0), ("a", -1), ("b", -1)), "a??b"));
    }

    [Fact]
    public void A_word_that_is_in_the_vocabulary_needs_no_merges_when_the_file_says_so()
    {
        string json = """{"model": {"type": "BPE", "ignore_merges": true, "vocab": {"a": 0, "b": 1, "ab": 2, "": 3}, "merges": []}}""";
        Assert.Equal([2], Load(json).Encode("ab"));
        Assert.Equal([0, 1], Load(json.Replace("true", "false", StringComparison.Ordinal)).Encode("ab"));
        Assert.Equal("", Load(json).Decode([3]));
    }

    // The library looks at the token: Ġ is white space there, what stands for the bytes of a line feed or an ideographic space is not.
    [Theory]
    [InlineData("a b", "0-1 2-3", false), InlineData("a\n\nb", "0-1 1-2 2-3 3-4", false), InlineData("\u3000a", "0-1 0-1 0-1 1-2", false)]
    [InlineData("a  b", "0-1 2-2 3-4", false), InlineData(" a", "1-2", false), InlineData(" a b", "0-2 3-4", true), InlineData("a b", "0-1 2-3", true)]
    [InlineData("a \n<x> b", "0-1 3-6 7-8", false)]
    public void Places_leave_out_the_white_space_that_the_library_leaves_out(string text, string expected, bool addsPrefixSpace)
    {
        string flag = addsPrefixSpace ? "true" : "false";
        Tokenizer tokenizer = Load($$"""
            {"added_tokens": [{"id": 9, "content": "<x>", "lstrip": true, "special": true}],
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": {{flag}} }, "post_processor": {"type": "ByteLevel", "add_prefix_space": {{flag}}, "trim_offsets": true},
             "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "Ċ": 3, "ã": 4, "Ģ": 5, "Ġa": 6, "Ġb": 7}, "merges": ["Ġ a", "Ġ b"]} }
            """);
        Assert.Equal(expected, string.Join(' ', tokenizer.EncodeWithOffsets(text).Offsets.Select(o => $"{o.Start}-{o.End}")));
    }

    private static string Tokens(string json, string text, string separator = " ") =>
        string.Join(separator, Load(json).EncodeWithOffsets(text, addSpecialTokens: false).Tokens);

    private static Tokenizer Load(string json)
    {
        using TemporaryFolder folder = new();
        return Tokenizer.Load(folder.Write("tokenizer.json", json));
    }
}
