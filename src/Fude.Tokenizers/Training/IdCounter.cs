namespace Fude.Tokenizers.Training;

/// <summary>Counts stretches of character numbers, straight into the layout of <see cref="TrainingCorpus"/>.</summary>
internal sealed class IdCounter(int expectedCharacters)
{
    private int[] _text = new int[Math.Max(256, expectedCharacters)];
    private int[] _starts = new int[1024];
    private uint[] _hashes = new uint[1024];
    private long[] _weights = new long[1024];
    private int[] _table = new int[4096];       // 1 + entry, or 0
    private int _count, _used;

    internal void Add(ReadOnlySpan<int> segment, long weight)
    {
        ulong mixed = (ulong)segment.Length;
        foreach (int c in segment) mixed = (mixed ^ (uint)c) * 0x9E3779B97F4A7C15 ^ mixed >> 29;
        uint hash = (uint)(mixed >> 32);
        int mask = _table.Length - 1;
        int slot = (int)hash & mask;
        for (; _table[slot] != 0; slot = (slot + 1) & mask)
        {
            int entry = _table[slot] - 1;
            if (_hashes[entry] != hash) continue;
            int start = _starts[entry];
            if (_starts[entry + 1] - start - 1 != segment.Length || !_text.AsSpan(start, segment.Length).SequenceEqual(segment)) continue;
            _weights[entry] += weight;
            return;
        }
        if (_count + 1 >= _starts.Length)
        {
            Array.Resize(ref _starts, _starts.Length * 2);
            Array.Resize(ref _hashes, _hashes.Length * 2);
            Array.Resize(ref _weights, _weights.Length * 2);
        }
        while (_text.Length - _used < segment.Length + 1) Array.Resize(ref _text, (int)Math.Min(Array.MaxLength, _text.Length * 2L));
        segment.CopyTo(_text.AsSpan(_used));
        (_starts[_count], _hashes[_count], _weights[_count]) = (_used, hash, weight);
        _used += segment.Length;
        _text[_used++] = 0;
        _table[slot] = ++_count;
        _starts[_count] = _used;
        if (_count * 2 <= _table.Length) return;

        _table = new int[_table.Length * 2];
        mask = _table.Length - 1;
        for (int i = 0; i < _count; i++)
        {
            slot = (int)_hashes[i] & mask;
            while (_table[slot] != 0) slot = (slot + 1) & mask;
            _table[slot] = i + 1;
        }
    }

    internal (int[] Text, int[] Starts, long[] Weights) ToArrays() => (_text[.._used], _starts[..(_count + 1)], _weights[.._count]);
}
