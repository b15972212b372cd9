namespace Fude.Tensors.Tests;

public sealed unsafe class NativeBufferTests
{
    [Theory, InlineData(0), InlineData(1), InlineData(63), InlineData(65), InlineData(5_000_001)]
    public void Memory_is_aligned_and_all_of_it_can_be_written(long bytes)
    {
        using NativeBuffer buffer = new(bytes);
        Assert.Equal(bytes, buffer.Bytes);
        Assert.Equal(0, buffer.Address % 64);
        new Span<byte>((void*)buffer.Address, (int)bytes).Fill(0xAB);
    }

    [Fact]
    public void A_disposed_buffer_has_no_address()
    {
        NativeBuffer buffer = new(8);
        buffer.Dispose();
        buffer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => buffer.Address);
    }

    [Fact]
    public void Impossible_sizes_are_errors()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new NativeBuffer(-1));
        Assert.Contains("9223372036854775807", Assert.Throws<InsufficientMemoryException>(() => new NativeBuffer(long.MaxValue)).Message, StringComparison.Ordinal);
    }
}
