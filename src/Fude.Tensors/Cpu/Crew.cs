using System.Runtime.ExceptionServices;

namespace Fude.Tensors;

/// <summary>Threads that live as long as their device and share the items of job after job with the thread that gives them.</summary>
/// <remarks>
/// A worker that runs out of work spins for a few tens of microseconds, which is the time between two ops, and then sleeps: an idle
/// crew takes no processor time. Giving out a job allocates nothing. A worker that wakes after the items are gone does not hold the
/// giver up: it must enter the job before it counts, and the giver closes the door when it finds no more items.
/// </remarks>
internal sealed unsafe class Crew : IDisposable
{
    // _state: generation in the upper half; below it the open door and the number of workers inside.
    private const long Open = 1L << 31;
    private const long Inside = Open - 1;
    private static readonly long SpinTicks = System.Diagnostics.Stopwatch.Frequency / 20_000;      // 50 µs

    private readonly Thread[] _workers;
    private readonly Lock _running = new();
    private readonly object _gate = new();
    private long _state;
    private int _next;
    private int _asleep;
    private bool _stopping;
    private delegate*<void*, int, int, void> _work;
    private void* _job;
    private int _items;
    private ExceptionDispatchInfo? _failure;

    /// <summary>A crew of the calling thread and <paramref name="threads"/> − 1 others.</summary>
    public Crew(int threads)
    {
        _workers = new Thread[threads - 1];
        for (int i = 0; i < _workers.Length; i++)
        {
            int worker = i + 1;
            _workers[i] = new Thread(() => Live(worker)) { IsBackground = true, Name = $"fude worker {worker}" };
            _workers[i].Start();
        }
    }

    /// <summary>Threads that share a job, the caller's included.</summary>
    public int Threads => _workers.Length + 1;

    /// <summary>Calls work(job, item, worker) once for every item, on all threads, and returns when all are done.</summary>
    /// <param name="work">A kernel; worker is below <see cref="Threads"/> and differs between calls that run at the same time.</param>
    /// <param name="job">Its arguments, in memory that stays where it is until this returns.</param>
    /// <param name="items">Their number.</param>
    public void Run(delegate*<void*, int, int, void> work, void* job, int items)
    {
        if (items <= 1 || _workers.Length == 0)
        {
            for (int item = 0; item < items; item++) work(job, item, 0);
            return;
        }
        if (!_running.TryEnter())
            throw new InvalidOperationException("This device is computing on another thread: give each thread its own CpuOps.");
        try
        {
            _work = work;
            _job = job;
            _items = items;
            _failure = null;
            Volatile.Write(ref _next, 0);
            long generation = (_state >> 32) + 1;
            Interlocked.Exchange(ref _state, (generation << 32) | Open);
            Wake();
            Share(worker: 0);
            Interlocked.And(ref _state, ~Open);
            SpinWait wait = default;
            while ((Volatile.Read(ref _state) & Inside) != 0) wait.SpinOnce(sleep1Threshold: -1);
        }
        finally
        {
            _running.Exit();
        }
        _failure?.Throw();
    }

    public void Dispose()
    {
        Volatile.Write(ref _stopping, true);
        lock (_gate) Monitor.PulseAll(_gate);
        foreach (Thread worker in _workers) worker.Join();
    }

    private void Wake()
    {
        // Interlocked stands between the new state and this read, here, and between counting and looking at the state, in Sleep:
        // one of the two sees the other.
        if (Volatile.Read(ref _asleep) == 0) return;
        lock (_gate) Monitor.PulseAll(_gate);
    }

    private void Share(int worker)
    {
        try
        {
            int items = _items;
            for (int item = Interlocked.Increment(ref _next) - 1; item < items; item = Interlocked.Increment(ref _next) - 1)
                _work(_job, item, worker);
        }
#pragma warning disable CA1031 // Whatever a kernel throws is handed to the thread that gave the job.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            _failure = ExceptionDispatchInfo.Capture(failure);
            Volatile.Write(ref _next, int.MaxValue / 2);
        }
    }

    private void Live(int worker)
    {
        int seen = 0;
        while (true)
        {
            long state = Volatile.Read(ref _state);
            if ((int)(state >> 32) == seen)
            {
                if (!Await(seen)) return;
                continue;
            }
            if ((state & Open) != 0)
            {
                if (Interlocked.CompareExchange(ref _state, state + 1, state) != state) continue;
                Share(worker);
                Interlocked.Decrement(ref _state);
            }
            seen = (int)(state >> 32);
        }
    }

    /// <summary>Waits for another generation than the one seen; false when the crew is dismissed.</summary>
    private bool Await(int seen)
    {
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        while (System.Diagnostics.Stopwatch.GetTimestamp() - start < SpinTicks)
        {
            if ((int)(Volatile.Read(ref _state) >> 32) != seen) return true;
            Thread.SpinWait(8);
        }
        lock (_gate)
        {
            Interlocked.Increment(ref _asleep);
            while ((int)(Volatile.Read(ref _state) >> 32) == seen && !Volatile.Read(ref _stopping)) Monitor.Wait(_gate);
            Interlocked.Decrement(ref _asleep);
        }
        return !Volatile.Read(ref _stopping);
    }
}
