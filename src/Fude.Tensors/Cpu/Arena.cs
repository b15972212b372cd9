namespace Fude.Tensors;

/// <summary>Native memory that is handed out from its beginning on and given back all at once: where temporaries live.</summary>
/// <remarks>It grows by blocks; what the last pass needed is one block in the next, so a steady state allocates nothing.</remarks>
internal sealed unsafe class Arena : IDisposable
{
    private const long SmallestBlock = 1 << 20;
    internal const int Alignment = 64;

    // A buffer asks for large pages where it pays.
    private readonly List<NativeBuffer> _blocks = [];
    private int _block;
    private long _offset;

    /// <summary>A place in the arena: everything handed out after it can be given back.</summary>
    internal readonly record struct Mark(int Block, long Offset);

    /// <summary>What has been taken from the system.</summary>
    public long Bytes { get; private set; }

    /// <summary>The most that has been in use at a time since the last <see cref="Clear"/>, where one block was enough for it.</summary>
    public long Peak { get; private set; }

    /// <summary>Memory with any contents, aligned to 64 bytes.</summary>
    public void* Take(long bytes)
    {
        bytes = checked(bytes + Alignment - 1) & ~(long)(Alignment - 1);
        while (true)
        {
            if (_block == _blocks.Count) Grow(bytes);
            NativeBuffer block = _blocks[_block];
            if (block.Bytes - _offset >= bytes)
            {
                nint taken = block.Address + (nint)_offset;
                _offset += bytes;
                if (_offset > Peak) Peak = _offset;
                return (void*)taken;
            }
            _block++;
            _offset = 0;
        }
    }

    /// <summary>The present place.</summary>
    public Mark Now => new(_block, _offset);

    /// <summary>Gives back what was taken since.</summary>
    public void Release(Mark mark) => (_block, _offset) = (mark.Block, mark.Offset);

    /// <summary>Whether memory was taken since the mark.</summary>
    public bool IsAfter(Mark mark, nint address)
    {
        for (int i = mark.Block; i < _blocks.Count; i++)
        {
            nint start = _blocks[i].Address;
            if (address >= start && address - start < _blocks[i].Bytes) return i > mark.Block || address - start >= mark.Offset;
        }
        return false;
    }

    /// <summary>Gives everything back; several blocks become one.</summary>
    public void Clear()
    {
        (_block, _offset, Peak) = (0, 0, 0);
        if (_blocks.Count <= 1) return;
        long bytes = Bytes;
        Free();
        Grow(bytes);
    }

    /// <summary>Gives everything back, and has one block of so many bytes at least.</summary>
    public void Reserve(long bytes)
    {
        Clear();
        if (Bytes >= bytes) return;
        Free();
        Grow(bytes);
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    ~Arena() => Free();

    private void Grow(long bytes)
    {
        bytes = Math.Max(bytes, Math.Max(SmallestBlock, Bytes / 2));
        _blocks.Add(new NativeBuffer(bytes));
        Bytes += bytes;
    }

    private void Free()
    {
        foreach (NativeBuffer block in _blocks) block.Dispose();
        _blocks.Clear();
        Bytes = 0;
    }
}
