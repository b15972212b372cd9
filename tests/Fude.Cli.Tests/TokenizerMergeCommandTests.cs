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

    public void Dispose() => _folder.Dispose();

    private async Task Train(string text, string name, int size, params string[] options)
    {
        Fude.Result result = await Fude.Run(["tokenizer", "train", text, "--out", _folder[name], "--vocab-size", $"{size}", .. options]);
        Assert.True(result.Status == 0, result.Error);
    }
}
