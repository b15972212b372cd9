using System.Globalization;
using System.Text;
using System.Text.Json;
using Fude.TestData;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using Fude.Training;

namespace Fude.Cli.Tests;

/// <summary>Bits for each character, beside what the logits say.</summary>
public sealed class EvaluateCommandTests : IDisposable
{
    private const int Context = 24;
    private static readonly string[] Documents = ["吾輩は猫である。", "名前はまだ無い。\nどこで生れたか𠮷。", "猫", string.Concat(Enumerable.Repeat("猫は無い。", 12))];

    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Bits_are_those_of_the_logits_over_code_points(bool hasBegin)
    {
        string model = Model(hasBegin), file = Text("held-out.jsonl", Documents);
        Tokenizer tokenizer = Tokenizer.Load(model);
        double expected = 0;
        int tokens = 0;
        foreach (string document in Documents)
        {
            int[] ids = tokenizer.Encode(document, addSpecialTokens: false);
            tokens += ids.Length;
            if (!hasBegin) expected += Math.Log2(300);
            expected += await Bits(model, hasBegin ? [1, .. ids] : ids);
        }
        JsonElement json = (await Fude.Run("evaluate", model, file, "--json")).Json;
        JsonElement source = Assert.Single(json.GetProperty("sources").EnumerateArray());
        int characters = Documents.Sum(document => document.EnumerateRunes().Count());
        Assert.Equal(("held-out", Documents.Length, characters, tokens),
            (source.GetProperty("name").GetString(), source.GetProperty("documents").GetInt32(), source.GetProperty("characters").GetInt32(), source.GetProperty("tokens").GetInt32()));
        Assert.Equal(expected / characters, source.GetProperty("bits_per_character").GetDouble(), 1e-4);
    }

    [Fact]
    public async Task Sources_stand_in_a_table_with_their_sum_and_what_they_are_compared_with()
    {
        string model = Model(hasBegin: true), first = Text("一.jsonl", Documents[..2]), second = Text("二.jsonl", Documents[2..]), table = _folder["table.md"];
        Fude.Result result = await Fude.Run("evaluate", model, first, second, "--ngrams", first, second, "--out", table);
        Assert.Equal((0, ""), (result.Status, result.Error));
        Assert.Equal(result.Output, await File.ReadAllTextAsync(table));
        string[] lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["source", "一", "二", "all"], lines.Where((_, i) => i != 1).Select(line => line.Split('|')[1].Trim()));
        Assert.Matches("^[-:| ]+$", lines[1]);
        double[] ngrams = [.. lines[2..].Select(line => double.Parse(line.Split('|')[^2], CultureInfo.InvariantCulture))];
        Assert.All(ngrams, bits => Assert.InRange(bits, 0.01, 20));
        Assert.InRange(ngrams[2], ngrams[..2].Min(), ngrams[..2].Max());
    }

    [Fact]
    public async Task A_table_that_cannot_be_written_is_told_before_anything_is_measured()
    {
        string model = Model(hasBegin: true), file = Text("a.jsonl", Documents);
        Assert.Contains($"{model} is a folder: give the name of a file to write.", (await Fude.Run("evaluate", model, file, "--out", model)).Failure(), StringComparison.Ordinal);
        Assert.Contains($"cannot be written: {file} is a file.", (await Fude.Run("evaluate", model, file, "--out", $"{file}/x.md")).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_table_replaces_nothing_that_it_is_made_of_and_other_files_by_force_only()
    {
        string model = Model(hasBegin: true), file = Text("a.jsonl", Documents), counted = Text("b.jsonl", Documents), notes = _folder.Write("notes.md", "mine");
        string link = _folder["link.jsonl"];
        File.CreateSymbolicLink(link, file);
        string[] evaluate = ["evaluate", model, file, "--ngrams", counted, "--out"];
        foreach (string place in (string[])[file, counted, Path.Combine(model, "model.safetensors"), link, Path.Combine(_folder.Path, ".", "a.jsonl")])
        {
            byte[] before = File.ReadAllBytes(place);
            foreach (string[] more in (string[][])[[], ["--force"]])
                Assert.Contains($"--out {place} would write over what is read", (await Fude.Run([.. evaluate, place, .. more])).Failure(), StringComparison.Ordinal);
            Assert.Equal(before, File.ReadAllBytes(place));
        }
        Assert.Contains($"{notes} is there already: choose another name, or replace it with --force.", (await Fude.Run([.. evaluate, notes])).Failure(), StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(notes));
        foreach (string place in (string[])[notes, Path.Combine(model, "new.md")])
        {
            Fude.Result result = await Fude.Run([.. evaluate, place, "--force"]);
            Assert.Equal((0, ""), (result.Status, result.Error));
            Assert.Equal(result.Output, File.ReadAllText(place));
        }
        Assert.Contains("では、読み込む対象（", (await Fude.RunInJapanese([.. evaluate, file])).Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Broken_lines_that_are_passed_over_are_told_and_counted_once_over_all_files()
    {
        string model = Model(hasBegin: true), first = _folder.Write("a.jsonl", "{\"text\": \"猫\"}\n{\n"), second = _folder.Write("b.jsonl", "{\n{\"text\": \"猫\"}\n{\n");
        string[] evaluate = ["evaluate", model, first, second, "--ngrams", first, second, "--json", "--skip-bad"];
        Fude.Result result = await Fude.Run([.. evaluate, "3"]);
        Assert.Equal((0, $"note: 3 broken lines skipped: {first}:2, {second}:1, {second}:3\n"), (result.Status, result.Error));
        Assert.Equal([1, 2, 3], result.Json.GetProperty("sources").EnumerateArray().Select(source => source.GetProperty("skipped_lines").GetInt32()));
        Assert.Contains("b.jsonl:3: ", (await Fude.Run([.. evaluate, "2"])).Failure(), StringComparison.Ordinal);
        Assert.Contains("This is broken line 3; 2 were to be skipped at most.", (await Fude.Run("evaluate", model, first, second, "--skip-bad", "2")).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_name_steers_no_terminal_and_an_empty_text_of_n_grams_is_named()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Names of files have no control characters on Windows.");
        string model = Model(hasBegin: true), odd = Text("e\u001bsc.jsonl", Documents), empty = _folder.Write("empty.txt", "");
        Assert.Contains("| e sc ", (await Fude.Run("evaluate", model, odd)).Output, StringComparison.Ordinal);
        Assert.Contains($"--ngrams {empty}: The documents have no character to learn from.", (await Fude.Run("evaluate", model, Text("a.jsonl", Documents), "--ngrams", empty)).Failure(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Xz_is_the_program()
    {
        string model = Model(hasBegin: true), file = Text("a.jsonl", Documents);
        Fude.Result result = await Fude.Run("evaluate", model, file, "--xz", "--json");
        if (result.Status != 0)
        {
            Assert.Contains("xz is not installed", result.Failure(), StringComparison.Ordinal);
            return;
        }
        // Its container alone is 60 bytes.
        Assert.InRange(result.Json.GetProperty("sources")[0].GetProperty("xz_bits_per_character").GetDouble(), 8.0 * 60 / 100, 60);
    }

    [Fact]
    public async Task A_text_without_documents_or_with_broken_lines_is_named()
    {
        string model = Model(hasBegin: true);
        Assert.Contains("empty.jsonl", (await Fude.Run("evaluate", model, _folder.Write("empty.jsonl", ""))).Failure(), StringComparison.Ordinal);
        Assert.Contains("broken.jsonl:1", (await Fude.Run("evaluate", model, _folder.Write("broken.jsonl", "{\n"))).Failure(), StringComparison.Ordinal);
        Assert.Contains("none.jsonl", (await Fude.Run("evaluate", model, _folder["none.jsonl"])).Failure(), StringComparison.Ordinal);
        Assert.Contains("stride", (await Fude.Run("evaluate", model, Text("a.jsonl", Documents), "--stride", "99")).Failure(2), StringComparison.Ordinal);
        Assert.Contains("--context is from 2 to 24", (await Fude.Run("evaluate", model, Text("a.jsonl", Documents), "--context", "99")).Failure(2), StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private static async Task<double> Bits(string model, int[] ids)
    {
        double bits = 0;
        // Windows of 24 by 12: what a window before has scored is context only.
        for (int begin = 0, scored = 1; scored < ids.Length; begin += Context / 2)
        {
            int end = Math.Min(ids.Length, begin + Context);
            JsonElement logits = (await Fude.Run("logits", model, "--ids", string.Join(',', ids[begin..end]), "--all", "--json")).Json.GetProperty("logits");
            for (int i = Math.Max(scored, begin + 1); i < end; i++)
            {
                double[] row = [.. logits[i - 1 - begin].EnumerateArray().Select(number => number.GetDouble())];
                bits += Math.Log2(row.Sum(Math.Exp)) - row[ids[i]] / Math.Log(2);
            }
            scored = end;
        }
        return bits;
    }

    [Fact]
    public async Task A_file_without_a_document_is_named_in_both_languages()
    {
        string model = Model(hasBegin: true), file = _folder.Write("empty.txt", "\n");
        Assert.Contains($"{file}: has no document to measure.", (await Fude.Run("evaluate", model, file)).Failure(), StringComparison.Ordinal);
        Assert.Contains($"fude: {file}: 測る文書がありません。", (await Fude.RunInJapanese("evaluate", model, file)).Said, StringComparison.Ordinal);
    }

    private string Text(string name, IEnumerable<string> documents) =>
        _folder.Write(name, string.Concat(documents.Select(document => JsonSerializer.Serialize(new Dictionary<string, string> { ["text"] = document }) + "\n")));

    private string Model(bool hasBegin)
    {
        string folder = _folder["model"];
        using TrainableModel model = TrainableModel.Create(Encoding.UTF8.GetBytes($$"""
            {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 300,
             "max_position_embeddings": {{Context}}}
            """), new InitialNumbers(1, 0.5f));
        model.Save(folder);
        TrainedTokenizer trained = UnigramTrainer.Train(new TrainingText(Text("train.jsonl", Documents)),
            new TokenizerTrainerOptions { VocabularySize = 282, AddDummyPrefix = false, AddBegin = hasBegin, Threads = 1 });
        trained.SaveHuggingFace(folder);
        return folder;
    }
}
