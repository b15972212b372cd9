using Fude.Models;
using Fude.Tensors;

namespace Fude.Generation;

/// <summary>
/// Runs the requests of any number of callers through one model at once: a thread of its own steps them together, and they join and leave
/// between two steps. The tokens of a request are the same whoever else is there.
/// </summary>
internal sealed class Engine : IDisposable
{
    private readonly LanguageModel _model;
    private readonly IOps _ops;
    private readonly DecodingLoop _loop;
    private readonly Queue<Job> _waiting = [];
    private readonly List<Job> _running = [];
    private readonly KeptText _kept = new();
    private readonly Thread _thread;
    private readonly Action<Decoding, Exception> _failed;       // made once: a step allocates nothing
    private bool _disposed;

    /// <summary>Starts the thread.</summary>
    /// <param name="model">The model; nobody else may run it while the engine lives.</param>
    /// <param name="ops">Its device, likewise.</param>
    /// <param name="prefillTokens">Prompt tokens a step reads at most.</param>
    public Engine(LanguageModel model, IOps ops, int prefillTokens)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(prefillTokens, 1);
        (_model, _ops) = (model, ops);
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
    /// <param name="cancellation">Gives the request up between two steps.</param>
    /// <returns>The texts, best first within a prompt.</returns>
    /// <exception cref="ArgumentException">The request does not fit the model, or an option is out of its range; no work was
    /// done.</exception>
    public Task<IReadOnlyList<DecodedSequence>> RunAsync(DecodingRequest request, CancellationToken cancellation)
    {
        Job job = new(request, cancellation);
        lock (_waiting)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _waiting.Enqueue(job);
            Monitor.Pulse(_waiting);
        }
        return job.Completion.Task;
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
            try
            {
                _loop.Step(_failed);
            }
            catch (Exception e)      // the model or the device failed: all requests of the step have lost their state
            {
                Finish(_ => true, job => job.Completion.TrySetException(e));
            }
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
            while (!_disposed && _waiting.Count == 0 && _running.Count == 0) Monitor.Wait(_waiting);
            if (_disposed)
            {
                foreach (Job job in _waiting) job.Completion.TrySetCanceled();
                return false;
            }
            while (_waiting.TryDequeue(out Job? job))
            {
                try
                {
                    job.Decoding = Decoding.Start(job.Request, _model, _ops, _kept);
                    _loop.Join(job.Decoding);
                    _running.Add(job);
                }
                catch (Exception e)      // the caller's mistake: told to the caller, and nobody else is disturbed
                {
                    job.Completion.TrySetException(e);
                }
            }
        }
        return true;
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
            tell(job);
            _loop.Leave(job.Decoding!);
        }
    }

    private sealed class Job(DecodingRequest request, CancellationToken cancellation)
    {
        public DecodingRequest Request { get; } = request;
        public CancellationToken Cancellation { get; } = cancellation;
        public Decoding? Decoding { get; set; }
        public Exception? Failure { get; set; }

        public TaskCompletionSource<IReadOnlyList<DecodedSequence>> Completion { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
