using System.Diagnostics;
using System.Globalization;

namespace Fude.Cli;

/// <summary>One line on standard error that says how far a long job is; nothing where standard error is not a screen.</summary>
/// <param name="terminal">Where it is drawn.</param>
/// <param name="columns">How wide the screen is; null to ask the system.</param>
internal sealed class ProgressLine(Terminal terminal, Func<int>? columns = null) : IDisposable
{
    private readonly Stopwatch _sinceDrawn = Stopwatch.StartNew();
    private bool _isDrawn;

    /// <summary>Something that is told how much of a total is done.</summary>
    public IProgress<int> Of(string what, int total) => new Counter(this, what, total);

    /// <summary>Something that is told what part is done, from 0 to 1; it stops the work that tells it when that is wished.</summary>
    public IProgress<double> Of(string what, CancellationToken stop) => new Share(this, what, stop);

    /// <summary>Something that is told how a job goes on, and says so in its own words.</summary>
    public IProgress<T> Of<T>(Func<T, string> words, CancellationToken stop) => new Words<T>(this, words, stop);

    /// <summary>Takes the line away.</summary>
    public void Clear()
    {
        if (_isDrawn) terminal.Error.Write("\r\e[K");
        _isDrawn = false;
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    private void Draw(string what, int done, int total) =>
        Draw(string.Create(CultureInfo.InvariantCulture, $"{what} {done}/{total} ({100.0 * done / total:F0} %)"));

    /// <summary>Draws the line anew, unless that was done a moment ago.</summary>
    public void Draw(string text)
    {
        if (!terminal.ErrorIsScreen || _sinceDrawn.ElapsedMilliseconds < 100) return;
        _sinceDrawn.Restart();
        _isDrawn = true;
        terminal.Error.Write($"\r\e[K{Cut(text, (columns ?? ScreenColumns)() - 1)}");
    }

    // A line that goes on in the next row could not be taken away again.
    private static string Cut(string text, int cells)
    {
        if (cells <= 0 || LineEditor.Cells(text) <= cells) return text;
        int length = 0;
        for (int used = 0; length < text.Length;)
        {
            int next = StringInfo.GetNextTextElementLength(text, length);
            used += LineEditor.Cells(text.Substring(length, next));
            if (used > cells) break;
            length += next;
        }
        return text[..length];
    }

    private static int ScreenColumns()
    {
        try
        {
            return Console.WindowWidth;
        }
        catch (Exception e) when (e is IOException or PlatformNotSupportedException)
        {
            return 0;       // nobody knows
        }
    }

    private sealed class Share(ProgressLine line, string what, CancellationToken stop) : IProgress<double>
    {
        public void Report(double value)
        {
            stop.ThrowIfCancellationRequested();
            line.Draw(string.Create(CultureInfo.InvariantCulture, $"{what} {100 * value:F0} %"));
        }
    }

    private sealed class Words<T>(ProgressLine line, Func<T, string> words, CancellationToken stop) : IProgress<T>
    {
        public void Report(T value)
        {
            stop.ThrowIfCancellationRequested();
            line.Draw(words(value));
        }
    }

    private sealed class Counter(ProgressLine line, string what, int total) : IProgress<int>
    {
        public void Report(int value) => line.Draw(what, value, total);
    }
}
