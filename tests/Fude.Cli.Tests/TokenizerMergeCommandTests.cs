using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Cli.Tests;

public sealed class TokenizerMergeCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _japanese, _english;

    public TokenizerMergeCommandTests()
    {
        string[] words = ["吾輩は", "猫である", "名前は", "まだ無い", "どこで", "生れたか", "見当が", "つかぬ", "。"];
        Random random = new(1);
        _japanese = _folder.Write("ja.txt", string.Concat(Enumerable.Range(0, 200).Select(_ => string.Concat(Enumerable.Range(0, 6).Select(_ => words[random.Next(words.Length)])) + "\n")));
        _english = _folder.Write("en.txt", string.Concat(Enumerable.Range(0, 200).Select(i => $"the cat reads {i % 7} letters and a book\n")));
    }

    [Fact]
    public async Task Vocabularies_of_two_languages_become_one_that_reads_both()
    {
        await Train(_japanese, "ja", 320);
        await Train(_english, "en", 300);
        string output = _folder["both"];
        Fude.Result result = await Fude.Run(
            "tokenizer", "merge", _folder["ja"], _folder["en"], "--text", _japanese, _english, "--out", output, "--whitespace-runs", "4", "--user-defined", "\\n");
        Assert.True(result.Status == 0, result.Error);
        Tokenizer both = Tokenizer.Load(output), alone = Tokenizer.Load(_folder["ja"]);
        const string Text = "the cat reads 猫である。\n";
        Assert.Equal(Text, both.Decode(both.Encode(Text, addSpecialTokens: false)));
        Assert.True(both.Count(Text, addSpecialTokens: false) < alone.Count(Text, addSpecialTokens: false));
        Assert.Contains("--force", (await Fude.Run("tokenizer", "merge", _folder["ja"], "--text", _japanese, "--out", output)).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Vocabularies_of_normalised_texts_make_a_tokenizer_that_normalises_where_it_is_asked_for()
    {
        await Train(_english, "en", 300, "--nfkc");
        string[] merge = ["tokenizer", "merge", _folder["en"], "--text", _english, "--out"];
        Fude.Result without = await Fude.Run([.. merge, _folder["without"]]), with = await Fude.Run([.. merge, _folder["with"], "--nfkc"]);
        Assert.Equal((0, 0), (without.Status, with.Status));
        Assert.Contains($"note: {_folder["en"]} normalises texts, and the result will not: ", without.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("note:", with.Error, StringComparison.Ordinal);
        Tokenizer merged = Tokenizer.Load(_folder["with"]);
        Assert.Equal(merged.Encode("the cat"), merged.Encode("ｔｈｅ ｃａｔ"));
    }

    [Fact]
    public async Task Only_unigram_tokenizers_can_be_merged()
    {
        await Train(_japanese, "bpe", 320, "--model", "bpe");
        Assert.Contains("unigram", (await Fude.Run("tokenizer", "merge", _folder["bpe"], "--text", _japanese, "--out", _folder["o"])).Failure(), StringComparison.Ordinal);
        Assert.Contains("none", (await Fude.Run("tokenizer", "merge", _folder["none"], "--text", _japanese, "--out", _folder["o"])).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_damaged_tokenizer_is_told_by_its_path()
    {
        await Train(_japanese, "ja", 320);
        await Train(_english, "en", 300);
        File.WriteAllText(_folder["en/tokenizer.json"], "{");
        Assert.Contains($"{_folder["en/tokenizer.json"]} is no JSON: ",
            (await Fude.Run("tokenizer", "merge", _folder["ja"], _folder["en"], "--text", _japanese, "--out", _folder["both"])).Failure(), StringComparison.Ordinal);
    }

    [Theory, InlineData("a"), InlineData("a/tokenizer.model")]
    public async Task What_an_input_has_besides_its_learnt_pieces_is_told_with_the_options_that_ask_for_it(string input)
    {
        await Train(_japanese, "a", 340, "--control", "<|a|>", "<|b|>", "--padding", "<pad>", "--user-defined", "\\n", "名前", "--whitespace-runs", "4");
        string[] merge = ["tokenizer", "merge", _folder[input], "--text", _japanese, "--out"];
        string note = $"note: {_folder[input]} has pieces that were given and not learnt, and the result will not have them: ";
        Fude.Result none = await Fude.Run([.. merge, _folder["none"]]), some = await Fude.Run([.. merge, _folder["some"], "--control", "<|b|>", "--whitespace-runs", "3", "--user-defined", "\\n", "名前"]),
            all = await Fude.Run([.. merge, _folder["all"], "--control", "<|a|>", "<|b|>", "--padding", "<pad>", "--user-defined", "\\n", "名前", "--whitespace-runs", "4"]);
        Assert.Equal((0, 0, 0), (none.Status, some.Status, all.Status));
        Assert.StartsWith($"{note}--control '<|a|>' '<|b|>', --padding '<pad>', ", none.Error, StringComparison.Ordinal);
        Assert.Contains(", --whitespace-runs 4. Give these options to have them.\n", none.Error, StringComparison.Ordinal);
        Assert.Contains(", --user-defined '\\n' '名前', ", none.Error, StringComparison.Ordinal);
        Assert.Equal($"{note}--control '<|a|>', --padding '<pad>', --whitespace-runs 4. Give these options to have them.\n", some.Error);
        Assert.Equal("", all.Error);
        string help = (await Fude.Run("tokenizer", "merge", "--help")).Output.ReplaceLineEndings(" ");
        Assert.Contains("Only learnt pieces are taken over", help, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_many_pieces_the_first_are_named() =>
        Assert.Equal(@"'<0>' '\n' '<2>' '<3>' '<4>' … (2 more)", TokenizerArguments.Written(["<0>", "\n", "<2>", "<3>", "<4>", "<5>", "<6>"]));

    [Fact]
    public async Task Bytes_can_be_left_out_and_broken_lines_passed_over()
    {
        await Train(_japanese, "ja", 70, "--no-byte-fallback");
        string broken = _folder.Write("broken.jsonl", "{\"text\": \"吾輩は猫である。名前はまだ無い。\"}\n{\n");
        string[] merge = ["tokenizer", "merge", _folder["ja"], "--text", broken, "--no-byte-fallback", "--out", _folder["o"]];
        string told = (await Fude.Run(merge)).Failure();
        Assert.Contains($"{broken}:2: ", told, StringComparison.Ordinal);
        Assert.Contains("--skip-bad N", told, StringComparison.Ordinal);
        Fude.Result result = await Fude.Run([.. merge, "--skip-bad", "1"]);
        Assert.Equal((0, ""), (result.Status, result.Error));
        Assert.StartsWith($"wrote {_folder["o"]}: ", result.Output, StringComparison.Ordinal);
        Assert.EndsWith($" pieces; 1 broken line skipped: {broken}:2\n", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(Tokenizer.Load(_folder["o"]).Pieces, piece => piece.Kind == PieceKind.Byte);
    }

    [Fact]
    public async Task A_size_that_cannot_be_is_told_with_the_least_that_can()
    {
        await Train(_japanese, "ja", 320);
        string[] merge = ["tokenizer", "merge", _folder["ja"], "--text", _japanese, "--out", _folder["o"], "--vocab-size"];
        string told = (await Fude.Run([.. merge, "100"])).Failure();
        Assert.Contains("--vocab-size is 100, but the vocabularies have ", told, StringComparison.Ordinal);
        Assert.EndsWith(" Ask for a larger vocabulary, or train the vocabularies with a lower --character-coverage.", told, StringComparison.Ordinal);
        string least = told.Split("at least ")[1].Split('.')[0];
        Assert.Equal(0, (await Fude.Run([.. merge, least])).Status);
        Assert.Contains("fude: --vocab-size が 100 ですが、", (await Fude.RunInJapanese([.. merge, "100", "--force"])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Text_of_other_characters_than_the_vocabularies_is_named()
    {
        await Train(_japanese, "ja", 320);
        Assert.Contains($"{_english}: no piece of the vocabulary has a character of this text",
            (await Fude.Run("tokenizer", "merge", _folder["ja"], "--text", _english, "--out", _folder["o"])).Failure(), StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private async Task Train(string text, string name, int size, params string[] options)
    {
        Fude.Result result = await Fude.Run(["tokenizer", "train", text, "--out", _folder[name], "--vocab-size", $"{size}", .. options]);
        Assert.True(result.Status == 0, result.Error);
    }
}
