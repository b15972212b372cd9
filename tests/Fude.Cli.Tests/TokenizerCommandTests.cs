using System.CommandLine;
using System.Text.Json;
using Fude.TestData;
using Fude.Tokenizers.Training;

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

    [Fact]
    public async Task None_of_the_files_of_a_tokenizer_is_replaced_without_force()
    {
        string text = _folder.Write("text.txt", "吾輩は猫である。名前はまだ無い。\n");
        string[] train = ["tokenizer", "train", text, "--vocab-size", "274", "--out"];
        foreach (string name in (string[])["tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
        {
            string folder = Directory.CreateDirectory(_folder["of-" + name]).FullName, file = _folder.Write($"of-{name}/{name}", "mine");
            Assert.Contains($"{folder} has a {name} already: ", (await Fude.Run([.. train, folder])).Failure(), StringComparison.Ordinal);
            Assert.Contains($"{folder} has a {name} already: ", (await Fude.Run("tokenizer", "merge", _folder["none"], "--text", text, "--out", folder)).Failure(), StringComparison.Ordinal);
            Assert.Equal("mine", File.ReadAllText(file));
        }
        Assert.Equal(0, (await Fude.Run([.. train, _folder["of-tokenizer.model"], "--force"])).Status);
        Assert.Contains("of-tokenizer.json には既に tokenizer.json があります。", (await Fude.RunInJapanese([.. train, _folder["of-tokenizer.json"]])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_without_room_for_all_files_leaves_the_tokenizer_that_was_there()
    {
        string[] words = ["吾輩は", "猫である", "名前は", "まだ無い", "どこで", "生れたか", "見当が", "つかぬ"];
        string text = _folder.Write("text.txt", string.Concat(Enumerable.Range(0, 3000).Select(i => $"{(char)(0x4E00 + i)}{words[i % 8]}{words[i * 7 % 8]}{(char)(0x4E00 + i)}{words[i * 3 % 8]}\n")));
        string[] train = ["tokenizer", "train", text, "--character-coverage", "1", "--out", _folder["t"]];
        Assert.Equal(0, (await Fude.Run([.. train, "--vocab-size", "3300"])).Status);
        Dictionary<string, byte[]> before = Directory.GetFiles(_folder["t"]).ToDictionary(file => file, File.ReadAllBytes);
        // tokenizer.model has room, tokenizer.json has not.
        int least = before[_folder["t/tokenizer.model"]].Length, most = before[_folder["t/tokenizer.json"]].Length, room = (least + most) / 2;
        Assert.True(most > least + 40_000, $"{least} {most}");
        (int status, string said) = await Fude.RunOnFullDisk(room, [.. train, "--vocab-size", "3301", "--force"]);
        Assert.True(status == 1, said);
        Assert.Contains($"{_folder["t/tokenizer.json"]} is too large for the disk. Make room on the disk", said, StringComparison.Ordinal);
        Assert.Equal(before.Keys.Order(), Directory.GetFiles(_folder["t"]).Order());
        foreach ((string file, byte[] bytes) in before) Assert.Equal(bytes, File.ReadAllBytes(file));
    }

    [Fact]
    public async Task What_one_would_not_expect_of_the_result_is_told()
    {
        string text = _folder.Write("part-0000", string.Concat(Enumerable.Repeat("{\"text\": \"吾輩は猫である。名前はまだ無い。\"}\n", 9)));
        string[] train = ["tokenizer", "train", text, "--vocab-size", "290", "--out"];
        Fude.Result plain = await Fude.Run([.. train, _folder["a"]]);
        Assert.Equal(0, plain.Status);
        Assert.Equal($"note: {text} begins like JSON, but is read as plain text because of its name; JSONL has .jsonl or .jsonl.gz at its end\n", plain.Error);
        Fude.Result bpe = await Fude.Run([.. train, _folder["b"], "--model", "bpe", "--user-defined", "名前"]);
        Assert.Equal(0, bpe.Status);
        Assert.Contains("note: tokenizer.json and tokenizer.model differ in texts that begin with a space", bpe.Error, StringComparison.Ordinal);
        string named = _folder.Write("bad.jsonl", "{\"text\": \"吾輩は猫である。名前はまだ無い。\"}\n{\n");
        Fude.Result skipped = await Fude.Run("tokenizer", "train", named, "--vocab-size", "274", "--out", _folder["c"], "--skip-bad", "1");
        Assert.EndsWith($"; 1 broken line skipped: {named}:2\n", skipped.Output, StringComparison.Ordinal);
        Assert.Equal("", skipped.Error);
    }

    [Fact]
    public void Counts_that_are_approximate_are_told_and_exact_ones_are_not()
    {
        Random random = new(1);
        TrainingText text = new(_folder.Write("random.txt", string.Concat(Enumerable.Range(0, 300).Select(_ =>
            string.Concat(Enumerable.Range(0, 30).Select(_ => (char)('あ' + random.Next(40)))) + "\n"))));
        TokenizerArguments arguments = new();
        Command command = new("train");
        arguments.AddTo(command);
        Assert.Equal("", Notes("exact", options => options));
        Assert.StartsWith("note: the text has more different stretches than the 2,000 characters that are held in memory: the rarest were thinned out at random (",
            Notes("thinned", options => options with { HeldCharacters = 2000 }), StringComparison.Ordinal);

        string Notes(string folder, Func<TokenizerTrainerOptions, TokenizerTrainerOptions> change)
        {
            using StringWriter notes = new() { NewLine = "\n" };
            ParseResult args = command.Parse(["--out", _folder[folder]]);
            _ = arguments.Write(args, UnigramTrainer.Train(text, change(arguments.Read(args) with { VocabularySize = 330 })), notes);
            return notes.ToString();
        }
    }

    public void Dispose() => _folder.Dispose();
}
