namespace Fude.Training;

/// <summary>What a run writes down beside its checkpoints: metrics.jsonl with a line a step, scalars for TensorBoard, and a report at the end.</summary>
/// <remarks>
/// In the folder: <c>metrics.jsonl</c>; <c>run.json</c>, the settings; <c>tensorboard/events.out.tfevents.*</c>; <c>report.html</c>. A run that is taken up again goes on
/// in the same files: what they hold of steps after the checkpoint it goes on from is cut off, so no step is there twice, and settings that differ
/// from those so far are noted beside them.
/// <code>
/// using RunLog log = RunLog.Open(folder, "fude train", settings, trainer.State.Step, trainer.State.Tokens);
/// trainer.Run(report => log.Add(report), stop);
/// string? report = log.Finish();
/// </code>
/// </remarks>
public sealed class RunLog : IDisposable
{
    internal const string MetricsName = "metrics.jsonl", SettingsName = "run.json", EventsName = "tensorboard";

    private readonly string _folder;
    private readonly TimeProvider _time;
    private readonly FileStream _metrics;
    private readonly EventFile _events;
    private RunSettings? _unwritten;
    private long _step, _tokens;

    private RunLog(string folder, FileStream metrics, EventFile events, TimeProvider time, long step, long tokens) =>
        (_folder, _metrics, _events, _time, _step, _tokens) = (folder, metrics, events, time, step, tokens);

    /// <summary>Settings that a run which goes on has otherwise than so far.</summary>
    public IReadOnlyList<SettingChange> Changes { get; private init; } = [];

    /// <summary>Begins the log of a run, or goes on with it.</summary>
    /// <param name="folder">The folder, which need not exist.</param>
    /// <param name="title">What the run is, as the report is headed: the command.</param>
    /// <param name="settings">Names and values of all that the run depends on, for the report.</param>
    /// <param name="step">Steps that the run goes on after; 0 for a new one.</param>
    /// <param name="tokens">Tokens learnt from in them.</param>
    /// <param name="time">The clock; null for the system's.</param>
    /// <exception cref="InvalidDataException">The folder has a log that cannot be read.</exception>
    public static RunLog Open(
        string folder, string title, IEnumerable<KeyValuePair<string, string>> settings, long step = 0, long tokens = 0, TimeProvider? time = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(title);
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfNegative(tokens);
        time ??= TimeProvider.System;
        _ = Directory.CreateDirectory(folder);
        RunSettings? begun = step > 0 ? RunSettings.Read(Path.Combine(folder, SettingsName)) : null;
        IReadOnlyList<SettingChange> changes = begun?.GoOn(step, settings) ?? [];
        if (begun is null) new RunSettings(title, settings).Write(Path.Combine(folder, SettingsName));
        string file = Path.Combine(folder, MetricsName);
        (List<MetricsLine> lines, long bytes) = MetricsLine.ReadAll(file, step);
        FileStream? metrics = null;
        EventFile? events = null;
        try
        {
            metrics = new(file, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
            metrics.SetLength(bytes);
            _ = metrics.Seek(0, SeekOrigin.End);
            events = EventFile.Create(Path.Combine(folder, EventsName), Now(time));
            foreach (MetricsLine line in lines) events.Add(line.UnixSeconds, line.Report.Step, line.Scalars());
            events.Flush();
            return new RunLog(folder, metrics, events, time, step, tokens) { Changes = changes, _unwritten = begun?.IsChanged == true ? begun : null };
        }
        catch
        {
            metrics?.Dispose();
            events?.Dispose();
            throw;
        }
    }

    /// <summary>Adds a step.</summary>
    /// <param name="report">What it did; it follows the last one.</param>
    /// <param name="more">Further numbers, each a curve of its own.</param>
    public void Add(in StepReport report, params ReadOnlySpan<KeyValuePair<string, double>> more)
    {
        if (report.Step <= _step) throw new ArgumentException($"Step {report.Step} does not follow step {_step}.", nameof(report));
        foreach ((string name, _) in more) MetricsLine.CheckName(name);
        // Changes hold from this step on; a run that is over already has none.
        _unwritten?.Write(Path.Combine(_folder, SettingsName));
        _unwritten = null;
        MetricsLine line = new(report, report.Seconds > 0 ? (report.Tokens - _tokens) / report.Seconds : 0, Now(_time), more.ToArray());
        (_step, _tokens) = (report.Step, report.Tokens);
        // One write a line: whoever reads meanwhile sees whole lines, and a process that is killed leaves at most half of the last one.
        _metrics.Write(line.ToBytes());
        _metrics.Flush();
        _events.Add(line.UnixSeconds, report.Step, line.Scalars());
        _events.Flush();
    }

    /// <summary>Writes the report of what there is so far.</summary>
    /// <returns>Its path; null before the first step, when there is nothing to report.</returns>
    public string? Finish() => _metrics.Length > 0 ? RunReport.Write(_folder) : null;

    /// <summary>Closes the files.</summary>
    public void Dispose()
    {
        _metrics.Dispose();
        _events.Dispose();
    }

    private static double Now(TimeProvider time) => Math.Round((time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds, 3);
}
