using System.Diagnostics;
using System.Globalization;

namespace Fude.Cli;

/// <summary>One line on standard error that says how far a long job is; nothing where standard error is not a screen.</summary>
internal sealed class ProgressLine(Terminal terminal) : IDisposable
{
    private readonly Stopwatch _sinceDrawn = Stopwatch.StartNew();
    private bool _isDrawn;

    /// <summary>Something that is told how much of a total is done.</summary>
    public IProgress<int> Of(string what, int total) => new Counter(this, what, total);

    /// <summary>Takes the line away.</summary>
    public void Clear()
    {
        if (_isDrawn) terminal.Error.Write("\r\e[K");
        _isDrawn = false;
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    private void Draw(string what, int done, int total)
    {
        if (!terminal.ErrorIsScreen || _sinceDrawn.ElapsedMilliseconds < 100) return;
        _sinceDrawn.Restart();
        _isDrawn = true;
        terminal.Error.Write(string.Create(CultureInfo.InvariantCulture, $"\r\e[K{what} {done}/{total} ({100.0 * done / total:F0} %)"));
    }

    private sealed class Counter(ProgressLine line, string what, int total) : IProgress<int>
    {
        public void Report(int value) => line.Draw(what, value, total);
    }
}
