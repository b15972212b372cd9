using Fude.Models;
using Fude.Tensors;

namespace Fude.Generation;

/// <summary>
/// Runs the requests of any number of callers through one model at once: a thread of its own steps them together, and they join and leave
/// between two steps. The tokens of a request are the same whoever else is there. Those whose keys and values would not fit beside the
/// others' wait for their turn, in the order in which they came.
/// </summary>
internal sealed class Engine : IDisposable
{
    private readonly LanguageModel _model;
    private readonly IOps _ops;
    private readonly DecodingLoop _loop;
    private readonly long _cacheBytes;
    private readonly Queue<Job> _waiting = [];
    private readonly List<Job> _running = [];
    private readonly KeptText _kept = new();
    private readonly Thread _thread;
    private readonly Action<Decoding, Exception> _failed;       // made once: a step allocates nothing
    private Job? _next;      // the first that waits for room
    private long _taken;
    private bool _disposed;

    /// <summary>Starts the thread.</summary>
    /// <param name="model">The model; nobody else may run it while the engine lives.</param>
    /// <param name="ops">Its device, likewise.</param>
    /// <param name="prefillTokens">Prompt tokens a step reads at most.</param>
    /// <param name="cacheBytes">Bytes that the keys and values of running requests may come to; one request runs in any case.</param>
    public Engine(LanguageModel model, IOps ops, int prefillTokens, long cacheBytes = long.MaxValue)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(prefillTokens, 1);
        (_model, _ops, _cacheBytes) = (model, ops, cacheBytes);
        _loop = new DecodingLoop(model, ops, prefillTokens);
        _failed = (decoding, e) => _running.Find(job => job.Decoding == decoding)!.Failure = e;
        _thread = new Thread(Run) { IsBackground = true, Name = "fude engine" };
        _thread.Start();
    }

    /// <summary>Whether the text written last is kept, with its keys and values, for one that begins alike.</summary>
    public bool KeepsLastText
    {
        get => _kept.IsWanted;
        set => _kept.IsWanted = value;
    }

    /// <summary>Hands in a request.</summary>
    /// <param name="request">The prompts and options.</param>
    /// <param name="cancellation">Gives the request up between two steps, and at once while it waits.</param>
    /// <returns>The texts, best first within a prompt.</returns>
    /// <exception cref="ArgumentException">The request does not fit the model, or an option is out of its range; no work was
    /// done.</exception>
    public Task<IReadOnlyList<DecodedSequence>> RunAsync(DecodingRequest request, CancellationToken cancellation)
    {
        lock (_waiting)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            Job job = new(request, cancellation);      // not before: the token would hold on to it
            _waiting.Enqueue(job);
            Monitor.Pulse(_waiting);
            return job.Completion.Task;
        }
    }

    /// <summary>Cancels what is running and ends the thread; neither the model nor the device is disposed.</summary>
    public void Dispose()
    {
        lock (_waiting)
        {
            if (_disposed) return;
            _disposed = true;
            Monitor.Pulse(_waiting);
        }
        _thread.Join();
        _kept.Dispose();
    }

    private void Run()
    {
        while (Admit())
        {
            Finish(job => job.Cancellation.IsCancellationRequested, job => job.Completion.TrySetCanceled(job.Cancellation));
            _loop.Step(_failed);
            Finish(job => job.Failure is not null, job => job.Completion.TrySetException(job.Failure!));
            Finish(job => job.Decoding!.IsDone, Deliver);
        }
        Finish(_ => true, job => job.Completion.TrySetCanceled());
    }

    /// <summary>Waits for work and starts what is new; false when the engine is to end.</summary>
    private bool Admit()
    {
        lock (_waiting)
        {
            while (!_disposed && _next is null && _waiting.Count == 0 && _running.Count == 0) Monitor.Wait(_waiting);
            if (_disposed)
            {
                while (NextWaiting() is { } job)
                {
                    job.Completion.TrySetCanceled();
                    job.Decoding?.Dispose();
                }
                return false;
            }
            while (NextWaiting() is { } job)
            {
                try
                {
                    job.Decoding ??= Decoding.Start(job.Request, _model, _ops, _kept);
                }
                catch (Exception e)      // the caller's mistake: told to the caller, and nobody else is disturbed
                {
                    job.Completion.TrySetException(e);
                    continue;
                }
                if (_running.Count > 0 && job.Decoding.CacheBytes > _cacheBytes - _taken)
                {
                    _next = job;
                    break;
                }
                _taken += job.Decoding.CacheBytes;
                _loop.Join(job.Decoding);
                _running.Add(job);
            }
        }
        return true;
    }

    /// <summary>Takes the one that has waited longest and is still wanted, or null.</summary>
    private Job? NextWaiting()
    {
        Job? job = _next;
        _next = null;
        if (job is { Cancellation.IsCancellationRequested: true })
        {
            job.Completion.TrySetCanceled(job.Cancellation);
            job.Decoding!.Dispose();
            job = null;
        }
        while (job is null && _waiting.TryDequeue(out Job? first))
            if (first.Begin()) job = first;
        return job;
    }

    /// <summary>Hands over a finished request's texts; a failure in making them is that request's alone.</summary>
    private static void Deliver(Job job)
    {
        try
        {
            job.Completion.TrySetResult(job.Decoding!.Result);
        }
        catch (Exception e)
        {
            job.Completion.TrySetException(e);
        }
    }

    private void Finish(Predicate<Job> which, Action<Job> tell)
    {
        for (int i = _running.Count - 1; i >= 0; i--)
        {
            Job job = _running[i];
            if (!which(job)) continue;
            _running.RemoveAt(i);
            _taken -= job.Decoding!.CacheBytes;
            tell(job);
            _loop.Leave(job.Decoding!);
        }
    }

    private sealed class Job
    {
        private readonly Lock _gate = new();
        private readonly CancellationTokenRegistration _waiting;
        private bool _hasBegun;

        public Job(DecodingRequest request, CancellationToken cancellation)
        {
            (Request, Cancellation) = (request, cancellation);
            _waiting = cancellation.UnsafeRegister(static job => ((Job)job!).GiveUpWaiting(), this);
        }

        public DecodingRequest Request { get; }
        public CancellationToken Cancellation { get; }
        public Decoding? Decoding { get; set; }
        public Exception? Failure { get; set; }

        public TaskCompletionSource<IReadOnlyList<DecodedSequence>> Completion { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Ends the waiting; false when the request has been given up.</summary>
        public bool Begin()
        {
            _waiting.Unregister();
            lock (_gate) return _hasBegun = !Completion.Task.IsCompleted;
        }

        // One that has begun is given up by the engine, between two steps.
        private void GiveUpWaiting()
        {
            lock (_gate)
                if (!_hasBegun) Completion.TrySetCanceled(Cancellation);
        }
    }
}
