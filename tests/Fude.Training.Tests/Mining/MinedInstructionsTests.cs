using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Training.Tests;

public sealed class MinedInstructionsTests : IDisposable
{
    private const string Sentences = "桜（さくら）は、春に花を咲かせる樹木である。公園や川の土手に植えられ、多くの人々が花見を楽しむ。電車で学校へ通う子供たちが待っていた。";

    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData("out.jsonl")]
    [InlineData("out.jsonl.gz")]
    public void They_are_read_as_they_were_written_and_are_data_to_tune_with(string name)
    {
        InstructionMiner miner = new() { Share = 1 };
        // The second document repeats the first: nothing is written twice.
        IReadOnlyDictionary<string, long> counts = Write(name, miner, Sentences, Sentences);
        MinedInstruction[] read = [.. MinedInstructions.Read(_folder[name], new DataTally())];
        Assert.Equal(
            miner.OfText(Sentences).Select(one => (one.Task, one.Question, one.Answer, one.Hash)), read.Select(one => (one.Task, one.Question, one.Answer, one.Hash)));
        Assert.All(read, one => Assert.True(one.Check.IsMetBy(one.Answer)));
        Assert.Equal(read.Length, counts.Values.Sum());
        Assert.Equal(read.Select(one => one.Question), new DialogueReader().Read(_folder[name], new DataTally()).Select(dialogue => Assert.Single(dialogue.Turns).Question));
    }

    [Fact]
    public void Of_conversations_that_are_held_out_nothing_is_made()
    {
        string talks = _folder.Write("talks.jsonl", string.Concat(Enumerable.Range(0, 300).Select(i =>
            $$"""{"instruction": "花{{(char)('一' + i)}}を教えて", "output": "- 桜\n- 梅{{i}}"}""" + "\n")));
        HashSet<string> heldOut = [.. new DialogueReader().Read(talks, new DataTally()).Where(dialogue => dialogue.IsHeldOut(0.3)).Select(dialogue => dialogue.Turns[0].Question)];
        Assert.InRange(heldOut.Count, 50, 140);
        IReadOnlyDictionary<string, long> counts = MinedInstructions.Write(null, [talks], 0.3, _folder["out.jsonl"], new InstructionMiner(), new DataTally());
        Assert.Equal(300 - heldOut.Count, counts["items"]);
        Assert.All(MinedInstructions.Read(_folder["out.jsonl"], new DataTally()), one => Assert.DoesNotContain(heldOut, question => one.Question.StartsWith(question, StringComparison.Ordinal)));
    }

    [Fact]
    public void A_file_that_would_be_written_over_a_name_of_text_and_nothing_to_make_are_errors_that_leave_nothing_behind()
    {
        string text = _folder.Write("text.jsonl", "{\"text\": \"Only English here. Nothing else.\"}\n");
        TrainingText source = new(text);
        Assert.Contains("would be written over", Assert.Throws<ArgumentException>(() => MinedInstructions.Write(source, [], 0, text, new InstructionMiner(), new DataTally())).Message, StringComparison.Ordinal);
        Assert.Contains("name the file .jsonl", Assert.Throws<ArgumentException>(() => MinedInstructions.Write(source, [], 0, _folder["out.txt"], new InstructionMiner(), new DataTally())).Message, StringComparison.Ordinal);
        Assert.Contains("no instruction could be made", Assert.Throws<InvalidDataException>(() => MinedInstructions.Write(source, [], 0, _folder["out.jsonl"], new InstructionMiner(), new DataTally())).Message, StringComparison.Ordinal);
        Assert.Equal([text], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void What_is_needed_is_told_of_what_was_given()
    {
        string talks = _folder.Write("talks.jsonl", "{\"instruction\": \"犬\", \"output\": \"猫\"}\n"), text = _folder.Write("text.txt", "Only English here.\n");
        const string OfTalks = "Of conversations these are needed", OfTexts = "--share says of how many of these";
        UserLanguage.Fails(() => Write(null, talks), OfTalks, "対話では、日本語の箇条書きの答え、複数の文からなる答え、二往復目以降のやり取りのいずれかが必要です。");
        UserLanguage.Fails(() => Write(new TrainingText(text)), OfTexts, "日本語の文を含むテキストが必要です。--share は使う文の割合です。");
        Assert.DoesNotContain("--share", Assert.Throws<InvalidDataException>(() => Write(null, talks)).Message, StringComparison.Ordinal);
        Assert.DoesNotContain(OfTalks, Assert.Throws<InvalidDataException>(() => Write(new TrainingText(text))).Message, StringComparison.Ordinal);
        // Conversations that are given as texts.
        UserLanguage.Fails(() => Write(new TrainingText(talks)), $"{talks}:1: has no field 'text', but is a record of instructions or conversations. Give such files as --dialogues {talks}.",
            $"{talks}:1: フィールド 'text' がなく、指示や対話のレコードです。--dialogues {talks} として指定してください。");
        string both = _folder.Write("both.jsonl", $$"""{"instruction": "花", "output": "桜", "text": "{{Sentences}}"}""");
        Assert.NotEmpty(Write(new TrainingText(both)));

        IReadOnlyDictionary<string, long> Write(TrainingText? texts, params string[] dialogues) =>
            MinedInstructions.Write(texts, dialogues, 0, _folder["out.jsonl"], new InstructionMiner() { Share = 1 }, new DataTally());
    }

    [Theory]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}], "check": {}}""", "messages")]
    [InlineData("""{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}], "check": {}}""", "messages")]
    [InlineData("""{"check": {}}""", "messages")]
    [InlineData("""{"messages": [{"role": 1, "content": "a"}, {"role": "assistant", "content": "b"}], "check": {}}""", "messages")]
    [InlineData("""{"messages": [{"role": "user", "content": ["a"]}, {"role": "assistant", "content": "b"}], "check": {}}""", "messages")]
    [InlineData("""{"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "b"}], "check": {}}""", "messages")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "check": 1}""", "its \"check\" is none (a check is an object")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "check": {"x": 1}}""", "\"x\"")]
    public void A_broken_line_is_named_with_its_place(string line, string named)
    {
        string good = """{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "check": {"exactly": "b"}}""";
        string file = _folder.Write("a.jsonl", $"{good}\n{{\"instruction\": \"no check\", \"output\": \"x\"}}\n{line}\n");
        string message = Assert.Throws<InvalidDataException>(() => MinedInstructions.Read(file, new DataTally()).ToArray()).Message;
        Assert.Contains("a.jsonl:3", message, StringComparison.Ordinal);
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Equal("b", Assert.Single(MinedInstructions.Read(file, new DataTally(1))).Check.Exactly);
        // What asks for nothing cannot be checked.
        Assert.Empty(MinedInstructions.Read(_folder.Write("b.jsonl", good.Replace("\"exactly\": \"b\"", "", StringComparison.Ordinal)), new DataTally()));
    }

    [Fact]
    public void Broken_lines_of_texts_and_of_conversations_count_together()
    {
        string texts = _folder.Write("texts.jsonl", $"{{\"text\": \"{Sentences}\"}}\n{{\n"), talks = _folder.Write("talks.jsonl", "{\n");
        void Write(int skips) => MinedInstructions.Write(
            new TrainingText(texts) { SkipBadLines = skips }, [talks], 0, _folder["out.jsonl"], new InstructionMiner { Share = 1 }, new DataTally(skips));
        Assert.Contains("texts.jsonl:2", Assert.Throws<InvalidDataException>(() => Write(1)).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(_folder["out.jsonl"]));
        Write(2);
        Assert.True(File.Exists(_folder["out.jsonl"]));
    }

    [Fact]
    public void What_is_stopped_or_has_a_file_missing_leaves_nothing_behind()
    {
        string file = _folder.Write("texts.jsonl", string.Concat(Enumerable.Repeat($"{{\"text\": \"{Sentences}\"}}\n", 5000))), place = _folder["made/out.jsonl"];
        Assert.Contains("none.jsonl", Assert.Throws<FileNotFoundException>(() => MinedInstructions.Write(
            new TrainingText(file), [_folder["none.jsonl"]], 0, place, new InstructionMiner { Share = 1 }, new DataTally())).Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["made"]));
        using CancellationTokenSource stop = new();
        Assert.Throws<OperationCanceledException>(() => MinedInstructions.Write(
            new TrainingText(file), [], 0, place, new InstructionMiner { Share = 1 }, new DataTally(), new Told(_ => stop.Cancel()), stop.Token));
        Assert.True(!Directory.Exists(_folder["made"]) || Directory.GetFiles(_folder["made"]).Length == 0);
        Assert.Throws<ArgumentOutOfRangeException>(() => MinedInstructions.Write(null, [file], 1, place, new InstructionMiner(), new DataTally()));
    }

    private sealed class Told(Action<double> told) : IProgress<double>
    {
        public void Report(double value) => told(value);
    }

    public void Dispose() => _folder.Dispose();

    private IReadOnlyDictionary<string, long> Write(string name, InstructionMiner miner, params string[] texts)
    {
        string file = _folder.Write("texts.jsonl", string.Concat(texts.Select(text => $"{{\"text\": \"{text}\"}}\n")));
        return MinedInstructions.Write(new TrainingText(file), [], 0, _folder[name], miner, new DataTally());
    }
}
