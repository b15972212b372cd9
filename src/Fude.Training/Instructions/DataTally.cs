using System.Globalization;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>What became of the records of training data: none is left out without a word here.</summary>
/// <param name="skipBad">Records that may be broken, empty or of no use before one of them is an error.</param>
public sealed class DataTally(long skipBad = 0)
{
    private const int PlacesNamed = 3;

    private readonly Dictionary<string, Entry> _bad = new(StringComparer.Ordinal), _notes = new(StringComparer.Ordinal);

    /// <summary>Whether a bad record may be left out at all.</summary>
    internal bool MaySkip => skipBad > 0;

    /// <summary>Records left out because they are broken, empty or of no use.</summary>
    public long Bad { get; private set; }

    /// <summary>Each reason for leaving records out, with how many there were and where the first ones are, in the order of their first places.</summary>
    public IReadOnlyList<(string Reason, long Count, string Places)> BadByReason => List(_bad);

    /// <summary>What else was not taken as it stands: cut, divided, left out on request.</summary>
    public IReadOnlyList<(string Reason, long Count, string Places)> Notes => List(_notes);

    /// <summary>Counts a record that is left out.</summary>
    /// <param name="file">Its file.</param>
    /// <param name="line">Its line.</param>
    /// <param name="reason">What is wrong with it: what it counts under.</param>
    /// <param name="detail">Where in it and what exactly, for the error; or null.</param>
    /// <param name="remedy">What to do about the whole file, in a sentence; or null where the record alone is to be corrected.</param>
    /// <exception cref="InvalidDataException">It is one too many.</exception>
    public void AddBad(string file, long line, string reason, string? detail = null, string? remedy = null)
    {
        if (++Bad > skipBad)
        {
            string place = string.Create(CultureInfo.InvariantCulture, $"{file}:{line}"), what = detail is null ? reason : Say($"{reason} ({detail})", $"{reason}（{detail}）");
            if (remedy is not null) what = Say($"{what}. {remedy.TrimEnd('.')}", $"{what}。{remedy.TrimEnd('。')}");
            throw new InvalidDataException(skipBad == 0 && remedy is not null
                ? Say($"{place}: {what}. Where a few records alone are bad, they can be left out (--skip-bad N).", $"{place}: {what}。壊れたレコードがわずかなら、--skip-bad N で除くこともできます。")
                : skipBad == 0
                ? Say($"{place}: {what}. Correct it, or allow a number of bad records to be left out (--skip-bad N).", $"{place}: {what}。直すか、除いてよい件数を --skip-bad N で指定してください。")
                : Say(
                    $"{place}: {what}. This is bad record {Bad}; {skipBad} may be left out at most (--skip-bad).",
                    $"{place}: {what}。不良レコードはこれで {Bad} 件目です。除いてよいのは {skipBad} 件までです（--skip-bad）。"));
        }
        Add(_bad, file, line, reason);
    }

    /// <summary>Counts a record of which something else is to be said.</summary>
    public void AddNote(string file, long line, string reason) => Add(_notes, file, line, reason);

    private static void Add(Dictionary<string, Entry> entries, string file, long line, string reason)
    {
        if (!entries.TryGetValue(reason, out Entry? entry)) entries.Add(reason, entry = new Entry());
        if (++entry.Count <= PlacesNamed) entry.Places.Add(string.Create(CultureInfo.InvariantCulture, $"{file}:{line}"));
    }

    private static List<(string, long, string)> List(Dictionary<string, Entry> entries) => [.. entries.Select(pair => (pair.Key, pair.Value.Count,
        string.Join(", ", pair.Value.Places) + (pair.Value.Count > pair.Value.Places.Count ? ", …" : "")))];

    private sealed class Entry
    {
        public long Count { get; set; }

        public List<string> Places { get; } = [];
    }
}
