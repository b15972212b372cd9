using System.Globalization;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>What a person sees of a run: on a screen one line that is drawn anew with every step, elsewhere a line now and then.</summary>
/// <remarks>The line that is drawn anew has a mean loss, so that it is calm, and says so; the first and the last line, and one with a held-out loss, have
/// the step's own, which is what metrics.jsonl has and what a held-out loss may stand beside. Mean loss and speed forget: a step weighs half as much after
/// <see cref="HalfLifeSeconds"/>, or after a tenth of the run where that is sooner. The first step, in which code is compiled and memory is first touched,
/// does not count for the speed once there is another. The time that is left is counted by the clock, evaluations and checkpoints included, and forgets
/// more slowly, so that one evaluation does not upset it.</remarks>
internal sealed class TrainingLine : IDisposable
{
    private const double HalfLifeSeconds = 10, HalfLifeShare = 0.1, PaceHalfLifeSeconds = 300, PlainSeconds = 30, PeakIsWorthSeconds = 20, PeakAgainSeconds = 60;

    private readonly Terminal _terminal;
    private readonly ProgressLine _line;
    private readonly long _steps;
    private readonly double _flopsPerToken;
    private readonly Func<double>? _measurePeak;
    private readonly TimeProvider _time;
    private double? _peak;
    private long _peakMeasured;
    private long _last, _lastPlain, _tokens, _shown;
    private double _lossWeight, _loss, _speedWeight, _speed, _paceSeconds, _paceSteps;

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
        bool isFirst = _shown++ == 0;
        Follow(report, whole);
        if (IsPeakDue(report, now))
        {
            _peak = Math.Max(_peak ?? 0, _measurePeak!());
            _peakMeasured = now;
        }
        _last = _time.GetTimestamp();
        bool isLast = report.Step >= _steps;
        string line = Line(report, isOwnLoss: isFirst || isLast || report.HeldOutLoss is not null);
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
        if (!isFirst && report.HeldOutLoss is null && !isLast && _time.GetElapsedTime(_lastPlain, now).TotalSeconds < PlainSeconds) return;
        _lastPlain = now;
        _terminal.Error.WriteLine(line);
    }

    /// <inheritdoc/>
    public void Dispose() => _line.Dispose();

    // In a run that takes long; and again where the run is faster than it: something else ran while it was measured.
    private bool IsPeakDue(in StepReport report, long now) =>
        _measurePeak is not null && (_peak is not { } peak
            ? SecondsLeft(report) > PeakIsWorthSeconds
            : _speed / _speedWeight * _flopsPerToken > peak && _time.GetElapsedTime(_peakMeasured, now).TotalSeconds >= PeakAgainSeconds);

    private void Follow(in StepReport report, double whole)
    {
        double kept = Math.Pow(0.5, Math.Max(whole / HalfLifeSeconds, 1 / (HalfLifeShare * _steps))), weight = 1 - kept;
        if (_shown == 2) (_speed, _speedWeight, _paceSeconds, _paceSteps) = (0, 0, 0, 0);
        double speed = report.Seconds > 0 ? (report.Tokens - _tokens) / report.Seconds : 0;
        _tokens = report.Tokens;
        _loss = kept * _loss + weight * report.Loss;
        _lossWeight = kept * _lossWeight + weight;
        _speed = kept * _speed + weight * speed;
        _speedWeight = kept * _speedWeight + weight;
        double keptPace = Math.Pow(0.5, whole / PaceHalfLifeSeconds);
        _paceSeconds = keptPace * _paceSeconds + whole;
        _paceSteps = keptPace * _paceSteps + 1;
    }

    private double SecondsLeft(in StepReport report) => (_steps - report.Step) * _paceSeconds / _paceSteps;

    private string Line(in StepReport report, bool isOwnLoss)
    {
        double speed = _speed / _speedWeight;
        string percent = string.Create(CultureInfo.InvariantCulture, $"{100.0 * report.Step / _steps:F1} %");
        string loss = (isOwnLoss ? report.Loss : _loss / _lossWeight).ToString("F4", CultureInfo.InvariantCulture), tokens = speed.ToString("N0", CultureInfo.InvariantCulture);
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
            $"step {report.Step}/{_steps} ({percent})  {(isOwnLoss ? "loss" : "mean loss")} {loss}{heldOut}  {tokens} tokens/s{peak}  {left} left",
            $"ステップ {report.Step}/{_steps} ({percent})  {(isOwnLoss ? "損失" : "平均損失")} {loss}{heldOut}  {tokens} トークン/秒{peak}  残り {left}");
    }

    private static string Left(double seconds)
    {
        TimeSpan time = TimeSpan.FromSeconds(Math.Clamp(seconds, 0, 1e9));
        return time.TotalHours >= 1
            ? string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalHours}:{time.Minutes:D2}:{time.Seconds:D2}")
            : string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:D2}");
    }
}
