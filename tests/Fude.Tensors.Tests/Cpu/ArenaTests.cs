namespace Fude.Tensors.Tests;

public sealed unsafe class ArenaTests
{
    [Fact]
    public void Memory_is_aligned_and_what_was_released_is_handed_out_again()
    {
        using Arena arena = new();
        nint first = (nint)arena.Take(1);
        Arena.Mark mark = arena.Now;
        nint second = (nint)arena.Take(100);
        Assert.Equal(0, first % 64);
        Assert.Equal(64, second - first);
        Assert.True(arena.IsAfter(mark, second));
        Assert.False(arena.IsAfter(mark, first));
        arena.Release(mark);
        Assert.Equal(second, (nint)arena.Take(7));
    }

    [Fact]
    public void Several_blocks_become_one_that_holds_as_much()
    {
        using Arena arena = new();
        for (int i = 0; i < 20; i++) new Span<byte>(arena.Take(700_000), 700_000).Fill(1);
        long taken = arena.Bytes;
        Assert.InRange(taken, 14_000_000, 42_000_000);
        arena.Clear();
        Assert.Equal(taken, arena.Bytes);
        nint first = (nint)arena.Take(700_000), last = first;
        for (int i = 1; i < 20; i++) last = (nint)arena.Take(700_000);
        Assert.Equal(taken, arena.Bytes);
        Assert.InRange(last - first, 0, 20 * 700_064);
    }

    [Fact]
    public void A_size_beyond_all_memory_is_an_error()
    {
        using Arena arena = new();
        Assert.ThrowsAny<SystemException>(() => (nint)arena.Take(long.MaxValue));
        Assert.Equal(0, (nint)arena.Take(64) % 64);
    }
}
