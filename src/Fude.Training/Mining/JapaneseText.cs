using System.Buffers;

namespace Fude.Training;

/// <summary>Sentences and content words of Japanese, by its characters alone.</summary>
internal static class JapaneseText
{
    private const string Opening = "「『（(【［〈《“", Closing = "」』）)】］〉》”";
    private const int LongestKanji = 4, LongestKatakana = 12;

    // What may follow a word of kanji: particles and marks. Other hiragana would be its ending.
    private static readonly SearchValues<char> Following = SearchValues.Create("がをはにのもへやとで、。，．！？!?「」『』（）()・…―　 \n");
    private static readonly SearchValues<char> FollowingOne = SearchValues.Create("がをはのもへや、。！？」』（");

    private static readonly SearchValues<char> Markup = SearchValues.Create("|*#<>{}[]=_`※→"), Numerals = SearchValues.Create("一二三四五六七八九十百千万〇第数同各両毎該");

    // Words that say little alone: pronouns, formal nouns, numbers and what is counted.
    private static readonly HashSet<string> Empty = [
        .. "私 僕 俺 君 彼 者 物 事 時 所 処 方 上 下 中 前 後 内 外 間 今 何 為 様 等 他 其 此 之 或 又 是 故 点 訳 筈 程 度 分 頃 際 旨 項 号 条 節 章 場合 必要 自分 以上 以下 以外 以後 以前 以来 結果 一部 現在 同時 当時 関係 規定 前項 同項 同条 次項 各号 全部 一般 一方 両方 多数 最初 最後 途中 部分 程度 意味 内容 方法 状態 対象 理由 目的 それぞれ 彼等 彼女 我々 吾々 皆 誰 之等 通常 今回 前回 同様 場所 名称 存在 実際 可能 同じ 気 為め 様子 心持 事実 問題 今日 昨日 明日 種類 系統 分野 要素 影響 活動 事業 地域 各地 人物 諸家 画像 作品 参照 次 最 余 例 説 名 実 大変 非常 本名".Split(' '),
    ];

    private static readonly string[] Leaning = [
        "これ", "それ", "その", "この", "あの", "そこ", "ここ", "また", "しか", "そし", "だが", "なお", "ただ", "同", "彼", "が、", "さら", "すると", "だから", "つま", "例えば", "たとえば", "こう", "そう", "ああ",
        "まず", "次に", "一方", "以上", "以下", "前", "右", "左の", "上記", "下記", "そんな", "こんな", "けれ", "でも", "と", "の", "を", "に", "は", "も", "で",
    ];

    /// <summary>The sentences of a text: what ends with 。, ！ or ？ outside of brackets. A line break ends one too.</summary>
    /// <param name="text">The text.</param>
    /// <param name="takesRest">Whether what a line ends with without such a mark is a sentence.</param>
    public static IEnumerable<string> Sentences(string text, bool takesRest)
    {
        int start = 0, depth = 0;
        for (int i = 0; i <= text.Length; i++)
        {
            char c = i < text.Length ? text[i] : '\n';
            if (c == '\n')
            {
                if (takesRest && text[start..i].Trim() is { Length: > 0 } rest) yield return rest;
                (start, depth) = (i + 1, 0);
            }
            else if (Opening.Contains(c)) depth++;
            else if (Closing.Contains(c)) depth = Math.Max(0, depth - 1);
            else if (depth == 0 && IsEnd(c) && !(i + 1 < text.Length && (IsEnd(text[i + 1]) || Closing.Contains(text[i + 1]))))
            {
                if (text[start..(i + 1)].Trim() is { Length: > 1 } sentence) yield return sentence;
                start = i + 1;
            }
        }
    }

    /// <summary>Whether a sentence can be understood by itself: it is Japanese, whole, and does not begin with what points back.</summary>
    public static bool StandsAlone(string sentence)
    {
        if (!IsJapanese(sentence) || Array.Exists(Leaning, word => sentence.StartsWith(word, StringComparison.Ordinal))) return false;
        if (sentence.Contains("http", StringComparison.Ordinal) || sentence.AsSpan().ContainsAny(Markup)) return false;
        int depth = 0;
        foreach (char c in sentence)
        {
            if (Opening.Contains(c)) depth++;
            else if (Closing.Contains(c) && --depth < 0) return false;
        }
        return depth == 0 && !Closing.Contains(sentence[0]) && !IsEnd(sentence[0]) && !"、，・ー（(".Contains(sentence[0]);
    }

    /// <summary>Whether at least six characters in ten are kana or kanji.</summary>
    public static bool IsJapanese(string text) => text.Count(c => IsKanji(c) || IsKatakana(c) || IsHiragana(c)) * 10 >= text.Length * 6;

    /// <summary>The content words of a sentence, each once, in its order: runs of kanji that no ending follows, and runs of katakana.</summary>
    public static List<string> Words(string sentence)
    {
        List<string> words = [];
        for (int i = 0; i < sentence.Length;)
        {
            int end = RunEnd(sentence, i);
            if (end > i && IsWord(sentence, i, end) && sentence[i..end] is { } word && !words.Contains(word)) words.Add(word);
            i = Math.Max(end, i + 1);
        }
        return words;
    }

    /// <summary>Runs of katakana of a sentence, in its order, each once.</summary>
    public static List<string> KatakanaWords(string sentence)
    {
        List<string> words = [];
        for (int i = 0; i < sentence.Length;)
        {
            int end = RunEnd(sentence, i);
            if (end > i + 1 && IsKatakana(sentence[i]) && sentence[i..end] is { } word && !words.Contains(word)) words.Add(word);
            i = Math.Max(end, i + 1);
        }
        return words;
    }

    /// <summary>Numbers of a sentence in ASCII digits, in its order, each once.</summary>
    public static List<string> Numbers(string sentence)
    {
        List<string> numbers = [];
        for (int i = 0; i < sentence.Length; i++)
        {
            int start = i;
            while (i < sentence.Length && (char.IsAsciiDigit(sentence[i])
                || (i > start && sentence[i] is ',' or '.' && i + 1 < sentence.Length && char.IsAsciiDigit(sentence[i + 1])))) i++;
            if (i > start && sentence[start..i] is { } number && !numbers.Contains(number)) numbers.Add(number);
        }
        return numbers;
    }

    /// <summary>What a text names together, as in "AやBなどのC" (Hearst, 1992): the kind and its members.</summary>
    public static IEnumerable<(string Kind, IReadOnlyList<string> Members)> Kinds(string sentence)
    {
        for (int i = 0; i < sentence.Length; i++)
        {
            int after = sentence.AsSpan(i).StartsWith("などの") ? 3 : sentence.AsSpan(i).StartsWith("といった") ? 4 : 0;
            if (after == 0) continue;
            int kindEnd = NameEnd(sentence, i + after);
            if (kindEnd - i - after is < 2 or > 8 || !IsWord(sentence, i + after, kindEnd)) continue;
            List<string> members = [];
            int first = i;
            for (int end = i; ;)
            {
                int start = end;
                while (start > 0 && (IsKanji(sentence[start - 1]) || IsKatakana(sentence[start - 1]))) start--;
                if (end - start is < 1 or > 12) break;
                members.Insert(0, sentence[start..end]);
                first = start;
                if (start == 0 || !"、・や".Contains(sentence[start - 1])) break;
                end = start - 1;
            }
            // Other hiragana than a particle before the first is its beginning, as in 飲み物.
            bool isWhole = first == 0 || !(char.IsLetterOrDigit(sentence[first - 1]) || char.IsSurrogate(sentence[first - 1])) || "のはがをにでともへや".Contains(sentence[first - 1]);
            if (isWhole && members.Count >= 2 && members.Distinct().Count() == members.Count) yield return (sentence[(i + after)..kindEnd], members);
        }
    }

    /// <summary>What a sentence defines, as in "X（よみ）は、…": X; null where it defines nothing.</summary>
    public static string? Defined(string sentence)
    {
        int end = NameEnd(sentence, 0);
        if (end is < 1 or > 16) return null;
        int after = end;
        if (after < sentence.Length && sentence[after] is '（' or '(')
        {
            after = sentence.IndexOfAny(['）', ')'], after) + 1;
            if (after == 0) return null;
        }
        ReadOnlySpan<char> rest = sentence.AsSpan(Math.Min(after, sentence.Length));
        return (end > 1 && rest.StartsWith("とは")) || (after > end && (rest.StartsWith("とは") || rest.StartsWith("は"))) ? sentence[..end] : null;
    }

    /// <summary>How a sentence may be begun for it: up to its first comma or particle, where that is short; null otherwise.</summary>
    public static string? Beginning(string sentence)
    {
        int comma = sentence.IndexOf('、', StringComparison.Ordinal);
        if (comma is >= 2 and <= 12) return sentence[..(comma + 1)];
        int end = NameEnd(sentence, 0);
        return end is >= 1 and <= 8 && end + 1 < sentence.Length && "がはをにの".Contains(sentence[end]) ? sentence[..(end + 1)] : null;
    }

    public static bool IsKanji(char c) => c is >= '\u4E00' and <= '\u9FFF' or '々';

    public static bool IsKatakana(char c) => c is (>= '\u30A1' and <= '\u30FA') or 'ー';

    public static bool IsHiragana(char c) => c is >= '\u3041' and <= '\u309F';

    private static bool IsEnd(char c) => c is '。' or '！' or '？' or '!' or '?';

    private static int NameEnd(string text, int start)
    {
        int end = start;
        while (end < text.Length && (IsKanji(text[end]) || IsKatakana(text[end]))) end++;
        return end;
    }

    private static int RunEnd(string text, int start)
    {
        int end = start;
        if (IsKanji(text[start])) while (end < text.Length && IsKanji(text[end])) end++;
        else if (IsKatakana(text[start])) while (end < text.Length && IsKatakana(text[end])) end++;
        return end;
    }

    private static bool IsWord(string text, int start, int end)
    {
        int length = end - start;
        bool isLast = end == text.Length;
        if (start > 0 && (char.IsAsciiDigit(text[start - 1]) || char.IsAsciiLetter(text[start - 1]) || char.IsSurrogate(text[start - 1]))) return false;
        if (!isLast && char.IsSurrogate(text[end])) return false;
        if (IsKatakana(text[start])) return length is >= 2 and <= LongestKatakana && text[start] != 'ー' && (isLast || !IsKanji(text[end])) && (start == 0 || !IsKanji(text[start - 1]));
        if (length > LongestKanji || (start > 0 && (IsKatakana(text[start - 1]) || text[start - 1] is 'お' or 'ご'))) return false;
        if (!isLast && !(length == 1 ? FollowingOne : Following).Contains(text[end])) return false;
        ReadOnlySpan<char> word = text.AsSpan(start, length);
        return !word.ContainsAny(Numerals) && !Empty.Contains(word.ToString());
    }
}
