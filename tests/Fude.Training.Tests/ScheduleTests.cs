namespace Fude.Training.Tests;

/// <summary>Learning rates worked out by hand from the definitions of transformers.</summary>
public sealed class ScheduleTests
{
    [Fact]
    public void The_warm_up_begins_at_zero_and_ends_at_the_peak()
    {
        foreach (ScheduleForm form in Enum.GetValues<ScheduleForm>())
        {
            Schedule schedule = new(8, form, 100, WarmUp: 4, Decay: 10);
            Assert.Equal([0, 2, 4, 6, 8], Enumerable.Range(0, 5).Select(step => schedule.RateOf(step)));
        }
        Assert.Equal(8, new Schedule(8, ScheduleForm.Linear, 10).RateOf(0));
    }

    [Fact]
    public void Each_form_goes_down_in_its_own_way()
    {
        Assert.Equal(1, new Schedule(1, ScheduleForm.Constant, 10, 2).RateOf(10));
        Assert.Equal([1, 0.75, 0.5, 0.25, 0], new[] { 2, 4, 6, 8, 10 }.Select(step => new Schedule(1, ScheduleForm.Linear, 10, 2).RateOf(step)));
        Schedule cosine = new(1, ScheduleForm.Cosine, 10, 2);
        Assert.Equal(0.5, cosine.RateOf(6), 1e-15);
        Assert.Equal(0.5 * (1 + Math.Cos(Math.PI / 4)), cosine.RateOf(4), 1e-15);
        Assert.Equal(0, cosine.RateOf(10), 1e-15);
        Schedule stable = new(1, ScheduleForm.WarmupStableDecay, 20, 2, Decay: 4);
        Assert.Equal([1, 1, 1, 0.75, 0.5, 0.25, 0, 0], new[] { 2, 10, 16, 17, 18, 19, 20, 25 }.Select(step => stable.RateOf(step)));
    }

    [Theory]
    [InlineData(100, 5, 10)]
    [InlineData(100, 95, 5)]
    [InlineData(100, 200, 1)]
    [InlineData(4, 0, 1)]
    public void The_decay_that_nobody_sets_is_a_tenth_or_what_the_warm_up_leaves(long steps, long warmUp, long expected) =>
        Assert.Equal(expected, Schedule.DecayOf(steps, warmUp));

    [Fact]
    public void A_warm_up_beyond_the_end_rises_as_in_a_longer_run()
    {
        foreach (ScheduleForm form in Enum.GetValues<ScheduleForm>())
            Assert.Equal([0, 1, 2, 3, 4], Enumerable.Range(0, 5).Select(step => new Schedule(10, form, 5, WarmUp: 10, Decay: 1).RateOf(step)));
    }

    [Fact]
    public void The_final_rate_is_a_part_of_the_peak() =>
        Assert.Equal(0.2, new Schedule(2, ScheduleForm.Cosine, 10, Final: 0.1).RateOf(10), 1e-15);
}
