namespace Fude.Tensors.Tests;

public sealed unsafe class CrewTests
{
    private static void Count(void* job, int item, int worker) => Interlocked.Increment(ref ((int*)job)[item]);

    private static void Fail(void* job, int item, int worker)
    {
        Interlocked.Increment(ref *(int*)job);
        if (item == 3) throw new InvalidDataException("item 3");
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(8)]
    public void Every_item_is_done_once_job_after_job(int threads)
    {
        using Crew crew = new(threads);
        int* counts = stackalloc int[100];
        for (int round = 1; round <= 2000; round++)
        {
            crew.Run(&Count, counts, 1 + round % 100);
            // Now and then the workers fall asleep in between.
            if (round % 500 == 0) Thread.Sleep(5);
        }
        int total = 0;
        for (int i = 0; i < 100; i++) total += counts[i];
        int expected = 0;
        for (int round = 1; round <= 2000; round++) expected += 1 + round % 100;
        Assert.Equal(expected, total);
        Assert.Equal(2000, counts[0]);
    }

    [Theory, InlineData(1), InlineData(3)]
    public void What_a_kernel_throws_reaches_the_caller_and_the_crew_goes_on(int threads)
    {
        using Crew crew = new(threads);
        int* counts = stackalloc int[20];
        Assert.Equal("item 3", Assert.Throws<InvalidDataException>(() => crew.Run(&Fail, counts, 20)).Message);
        counts[0] = 0;
        crew.Run(&Count, counts, 20);
        Assert.Equal(1, counts[19]);
    }

    [Fact]
    public void Two_crews_work_side_by_side()
    {
        int[] totals = new int[2];
        Thread[] givers = new Thread[2];
        for (int t = 0; t < 2; t++)
        {
            int giver = t;
            givers[t] = new Thread(() =>
            {
                using Crew crew = new(3);
                int* counts = stackalloc int[50];
                for (int round = 0; round < 500; round++) crew.Run(&Count, counts, 50);
                for (int i = 0; i < 50; i++) totals[giver] += counts[i];
            });
            givers[t].Start();
        }
        foreach (Thread giver in givers) giver.Join();
        Assert.Equal([25000, 25000], totals);
    }
}
