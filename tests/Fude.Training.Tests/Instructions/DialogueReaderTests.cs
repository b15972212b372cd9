using System.Globalization;
using System.IO.Compression;
using System.Text;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>Every kind of record becomes the dialogue that it is, and nothing is left out without a word.</summary>
public sealed class DialogueReaderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData("""{"instruction": "訳せ", "input": "犬", "output": "dog"}""", "訳せ|犬→dog")]
    [InlineData("""{"instruction": "訳せ", "input": "", "output": "dog", "system": "辞書"}""", "[辞書]訳せ→dog")]
    [InlineData("""{"instruction": "訳せ", "context": "犬", "response": "dog", "category": "x"}""", "訳せ|犬→dog")]
    [InlineData("""{"instruction": "訳せ", "input": "犬", "response": "dog"}""", "訳せ|犬→dog")]
    [InlineData("""{"instruction": "訳せ", "context": "犬", "output": "dog", "input": ""}""", "訳せ|犬→dog")]
    [InlineData("""{"instruction": "", "input": "犬", "output": "dog"}""", "犬→dog")]
    [InlineData("""{"question": "何", "answer": "犬"}""", "何→犬")]
    [InlineData("""{"prompt": "何", "completion": "犬"}""", "何→犬")]
    [InlineData("""{"instruction": "c", "input": null, "output": "d", "history": [["a", "b"]]}""", "a→b;c→d")]
    [InlineData("""{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}""", "[s]a→b")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}""", "a→(b);c→d")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": false}, {"role": "user", "content": "c", "weight": 7}, {"role": "assistant", "content": "d", "weight": 1.0}]}""", "a→(b);c→d")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": null}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "weight": true}]}""", "a→b;c→d")]
    [InlineData("""{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "あ"}]}, {"role": "assistant", "content": "b"}]}""", "aあ→b")]
    [InlineData("""{"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}""", "[s]a→b")]
    [InlineData("""{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}, {"role": "user", "content": "e"}, {"role": "assistant", "content": "f"}]}""", "a→(b);c→d;e→f")]
    [InlineData("""{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]}""", "a→b;c→d")]
    [InlineData("""{"utterances": [{"name": "user", "text": "a"}, {"name": "agent", "text": "b"}], "meta": {}}""", "a→b")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "あ"}, {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "い"}]}""", "a\nあ→b\nい")]
    [InlineData("""{"utterances": [{"interlocutor_id": "AI", "text": "a"}, {"interlocutor_id": "AH", "text": "b"}, {"interlocutor_id": "AI", "text": "c"}]}""", "a→b", "b→c")]
    [InlineData("""{"prompt": {"role": "prompter", "text": "a", "replies": [{"role": "assistant", "text": "b", "rank": 1, "replies": []}, {"role": "assistant", "text": "c", "rank": 0, "replies": [{"role": "prompter", "text": "d", "replies": [{"role": "assistant", "text": "e", "replies": []}]}]}]}}""", "a→c;d→e")]
    [InlineData("""{"prompt": {"role": "prompter", "text": "a", "replies": [{"role": "assistant", "text": "b", "rank": 1.0}, {"role": "assistant", "text": "c", "rank": 0.0}]}}""", "a→c")]
    [InlineData("""{"instruction": "c", "output": "d", "history": ""}""", "c→d")]
    public void A_record_is_read_by_its_keys(string record, params string[] dialogues) => Assert.Equal(dialogues, Read(record));

    [Fact]
    public void A_question_that_nobody_answered_is_told_also_of_a_tree()
    {
        DataTally tally = new();
        string file = _folder.Write("a.jsonl", """{"prompt": {"role": "prompter", "text": "a", "replies": [{"role": "assistant", "text": "b", "replies": [{"role": "prompter", "text": "c"}]}]}}""");
        Assert.Single(new DialogueReader().Read(file, tally));
        Assert.Contains("after the last answer", Assert.Single(tally.Notes).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void All_replies_of_a_tree_are_learnt_once_each()
    {
        const string Tree = """{"prompt": {"role": "prompter", "text": "a", "replies": [{"role": "assistant", "text": "b", "replies": [{"role": "prompter", "text": "c", "replies": [{"role": "assistant", "text": "d"}, {"role": "assistant", "text": "e"}]}, {"role": "prompter", "text": "f"}]}, {"role": "assistant", "text": "g", "deleted": true}]}}""";
        Assert.Equal(["a→b;c→d", "a→(b);c→e"], Read(Tree, new DialogueReader { TakesAllReplies = true }));
        Assert.Equal(["a→b;c→d"], Read(Tree));
    }

    [Fact]
    public void Messages_of_trees_one_a_line_are_put_together()
    {
        string[] lines =
        [
            """{"message_id": "1", "parent_id": null, "role": "prompter", "text": "a"}""",
            """{"message_id": "2", "parent_id": "1", "role": "assistant", "text": "b", "text_ja": "い", "rank": 0}""",
            """{"message_id": "3", "parent_id": "1", "role": "assistant", "text": "c", "rank": 1}""",
        ];
        Assert.Equal(["a→い"], Read(string.Join('\n', lines)));
        Assert.Equal(["a→い", "a→c"], Read(string.Join('\n', lines), new DialogueReader { TakesAllReplies = true }));
        DataTally tally = new(9);
        Assert.Equal(["a→い"], Read(string.Join('\n', [.. lines, lines[0], """{"message_id": "9", "parent_id": "8", "role": "assistant", "text": "x"}"""]), tally: tally));
        Assert.Equal(2, tally.Bad);
        // A ring of parents is no tree: nothing begins it, and nothing runs for ever.
        tally = new(2);
        Assert.Empty(Read("{\"message_id\": \"1\", \"parent_id\": \"2\", \"role\": \"prompter\", \"text\": \"a\"}\n{\"message_id\": \"2\", \"parent_id\": \"1\", \"role\": \"assistant\", \"text\": \"b\"}", tally: tally));
        Assert.Equal(2, tally.Bad);
    }

    [Fact]
    public void Of_a_record_of_two_kinds_it_is_told_which_is_taken()
    {
        DataTally tally = new();
        const string Both = """{"instruction": "x", "output": "y", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}""";
        Assert.Equal(["a→b", "a→b"], Read($"{Both}\n{Both.Replace("\"y\"", "\"\"", StringComparison.Ordinal)}", tally: tally));
        (string why, long count, _) = Assert.Single(tally.Notes);
        Assert.Equal(("it has \"messages\" and \"instruction\" with \"output\": only \"messages\" is taken", 1), (why, count));
    }

    [Fact]
    public void Of_two_people_only_the_second_may_be_the_model() => Assert.Equal(["a→b"], Read(
        """{"utterances": [{"interlocutor_id": "X", "text": "a"}, {"interlocutor_id": "Y", "text": "b"}, {"interlocutor_id": "X", "text": "c"}]}""",
        new DialogueReader { TakesBothSpeakers = false }));

    [Fact]
    public void Gzip_arrays_blank_lines_and_a_byte_order_mark_are_read()
    {
        const string Record = """{"question": "a", "answer": "b"}""";
        using MemoryStream packed = new();
        using (GZipStream gzip = new(packed, CompressionLevel.Fastest, leaveOpen: true)) gzip.Write(Encoding.UTF8.GetBytes($"{Record}\n"));
        // Members of gzip may follow one another; one that is cut off, if only its end, is no file to learn from.
        foreach (int cut in (ReadOnlySpan<int>)[5, 8, 12])
            Assert.Throws<InvalidDataException>(() => Read(packed.ToArray()[..^cut]));
        byte[] twice = [.. packed.ToArray(), .. packed.ToArray()];
        Assert.Equal(["a→b", "a→b"], Read(twice));
        Assert.Equal(["a→b", "a→b"], Read($"\uFEFF\r\n{Record}\r\n\n  {Record}"));
        Assert.Equal(["a→b", "a→b"], Read($"[\n{Record},\n{Record}\n]\n"));
    }

    [Theory]
    [InlineData("""{"instruction": "a", "output": " "}""", "\"output\" is empty")]
    [InlineData("""{"instruction": " ", "output": "b"}""", "\"instruction\" is empty")]
    [InlineData("""{"instruction": 3, "output": "b"}""", "no text but a number")]
    [InlineData("""{"text": "a"}""", "its keys (text) are of no kind of record that fude knows: instruction/input/output, instruction/context/response, question/answer, prompt/completion, messages, conversations, utterances, or a tree of Open Assistant")]
    [InlineData("""{"prompt": "a", "chosen": "b", "rejected": "c"}""", "use fude dpo")]
    [InlineData("""{"prompt": {"role": "user", "content": "a"}, "chosen": "b", "rejected": "c"}""", "use fude dpo")]
    [InlineData("""{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "tool", "content": "b"}]}""", "'tool' in \"prompt\" + \"completion\" is no role")]
    [InlineData("""{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant"}]}""", "no text")]
    [InlineData("""{"messages": []}""", "empty")]
    [InlineData("""{"messages": [{"role": "tool", "content": "x"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}""", "tool")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}]}""", "no question with an answer")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}""", "answer is empty")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}""", "weight 0")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": 3}]}""", "no text")]
    [InlineData("""{"messages": [{"content": "a"}]}""", "who speaks")]
    [InlineData("""{"messages": ["a"]}""", "no message")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}, {"role": "assistant", "content": "b"}]}""", "amid")]
    [InlineData("""{"utterances": [{"speaker": "X", "text": "a"}]}""", "only 'X'")]
    [InlineData("""{"utterances": [{"speaker": "X", "text": "a"}, {"speaker": "Y", "text": "a"}, {"speaker": "Z", "text": "a"}]}""", "3 people speak in \"utterances\": two are expected, or the roles user, assistant and system ('X', 'Y', 'Z')")]
    [InlineData("""{"messages": "x"}""", "\"messages\" is no list of messages but a string")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": "0"}]}""", "the \"weight\" of a message of \"messages\" is neither 0 (not learnt) nor 1 (\"0\")")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0.5}]}""", "nor 1 (0.5)")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": -1}]}""", "nor 1 (-1)")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 1e999}]}""", "nor 1 (1e999)")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": []}]}""", "nor 1 ([])")]
    [InlineData("""{"prompt": {"text": "a", "replies": [{"role": "assistant", "text": "b"}]}}""", "role")]
    [InlineData("""{"instruction": "a", "output": "b", "history": [["a"]]}""", "history")]
    [InlineData("""{"instruction": "a", "output": "b", "history": {"a": "b"}}""", "history")]
    [InlineData("""{"prompt": {"role": "prompter", "text": "a", "replies": ["b"]}}""", "a reply of the tree is no message but a string")]
    [InlineData("""{"instruction": "a", """, "broken JSON")]
    [InlineData("[1]", "JSON object")]
    [InlineData("3", "not a number")]
    [InlineData("\"a\"", "not a string")]
    [InlineData("""{"instruction": "\ud800", "output": "b"}""", "surrogate")]
    public void A_bad_record_is_named_with_file_line_and_reason(string record, string reason)
    {
        string good = """{"question": "a", "answer": "b"}""", file = _folder.Write("a.jsonl", record == "[1]" ? record : $"{good}\n{record}\n{good}\n");
        InvalidDataException e = Assert.Throws<InvalidDataException>(() => new DialogueReader().Read(file, new DataTally()).Count());
        Assert.Contains(record == "[1]" ? $"{file}:1: " : $"{file}:2: ", e.Message, StringComparison.Ordinal);
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
        Assert.Contains("--skip-bad", e.Message, StringComparison.Ordinal);
        DataTally tally = new(1);
        Assert.Equal(record == "[1]" ? 0 : 2, new DialogueReader().Read(file, tally).Count());
        (string why, long count, string places) = Assert.Single(tally.BadByReason);
        Assert.Equal(1, count);
        Assert.Contains(record == "[1]" ? ":1" : ":2", places, StringComparison.Ordinal);
        Assert.NotEmpty(why);
    }

    [Theory]
    [InlineData("{\"question\": \"猫は\", }", "a.jsonl:1: broken JSON (column 20: ")]
    [InlineData("{}\n\t {\"question\": \"𠮷野は\", }", "a.jsonl:2: broken JSON (column 23: ")]
    [InlineData("\uFEFF{", "a.jsonl:1: broken JSON (column 2: ")]
    [InlineData("[\n {\"question\": \"猫は\",\n  \"answer\": \"犬\" \"鳥\"}]", "a.jsonl: broken JSON (line 3, column 17: ")]
    [InlineData("[\n", "a.jsonl: broken JSON (line 1, column 2: ")]
    public void Broken_JSON_is_told_by_line_and_character_of_the_file(string text, string expected)
    {
        string told = Assert.Throws<InvalidDataException>(() => new DialogueReader().Read(_folder.Write("a.jsonl", text), new DataTally(text.StartsWith("{}", StringComparison.Ordinal) ? 1 : 0))
            .Count()).Message;
        Assert.Contains(expected, told, StringComparison.Ordinal);
        Assert.DoesNotContain("LineNumber", told, StringComparison.Ordinal);
    }

    [Fact]
    public void Reasons_are_given_in_the_language_of_the_user()
    {
        CultureInfo before = CultureInfo.CurrentUICulture;
        try
        {
            foreach ((string culture, string reason) in ((string, string)[])[("en-US", "\"output\" is empty"), ("ja-JP", "\"output\" が空です"), ("ja", "\"output\" が空です"), ("jam", "\"output\" is empty")])
            {
                CultureInfo.CurrentUICulture = new CultureInfo(culture);
                DataTally tally = new(1);
                _ = Read("""{"instruction": "a", "output": ""}""", tally: tally);
                Assert.Equal(reason, tally.BadByReason[0].Reason);
            }
        }
        finally
        {
            CultureInfo.CurrentUICulture = before;
        }
    }

    [Fact]
    public void No_more_than_so_many_bad_records_are_left_out()
    {
        string file = _folder.Write("a.jsonl", "{\n{\n{\n{}\n");
        Assert.Contains("a.jsonl:3", Assert.Throws<InvalidDataException>(() => new DialogueReader().Read(file, new DataTally(2)).Count()).Message, StringComparison.Ordinal);
        DataTally tally = new(4);
        Assert.Empty(new DialogueReader().Read(file, tally));
        Assert.Equal([3L, 1L], tally.BadByReason.Select(entry => entry.Count));
    }

    [Fact]
    public void Answers_to_nothing_and_unanswered_questions_are_noted()
    {
        DataTally tally = new();
        Assert.Equal(["a→b"], Read("""{"conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}]}""", tally: tally));
        Assert.Equal(2, tally.Notes.Count);
    }

    [Fact]
    public void Damaged_gzip_text_that_is_no_UTF8_and_missing_files_are_errors()
    {
        byte[] broken = [0x1F, 0x8B, 1, 2, 3];
        Assert.Throws<InvalidDataException>(() => Read(broken));
        Assert.Contains("UTF-8", Assert.Throws<InvalidDataException>(() => Read("{\"question\": \"\xff"u8.ToArray()[..^2].Concat(new byte[] { 0xFF, 0x22 }).ToArray())).Message, StringComparison.Ordinal);
        Assert.Throws<FileNotFoundException>(() => new DialogueReader().Read(_folder["none"], new DataTally()).Count());
        Assert.Throws<InvalidDataException>(() => new DialogueReader().Read(_folder.Path, new DataTally()).Count());
    }

    [Fact]
    public void A_share_is_held_out_by_the_record_alone()
    {
        string[] records = [.. Enumerable.Range(0, 400).Select(i => $$"""{"utterances": [{"interlocutor_id": "X", "text": "a{{i}}"}, {"interlocutor_id": "Y", "text": "b"}, {"interlocutor_id": "X", "text": "c"}]}""")];
        Dialogue[] all = [.. new DialogueReader().Read(_folder.Write("a.jsonl", string.Join('\n', records)), new DataTally())];
        Assert.Equal(800, all.Length);
        foreach (Dialogue[] sides in all.Chunk(2)) Assert.Equal(sides[0].Fingerprint, sides[1].Fingerprint);
        Assert.InRange(all.Count(dialogue => dialogue.IsHeldOut(0.25)), 140, 260);
        Assert.Equal(0, all.Count(dialogue => dialogue.IsHeldOut(0)));
    }

    [Theory]
    [InlineData("sft/dolly-15k-ja-llmjp/dolly-ja-part.jsonl.gz", 4607, 4)]
    [InlineData("sft/hh-rlhf-ja-megagon/data.jsonl.gz", 669, 0)]
    [InlineData("sft/real-persona-chat/dialogues-part.jsonl.gz", 2906, 0)]
    public void Published_sets_are_read_whole(string path, int dialogues, int empty)
    {
        string? file = TestFolders.SharedData(path);
        Assert.SkipWhen(file is null, "The data sets are in shared beside the checkout only.");
        DataTally tally = new(empty);
        Assert.Equal(dialogues, new DialogueReader().Read(file, tally).Count());
        Assert.Equal(empty, tally.Bad);
        Assert.Empty(tally.Notes);
    }

    public void Dispose() => _folder.Dispose();

    private string[] Read(string text, DialogueReader? reader = null, DataTally? tally = null) => Read(Encoding.UTF8.GetBytes(text), reader, tally);

    private string[] Read(byte[] bytes, DialogueReader? reader = null, DataTally? tally = null) =>
        [.. (reader ?? new DialogueReader()).Read(_folder.Write("data.jsonl", bytes), tally ?? new DataTally()).Select(Shown)];

    private static string Shown(Dialogue dialogue)
    {
        IEnumerable<string> turns = dialogue.Turns.Select((turn, i) =>
            $"{turn.Question}{(i + 1 == dialogue.Turns.Count && dialogue.Input is { } input ? $"|{input}" : "")}→{(turn.IsTrained ? turn.Answer : $"({turn.Answer})")}");
        return $"{(dialogue.System is { } system ? $"[{system}]" : "")}{string.Join(';', turns)}";
    }
}
