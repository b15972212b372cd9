using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Tensors;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Something that a run must not change while it goes on.</summary>
/// <param name="Name">What it is, in a word or two.</param>
/// <param name="Value">Tells it from others.</param>
/// <param name="Place">Where it is now, for messages; or null.</param>
/// <param name="Before">What it was in runs that noted nothing of it; null where nobody knows.</param>
public readonly record struct RunTrait(string Name, string Value, string? Place = null, string? Before = null)
{
    /// <summary>Whether runs that earlier versions began lack it: it is then taken for what it was <see cref="Before"/>, or else for what it is now.</summary>
    public bool IsLater { get; init; }
}

/// <summary>What makes a run the run it is: a resume with another model or other data is refused, not continued to something else.</summary>
public static class RunIdentity
{
    private const string FileName = "identity.json";

    /// <summary>Writes the identity of a new run into its folder, or compares with what the run began with.</summary>
    /// <param name="folder">The run's folder, which need not exist.</param>
    /// <param name="traits">In an order of their own; what may change between resumes is not among them.</param>
    /// <param name="hasBegun">Whether there is a checkpoint. Without one there is nothing to go on with, and what failed before its first step binds nobody.</param>
    /// <exception cref="InvalidDataException">The folder's run is another one.</exception>
    public static void Check(string folder, IReadOnlyList<RunTrait> traits, bool hasBegun = true)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(traits);
        string file = Path.Combine(folder, FileName);
        if (!hasBegun || !File.Exists(file))
        {
            Write(file, traits);
            return;
        }
        List<RunTrait> begun = Read(file);
        if (CommandOf(begun) is { } command && CommandOf(traits) is { } given && command != given)
            throw new InvalidDataException(Say(
                $"{folder}: this folder holds a run of fude {command}, not of fude {given}. Give another folder for a new run.",
                $"{folder}: このフォルダーにあるのは fude {command} の実行で、fude {given} のものではありません。新しい実行には別のフォルダーを使ってください。"));
        bool isNew = false;
        foreach (RunTrait trait in traits)
        {
            (string name, string value, string? place, string? before) = trait;
            int noted = begun.FindIndex(one => one.Name == name);
            string? old = noted >= 0 ? begun[noted].Value : before;
            if (noted >= 0 && old == value) continue;
            if (noted < 0 && trait.IsLater && (old ?? value) == value)
            {
                begun.Add(trait);
                isNew = true;
                continue;
            }
            throw Another(file, name, old, value, place);
        }
        // Earlier versions noted of preferences what does nothing there.
        if (CommandOf(begun) == "dpo") begun.RemoveAll(trait => trait.Name == "tokens per micro-batch");
        if (begun.Find(trait => traits.All(now => now.Name != trait.Name)) is { Name: { } gone } missing) throw Another(file, gone, missing.Value, null, null);
        if (isNew) Write(file, begun);
    }

    /// <summary>The precision of matrix products as a trait.</summary>
    internal static RunTrait Precision(ProductPrecision products) => new("precision", products.Name(), Before: ProductPrecision.F32.Name()) { IsLater = true };

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

    private static InvalidDataException Another(string file, string name, string? before, string? now, string? place)
    {
        (string old, string given) = TraitWords.Of(name, before, now, place);
        return new InvalidDataException(Say(
            $"{file}: the run in this folder began with {old}, and now there is {given}. Give what it began with, or another folder for a new run.",
            $"{file}: このフォルダーの実行は{Spaced(old)}で始まりましたが、今は{Spaced(given)}です。始めたときと同じものを指定するか、新しい実行には別のフォルダーを使ってください。"));

        // Japanese words stand beside Japanese ones without a space, others with one.
        static string Spaced(string text) => $"{(char.IsAscii(text[0]) ? " " : "")}{text.TrimStart()}{(char.IsAscii(text[^1]) ? " " : "")}";
    }

    // Which command a run is of, by what it has a trait of; null where none of them says so.
    private static string? CommandOf(IReadOnlyList<RunTrait> traits) =>
        traits.Any(trait => trait.Name is "config" or "base") ? "train"
        : traits.FirstOrDefault(trait => trait.Name == "preference") is { Name: not null } preference ? preference.Value.Length > 0 ? "dpo" : "tune"
        : null;

    private static List<RunTrait> Read(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            return [.. document.RootElement.EnumerateObject().Select(trait => new RunTrait(trait.Name, trait.Value.GetString() ?? ""))];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException(Say(
                $"{file}: is not the identity of a run: {JsonMistake.What(e)}. Begin the run in another folder.",
                $"{file}: 実行の識別情報として読めません: {JsonMistake.What(e)}。別のフォルダーで始めてください。"), e);
        }
    }
}
