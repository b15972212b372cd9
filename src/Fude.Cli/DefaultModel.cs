using System.CommandLine;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>The model that comes with fude and is used where none is named: models/fude-mini-ja, beside the program.</summary>
internal static class DefaultModel
{
    public const string Name = "fude-mini-ja";

    // Of files that are models or tokenizers.
    private static readonly string[] Endings = [".gguf", ".model", ".json"];

    /// <summary>Its folder.</summary>
    public static string Path { get; } = System.IO.Path.Combine(AppContext.BaseDirectory, "models", Name);

    /// <summary>The model that was named, or the default one.</summary>
    public static string Or(string? named) => named ?? (Directory.Exists(Path) ? Path : throw new Failure(
        $"No model was named, and {Path}, which comes with fude, is not there. Name a model's folder or GGUF file.",
        $"モデルが指定されておらず、付属の {Path} もありません。モデルのフォルダーか GGUF ファイルを指定してください。"));

    /// <summary>Where a model lies that a word names: the default model's folder where it is its name, and no file or folder is called so.</summary>
    /// <param name="word">The word.</param>
    /// <param name="place">Where it would lie as a path; null for the word itself.</param>
    public static string Named(string word, string? place = null) =>
        word == Name && !System.IO.Path.Exists(place ?? word) && Directory.Exists(Path) ? Path : place ?? word;

    /// <summary>Has a command and those below it take the default model's name wherever a model or a tokenizer is named.</summary>
    public static void AcceptName(Command command)
    {
        foreach (Argument argument in command.Arguments)
        {
            if (argument is Argument<string?> { HelpName: "MODEL" } model)
                model.CustomParser = result => result.Tokens is [{ Value: string word }] ? Named(word) : null;
            else if (argument is Argument<string[]> { HelpName: "MODEL" } models)
                models.CustomParser = result => [.. result.Tokens.Select(word => Named(word.Value))];
        }
        foreach (Option option in command.Options)
            if (option is Option<string?> { Name: "--from" or "--tokenizer" } model)
                model.CustomParser = result => result.Tokens is [{ Value: string word }] ? Named(word) : null;
        foreach (Command part in command.Subcommands) AcceptName(part);
    }

    /// <summary>What MODEL and TEXT are of the words of a command line: one alone is a model if there is such a file or folder, and a text for the default model otherwise.</summary>
    /// <returns>The model, or null for the default one; and the text, if any.</returns>
    /// <param name="first">The first word, if any.</param>
    /// <param name="second">The second, if any.</param>
    /// <param name="hasText">Whether the text is given otherwise, so that a word alone is the model.</param>
    public static (string? Model, string? Text) Of(string? first, string? second, bool hasText) =>
        first is null ? (null, null)
        : second is not null || hasText || LooksLikePath(first) ? (first, second)
        : LooksLikeName(first) ? throw Failure.OfUsage(
            $"{first} looks like the name of a model, but there is no such folder or file. Give the path of the model's folder or GGUF file; if it is a text for {Name}, name the model too: {Path}.",
            $"{first} はモデルの名前のようですが、そのようなフォルダーやファイルはありません。モデルのフォルダーか GGUF ファイルのパスを指定してください。{Name} に渡すテキストなら、モデルも指定してください: {Path}")
        : ((string?)null, first);

    /// <summary>Whether a word alone is a text: it is no file or folder, nor like the path or the name of one.</summary>
    public static bool IsText(string word) => !LooksLikePath(word) && !LooksLikeName(word);

    // As llm-jp-13b-v1.0, 01-ai/Yi-6B and models/llm-jp are, and COVID-19, e-mail, and/or and 2026-11-23 are not.
    private static bool LooksLikeName(string word) =>
        word.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '/') && word.Any(char.IsAsciiLetter)
        && (word.IndexOf('/', StringComparison.Ordinal) is > 0 and int slash
            ? slash < word.Length - 1 && word.Any(c => char.IsAsciiDigit(c) || c == '-')
            : word.Count(c => c == '-') >= 2 && word.Any(char.IsAsciiDigit));

    // An empty word is a variable that was not set, rather than a text.
    private static bool LooksLikePath(string word) =>
        word.Length == 0 || Directory.Exists(word) || File.Exists(word) || Endings.Any(ending => word.EndsWith(ending, StringComparison.OrdinalIgnoreCase))
        || word.StartsWith("./", StringComparison.Ordinal) || word.StartsWith("../", StringComparison.Ordinal) || System.IO.Path.IsPathRooted(word);
}
