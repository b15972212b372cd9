using System.Runtime.InteropServices;

namespace Fude.Tensors;

/// <summary>Keys and values in pages of <see cref="AttentionKernel.Block"/> positions, all layers of a position in one page.</summary>
/// <remarks>
/// A page is [layer][key, value][head][position][size]: what one head reads in one layer lies together. Pages count their owners; one
/// that has several is copied before it is written, so forking costs nothing until the texts part.
/// </remarks>
internal sealed unsafe class CpuKvCache : KvCache
{
    private const int PositionsInPage = AttentionKernel.Block;

    // Before the numbers: the count of owners.
    private const int HeaderBytes = 64;

    private readonly int _layers;
    private readonly int _width;
    private readonly int _capacity;
    private nint* _pages;
    private int _pageCount;
    private int _pageRoom;
    private int _headSize;
    private int _appended;
    private bool _disposed;

    public CpuKvCache(int layers, int width, int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        (_layers, _width, _capacity) = (layers, width, capacity);
    }

    ~CpuKvCache() => Dispose(disposing: false);

    public override int Capacity => _capacity;

    /// <summary>The attention call that last wrote here: one text may stand in a batch only once.</summary>
    internal long LastCall { get; set; }

    /// <summary>Native memory held by the pages, shared ones included.</summary>
    internal long Bytes => _pageCount * PageBytes;

    private long PageBytes => checked(HeaderBytes + LayerFloats * _layers * sizeof(float));

    private long LayerFloats => 2L * PositionsInPage * _width;

    public override void Advance(int count)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (Length + count > _appended)
            throw new InvalidOperationException(
                $"The cache holds keys for {_appended} positions and cannot advance from {Length} by {count}: run attention first.");
        Length += count;
    }

    public override void Truncate(int length)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        Length = _appended = length;
        int kept = (length + PositionsInPage - 1) / PositionsInPage;
        while (_pageCount > kept) Release(_pages[--_pageCount]);
    }

    public override KvCache Fork()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        CpuKvCache fork = new(_layers, _width, _capacity) { _headSize = _headSize, _appended = Length, Length = Length };
        int shared = (Length + PositionsInPage - 1) / PositionsInPage;
        fork.MakeRoom(shared);
        for (int i = 0; i < shared; i++)
        {
            Interlocked.Increment(ref *(int*)_pages[i]);
            fork._pages[i] = _pages[i];
        }
        fork._pageCount = shared;
        return fork;
    }

    /// <summary>Makes sure that the next positions have pages of their own.</summary>
    /// <param name="count">Positions about to be appended.</param>
    /// <param name="heads">How a key divides.</param>
    /// <param name="layer">The layer that asks.</param>
    internal void Prepare(int count, Heads heads, int layer)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (heads.KeyValue * heads.Size != _width || (uint)layer >= (uint)_layers)
            throw new ArgumentException(
                $"The cache was made for {_layers} layers with keys of {_width} numbers; "
                + $"asked for is layer {layer} with {heads.KeyValue} heads of {heads.Size}.");
        if (Length + count > _capacity || Length + count < 0)
            throw new InvalidOperationException(
                $"The cache holds {Length} of at most {_capacity} positions, and {count} more do not fit: "
                + "make it larger, or shorten the text.");
        if (_headSize == 0) _headSize = heads.Size;
        if (_headSize != heads.Size)
            throw new ArgumentException($"The cache holds heads of {_headSize} numbers; asked for are heads of {heads.Size}.");

        // A page that is shared and not yet full is this text's own from here on.
        int last = (Length + count - 1) / PositionsInPage;
        for (int page = Length / PositionsInPage; page < _pageCount && page <= last; page++)
            if (Volatile.Read(ref *(int*)_pages[page]) > 1) Separate(page);
        MakeRoom(last + 1);
        while (_pageCount <= last)
        {
            nint page = NewPage();      // before it counts: when there is no memory, what is there stays sound
            _pages[_pageCount++] = page;
        }
        _appended = Math.Max(_appended, Length + count);
    }

    /// <summary>Keys of one head in one page, [position][size].</summary>
    internal float* Keys(int page, int layer, int head) =>
        (float*)(_pages[page] + HeaderBytes) + layer * LayerFloats + (long)head * PositionsInPage * _headSize;

    /// <summary>Values of one head in one page, [position][size].</summary>
    internal float* Values(int page, int layer, int head) => Keys(page, layer, head) + (long)PositionsInPage * _width;

    protected override void Dispose(bool disposing)
    {
        if (_disposed) return;
        _disposed = true;
        while (_pageCount > 0) Release(_pages[--_pageCount]);
        NativeMemory.Free(_pages);
        _pages = null;
    }

    private nint NewPage()
    {
        void* page = NativeMemory.AlignedAlloc(checked((nuint)PageBytes), HeaderBytes);
        *(int*)page = 1;
        return (nint)page;
    }

    private static void Release(nint page)
    {
        if (Interlocked.Decrement(ref *(int*)page) == 0) NativeMemory.AlignedFree((void*)page);
    }

    private void Separate(int page)
    {
        nint shared = _pages[page], own = NewPage();
        int positions = Math.Clamp(Length - page * PositionsInPage, 0, PositionsInPage);
        long head = (long)PositionsInPage * _headSize, used = (long)positions * _headSize * sizeof(float);
        long heads = 2L * _layers * _width / _headSize;
        float* source = (float*)(shared + HeaderBytes), target = (float*)(own + HeaderBytes);
        for (long i = 0; i < heads; i++) Buffer.MemoryCopy(source + i * head, target + i * head, used, used);
        _pages[page] = own;
        Release(shared);
    }

    private void MakeRoom(int pages)
    {
        if (pages <= _pageRoom) return;
        int room = Math.Max(pages, Math.Max(16, 2 * _pageRoom));
        _pages = (nint*)NativeMemory.Realloc(_pages, checked((nuint)room * (nuint)sizeof(nint)));
        _pageRoom = room;
    }
}
