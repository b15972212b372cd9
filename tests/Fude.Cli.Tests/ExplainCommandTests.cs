using System.Text.Json;
using Fude.Models;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class ExplainCommandTests
{
    private static readonly string Bare = TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!;

    [Fact]
    public async Task A_text_that_carries_its_own_BOS_has_two_as_the_card_of_StableLM_Beta_has()
    {
        using TemporaryFolder folder = Llama(appendsEnd: false);
        string prompt = PromptFormat.StableLmBeta.Write("自己紹介をしてください。").Text;
        Assert.Equal(["double_bos"], Kinds(await Fude.Run("explain", folder.Path, prompt, "--json")));
        Assert.Empty(Kinds(await Fude.Run("explain", folder.Path, prompt, "--json", "--no-special")));
        Assert.Contains("Beta", (await Fude.Run("explain", folder.Path, prompt)).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_end_that_the_tokenizer_appends_is_told_with_the_remedy()
    {
        using TemporaryFolder folder = Llama(appendsEnd: true);
        Fude.Result result = await Fude.Run("explain", folder.Path, "吾輩は猫である。");
        Assert.Equal(0, result.Status);
        Assert.Contains("猫", result.Output, StringComparison.Ordinal);
        string line = Assert.Single(result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("appends </s>", line, StringComparison.Ordinal);
        Assert.Contains("--no-special", line, StringComparison.Ordinal);
        Assert.Empty(Kinds(await Fude.Run("explain", folder.Path, "吾輩は猫である。", "--json", "--no-special")));
        Assert.Equal(["end_before_answer"], Kinds(await Fude.Run("explain", folder.Path, "猫</s>", "--json", "--no-special")));
    }

    [Theory]
    [InlineData("ver2.1")]
    [InlineData("ver2.2")]
    public async Task The_tokenizer_of_llm_jp_appends_the_end_of_the_document(string version)
    {
        string? folder = TestFolders.SharedData($"llm-jp-tokenizer/{version}");
        Assert.SkipWhen(folder is null, "The tokenizers of llm-jp are in shared beside the checkout, which is not there.");
        Assert.Equal(["end_before_answer"], Kinds(await Fude.Run("explain", folder, "自然言語処理とは", "--json")));
        Assert.Empty(Kinds(await Fude.Run("explain", folder, "自然言語処理とは", "--json", "--no-special")));
    }

    [Fact]
    public async Task A_model_file_alone_reads_no_special_tokens()
    {
        Assert.Equal(["unparsed_special", "unparsed_special"],
            Kinds(await Fude.Run("explain", Bare, "<s>猫<EOD|LLM-jp> a < b, x<y> [INST] <0x41> [TODO] <s>", "--json")));
        string errors = (await Fude.Run("explain", Bare, "<s>猫<EOD|LLM-jp>")).Error;
        Assert.Contains("<s> stands in the text, but is cut into pieces and not read as token 1", errors, StringComparison.Ordinal);
        Assert.Contains("<EOD|LLM-jp> looks like a special token", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Mojibake_and_look_alikes_are_told_and_a_clean_text_is_not()
    {
        Assert.Equal(["mojibake", "lookalike"], Kinds(await Fude.Run("explain", Bare, "### 指示：\n縺薙ｓ縺ｫ縺｡縺ｯ", "--json")));
        Fude.Result clean = await Fude.Run("explain", Bare, "### 指示:\nこんにちは");
        Assert.Equal((0, ""), (clean.Status, clean.Error));
    }

    [Fact]
    public async Task One_character_is_no_plural()
    {
        Assert.Contains(" for 1 character\n", (await Fude.Run("explain", Bare, "猫")).Output, StringComparison.Ordinal);
        Assert.Contains(" for 2 characters\n", (await Fude.Run("explain", Bare, "猫猫")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Characters_and_their_places_are_counted_in_code_points()
    {
        string output = (await Fude.Run("explain", Bare, "𠮷野家👩‍👩‍👧")).Output;
        Assert.Contains(" for 8 characters\n", output, StringComparison.Ordinal);
        Assert.Contains("[0..1) 𠮷", output, StringComparison.Ordinal);
        JsonElement tokens = (await Fude.Run("explain", Bare, "𠮷野家👩‍👩‍👧", "--json")).Json.GetProperty("tokens");
        Assert.Equal(8, tokens[tokens.GetArrayLength() - 1].GetProperty("end").GetInt32());
        Assert.Contains("code points", (await Fude.Run("explain", "--help")).Output, StringComparison.Ordinal);
    }

    private static IEnumerable<string?> Kinds(Fude.Result result) =>
        [.. result.Json.GetProperty("warnings").EnumerateArray().Select(warning => warning.GetProperty("kind").GetString())];

    private static TemporaryFolder Llama(bool appendsEnd)
    {
        TemporaryFolder folder = new();
        folder.Write("tokenizer.model", File.ReadAllBytes(Bare));
        folder.Write("tokenizer_config.json", $$"""
            {"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": {{(appendsEnd ? "true" : "false")}},
             "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": false}
            """);
        return folder;
    }
}
