using System.Globalization;
using System.Runtime.CompilerServices;
using Fude.Models;
using Microsoft.Extensions.AI;
using static Fude.Tokenizers.Wording;

namespace Fude.Generation;

/// <summary>A model behind the chat interface of Microsoft.Extensions.AI.</summary>
/// <remarks>
/// Temperature, TopP, TopK, MaxOutputTokens, StopSequences, Seed, FrequencyPenalty, PresencePenalty and Instructions are carried out; a
/// temperature of 0 is greedy search. RawRepresentationFactory may give <see cref="GenerationOptions"/>, which the others win over. What
/// fude does not do (tools, JSON answers, stored conversations) is an error. Without a limit the answer may fill the model's context.
/// The generator keeps the last conversation's keys and values (<see cref="TextGenerator.KeepsLastText"/>), so that its next turn is
/// answered without reading it again.
/// </remarks>
public sealed class FudeChatClient : IChatClient
{
    private readonly TextGenerator _generator;
    private readonly Func<IReadOnlyList<ChatMessage>, int[]> _prompt;
    private readonly ChatClientMetadata _metadata;

    /// <summary>Writes prompts in a published model's format.</summary>
    /// <param name="generator">The model; the client does not dispose it.</param>
    /// <param name="format">How its instructions are written; null: the one its folder and its adapter speak for (<see cref="PromptFormat.Guess"/>).</param>
    public FudeChatClient(TextGenerator generator, PromptFormat? format = null)
        : this(generator, messages => Write(generator, format, messages))
    {
    }

    /// <summary>Writes prompts in the caller's own way.</summary>
    /// <param name="generator">The model; the client does not dispose it.</param>
    /// <param name="prompt">The ids of a conversation, up to where the answer begins.</param>
    public FudeChatClient(TextGenerator generator, Func<IReadOnlyList<ChatMessage>, int[]> prompt)
    {
        ArgumentNullException.ThrowIfNull(generator);
        ArgumentNullException.ThrowIfNull(prompt);
        (_generator, _prompt) = (generator, prompt);
        _metadata = new("fude", providerUri: null, generator.Folder.Name);
        generator.KeepsLastText = true;
    }

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">An option or a kind of content asks for something fude does not do.</exception>
    public async Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        (int[] ids, GenerationOptions own) = Prepare(messages, options);
        GenerationResult result = (await _generator.GenerateAsync(ids, own, cancellationToken).ConfigureAwait(false))[0];
        return new(new ChatMessage(ChatRole.Assistant, result.Text))
        {
            ResponseId = Guid.NewGuid().ToString("N"),
            ModelId = _metadata.DefaultModelId,
            FinishReason = ReasonOf(result),
            Usage = UsageOf(result),
            RawRepresentation = result,
        };
    }

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">An option or a kind of content asks for something fude does not do.</exception>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages,
        ChatOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        (int[] ids, GenerationOptions own) = Prepare(messages, options);
        string id = Guid.NewGuid().ToString("N");
        await foreach (GenerationUpdate update in _generator.StreamUpdates(ids, own, cancellationToken).ConfigureAwait(false))
        {
            ChatResponseUpdate next = new()
            {
                Role = ChatRole.Assistant,
                ResponseId = id,
                MessageId = id,
                ModelId = _metadata.DefaultModelId,
            };
            if (update.Text.Length > 0) next.Contents.Add(new TextContent(update.Text));
            if (update.Result is { } result)
            {
                next.FinishReason = ReasonOf(result);
                next.Contents.Add(new UsageContent(UsageOf(result)));
                next.RawRepresentation = result;
            }
            yield return next;
        }
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null) return null;
        return serviceType.IsInstanceOfType(this) ? this
            : serviceType == typeof(ChatClientMetadata) ? _metadata
            : serviceType.IsInstanceOfType(_generator) ? _generator
            : null;
    }

    /// <summary>Nothing: the generator is the caller's.</summary>
    public void Dispose()
    {
    }

    private (int[] Ids, GenerationOptions Options) Prepare(IEnumerable<ChatMessage> messages, ChatOptions? options)
    {
        ArgumentNullException.ThrowIfNull(messages);
        List<ChatMessage> list = [.. messages];
        if (options?.Instructions is { Length: > 0 } instructions) list.Insert(0, new ChatMessage(ChatRole.System, instructions));
        foreach (AIContent content in list.SelectMany(message => message.Contents))
            if (content is not TextContent)
                throw new NotSupportedException(Say(
                    $"A message holds {content.GetType().Name}; fude's models read text only.",
                    $"メッセージに {content.GetType().Name} が含まれています。fude のモデルが読めるのはテキストだけです。"));
        GenerationOptions own = OptionsOf(options);
        // An answer is one text, however many generation_config.json asks for.
        own = own with { NumReturnSequences = own.NumReturnSequences ?? 1 };
        int[] ids = _prompt(list);
        // transformers' 20 tokens would cut every answer short.
        return (ids, ConversationRoom.Fit(own, _generator.Defaults, int.MaxValue, ids.Length, _generator.Config.Context));
    }

    private GenerationOptions OptionsOf(ChatOptions? options)
    {
        if (options is null) return new();
        Refuse(options.Tools is { Count: > 0 }, "Tools");
        Refuse(options.ToolMode is not null and not NoneChatToolMode and not AutoChatToolMode, "ToolMode");
        Refuse(options.ResponseFormat is not null and not ChatResponseFormatText, Say("ResponseFormat other than text", "テキスト以外の ResponseFormat"));
        Refuse(options.ConversationId is not null, "ConversationId");
        Refuse(options.Reasoning is not null, "Reasoning");
        Refuse(options.AdditionalProperties is { Count: > 0 },
            $"AdditionalProperties ({string.Join(", ", options.AdditionalProperties?.Keys ?? [])})");
#pragma warning disable MEAI001 // These two are experimental there; not to look at them would be to pass over them in silence.
        Refuse(options.AllowBackgroundResponses == true, "AllowBackgroundResponses");
        Refuse(options.ContinuationToken is not null, "ContinuationToken");
#pragma warning restore MEAI001
        if (options.ModelId is { } model && model != _metadata.DefaultModelId)
            throw new NotSupportedException(Say(
                $"ModelId is '{model}', but this client's model is '{_metadata.DefaultModelId}'.",
                $"ModelId が '{model}' ですが、このクライアントのモデルは '{_metadata.DefaultModelId}' です。"));
        GenerationOptions basis = options.RawRepresentationFactory?.Invoke(this) switch
        {
            null => new(),
            GenerationOptions given => given,
            object other => throw new NotSupportedException(Say(
                $"RawRepresentationFactory gave {other.GetType().Name}; fude takes {nameof(GenerationOptions)}.",
                $"RawRepresentationFactory が {other.GetType().Name} を返しました。使えるのは {nameof(GenerationOptions)} です。")),
        };
        GenerationOptions own = new()
        {
            DoSample = options.Temperature is float t ? t != 0 : options.TopP is not null || options.TopK is not null ? true : null,
            Temperature = options.Temperature == 0 ? null : AsWritten(options.Temperature),
            TopP = AsWritten(options.TopP),
            TopK = options.TopK,
            MaxNewTokens = options.MaxOutputTokens,
            StopStrings = options.StopSequences is { Count: > 0 } stops ? [.. stops] : null,
            Seed = options.Seed,
            FrequencyPenalty = AsWritten(options.FrequencyPenalty),
            PresencePenalty = AsWritten(options.PresencePenalty),
        };
        return own.Over(basis);

        // 0.95f is meant as 0.95, not as 0.949999988: the difference would show in which tokens top-p keeps.
        static double? AsWritten(float? number) =>
            number is float f ? double.Parse(f.ToString("R", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : null;

        static void Refuse(bool given, string option)
        {
            if (given)
                throw new NotSupportedException(Say(
                    $"ChatOptions: {option} is not supported. fude carries out Temperature, TopP, TopK, MaxOutputTokens, " +
                    "StopSequences, Seed, FrequencyPenalty, PresencePenalty and Instructions.",
                    $"ChatOptions: {option} には対応していません。使えるのは Temperature、TopP、TopK、MaxOutputTokens、StopSequences、Seed、" +
                    "FrequencyPenalty、PresencePenalty、Instructions です。"));
        }
    }

    private static int[] Write(TextGenerator generator, PromptFormat? format, IReadOnlyList<ChatMessage> messages)
    {
        List<string> system = [];
        List<Exchange> history = [];
        string? question = null;
        foreach (ChatMessage message in messages)
        {
            if (message.Role == ChatRole.System && question is null && history.Count == 0) system.Add(message.Text);
            else if (message.Role == ChatRole.User && question is null) question = message.Text;
            else if (message.Role == ChatRole.Assistant && question is not null)
            {
                history.Add(new(question, message.Text));
                question = null;
            }
            else
                throw new ArgumentException(Say(
                    $"A message of role '{message.Role}' stands out of turn. A conversation is system texts, then user and assistant in " +
                    "turn, and ends with user.",
                    $"役割 '{message.Role}' のメッセージの順番が正しくありません。会話は system の後に user と assistant が交互に続き、user で終わる必要があります。"),
                    nameof(messages));
        }
        if (question is null)
            throw new ArgumentException(Say(
                "The last message must be the user's: it is what the model answers.",
                "最後のメッセージは user のものでなければなりません。モデルはそれに答えます。"), nameof(messages));
        format ??= PromptFormat.Guess(generator.Folder, generator.AdapterFolder).Format;
        Prompt prompt = format.Write(question, system: system.Count > 0 ? string.Join("\n\n", system) : null, history: history);
        return generator.Encode(prompt.Text, prompt.AddSpecialTokens);
    }

    private static ChatFinishReason ReasonOf(GenerationResult result) =>
        result.Finish == FinishReason.Stop ? ChatFinishReason.Stop : ChatFinishReason.Length;

    private static UsageDetails UsageOf(GenerationResult result) => new()
    {
        InputTokenCount = result.PromptIds.Count,
        CachedInputTokenCount = result.KnownPromptTokens,
        OutputTokenCount = result.Ids.Count,
        TotalTokenCount = result.PromptIds.Count + result.Ids.Count,
    };
}
