using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Text;

/// <summary>What to do about a text that is not UTF-8, the same wherever texts are read.</summary>
/// <remarks>CP932 is Shift_JIS as Windows writes it: iconv's SHIFT_JIS has no ①, ㈱ or 髙.</remarks>
internal static class NotUtf8
{
    /// <summary>A sentence: how it is converted.</summary>
    /// <param name="from">Its encoding, as iconv calls it: the likeliest of Japanese texts where nothing tells.</param>
    public static string Remedy(string from = "CP932") => Say(
        $"Convert the text first, e.g. `iconv -f {from} -t UTF-8`.", $"`iconv -f {from} -t UTF-8` などで変換してください。");
}
