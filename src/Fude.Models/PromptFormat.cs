using System.Text;
using System.Text.Json;
using Fude.Tokenizers;

namespace Fude.Models;

/// <summary>What a model is given to read.</summary>
/// <param name="Text">The text, special tokens written out where the format has them.</param>
/// <param name="AddSpecialTokens">Whether the tokenizer adds its own special tokens too (transformers' add_special_tokens).</param>
public readonly record struct Prompt(string Text, bool AddSpecialTokens);

/// <summary>A question that has been answered, earlier in a conversation.</summary>
/// <param name="Question">What was asked.</param>
/// <param name="Answer">What the model said.</param>
public readonly record struct Exchange(string Question, string Answer);

/// <summary>Which format a folder's model is likely to want, and what that is concluded from.</summary>
/// <param name="Format">The format.</param>
/// <param name="IsSure">False when nothing but the architecture spoke for it.</param>
/// <param name="Reason">What spoke for it, as a sentence.</param>
public sealed record PromptFormatGuess(PromptFormat Format, bool IsSure, string Reason);

/// <summary>How an instruction is written for one kind of model: the very text it was trained with, oddities included.</summary>
/// <remarks>Names are stable and versioned: a format never changes under its name.</remarks>
public sealed class PromptFormat
{
    private readonly Writer _writer;
    private readonly string? _system;
    private readonly bool _mayHaveSystem;

    private delegate string Writer(string? system, IReadOnlyList<Exchange> history, string question, string? input);

    private PromptFormat(
        string name, string description, bool addSpecialTokens, bool hasTurns, string? system, Writer writer, bool mayHaveSystem = false)
    {
        (Name, Description, AddSpecialTokens, HasTurns) = (name, description, addSpecialTokens, hasTurns);
        (_system, _mayHaveSystem, _writer) = (system, mayHaveSystem, writer);
    }

    /// <summary>The name of <see cref="OfTemplate"/>'s format: what a folder's own template says.</summary>
    public const string TemplateName = "chat-template";

    /// <summary>The name it is chosen by, e.g. "elyza-llama2-instruct".</summary>
    public string Name { get; }

    /// <summary>Which models were trained with it.</summary>
    public string Description { get; }

    /// <summary>Whether the tokenizer is to add its special tokens to the text.</summary>
    public bool AddSpecialTokens { get; }

    /// <summary>Whether earlier turns of a conversation have a place in it.</summary>
    public bool HasTurns { get; }

    /// <summary>Whether it tells the model about its task in words that can be changed.</summary>
    public bool HasSystem => _system is not null || _mayHaveSystem;

    /// <summary>The text as it is, with the tokenizer's special tokens: base models.</summary>
    public static PromptFormat Plain { get; } = new("plain", "The text as it is: base models (Llama 2, Japanese StableLM Base, ELYZA).",
        addSpecialTokens: true, hasTurns: false, null, WriteText);

    /// <summary>The text as it is, without special tokens: llm-jp's tokenizer would append the end of the document.</summary>
    public static PromptFormat LlmJpBase { get; } = new("llm-jp-base-v1",
        "The text as it is, without special tokens: llm-jp-1.3b/13b-v1.0, whose tokenizer would append <EOD|LLM-jp>.",
        addSpecialTokens: false, hasTurns: false, null, WriteText);

    /// <summary>Japanese StableLM Instruct Beta, by its card: the second tag is &lt;&lt;SYS&gt;&gt; too, and there are two BOS.</summary>
    public static PromptFormat StableLmBeta { get; } = new("japanese-stablelm-instruct-beta",
        "japanese-stablelm-instruct-beta-7b/70b and ja_vocab-beta-7b: <<SYS>> twice and two BOS, as the card has it.",
        addSpecialTokens: true, hasTurns: true, "あなたは役立つアシスタントです。", (system, history, question, input) =>
            // With no input its blank line stays.
            WriteLlama2(system, "<<SYS>>", history, $"{question}\n\n{input}", " "));

    /// <summary>Japanese StableLM Instruct of 3 billion parameters and Gamma.</summary>
    public static PromptFormat StableLmAlpaca { get; } = new("japanese-stablelm-instruct-alpaca",
        "japanese-stablelm-3b-4e1t-instruct and japanese-stablelm-instruct-gamma-7b.",
        addSpecialTokens: false, hasTurns: false,
        "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。", (system, _, question, input) =>
            $"{system}\n\n### 指示: \n{question}{(string.IsNullOrEmpty(input) ? "" : $"\n\n### 入力: \n{input}")}\n\n### 応答: \n");

    /// <summary>ELYZA's instruction models.</summary>
    public static PromptFormat Elyza { get; } = new("elyza-llama2-instruct",
        "ELYZA-japanese-Llama-2-7b-instruct and -fast-instruct: the text carries its own BOS.",
        addSpecialTokens: false, hasTurns: true, "あなたは誠実で優秀な日本人のアシスタントです。", (system, history, question, input) =>
            WriteLlama2(system, "<</SYS>>", history, Joined(question, input), " "));

    /// <summary>Llama 2 Chat, as its chat template in transformers writes it.</summary>
    public static PromptFormat Llama2Chat { get; } = new("llama2-chat", "Llama-2-chat and models made from it.",
        addSpecialTokens: false, hasTurns: true, null, (system, history, question, input) =>
            WriteLlama2(system, "<</SYS>>", history, Joined(question, input), "", trim: true), mayHaveSystem: true);

    /// <summary>llm-jp's instruction models of version 1.0.</summary>
    public static PromptFormat LlmJpInstruct { get; } = new("llm-jp-instruct-v1.0",
        "The instruct variants of llm-jp-1.3b/13b-v1.0: the question, then ### 回答： without a line break.",
        addSpecialTokens: false, hasTurns: false, null, (_, _, question, input) => $"{Joined(question, input)}### 回答：");

    /// <summary>llm-jp's later instruction models.</summary>
    public static PromptFormat LlmJpAlpaca { get; } = new("llm-jp-instruct-v1.1",
        "The instruct variants of llm-jp from December 2023 on (v1.1, v2.0): ### 指示: and ### 応答: with half-width colons.",
        addSpecialTokens: false, hasTurns: true, "以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。",
        (system, history, question, input) =>
        {
            StringBuilder text = new(system);
            foreach (Exchange turn in history)
                text.Append("\n\n### 指示:\n").Append(turn.Question).Append("\n\n### 応答:\n").Append(turn.Answer).Append("<EOD|LLM-jp>");
            return text.Append("\n\n### 指示:\n").Append(Joined(question, input)).Append("\n\n### 応答:\n").ToString();
        });

    /// <summary>Every format.</summary>
    public static IReadOnlyList<PromptFormat> All { get; } =
        [Plain, LlmJpBase, LlmJpInstruct, LlmJpAlpaca, StableLmBeta, StableLmAlpaca, Elyza, Llama2Chat];

    /// <summary>The format of that name.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists them.</exception>
    public static PromptFormat Named(string name) => All.FirstOrDefault(format => format.Name == name)
        ?? throw new ArgumentException(
            $"There is no prompt format '{name}'; there are {string.Join(", ", All.Select(format => format.Name))}.", nameof(name));

    /// <summary>The format of that name, <see cref="TemplateName"/> for the folder's own template.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists them. Or the folder has no template.</exception>
    /// <exception cref="InvalidDataException">The folder's template is damaged.</exception>
    /// <exception cref="NotSupportedException">The folder's template uses more of Jinja than fude knows.</exception>
    public static PromptFormat Named(string name, ModelFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return name != TemplateName ? Named(name) : OfFolder(folder) ?? throw new ArgumentException(
            $"{folder.Path} has no chat template: neither chat_template.jinja nor chat_template in tokenizer_config.json. " +
            $"The formats without one are {string.Join(", ", All.Select(format => format.Name))}.", nameof(name));
    }

    /// <summary>A format that a Hugging Face chat template writes; the tokenizer adds no special tokens, for the template has them.</summary>
    /// <param name="template">The template.</param>
    /// <param name="bosToken">What it calls bos_token, or null.</param>
    /// <param name="eosToken">What it calls eos_token, or null.</param>
    public static PromptFormat OfTemplate(ChatTemplate template, string? bosToken = null, string? eosToken = null)
    {
        ArgumentNullException.ThrowIfNull(template);
        return new(TemplateName, "The chat template that came with the model.", addSpecialTokens: false, hasTurns: true, null,
            (system, history, question, input) =>
            {
                List<ChatTurn> messages = [];
                if (!string.IsNullOrEmpty(system)) messages.Add(new("system", system));
                foreach (Exchange turn in history)
                {
                    messages.Add(new("user", turn.Question));
                    messages.Add(new("assistant", turn.Answer));
                }
                messages.Add(new("user", Joined(question, input)));
                return template.Render(messages, addGenerationPrompt: true, bosToken, eosToken);
            }, mayHaveSystem: true);
    }

    /// <summary>The format of a folder's own chat template, or null.</summary>
    private static PromptFormat? OfFolder(ModelFolder folder)
    {
        string file = Path.Combine(folder.Path, "tokenizer_config.json");
        ConfigReader? config = File.Exists(file) ? ConfigReader.Load(file) : null;
        if (ChatTemplate.Of(folder.Path, config) is not { } template) return null;
        return OfTemplate(template, Token("bos_token", tokenizer => tokenizer.BeginId), Token("eos_token", tokenizer => tokenizer.EndId));

        // Written as a string or as an object with its content; what the configuration does not name, the tokenizer may.
        string? Token(string key, Func<Tokenizer, int?> id) => config?.Value(key) switch
        {
            { ValueKind: JsonValueKind.String } text => text.GetString(),
            { ValueKind: JsonValueKind.Object } token when token.TryGetProperty("content", out JsonElement content)
                && content.ValueKind == JsonValueKind.String => content.GetString(),
            _ => folder.HasTokenizer && id(folder.Tokenizer) is { } found ? folder.Tokenizer.TokenOf(found) : null,
        };
    }

    /// <summary>Chooses a format for a model's folder.</summary>
    /// <remarks>
    /// Published names decide (the folder's, the adapter's, config.json's _name_or_path), then the folder's own chat template. Where they
    /// say nothing, a GPT-2 that ends texts
    /// with id 7 or has 50,688 rows is one of llm-jp's, whose tokenizer must not append the end of the document; anything else is
    /// <see cref="Plain"/>, and the guess says that it is not sure.
    /// </remarks>
    /// <param name="folder">The model.</param>
    /// <param name="adapterFolder">The adapter it is used with, or null.</param>
    /// <exception cref="InvalidDataException">The folder's chat template is needed and damaged.</exception>
    /// <exception cref="NotSupportedException">It is needed and uses more of Jinja than fude knows.</exception>
    public static PromptFormatGuess Guess(ModelFolder folder, string? adapterFolder = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        string? adapter = adapterFolder is null ? null : Path.GetFileName(Path.TrimEndingDirectorySeparator(adapterFolder));
        string? origin = folder.ConfigJson.TryGetProperty("_name_or_path", out JsonElement path) && path.ValueKind == JsonValueKind.String
            ? path.GetString() : null;
        foreach (string? name in (string?[])[adapter, folder.Name, origin])
            if (name is not null && OfName(name) is { } format) return new(format, true, $"The name '{name}' says so.");
        if (OfFolder(folder) is { } own) return new(own, true, "The folder's chat template says so.");
        return folder.Config is Gpt2Config gpt2 && (gpt2.Vocabulary == 50_688 || (gpt2.EosTokens is [7] && gpt2.Vocabulary > 7))
            ? new(LlmJpBase, false, "config.json looks like llm-jp's; its name does not say whether it follows instructions.")
            : new(Plain, false, $"Neither the name '{folder.Name}' nor config.json says how its instructions were written.");
    }

    /// <summary>Writes a prompt.</summary>
    /// <param name="question">The instruction, or the text to continue.</param>
    /// <param name="input">What the instruction is about, where the format keeps it apart.</param>
    /// <param name="system">What the model is told about its task instead of the format's own words; null for those.</param>
    /// <param name="history">Earlier turns of the conversation.</param>
    /// <exception cref="NotSupportedException">The format has no place for earlier turns, or for a system text.</exception>
    public Prompt Write(string question, string? input = null, string? system = null, IReadOnlyList<Exchange>? history = null)
    {
        ArgumentNullException.ThrowIfNull(question);
        if (history is { Count: > 0 } && !HasTurns)
            throw new NotSupportedException(
                $"The prompt format {Name} has no place for earlier turns; {With(format => format.HasTurns)} have.");
        if (!string.IsNullOrEmpty(system) && !HasSystem)
            throw new NotSupportedException(
                $"The prompt format {Name} has no place for a system text; {With(format => format.HasSystem)} have.");
        return new Prompt(_writer(system ?? _system, history ?? [], question, input), AddSpecialTokens);
    }

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static string With(Func<PromptFormat, bool> condition) => string.Join(", ", All.Where(condition).Select(format => format.Name));

    private static PromptFormat? OfName(string name)
    {
        string lower = name.ToLowerInvariant();
        bool Has(string part) => lower.Contains(part, StringComparison.Ordinal);
        return lower switch
        {
            _ when Has("japanese-stablelm") && Has("instruct") => Has("beta") ? StableLmBeta : StableLmAlpaca,
            _ when Has("japanese-stablelm") && Has("base") => Plain,
            _ when Has("elyza") => Has("instruct") ? Elyza : Plain,
            _ when Has("llm-jp") && Has("instruct") => Has("v1.1") || Has("v2.") ? LlmJpAlpaca : LlmJpInstruct,
            _ when Has("llm-jp") && (Has("v1.0") || Has("v2.0")) => LlmJpBase,
            _ when Has("llama-2") && Has("chat") => Llama2Chat,
            _ => null,
        };
    }

    private static string WriteText(string? system, IReadOnlyList<Exchange> history, string question, string? input) =>
        Joined(question, input);

    private static string Joined(string question, string? input) => string.IsNullOrEmpty(input) ? question : $"{question}\n\n{input}";

    // The system text stands inside the first question.
    private static string WriteLlama2(
        string? system, string closing, IReadOnlyList<Exchange> history, string question, string end, bool trim = false)
    {
        StringBuilder text = new();
        string head = string.IsNullOrEmpty(system) ? "" : $"<<SYS>>\n{system}\n{closing}\n\n";
        foreach (Exchange turn in history)
        {
            text.Append("<s>[INST] ").Append(Trimmed(head + turn.Question));
            text.Append(" [/INST] ").Append(Trimmed(turn.Answer)).Append(" </s>");
            head = "";
        }
        return text.Append("<s>[INST] ").Append(Trimmed(head + question)).Append(" [/INST]").Append(end).ToString();

        string Trimmed(string part) => trim ? part.Trim() : part;
    }
}
