using System.Runtime.InteropServices;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Keys and values in pages of <see cref="AttentionKernel.Page"/> positions, all layers of a position in one page.</summary>
/// <remarks>
/// A page is [layer][keys, values][head] (<see cref="HeadLayout"/>): what a layer reads lies together. Pages count their owners; one
/// that has several is copied before it is written, so forking costs nothing until the texts part.
/// </remarks>
internal sealed unsafe class CpuKvCache : KvCache
{
    private const int PositionsInPage = AttentionKernel.Page;

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

    public CpuKvCache(int layers, int width, int capacity, NumberFormat format)
    {
        if (format is not (NumberFormat.F32 or NumberFormat.F16 or NumberFormat.BF16 or NumberFormat.Q8_0))
            throw new NotSupportedException(Say(
                $"Keys and values are not kept in {format}. fude keeps them in F32, F16, BF16 or Q8_0.",
                $"キーと値を {format} では保持できません。使えるのは F32、F16、BF16、Q8_0 です。"));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        (_layers, _width, _capacity, Format) = (layers, width, capacity, format);
    }

    ~CpuKvCache() => Dispose(disposing: false);

    public override int Capacity => _capacity;

    public override NumberFormat Format { get; }

    /// <summary>The attention call that last wrote here: one text may stand in a batch only once.</summary>
    internal long LastCall { get; set; }

    /// <summary>Native memory held by the pages, shared ones included.</summary>
    internal long Bytes => _pageCount * PageBytes;

    private HeadLayout Layout => new(Format, _headSize);

    private long PageBytes => _headSize == 0 ? 0 : checked(HeaderBytes + LayerBytes * _layers);

    private long LayerBytes => checked((Layout.KeyBytes + Layout.ValueBytes) * (_width / _headSize));

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

    public override KvCache Fork(int length, int capacity)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, length);
        CpuKvCache fork = new(_layers, _width, capacity, Format) { _headSize = _headSize, _appended = length, Length = length };
        int shared = (length + PositionsInPage - 1) / PositionsInPage;
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
            throw new InvalidOperationException(Say(
                $"The cache holds {Length} of at most {_capacity} positions, and {count} more do not fit: "
                + "make it larger, or shorten the text.",
                $"キャッシュの {_capacity} 位置のうち {Length} が使われていて、あと {count} は入りません。キャッシュを大きくするか、テキストを短くしてください。"));
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

    /// <summary>The first head of a layer in one page.</summary>
    internal byte* Heads(int page, int layer) => (byte*)_pages[page] + HeaderBytes + layer * LayerBytes;

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
        void* page = NativeBuffer.Take(PageBytes);
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
        Buffer.MemoryCopy((byte*)shared + HeaderBytes, (byte*)own + HeaderBytes, PageBytes - HeaderBytes, PageBytes - HeaderBytes);
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
