namespace Fude.Generation.Tests;

/// <summary>How a conversation and its next answer share the context.</summary>
public sealed class ConversationRoomTests
{
    private const int Context = 512, Default = 512;

    public static TheoryData<GenerationOptions, GenerationOptions, int> Longest() => new()
    {
        { new(), new(), 513 - 128 },
        { new(), new() { MaxNewTokens = 64 }, 513 - 64 },
        { new(), new() { MaxNewTokens = 128 }, 513 - 128 },
        { new(), new() { MaxNewTokens = 512 }, 513 - 128 },           // as what nobody says: the last turns stay
        { new(), new() { MaxNewTokens = 100_000 }, 513 - 128 },
        { new() { MaxNewTokens = 400 }, new() { MaxNewTokens = 64 }, 513 - 400 },
        { new() { MaxNewTokens = 600 }, new(), 1 },
        { new(), new() { MaxLength = 512 }, 512 - 128 },
        { new(), new() { MaxLength = 100 }, 100 - 25 },
        { new(), new() { MaxLength = 100_000 }, 513 - 128 },
        { new(), new() { MaxLength = 512, MaxNewTokens = 64 }, 513 - 64 },
        { new() { MaxLength = 100 }, new() { MaxNewTokens = 64 }, 100 - 25 },
    };

    [Theory, MemberData(nameof(Longest))]
    public void A_prompt_leaves_room_for_an_answer(GenerationOptions asked, GenerationOptions defaults, int expected)
    {
        int longest = ConversationRoom.LongestPrompt(asked, defaults, Default, Context);
        Assert.Equal(expected, longest);
        // What fits is no error.
        if (asked.MaxNewTokens is null or <= Context)
            _ = GenerationSettings.Resolve(ConversationRoom.Fit(asked, defaults, Default, longest, Context).Over(defaults), longest, 100, Context);
    }

    [Fact]
    public void What_only_the_model_s_folder_asks_for_gives_way_and_what_the_caller_asks_for_does_not()
    {
        Assert.Equal(64, Fit(new(), new() { MaxNewTokens = 64 }, 400));
        Assert.Equal(13, Fit(new(), new() { MaxNewTokens = 64 }, 500));
        Assert.Equal(13, Fit(new(), new() { MaxNewTokens = 64, MaxLength = 512 }, 500));
        Assert.Equal(1, Fit(new(), new(), 512));
        Assert.Equal(1, Fit(new(), new(), 900));
        Assert.Equal(64, Fit(new() { MaxNewTokens = 64 }, new() { MaxNewTokens = 5 }, 500));
        Assert.Null(Fit(new() { MaxLength = 64 }, new() { MaxNewTokens = 5 }, 500));
        Assert.Null(Fit(new(), new() { MaxLength = 64 }, 10));
        Assert.Equal(413, ConversationRoom.Fit(new(), new(), int.MaxValue, 100, Context).MaxNewTokens);

        static int? Fit(GenerationOptions asked, GenerationOptions defaults, int promptLength) => ConversationRoom.Fit(asked, defaults, Default, promptLength, Context).MaxNewTokens;
    }
}
