using Fude.Models;
using Fude.TestData;
using Microsoft.Extensions.AI;

namespace Fude.Generation.Tests;

public sealed class FudeChatClientTests : IDisposable
{
    private static readonly ChatMessage[] Question = [new(ChatRole.User, "猫")];

    private readonly string _folder = Directory.CreateTempSubdirectory("fude-chat-").FullName;
    private readonly TextGenerator _generator;

    public FudeChatClientTests()
    {
        foreach (string file in Directory.EnumerateFiles(TestFolders.FindGolden("models/llama-mha")!))
            File.Copy(file, Path.Combine(_folder, Path.GetFileName(file)));
        File.Copy(Path.Combine(TestFolders.Golden, "tokenizers", "spm-bpe-llama2-like", "tokenizer.model"),
            Path.Combine(_folder, "tokenizer.model"));
        _generator = TextGenerator.Load(_folder);
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_next_turn_is_answered_without_reading_the_conversation_again()
    {
        int[] conversation = [.. Enumerable.Range(60, 30)];
        using FudeChatClient client = new(_generator, messages => [.. conversation[..(10 * messages.Count)], 5]);
        ChatOptions options = new() { MaxOutputTokens = 4, Temperature = 0 };
        ChatResponse first = await client.GetResponseAsync([Question[0], Question[0]], options, Stop);
        Assert.Equal(0, first.Usage!.CachedInputTokenCount);
        ChatResponse second = await client.GetResponseAsync([Question[0], Question[0], Question[0]], options, Stop);
        Assert.Equal(20, second.Usage!.CachedInputTokenCount);
        using TextGenerator afresh = TextGenerator.Load(_folder);
        Assert.False(afresh.KeepsLastText);
        GenerationResult expected = afresh.Generate([.. conversation, 5], new() { MaxNewTokens = 4, DoSample = false }, Stop)[0];
        Assert.Equal(expected.Ids, ((GenerationResult)second.RawRepresentation!).Ids);
    }

    [Fact]
    public async Task An_answer_is_one_text_however_many_the_model_asks_for()
    {
        File.WriteAllText(Path.Combine(_folder, "generation_config.json"), """{"do_sample": true, "num_return_sequences": 2}""");
        using TextGenerator generator = TextGenerator.Load(_folder);
        using FudeChatClient client = new(generator, _ => [66, 124]);
        ChatOptions options = new() { MaxOutputTokens = 3, Seed = 1 };
        ChatResponse streamed = await client.GetStreamingResponseAsync(Question, options, Stop).ToChatResponseAsync(Stop);
        Assert.Equal((await client.GetResponseAsync(Question, options, Stop)).Text, streamed.Text);
    }

    [Fact]
    public async Task An_answer_is_what_the_generator_writes_for_the_same_prompt()
    {
        int[]? asked = null;
        using FudeChatClient client = new(_generator, messages => asked = [66, 124, .. messages.Select(m => m.Text.Length)]);
        ChatOptions options = new()
        {
            Temperature = 0.9f,
            TopP = 0.95f,
            TopK = 20,
            MaxOutputTokens = 9,
            Seed = 5,
            FrequencyPenalty = 0.5f,
            PresencePenalty = 0.25f,
        };
        ChatResponse response = await client.GetResponseAsync(Question, options, Stop);
        GenerationResult expected = _generator.Generate(asked!, new()
        {
            DoSample = true,
            Temperature = 0.9,
            TopP = 0.95,
            TopK = 20,
            MaxNewTokens = 9,
            Seed = 5,
            FrequencyPenalty = 0.5,
            PresencePenalty = 0.25,
        }, Stop)[0];
        Assert.Equal([66, 124, 1], asked!);
        Assert.Equal(expected.Text, response.Text);
        Assert.Equal(expected.Ids, ((GenerationResult)response.RawRepresentation!).Ids);
        Assert.Equal(expected.Finish == FinishReason.Stop ? ChatFinishReason.Stop : ChatFinishReason.Length, response.FinishReason);
        Assert.Equal((3L, (long)expected.Ids.Count), (response.Usage!.InputTokenCount, response.Usage.OutputTokenCount));

        ChatResponse streamed = await client.GetStreamingResponseAsync(Question, options, Stop).ToChatResponseAsync(Stop);
        Assert.Equal(response.Text, streamed.Text);
        Assert.Equal(response.FinishReason, streamed.FinishReason);
        Assert.Equal(response.Usage.OutputTokenCount, streamed.Usage!.OutputTokenCount);
        Assert.Equal(Path.GetFileName(_folder), streamed.ModelId);
    }

    [Fact]
    public async Task A_temperature_of_zero_is_greedy_and_without_a_limit_the_context_is()
    {
        using FudeChatClient client = new(_generator, _ => [66, 124]);
        ChatOptions options = new() { Temperature = 0, RawRepresentationFactory = _ => new GenerationOptions { EosTokenId = [] } };
        ChatResponse response = await client.GetResponseAsync(Question, options, Stop);
        Assert.Equal(159, response.Usage!.OutputTokenCount);      // 160 positions, and the last is not read
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.Equal(_generator.Generate([66, 124], new() { DoSample = false, EosTokenId = [], MaxNewTokens = 159 }, Stop)[0].Text,
            response.Text);
    }

    [Fact]
    public async Task A_conversation_is_written_in_the_models_format()
    {
        using FudeChatClient client = new(_generator, PromptFormat.Elyza);
        ChatMessage[] messages = [new(ChatRole.System, "短く"), new(ChatRole.User, "a"), new(ChatRole.Assistant, "b"),
            new(ChatRole.User, "c")];
        Prompt prompt = PromptFormat.Elyza.Write("c", system: "短く", history: [new("a", "b")]);
        int expected = _generator.Encode(prompt.Text, prompt.AddSpecialTokens).Length;
        // The tiny model has no rows for most of these ids; the message says how many ids the prompt has, or which one is beyond it.
        ArgumentException error = await Assert.ThrowsAsync<ArgumentException>(() =>
            client.GetResponseAsync(messages, new() { MaxOutputTokens = 2 }, Stop));
        Assert.True(error.Message.Contains("not in the model's vocabulary", StringComparison.Ordinal)
            || error.Message.Contains($"{expected} tokens", StringComparison.Ordinal), error.Message);
    }

    [Fact]
    public async Task A_conversation_is_written_in_the_format_of_the_model_s_adapter()
    {
        string adapter = Directory.CreateDirectory(Path.Combine(_folder, "adapter")).FullName;
        foreach (string file in Directory.EnumerateFiles(TestFolders.FindGolden("lora/llama-qv-r8")!))
            File.Copy(file, Path.Combine(adapter, Path.GetFileName(file)));
        PromptFormat.LlmJpInstruct.Record(adapter);
        using TextGenerator generator = TextGenerator.Load(_folder, adapter);
        using FudeChatClient client = new(generator);
        // Of the two formats neither has a place for a system text, and the message says which one it is.
        NotSupportedException error = await Assert.ThrowsAsync<NotSupportedException>(() =>
            client.GetResponseAsync([new(ChatRole.System, "短く"), .. Question], cancellationToken: Stop));
        Assert.Contains("llm-jp-instruct-v1.0", error.Message, StringComparison.Ordinal);
    }

    public static TheoryData<string, ChatOptions> Unsupported() => new()
    {
        { "Tools", new() { Tools = [AIFunctionFactory.Create(() => 1, "one")] } },
        { "ToolMode", new() { ToolMode = ChatToolMode.RequireAny } },
        { "ResponseFormat", new() { ResponseFormat = ChatResponseFormat.Json } },
        { "ConversationId", new() { ConversationId = "1" } },
        { "ModelId", new() { ModelId = "another" } },
        { "AdditionalProperties", new() { AdditionalProperties = new() { ["x"] = 1 } } },
        { "RawRepresentationFactory", new() { RawRepresentationFactory = _ => "x" } },
    };

    [Theory, MemberData(nameof(Unsupported))]
    public async Task What_is_not_supported_is_an_error_not_silence(string option, ChatOptions options)
    {
        using FudeChatClient client = new(_generator, _ => [66]);
        NotSupportedException error = await Assert.ThrowsAsync<NotSupportedException>(() =>
            client.GetResponseAsync(Question, options, Stop));
        Assert.Contains(option, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Images_and_messages_out_of_turn_are_errors()
    {
        using FudeChatClient client = new(_generator, PromptFormat.Elyza);
        ChatMessage image = new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")]);
        await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync([image], cancellationToken: Stop));
        await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync([new(ChatRole.Assistant, "a")], cancellationToken: Stop));
        await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync([.. Question, new(ChatRole.Assistant, "a")],
            cancellationToken: Stop));
        await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync([], cancellationToken: Stop));
    }

    [Fact]
    public void The_client_tells_what_it_is()
    {
        using FudeChatClient client = new(_generator);
        Assert.Equal("fude", client.GetService<ChatClientMetadata>()!.ProviderName);
        Assert.Same(_generator, client.GetService<TextGenerator>());
        Assert.Same(client, client.GetService<IChatClient>());
        Assert.Null(client.GetService(typeof(string)));
    }

    public void Dispose()
    {
        _generator.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
