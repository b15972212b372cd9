using System.Runtime.CompilerServices;

namespace Fude.Tokenizers.Text;

/// <summary>Receives tokens in order: ids, and the range of the original text of each when offsets are wanted.</summary>
internal sealed class TokenSink
{
    private int[] _ids = new int[256];
    private int[] _starts = [];
    private int[] _ends = [];

    internal int Count { get; private set; }

    /// <summary>Whether offsets are wanted.</summary>
    internal bool Tracked { get; private set; }

    internal ReadOnlySpan<int> Ids => _ids.AsSpan(0, Count);

    internal Span<int> Starts => _starts.AsSpan(0, Count);

    internal Span<int> Ends => _ends.AsSpan(0, Count);

    internal long CapacityBytes => ((long)_ids.Length + _starts.Length + _ends.Length) * sizeof(int);

    internal void Clear(bool tracked)
    {
        Count = 0;
        Tracked = tracked;
        if (tracked && _starts.Length < _ids.Length) GrowOffsets();
    }

    /// <summary>A token that stands for [start, end) of <paramref name="text"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Add(int id, TextBuffer text, int start, int end)
    {
        if (Count == _ids.Length) Grow();
        if (Tracked) (_starts[Count], _ends[Count]) = text.SourceOf(start, end);
        _ids[Count++] = id;
    }

    /// <summary>A token that stands for [start, end) of the original text.</summary>
    internal void AddOriginal(int id, int start, int end)
    {
        if (Count == _ids.Length) Grow();
        if (Tracked) (_starts[Count], _ends[Count]) = (start, end);
        _ids[Count++] = id;
    }

    /// <summary>The last token stands for more text: up to <paramref name="end"/> of <paramref name="text"/>.</summary>
    internal void ExtendLast(TextBuffer text, int start, int end)
    {
        if (Tracked) _ends[Count - 1] = text.SourceOf(start, end).End;
    }

    /// <summary>Takes tokens out: those from <paramref name="from"/> up to <paramref name="to"/>.</summary>
    internal void Remove(int from, int to)
    {
        _ids.AsSpan(to, Count - to).CopyTo(_ids.AsSpan(from));
        if (Tracked)
        {
            _starts.AsSpan(to, Count - to).CopyTo(_starts.AsSpan(from));
            _ends.AsSpan(to, Count - to).CopyTo(_ends.AsSpan(from));
        }
        Count -= to - from;
    }

    private void Grow()
    {
        Array.Resize(ref _ids, _ids.Length * 2);
        if (Tracked) GrowOffsets();
    }

    private void GrowOffsets()
    {
        Array.Resize(ref _starts, _ids.Length);
        Array.Resize(ref _ends, _ids.Length);
    }
}
