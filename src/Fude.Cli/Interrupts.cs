using System.Runtime.InteropServices;

namespace Fude.Cli;

/// <summary>Ctrl+C and the end of the session (SIGTERM): the first stops what is running between two steps, a second one ends the program.</summary>
internal sealed class Interrupts : IDisposable
{
    private readonly CancellationTokenSource _program = new();
    private readonly PosixSignalRegistration _interrupt;
    private readonly PosixSignalRegistration _terminate;
    private volatile CancellationTokenSource? _part;

    public Interrupts()
    {
        _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => context.Cancel = Stop(_part ?? _program));
        _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => context.Cancel = Stop(_program));
    }

    /// <summary>Is cancelled when the program is to stop.</summary>
    public CancellationToken Program => _program.Token;

    /// <summary>Runs a part of the program that Ctrl+C stops alone.</summary>
    public async Task DuringAsync(Func<CancellationToken, Task> part)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(_program.Token);
        _part = stop;
        try
        {
            await part(stop.Token).ConfigureAwait(false);
        }
        finally
        {
            _part = null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _interrupt.Dispose();
        _terminate.Dispose();
        _program.Dispose();
    }

    private static bool Stop(CancellationTokenSource source)
    {
        if (source.IsCancellationRequested) return false;
        source.Cancel();
        return true;
    }
}
