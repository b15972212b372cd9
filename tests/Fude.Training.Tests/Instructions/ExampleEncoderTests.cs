using Fude.Models;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Training.Tests;

/// <summary>What is learnt follows from the characters of the answers.</summary>
public sealed class ExampleEncoderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Tokenizer _tokenizer;

    public ExampleEncoderTests() => _tokenizer = TinyTuning.Tokenizer(_folder.Path);

    public static TheoryData<string> Formats() => new(PromptFormat.All.Select(format => format.Name));

    [Theory, MemberData(nameof(Formats))]
    public void Exactly_the_answers_and_their_ends_are_learnt(string name)
    {
        PromptFormat format = PromptFormat.Named(name);
        DialogueTurn[] turns = format.HasTurns ? [new("犬は何？", "犬は犬です。"), new("猫は？", "猫は犬です。")] : [new("犬は何？", "犬は犬です。")];
        MaskedText masked = Encoder(format).Mask(new Dialogue(turns, null, null, "a", 1));
        // The answers do not stand in the questions, so that a search for them finds the same.
        for (int i = 0; i < masked.Ids.Count; i++)
        {
            (int start, int end) = masked.Offsets[i];
            bool isAnswer = masked.Prompt.Answers.Any(answer => start < answer.End && (end > start ? end > answer.Start : start >= answer.Start && i > 0)) || (i == masked.Ids.Count - 1);
            Assert.Equal(isAnswer, masked.IsTrained[i]);
        }
        Assert.Equal(2, masked.Ids[^1]);
        Assert.Equal(1, masked.Ids.TakeLast(2).Count(id => id == 2));       // one end, not two
        string learnt = _tokenizer.Decode([.. masked.Ids.Where((_, i) => masked.IsTrained[i])], skipSpecialTokens: true);
        foreach (DialogueTurn turn in turns) Assert.Contains(turn.Answer, learnt, StringComparison.Ordinal);
        Assert.DoesNotContain("？", learnt, StringComparison.Ordinal);
    }

    [Fact]
    public void An_answer_that_stands_in_the_prompt_too_is_learnt_in_its_own_place_only()
    {
        MaskedText masked = Encoder(PromptFormat.Dialogue).Mask(new Dialogue([new("はい\n応答：はい", "はい")], null, null, "a", 1));
        (int start, int end) = Assert.Single(masked.Prompt.Answers);
        Assert.Equal("はい</s>", masked.Prompt.Text[start..end]);
        Assert.True(start > masked.Prompt.Text.IndexOf("はい", StringComparison.Ordinal));
        Assert.All(Enumerable.Range(0, masked.Ids.Count), i => Assert.Equal(masked.Offsets[i].Start >= start, masked.IsTrained[i]));
    }

    [Theory]
    [InlineData("constant")]
    [InlineData("{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] + '\n' }}{% endif %}{% endfor %}")]
    [InlineData("{% for m in messages %}{{ m['role'] + ': ' }}{% if m['role'] == 'human' %}{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")]
    public void A_template_that_leaves_the_answers_out_is_told_with_file_and_line(string template)
    {
        ExampleEncoder encoder = Encoder(PromptFormat.OfTemplate(ChatTemplate.Parse(template, "t"), "<s>", "</s>"));
        Dialogue dialogue = new([new("犬は？", "猫です。")], null, null, "a.jsonl", 7);
        UserLanguage.Fails(() => encoder.Encode(dialogue, new DataTally()), "a.jsonl:7: The chat template does not write the answer", "a.jsonl:7: チャットテンプレートが応答を書きません。");
        Assert.Throws<InvalidDataException>(() => encoder.Encode(new PreferenceDialogue(dialogue, dialogue with { Turns = [new("犬は？", "犬です。")] }), new DataTally()));
    }

    [Fact]
    public void A_token_that_straddles_the_border_is_learnt_and_counted()
    {
        // ELYZA's prompt ends with a space, which SentencePiece joins to the word behind it: "▁a" where generation has "▁" and then "a".
        MaskedText masked = Encoder(PromptFormat.Elyza).Mask(new Dialogue([new("q", "a b")], null, null, "a", 1));
        int border = masked.Prompt.Answers[0].Start, first = masked.IsTrained.Index().First(token => token.Item).Index;
        Assert.True(masked.Offsets[first].Start < border && masked.Offsets[first].End > border);
        Assert.Equal(1, masked.Straddling);
        Assert.Equal(0, Encoder(PromptFormat.Dialogue).Mask(new Dialogue([new("q", "a b")], null, null, "a", 1)).Straddling);
    }

    [Fact]
    public void The_space_that_a_tokenizer_puts_behind_a_control_token_is_learnt_where_an_answer_begins()
    {
        int next = _tokenizer.VocabularySize;
        string[] control = ["<|system|>", "<|user|>", "<|assistant|>"];
        string added = string.Join(", ", control.Select((word, i) => $$"""
            "{{next + i}}": {"content": "{{word}}", "special": true}
            """));
        string config = Path.Combine(_folder.Path, "tokenizer_config.json");
        File.WriteAllText(config, $$"""{"added_tokens_decoder": { {{added}} }, """ + File.ReadAllText(config).TrimStart()[1..]);
        Tokenizer tokenizer = Tokenizer.Load(_folder.Path);
        MaskedText masked = new ExampleEncoder(PromptFormat.FudeChat, tokenizer, 2, 100)
            .Mask(new Dialogue([new("犬は何？", "猫"), new("猫は？", "犬")], null, null, "a", 1));
        string[] pieces = [.. masked.Ids.Select(tokenizer.TokenOf)];
        int[] begins = [.. pieces.Index().Where(piece => piece.Item == "<|assistant|>").Select(piece => piece.Index + 1)];
        Assert.Equal(2, begins.Length);
        foreach (int begin in begins)
        {
            Assert.StartsWith("▁", pieces[begin], StringComparison.Ordinal);
            Assert.True(masked.IsTrained[begin]);
        }
        Assert.False(masked.IsTrained[0]);
        Assert.False(masked.IsTrained[2]);
    }

    [Fact]
    public void Answers_of_weight_0_and_all_but_the_last_may_be_left_unlearnt()
    {
        Dialogue dialogue = new([new("一", "犬", IsTrained: false), new("二", "猫"), new("三", "鳥")], null, null, "a", 1);
        Assert.Equal(["猫</s>", "鳥</s>"], Learnt(Encoder(PromptFormat.Dialogue).Mask(dialogue)));
        Assert.Equal(["鳥</s>"], Learnt(new ExampleEncoder(PromptFormat.Dialogue, _tokenizer, 2, 100) { LastAnswerOnly = true }.Mask(dialogue)));
        Assert.Equal(["猫</s>"], Learnt(Encoder(PromptFormat.Dialogue).Mask(dialogue with { Turns = [dialogue.Turns[1], new("三", "鳥", IsTrained: false)] })));
    }

    [Fact]
    public void Characters_of_several_tokens_are_learnt_whole_or_not_at_all()
    {
        MaskedText masked = Encoder(PromptFormat.Dialogue).Mask(new Dialogue([new("𠮷👩‍👩‍👧", "𠮷👩‍👩‍👧")], null, null, "a", 1));
        int border = masked.Prompt.Answers[0].Start;
        Assert.All(Enumerable.Range(0, masked.Ids.Count), i => Assert.Equal(masked.Offsets[i].Start >= border, masked.IsTrained[i]));
        Assert.Equal(0, masked.Straddling);
    }

    [Fact]
    public void What_is_too_long_is_an_error_left_out_cut_or_divided_and_never_silently()
    {
        Dialogue dialogue = new([.. Enumerable.Range(0, 6).Select(i => new DialogueTurn("犬は何ですか", "犬は犬です。"))], null, null, "talk.jsonl", 7);
        int whole = Encoder(PromptFormat.Dialogue).Mask(dialogue).Ids.Count, one = Encoder(PromptFormat.Dialogue).Mask(dialogue with { Turns = [dialogue.Turns[0]] }).Ids.Count;
        int context = 2 * one + 3;
        Assert.True(whole > context);
        string message = Assert.Throws<InvalidDataException>(() => Encode(TooLong.Error, out _)).Message;
        Assert.Contains("talk.jsonl:7", message, StringComparison.Ordinal);
        Assert.Contains($"{whole} tokens", message, StringComparison.Ordinal);

        Assert.Empty(Encode(TooLong.Skip, out DataTally tally));
        Assert.Contains("left out", Assert.Single(tally.Notes).Reason, StringComparison.Ordinal);

        TrainingExample cut = Assert.Single(Encode(TooLong.Cut, out tally));
        Assert.Equal(context, cut.Length);
        Assert.Contains("cut", Assert.Single(tally.Notes).Reason, StringComparison.Ordinal);

        TrainingExample[] parts = Encode(TooLong.Split, out tally);
        Assert.Equal(3, parts.Length);
        Assert.All(parts, part => Assert.True(part.Length <= context && part.Tokens[0] == 1 && part.Tokens[^1] == 2));
        Assert.Contains("divided", Assert.Single(tally.Notes).Reason, StringComparison.Ordinal);
        // Every answer is learnt in one of the parts.
        Assert.Equal(Encoder(PromptFormat.Dialogue).Mask(dialogue).IsTrained.Count(trained => trained), parts.Sum(part => part.Trained));

        TrainingExample[] Encode(TooLong policy, out DataTally tally)
        {
            tally = new DataTally();
            return [.. new ExampleEncoder(PromptFormat.Dialogue, _tokenizer, 2, context) { TooLong = policy }.Encode(dialogue, tally)];
        }
    }

    [Fact]
    public void A_turn_too_long_by_itself_and_an_answer_beyond_the_context_are_left_out_and_noted()
    {
        string longText = string.Concat(Enumerable.Repeat("犬は何ですか", 20));
        Dialogue dialogue = new([new("犬", "猫"), new(longText, "猫"), new("鳥", "魚")], null, null, "a", 1);
        DataTally tally = new();
        Assert.Equal(2, new ExampleEncoder(PromptFormat.Dialogue, _tokenizer, 2, 30) { TooLong = TooLong.Split }.Encode(dialogue, tally).Count());
        Assert.Contains(tally.Notes, note => note.Reason.Contains("alone", StringComparison.Ordinal));
        tally = new();
        Assert.Empty(new ExampleEncoder(PromptFormat.Dialogue, _tokenizer, 2, 30) { TooLong = TooLong.Cut }.Encode(dialogue with { Turns = [dialogue.Turns[1]] }, tally));
        Assert.Contains("begins after", Assert.Single(tally.Notes).Reason, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Formats))]
    public void White_space_is_learnt_where_it_is_part_of_an_answer_and_not_where_it_is_part_of_the_prompt(string name)
    {
        // A byte-level tokenizer without merges: a token is a byte. Its trim_offsets makes the places of white space empty.
        Tokenizer tokenizer = Tokenizer.Load(_folder.Write("bytes.json", ByteLevel()));
        PromptFormat format = PromptFormat.Named(name);
        DialogueTurn[] turns = format.HasTurns ? [new("犬は何？", "\n x\n  "), new(" 猫は？\n", " 犬 \n")] : [new("犬は何？", "\n x\n  ")];
        MaskedText masked = new ExampleEncoder(format, tokenizer, 256, 2000).Mask(new Dialogue(turns, null, null, "a", 1));
        string expected = string.Concat(masked.Prompt.Answers.Select(answer => masked.Prompt.Text[answer.Start..answer.End]));
        foreach (DialogueTurn turn in turns) Assert.Contains(turn.Answer.Trim(), expected, StringComparison.Ordinal);
        Assert.Equal(expected, tokenizer.Decode([.. masked.Ids.Where((id, i) => masked.IsTrained[i] && id != 256)]));
        Assert.Equal(256, masked.Ids[^1]);
        Assert.Equal(0, masked.Straddling);
    }

    private static string ByteLevel()
    {
        // The characters that stand for bytes, as GPT-2 has them.
        List<char> letters = [];
        for (int code = 0, next = 256; code < 256; code++) letters.Add(code is > 32 and < 127 or > 160 and not 173 ? (char)code : (char)next++);
        string vocabulary = string.Join(", ", letters.Select((letter, id) => $"{System.Text.Json.JsonSerializer.Serialize(letter.ToString())}: {id}"));
        return $$"""
            {"version": "1.0", "added_tokens": [{"id": 256, "content": "<|endoftext|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
             "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
             "post_processor": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
             "model": {"type": "BPE", "vocab": { {{vocabulary}} }, "merges": [] } }
            """;
    }

    [Fact]
    public void Control_tokens_in_texts_are_noted_and_learnt_as_they_are()
    {
        DataTally tally = new();
        ExampleEncoder encoder = Encoder(PromptFormat.Dialogue);
        TrainingExample example = encoder.Encode(new Dialogue([new("犬", "猫</s>鳥")], "<s>", null, "a", 1), tally).Single();
        Assert.Equal(2, example.Tokens.Count(2));       // the end that stands in the answer, and the answer's own
        _ = encoder.Encode(new Dialogue([new("犬</s>", "猫"), new("</s>", "鳥</s></s>")], null, null, "a", 2), tally);
        // A text of unknown characters, or that looks like a control token, has none.
        _ = encoder.Encode(new Dialogue([new("犬", "<t> </S> < /s> \u0378")], null, null, "a", 3), tally);
        PreferenceDialogue preference = new(new([new("犬", "猫")], null, null, "a", 4), new([new("犬", "<s>鳥")], null, null, "a", 4));
        Assert.NotNull(encoder.Encode(preference, tally));
        Assert.Equal(
            [("its text has </s>, which is taken as the control token, not as text", 2L, "a:1, a:2"), ("its text has <s>, which is taken as the control token, not as text", 2L, "a:1, a:4")],
            tally.Notes.OrderBy(note => note.Reason, StringComparer.Ordinal));
    }

    [Fact]
    public void A_conversation_that_the_format_has_no_place_for_is_bad_data()
    {
        Dialogue dialogue = new([new("一", "犬"), new("二", "猫")], null, null, "a", 3);
        Assert.Contains("a:3: The prompt format plain has no place for earlier turns",
            Assert.Throws<InvalidDataException>(() => Encoder(PromptFormat.Plain).Encode(dialogue, new DataTally()).Count()).Message, StringComparison.Ordinal);
        DataTally tally = new(1);
        Assert.Empty(Encoder(PromptFormat.Plain).Encode(dialogue, tally));
        Assert.Equal(1, tally.Bad);
    }

    [Fact]
    public void Labels_are_those_of_the_reference_collator()
    {
        // −100 on all but the answer, as transformers' collators have it: label i stands at token i's own place.
        TrainingExample example = Encoder(PromptFormat.Dialogue).Encode(new Dialogue([new("犬", "猫")], null, null, "a", 1), new DataTally()).Single();
        (int[] tokens, int[]? masked) = example.ToText();
        int[] labels = Assert.IsType<int[]>(masked);
        int border = labels.AsSpan().IndexOfAnyExcept(LabelledText.Ignored);
        Assert.Equal(tokens[border..], labels[border..]);
        Assert.Equal(example.Trained, tokens.Length - border);
        SupervisedBatch batch = SupervisedBatch.Of(example.ToText());
        Assert.Equal(tokens[border..], batch.Targets);
        Assert.Equal(border - 1, batch.Batch.LogitRows[0]);
    }

    public void Dispose() => _folder.Dispose();

    private ExampleEncoder Encoder(PromptFormat format) => new(format, _tokenizer, 2, 4096);

    private static string[] Learnt(MaskedText masked)
    {
        List<string> runs = [];
        for (int i = 0; i < masked.Ids.Count; i++)
        {
            if (!masked.IsTrained[i]) continue;
            (int start, int end) = masked.Offsets[i];
            if (i > 0 && masked.IsTrained[i - 1]) runs[^1] += masked.Prompt.Text[start..end];
            else runs.Add(masked.Prompt.Text[start..end]);
        }
        return [.. runs];
    }
}
