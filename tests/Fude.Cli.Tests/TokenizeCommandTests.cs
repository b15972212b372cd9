using System.Text;
using System.Text.Json;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class TokenizeCommandTests
{
    private static readonly string Tokenizer = TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!;

    [Fact]
    public async Task Each_line_of_input_gives_a_line_of_ids_and_pieces_and_comes_back()
    {
        Fude.Result tokens = await Fude.RunWith("吾輩は猫である。\n\nabc", "tokenize", Tokenizer, "--json");
        Assert.Equal(3, tokens.JsonLines.Count);
        Assert.Equal(0, tokens.JsonLines[1].GetProperty("ids").GetArrayLength());
        Fude.Result text = await Fude.RunWith(tokens.Output, "detokenize", Tokenizer, "--json");
        Assert.Equal(["吾輩は猫である。", "", "abc"], text.JsonLines.Select(line => line.GetProperty("text").GetString()));
    }

    [Fact]
    public async Task A_text_is_one_line_whatever_its_pieces()
    {
        string line = Assert.Single((await Fude.RunWith("\"こん\\nに\\tち\"\n", "tokenize", "--json-input")).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains(" ␊ ", line, StringComparison.Ordinal);
        Assert.Contains("\"\\n\"", (await Fude.RunWith("\"こん\\nに\"\n", "tokenize", "--json-input", "--json")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_text_on_the_command_line_is_one_line()
    {
        Fude.Result given = await Fude.Run("tokenize", Tokenizer, "吾輩は猫である。");
        Assert.Equal((await Fude.RunWith("吾輩は猫である。\n", "tokenize", Tokenizer)).Output, given.Output);
    }

    [Fact]
    public async Task The_golden_lines_have_their_golden_ids()
    {
        string[] lines = File.ReadAllLines(TestFolders.FindGolden("tokenizers/lines.jsonl")!);
        string input = string.Concat(lines.Select(line => $"{JsonDocument.Parse(line).RootElement.GetProperty("text").GetRawText()}\n"));
        Fude.Result result = await Fude.RunWith(input, "tokenize", Tokenizer, "--json", "--json-input");
        string expected = TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/expected.jsonl")!;
        Assert.Equal(
            File.ReadLines(expected).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("ids").GetRawText().Replace(" ", "", StringComparison.Ordinal)),
            result.JsonLines.Select(line => line.GetProperty("ids").GetRawText()));
    }

    [Fact]
    public async Task A_carriage_return_and_a_byte_order_mark_are_text()
    {
        Fude.Result raw = await Fude.RunWith("\uFEFFa\r\n", "tokenize", Tokenizer, "--json");
        Fude.Result quoted = await Fude.RunWith("\"\\uFEFFa\\r\"", "tokenize", Tokenizer, "--json", "--json-input");
        Assert.Equal(quoted.Output, raw.Output);
        Assert.Contains("<0x0D>", raw.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lines_of_any_length_come_whole()
    {
        string[] texts = ["a", new('b', 65_535), new('c', 65_536), "", new('d', 300_000), "e"];
        Fude.Result tokens = await Fude.RunWith(string.Concat(texts.Select(text => $"{text}\n")), "tokenize", Tokenizer, "--json", "--no-special");
        Assert.Equal(string.Concat(texts.Select(text => $"{text}\n")), (await Fude.RunWith(tokens.Output, "detokenize", Tokenizer)).Output);
    }

    [Fact]
    public async Task A_byte_order_mark_before_lines_of_JSON_is_no_error()
    {
        Fude.Result tokens = await Fude.RunWith("\uFEFF\"猫\"\n\"犬\"\n", "tokenize", Tokenizer, "--json", "--json-input", "--no-special");
        Fude.Result text = await Fude.RunWith($"\uFEFF{tokens.Output}", "detokenize", Tokenizer);
        Assert.Equal("猫\n犬\n", text.Output);
    }

    [Fact]
    public async Task Invalid_UTF8_names_line_and_byte()
    {
        Fude.Result result = await Fude.RunWith([.. "abc\n"u8, 0xE3, 0x81, (byte)'\n'], "tokenize", Tokenizer, "--json");
        Assert.Equal(1, result.Status);
        Assert.Contains("line 2: byte 1 is not UTF-8. Convert the text first, e.g. `iconv -f CP932 -t UTF-8`.", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[1]")]
    [InlineData("\"\\uD800\"")]
    public async Task A_line_that_is_no_JSON_string_is_named(string line) =>
        Assert.Contains("line 1", (await Fude.RunWith(line, "tokenize", Tokenizer, "--json", "--json-input")).Failure(), StringComparison.Ordinal);

    [Theory]
    [InlineData("\"猫\" 犬", "not a JSON string: column 5: '犬' is invalid after a single JSON value. Expected end of data.")]
    [InlineData("", "not a JSON string: it is empty.")]
    [InlineData("\"\\uD800\"", "the JSON string holds half a surrogate pair.")]
    public async Task A_line_that_is_no_JSON_is_told_by_the_character_from_1(string line, string expected)
    {
        Fude.Result result = await Fude.RunWith($"\"a\"\n{line}\n", "tokenize", Tokenizer, "--json-input");
        Assert.Equal(1, result.Status);
        Assert.Equal($"fude: standard input, line 2: {expected}\n", result.Error);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("{\"ids\":[1.5]}")]
    [InlineData("{\"ids\":[99999999]}")]
    public async Task Ids_that_are_none_are_an_error(string line) => (await Fude.RunWith(line, "detokenize", Tokenizer, "--json")).Failure();

    [Fact]
    public async Task Explain_tells_piece_place_and_score()
    {
        JsonElement json = (await Fude.Run("explain", Tokenizer, "猫がnya", "--json")).Json;
        JsonElement first = json.GetProperty("tokens")[0];
        Assert.Equal(0, first.GetProperty("start").GetInt32());
        Assert.Contains("猫", (await Fude.Run("explain", Tokenizer, "猫がnya")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_missing_tokenizer_is_named() =>
        Assert.Contains("nowhere.model", (await Fude.Run("tokenize", "nowhere.model")).Failure(), StringComparison.Ordinal);
}
