namespace Fude.Cli.Tests;

public sealed class InterruptsTests
{
    [Fact]
    public async Task What_cannot_stop_is_left_behind()
    {
        using Interrupts interrupts = new(patience: TimeSpan.FromMilliseconds(20));
        TaskCompletionSource<int> never = new();
        Task<int> outcome = interrupts.OutcomeAsync(never.Task);
        Assert.False(outcome.IsCompleted);
        Assert.Null(interrupts.ExitCode);
        Assert.True(interrupts.Stop());
        Assert.Equal(130, interrupts.ExitCode);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => outcome);
        Assert.False(interrupts.Stop());        // a second Ctrl+C is the system's to handle
    }

    [Fact]
    public async Task What_stops_in_time_gives_its_own_outcome()
    {
        using Interrupts interrupts = new();
        TaskCompletionSource<int> program = new();
        Task<int> outcome = interrupts.OutcomeAsync(program.Task);
        interrupts.Stop();
        program.SetResult(3);
        Assert.Equal(3, await outcome);
    }

    [Fact]
    public async Task A_part_that_is_stopped_does_not_stop_the_program()
    {
        using Interrupts interrupts = new();
        await interrupts.DuringAsync(stop =>
        {
            Assert.True(interrupts.Stop());
            Assert.True(stop.IsCancellationRequested || SpinWait.SpinUntil(() => stop.IsCancellationRequested, TimeSpan.FromSeconds(30)));
            return Task.CompletedTask;
        });
        Assert.False(interrupts.Program.IsCancellationRequested);
        Assert.Null(interrupts.ExitCode);
    }

    [Fact]
    public async Task What_may_take_its_time_is_waited_for()
    {
        using Interrupts interrupts = new() { Patience = Timeout.InfiniteTimeSpan };
        TaskCompletionSource<int> program = new();
        Task<int> outcome = interrupts.OutcomeAsync(program.Task);
        Assert.True(interrupts.Stop());
        await Task.Delay(30, TestContext.Current.CancellationToken);
        Assert.False(outcome.IsCompleted);
        program.SetResult(1);
        Assert.Equal(1, await outcome);
    }
}
