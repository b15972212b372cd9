using System.Text.Json;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class TokenizerCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public async Task A_size_that_cannot_be_is_told_by_the_name_of_its_option()
    {
        string text = _folder.Write("text.txt", "吾輩は猫である。名前はまだ無い。\n");
        string[] train = ["tokenizer", "train", text, "--out", _folder["out"], "--vocab-size"];
        Assert.Contains("--vocab-size is 100; expected more than ", (await Fude.Run([.. train, "100"])).Failure(), StringComparison.Ordinal);
        string few = (await Fude.Run([.. train, "265"])).Failure();
        Assert.Contains("--vocab-size is 265, but the text needs ", few, StringComparison.Ordinal);
        Assert.Contains("or a lower --character-coverage than 0.9995.", few, StringComparison.Ordinal);
        Assert.Contains("--vocab-size is 9000, but this text yields ", (await Fude.Run([.. train, "9000"])).Failure(), StringComparison.Ordinal);
        Assert.Contains("--max-piece-length is 9999; expected 1 to 512.", (await Fude.Run([.. train, "280", "--max-piece-length", "9999"])).Failure(), StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["out"]));
    }

    [Fact]
    public async Task A_Japanese_user_is_told_by_the_name_of_the_option_too()
    {
        string text = _folder.Write("text.txt", "吾輩は猫である。名前はまだ無い。\n");
        string[] train = ["tokenizer", "train", text, "--out", _folder["out"], "--vocab-size"];
        Assert.Contains("fude: --max-piece-length が 9999 です（必要: 1 から 512 まで）。", (await Fude.RunInJapanese([.. train, "280", "--max-piece-length", "9999"])).Said, StringComparison.Ordinal);
        string few = (await Fude.RunInJapanese([.. train, "265"])).Said;
        Assert.Contains("fude: --vocab-size が 265 ですが、", few, StringComparison.Ordinal);
        Assert.Contains("語彙数を増やすか、--character-coverage を 0.9995 より下げてください。", few, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_that_cannot_be_written_is_told_before_any_text_is_read()
    {
        string file = _folder.Write("t.txt", "");
        foreach (string[] command in (string[][])[["train", _folder["none.txt"]], ["merge", _folder["none"], "--text", _folder["none.txt"]]])
        {
            Assert.Contains($"{file} is a file: give the name of a folder to write.", (await Fude.Run(["tokenizer", .. command, "--out", file])).Failure(), StringComparison.Ordinal);
            if (OperatingSystem.IsLinux())
                Assert.Contains("/proc/none/t cannot be written: no file can be made in /proc.", (await Fude.Run(["tokenizer", .. command, "--out", "/proc/none/t"])).Failure(), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("VocabularySizeが 3 です", "--vocab-sizeが 3 です")]
    [InlineData("既定のWhitespaceRunsとMaxPieceLength。", "既定の--whitespace-runsと--max-piece-length。")]
    [InlineData("the MyVocabularySize, BeginPiece", "the MyVocabularySize, BeginPiece")]
    public void Names_of_the_trainers_options_are_known_without_a_space_beside_them(string said, string expected) =>
        Assert.Equal(expected, Assert.Throws<Failure>(() => TokenizerArguments.InTheirWords<int>(() => throw new ArgumentException(said))).Message);

    [Fact]
    public async Task Several_pieces_may_follow_an_option_or_its_repetitions()
    {
        string text = _folder.Write("text.txt", "吾輩は猫である。名前はまだ無い。\n");
        foreach ((string name, string[] pieces) in ((string, string[])[])[("a", ["--control", "<a>", "<b>"]), ("b", ["--control", "<a>", "--control=<b>"])])
        {
            Fude.Result result = await Fude.Run(["tokenizer", "train", text, "--out", _folder[name], "--vocab-size", "276", .. pieces]);
            Assert.True(result.Status == 0, result.Error);
        }
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(_folder["a/tokenizer.json"]));
        Assert.Equal(["<a>", "<b>"], json.RootElement.GetProperty("added_tokens").EnumerateArray().Select(token => token.GetProperty("content").GetString()!).Where(piece => piece is "<a>" or "<b>"));
        Assert.Equal(File.ReadAllBytes(_folder["a/tokenizer.json"]), File.ReadAllBytes(_folder["b/tokenizer.json"]));
    }

    public void Dispose() => _folder.Dispose();
}
