using System.Globalization;
using System.Runtime.InteropServices;

namespace Fude.Cli;

/// <summary>Ctrl+C, SIGTERM, and SIGHUP of a terminal that is closed: the first stops what is running between two steps, a second one ends the program.</summary>
/// <remarks>Where SIGHUP is ignored, as nohup has it, it stays so.</remarks>
internal sealed class Interrupts : IDisposable
{
    // What shells expect of a program that a signal ended: 128 and its number.
    private const int HungUp = 129, Interrupted = 130, Terminated = 143;

    private readonly CancellationTokenSource _program = new();
    private readonly Lock _deciding = new();        // a signal comes on a thread of its own, perhaps as the part ends
    private readonly PosixSignalRegistration _interrupt;
    private readonly PosixSignalRegistration _terminate;
    private readonly PosixSignalRegistration? _hangUp;
    private CancellationTokenSource? _part;
    private bool _isOver;

    /// <summary>Begins to listen.</summary>
    /// <param name="patience">How long what is running may take to stop; 2 seconds when null.</param>
    public Interrupts(TimeSpan? patience = null)
    {
        Patience = patience ?? TimeSpan.FromSeconds(2);
        _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => context.Cancel = Stop());
        _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => context.Cancel = Stop(Terminated));
        if (!IgnoresHangUp()) _hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => context.Cancel = Stop(HungUp));
    }

    /// <summary>How long what is running may take to stop before it is left behind.</summary>
    public TimeSpan Patience { get; set; }

    /// <summary>Is cancelled when the program is to stop.</summary>
    public CancellationToken Program => _program.Token;

    /// <summary>What a program that was stopped ends with, by the signal that stopped it; null while nothing has.</summary>
    public int? ExitCode { get; private set; }

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

    /// <summary>Does what Ctrl+C does.</summary>
    /// <returns>Whether there was something left to stop.</returns>
    public bool Stop() => Stop(Interrupted);

    /// <summary>Waits for what the program does. What does not stop by itself once it should, such as a read from a slow disk, is left behind,
    /// to end with the process.</summary>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public async Task<int> OutcomeAsync(Task<int> program)
    {
        TaskCompletionSource stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using (_program.Token.Register(stopped.SetResult))
            await Task.WhenAny(program, stopped.Task).ConfigureAwait(false);
        if (!program.IsCompleted) await Task.WhenAny(program, Task.Delay(Patience)).ConfigureAwait(false);
        return program.IsCompleted ? await program.ConfigureAwait(false) : throw new OperationCanceledException(_program.Token);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_deciding) _isOver = true;
        _interrupt.Dispose();
        _terminate.Dispose();
        _hangUp?.Dispose();
        _program.Dispose();
    }

    /// <summary>Whether the program was started with SIGHUP ignored. .NET leaves an ignored signal alone too; Linux says which they are, so nothing hangs on
    /// that.</summary>
    internal static bool IgnoresHangUp()
    {
        const string Name = "SigIgn:", Status = "/proc/self/status";
        return OperatingSystem.IsLinux() && File.Exists(Status)
            && File.ReadLines(Status).FirstOrDefault(line => line.StartsWith(Name, StringComparison.Ordinal)) is { } line
            && ulong.TryParse(line.AsSpan(Name.Length).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong ignored) && (ignored & 1) != 0;     // the first bit
    }

    private bool Stop(int exitCode)
    {
        lock (_deciding)
        {
            // SIGTERM and SIGHUP mean the whole program.
            CancellationTokenSource source = exitCode == Interrupted && _part is { } part ? part : _program;
            if (_isOver || source.IsCancellationRequested) return false;
            if (source == _program) ExitCode = exitCode;
            _ = source.CancelAsync();       // what waits for it goes on elsewhere, not within the signal
            return true;
        }
    }
}
