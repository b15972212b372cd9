using System.Globalization;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Pieces;

/// <summary>Ids ↔ pieces. Ids may have holes; several ids may have the same text (then the first is found by it).</summary>
internal sealed class Vocabulary
{
    /// <summary>The pair table of BPE has 21 bits for an id; no published vocabulary has more than 2^19 entries.</summary>
    internal const int MaxSize = 1 << 21;

    private readonly List<Entry> _entries = [];
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private int[]? _byteIds;

    /// <summary>One more than the highest id.</summary>
    internal int Size => _entries.Count;

    internal int UnknownId { get; set; } = -1;

    internal int BeginId { get; set; } = -1;

    internal int EndId { get; set; } = -1;

    internal int PaddingId { get; set; } = -1;

    /// <summary>Ids of the pieces &lt;0x00&gt; to &lt;0xFF&gt;, -1 where there is none.</summary>
    internal ReadOnlySpan<int> ByteIds => _byteIds ??= FindByteIds();

    internal bool Contains(int id) => (uint)id < (uint)_entries.Count && _entries[id].Text is not null;

    /// <summary>The piece, or null for an id without one.</summary>
    internal string? TextOf(int id) => (uint)id < (uint)_entries.Count ? _entries[id].Text : null;

    internal float ScoreOf(int id) => _entries[id].Score;

    internal PieceKind KindOf(int id) => _entries[id].Kind;

    /// <summary>Left out by skip_special_tokens.</summary>
    internal bool IsSpecial(int id) => (uint)id < (uint)_entries.Count && _entries[id].IsSpecial;

    /// <summary>The id of a piece, or -1.</summary>
    internal int IdOf(string text) => _ids.TryGetValue(text, out int id) ? id : -1;

    /// <summary>The id of a piece, or -1.</summary>
    internal int IdOf(ReadOnlySpan<char> text) => _ids.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(text, out int id) ? id : -1;

    /// <summary>The id of a piece that the model itself has, or -1.</summary>
    internal int ModelIdOf(ReadOnlySpan<char> text)
    {
        int id = IdOf(text);
        return id >= 0 && !_entries[id].IsAdded ? id : -1;
    }

    /// <summary>
    /// Adds an entry: the model's own, or one added to it. The id must be free; <paramref name="source"/> names the file for the error.
    /// </summary>
    internal void Add(int id, string text, float score, PieceKind kind, string source, bool isAdded = false)
    {
        CheckId(id, text, source);
        while (_entries.Count <= id) _entries.Add(default);
        if (_entries[id].Text is string taken)
            throw new InvalidDataException(Say(
                string.Create(CultureInfo.InvariantCulture, $"{source}: id {id} is given to both \"{taken}\" and \"{text}\"; every token needs its own."),
                string.Create(CultureInfo.InvariantCulture, $"{source}: ID {id} が \"{taken}\" と \"{text}\" の両方に割り当てられています。トークンごとに別の ID が必要です。")));
        _entries[id] = new(text, score, kind, kind is PieceKind.Control or PieceKind.Unknown, isAdded);
        _ids.TryAdd(text, id);
        _byteIds = null;
    }

    internal static void CheckId(int id, string text, string source)
    {
        if (id is < 0 or >= MaxSize)
            throw new InvalidDataException(Say(
                string.Create(CultureInfo.InvariantCulture, $"{source}: token \"{text}\" has id {id}; fude expects ids from 0 to {MaxSize - 1}."),
                string.Create(CultureInfo.InvariantCulture, $"{source}: トークン \"{text}\" の ID が {id} です。fude が読める ID は 0 から {MaxSize - 1} までです。")));
    }

    internal void Mark(int id, PieceKind kind, bool isSpecial) => _entries[id] = _entries[id] with { Kind = kind, IsSpecial = isSpecial };

    internal void SetScore(int id, float score) => _entries[id] = _entries[id] with { Score = score };

    /// <summary>The value of a byte piece's text, or -1.</summary>
    internal static int ByteOf(ReadOnlySpan<char> text) =>
        text.Length == 6 && text.StartsWith("<0x", StringComparison.Ordinal) && text[5] == '>'
        && char.IsAsciiHexDigit(text[3]) && char.IsAsciiHexDigit(text[4])
            ? int.Parse(text[3..5], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
            : -1;

    private int[] FindByteIds()
    {
        int[] ids = new int[256];
        for (int b = 0; b < ids.Length; b++) ids[b] = IdOf(string.Create(CultureInfo.InvariantCulture, $"<0x{b:X2}>"));
        return ids;
    }

    private readonly record struct Entry(string? Text, float Score, PieceKind Kind, bool IsSpecial, bool IsAdded);
}
