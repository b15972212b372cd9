using System.Globalization;

namespace Fude.Training;

/// <summary>Lists in answers: lines that begin with a mark or a number.</summary>
internal static class MinedList
{
    private const int LongestItem = 40;

    /// <summary>What a line lists; null where it is no item.</summary>
    public static string? ItemOf(string line)
    {
        ReadOnlySpan<char> rest = line.AsSpan().Trim();
        if (rest.IsEmpty) return null;
        if (rest[0] == '・') return rest[1..].Trim().ToString();
        if (rest[0] is '-' or '*' && rest.Length > 1 && rest[1] == ' ') return rest[2..].Trim().ToString();
        int digits = 0;
        while (digits < rest.Length && char.IsAsciiDigit(rest[digits])) digits++;
        return digits is 1 or 2 && digits < rest.Length && rest[digits] is '.' or '．' or '、' or ')' ? rest[(digits + 1)..].Trim().ToString() : null;
    }

    /// <summary>The items of an answer that is a list, the lines around them left out; of a longer one what stands before its first 。 or colon. Empty
    /// where it is no plain list.</summary>
    public static IReadOnlyList<string> ItemsOf(string answer)
    {
        List<string> items = [];
        HashSet<string> seen = [];
        foreach (string line in answer.Split('\n'))
        {
            if (ItemOf(line) is not { } item) continue;
            int end = item.Length > LongestItem ? item.AsSpan().IndexOfAny("。：:") : item.EndsWith('。') ? item.Length - 1 : item.Length;
            if (end is <= 0 or > LongestItem) return [];
            item = item[..end].TrimEnd();
            if (!seen.Add(item)) return [];
            items.Add(item);
        }
        return items;
    }

    /// <summary>Items as lines.</summary>
    public static string Write(IEnumerable<string> items) => string.Join('\n', items.Select(item => string.Create(CultureInfo.InvariantCulture, $"- {item}")));
}
