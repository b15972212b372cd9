using System.Numerics;
using System.Runtime.InteropServices;

namespace Fude.Tokenizers.Training;

/// <summary>
/// How often each stretch of text occurs: a hash table over one array of characters, 2 bytes a character and some 30 a stretch. When it
/// would hold more characters than it may, the rarest stretches are thinned out.
/// </summary>
internal sealed class SegmentCounter(long heldCharacters)
{
    private struct Entry
    {
        internal int Start, Length;
        internal ulong Hash;
        internal long Count;
    }

    private char[] _text = new char[1 << 16];
    private Entry[] _entries = new Entry[1 << 12];
    private int[] _table = new int[1 << 14];          // 1 + entry, or 0
    private int _used;
    private int _thinnings;

    /// <summary>Different stretches held.</summary>
    internal int Count { get; private set; }

    /// <summary>How often stretches had to be thinned out to keep to the memory allowed; 0 means that all counts are exact.</summary>
    internal int Thinnings => _thinnings;

    internal ReadOnlySpan<char> Text(int entry) => _text.AsSpan(_entries[entry].Start, _entries[entry].Length);

    internal long Occurrences(int entry) => _entries[entry].Count;

    /// <summary>A hash that is the same in every run, on every machine.</summary>
    internal static ulong Hash(ReadOnlySpan<char> text)
    {
        ulong hash = (ulong)text.Length * 0x9E3779B97F4A7C15;
        while (text.Length >= 4)
        {
            ulong four = text[0] | (ulong)text[1] << 16 | (ulong)text[2] << 32 | (ulong)text[3] << 48;
            hash = BitOperations.RotateLeft((hash ^ four) * 0xD6E8FEB86659FD93, 29);
            text = text[4..];
        }
        foreach (char c in text) hash = BitOperations.RotateLeft((hash ^ c) * 0xD6E8FEB86659FD93, 29);
        hash ^= hash >> 32;
        hash *= 0xD6E8FEB86659FD93;
        return hash ^ (hash >> 32);
    }

    /// <summary>Counts <paramref name="count"/> more occurrences of a stretch.</summary>
    internal void Add(ReadOnlySpan<char> text, ulong hash, long count)
    {
        int mask = _table.Length - 1;
        int slot = (int)hash & mask;
        for (; _table[slot] != 0; slot = (slot + 1) & mask)
        {
            ref Entry entry = ref _entries[_table[slot] - 1];
            if (entry.Hash != hash || entry.Length != text.Length || !_text.AsSpan(entry.Start, entry.Length).SequenceEqual(text)) continue;
            entry.Count += count;
            return;
        }

        if (Count == _entries.Length) Array.Resize(ref _entries, Count * 2);
        if (_text.Length - _used < text.Length)
            Array.Resize(ref _text, (int)Math.Min(Array.MaxLength, Math.Max(_text.Length * 2L, (long)_used + text.Length)));
        text.CopyTo(_text.AsSpan(_used));
        _entries[Count] = new Entry { Start = _used, Length = text.Length, Hash = hash, Count = count };
        _used += text.Length;
        _table[slot] = ++Count;
        if (Count * 2 > _table.Length) Rehash(_table.Length * 2);
        if (_used > heldCharacters) Thin();
    }

    /// <summary>
    /// Of the rarest stretches that make up half of what is held, drops every second one, by a bit of its hash that no earlier thinning
    /// used, and doubles the counts of the others: sums over all text stay what they were, on average, and no order of reading or number of threads matters but
    /// that of the files.
    /// </summary>
    private void Thin()
    {
        // A bit for each thinning; when 32 are used up, those of a number made of them.
        bool IsDropped(ulong hash)
        {
            ulong bits = hash * 0x9E3779B97F4A7C15;
            for (int round = _thinnings / 32; round > 0; round--) bits = (bits ^ (bits >> 29)) * 0xBF58476D1CE4E5B9;
            return (bits >> (63 - (_thinnings % 32)) & 1) != 0;
        }

        Span<Entry> entries = _entries.AsSpan(0, Count);
        Dictionary<long, long> charactersByCount = [];
        foreach (ref Entry entry in entries)
            CollectionsMarshal.GetValueRefOrAddDefault(charactersByCount, entry.Count, out _) += entry.Length;
        long rare = 0, total = 0;
        foreach (long count in charactersByCount.Keys.Order())
        {
            rare = count;
            total += charactersByCount[count];
            if (total * 2 >= _used) break;
        }

        int kept = 0, used = 0;
        foreach (ref Entry entry in entries)
        {
            bool isRare = entry.Count <= rare;
            if (isRare && IsDropped(entry.Hash)) continue;
            Entry moved = entry;
            _text.AsSpan(entry.Start, entry.Length).CopyTo(_text.AsSpan(used));
            moved.Start = used;
            if (isRare) moved.Count *= 2;
            entries[kept++] = moved;
            used += moved.Length;
        }
        (Count, _used) = (kept, used);
        _thinnings++;
        Rehash(_table.Length);
    }

    private void Rehash(int size)
    {
        if (size == _table.Length) Array.Clear(_table);
        else _table = new int[size];
        int mask = size - 1;
        for (int i = 0; i < Count; i++)
        {
            int slot = (int)_entries[i].Hash & mask;
            while (_table[slot] != 0) slot = (slot + 1) & mask;
            _table[slot] = i + 1;
        }
    }
}
