using Fude.Models;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Training.Tests;

public sealed class PreferenceReaderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData("""{"prompt": "a", "chosen": "b", "rejected": "c"}""", "a→b/c")]
    [InlineData("""{"prompt": "a", "chosen": "b", "rejected": "c", "system": "s"}""", "[s]a→b/c")]
    [InlineData("""{"instruction": "a", "input": "x", "chosen": "b", "rejected": "c"}""", "a\n\nx→b/c")]
    [InlineData("""{"instruction": "a", "input": "", "context": "x", "chosen": "b", "rejected": "c"}""", "a\n\nx→b/c")]
    [InlineData("""{"prompt": [{"role": "user", "content": "a"}], "history": [], "chosen": "b", "rejected": "c"}""", "a→b/c")]
    [InlineData("""{"prompt": "a", "history": [["x", "y"]], "chosen": "b", "rejected": "c"}""", "x→(y);a→b/c")]
    [InlineData("""{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}], "chosen": [{"role": "assistant", "content": "d"}], "rejected": [{"role": "assistant", "content": "e"}]}""", "a→(b);c→d/e")]
    [InlineData("""{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}""", "a→b/c")]
    [InlineData("""{"prompt": "a", "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}""", "a→b/c")]
    [InlineData("""{"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}}""", "a→b/c")]
    public void A_preference_is_read_by_its_keys(string record, string expected)
    {
        PreferenceDialogue read = Assert.Single(PreferenceReader.Read(_folder.Write("a.jsonl", record), new DataTally()));
        string system = read.Chosen.System is { } text ? $"[{text}]" : "";
        Assert.Equal(expected, system + string.Join(';', read.Chosen.Turns.Select((turn, i) =>
            $"{turn.Question}→{(turn.IsTrained ? $"{turn.Answer}/{read.Rejected.Turns[i].Answer}" : $"({turn.Answer})")}")));
    }

    [Theory]
    [InlineData("""{"prompt": "a", "chosen": "b"}""", "rejected")]
    [InlineData("""{"chosen": "b", "rejected": "c"}""", "it has no \"prompt\"")]
    [InlineData("""{"prompt": "a", "chosen": "", "rejected": "c"}""", "\"chosen\" is empty")]
    [InlineData("""{"prompt": " ", "chosen": "b", "rejected": "c"}""", "question is empty")]
    [InlineData("""{"prompt": "a", "chosen": "b", "rejected": "b"}""", "same")]
    [InlineData("""{"prompt": 3, "chosen": "b", "rejected": "c"}""", "prompt")]
    [InlineData("""{"prompt": [{"role": "user", "content": "a"}], "history": [["x", "y"]], "chosen": "b", "rejected": "c"}""", "it has \"history\" beside \"prompt\"")]
    [InlineData("""{"prompt": "a", "history": ["x"], "chosen": "b", "rejected": "c"}""", "history")]
    [InlineData("""{"prompt": "a", "chosen": 3, "rejected": "c"}""", "chosen")]
    [InlineData("""{"prompt": [{"role": "assistant", "content": "a"}], "chosen": "b", "rejected": "c"}""", "user's")]
    [InlineData("""{"chosen": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "b"}], "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}""", "\"chosen\" and \"rejected\" differ before their last messages")]
    public void A_bad_preference_is_named_with_file_line_and_reason(string record, string reason)
    {
        string file = _folder.Write("a.jsonl", $"\n{record}");
        InvalidDataException e = Assert.Throws<InvalidDataException>(() => PreferenceReader.Read(file, new DataTally()).Count());
        Assert.Contains($"{file}:2: ", e.Message, StringComparison.Ordinal);
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
        Assert.Empty(PreferenceReader.Read(file, new DataTally(1)));
    }

    [Fact]
    public void A_pair_is_the_common_prompt_and_the_two_answers_with_their_ends()
    {
        Tokenizer tokenizer = TinyTuning.Tokenizer(_folder.Path);
        ExampleEncoder encoder = new(PromptFormat.Dialogue, tokenizer, 2, 100);
        string file = _folder.Write("a.jsonl", """{"prompt": "犬は？", "chosen": "はい。", "rejected": "はいはい"}""");
        PreferencePair pair = encoder.Encode(PreferenceReader.Read(file, new DataTally()).Single(), new DataTally())!;
        Assert.Equal(tokenizer.Encode("<s>ユーザー：犬は？\n応答：", false), pair.Prompt);
        Assert.Equal("はい。", tokenizer.Decode(pair.Chosen, skipSpecialTokens: true).Trim());
        Assert.Equal("はいはい", tokenizer.Decode(pair.Rejected, skipSpecialTokens: true).Trim());
        Assert.Equal((2, 2), (pair.Chosen[^1], pair.Rejected[^1]));

        DataTally tally = new();
        Assert.Throws<InvalidDataException>(() => new ExampleEncoder(PromptFormat.Dialogue, tokenizer, 2, 8).Encode(PreferenceReader.Read(file, tally).Single(), tally));
        Assert.Null(new ExampleEncoder(PromptFormat.Dialogue, tokenizer, 2, 8) { TooLong = TooLong.Skip }.Encode(PreferenceReader.Read(file, tally).Single(), tally));
        Assert.Single(tally.Notes);
    }

    public void Dispose() => _folder.Dispose();
}
