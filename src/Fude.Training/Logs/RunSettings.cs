using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A setting that a run goes on with otherwise than so far.</summary>
/// <param name="Name">The option's.</param>
/// <param name="Before">What it was; null where it was not given.</param>
/// <param name="Now">What it is; null where it is not given any more.</param>
public readonly record struct SettingChange(string Name, string? Before, string? Now);

/// <summary>What a run was told, in the words of the options: its settings at the beginning, and what was changed after which step. The file run.json.</summary>
internal sealed class RunSettings
{
    private readonly List<(long Step, string Name, string? Value)> _changes = [];

    public RunSettings(string title, IEnumerable<KeyValuePair<string, string>> settings) => (Title, Settings) = (title, Unique(settings));

    /// <summary>What the run is.</summary>
    public string Title { get; }

    /// <summary>As it began, by names of their own.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Settings { get; }

    /// <summary>What holds after a step, in order; null for what was not given any more.</summary>
    public IReadOnlyList<(long Step, string Name, string? Value)> Changes => _changes;

    /// <summary>Whether <see cref="GoOn"/> changed what the file holds.</summary>
    public bool IsChanged { get; private set; }

    /// <summary>Notes that a run goes on after a step with other settings. What was noted of later steps never came to pass.</summary>
    /// <returns>What differs from the settings so far.</returns>
    public IReadOnlyList<SettingChange> GoOn(long step, IEnumerable<KeyValuePair<string, string>> settings)
    {
        IsChanged = _changes.RemoveAll(change => change.Step >= step) > 0;
        Dictionary<string, string> now = new(Unique(settings), StringComparer.Ordinal);
        Dictionary<string, string?> before = new(StringComparer.Ordinal);
        foreach ((string name, string value) in Settings) before[name] = value;
        foreach ((_, string name, string? value) in _changes) before[name] = value;
        List<SettingChange> differences = [];
        foreach (string name in before.Keys.Union(now.Keys))
            if (before.GetValueOrDefault(name) is var old && now.GetValueOrDefault(name) is var given && old != given && !SaysNothing(name, now))
                differences.Add(new SettingChange(name, old, given));
        foreach (SettingChange change in differences) _changes.Add((step, change.Name, change.Now));
        IsChanged |= differences.Count > 0;
        return differences;
    }

    // The decay of warm-up, stable, decay has a length under other schedules too, which nothing depends on.
    private static bool SaysNothing(string name, Dictionary<string, string> settings) =>
        name == "decay-steps" && settings.GetValueOrDefault("schedule") is { } schedule && schedule != "wsd";

    /// <summary>Reads the file; null where there is none.</summary>
    /// <exception cref="InvalidDataException">It cannot be read.</exception>
    public static RunSettings? Read(string file)
    {
        if (!File.Exists(file)) return null;
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            JsonElement root = document.RootElement;
            RunSettings read = new(root.GetProperty("title").GetString() ?? "fude",
                root.GetProperty("settings").EnumerateObject().Select(one => KeyValuePair.Create(one.Name, one.Value.GetString() ?? "")));
            if (root.TryGetProperty("changes", out JsonElement changes))
                foreach (JsonElement change in changes.EnumerateArray())
                    foreach (JsonProperty setting in change.GetProperty("settings").EnumerateObject())
                        read._changes.Add((change.GetProperty("after_step").GetInt64(), setting.Name, setting.Value.GetString()));
            return read;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException(Say(
                $"{file}: is not the settings of a run: {JsonMistake.What(e)}. Remove it: a run that goes on writes it anew, and a report does without.",
                $"{file}: 実行の設定として読めません: {JsonMistake.What(e)}。削除してください。実行を再開すれば改めて記録され、レポートは設定なしで作れます。"), e);
        }
    }

    // A file may be given twice, with two weights.
    private static List<KeyValuePair<string, string>> Unique(IEnumerable<KeyValuePair<string, string>> settings)
    {
        Dictionary<string, int> met = new(StringComparer.Ordinal);
        List<KeyValuePair<string, string>> unique = [];
        foreach ((string name, string value) in settings)
        {
            int times = met[name] = met.GetValueOrDefault(name) + 1;
            unique.Add(new(times == 1 ? name : string.Create(CultureInfo.InvariantCulture, $"{name} ({times})"), value));
        }
        return unique;
    }

    public void Write(string file)
    {
        using MemoryStream text = new();
        using (Utf8JsonWriter json = new(text, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("title", Title);
            json.WriteStartObject("settings");
            foreach ((string name, string value) in Settings) json.WriteString(name, value);
            json.WriteEndObject();
            if (_changes.Count > 0)
            {
                json.WriteStartArray("changes");
                foreach (IGrouping<long, (long Step, string Name, string? Value)> changes in _changes.GroupBy(change => change.Step))
                {
                    json.WriteStartObject();
                    json.WriteNumber("after_step", changes.Key);
                    json.WriteStartObject("settings");
                    foreach ((_, string name, string? value) in changes) json.WriteString(name, value);
                    json.WriteEndObject();
                    json.WriteEndObject();
                }
                json.WriteEndArray();
            }
            json.WriteEndObject();
        }
        AtomicFile.Write(file, text.GetBuffer().AsSpan(0, (int)text.Length));
    }
}
