using Fude.TestData;

namespace Fude.Cli.Tests;

/// <summary>A recipe is checked whole before anything is done, and what is wrong is said where it stands.</summary>
public sealed class RecipeTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public RecipeTests() => _folder.Write("猫.txt", "吾輩は猫である。名前はまだ無い。\n");

    public static TheoryData<string, string> Mistakes() => new()
    {
        // What is no JSON, or no recipe.
        { "{\n  \"steps\": [,]\n}", ":2:13: this is not JSON" },
        { "{\n  \"steps\": [\n", ":3:1: this is not JSON" },
        { "", ":1:1: this is not JSON: it is empty." },
        { "{} {}", ":1:4: this is not JSON" },
        { "[]", ":1:1: 'a recipe' is a list; an object is expected" },
        { "{}", ":1:1: a recipe has 'steps'" },
        { "{\"steps\": []}", ":1:11: the recipe has no step" },
        { "{\"steps\": {}}", ":1:11: 'steps' is an object; a list is expected" },
        { "{\n  \"stesp\": []\n}", ":2:3: there is no 'stesp' in a recipe. Did you mean 'steps'?" },
        { "{\"name\": 3, \"steps\": []}", ":1:10: 'name' is a number; a string is expected" },
        { "{\"steps\": [], \"steps\": []}", ":1:15: 'steps' is given twice" },
        { "{\"variables\": {\"a b\": \"x\"}, \"steps\": []}", ":1:16: 'a b' is no name of a variable" },

        { new string('[', 40) + new string(']', 40), "this is not JSON" },
        { "{\"name\": \"\\ud842\", \"steps\": []}", "half a character" },

        // Steps and their settings.
        { "{\"steps\": [3]}", ":1:12: 'step' is a number; an object is expected" },
        { "{\"steps\": [{\"name\": \"x\"}]}", ":1:12: a step says what it is" },
        { "{\"steps\": [\n {\"step\": \"tokeniser\"}]}", ":2:11: there is no step 'tokeniser'. Did you mean 'tokenizer'?" },
        { Step("\"vocab_sise\": 300"), ":3:25: there is no 'vocab_sise' in the step 'tokenizer'. Did you mean 'vocab-size'?" },
        { Step("\"vocab-size\": \"300\""), ":3:39: 'vocab-size' is a string; a number is expected" },
        { Step("\"vocab-size\": 300.5"), ":3:39: 'vocab-size' is 300.5; a whole number is expected" },
        { Step("\"vocab-size\": 99999999999"), ":3:39: 'vocab-size' is 99999999999; a whole number is expected" },
        { Step("\"split-digits\": \"yes\""), ":3:41: 'split-digits' is a string; true or false is expected" },
        { Step("\"model\": \"trigram\""), ":3:34: 'model': 'trigram' is none of unigram, bpe." },
        { Step("\"threads\": 0"), ":3:36: 'threads' is from 1 to 1024, not 0." },
        { Step("\"padding\": 3"), ":3:36: 'padding' is a number; a string is expected" },
        { Step("\"padding\": null"), ":3:36: 'padding' is null; a string is expected" },
        { Step("\"user-defined\": []"), ":3:41: 'user-defined' is an empty list" },
        { Step("\"user-defined\": [\"a\", 3]"), ":3:47: 'user-defined' is a number; a string is expected" },
        { Step("\"field\": \"${tex}\""), ":3:34: there is no variable 'tex' above. Did you mean 'text'?" },
        { Step("\"help\": true"), ":3:25: there is no 'help' in the step 'tokenizer'" },
        { "{\"steps\": [{\"step\": \"tokenizer\", \"out\": \"t\"}]}", ":1:12: the step 'tokenizer' needs 'files'" },
        { "{\"steps\": [{\"step\": \"tokenizer\", \"files\": [\"猫.txt\"]}]}", ":1:12: the step 'tokenizer' needs 'out'" },
        { "{\"steps\": [{\"step\": \"train\", \"out\": \"r\", \"data\": [\"猫.txt\"], \"steps\": 1}]}", ":1:12: Give either 'config' for a new model or 'from' for one to go on with." },

        // Files and the order of steps; a path may end in a separator.
        { "{\"steps\": [\n {\"step\": \"tokenizer\", \"out\": \"t\", \"files\": [\"猫.txt\", \"犬.txt\"]}]}", ":2:55: " },
        { "{\"steps\": [\n {\"step\": \"tokenize\", \"files\": [\"猫.txt\"], \"tokenizer\": \"t/\", \"out\": \"s\"},\n {\"step\": \"tokenizer\", \"files\": [\"猫.txt\"], \"out\": \"t\"}]}",
            "is only written by the step 'tokenizer' at line 3" },
        { "{\"steps\": [\n {\"step\": \"tokenizer\", \"out\": \"t\", \"files\": [\"猫.txt\"]},\n {\"step\": \"tokenizer\", \"out\": \"u\", \"files\": [\"猫.txt\"]}]}",
            ":3:2: two steps are called 'tokenizer'; the other is at line 2" },
        { "{\"steps\": [\n {\"step\": \"tokenizer\", \"out\": \"t\", \"files\": [\"猫.txt\"]},\n {\"step\": \"tokenizer\", \"name\": \"b\", \"out\": \"t\", \"files\": [\"猫.txt\"]}]}",
            "is written by the step 'tokenizer' too" },
        { "{\"steps\": [\n {\"step\": \"tokenizer\", \"out\": \"r/t\", \"files\": [\"猫.txt\"]},\n {\"step\": \"tokenizer\", \"name\": \"b\", \"out\": \"r\", \"files\": [\"猫.txt\"]}]}",
            "the step 'tokenizer' writes into " },
        { "{\"steps\": [\n {\"step\": \"hold-out\", \"files\": [\"猫.txt\"], \"train\": \"猫.txt\", \"held-out\": \"h.jsonl\"}]}", "is read by the same step that writes" },
        { "{\"steps\": [\n {\"step\": \"hold-out\", \"files\": [\"猫.txt\"], \"train\": \"h.jsonl\", \"held-out\": \"./h.jsonl\"}]}", "is written by two settings of this step" },
        // What an earlier run has left makes no order right.
        { "{\"steps\": [\n {\"step\": \"tokenizer\", \"out\": \"t\", \"files\": [\"猫.txt\"]},\n {\"step\": \"hold-out\", \"files\": [\"犬.jsonl\"], \"train\": \"猫.txt\", \"held-out\": \"h.jsonl\"}]}",
            "is only written by the step 'hold-out' at line 3" },
        { "{\"variables\": {\"w\": \"x\"}, \"steps\": [\n {\"step\": \"tokenizer\", \"out\": \"${w/tok\", \"files\": [\"猫.txt\"]}]}", ":2:31: 'out' has a '${' that no '}' follows" },

        // A new model's shape.
        { Train("{\"model_type\": 5}"), ":1:69: 'config'" },
        { Train("{\"model_type\": \"llama\", \"hidden_size\": 64}"), ":1:54: 'config'" },
        { Train("\"猫.txt\""), "猫.txt is not valid JSON" },
    };

    [Theory, MemberData(nameof(Mistakes))]
    public async Task A_mistake_is_said_with_its_line_and_column(string recipe, string expected)
    {
        string file = _folder.Write("recipe.json", recipe);
        string[] before = [.. Directory.EnumerateFileSystemEntries(_folder.Path).Order()];
        Assert.Contains("recipe.json" + (expected.StartsWith(':') ? expected : ""), (await Fude.Run("run", file)).Failure(), StringComparison.Ordinal);
        Assert.Contains(expected, (await Fude.Run("run", file)).Failure(), StringComparison.Ordinal);
        Assert.Equal(before, Directory.EnumerateFileSystemEntries(_folder.Path).Order());
    }

    [Fact]
    public async Task Bytes_that_are_no_text_are_named_with_their_place()
    {
        string file = _folder.Write("recipe.json", [.. "{\n\"name\": \""u8, 0xFF, .. "\"}"u8]);
        Assert.Contains("recipe.json:2:", (await Fude.Run("run", file)).Failure(), StringComparison.Ordinal);
        file = _folder.Write("large.json", new byte[2 << 20]);
        Assert.Contains("1 MiB", (await Fude.Run("run", file)).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_near_name_is_offered_in_Japanese_too()
    {
        string file = _folder.Write("recipe.json", Step("\"vocab_sise\": 300"));
        Assert.Contains("'vocab_sise' はありません。'vocab-size' のことですか。あるのは: ", (await Fude.RunInJapanese("run", file)).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_recipe_that_is_not_there_is_named() =>
        Assert.Contains("none.json", (await Fude.Run("run", _folder["none.json"])).Failure(), StringComparison.Ordinal);

    [Theory]
    [InlineData("--set", "texts=.", "no variable 'texts' to set. Did you mean 'text'?")]
    [InlineData("--until", "tokenize", "no step 'tokenize'. Did you mean 'tokenizer'?")]
    [InlineData("--adopt", "x", "no step 'x'.")]
    public async Task What_the_recipe_has_not_cannot_be_named_on_the_command_line(string option, string value, string expected)
    {
        string file = _folder.Write("recipe.json", Step("\"vocab-size\": 300"));
        Assert.Contains(expected, (await Fude.Run("run", file, option, value)).Failure(status: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_variable_may_be_a_list_that_stands_where_a_list_may()
    {
        string file = _folder.Write("recipe.json", Listed("\"${cat}\", \"猫.txt\"", "\"${all}\""));
        Fude.Result result = await Fude.Run("run", file, "--dry-run");
        Assert.True(result.Status == 0, result.Error);
        Assert.Contains("a list; --set gives a text", (await Fude.Run("run", file, "--dry-run", "--set", "all=x")).Failure(), StringComparison.Ordinal);
        // What is not there is told at the place where the list names it.
        file = _folder.Write("recipe.json", Listed("\"${cat}\", \n\"犬.txt\"", "[\"猫.txt\", \"${all}\"]"));
        Assert.Matches(@"recipe\.json:2:1: .*犬\.txt is not there", (await Fude.Run("run", file, "--dry-run")).Failure());
        foreach ((string list, string files, string expected) in ((string, string, string)[])[
            ("3", "\"${all}\"", "'all' is a number; a string is expected"), ("\"a\"", "\"x/${all}\"", "the variable 'all' is a list: it stands alone"),
            ("\"${dog}\"", "\"${all}\"", "there is no variable 'dog' above")])
            Assert.Contains(expected, (await Fude.Run("run", _folder.Write("recipe.json", Listed(list, files)), "--dry-run")).Failure(), StringComparison.Ordinal);

        static string Listed(string list, string files) =>
            "{\"variables\": {\"cat\": \"猫.txt\", \"all\": [" + list + "]}, \"steps\": [{\"step\": \"tokenizer\", \"files\": " + files + ", \"out\": \"t\"}]}";
    }

    [Fact]
    public async Task A_setting_of_a_variable_has_a_name_and_a_value()
    {
        Assert.Contains("NAME=PATH", (await Fude.Run("run", "r.json", "--set", "data")).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("--set: 'data=' has no value after the =.", (await Fude.Run("run", "r.json", "--set", "data=")).Failure(status: 2), StringComparison.Ordinal);
        Assert.Contains("--set: 'data=' の = の後に値がありません。", (await Fude.RunInJapanese("run", "r.json", "--set", "data=")).Said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rows", "rows", 0)]
    [InlineData("vocab_size", "vocab-size", 0)]
    [InlineData("contxet", "context", 1)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("", "abc", 3)]
    public void Names_are_as_far_apart_as_letters_have_to_be_changed(string a, string b, int expected) => Assert.Equal(expected, NearestName.Distance(a, b));

    [Theory]
    [InlineData("fude-mini-ja.json")]
    [InlineData("llm-jp-tokenizer.json")]
    public async Task The_recipes_of_the_repository_are_right(string name)
    {
        Assert.SkipWhen(TestFolders.Shared is null, "The corpora are in the folder shared beside the checkout, which is not there.");
        string recipe = Path.Combine(TestFolders.Repository, "recipes", name);
        Fude.Result result = await Fude.Run("run", recipe, "--dry-run", "--set", $"data={Path.Combine(TestFolders.Shared, "data")}", "--set", $"work={_folder["work"]}");
        Assert.True(result.Status == 0, result.Error);
        Assert.All(result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.EndsWith(": to be done", line, StringComparison.Ordinal));
    }

    [Fact]
    public void Comments_trailing_commas_and_a_byte_order_mark_are_let_pass()
    {
        string file = _folder.Write("recipe.json", "\uFEFF// a recipe\n{\"a\": [1, 2.50, /* here */ true, null, \"𠮷\",], \"b\": {},}");
        RecipeValue value = RecipeValue.ReadFile(file);
        Assert.Equal("{\n  \"a\": [1, 2.50, true, null, \"\\uD842\\uDFB7\"],\n  \"b\": {}\n}\n", value.ToJson());
        Assert.Equal((2, 7, 40), (value["a"]!.Value.Place.Line, value["a"]!.Value.Place.Column, value["a"]!.Value.Items[4].Place.Column));
        Assert.Equal(47, value["b"]!.Place.Column);      // 𠮷 is one character
    }

    public void Dispose() => _folder.Dispose();

    private static string Train(string config) =>
        "{\"steps\": [{\"step\": \"train\", \"out\": \"run\", \"config\": " + config + ", \"steps\": 1, \"data\": [\"猫.txt\"]}]}";

    private static string Step(string setting) =>
        "{\"variables\": {\"text\": \"text\"}, \"steps\": [\n  {\n  \"step\": \"tokenizer\",  " + setting + ", \"files\": [\"猫.txt\"], \"out\": \"t\"}]}";
}
