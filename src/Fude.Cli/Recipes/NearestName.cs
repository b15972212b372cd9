using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>What a person may have meant by a name that there is none of.</summary>
internal static class NearestName
{
    private const int ShortestBeginning = 3;

    /// <summary>" Did you mean …?", or nothing where no name is near.</summary>
    public static string Hint(string given, IEnumerable<string> known)
    {
        string[] names = [.. known];
        (string Name, int Distance) best = names.Select(name => (name, Distance(given, name))).OrderBy(pair => pair.Item2).FirstOrDefault();
        string? meant = best.Name is not null && best.Distance <= Math.Max(1, Math.Min(Letters(given), Letters(best.Name)) / 2)
            ? best.Name
            : Array.Find(names, name => given.Length >= ShortestBeginning && name.StartsWith(given, StringComparison.Ordinal));      // a name cut short
        return meant is null ? "" : Say($" Did you mean '{meant}'?", $"'{meant}' のことですか。");
    }

    // The dashes of options are alike in all of them, and bring none nearer.
    private static int Letters(string name) => name.TrimStart('-').Length;

    /// <summary>Letters to change, add, drop or swap with the next until one name is the other (Damerau; _ and - count as the same letter).</summary>
    internal static int Distance(string a, string b)
    {
        (a, b) = (a.Replace('_', '-'), b.Replace('_', '-'));
        if (a.Length > 100 || b.Length > 100) return int.MaxValue;      // no name is as long
        int[,] cost = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++) cost[i, 0] = i;
        for (int j = 0; j <= b.Length; j++) cost[0, j] = j;
        for (int i = 1; i <= a.Length; i++)
        {
            for (int j = 1; j <= b.Length; j++)
            {
                int same = a[i - 1] == b[j - 1] ? 0 : 1;
                cost[i, j] = Math.Min(Math.Min(cost[i - 1, j], cost[i, j - 1]) + 1, cost[i - 1, j - 1] + same);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) cost[i, j] = Math.Min(cost[i, j], cost[i - 2, j - 2] + 1);
            }
        }
        return cost[a.Length, b.Length];
    }
}
