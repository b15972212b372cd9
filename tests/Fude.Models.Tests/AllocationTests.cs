using Fude.Tensors;

namespace Fude.Models.Tests;

/// <summary>Counts what all threads allocate, so nothing else may run at the time.</summary>
[Collection("alone")]
public sealed class AllocationTests
{
    [Theory, MemberData(nameof(LanguageModelTests.FamiliesAndThreads), MemberType = typeof(LanguageModelTests))]
    public void Decoding_allocates_nothing_on_the_managed_heap(string family, int threads)
    {
        using LanguageModel model = TinyModels.Create(family);
        using CpuOps ops = new(threads);
        using KvCache cache = model.CreateCache(ops, 500);
        int[] prompt = TinyModels.Text(length: 20, seed: 3);
        model.Run(ops, Passes.Batch([cache], [prompt], [prompt.Length]));
        Batch batch = new([1], [0], [new Sequence(0, 1, cache)], [0]);
        float sum = 0;
        for (int i = 0; i < 100; i++) sum += Step();     // warm-up: buffers grow, methods are compiled

        // The runtime's own threads (the compiler, the test runner's clock) allocate now and then: a round without them must show 0.
        long least = long.MaxValue;
        for (int round = 0; round < 8 && least > 0; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 40; i++) sum += Step();
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        Assert.True(float.IsFinite(sum));
        Assert.Equal(0, least);

        float Step()
        {
            batch.Positions[0] = cache.Length;
            return ops.Read(model.Run(ops, batch))[0];
        }
    }
}

/// <summary>Tests that run while no other does.</summary>
[CollectionDefinition("alone", DisableParallelization = true)]
public sealed class AloneCollection;
