using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>An instruction made of a text that is an answer to it.</summary>
/// <param name="Task">Of what kind it is: one of <see cref="InstructionMiner.Tasks"/>.</param>
/// <param name="Question">The instruction.</param>
/// <param name="Answer">What the text has.</param>
/// <param name="Check">What every answer to it can be held to; this one meets it.</param>
public sealed record MinedInstruction(string Task, string Question, string Answer, AnswerCheck Check)
{
    /// <summary>8 bytes of the SHA-256 of question and answer.</summary>
    public ulong Hash => Dialogue.FingerprintOf($"{Question}\n{Answer}");
}

/// <summary>Makes simple Japanese instructions of texts and conversations: for what stands there it asks as one would have to ask to get it.</summary>
/// <remarks>
/// A small model learns from examples what an instruction wants of the form of its answer, if there are enough of them: TinyStories-Instruct (Eldan and
/// Li, 2023, arXiv:2305.07759) has words that a story uses, AdaptLLM (Cheng et al., 2023, arXiv:2309.09530) tasks found in raw texts by their patterns.
/// Here every answer is verbatim of the text, or taken from it by a rule, so that nothing is invented, and all but replies can be checked.
///
/// | task | is asked | answer |
/// | --- | --- | --- |
/// | words | a sentence that uses one, two or three words | a sentence |
/// | begin | a sentence that begins so | a sentence |
/// | continue | how a text goes on | the next sentence |
/// | sentences | two or three sentences about a word | so many in a row |
/// | define | what something is | "X（よみ）は、…" |
/// | kind | so many of a kind | the members of "AやBなどのC" |
/// | pick | so many words of a sentence | them as a list |
/// | extract | the katakana words or the numbers of a sentence | them |
/// | contains | whether a word occurs in a sentence | yes or no |
/// | repeat | to write a sentence, or a word so often, again | it |
/// | items | what a conversation's list answers, so many | so many of the list |
/// | short | what a conversation asks, in one sentence | the answer's first sentence |
/// | exchange | what somebody says in the midst of a conversation | the reply |
///
/// What is made of a sentence depends on its line and the seed alone; in a conversation on the turn, the share and the seed.
/// </remarks>
public sealed class InstructionMiner
{
    private const int Shortest = 8, Longest = 60, LongestShort = 30, LongestReply = 80;

    private static readonly string[] OneWord = [
        "「{0}」という言葉を使って文を作ってください。", "{0}という言葉を使って文を作ってください。", "「{0}」を使った文を書いて。", "「{0}」を含む文を一つ書いてください。",
        "{0}を使って一文を書いてください。", "「{0}」という語を入れて文を作って。", "{0}という単語を使って例文を作ってください。", "次の言葉を使って文を作ってください。\n{0}",
        "{0}について一文で書いてください。", "「{0}」を使って例文を一つ作ってください。", "{0}を使って文を書いて", "{0}という言葉の入った文を教えてください。",
    ];

    private static readonly string[] OneWordShort = [
        "「{0}」という言葉を使って短い文を作ってください。", "{0}という言葉を使って短い文を作ってください。", "{0}を使って短い文を書いて。", "{0}について短い文を書いてください。",
        "「{0}」を使った短文を作ってください。", "{0}という言葉を使って、短い文を一つ書いてください。",
    ];

    private static readonly string[] TwoWords = [
        "「{0}」と「{1}」を使って文を作ってください。", "{0}と{1}という言葉を使って文を作ってください。", "次の言葉を使って文を書いてください。\n{0}、{1}",
        "{0}と{1}を使って一文を書いて。", "「{0}」「{1}」の二つの言葉を使って文を作ってください。",
    ];

    private static readonly string[] ThreeWords = [
        "「{0}」「{1}」「{2}」を使って文を作ってください。", "次の三つの言葉を使って文を書いてください。\n{0}、{1}、{2}", "{0}と{1}と{2}という言葉を使って文を作ってください。",
        "次の言葉を全部使って文を作って。\n{0}、{1}、{2}",
    ];

    private static readonly string[] Begin = [
        "「{0}」で始まる文を書いてください。", "「{0}」から始まる文を作って。", "「{0}」に続けて文を完成させてください。", "次の書き出しで文を書いてください。\n{0}", "「{0}」で始まる文を一つ作ってください。",
    ];

    private static readonly string[] Continue = [
        "次の文の続きを書いてください。\n{0}", "次の文に続く一文を書いてください。\n{0}", "「{0}」の続きを書いて。", "続きを一文で書いてください。\n{0}", "この文章の続きを考えてください。\n{0}",
    ];

    private static readonly string[] Several = ["{0}について{1}文で書いてください。", "{1}つの文で{0}について書いてください。", "{0}について、{1}文で説明してください。", "{0}について{1}文で教えて。"];

    private static readonly string[] Define = [
        "{0}とは何ですか。", "{0}とは何ですか？", "{0}って何？", "{0}について教えてください。", "{0}を一文で説明してください。", "{0}について説明してください。", "{0}とは？", "{0}の意味を教えて。",
    ];

    private static readonly string[] Kind = [
        "{0}を{1}挙げてください。", "{0}の例を{1}挙げてください。", "{0}を{1}教えてください。", "{0}を{1}答えて。", "{0}にはどんなものがありますか。{1}挙げてください。", "{0}の名前を{1}書いてください。",
    ];

    private static readonly string[] Pick = [
        "次の文から言葉を{1}抜き出してください。\n{0}", "次の文に出てくる言葉を{1}挙げてください。\n{0}", "この文の中の言葉を{1}書いてください。\n{0}", "「{0}」から言葉を{1}選んで。",
    ];

    private static readonly string[] Katakana = [
        "次の文から片仮名の言葉を抜き出してください。\n{0}", "次の文のカタカナの言葉を書いてください。\n{0}", "「{0}」の中の片仮名の言葉は何ですか。", "次の文からカタカナを全部抜き出して。\n{0}",
    ];

    private static readonly string[] Number = ["次の文から数字を抜き出してください。\n{0}", "次の文に出てくる数字を書いてください。\n{0}", "「{0}」の中の数字は何ですか。"];

    private static readonly string[] Occurs = [
        "次の文に「{1}」という言葉はありますか。\n{0}", "「{0}」という文に「{1}」は出てきますか。", "次の文に「{1}」が含まれていますか。はいかいいえで答えてください。\n{0}", "次の文に{1}という言葉はありますか？\n{0}",
    ];

    private static readonly string[] Repeat = [
        "次の文をそのまま書いてください。\n{0}", "「{0}」と言ってください。", "次の文を繰り返してください。\n{0}", "「{0}」とそのまま書いて。", "次の文をもう一度書いてください。\n{0}",
    ];

    private static readonly string[] RepeatWord = ["「{0}」と{1}回書いてください。", "{0}を{1}回繰り返してください。", "「{0}」を{1}回言って。"];

    private static readonly string[] Items = ["{0}{1}挙げてください。", "{0}{1}教えてください。", "{0}{1}答えてください。", "{0}{1}だけ挙げて。", "{0}例を{1}挙げてください。"];

    private static readonly string[] ItemsOf = ["{0}を{1}挙げてください。", "{0}を{1}教えてください。", "{0}を{1}答えて。", "{0}を{1}挙げて。", "{0}を{1}書いてください。"];

    // How a list is asked for without a number.
    private static readonly string[] Asking = ["挙げ", "教え", "列挙", "リスト", "書い", "答え", "考え", "示し", "提案", "あげ"];

    private static readonly string[] Short = ["{0}一文で答えてください。", "{0}短く答えてください。", "{0}一文で教えて。", "{0}手短に答えてください。"];

    private static readonly string[] Everyday = [
        "桜", "犬", "猫", "電車", "学校", "会社", "音楽", "海", "山", "川", "雨", "雪", "春", "夏", "秋", "冬", "料理", "映画", "旅行", "野球", "テレビ", "パン", "コーヒー", "手紙", "病院", "空", "花", "魚", "鳥", "本",
    ];

    private static readonly string[] KanjiDigits = ["", "一", "二", "三", "四", "五"];

    /// <summary>The kinds of instruction, by name.</summary>
    public static IReadOnlyList<string> Tasks { get; } =
        ["words", "begin", "continue", "sentences", "define", "kind", "pick", "extract", "contains", "repeat", "items", "short", "exchange"];

    /// <summary>Of how many sentences of texts, and of answers in conversations, an instruction is made: above 0 and at most 1. Definitions are made eight
    /// times as often; kinds, items, short answers and exchanges of all there are.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is none.</exception>
    public double Share
    {
        get;
        init => field = value is > 0 and <= 1 ? value : throw new ArgumentOutOfRangeException(nameof(value), Say(
            $"The share of sentences is {value}; above 0 and at most 1 is expected.", $"文の割合が {value} です。0 より大きく 1 以下にしてください。"));
    } = 0.1;

    /// <summary>Chooses what is made of what.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>The tasks to keep of all that are made; all where it is empty.</summary>
    /// <exception cref="ArgumentException">One is not in <see cref="Tasks"/>.</exception>
    public IReadOnlyCollection<string> Only
    {
        get;
        init => field = value.FirstOrDefault(name => !Tasks.Contains(name)) is not { } unknown ? value : throw new ArgumentException(Say(
            $"There is no task '{unknown}'; there are {string.Join(", ", Tasks)}.", $"'{unknown}' という種類はありません。{string.Join("、", Tasks)} があります。"), nameof(value));
    } = [];

    /// <summary>The instructions that a text answers.</summary>
    /// <param name="text">The text.</param>
    public IEnumerable<MinedInstruction> OfText(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Kept(AllOfText(text));
    }

    /// <summary>The instructions that a conversation answers besides its own.</summary>
    /// <param name="dialogue">The conversation. What it must not be learnt from, such as held-out ones, the caller leaves out.</param>
    public IEnumerable<MinedInstruction> OfDialogue(Dialogue dialogue)
    {
        ArgumentNullException.ThrowIfNull(dialogue);
        return Kept(AllOfDialogue(dialogue));
    }

    // An answer may fall short of its own check where texts are odd: sentences that are joined become one, items differ in a space alone.
    private IEnumerable<MinedInstruction> Kept(IEnumerable<MinedInstruction> made) =>
        made.Where(one => (Only.Count == 0 || Only.Contains(one.Task)) && (one.Check.IsEmpty || one.Check.IsMetBy(one.Answer)));

    private IEnumerable<MinedInstruction> AllOfText(string text)
    {
        foreach (string line in text.Split('\n'))
        {
            string[] sentences = [.. JapaneseText.Sentences(line, takesRest: false)];
            for (int i = 0; i < sentences.Length; i++)
            {
                string sentence = sentences[i];
                if (!Fits(sentence)) continue;
                Draw draw = new(sentence, Seed);
                foreach (MinedInstruction kind in OfKinds(sentence, draw)) yield return kind;
                double chance = draw.Fraction();
                MinedInstruction? made = i == 0 && chance < Share * 8 ? OfDefinition(sentence, draw) : null;
                made ??= chance < Share ? OfSentence(sentences.AsSpan(i), draw) : null;
                if (made is not null) yield return made;
            }
        }
    }

    private IEnumerable<MinedInstruction> AllOfDialogue(Dialogue dialogue)
    {
        for (int i = 0; i < dialogue.Turns.Count; i++)
        {
            (string question, string answer, bool isTrained) = dialogue.Turns[i];
            if (!isTrained) continue;
            (question, answer) = (question.Trim(), answer.Trim());
            Draw draw = new($"{question}\n{answer}", Seed);
            if (i > 0)
            {
                if (OfExchange(question, answer, draw) is { } exchange) yield return exchange;
            }
            else if (dialogue.Turns.Count == 1 && dialogue.Input is null && dialogue.System is null && question.Length is > 0 and <= Longest)
            {
                foreach (MinedInstruction items in OfList(question, answer, draw)) yield return items;
                if (OfFirst(question, answer, draw) is { } first) yield return first;
            }
            foreach (string sentence in JapaneseText.Sentences(answer, takesRest: false))
                if (!sentence.EndsWith('？') && !sentence.EndsWith('?') && MinedList.ItemOf(sentence) is null && Fits(sentence) && draw.Fraction() < Share)
                    if (OfSentence([sentence], draw) is { } made) yield return made;
        }
    }

    private static bool Fits(string sentence) => sentence.Length is >= Shortest and <= Longest && JapaneseText.StandsAlone(sentence);

    private static MinedInstruction? OfSentence(ReadOnlySpan<string> sentences, Draw draw)
    {
        string sentence = sentences[0];
        List<string> words = JapaneseText.Words(sentence);
        int choice = draw.Below(100);
        MinedInstruction? made = choice switch
        {
            < 44 => null,
            < 54 => OfBeginning(sentence, draw),
            < 62 => sentences.Length > 1 && Fits(sentences[1]) ? OfNext(sentence, sentences[1], draw) : null,
            < 68 => words.Count > 0 ? OfSeveral(words[0], sentences, draw) : null,
            < 76 => words.Count > 1 ? OfWordsOf(sentence, words, draw) : null,
            < 82 => OfExtract(sentence, draw),
            < 90 => words.Count > 0 ? OfOccurrence(sentence, words, sentences.Length > 1 ? sentences[1] : "", draw) : null,
            _ => OfRepeat(sentence, words, draw),
        };
        return made ?? (words.Count > 0 ? OfWords(sentence, words, draw) : null);
    }

    private static MinedInstruction OfWords(string sentence, List<string> words, Draw draw)
    {
        int count = Math.Min(words.Count, draw.Below(10) switch { < 6 => 1, < 9 => 2, _ => 3 });
        draw.Shuffle(words);
        string[] chosen = [.. words.Take(count)];
        string[] templates = count switch { 3 => ThreeWords, 2 => TwoWords, _ => sentence.Length <= LongestShort && draw.Below(2) == 0 ? OneWordShort : OneWord };
        return new("words", draw.Fill(templates, chosen), sentence, new AnswerCheck { Contains = chosen, Sentences = 1 });
    }

    private static MinedInstruction? OfBeginning(string sentence, Draw draw) => JapaneseText.Beginning(sentence) is { } beginning
        ? new("begin", draw.Fill(Begin, beginning), sentence, new AnswerCheck { Begins = beginning, Sentences = 1 })
        : null;

    private static MinedInstruction OfNext(string sentence, string next, Draw draw) =>
        new("continue", draw.Fill(Continue, sentence), next, new AnswerCheck { Sentences = 1 });

    private static MinedInstruction? OfSeveral(string word, ReadOnlySpan<string> sentences, Draw draw)
    {
        int count = 2 + draw.Below(2);
        if (sentences.Length < count) return null;
        foreach (string sentence in sentences[..count])
            if (sentence.Length > Longest || !JapaneseText.IsJapanese(sentence)) return null;
        string answer = string.Concat(sentences[..count]!);
        return new("sentences", draw.Fill(Several, word, draw.Digit(count)), answer, new AnswerCheck { Contains = [word], Sentences = count });
    }

    private static MinedInstruction? OfDefinition(string sentence, Draw draw) => JapaneseText.Defined(sentence) is { } defined
        ? new("define", draw.Fill(Define, defined), sentence, new AnswerCheck { Contains = [defined] })
        : null;

    private static IEnumerable<MinedInstruction> OfKinds(string sentence, Draw draw)
    {
        foreach ((string kind, IReadOnlyList<string> members) in JapaneseText.Kinds(sentence))
        {
            int count = 2 + draw.Below(Math.Min(members.Count, 5) - 1);
            int first = draw.Below(members.Count - count + 1);
            yield return new("kind", draw.Fill(Kind, kind, draw.Count(count)), MinedList.Write(members.Skip(first).Take(count)), new AnswerCheck { Items = count });
        }
    }

    private static MinedInstruction OfWordsOf(string sentence, List<string> words, Draw draw)
    {
        int count = 2 + draw.Below(Math.Min(words.Count, 5) - 1);
        int first = draw.Below(words.Count - count + 1);
        return new("pick", draw.Fill(Pick, sentence, draw.Count(count)), MinedList.Write(words.Skip(first).Take(count)), new AnswerCheck { Items = count, From = sentence });
    }

    private static MinedInstruction? OfExtract(string sentence, Draw draw)
    {
        List<string> katakana = JapaneseText.KatakanaWords(sentence), numbers = JapaneseText.Numbers(sentence);
        bool takesNumbers = katakana.Count == 0 || (numbers.Count > 0 && draw.Below(2) == 0);
        List<string> found = takesNumbers ? numbers : katakana;
        if (found.Count is 0 or > 5) return null;
        string answer = string.Join('、', found);
        return new("extract", draw.Fill(takesNumbers ? Number : Katakana, sentence), answer, new AnswerCheck { Exactly = answer });
    }

    private static MinedInstruction? OfOccurrence(string sentence, List<string> words, string next, Draw draw)
    {
        bool occurs = draw.Below(2) == 0;
        // Of the next sentence's words one that is not in this; where there is none, a word of everyday.
        string[] others = [.. JapaneseText.Words(next).Where(word => !sentence.Contains(word, StringComparison.Ordinal))];
        string word = occurs ? words[draw.Below(words.Count)] : others.Length > 0 ? others[draw.Below(others.Length)] : Everyday[draw.Below(Everyday.Length)];
        if (!occurs && sentence.Contains(word, StringComparison.Ordinal)) return null;
        return new(
            "contains", draw.Fill(Occurs, sentence, word), occurs ? "はい、あります。" : "いいえ、ありません。", new AnswerCheck { Begins = occurs ? "はい" : "いいえ" });
    }

    private static MinedInstruction? OfRepeat(string sentence, List<string> words, Draw draw)
    {
        if (words.Count > 0 && draw.Below(3) == 0)
        {
            string word = words[draw.Below(words.Count)];
            int count = 2 + draw.Below(4);
            string answer = string.Join('、', Enumerable.Repeat(word, count));
            return new("repeat", draw.Fill(RepeatWord, word, draw.Digit(count)), answer, new AnswerCheck { Exactly = answer });
        }
        return sentence.Length <= LongestShort ? new("repeat", draw.Fill(Repeat, sentence), sentence, new AnswerCheck { Exactly = sentence }) : null;
    }

    private static MinedInstruction? OfExchange(string question, string answer, Draw draw)
    {
        // What was said last; questions all, of other things said a third.
        string said = JapaneseText.Sentences(question, takesRest: true).LastOrDefault() ?? "";
        bool isQuestion = said.EndsWith('？') || said.EndsWith('?') || said.EndsWith("か。", StringComparison.Ordinal);
        if (!isQuestion)
        {
            said = question;
            if (draw.Below(3) != 0) return null;
        }
        return said.Length is >= Shortest and <= Longest && answer.Length is >= 4 and <= LongestReply && JapaneseText.StandsAlone(said)
            ? new("exchange", said, answer, new AnswerCheck())
            : null;
    }

    private static IEnumerable<MinedInstruction> OfList(string question, string answer, Draw draw)
    {
        // Where a number is asked for already, another would contradict it.
        if (question.Any(c => char.IsAsciiDigit(c) || "０１２３４５６７８９つ個".Contains(c)) || !JapaneseText.IsJapanese(question)) yield break;
        IReadOnlyList<string> items = MinedList.ItemsOf(answer);
        for (int count = 2; count <= Math.Min(items.Count, 5); count++)
        {
            int first = draw.Below(items.Count - count + 1);
            string asked = What(question) is { } what && draw.Below(3) > 0 ? draw.Fill(ItemsOf, what, draw.Count(count)) : draw.Fill(Items, Ended(question), draw.Count(count));
            yield return new("items", asked, MinedList.Write(items.Skip(first).Take(count)), new AnswerCheck { Items = count });
        }
    }

    // "春の花のリストを挙げてください。" → "春の花"; null where a question ends otherwise.
    private static string? What(string question)
    {
        const int LongestEnd = 20;
        int particle = question.LastIndexOf('を');
        return particle > 4 && question.Length - particle <= LongestEnd && !question.AsSpan(0, particle).ContainsAny("。？?！\n")
            && Array.Exists(Asking, word => question.IndexOf(word, particle, StringComparison.Ordinal) > 0)
            ? question[..particle].Replace("のリスト", "", StringComparison.Ordinal)
            : null;
    }

    private static MinedInstruction? OfFirst(string question, string answer, Draw draw)
    {
        string[] sentences = [.. JapaneseText.Sentences(answer, takesRest: true)];
        return sentences.Length > 1 && Fits(sentences[0]) && sentences[0].EndsWith('。') && MinedList.ItemOf(answer) is null && JapaneseText.IsJapanese(question)
            ? new("short", draw.Fill(Short, Ended(question)), sentences[0], new AnswerCheck { Sentences = 1 })
            : null;
    }

    private static string Ended(string question) => question[^1] is '。' or '？' or '?' or '！' or '!' ? question : question + "。";

    /// <summary>Numbers drawn for one text: the same on every machine, whatever else is read.</summary>
    private sealed class Draw
    {
        private ulong _state;

        internal Draw(string text, ulong seed) =>
            _state = BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(text))) ^ (seed * 0xD1342543DE82EF95);

        internal int Below(int limit) => (int)Math.BigMul(TrainableWeights.Next(ref _state), (ulong)limit, out _);

        internal double Fraction() => (TrainableWeights.Next(ref _state) >> 11) * (1.0 / (1UL << 53));

        internal void Shuffle(List<string> items)
        {
            for (int i = items.Count - 1; i > 0; i--)
            {
                int j = Below(i + 1);
                (items[i], items[j]) = (items[j], items[i]);
            }
        }

        internal string Fill(string[] templates, params string[] parts) => string.Format(CultureInfo.InvariantCulture, templates[Below(templates.Length)], parts);

        /// <summary>二 or 2.</summary>
        internal string Digit(int number) => Below(2) == 0 ? KanjiDigits[number] : number.ToString(CultureInfo.InvariantCulture);

        /// <summary>二つ, 2つ or 2個.</summary>
        internal string Count(int number) => Below(5) switch { 0 => $"{number}個", 1 => $"{number}つ", _ => $"{KanjiDigits[number]}つ" };
    }
}
