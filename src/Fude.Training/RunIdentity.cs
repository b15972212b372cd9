using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Tokenizers.Training;

namespace Fude.Training;

/// <summary>Something that a run must not change while it goes on.</summary>
/// <param name="Name">What it is, in a word or two.</param>
/// <param name="Value">Tells it from others.</param>
/// <param name="Place">Where it is now, for messages; or null.</param>
public readonly record struct RunTrait(string Name, string Value, string? Place = null);

/// <summary>What makes a run the run it is: a resume with another model or other data is refused, not continued to something else.</summary>
public static class RunIdentity
{
    private const string FileName = "identity.json";

    /// <summary>Writes the identity of a new run into its folder, or compares with what the run began with.</summary>
    /// <param name="folder">The run's folder, which need not exist.</param>
    /// <param name="traits">Names and values, in an order of their own; what may change between resumes is not among them.</param>
    /// <param name="later">Further traits, which runs that earlier versions began do not have: those are taken as they are now.</param>
    /// <param name="hasBegun">Whether there is a checkpoint. Without one there is nothing to go on with, and what failed before its first step binds nobody.</param>
    /// <exception cref="InvalidDataException">The folder's run is another one.</exception>
    public static void Check(string folder, IReadOnlyList<KeyValuePair<string, string>> traits, IReadOnlyList<RunTrait>? later = null, bool hasBegun = true)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(traits);
        string file = Path.Combine(folder, FileName);
        RunTrait[] all = [.. traits.Select(trait => new RunTrait(trait.Key, trait.Value)), .. later ?? []];
        if (!hasBegun || !File.Exists(file))
        {
            Write(file, all);
            return;
        }
        List<RunTrait> begun = Read(file);
        bool isNew = false;
        for (int i = 0; i < all.Length; i++)
        {
            (string name, string value, string? place) = all[i];
            RunTrait? old = begun.Exists(trait => trait.Name == name) ? begun.Find(trait => trait.Name == name) : null;
            if (old?.Value == value) continue;
            if (old is null && i >= traits.Count)
            {
                begun.Add(all[i]);
                isNew = true;
                continue;
            }
            throw new InvalidDataException(
                $"{file}: the run in this folder began with {name} {(old is null ? "not given" : $"'{old.Value.Value}'")}, and now it is '{value}'" +
                $"{(place is null ? "" : $" ({place}; these are fingerprints of what the files hold)")}. Give what it began with, or another folder for a new run.");
        }
        if (begun.Find(trait => !Array.Exists(all, now => now.Name == trait.Name)) is { Name: { } gone } missing)
            throw new InvalidDataException(
                $"{file}: the run in this folder began with {gone} '{missing.Value}', and now there is none. Give what it began with, or another folder for a new run.");
        if (isNew) Write(file, begun);
    }

    /// <summary>The precision of matrix products as a trait.</summary>
    internal static RunTrait Precision(bool roundsProducts) => new("precision", roundsProducts ? "bf16" : "f32");

    /// <summary>A short fingerprint of a file's bytes: the first 16 hexadecimal digits of their SHA-256.</summary>
    public static string FingerprintOf(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream).AsSpan(0, 8));
    }

    private static void Write(string file, IReadOnlyList<RunTrait> traits) => AtomicFile.Write(file, Json(traits));

    private static byte[] Json(IReadOnlyList<RunTrait> traits)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            foreach (RunTrait trait in traits) json.WriteString(trait.Name, trait.Value);
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    private static List<RunTrait> Read(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            return [.. document.RootElement.EnumerateObject().Select(trait => new RunTrait(trait.Name, trait.Value.GetString() ?? ""))];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"{file}: is not the identity of a run: {e.Message} Begin the run in another folder.", e);
        }
    }
}
