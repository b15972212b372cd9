namespace Fude.Tokenizers.Training;

/// <summary>Work over a range of numbers, handed out in shares. What is computed must not depend on who gets which.</summary>
internal static class ParallelShare
{
    /// <summary>Calls <paramref name="work"/> with (worker, first, end) for shares of 0 to <paramref name="count"/>, on so many threads.</summary>
    internal static void Run(int threads, int count, int share, Action<int, int, int> work, CancellationToken stop)
    {
        long next = 0;
        if (threads == 1 || count <= share)
        {
            Work(0);
            return;
        }
        Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = stop }, Work);

        void Work(int worker)
        {
            while (true)
            {
                stop.ThrowIfCancellationRequested();
                long first = Interlocked.Add(ref next, share) - share;
                if (first >= count) return;
                work(worker, (int)first, (int)Math.Min(count, first + share));
            }
        }
    }
}
