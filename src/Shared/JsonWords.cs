using System.Text.RegularExpressions;

namespace Fude.Shared;

/// <summary>What .NET's JSON reader says, in Japanese.</summary>
/// <remarks>Compiled into Fude.Tensors and Fude.Tokenizers, neither of which knows the other.</remarks>
internal static class JsonWords
{
    // The beginnings of its sentences; what is quoted in them is the character that was read.
    private static readonly (Regex English, string Japanese)[] Sentences =
    [
        Of("^Expected depth to be zero", "オブジェクトか配列が閉じていません"),
        Of("^'(?<c>.+)' is an invalid start of a value", "値があるべき所に '${c}' があります"),
        Of("^'(?<c>.+)' is an invalid start of a property name", "名前（\" で始まる）があるべき所に '${c}' があります"),
        Of("^'(?<c>.+)' is invalid after a value", "値の後に '${c}' があります（, か閉じ括弧が必要）"),
        Of("^'(?<c>.+)' is invalid after a property name", "名前の後に '${c}' があります（: が必要）"),
        Of("^'(?<c>.+)' is invalid after a single JSON value", "JSON の値の後に余分な '${c}' があります"),
        Of("^'(?<c>.+)' is an invalid JSON literal", "'${c}' は true、false、null のどれでもありません"),
        Of("^'(?<c>.+)' is invalid within a JSON string", "文字列の中に、エスケープされていない '${c}' があります"),
        Of("^'(?<c>.+)' is an invalid escapable character", "文字列の中の \\ の後に '${c}' があります"),
        Of("^'(?<c>.+)' is not a hex digit", "\\u の後の '${c}' が 16 進数字ではありません"),
        Of("^'(?<c>.+)' is an invalid end of a number", "数の終わりに '${c}' があります"),
        Of("^'(?<c>.+)' is invalid within a number", "数の中に '${c}' があります"),
        Of("^Invalid leading zero", "数の先頭に余分な 0 があります"),
        Of("^Expected a digit", "数の途中で終わっています"),
        Of("^Expected end of string", "文字列が閉じていません"),
        Of("^The JSON (object|array) contains a trailing comma", "最後の要素の後に余分な , があります"),
        Of("^Expected a value", "値がありません"),
        Of("^Expected start of a property name", "名前か値がありません"),
        Of("^'(?<c>.+)' is invalid without a matching open", "対応する開き括弧のない '${c}' があります"),
        Of("^Cannot read in(complete|valid) UTF-16", "サロゲートの片方しかない文字があります"),
        Of("^The input does not contain any JSON tokens", "空です"),
        Of("^The maximum configured depth of (?<c>[0-9]+)", "入れ子が ${c} 段を超えています"),
        Of("^Cannot transcode invalid UTF-8", "UTF-8 ではありません"),
    ];

    /// <summary>The sentence in Japanese, or as it is where it is none that is known.</summary>
    internal static string Japanese(string sentence)
    {
        foreach ((Regex english, string japanese) in Sentences)
            if (english.Match(sentence) is { Success: true } match) return match.Result(japanese);
        return sentence;
    }

    private static (Regex, string) Of(string english, string japanese) => (new Regex(english, RegexOptions.CultureInvariant | RegexOptions.Singleline), japanese);
}
