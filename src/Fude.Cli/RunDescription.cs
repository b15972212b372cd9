using System.Globalization;
using Fude.Training;

namespace Fude.Cli;

/// <summary>What a run was told, by the names of the options and as it would be typed: for run.json and the report.</summary>
internal static class RunDescription
{
    /// <summary>The settings that say something.</summary>
    /// <param name="settings">Null or empty where an option was not given.</param>
    public static IEnumerable<KeyValuePair<string, string>> Of(IEnumerable<(string Name, object? Value)> settings) =>
        settings.Where(setting => setting.Value is not (null or "")).Select(setting => KeyValuePair.Create(setting.Name, Word(setting.Value!)));

    private static string Word(object value) => value switch
    {
        ScheduleForm.WarmupStableDecay => "wsd",
        Enum or bool => string.Create(CultureInfo.InvariantCulture, $"{value}").ToLowerInvariant(),
        PreferenceLoss loss => $"{Word(loss.Form)}, beta {Word(loss.Beta)}, label-smoothing {Word(loss.LabelSmoothing)}, per-token {Word(loss.PerToken)}",
        _ => string.Create(CultureInfo.InvariantCulture, $"{value}"),
    };
}
