namespace Fude.Generation.Tests;

public sealed class BeamHypothesesTests
{
    [Fact]
    public void The_best_few_are_kept_and_the_first_of_equally_bad_ones_goes()
    {
        BeamHypotheses group = new(2, Settings(new()), maxNewTokens: 10);
        BeamHypothesis first = Of(-3), second = Of(-3), third = Of(-1);
        group.Add(first);
        group.Add(second);
        group.Add(Of(-3));      // no better than the worst
        Assert.Equal([first, second], group.Kept);
        group.Add(third);
        Assert.Equal([second, third], group.Kept);
    }

    [Theory,
        InlineData(EarlyStopping.WhenEnough, 1.0, true), InlineData(EarlyStopping.WhenUnlikely, 1.0, true),
            InlineData(EarlyStopping.Never, 1.0, false),
        InlineData(EarlyStopping.Never, 0.0, true), InlineData(EarlyStopping.WhenUnlikely, 0.0, true)]
    public void A_search_is_over_when_no_running_text_can_win(EarlyStopping stopping, double lengthPenalty, bool expected)
    {
        // Worst kept: -2. A running text of -6 after 2 tokens scores -3 now, but would score -0.6 if it went on for free to 10 tokens.
        BeamHypotheses group = new(1, Settings(new() { EarlyStopping = stopping, LengthPenalty = lengthPenalty }), maxNewTokens: 10);
        Assert.False(group.IsDone(-6, 2));
        group.Add(Of(-2));
        Assert.Equal(expected, group.IsDone(-6, 2));
    }

    [Fact]
    public void A_score_divides_by_new_tokens_to_the_power_of_the_penalty() =>
        Assert.Equal(-6 / Math.Pow(4, 0.5), new BeamHypotheses(1, Settings(new() { LengthPenalty = 0.5 }), 10).Score(-6, 4), 12);

    private static BeamHypothesis Of(double score) => new(score, [1], null, FinishReason.Stop);

    private static GenerationSettings Settings(GenerationOptions options) =>
        GenerationSettings.Resolve(options with { NumBeams = 2 }, 1, 100, 100);
}
