using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>What a step was last done with: its settings and the fingerprints of what it read and wrote. Kept beside its first output.</summary>
/// <param name="Settings">The settings that the result depends on, as text.</param>
/// <param name="Start">Those that a run which goes on must have begun with.</param>
/// <param name="Inputs">Fingerprints by path.</param>
/// <param name="Outputs">Likewise, of what it wrote; empty while it is not done.</param>
/// <param name="IsDone">Whether it came to its end.</param>
internal sealed record StepState(
    string Settings, string Start, IReadOnlyDictionary<string, string> Inputs, IReadOnlyDictionary<string, string> Outputs, bool IsDone)
{
    private const string Suffix = ".step.json";

    /// <summary>The file of a step's state.</summary>
    public static string PathOf(RecipeStep step) => step.Outputs.First().Path + Suffix;

    /// <summary>Reads it; null when the step was never begun.</summary>
    /// <exception cref="Failure">The file is damaged.</exception>
    public static StepState? Read(RecipeStep step)
    {
        string file = PathOf(step);
        if (!File.Exists(file)) return null;
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            JsonElement json = document.RootElement;
            return new StepState(Text(json, "settings"), Text(json, "start"), Map(json, "inputs"), Map(json, "outputs"), json.GetProperty("done").GetBoolean());
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            string outputs = string.Join(Say(", ", "、"), step.Outputs.Select(output => output.Path));
            throw new Failure(
                $"{file}: is not the state of a recipe's step: {JsonMistake.What(e)}. With --adopt {step.Word} what lies at {outputs} is kept as the step's result, and an " +
                "unfinished training goes on; to have the step done again, remove the file and what lies there.",
                $"{file}: 手順の状態として読めません: {JsonMistake.What(e)}。--adopt {step.Word} を付けると、{outputs} にあるものを手順の結果として残し、途中の学習は続きから行います。" +
                "手順をやり直すには、このファイルと出力先にあるものを両方削除してください。");
        }
    }

    /// <summary>Writes it: the old file or the whole new one is there, never a part.</summary>
    public void Write(string file)
    {
        using MemoryStream text = new();
        using (Utf8JsonWriter json = new(text, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteBoolean("done", IsDone);
            json.WriteString("settings", Settings);
            json.WriteString("start", Start);
            Write(json, "inputs", Inputs);
            Write(json, "outputs", Outputs);
            json.WriteEndObject();
        }
        AtomicFile.Write(file, text.GetBuffer().AsSpan(0, (int)text.Length));
    }

    /// <summary>Whether two states are of the same settings and inputs.</summary>
    public bool IsOf(StepState other) => Settings == other.Settings && Same(Inputs, other.Inputs);

    /// <summary>Whether a run that began as one can go on as the other.</summary>
    public bool BeganAs(StepState other) => Start == other.Start && Same(Inputs, other.Inputs);

    /// <summary>Whether two lists of fingerprints are the same.</summary>
    public static bool Same(IReadOnlyDictionary<string, string> a, IReadOnlyDictionary<string, string> b) =>
        a.Count == b.Count && a.All(pair => b.TryGetValue(pair.Key, out string? other) && other == pair.Value);

    private static string Text(JsonElement json, string name) => json.GetProperty(name).GetString() ?? throw new JsonException($"'{name}' is null.");

    private static Dictionary<string, string> Map(JsonElement json, string name) =>
        json.GetProperty(name).EnumerateObject().ToDictionary(one => one.Name, one => one.Value.GetString() ?? "", StringComparer.Ordinal);

    private static void Write(Utf8JsonWriter json, string name, IReadOnlyDictionary<string, string> map)
    {
        json.WriteStartObject(name);
        foreach ((string key, string value) in map.OrderBy(pair => pair.Key, StringComparer.Ordinal)) json.WriteString(key, value);
        json.WriteEndObject();
    }
}
