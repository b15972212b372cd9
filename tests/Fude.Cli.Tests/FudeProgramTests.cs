using System.Diagnostics;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class FudeProgramTests
{
    private static readonly string Model = TestFolders.FindGolden("models/llama-gqa")!;

    [Theory]
    [InlineData("generate", "MODEL", "--prompt", "a", "--prompt", "b")]
    [InlineData("generate", "MODEL", "--ids", "1", "--threads", "1", "--threads", "2")]
    [InlineData("perplexity", "MODEL", "--ids-file", "a", "--ids-file", "b")]
    [InlineData("bench", "--config", "a", "--config", "b")]
    [InlineData("bench", "MODEL", "-p", "1", "-p", "2")]
    public async Task An_option_given_twice_is_wrong_usage(params string[] arguments)
    {
        string line = (await Fude.Run([.. arguments.Select(argument => argument == "MODEL" ? Model : argument)])).Failure(status: 2);
        Assert.Contains(arguments[^2], line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_word_that_is_no_command_is_named() =>
        Assert.Contains("'conjure'", (await Fude.Run("conjure")).Failure(status: 2), StringComparison.Ordinal);

    [Theory]
    [InlineData("--splt-digits", "--split-digits", "tokenizer", "train", "a", "--out", "b", "--control", "<|user|>", "--splt-digits")]
    [InlineData("--bach", "--batch", "tune", "a", "--data", "b", "--bach", "6", "--out", "c")]
    [InlineData("--contxt", "--context", "train", "--config", "a", "--data", "b", "--contxt", "32", "--out", "c")]
    [InlineData("--shares", "--share", "corpus", "hold-out", "a", "--shares=0.1", "--train", "b", "--held-out", "c")]
    [InlineData("--ngram", "--ngrams", "evaluate", "a", "b", "--ngram", "c")]
    [InlineData("--jsn", "--json", "tokenize", "--jsn")]
    [InlineData("--frmat", "--format", "chat", "--frmat", "q8_0", "a")]
    [InlineData("--tmperature", "--temperature", "generate", "--tmperature", "0.5")]
    [InlineData("--treads", "--threads", "generate", "a", "--treads")]
    [InlineData("--verbos", "--verbose", "inspect", "a", "--verbos")]
    [InlineData("--dryrun", "--dry-run", "run", "--dryrun", "a")]
    [InlineData("--dry", "--dry-run", "run", "--dry", "a")]
    public async Task A_misspelt_option_is_no_value_of_a_list_and_no_name_of_a_file(string given, string meant, params string[] arguments) => Assert.Contains(
        $"fude: There is no option {given}. Did you mean '{meant}'?", (await Fude.Run(arguments)).Failure(status: 2), StringComparison.Ordinal);

    [Fact]
    public async Task A_word_after_two_dashes_is_what_it_is()
    {
        Assert.Contains("--foo: there is no such file", (await Fude.Run("tokenizer", "train", "--out", "b", "--", "--foo")).Failure(), StringComparison.Ordinal);
        Assert.Equal((await Fude.RunWith("--json", "tokenize")).Output, (await Fude.Run("tokenize", "--", "--json")).Output);
        Assert.Equal(0, (await Fude.Run("generate", "--max-new-tokens", "1", "--", "-5度の朝")).Status);
        Assert.Contains("or after --.", (await Fude.Run("generate", "-5度の朝")).Failure(2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_misspelt_option_is_no_name_of_what_is_written_and_no_name_is_none()
    {
        Assert.Contains("There is no option --recompue. Did you mean '--recompute'?",
            (await Fude.Run("train", "--config", "c", "--data", "d", "--steps", "5", "--out", "--recompue")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("is empty", (await Fude.Run("tokenizer", "train", "a.txt", "--out=")).Failure(2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_word_near_a_command_is_told_which()
    {
        Assert.Contains("'generat' is no command, no option, or one argument too many. Did you mean 'generate'?", (await Fude.Run("generat")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("Did you mean 'tokenize'?", (await Fude.Run("corpus", "tokenise")).Failure(2), StringComparison.Ordinal);
        Assert.DoesNotContain("Did you mean", (await Fude.Run("inspect", "a", "b")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("'generate' のことですか。", (await Fude.RunInJapanese("generat")).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_option_that_is_unlike_all_is_told_without_a_guess() =>
        Assert.Contains("There is no option --json. Try ", (await Fude.Run("chat", "--json")).Failure(2), StringComparison.Ordinal);

    [Theory]
    [InlineData("explain", "There is nothing to explain: ")]
    [InlineData("detokenize", "There is nothing to detokenize: ")]
    [InlineData("generate", "There is nothing to continue: ")]
    [InlineData("generate ./no-model", "There is nothing to continue: ")]        // before a model is loaded
    public async Task At_a_terminal_no_text_is_waited_for(string command, string said)
    {
        using StringWriter output = new() { NewLine = "\n" };
        using StringWriter error = new() { NewLine = "\n" };
        Assert.Equal(2, await new FudeProgram(new Terminal(Stream.Null, output, error, InputIsRedirected: false)).RunAsync(command.Split(' ')));
        Assert.StartsWith($"fude: {said}", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task At_a_terminal_lines_to_tokenize_are_asked_for()
    {
        using StringWriter output = new() { NewLine = "\n" };
        using StringWriter error = new() { NewLine = "\n" };
        using MemoryStream typed = new("猫\n"u8.ToArray());
        Assert.Equal(0, await new FudeProgram(new Terminal(typed, output, error, InputIsRedirected: false)).RunAsync(["tokenize"]));
        Assert.Contains("猫", output.ToString(), StringComparison.Ordinal);
        Assert.StartsWith("note: each line that is typed is divided into tokens", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_in_the_place_of_a_recipe_is_named()
    {
        using TemporaryFolder folder = new();
        Assert.Contains($"{folder.Path} is a folder; the file of a recipe is expected.", (await Fude.Run("run", folder.Path)).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_command_that_is_named_first_is_made_alone_and_any_other_word_has_all()
    {
        using Interrupts interrupts = new();
        FudeProgram program = new(new Terminal(Stream.Null, TextWriter.Null, TextWriter.Null));
        string[] names = Made(null);
        Assert.Contains("generate", names);
        foreach (string name in names) Assert.Equal([name], Made(name));
        foreach (string word in (string[])["", "--verbose", "--help", "Generate", "generat", "筆", "[suggest:3]"]) Assert.Equal(names, Made(word));

        string[] Made(string? first) => [.. program.CreateCommand(interrupts, first).Subcommands.Select(command => command.Name)];
    }

    [Theory]
    [InlineData("'conjure'", "conjure")]
    [InlineData("コマンドがありません", "tokenizer")]
    [InlineData("--seed: 'x' は整数ではありません", "tokenizer", "train", "a", "--out", "b", "--seed", "x")]
    [InlineData("--character-coverage: 'x' は数ではありません", "tokenizer", "train", "a", "--out", "b", "--character-coverage", "x")]
    [InlineData("--model: 'wordpiece' は unigram、bpe のいずれでもありません", "tokenizer", "train", "a", "--out", "b", "--model", "wordpiece")]
    [InlineData("--documents: 'x' は paragraphs、line、file のいずれでもありません", "corpus", "hold-out", "a", "--train", "b", "--held-out", "c", "--documents", "x")]
    [InlineData("--out がありません", "tokenizer", "train", "a")]
    [InlineData("--out に値がありません", "tokenizer", "train", "a", "--out")]
    [InlineData("FILE がありません。必ず指定してください", "tokenizer", "train", "--out", "a")]
    [InlineData("--splt-digits というオプションはありません。'--split-digits' のことですか。", "tokenizer", "train", "a", "--out", "b", "--control", "<|user|>", "--splt-digits")]
    [InlineData("--out DIR がありません", "tune", "a", "--data", "b")]
    [InlineData("'q8_0' というプロンプト書式はありません。", "chat", "--format", "q8_0")]
    [InlineData("重みの量子化は --weights q8_0 です。", "chat", "--format", "q8_0")]
    [InlineData("--logprobs は --json と共に使います", "generate", "吾輩は", "--logprobs")]
    [InlineData("--seed が 2 回指定されています", "generate", "--seed", "1", "--seed", "2")]
    public async Task Wrong_usage_is_told_in_Japanese_without_a_word_of_the_library(string expected, params string[] arguments)
    {
        (int status, string said) = await Fude.RunInJapanese(arguments);
        Assert.True(status == 2, said);
        Assert.Contains(expected, said, StringComparison.Ordinal);
        Assert.DoesNotMatch("[A-Z][a-z]+ [a-z]+ ", said);
    }

    [Fact]
    public async Task What_is_wrong_is_told_in_Japanese()
    {
        using TemporaryFolder folder = new();
        string model = folder["model"];
        Directory.CreateDirectory(model);
        await Tells(folder["none"], "inspect", folder["none"]);
        // The system's own words, of a file whose name is Japanese: at least what kind of thing is wrong.
        string said = (await Fude.RunInJapanese("perplexity", Fude.Model("llama-gqa"), "--ids-file", folder["モデル/ids.json"])).Said;
        Assert.StartsWith("fude: 読み書きできません: ", said, StringComparison.Ordinal);
        await Tells(model, "inspect", model);
        File.WriteAllText(Path.Combine(model, "config.json"), """{"model_type": "bert"}""");
        await Tells("bert", "inspect", model);
        File.WriteAllText(Path.Combine(model, "config.json"), "[]");
        await Tells("config.json", "inspect", model);
        await Tells("10000", "generate", Fude.Model("llama-gqa"), "--ids", "1", "--max-new-tokens", "10000");
        await Tells(folder["none"], "generate", Fude.Model("llama-gqa"), "--adapter", folder["none"], "--ids", "1");
        await Tells(folder["none"], "corpus", "tokenize", folder["none"], "--tokenizer", folder["none"], "--out", folder["out"]);
        await Tells(folder["none"], "train", "--config", folder["none"], "--data", folder["none"], "--steps", "1", "--out", folder["run"]);
        string ids = folder.Write("ids.json", "{}");
        Assert.Contains("[1, 2, 3] など）として読めません: ", (await Fude.RunInJapanese("perplexity", Fude.Model("llama-gqa"), "--ids-file", ids)).Said, StringComparison.Ordinal);

        async Task Tells(string named, params string[] arguments)
        {
            (int status, string said) = await Fude.RunInJapanese(arguments);
            Assert.True(status != 0, said);
            Assert.Contains(named, said, StringComparison.Ordinal);
            // A sentence, and none of English: names of files, keys and models are not three words in a row.
            Assert.Matches("(です|ます|ません|ください)", said);
            Assert.DoesNotMatch("[a-z]+ [a-z]+ [a-z]+ ", said);
        }
    }

    [Fact]
    public async Task Help_is_Japanese_in_its_frame_too()
    {
        foreach (string[] command in (string[][])[[], ["tokenizer"], ["train"], ["tokenizer", "train"], ["tune"], ["dpo"], ["generate"], ["run"]])
        {
            (int status, string said) = await Fude.RunInJapanese([.. command, "--help"]);
            Assert.Equal(0, status);
            Assert.StartsWith("説明:\n", said, StringComparison.Ordinal);
            Assert.Contains("\n使い方:\n  fude", said, StringComparison.Ordinal);
            Assert.Contains("\nオプション:\n", said, StringComparison.Ordinal);
            foreach (string english in (string[])["Description:", "Usage:", "Options:", "Arguments:", "Commands:", "REQUIRED", "[default", "[options]", "[command]", "Show "])
                Assert.DoesNotContain(english, said, StringComparison.Ordinal);
        }
        string train = (await Fude.RunInJapanese("train", "--help")).Said;
        Assert.Contains("--out <DIR>（必須）", train.Replace("> （", ">（", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Matches(@"--schedule <cosine\|linear\|constant\|wsd> .*\[省略時: cosine\]\n", train);
        Assert.Matches(@"--rows <N> .*\[省略時: 4\]\n", train);
        Assert.Contains("--data <NAME...>", train, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_in_English_shows_what_is_typed()
    {
        Fude.Result help = await Fude.Run("tokenizer", "train", "--help");
        Assert.Contains("Options:\n", help.Output, StringComparison.Ordinal);
        Assert.Contains("--out <DIR> (REQUIRED)", help.Output, StringComparison.Ordinal);
        Assert.Contains("--control <PIECE...>", help.Output, StringComparison.Ordinal);
        Assert.Matches(@"--model <unigram\|bpe> .*\[default: unigram\]\n", help.Output);
        string train = (await Fude.Run("train", "--help")).Output;
        foreach (string said in (string[])["this or --from is needed.", "this or --tokens is needed."]) Assert.Contains(said, train, StringComparison.Ordinal);
        Assert.Contains("FILE is missing. Try 'fude tokenizer train --help'.", (await Fude.Run("tokenizer", "train", "--out", "b")).Failure(status: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_names_an_argument_alike_everywhere_and_shows_which_may_be_absent()
    {
        Assert.Contains("\n  fude tokenizer train <FILE>... [オプション]\n", (await Fude.RunInJapanese("tokenizer", "train", "--help")).Said, StringComparison.Ordinal);
        Assert.Contains("\n  fude generate [<MODEL> [<TEXT>]] [オプション]\n", (await Fude.RunInJapanese("generate", "--help")).Said, StringComparison.Ordinal);
        string commands = (await Fude.Run("--help")).Output;
        foreach (string row in (string[])["generate [MODEL] [TEXT]", "chat [MODEL] ", "logits <MODEL> ", "evaluate <MODEL> <FILE> "])
            Assert.Contains($"\n  {row}", commands, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_empty_value_does_not_swallow_the_next_option()
    {
        // The model has no tokenizer: had --json been taken for the prompt, the error would be the same, but not this one.
        string line = (await Fude.Run("generate", Model, "--eos-token-id=", "--json")).Failure(status: 2);
        Assert.Contains("--eos-token-id: ''", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("generate", "", "--ids", "1")]
    [InlineData("tokenize", "")]
    [InlineData("merge", "MODEL", "--adapter", "", "--out", "x")]
    [InlineData("merge", "MODEL", "--adapter", "x", "--out", "")]
    public async Task An_empty_path_is_told_apart(params string[] arguments)
    {
        string line = (await Fude.Run([.. arguments.Select(argument => argument == "MODEL" ? Model : argument)])).Failure(status: 2);
        Assert.Contains("path is empty", line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_in_the_place_of_a_file_is_named()
    {
        using TemporaryFolder folder = new();
        string line = (await Fude.Run("perplexity", Model, "--ids-file", folder.Path)).Failure();
        Assert.Contains($"{folder.Path} is a folder", line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_score_that_overflows_is_still_JSON()
    {
        Fude.Result result = await Fude.Run("generate", Model, "--ids", "1,5", "--num-beams", "2", "--length-penalty=-1000", "-n", "4", "--json");
        Assert.Equal("-Infinity", result.Json.GetProperty("score").GetString());
    }

    [Theory, InlineData("config.json"), InlineData("generation_config.json"), InlineData("model.safetensors"), InlineData("tokenizer.json")]
    public async Task A_pipe_in_the_place_of_a_file_is_not_waited_for(string name)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Makes a named pipe with mkfifo.");
        using TemporaryFolder folder = new();
        foreach (string file in Directory.EnumerateFiles(TestFolders.FindGolden("models/llama-mha")!))
            if (Path.GetFileName(file) != name) File.Copy(file, Path.Combine(folder.Path, Path.GetFileName(file)));
        using (Process make = Process.Start("mkfifo", [Path.Combine(folder.Path, name)]))
            await make.WaitForExitAsync(TestContext.Current.CancellationToken);
        string line = (await Fude.Run("generate", folder.Path, "--ids", "1,2")).Failure();
        Assert.Contains(name, line, StringComparison.Ordinal);
        Assert.Contains("empty", line, StringComparison.Ordinal);
    }
}
