using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;
using static Fude.Tensors.Wording;

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
    /// <summary>The file in which a folder says which format its model was tuned with.</summary>
    internal const string RecordName = "prompt_format.json";

    // Templates of models that think before they answer leave out what stands before it.
    private const string ThoughtEnd = "</think>";

    private static readonly JsonWriterOptions Indented = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly (string English, string Japanese) _description;
    private readonly Writer _writer;
    private readonly string? _system;
    private readonly bool _mayHaveSystem;
    private readonly Func<string?, string>? _template;
    private readonly string _begin = "<s>", _end = "</s>";

    // What a tokenizer must have as one token each.
    private string[] Pieces { get; init; } = [];

    // The answer is null where the model is to write it.
    private delegate void Writer(
        PromptDraft draft, string? system, IReadOnlyList<Exchange> history, string question, string? input, string? answer);

    private PromptFormat(
        string name, (string English, string Japanese) description, bool addSpecialTokens, bool hasTurns, string? system, Writer writer,
        bool mayHaveSystem = false, Func<string?, string>? template = null)
    {
        (Name, _description, AddSpecialTokens, HasTurns) = (name, description, addSpecialTokens, hasTurns);
        (_system, _mayHaveSystem, _writer, _template) = (system, mayHaveSystem, writer, template);
    }

    private PromptFormat(PromptFormat other, string? system, string begin, string end)
        : this(other.Name, other._description, other.AddSpecialTokens, other.HasTurns, system, other._writer, other._mayHaveSystem, other._template) =>
        (_begin, _end, Pieces) = (begin, end, other.Pieces);

    /// <summary>What stands around the parts of a conversation.</summary>
    private sealed record Turns(string SystemHead, string SystemTail, string Ask, string Reply, string Gap);

    private static PromptFormat OfTurns(
        string name, (string English, string Japanese) description, string? system, Turns turns, string[]? pieces = null) =>
        new(name, description, addSpecialTokens: false, hasTurns: true, system, (draft, told, history, question, input, answer) =>
            WriteTurns(draft, turns, told, history, Joined(question, input), answer), mayHaveSystem: true, told => Template(turns, told))
        {
            Pieces = pieces ?? [],
        };

    /// <summary>The name of <see cref="OfTemplate"/>'s format: what a folder's own template says.</summary>
    public const string TemplateName = "chat-template";

    /// <summary>The name it is chosen by, e.g. "elyza-llama2-instruct".</summary>
    public string Name { get; }

    /// <summary>Which models were trained with it, in the user's language.</summary>
    public string Description => Say(_description.English, _description.Japanese);

    /// <summary>Whether the tokenizer is to add its special tokens to the text.</summary>
    public bool AddSpecialTokens { get; }

    /// <summary>Whether earlier turns of a conversation have a place in it.</summary>
    public bool HasTurns { get; }

    /// <summary>Whether it tells the model about its task in words that can be changed.</summary>
    public bool HasSystem => _system is not null || _mayHaveSystem;

    /// <summary>The text as it is, with the tokenizer's special tokens: base models.</summary>
    public static PromptFormat Plain { get; } = new("plain",
        ("The text as it is: base models (Llama 2, Japanese StableLM Base, ELYZA).",
            "テキストをそのまま渡す。ベースモデル（Llama 2、Japanese StableLM Base、ELYZA）用。"),
        addSpecialTokens: true, hasTurns: false, null, WriteText);

    /// <summary>The text as it is, without special tokens: llm-jp's tokenizer would append the end of the document.</summary>
    public static PromptFormat LlmJpBase { get; } = new("llm-jp-base-v1",
        ("The text as it is, without special tokens: llm-jp-1.3b/13b-v1.0, whose tokenizer would append <EOD|LLM-jp>.",
            "テキストをそのまま、特殊トークンなしで渡す。トークナイザーが <EOD|LLM-jp> を付ける llm-jp-1.3b/13b-v1.0 用。"),
        addSpecialTokens: false, hasTurns: false, null, WriteText);

    /// <summary>Japanese StableLM Instruct Beta, by its card: the second tag is &lt;&lt;SYS&gt;&gt; too, and there are two BOS.</summary>
    public static PromptFormat StableLmBeta { get; } = new("japanese-stablelm-instruct-beta",
        ("japanese-stablelm-instruct-beta-7b/70b and ja_vocab-beta-7b: <<SYS>> twice and two BOS, as the card has it.",
            "japanese-stablelm-instruct-beta-7b/70b と ja_vocab-beta-7b 用。モデルカードのとおり <<SYS>> が 2 回、BOS が 2 個。"),
        addSpecialTokens: true, hasTurns: true, "あなたは役立つアシスタントです。", (draft, system, history, question, input, answer) =>
            // With no input its blank line stays.
            WriteLlama2(draft, system, "<<SYS>>", history, $"{question}\n\n{input}", answer, " "));

    /// <summary>Japanese StableLM Instruct of 3 billion parameters and Gamma.</summary>
    public static PromptFormat StableLmAlpaca { get; } = new("japanese-stablelm-instruct-alpaca",
        ("japanese-stablelm-3b-4e1t-instruct and japanese-stablelm-instruct-gamma-7b.",
            "japanese-stablelm-3b-4e1t-instruct と japanese-stablelm-instruct-gamma-7b 用。"),
        addSpecialTokens: false, hasTurns: false,
        "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。", (draft, system, _, question, input, answer) =>
            Close(draft.Add($"{system}\n\n### 指示: \n{question}{(string.IsNullOrEmpty(input) ? "" : $"\n\n### 入力: \n{input}")}\n\n### 応答: \n"), answer));

    /// <summary>ELYZA's instruction models.</summary>
    public static PromptFormat Elyza { get; } = new("elyza-llama2-instruct",
        ("ELYZA-japanese-Llama-2-7b-instruct and -fast-instruct: the text carries its own BOS.",
            "ELYZA-japanese-Llama-2-7b-instruct と -fast-instruct 用。BOS はテキスト自身が持つ。"),
        addSpecialTokens: false, hasTurns: true, "あなたは誠実で優秀な日本人のアシスタントです。", (draft, system, history, question, input, answer) =>
            WriteLlama2(draft, system, "<</SYS>>", history, Joined(question, input), answer, " "));

    /// <summary>Llama 2 Chat, as its chat template in transformers writes it.</summary>
    public static PromptFormat Llama2Chat { get; } = new("llama2-chat",
        ("Llama-2-chat and models made from it.", "Llama-2-chat とその派生モデル用。"),
        addSpecialTokens: false, hasTurns: true, null, (draft, system, history, question, input, answer) =>
            WriteLlama2(draft, system, "<</SYS>>", history, Joined(question, input), answer, "", trim: true), mayHaveSystem: true);

    /// <summary>llm-jp's instruction models of version 1.0.</summary>
    public static PromptFormat LlmJpInstruct { get; } = new("llm-jp-instruct-v1.0",
        ("The instruct variants of llm-jp-1.3b/13b-v1.0: the question, then ### 回答： without a line break.",
            "llm-jp-1.3b/13b-v1.0 の instruct モデル用。質問の後に改行なしで ### 回答： を置く。"),
        addSpecialTokens: false, hasTurns: false, null, (draft, _, _, question, input, answer) =>
            Close(draft.Add($"{Joined(question, input)}### 回答："), answer));

    /// <summary>llm-jp's later instruction models.</summary>
    public static PromptFormat LlmJpAlpaca { get; } = new("llm-jp-instruct-v1.1",
        ("The instruct variants of llm-jp from December 2023 on (v1.1, v2.0): ### 指示: and ### 応答: with half-width colons.",
            "2023 年 12 月以降の llm-jp の instruct モデル（v1.1、v2.0）用。### 指示: と ### 応答: のコロンは半角。"),
        addSpecialTokens: false, hasTurns: true, "以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。",
        (draft, system, history, question, input, answer) =>
        {
            draft.Add(system);
            foreach (Exchange turn in history)
                draft.Add("\n\n### 指示:\n").Add(turn.Question).Add("\n\n### 応答:\n").Answer($"{turn.Answer}<EOD|LLM-jp>");
            Close(draft.Add("\n\n### 指示:\n").Add(Joined(question, input)).Add("\n\n### 応答:\n"), answer is null ? null : $"{answer}<EOD|LLM-jp>");
        });

    /// <summary>Instructions as Stanford's Alpaca has them, in Japanese and with turns, between the special tokens of any tokenizer.</summary>
    public static PromptFormat Alpaca { get; } = OfTurns("alpaca",
        ("Models that fude tunes: ### 指示: and ### 応答: after a preamble, between the tokenizer's own BOS and EOS; for instructions.",
            "fude で調整するモデル用。前置きの後に ### 指示: と ### 応答:、前後にトークナイザーの BOS と EOS。指示に答える用途。"),
        "以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。", new("", "\n\n", "### 指示:\n", "\n\n### 応答:\n", "\n\n"));

    /// <summary>A conversation in words that any tokenizer has, between its own special tokens.</summary>
    public static PromptFormat Dialogue { get; } = OfTurns("dialogue",
        ("Models that fude tunes: ユーザー： and 応答： on lines of their own, between the tokenizer's own BOS and EOS; for conversations.",
            "fude で調整するモデル用。ユーザー： と 応答： を行頭に、前後にトークナイザーの BOS と EOS。会話の用途。"),
        null, new("", "\n\n", "ユーザー：", "\n応答：", "\n"));

    /// <summary>A conversation in which one token says who speaks: for tokenizers that have these.</summary>
    public static PromptFormat FudeChat { get; } = OfTurns("fude-chat",
        ("Models of fude's own: a token before each turn, <|user|> or <|assistant|>; the tokenizer has to have them.",
            "fude 独自のモデル用。発言の前に <|user|> か <|assistant|> のトークンを置く。トークナイザーにそのトークンが必要。"),
        null, new("<|system|>", "", "<|user|>", "<|assistant|>", ""), ["<|system|>", "<|user|>", "<|assistant|>"]);

    /// <summary>Every format.</summary>
    public static IReadOnlyList<PromptFormat> All { get; } =
        [Plain, LlmJpBase, LlmJpInstruct, LlmJpAlpaca, StableLmBeta, StableLmAlpaca, Elyza, Llama2Chat, Alpaca, Dialogue, FudeChat];

    /// <summary>The format of that name.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists them.</exception>
    public static PromptFormat Named(string name) => All.FirstOrDefault(format => format.Name == name)
        ?? throw new ArgumentException(Say(
            $"There is no prompt format '{name}'; there are {With(_ => true)}, and {TemplateName}, the model's own.",
            $"'{name}' というプロンプト書式はありません。あるのは {With(_ => true)} と、モデル自身のものを表す {TemplateName} です。"), nameof(name));

    /// <summary>The format of that name, <see cref="TemplateName"/> for the folder's own template.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists them. Or the folder has no template.</exception>
    /// <exception cref="InvalidDataException">The folder's template is damaged.</exception>
    /// <exception cref="NotSupportedException">The folder's template uses more of Jinja than fude knows.</exception>
    public static PromptFormat Named(string name, ModelFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return name != TemplateName ? Named(name).For(folder) : OfFolder(folder.Path, folder) ?? throw new ArgumentException(Say(
            $"{folder.Path} has no chat template: neither chat_template.jinja nor chat_template in tokenizer_config.json. " +
            $"The formats without one are {With(_ => true)}.",
            $"{folder.Path} にチャットテンプレートがありません。chat_template.jinja も、tokenizer_config.json の chat_template もありません。" +
            $"テンプレートのいらない書式は {With(_ => true)} です。"), nameof(name));
    }

    /// <summary>A format that a Hugging Face chat template writes; the tokenizer adds no special tokens, for the template has them.</summary>
    /// <param name="template">The template.</param>
    /// <param name="bosToken">What it calls bos_token, or null.</param>
    /// <param name="eosToken">What it calls eos_token, or null.</param>
    public static PromptFormat OfTemplate(ChatTemplate template, string? bosToken = null, string? eosToken = null)
    {
        ArgumentNullException.ThrowIfNull(template);
        return new(TemplateName, ("The chat template that came with the model.", "モデルに付属のチャットテンプレート。"),
            addSpecialTokens: false, hasTurns: true, null,
            (draft, system, history, question, input, answer) =>
            {
                List<ChatTurn> messages = [];
                if (!string.IsNullOrEmpty(system)) messages.Add(new("system", system));
                foreach (Exchange turn in history)
                {
                    messages.Add(new("user", turn.Question));
                    AddTurn(turn.Answer, isLast: false);
                }
                messages.Add(new("user", Joined(question, input)));
                if (answer is null) draft.Add(template.Render(messages, addGenerationPrompt: true, bosToken, eosToken));
                else AddTurn(answer, isLast: true);

                // What the template writes of the conversation so far begins with the prompt that it writes without the answer: the rest is the
                // answer. Templates that write earlier turns in another way than the last have no such place.
                void AddTurn(string text, bool isLast)
                {
                    if (answer is null)
                    {
                        messages.Add(new("assistant", text));
                        return;
                    }
                    string before = template.Render(messages, addGenerationPrompt: true, bosToken, eosToken);
                    messages.Add(new("assistant", text));
                    string after = template.Render(messages, addGenerationPrompt: false, bosToken, eosToken), known = draft.Text;
                    if (!before.StartsWith(known, StringComparison.Ordinal) || !after.StartsWith(before, StringComparison.Ordinal))
                        throw new NotSupportedException(Say(
                            "The chat template writes a conversation with its answer in another way than it writes the prompt for that answer, so a " +
                            $"model cannot be trained on what it will read. The formats without a template are {With(_ => true)}.",
                            "チャットテンプレートの書く会話が、応答の付いたものと、その応答を求めるプロンプトとで一致しません。" +
                            $"これではモデルが実際に読むものを学習できません。テンプレートを使わない書式は {With(_ => true)} です。"));
                    string written = after[before.Length..];
                    // A template may trim an answer, or leave out what stands before its last line, such as its thoughts; not all of it.
                    string said = text.Trim(), last = said[(said.LastIndexOf('\n') + 1)..];
                    if (last.LastIndexOf(ThoughtEnd, StringComparison.Ordinal) is >= 0 and int thought) last = last[(thought + ThoughtEnd.Length)..];
                    last = last.TrimStart();
                    if (!written.Contains(last, StringComparison.Ordinal))
                        throw new NotSupportedException(Say(
                            "The chat template does not write the answer: for messages of the role 'assistant' it has no place, or writes something else, " +
                            $"so a model would learn none of it. The formats without a template are {With(_ => true)}.",
                            "チャットテンプレートが応答を書きません。役割 'assistant' のメッセージを入れる場所がないか、別のものを書きます。" +
                            $"これではモデルは応答を学習できません。テンプレートを使わない書式は {With(_ => true)} です。"));
                    // Nothing is generated after the end of an answer: a line break behind it is no part of it.
                    int end = string.IsNullOrEmpty(eosToken) ? -1 : written.LastIndexOf(eosToken, StringComparison.Ordinal);
                    int length = end < 0 || written[(end + eosToken!.Length)..].Trim().Length > 0 ? written.Length : end + eosToken.Length;
                    // Nor behind another token that the template ends it with, <|im_end|> where the model's own is <|endoftext|>.
                    string ended = written[..length].TrimEnd();
                    if (!ended.EndsWith(last, StringComparison.Ordinal)) length = ended.Length;
                    draft.Add(before[known.Length..]).Answer(written[..length]);
                    if (!isLast) draft.Add(written[length..]);
                }
            }, mayHaveSystem: true, template: _ => $"{template.Source}\n");
    }

    /// <summary>The format of a folder's own chat template, or null.</summary>
    /// <param name="path">Where the template is looked for: the model's own folder, or that of an adapter.</param>
    /// <param name="folder">The model, whose tokenizer knows what begins and ends a text.</param>
    private static PromptFormat? OfFolder(string path, ModelFolder folder)
    {
        if (path == folder.Path && folder.AsGguf is { } gguf)
            return gguf.ChatTemplate is { } text
                ? OfTemplate(ChatTemplate.Parse(text, $"{path}: {GgufModel.TemplateKey}"), BeginOf(folder, null), EndOf(folder, null))
                : null;
        string file = Path.Combine(folder.Path, "tokenizer_config.json");
        ConfigReader? config = File.Exists(file) ? ConfigReader.Load(file) : null;
        return ChatTemplate.Of(path, path == folder.Path ? config : null) is { } template
            ? OfTemplate(template, BeginOf(folder, config), EndOf(folder, config))
            : null;
    }

    private static string? BeginOf(ModelFolder folder, ConfigReader? config) => Token(folder, config, "bos_token", tokenizer => tokenizer.BeginId);

    private static string? EndOf(ModelFolder folder, ConfigReader? config) => Token(folder, config, "eos_token", tokenizer => tokenizer.EndId);

    // Written as a string or as an object with its content; what the configuration does not name, the tokenizer may.
    private static string? Token(ModelFolder folder, ConfigReader? config, string key, Func<Tokenizer, int?> id) => config?.Value(key) switch
    {
        { ValueKind: JsonValueKind.String } text => text.GetString(),
        { ValueKind: JsonValueKind.Object } token when token.TryGetProperty("content", out JsonElement content)
            && content.ValueKind == JsonValueKind.String => content.GetString(),
        _ => folder.HasTokenizer && id(folder.Tokenizer) is { } found ? folder.Tokenizer.TokenOf(found) : null,
    };

    /// <summary>The format with what the model's own tokenizer begins and ends texts with, where it takes that from the tokenizer.</summary>
    /// <exception cref="NotSupportedException">The tokenizer lacks a token that the format is made of.</exception>
    public PromptFormat For(ModelFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        if (_template is null || Name == TemplateName) return this;
        if (folder.HasTokenizer && Array.Find(Pieces, piece => folder.Tokenizer.IdOf(piece) is null) is { } missing)
            throw new NotSupportedException(Say(
                $"The prompt format {Name} needs a tokenizer that has {string.Join(", ", Pieces)} as tokens, and that of {folder.Path} lacks {missing}. " +
                $"{With(format => format.HasTurns && format.Pieces.Length == 0)} do without.",
                $"プロンプト書式 {Name} には {string.Join("、", Pieces)} をトークンとして持つトークナイザーが必要ですが、{folder.Path} のものには " +
                $"{missing} がありません。{With(format => format.HasTurns && format.Pieces.Length == 0)} なら不要です。"));
        string file = Path.Combine(folder.Path, "tokenizer_config.json");
        ConfigReader? config = File.Exists(file) ? ConfigReader.Load(file) : null;
        return new(this, _system, BeginOf(folder, config) ?? "", EndOf(folder, config) ?? "");
    }

    /// <summary>The format with other words about the model's task; empty for none.</summary>
    /// <exception cref="NotSupportedException">It has no place for them.</exception>
    public PromptFormat WithSystem(string system)
    {
        ArgumentNullException.ThrowIfNull(system);
        return HasSystem || system.Length == 0 ? new(this, system, _begin, _end) : throw WithoutSystem();
    }

    /// <summary>Says in a folder which format its model was tuned with, so that <see cref="Guess"/> finds it there. A format between the
    /// tokenizer's own special tokens is written as a chat template too, for other programs.</summary>
    /// <param name="folder">The model's folder, or its adapter's.</param>
    public void Record(string folder)
    {
        using (FileStream file = new(Path.Combine(folder, RecordName), FileMode.Create, FileAccess.Write))
        {
            using Utf8JsonWriter json = new(file, Indented);
            json.WriteStartObject();
            json.WriteString("name", Name);
            if (_system is not null) json.WriteString("system", _system);
            json.WriteEndObject();
        }
        WriteTemplate(folder, _template?.Invoke(_system));
    }

    /// <summary>Writes a folder's chat template where transformers looks for it: in a file of its own, as it does from 4.47 on, and in
    /// tokenizer_config.json, where there is one, for earlier versions. What they hold is the base model's, which the tuned one does not follow.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="template">The template; null to leave none there.</param>
    internal static void WriteTemplate(string folder, string? template)
    {
        const string Key = "chat_template";
        string own = Path.Combine(folder, "chat_template.jinja"), config = Path.Combine(folder, "tokenizer_config.json");
        if (template is not null) File.WriteAllText(own, template);
        else File.Delete(own);
        if (!File.Exists(config)) return;
        ConfigReader json = ConfigReader.Load(config);
        if (template is null ? !json.Json.TryGetProperty(Key, out _) : json.Value(Key) is { ValueKind: JsonValueKind.String } said && said.GetString() == template) return;
        using MemoryStream text = new();
        using (Utf8JsonWriter writer = new(text, Indented))
        {
            writer.WriteStartObject();
            foreach (JsonProperty property in json.Json.EnumerateObject())
                if (property.Name != Key) property.WriteTo(writer);
            if (template is not null) writer.WriteString(Key, template);
            writer.WriteEndObject();
        }
        AtomicFile.Write(config, text.GetBuffer().AsSpan(0, (int)text.Length));
    }

    /// <summary>What a GGUF file says of the format that its model was tuned with: the template that other programs read too, and the name.</summary>
    internal static IEnumerable<KeyValuePair<string, object>> Describe(ModelFolder folder)
    {
        string file = Path.Combine(folder.Path, "tokenizer_config.json");
        string? template = folder.AsGguf is { } gguf ? gguf.ChatTemplate : ChatTemplate.TextOf(folder.Path, File.Exists(file) ? ConfigReader.Load(file) : null)?.Text;
        if (template is not null) yield return new(GgufModel.TemplateKey, template);
        // What a published name speaks for would be lost with the name.
        if ((Recorded(folder.Path, folder) ?? OfName(folder.Name) ?? OfName(OriginOf(folder) ?? "")) is not { } format) yield break;
        yield return new(GgufModel.FormatKey, format.Name);
        if (format._system is not null) yield return new(GgufModel.SystemKey, format._system);
    }

    /// <summary>The format that a folder says it was tuned with, or null.</summary>
    private static PromptFormat? Recorded(string path, ModelFolder folder)
    {
        if (path == folder.Path && folder.AsGguf is { PromptFormat: { } told } gguf)
        {
            PromptFormat of = told == TemplateName
                ? OfFolder(path, folder) ?? throw new InvalidDataException(Say(
                    $"{path}: {GgufModel.FormatKey} is {told}, but there is no {GgufModel.TemplateKey}.",
                    $"{path}: {GgufModel.FormatKey} が {told} ですが、{GgufModel.TemplateKey} がありません。"))
                : All.FirstOrDefault(known => known.Name == told)?.For(folder) ?? throw new NotSupportedException(Say(
                    $"{path}: {GgufModel.FormatKey} is '{told}'; fude knows {With(_ => true)}.",
                    $"{path}: {GgufModel.FormatKey} の値 '{told}' には対応していません。fude の書式は {With(_ => true)} です。"));
            return gguf.PromptSystem is { } words ? of.WithSystem(words) : of;
        }
        string file = Path.Combine(path, RecordName);
        if (!File.Exists(file)) return null;
        ConfigReader json = ConfigReader.Load(file);
        string name = json.TextOrNull("name") ?? throw json.Bad(
            "name", "is missing; expected the name of a prompt format", "がありません。プロンプト書式の名前が必要です");
        PromptFormat format = name == TemplateName
            ? OfFolder(path, folder) ?? throw json.Bad(
                "name", $"is {TemplateName}, but there is no chat_template.jinja beside it",
                $"が {TemplateName} ですが、隣に chat_template.jinja がありません")
            : All.FirstOrDefault(known => known.Name == name)?.For(folder)
                ?? throw json.Unsupported("name", With(_ => true), With(_ => true));
        return json.TextOrNull("system") is { } system ? format.WithSystem(system) : format;
    }

    /// <summary>Chooses a format for a model's folder.</summary>
    /// <remarks>
    /// What fude wrote beside an adapter that it tuned decides, or else the adapter's own chat template; then what it wrote beside the model. Then
    /// published names do (the folder's, the adapter's, config.json's _name_or_path), then the folder's own chat template. Where they say
    /// nothing, a GPT-2 that ends texts with id 7 or has 50,688 rows is one of llm-jp's, whose tokenizer must not append the end of the document;
    /// anything else is <see cref="Plain"/>, and the guess says that it is not sure.
    /// </remarks>
    /// <param name="folder">The model.</param>
    /// <param name="adapterFolder">The adapter it is used with, or null.</param>
    /// <exception cref="InvalidDataException">The folder's chat template is needed and damaged.</exception>
    /// <exception cref="NotSupportedException">It is needed and uses more of Jinja than fude knows.</exception>
    public static PromptFormatGuess Guess(ModelFolder folder, string? adapterFolder = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        foreach (string? place in (string?[])[adapterFolder, folder.Path])
        {
            if (place is not null && Recorded(place, folder) is { } recorded)
            {
                string file = place == folder.Path && folder.IsGguf ? place : Path.Combine(place, RecordName);
                return new(recorded, true, Say($"{file} says so.", $"{file} に書かれています。"));
            }
            if (place is not null && place == adapterFolder && OfFolder(place, folder) is { } taught)
                return new(taught, true, Say("The adapter's chat template says so.", "アダプターのチャットテンプレートによります。"));
        }
        string? adapter = adapterFolder is null ? null : Path.GetFileName(Path.TrimEndingDirectorySeparator(adapterFolder));
        foreach (string? name in (string?[])[adapter, folder.Name, OriginOf(folder)])
            if (name is not null && OfName(name) is { } format) return new(format, true, Say($"The name '{name}' says so.", $"'{name}' という名前から分かります。"));
        if (OfFolder(folder.Path, folder) is { } own)
            return new(own, true, Say("The folder's chat template says so.", "フォルダーのチャットテンプレートによります。"));
        return folder.Config is Gpt2Config gpt2 && (gpt2.Vocabulary == 50_688 || (gpt2.EosTokens is [7] && gpt2.Vocabulary > 7))
            ? new(LlmJpBase, false, Say(
                "config.json looks like llm-jp's; its name does not say whether it follows instructions.",
                "config.json は llm-jp のもののようですが、指示に従うモデルかどうかは名前から分かりません。"))
            : new(Plain, false, Say(
                $"Neither the name '{folder.Title}' nor config.json says how its instructions were written.",
                $"'{folder.Title}' という名前からも config.json からも、指示の書式が分かりません。"));
    }

    /// <summary>Writes a conversation with its answers, as a model is trained on it.</summary>
    /// <param name="turns">Its turns, one or more.</param>
    /// <param name="input">What the last turn's instruction is about, where the format keeps it apart.</param>
    /// <param name="system">What the model is told about its task instead of the format's own words; null for those.</param>
    /// <remarks>It is what <see cref="Write"/> gives for the last question, with that question's answer behind it.</remarks>
    /// <exception cref="NotSupportedException">The format has no place for earlier turns, or for a system text; or its template writes
    /// answers in another way than the prompts for them.</exception>
    public AnsweredPrompt WriteAnswered(IReadOnlyList<Exchange> turns, string? input = null, string? system = null)
    {
        ArgumentNullException.ThrowIfNull(turns);
        if (turns.Count == 0) throw new ArgumentException(
            Say("A conversation has at least one turn.", "会話には発言がひとつ以上必要です。"), nameof(turns));
        PromptDraft draft = Draft([.. turns.SkipLast(1)], turns[^1].Question, input, system, turns[^1].Answer);
        return new(draft.Text, AddSpecialTokens, draft.Answers);
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
        return new Prompt(Draft(history ?? [], question, input, system, null).Text, AddSpecialTokens);
    }

    private PromptDraft Draft(IReadOnlyList<Exchange> history, string question, string? input, string? system, string? answer)
    {
        if (history.Count > 0 && !HasTurns)
            throw new NotSupportedException(Say(
                $"The prompt format {Name} has no place for earlier turns; {With(format => format.HasTurns)} have.",
                $"プロンプト書式 {Name} には過去の発言を入れる場所がありません。あるのは {With(format => format.HasTurns)} です。"));
        if (!string.IsNullOrEmpty(system) && !HasSystem) throw WithoutSystem();
        PromptDraft draft = new(_begin, _end);
        _writer(draft, system ?? _system, history, question, input, answer);
        return draft;
    }

    private NotSupportedException WithoutSystem() =>
        new(Say(
            $"The prompt format {Name} has no place for a system text; {With(format => format.HasSystem)} have.",
            $"プロンプト書式 {Name} には役割の文（system）を入れる場所がありません。あるのは {With(format => format.HasSystem)} です。"));

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static string With(Func<PromptFormat, bool> condition) =>
        string.Join(Say(", ", "、"), All.Where(condition).Select(format => format.Name));

    // The name under which the model was published or made, where its configuration keeps it.
    private static string? OriginOf(ModelFolder folder) =>
        folder.ConfigJson.TryGetProperty("_name_or_path", out JsonElement path) && path.ValueKind == JsonValueKind.String ? path.GetString() : null;

    private static PromptFormat? OfName(string name)
    {
        // llama.cpp's converter puts spaces into the names of its files' models.
        string lower = name.ToLowerInvariant().Replace(' ', '-');
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

    private static void WriteText(PromptDraft draft, string? system, IReadOnlyList<Exchange> history, string question, string? input, string? answer) =>
        Close(draft.Add(Joined(question, input)), answer);

    // Nothing is written where the model is to answer.
    private static void Close(PromptDraft draft, string? answer)
    {
        if (answer is not null) draft.Answer(answer);
    }

    private static string Joined(string question, string? input) => string.IsNullOrEmpty(input) ? question : $"{question}\n\n{input}";

    // The system text stands inside the first question.
    private static void WriteLlama2(
        PromptDraft draft, string? system, string closing, IReadOnlyList<Exchange> history, string question, string? answer, string end, bool trim = false)
    {
        string head = string.IsNullOrEmpty(system) ? "" : $"<<SYS>>\n{system}\n{closing}\n\n", gap = end.Length == 0 ? " " : "";
        foreach (Exchange turn in history)
        {
            Ask(turn.Question);
            draft.Answer($"{gap}{Trimmed(turn.Answer)} </s>");
            head = "";
        }
        Ask(question);
        Close(draft, answer is null ? null : $"{gap}{Trimmed(answer)} </s>");

        void Ask(string what) => draft.Add("<s>[INST] ").Add(Trimmed(head + what)).Add(" [/INST]").Add(end);

        string Trimmed(string part) => trim ? part.Trim() : part;
    }

    private static void WriteTurns(PromptDraft draft, Turns turns, string? system, IReadOnlyList<Exchange> history, string question, string? answer)
    {
        draft.Add(draft.Begin);
        if (!string.IsNullOrEmpty(system)) draft.Add(turns.SystemHead).Add(system).Add(turns.SystemTail);
        foreach (Exchange turn in history) draft.Add(turns.Ask).Add(turn.Question).Add(turns.Reply).Answer(turn.Answer + draft.End).Add(turns.Gap);
        Close(draft.Add(turns.Ask).Add(question).Add(turns.Reply), answer is null ? null : answer + draft.End);
    }

    /// <summary>What <see cref="WriteTurns"/> writes, as a chat template.</summary>
    private static string Template(Turns turns, string? system)
    {
        string head = Quoted(turns.SystemHead), tail = Quoted(turns.SystemTail);
        string own = string.IsNullOrEmpty(system) ? "" : $"{{%- else %}}{{{{- {Quoted(turns.SystemHead + system + turns.SystemTail)} }}}}\n";
        return $$$"""
            {{- bos_token }}
            {%- for message in messages %}
            {%- if loop.first %}
            {%- if message['role'] == 'system' %}{{- {{{head}}} + message['content'] + {{{tail}}} if message['content'] else '' }}
            {{{own}}}{%- endif %}
            {%- endif %}
            {%- if message['role'] == 'user' %}{{- {{{Quoted(turns.Ask)}}} + message['content'] + {{{Quoted(turns.Reply)}}} }}
            {%- elif message['role'] == 'assistant' %}{{- message['content'] + eos_token + ('' if loop.last else {{{Quoted(turns.Gap)}}}) }}
            {%- endif %}
            {%- endfor %}

            """;
    }

    private static string Quoted(string text) => "'" +
        text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "\\'", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal) + "'";
}
