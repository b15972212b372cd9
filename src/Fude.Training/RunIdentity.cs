using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Fude.Training;

/// <summary>What makes a run the run it is: a resume with another model or other data is refused, not continued to something else.</summary>
public static class RunIdentity
{
    private const string FileName = "identity.json";

    /// <summary>Writes the identity of a new run into its folder, or compares with what the run began with.</summary>
    /// <param name="folder">The run's folder, which need not exist.</param>
    /// <param name="traits">Names and values, in an order of their own; what may change between resumes is not among them.</param>
    /// <exception cref="InvalidDataException">The folder's run is another one.</exception>
    public static void Check(string folder, IReadOnlyList<KeyValuePair<string, string>> traits)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(traits);
        string file = Path.Combine(folder, FileName);
        if (!File.Exists(file))
        {
            _ = Directory.CreateDirectory(folder);
            string pending = Path.Combine(folder, $".{FileName}.{Path.GetRandomFileName()}");
            File.WriteAllBytes(pending, Json(traits));
            File.Move(pending, file, overwrite: true);
            return;
        }
        Dictionary<string, string> begun = Read(file);
        foreach ((string name, string value) in traits)
        {
            if (begun.TryGetValue(name, out string? old) && old == value) continue;
            throw new InvalidDataException(
                $"{file}: the run in this folder began with {name} {(old is null ? "not given" : $"'{old}'")}, and now it is '{value}'. Give what it began with, " +
                "or another folder for a new run.");
        }
    }

    /// <summary>A short fingerprint of bytes: the first 16 hexadecimal digits of their SHA-256.</summary>
    public static string Fingerprint(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes).AsSpan(0, 8));

    /// <summary>A short fingerprint of a file's bytes.</summary>
    public static string FingerprintOf(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream).AsSpan(0, 8));
    }

    private static byte[] Json(IReadOnlyList<KeyValuePair<string, string>> traits)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            foreach ((string name, string value) in traits) json.WriteString(name, value);
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    private static Dictionary<string, string> Read(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            return document.RootElement.EnumerateObject().ToDictionary(trait => trait.Name, trait => trait.Value.GetString() ?? "", StringComparer.Ordinal);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new InvalidDataException($"{file}: is not the identity of a run: {e.Message} Begin the run in another folder.", e);
        }
    }
}
