using Fude.Training;

namespace Fude.Cli.Tests;

public sealed class TrainingLineTests
{
    [Fact]
    public void Off_a_screen_there_is_a_line_first_last_with_every_evaluation_and_after_half_a_minute()
    {
        string[] lines = Lines(isScreen: false).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal([1, 31, 50, 80, 100], lines.Select(line => int.Parse(line.Split(' ', '/')[1], null)));
        // 512 tokens in half a second of each second; 1e6 operations a token and a peak of 4,096 million: a quarter.
        Assert.Equal("step 50/100 (50.0 %)  loss 2.0000  held-out 2.5000  1,024 tokens/s (25 % of peak)  0:50 left", lines[2]);
        Assert.EndsWith("0:00 left", lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void On_a_screen_the_line_is_drawn_anew_and_evaluations_stay()
    {
        string text = Lines(isScreen: true);
        Assert.Contains("held-out 2.5000  1,024 tokens/s (25 % of peak)  0:50 left\n", text, StringComparison.Ordinal);
        Assert.Equal(1, text.Count(character => character == '\n'));
    }

    [Fact]
    public void The_peak_is_measured_once_and_only_in_a_run_that_takes_long()
    {
        int measured = 0;
        foreach (int steps in (ReadOnlySpan<int>)[20, 40])
        {
            SteppingTime time = new();
            using StringWriter error = new();
            using TrainingLine line = new(new Terminal(Stream.Null, TextWriter.Null, error), steps, 0, 1e6, () => 4_096e6 + measured++, time);
            for (int step = 1; step <= steps; step++)
            {
                time.Seconds = step;
                line.Show(new StepReport(step, 2, 1, 1e-3, step * 512L, 0.5, null));
            }
            Assert.Equal(steps > 20, error.ToString().Contains("of peak", StringComparison.Ordinal));
        }
        Assert.Equal(1, measured);
    }

    [Fact]
    public void The_time_that_is_left_counts_evaluations_by_their_share()
    {
        // A step a second, and with every hundredth an evaluation of ten seconds: 1.1 seconds a step, so that the half is 550 seconds from the end.
        SteppingTime time = new();
        using StringWriter error = new();
        using TrainingLine line = new(new Terminal(Stream.Null, TextWriter.Null, error), 1000, 0, 0, null, time);
        for (int step = 1; step <= 500; step++)
        {
            time.Seconds += step % 100 == 0 ? 11 : 1;
            line.Show(new StepReport(step, 2, 1, 1e-3, step * 512L, 0.5, step % 100 == 0 ? 2.5 : null));
        }
        string last = error.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1];
        string[] left = last.Split(' ')[^2].Split(':');
        Assert.InRange(60 * int.Parse(left[0], null) + int.Parse(left[1], null), 530, 570);
    }

    [Fact]
    public void A_peak_that_the_run_surpasses_is_measured_again_now_and_then()
    {
        // As something else that runs beside it disturbs the measurement.
        Queue<double> peaks = new([1_000e6, 900e6, 4_096e6]);
        SteppingTime time = new();
        using StringWriter error = new();
        using TrainingLine line = new(new Terminal(Stream.Null, TextWriter.Null, error), 400, 0, 1e6, peaks.Dequeue, time);
        for (int step = 1; step <= 400; step++)
        {
            time.Seconds = step;
            line.Show(new StepReport(step, 2, 1, 1e-3, step * 512L, 0.5, step is 50 or 100 or 200 ? 2.5 : null));
        }
        Assert.Empty(peaks);
        Assert.Equal(["102", "102", "25"], error.ToString().Split('\n').Where(text => text.Contains("held-out", StringComparison.Ordinal))
            .Select(text => text.Split('(')[2].Split(' ')[0]));
    }

    [Fact]
    public void First_and_last_lines_and_evaluations_have_the_loss_of_their_step_and_others_say_that_theirs_is_a_mean()
    {
        // The loss is 21 minus the step, so that a mean lags.
        string[] lines = Lines(20, secondsOfStep: 3, step => new StepReport(step, 21 - step, 1, 1e-3, step * 512L, 0.5, step == 15 ? 7.5 : null));
        Assert.Equal(4, lines.Length);
        Assert.StartsWith("step 1/20 (5.0 %)  loss 20.0000  ", lines[0], StringComparison.Ordinal);
        // It forgets by steps too: half after a tenth of the run, which are two.
        Assert.StartsWith("step 11/20 (55.0 %)  mean loss 12.1", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("step 15/20 (75.0 %)  loss 6.0000  held-out 7.5000  ", lines[2], StringComparison.Ordinal);
        Assert.StartsWith("step 20/20 (100.0 %)  loss 1.0000  ", lines[3], StringComparison.Ordinal);
    }

    [Fact]
    public void The_first_step_which_is_slower_does_not_count_for_the_speed()
    {
        string[] lines = Lines(5, secondsOfStep: 1, step => new StepReport(step, 2, 1, 1e-3, step * 512L, step == 1 ? 8 : 0.5, null));
        Assert.Contains("  64 tokens/s", lines[0], StringComparison.Ordinal);
        Assert.Contains("  1,024 tokens/s", lines[^1], StringComparison.Ordinal);
    }

    // Of a run that no screen shows.
    private static string[] Lines(int steps, int secondsOfStep, Func<int, StepReport> report)
    {
        using StringWriter error = new() { NewLine = "\n" };
        SteppingTime time = new();
        using (TrainingLine line = new(new Terminal(Stream.Null, TextWriter.Null, error), steps, 0, 0, null, time))
        {
            for (int step = 1; step <= steps; step++)
            {
                time.Seconds += secondsOfStep;
                line.Show(report(step));
            }
        }
        return error.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    private static string Lines(bool isScreen)
    {
        using StringWriter error = new() { NewLine = "\n" };
        SteppingTime time = new();
        using (TrainingLine line = new(new Terminal(Stream.Null, TextWriter.Null, error, ErrorIsScreen: isScreen), 100, 0, 1e6, () => 4_096e6, time))
        {
            for (int step = 1; step <= 100; step++)
            {
                time.Seconds = step;
                line.Show(new StepReport(step, 2, 1, 1e-3, step * 512L, 0.5, step == 50 ? 2.5 : null));
            }
        }
        return error.ToString();
    }

    private sealed class SteppingTime : TimeProvider
    {
        public long Seconds { get; set; }

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Seconds;
    }
}
