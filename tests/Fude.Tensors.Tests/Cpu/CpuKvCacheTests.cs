namespace Fude.Tensors.Tests;

public sealed class CpuKvCacheTests
{
    private static readonly Heads Two = new(4, 2, 12, 0.3f);

    /// <summary>Another text, whose keys and values begin as those of the first do.</summary>
    private static (float[] Q, float[] K, float[] V) Parting(float[] q, float[] k, float[] v, int shared)
    {
        (float[] q2, float[] k2, float[] v2) = (Numbers.Normal(q.Length, 7), Numbers.Normal(k.Length, 8), Numbers.Normal(v.Length, 9));
        Array.Copy(k, k2, shared * 24);
        Array.Copy(v, v2, shared * 24);
        return (q2, k2, v2);
    }

    [Theory, InlineData(1), InlineData(31), InlineData(32), InlineData(33), InlineData(70)]
    public void A_fork_and_its_original_go_on_each_by_itself(int shared)
    {
        using CpuOps ops = new(2);
        (float[] q, float[] k, float[] v) = AttentionKernelTests.Inputs(Two);
        (float[] q2, float[] k2, float[] v2) = Parting(q, k, v, shared);
        float[] expected = Tail(ops, q, k, v, shared), expected2 = Tail(ops, q2, k2, v2, shared);

        KvCache cache = ops.CreateCache(1, 24, 150);
        AttentionKernelTests.Part(ops, Two, q, k, v, cache, 0, shared);
        using KvCache fork = cache.Fork();
        Assert.Equal(shared, fork.Length);
        Assert.Equal(150, fork.Capacity);
        float[] found = AttentionKernelTests.Part(ops, Two, q, k, v, cache, shared, 40);
        cache.Dispose();
        Numbers.SameBits(expected, found);
        Numbers.SameBits(expected2, AttentionKernelTests.Part(ops, Two, q2, k2, v2, fork, shared, 40));
    }

    [Theory, InlineData(0), InlineData(5), InlineData(32), InlineData(60), InlineData(70)]
    public void A_fork_may_begin_alike_only(int shared)
    {
        using CpuOps ops = new(1);
        (float[] q, float[] k, float[] v) = AttentionKernelTests.Inputs(Two);
        (float[] q2, float[] k2, float[] v2) = Parting(q, k, v, shared);
        using KvCache cache = ops.CreateCache(1, 24, 80);
        AttentionKernelTests.Part(ops, Two, q, k, v, cache, 0, 70);
        using KvCache fork = cache.Fork(shared, 110);
        Assert.Equal((shared, 110), (fork.Length, fork.Capacity));
        Numbers.SameBits(Tail(ops, q2, k2, v2, shared), AttentionKernelTests.Part(ops, Two, q2, k2, v2, fork, shared, 40));
        float[] next = AttentionKernelTests.Part(ops, Two, q, k, v, cache, 70, 10);
        Numbers.SameBits([.. Tail(ops, q, k, v, 70).Take(next.Length)], next);
        Assert.Throws<ArgumentOutOfRangeException>(() => cache.Fork(81, 110));
        Assert.Throws<ArgumentOutOfRangeException>(() => cache.Fork(70, 69));
        Assert.Throws<ArgumentOutOfRangeException>(() => cache.Fork(-1, 69));
    }

    [Theory, InlineData(0), InlineData(5), InlineData(32), InlineData(60)]
    public void What_is_truncated_is_forgotten_also_when_a_fork_still_has_it(int kept)
    {
        using CpuOps ops = new(1);
        (float[] q, float[] k, float[] v) = AttentionKernelTests.Inputs(Two);
        using KvCache cache = ops.CreateCache(1, 24, 150);
        AttentionKernelTests.Part(ops, Two, q, k, v, cache, 0, 70);
        using KvCache fork = cache.Fork();
        cache.Truncate(kept);
        Assert.Equal(kept, cache.Length);
        Numbers.SameBits(Tail(ops, q, k, v, kept), AttentionKernelTests.Part(ops, Two, q, k, v, cache, kept, 40));
        Numbers.SameBits(Tail(ops, q, k, v, 70), AttentionKernelTests.Part(ops, Two, q, k, v, fork, 70, 40));
    }

    [Fact]
    public void Memory_is_taken_page_by_page_and_shared_by_forks()
    {
        using CpuOps ops = new(1);
        (float[] q, float[] k, float[] v) = AttentionKernelTests.Inputs(Two);
        using CpuKvCache cache = (CpuKvCache)ops.CreateCache(1, 24, int.MaxValue);
        Assert.Equal(0, cache.Bytes);
        AttentionKernelTests.Part(ops, Two, q, k, v, cache, 0, 33);
        // Keys as they are; the twelve numbers of a value take the room of sixteen.
        const int Page = 32 * 2 * (12 + 16) * 4;
        Assert.InRange(cache.Bytes, 2 * Page, 2 * Page + 256);
        cache.Truncate(1);
        Assert.InRange(cache.Bytes, Page, Page + 128);
    }

    [Theory, InlineData(NumberFormat.F16, 2.0), InlineData(NumberFormat.BF16, 2.0), InlineData(NumberFormat.Q8_0, 34.0 / 32)]
    public void A_narrow_cache_takes_the_bytes_of_its_format_and_forks_keep_it(NumberFormat format, double bytes)
    {
        Heads heads = new(2, 2, 64, 0.125f);
        using CpuOps ops = new(1);
        (float[] q, float[] k, float[] v) = AttentionKernelTests.Inputs(heads);
        using CpuKvCache cache = (CpuKvCache)ops.CreateCache(1, 128, 64, format);
        AttentionKernelTests.Part(ops, heads, q, k, v, cache, 0, 33);
        Assert.InRange(cache.Bytes, 64 * 128 * 2 * bytes, 64 * 128 * 2 * bytes + 256);
        using KvCache fork = cache.Fork();
        Assert.Equal((format, 33), (fork.Format, fork.Length));
        float[] expected = AttentionKernelTests.Part(ops, heads, q, k, v, cache, 33, 9);
        Numbers.SameBits(expected, AttentionKernelTests.Part(ops, heads, q, k, v, fork, 33, 9));
    }

    [Theory, InlineData(NumberFormat.F16, 65520f), InlineData(NumberFormat.Q8_0, 1e7f), InlineData(NumberFormat.Q8_0, float.PositiveInfinity)]
    public void A_number_that_a_narrow_cache_cannot_hold_is_an_error(NumberFormat format, float number)
    {
        using CpuOps ops = new(1);
        using KvCache cache = ops.CreateCache(1, 16, 64, format);
        float[] k = new float[16];
        k[3] = number;
        Tensor x = ops.Put(k, 1, 16), other = ops.Put(new float[16], 1, 16);
        foreach ((Tensor key, Tensor value) in (ReadOnlySpan<(Tensor, Tensor)>)[(x, other), (other, x)])
        {
            string message = Assert.Throws<InvalidDataException>(
                () => ops.Attention(other, key, value, new Heads(1, 1, 16, 1), Batch.Of([0], cache: cache), 0)).Message;
            Assert.Contains("BF16 or F32", message, StringComparison.Ordinal);
        }
        Assert.Throws<NotSupportedException>(() => ops.CreateCache(1, 16, 64, NumberFormat.Q4_0));
    }

    [Fact]
    public void A_full_cache_says_so()
    {
        using CpuOps ops = new(1);
        (float[] q, float[] k, float[] v) = AttentionKernelTests.Inputs(Two);
        using KvCache cache = ops.CreateCache(1, 24, 40);
        AttentionKernelTests.Part(ops, Two, q, k, v, cache, 0, 40);
        string message = Assert.Throws<InvalidOperationException>(() => AttentionKernelTests.Part(ops, Two, q, k, v, cache, 40, 1)).Message;
        Assert.Contains("holds 40 of at most 40 positions", message, StringComparison.Ordinal);
        Assert.Equal(40, cache.Length);
    }

    [Fact]
    public void Misuse_is_refused()
    {
        using CpuOps ops = new(1);
        (float[] q, float[] k, float[] v) = AttentionKernelTests.Inputs(Two);
        using KvCache cache = ops.CreateCache(1, 24, 40);
        Assert.Throws<InvalidOperationException>(() => cache.Advance(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => cache.Truncate(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => ops.CreateCache(0, 24, 40));
        using KvCache narrow = ops.CreateCache(1, 12, 40);
        Assert.Throws<ArgumentException>(() => AttentionKernelTests.Part(ops, Two, q, k, v, narrow, 0, 1));
        Tensor x = ops.Put(new float[2 * 24], 2, 24);
        Batch twice = new([0, 0], [0, 0], [new Sequence(0, 1, cache), new Sequence(1, 1, cache)], [0]);
        Assert.Throws<ArgumentException>(() => ops.Attention(x, x, x, new Heads(2, 2, 12, 1), twice, 0));
        Assert.Throws<ArgumentException>(() => ops.Attention(x, x, x, new Heads(2, 2, 12, 1), Batch.Of([0, 0], cache: cache), 1));
        cache.Dispose();
        Assert.Throws<ObjectDisposedException>(() => cache.Fork());
    }

    [Fact]
    public void A_page_that_there_is_no_memory_for_leaves_the_cache_sound()
    {
        Heads wide = new(1 << 13, 1 << 13, 128, 1);
        CpuKvCache cache = new(layers: 1 << 24, width: 1 << 20, capacity: 64, NumberFormat.F32);      // 4 PiB a page
        for (int attempt = 0; attempt < 2; attempt++) Assert.Throws<OutOfMemoryException>(() => cache.Prepare(1, wide, 0));
        Assert.Equal(0, cache.Bytes);
        cache.Dispose();
    }

    /// <summary>Attention of 40 tokens after so many, in a text that was read whole.</summary>
    private static float[] Tail(CpuOps ops, float[] q, float[] k, float[] v, int first) =>
        AttentionKernelTests.Part(ops, Two, q, k, v, null, 0, first + 40)[(first * 48)..];
}
