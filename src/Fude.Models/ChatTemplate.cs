using System.Text;
using System.Text.Json;
using Fude.Models.Jinja;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>One message of a conversation, as a chat template reads it.</summary>
/// <param name="Role">"system", "user" or "assistant".</param>
/// <param name="Content">What is said.</param>
public readonly record struct ChatTurn(string Role, string Content);

/// <summary>A Hugging Face chat template: the part of Jinja that the published templates use, rendered as transformers renders it.</summary>
/// <remarks>
/// trim_blocks and lstrip_blocks are on; <c>tools</c> and <c>documents</c> are none. Anything outside that part is an error with its line
/// and column, and a template that would run for ever or fill the memory is one too. Instances are immutable and may be shared by threads.
/// </remarks>
public sealed class ChatTemplate
{
    private readonly JinjaSource _source;
    private readonly Statement[] _body;

    private ChatTemplate(JinjaSource source) => (_source, _body) = (source, JinjaParser.Parse(source));

    /// <summary>Its text.</summary>
    internal string Source => _source.Text;

    /// <summary>Reads a template.</summary>
    /// <param name="source">Its text.</param>
    /// <param name="origin">Where the text comes from, for messages: a file's path.</param>
    /// <exception cref="InvalidDataException">It is not well formed; the message has line and column.</exception>
    /// <exception cref="NotSupportedException">It uses something of Jinja that chat templates do without; the message has line and column.</exception>
    public static ChatTemplate Parse(string source, string origin)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentException.ThrowIfNullOrEmpty(origin);
        return new(new JinjaSource(source, origin));
    }

    /// <summary>Writes a conversation as the model was trained to read it, special tokens included.</summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="addGenerationPrompt">Whether the beginning of an answer is written too, where the template has one.</param>
    /// <param name="bosToken">The template's bos_token; null: not defined.</param>
    /// <param name="eosToken">The template's eos_token; null: not defined.</param>
    /// <exception cref="ArgumentException">The template refuses the conversation (raise_exception); the message is its own.</exception>
    /// <exception cref="InvalidDataException">The template fails; the message has line and column.</exception>
    /// <exception cref="NotSupportedException">It uses something of Jinja that chat templates do without.</exception>
    public string Render(IReadOnlyList<ChatTurn> messages, bool addGenerationPrompt = true, string? bosToken = null, string? eosToken = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        Dictionary<string, object?> variables = new()
        {
            ["messages"] = messages.Select(object? (turn) => new OrderedDictionary<string, object?>(StringComparer.Ordinal)
            {
                ["role"] = turn.Role,
                ["content"] = turn.Content,
            }).ToList(),
            ["add_generation_prompt"] = addGenerationPrompt,
            ["tools"] = null,
            ["documents"] = null,
            ["namespace"] = (JinjaFunction)Namespace,
            ["raise_exception"] = (JinjaFunction)RaiseException,
            ["range"] = (JinjaFunction)Range,
        };
        if (bosToken is not null) variables["bos_token"] = bosToken;
        if (eosToken is not null) variables["eos_token"] = eosToken;
        JinjaRendering rendering = new(_source, variables);
        rendering.Run(_body);
        return rendering.Output;
    }

    /// <summary>The template that a folder's chat_template.jinja or tokenizer_config.json holds, or null.</summary>
    internal static ChatTemplate? Of(string folder, ConfigReader? tokenizerConfig) =>
        TextOf(folder, tokenizerConfig) is { } found ? Parse(found.Text, found.Origin) : null;

    /// <summary>The text of that template, and where it comes from, whatever it uses of Jinja; or null.</summary>
    internal static (string Text, string Origin)? TextOf(string folder, ConfigReader? tokenizerConfig)
    {
        string file = Path.Combine(folder, "chat_template.jinja");
        if (File.Exists(file))
        {
            byte[] bytes = ModelFolder.Reading(file, () => new FileInfo(file).Length <= 4 * JinjaSource.MaxLength
                ? File.ReadAllBytes(file)
                : throw new InvalidDataException(Say(
                    $"{file} is too large to be a chat template.", $"{file} はチャットテンプレートとしては大きすぎます。")));
            ReadOnlySpan<byte> utf8 = bytes;
            if (utf8.StartsWith("\uFEFF"u8)) utf8 = utf8[3..];
            try
            {
                return (new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(utf8), file);
            }
            catch (DecoderFallbackException e)
            {
                throw new InvalidDataException(
                    Say($"{file} holds bytes that are no UTF-8.", $"{file} に UTF-8 でないバイトがあります。"), e);
            }
        }
        if (tokenizerConfig?.Value("chat_template") is not { } given) return null;
        string origin = $"{tokenizerConfig.File}: chat_template";
        if (given.ValueKind == JsonValueKind.String) return (given.GetString()!, origin);
        if (given.ValueKind != JsonValueKind.Array)
            throw new InvalidDataException(Say(
                $"{origin} is neither a string nor a list of objects with name and template.",
                $"{origin} が、文字列でも、name と template を持つオブジェクトのリストでもありません。"));
        foreach (JsonElement named in given.EnumerateArray())
            if (named.ValueKind == JsonValueKind.Object && named.TryGetProperty("name", out JsonElement name)
                && name.ValueKind == JsonValueKind.String && name.GetString() == "default"
                && named.TryGetProperty("template", out JsonElement template) && template.ValueKind == JsonValueKind.String)
                return (template.GetString()!, $"{origin} 'default'");
        throw new InvalidDataException(Say(
            $"{origin} is a list without one of the name 'default'.", $"{origin} のリストに 'default' という名前のものがありません。"));
    }

    private static object Namespace(JinjaArguments arguments)
    {
        OrderedDictionary<string, object?> values = new(arguments.Named, StringComparer.Ordinal);
        arguments.Named.Clear();
        arguments.Done();
        return new JinjaNamespace(values);
    }

    private object? RaiseException(JinjaArguments arguments)
    {
        string message = arguments.Rendering.TextOf(arguments.Take("message"), arguments.Offset);
        throw new ArgumentException(_source.Told(
            arguments.Offset, $"the template refuses the conversation: {message}", $"テンプレートがこの会話を拒否しました: {message}"));
    }

    private static object Range(JinjaArguments arguments)
    {
        JinjaRendering to = arguments.Rendering;
        long start = 0, stop = arguments.TakeWholeOr("stop", 0);
        if (!arguments.IsEmpty) (start, stop) = (stop, arguments.TakeWholeOr("stop", 0));
        long step = arguments.TakeWholeOr("step", 1);
        arguments.Done();
        if (step == 0) throw to.Source.Wrong(arguments.Offset, "range's step is not 0.", "range の step を 0 にはできません。");
        List<object?> all = [];
        for (Int128 i = start; step > 0 ? i < stop : i > stop; i += step)
        {
            to.Spend(1, arguments.Offset);
            to.SpendText(16, arguments.Offset);
            all.Add((long)i);
        }
        return all;
    }
}
