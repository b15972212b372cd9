using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Fude.Models;
using Fude.Tokenizers;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>Something in a prompt that a model was probably not trained with. The prompt is as it is all the same.</summary>
/// <param name="Kind">Which it is, for programs.</param>
/// <param name="Message">What it is and what to do, for people.</param>
internal sealed record PromptWarning(string Kind, string Message);

/// <summary>Finds what commonly goes wrong between a text and a model's first token.</summary>
internal static partial class PromptWarnings
{
    // Every string by which the known formats tell the parts of a prompt apart, taken from prompts that they write.
    private static readonly HashSet<string> Markers = [.. PromptFormat.All.SelectMany(format =>
        MarkerShape().Matches(format.Write("", input: "…", history: format.HasTurns ? [new Exchange("", "")] : null).Text)).Select(match => match.Value)];

    private static readonly Encoding ShiftJis =
        CodePagesEncodingProvider.Instance.GetEncoding(932, new EncoderReplacementFallback("?"), DecoderFallback.ReplacementFallback)!;

    /// <summary>Everything that is remarkable about a text and the tokens it became.</summary>
    public static IReadOnlyList<PromptWarning> Of(Tokenizer tokenizer, string text, TokenizerExplanation explanation) =>
    [
        .. DoubleBegin(tokenizer, explanation.Tokens), .. EndBeforeAnswer(tokenizer, explanation.Tokens),
        .. UnparsedSpecial(tokenizer, text, explanation.Tokens), .. Mojibake(text), .. LookAlikes(text),
    ];

    private static IEnumerable<PromptWarning> DoubleBegin(Tokenizer tokenizer, IReadOnlyList<ExplainedToken> tokens)
    {
        if (tokens.Count < 2 || tokens[0].Piece.Id != tokenizer.BeginId || tokens[1].Piece.Id != tokenizer.BeginId) yield break;
        string piece = tokens[0].Piece.Text;
        yield return new("double_bos", Say(
            $"The prompt begins with {piece} twice: the text has one, and the tokenizer adds another. Japanese StableLM Instruct Beta was " +
            "trained so; for other models pass --no-special, or take it out of the text.",
            $"プロンプトの先頭に {piece} が 2 つあります（文中の 1 つと、トークナイザーが付けた 1 つ）。Japanese StableLM Instruct Beta はこの形で" +
            "学習されていますが、ほかのモデルでは --no-special を付けるか、文中の方を消してください。"));
    }

    private static IEnumerable<PromptWarning> EndBeforeAnswer(Tokenizer tokenizer, IReadOnlyList<ExplainedToken> tokens)
    {
        if (tokens.Count == 0) yield break;
        ExplainedToken last = tokens[^1];
        bool isEnd = last.Piece.Id == tokenizer.EndId || (last.IsSpecial && EndShape().IsMatch(last.Piece.Text));
        bool isBegin = tokens.Count == 1 && last.Piece.Id == tokenizer.BeginId;      // GPT-2 begins and ends with the same token
        if (!isEnd || isBegin) yield break;
        string piece = last.Piece.Text;
        yield return new("end_before_answer", last.Start == last.End
            ? Say($"The tokenizer appends {piece}: the model would begin a new document instead of an answer. Pass --no-special.",
                $"トークナイザーが末尾に {piece} を付けています。モデルは答えの代わりに新しい文書を始めてしまいます。--no-special を付けてください。")
            : Say($"The text ends with {piece}: the model would begin a new document instead of an answer. Take it out of the text.",
                $"テキストが {piece} で終わっています。モデルは答えの代わりに新しい文書を始めてしまいます。テキストから消してください。"));
    }

    private static IEnumerable<PromptWarning> UnparsedSpecial(Tokenizer tokenizer, string text, IReadOnlyList<ExplainedToken> tokens)
    {
        HashSet<string> parsed = [.. tokens.Where(token => token.Start < token.End).Select(token => token.Piece.Text)];
        foreach (string name in SpecialShape().Matches(text).Select(match => match.Value).Distinct())
        {
            if (parsed.Contains(name)) continue;
            if (tokenizer.IdOf(name) is { } id && (tokenizer.IsSpecial(id) || id == tokenizer.UnknownId))
                yield return new("unparsed_special", Say(
                    string.Create(CultureInfo.InvariantCulture, $"{name} stands in the text, but is cut into pieces and not read as token {id}. ") +
                    "A .model file alone recognises no special tokens; load the model's folder.",
                    string.Create(CultureInfo.InvariantCulture, $"文中の {name} はトークン {id} と認識されず、断片に分かれています。") +
                    ".model ファイルだけでは特殊トークンを認識しません。モデルのフォルダーを指定してください。"));
            else if (name[0] == '<' && (Markers.Contains(name) || name.StartsWith("<|", StringComparison.Ordinal)))
                yield return new("unparsed_special", Say(
                    $"{name} looks like a special token, but this tokenizer reads it as plain text: the prompt is meant for another model, or " +
                    "a .model file was given in place of the model's folder.",
                    $"{name} は特殊トークンのようですが、このトークナイザーはただの文字列として読みます。" +
                    "プロンプトが別のモデル用であるか、モデルのフォルダーの代わりに .model ファイルが指定されています。"));
        }
    }

    private static IEnumerable<PromptWarning> Mojibake(string text)
    {
        int replaced = text.Count(character => character == '\uFFFD');
        if (replaced > 0)
            yield return new("mojibake", Say(
                string.Create(CultureInfo.InvariantCulture, $"The text has {replaced} replacement characters (U+FFFD): something before fude failed to decode it."),
                string.Create(CultureInfo.InvariantCulture, $"テキストに置換文字（U+FFFD）が {replaced} 個あります。fude に渡る前に文字コードの変換に失敗しています。")));
        string? encoding =
            Utf8AsLatin().IsMatch(text) ? "UTF-8 → Latin-1/Windows-1252" :
            IsUtf8AsShiftJis(text) ? "UTF-8 → Shift_JIS" :
            EucAsShiftJis().IsMatch(text) ? "EUC-JP → Shift_JIS" : null;
        if (encoding is not null)
            yield return new("mojibake", Say(
                $"The text looks garbled, as when one encoding is read as another ({encoding}). Convert its source again, reading it as what it is.",
                $"テキストが文字化けしているようです（{encoding}）。元のファイルを正しい文字コードで読み直してください。"));
    }

    /// <summary>Whether the Shift_JIS bytes of a stretch of the text are UTF-8 of Japanese, which those of Japanese are not.</summary>
    private static bool IsUtf8AsShiftJis(string text)
    {
        if (Utf8AsShiftJisLeads().Count(text) >= 2 && Utf8AsShiftJis().IsMatch(text)) return true;     // also where characters were lost
        int kana = 0, run = 0;
        foreach (Rune rune in Encoding.UTF8.GetString(ShiftJis.GetBytes(text)).EnumerateRunes())
        {
            bool isKana = rune.Value is >= 0x3001 and <= 0x30FF;
            run = isKana || rune.Value is >= 0x4E00 and <= 0x9FFF ? run + 1 : 0;
            kana = run == 0 ? 0 : isKana ? kana + 1 : kana;
            if (kana >= 2 || run >= 4) return true;
        }
        return false;
    }

    private static IEnumerable<PromptWarning> LookAlikes(string text)
    {
        string narrow = Narrow(text);
        HashSet<string> seen = [];
        foreach (string marker in Markers)
        {
            string wanted = Narrow(marker);
            for (int at = narrow.IndexOf(wanted, StringComparison.Ordinal); at >= 0;
                 at = narrow.IndexOf(wanted, at + wanted.Length, StringComparison.Ordinal))
            {
                string found = text.Substring(at, wanted.Length);
                if (Markers.Contains(found) || !seen.Add(found)) continue;
                yield return new("lookalike", Say(
                    $"'{found}' only looks like '{marker}', which models are trained with: full-width and half-width characters are different tokens.",
                    $"「{found}」は、モデルが学習した「{marker}」と見た目が似ているだけです。全角と半角は別のトークンになります。"));
            }
        }
    }

    /// <summary>The text with characters of another width as ASCII has them; each stays in its place.</summary>
    private static string Narrow(string text) => string.Create(text.Length, text, static (narrow, source) =>
    {
        for (int i = 0; i < narrow.Length; i++)
            narrow[i] = source[i] switch
            {
                >= '\uFF01' and <= '\uFF5E' => (char)(source[i] - '\uFF01' + '!'),
                '\u3000' or '\u00A0' => ' ',
                '\uFE55' => ':',
                '\uFE5F' => '#',
                '\uFE64' => '<',
                '\uFE65' => '>',
                _ => source[i],
            };
    });

    // The parts of a prompt format that no question contains.
    [GeneratedRegex(@"### \w+[:：]|\[/?INST\]|<</?SYS>>|</?s>|<EOD\|LLM-jp>")]
    private static partial Regex MarkerShape();

    [GeneratedRegex(@"EOD|eos|</s>|endoftext|im_end", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex EndShape();

    [GeneratedRegex(@"<[^<>\s\p{Cc}]{1,48}>|\[/?[A-Z_]{2,24}\]")]
    private static partial Regex SpecialShape();

    // What the bytes E3 to E9 (Japanese) and 80 to BF (the rest of a character) become. One such group may be French ("é »"); two that
    // touch, or one with a control character, are not. Windows-1252 loses bytes such as 81: あい is then "ã‚ã„". Last, text garbled
    // twice, and the quotation marks and dashes of English.
    [GeneratedRegex(
        "(?:[ã-é][\u0080-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]{2}|ã[\u0080-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]){2}" +
        "|[ã-é][\u0080-\u009F][\u0080-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|[ã-é][\u0080-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ][\u0080-\u009F]" +
        "|(?:[ÂÃ][\u0080-¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]){3}|â€[™œ“”˜¦\u009D]")]
    private static partial Regex Utf8AsLatin();

    // The first two bytes of kana and 、。 read as Shift_JIS; the word 繧繝 is none of it.
    [GeneratedRegex("[縲縺]|繧(?!繝)|(?<!繧)繝")]
    private static partial Regex Utf8AsShiftJisLeads();

    // 縺れる is a word, but no word has them before ゅ, ・ (a lost character) or half-width katakana.
    [GeneratedRegex("(?:[縲縺]|繧(?!繝)|(?<!繧)繝)[ゅ・｡-ﾟ]")]
    private static partial Regex Utf8AsShiftJis();

    // The bytes A4 (hiragana) and A5 (katakana) before every character.
    [GeneratedRegex("(?:､[｡-ﾟ]){3}|(?:[､･][｡-ﾟ]){4}")]
    private static partial Regex EucAsShiftJis();
}
