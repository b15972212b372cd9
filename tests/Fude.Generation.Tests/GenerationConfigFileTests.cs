using System.Text.Json;
using Fude.TestData;

namespace Fude.Generation.Tests;

public sealed class GenerationConfigFileTests
{
    [Fact]
    public void A_published_file_is_read()
    {
        GenerationOptions options = Read("""
            {"_from_model_config": true, "bos_token_id": 1, "eos_token_id": [2, 7], "pad_token_id": 0, "temperature": 0.9, "top_p": 0.6,
             "do_sample": true, "max_length": 4096, "use_cache": false, "transformers_version": "4.31.0.dev0", "penalty_alpha": null,
             "guidance_scale": 1.0, "early_stopping": "never", "exponential_decay_length_penalty": [5, 1.2], "forced_eos_token_id": 2,
             "bad_words_ids": [[5], [6, 7]], "sequence_bias": [[[3], -10.0]], "stop_strings": "。"}
            """);
        Assert.Equal((1, 0, 0.9, 0.6, true, 4096), (options.BosTokenId, options.PadTokenId, options.Temperature, options.TopP,
            options.DoSample, options.MaxLength));
        Assert.Equal([2, 7], options.EosTokenId!);
        Assert.Equal(EarlyStopping.Never, options.EarlyStopping);
        Assert.Equal(new ExponentialDecay(5, 1.2), options.ExponentialDecayLengthPenalty);
        Assert.Equal([2], options.ForcedEosTokenId!);
        Assert.Equal([6, 7], options.BadWordsIds![1]);
        Assert.Equal((3, -10.0), (options.SequenceBias![0].Ids[0], options.SequenceBias[0].Bias));
        Assert.Equal(["。"], options.StopStrings!);
        Assert.Null(options.TopK);
    }

    [Theory, InlineData("penalty_alpha", "0.6"), InlineData("guidance_scale", "1.5"), InlineData("constraints", "[{}]"),
        InlineData("max_time", "3"),
        InlineData("encoder_repetition_penalty", "1.2"), InlineData("forced_decoder_ids", "[[1, 2]]"),
            InlineData("prompt_lookup_num_tokens", "10"),
        InlineData("a_key_of_the_future", "1")]
    public void What_would_change_the_text_and_is_not_done_is_an_error(string key, string value)
    {
        NotSupportedException error = Assert.Throws<NotSupportedException>(() => Read($$"""{"{{key}}": {{value}}}"""));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains("the file", error.Message, StringComparison.Ordinal);
    }

    [Theory, InlineData("top_k", "\"many\""), InlineData("top_k", "1.5"), InlineData("top_p", "true"), InlineData("top_p", "1e999"),
        InlineData("do_sample", "1"),
        InlineData("eos_token_id", "[\"</s>\"]"), InlineData("early_stopping", "\"soon\""), InlineData("bad_words_ids", "5"),
        InlineData("bad_words_ids", "[5.5]"), InlineData("exponential_decay_length_penalty", "[1]"), InlineData("sequence_bias", "[[1]]"),
        InlineData("max_length", "99999999999")]
    public void A_value_of_another_kind_is_an_error_that_names_file_and_key(string key, string value)
    {
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => Read($$"""{"{{key}}": {{value}}}"""));
        Assert.Contains($"the file: '{key}'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_null_is_not_set_but_a_top_k_of_null_leaves_all_tokens_in()
    {
        // transformers' GenerationConfig(top_k=None) has no TopKLogitsWarper, and is saved so; without the key it has one of 50.
        GenerationOptions options = Read("""{"do_sample": true, "top_k": null, "top_p": null, "temperature": null, "min_p": null, "eos_token_id": null}""");
        Assert.Equal(new GenerationOptions { DoSample = true, TopK = 0 }, options);
        Assert.Null(Read("""{"do_sample": true}""").TopK);
    }

    [Fact]
    public void Of_config_json_only_the_keys_of_generation_are_read()
    {
        JsonElement json = JsonDocument.Parse("""{"hidden_size": 64, "eos_token_id": 2, "temperature": 0.7, "architectures": ["X"]}""").RootElement;
        GenerationOptions options = GenerationConfigFile.ReadModelConfig(json, "config.json");
        Assert.Equal([2], options.EosTokenId!);
        Assert.Equal(0.7, options.Temperature);
    }

    [Fact]
    public void A_byte_order_mark_is_let_pass()
    {
        using TemporaryFolder folder = new();
        Assert.Equal(8, GenerationOptions.Load(folder.Write("generation_config.json", "\uFEFF{\"max_new_tokens\": 8}")).MaxNewTokens);
    }

    [Fact]
    public void A_file_that_is_no_object_is_an_error() => Assert.Throws<InvalidDataException>(() => Read("[1]"));

    private static GenerationOptions Read(string json) => GenerationConfigFile.Read(JsonDocument.Parse(json).RootElement, "the file");
}
