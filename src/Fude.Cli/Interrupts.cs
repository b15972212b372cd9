using System.Runtime.InteropServices;

namespace Fude.Cli;

/// <summary>Ctrl+C and SIGTERM: the first stops what is running between two steps, a second one ends the program.</summary>
internal sealed class Interrupts : IDisposable
{
    private readonly CancellationTokenSource _program = new();
    private readonly Lock _deciding = new();        // a signal comes on a thread of its own, perhaps as the part ends
    private readonly PosixSignalRegistration _interrupt;
    private readonly PosixSignalRegistration _terminate;
    private CancellationTokenSource? _part;
    private bool _isOver;

    public Interrupts()
    {
        _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => context.Cancel = Stop(partFirst: true));
        _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => context.Cancel = Stop(partFirst: false));
    }

    /// <summary>Is cancelled when the program is to stop.</summary>
    public CancellationToken Program => _program.Token;

    /// <summary>Runs a part of the program that Ctrl+C stops alone.</summary>
    public async Task DuringAsync(Func<CancellationToken, Task> part)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(_program.Token);
        lock (_deciding) _part = stop;
        try
        {
            await part(stop.Token).ConfigureAwait(false);
        }
        finally
        {
            lock (_deciding) _part = null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_deciding) _isOver = true;
        _interrupt.Dispose();
        _terminate.Dispose();
        _program.Dispose();
    }

    private bool Stop(bool partFirst)
    {
        lock (_deciding)
        {
            CancellationTokenSource source = partFirst && _part is { } part ? part : _program;
            if (_isOver || source.IsCancellationRequested) return false;
            _ = source.CancelAsync();       // what waits for it goes on elsewhere, not within the signal
            return true;
        }
    }
}
