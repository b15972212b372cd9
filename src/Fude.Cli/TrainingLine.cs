using System.Globalization;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>What a person sees of a run: on a screen one line that is drawn anew with every step, elsewhere a line now and then.</summary>
/// <remarks>Loss and speed are means that forget: a step weighs half as much after <see cref="HalfLifeSeconds"/>. The time that is left is
/// counted by the clock, evaluations and checkpoints included, and forgets more slowly, so that one evaluation does not upset it.</remarks>
internal sealed class TrainingLine : IDisposable
{
    private const double HalfLifeSeconds = 10, PaceHalfLifeSeconds = 300, PlainSeconds = 30, PeakIsWorthSeconds = 20, PeakAgainSeconds = 60;

    private readonly Terminal _terminal;
    private readonly ProgressLine _line;
    private readonly long _steps;
    private readonly double _flopsPerToken;
    private readonly Func<double>? _measurePeak;
    private readonly TimeProvider _time;
    private double? _peak;
    private long _peakMeasured;
    private long _last, _lastPlain, _tokens;
    private double _weight, _loss, _speed, _paceSeconds, _paceSteps;

    /// <summary>A line for a run.</summary>
    /// <param name="terminal">Where it is drawn.</param>
    /// <param name="steps">Steps of the whole run.</param>
    /// <param name="tokens">Tokens learnt from before.</param>
    /// <param name="flopsPerToken">From <see cref="TrainableModel.FlopsPerToken"/>; 0 when it is not known.</param>
    /// <param name="peak">Measures what the machine can do at best, by <see cref="Tensors.Roofline.MatrixPeak"/>: only in a run that takes many
    /// times as long as that; null when it is not to be told.</param>
    /// <param name="time">The clock; null for the system's.</param>
    public TrainingLine(Terminal terminal, long steps, long tokens = 0, double flopsPerToken = 0, Func<double>? peak = null, TimeProvider? time = null)
    {
        (_terminal, _steps, _tokens, _flopsPerToken, _measurePeak) = (terminal, steps, tokens, flopsPerToken, peak);
        _line = new ProgressLine(terminal);
        _time = time ?? TimeProvider.System;
        _last = _time.GetTimestamp();
    }

    /// <summary>Tells of a step.</summary>
    public void Show(in StepReport report)
    {
        long now = _time.GetTimestamp();
        double whole = Math.Max(1e-9, _time.GetElapsedTime(_last, now).TotalSeconds);
        bool isFirst = _weight == 0;
        Follow(report, whole);
        if (IsPeakDue(report, now))
        {
            _peak = Math.Max(_peak ?? 0, _measurePeak!());
            _peakMeasured = now;
        }
        _last = _time.GetTimestamp();
        string line = Line(report);
        if (_terminal.ErrorIsScreen)
        {
            if (report.HeldOutLoss is not null)
            {
                _line.Clear();
                _terminal.Error.WriteLine(line);
            }
            else
            {
                _line.Draw(line);
            }
            return;
        }
        if (!isFirst && report.HeldOutLoss is null && report.Step < _steps && _time.GetElapsedTime(_lastPlain, now).TotalSeconds < PlainSeconds) return;
        _lastPlain = now;
        _terminal.Error.WriteLine(line);
    }

    /// <inheritdoc/>
    public void Dispose() => _line.Dispose();

    // In a run that takes long; and again where the run is faster than it: something else ran while it was measured.
    private bool IsPeakDue(in StepReport report, long now) =>
        _measurePeak is not null && (_peak is not { } peak
            ? SecondsLeft(report) > PeakIsWorthSeconds
            : _speed / _weight * _flopsPerToken > peak && _time.GetElapsedTime(_peakMeasured, now).TotalSeconds >= PeakAgainSeconds);

    private void Follow(in StepReport report, double whole)
    {
        double kept = Math.Pow(0.5, whole / HalfLifeSeconds), weight = 1 - kept;
        double speed = report.Seconds > 0 ? (report.Tokens - _tokens) / report.Seconds : 0;
        _tokens = report.Tokens;
        _loss = kept * _loss + weight * report.Loss;
        _speed = kept * _speed + weight * speed;
        _weight = kept * _weight + weight;
        double keptPace = Math.Pow(0.5, whole / PaceHalfLifeSeconds);
        _paceSeconds = keptPace * _paceSeconds + whole;
        _paceSteps = keptPace * _paceSteps + 1;
    }

    private double SecondsLeft(in StepReport report) => (_steps - report.Step) * _paceSeconds / _paceSteps;

    private string Line(in StepReport report)
    {
        double speed = _speed / _weight;
        string percent = string.Create(CultureInfo.InvariantCulture, $"{100.0 * report.Step / _steps:F1} %");
        string loss = (_loss / _weight).ToString("F4", CultureInfo.InvariantCulture), tokens = speed.ToString("N0", CultureInfo.InvariantCulture);
        string peak = "";
        if (_flopsPerToken > 0 && _peak is > 0)
        {
            string share = (100 * speed * _flopsPerToken / _peak.Value).ToString("F0", CultureInfo.InvariantCulture);
            peak = Say($" ({share} % of peak)", $" (ピーク比 {share} %)");
        }
        string heldOut = report.HeldOutLoss is { } held
            ? string.Create(CultureInfo.InvariantCulture, $"  {Say("held-out", "検証")} {held:F4}")
            : "";
        string left = Left(SecondsLeft(report));
        return Say(
            $"step {report.Step}/{_steps} ({percent})  loss {loss}{heldOut}  {tokens} tokens/s{peak}  {left} left",
            $"ステップ {report.Step}/{_steps} ({percent})  損失 {loss}{heldOut}  {tokens} トークン/秒{peak}  残り {left}");
    }

    private static string Left(double seconds)
    {
        TimeSpan time = TimeSpan.FromSeconds(Math.Clamp(seconds, 0, 1e9));
        return time.TotalHours >= 1
            ? string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalHours}:{time.Minutes:D2}:{time.Seconds:D2}")
            : string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:D2}");
    }
}
