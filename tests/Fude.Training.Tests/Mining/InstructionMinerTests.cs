using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Training.Tests;

/// <summary>What is made of texts is what stands there, and what it asks for is met by it.</summary>
public sealed class InstructionMinerTests
{
    private const string Text = """
        桜（さくら）は、春に花を咲かせる樹木である。公園や川の土手に植えられ、多くの人々が花見を楽しむ。桜や梅、桃などの花木は昔から歌に詠まれた。
        電車で学校へ通う子供たちが、駅のホームで待っていた。雨の日には、バスを使う人も多い。コーヒーを飲みながら新聞を読む会社員もいた。
        """;

    [Fact]
    public void Every_task_of_texts_is_made_of_a_text_that_has_what_it_needs()
    {
        Dictionary<string, List<MinedInstruction>> made = [];
        for (ulong seed = 0; seed < 300; seed++)
            foreach (MinedInstruction one in new InstructionMiner { Share = 1, Seed = seed }.OfText(Text))
            {
                Assert.True(one.Check.IsMetBy(one.Answer), $"{one.Task}: {one.Question} → {one.Answer}");
                Assert.DoesNotContain("{", one.Question, StringComparison.Ordinal);
                if (!made.TryGetValue(one.Task, out List<MinedInstruction>? list)) made.Add(one.Task, list = []);
                list.Add(one);
            }
        Assert.Equal(["begin", "contains", "continue", "define", "extract", "kind", "pick", "repeat", "sentences", "words"], made.Keys.Order(StringComparer.Ordinal));
        Assert.All(made["words"], one => Assert.All(one.Check.Contains, word => Assert.Contains(word, one.Question, StringComparison.Ordinal)));
        Assert.All(made["words"], one => Assert.Contains(one.Answer, Text, StringComparison.Ordinal));
        Assert.Equal([1, 2, 3], made["words"].Select(one => one.Check.Contains.Count).Distinct().Order());
        Assert.All(made["define"], one => Assert.Equal("桜（さくら）は、春に花を咲かせる樹木である。", one.Answer));
        Assert.Contains(made["kind"], one => one.Question.Contains("花木", StringComparison.Ordinal) && one.Answer == "- 桜\n- 梅\n- 桃");
        Assert.Contains(made["continue"], one => one.Answer == "雨の日には、バスを使う人も多い。");
        Assert.Contains(made["extract"], one => one.Answer == "ホーム");
        Assert.Equal(["いいえ、ありません。", "はい、あります。"], made["contains"].Select(one => one.Answer).Distinct().Order(StringComparer.Ordinal));
        Assert.All(made["sentences"], one => Assert.InRange(one.Check.Sentences!.Value, 2, 3));
    }

    [Fact]
    public void What_is_made_depends_on_the_line_and_the_seed_alone()
    {
        InstructionMiner miner = new() { Share = 0.5 };
        string[] alone = Written(miner, Text), among = Written(miner, $"見出し\n{Text}\n海は広い。山は高い。");
        Assert.NotEmpty(alone);
        Assert.Equal(alone, among.Intersect(alone));
        Assert.NotEqual(alone, Written(new InstructionMiner { Share = 0.5, Seed = 2 }, Text));
        Assert.Subset(Written(new InstructionMiner { Share = 1 }, Text).ToHashSet(), alone.ToHashSet());
        Assert.Equal(Written(new InstructionMiner { Share = 1 }, Text).Where(one => one.StartsWith("words", StringComparison.Ordinal)),
            Written(new InstructionMiner { Share = 1, Only = ["words"] }, Text));
    }

    [Fact]
    public void A_share_that_is_none_and_a_task_that_is_not_there_are_refused()
    {
        foreach (double share in (double[])[0, -1, 1.1, double.NaN]) Assert.Throws<ArgumentOutOfRangeException>(() => new InstructionMiner { Share = share });
        Assert.Contains("'haiku'", Assert.Throws<ArgumentException>(() => new InstructionMiner { Only = ["words", "haiku"] }).Message, StringComparison.Ordinal);
        Assert.Empty(new InstructionMiner().OfDialogue(Turns(("", "- 桜\n- 梅"))));
        MinedInstruction one = new("words", "a", "b", new AnswerCheck());
        Assert.NotEqual(one.Hash, (one with { Question = "c" }).Hash);
    }

    [Fact]
    public void The_share_is_of_the_sentences()
    {
        string text = string.Concat(Enumerable.Range(0, 4000).Select(i => $"花子は{(char)('一' + i)}という字を紙に書いた。"));
        int all = new InstructionMiner { Share = 1 }.OfText(text).Count();
        Assert.InRange(new InstructionMiner { Share = 0.1 }.OfText(text).Count(), 0.08 * all, 0.12 * all);
    }

    [Fact]
    public void Lists_are_asked_for_by_number_and_answers_in_a_sentence()
    {
        InstructionMiner miner = new() { Only = ["items", "short"] };
        MinedInstruction[] lists = [.. miner.OfDialogue(Turns(("好きな花を教えて", "もちろんです。\n\n- 桜\n- 梅\n- 桃\n\n以上です。")))];
        Assert.Equal([2, 3], lists.Select(one => one.Check.Items!.Value));
        Assert.All(lists, one =>
        {
            Assert.Matches("^好きな花を(教えて。)?(例を)?(二つ|三つ|2つ|3つ|2個|3個)", one.Question);
            Assert.True(one.Check.IsMetBy(one.Answer), one.Answer);
        });
        Assert.Equal("- 桜\n- 梅\n- 桃", lists[1].Answer);
        Assert.All(miner.OfDialogue(Turns(("春の花は？夏の花は？", "1. 桜\n2. 朝顔"))), one => Assert.StartsWith("春の花は？夏の花は？", one.Question, StringComparison.Ordinal));
        MinedInstruction first = Assert.Single(miner.OfDialogue(Turns(("桜とは何ですか？", "桜は春に咲く花です。日本で好まれます。"))));
        Assert.Equal(("short", "桜は春に咲く花です。"), (first.Task, first.Answer));
        Assert.StartsWith("桜とは何ですか？", first.Question, StringComparison.Ordinal);
        // Another number, other inputs, or numbered steps that are no plain list.
        Assert.Empty(miner.OfDialogue(Turns(("花を3つ教えて", "- 桜\n- 梅\n- 桃"))));
        Assert.Empty(miner.OfDialogue(Turns(("花を教えて", "- 桜\n- 梅")) with { Input = "春の花" }));
        Assert.Empty(miner.OfDialogue(Turns(("花を教えて", "- 桜\n- 桜"))));
        Assert.Empty(miner.OfDialogue(Turns(("花を教えて", "- 桜 。\n- 桜"))));
    }

    [Theory]
    [InlineData("桜を見て「春だ。　」と言った人がいた。花見の席で酒を飲んだ。")]
    [InlineData("先月の会社の売上は1,234万円で、前の年の同じ月より5.6％も増えたという。")]
    public void Odd_texts_make_nothing_that_falls_short_of_its_check(string text)
    {
        int count = 0;
        for (ulong seed = 0; seed < 200; seed++)
            foreach (MinedInstruction one in new InstructionMiner { Share = 1, Seed = seed }.OfText(text))
            {
                Assert.True(one.Check.IsMetBy(one.Answer), $"{one.Task}: {one.Question} → {one.Answer}");
                if (one.Task == "extract") Assert.Equal("1,234、5.6", one.Answer);
                count++;
            }
        Assert.InRange(count, 100, int.MaxValue);
    }

    [Fact]
    public void Replies_in_the_midst_of_a_conversation_stand_alone()
    {
        InstructionMiner miner = new() { Only = ["exchange"] };
        Dialogue talk = Turns(("こんにちは", "こんにちは！"), ("いい天気ですね。好きな食べ物は何ですか？", "甘いものが好きです！"), ("お名前はなんですか。", "花子といいます。"));
        Assert.Equal(["好きな食べ物は何ですか？→甘いものが好きです！", "お名前はなんですか。→花子といいます。"], miner.OfDialogue(talk).Select(one => $"{one.Question}→{one.Answer}"));
        Assert.Empty(miner.OfDialogue(talk with { Turns = [.. talk.Turns.Select(turn => turn with { IsTrained = false })] }));
    }

    [Fact]
    public void What_is_made_of_real_texts_meets_its_check()
    {
        Assert.SkipWhen(TestFolders.Shared is null, "The corpora are in shared beside the checkout.");
        InstructionMiner miner = new() { Share = 1 };
        int count = 0;
        foreach (string file in (string[])["kyoto-wikipedia/kyoto-ja.jsonl.gz", "aozora/aozora-modern.jsonl.gz", "techdocs-ja/techdocs-ja.jsonl.gz"])
            foreach (TextDocument document in new TrainingText(Path.Combine(TestFolders.Shared!, "data", "corpus", file)).Documents().Take(40))
                foreach (MinedInstruction one in miner.OfText(document.Text))
                {
                    Assert.True(one.Check.IsMetBy(one.Answer), $"{one.Task}: {one.Question} → {one.Answer}");
                    count++;
                }
        Assert.InRange(count, 3000, int.MaxValue);
    }

    private static Dialogue Turns(params (string Question, string Answer)[] turns) =>
        new([.. turns.Select(turn => new DialogueTurn(turn.Question, turn.Answer))], null, null, "", 1);

    private static string[] Written(InstructionMiner miner, string text) => [.. miner.OfText(text).Select(one => $"{one.Task} {one.Question} {one.Answer}")];
}
