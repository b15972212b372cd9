namespace Fude.Training;

/// <summary>How the learning rate goes on after the warm-up.</summary>
public enum ScheduleForm
{
    /// <summary>It stays.</summary>
    Constant,

    /// <summary>Down on a straight line until the last step.</summary>
    Linear,

    /// <summary>Down along half a cosine until the last step (Loshchilov and Hutter, 2017, arXiv:1608.03983).</summary>
    Cosine,

    /// <summary>It stays, then goes down on a straight line over the last steps (Hu et al., 2024, arXiv:2404.06395).</summary>
    WarmupStableDecay,
}

/// <summary>The learning rate of each step.</summary>
/// <param name="Peak">η after the warm-up.</param>
/// <param name="Form">How it goes on.</param>
/// <param name="Steps">Steps of the whole run.</param>
/// <param name="WarmUp">Steps over which the rate rises from 0.</param>
/// <param name="Final">The last rate as a part of the peak.</param>
/// <param name="Decay">Steps of the final decay of <see cref="ScheduleForm.WarmupStableDecay"/>.</param>
/// <remarks>As transformers has it: step k of the warm-up has rate k / WarmUp of the peak, so the first update has rate 0.</remarks>
public sealed record Schedule(double Peak, ScheduleForm Form, long Steps, long WarmUp = 0, double Final = 0, long Decay = 0)
{
    /// <summary>Steps of the final decay where nobody says how many: a tenth of the run, or what the warm-up leaves of it.</summary>
    public static long DecayOf(long steps, long warmUp) => Math.Clamp(steps / 10, 1, Math.Max(1, steps - warmUp));

    /// <summary>The rate of a step.</summary>
    /// <param name="step">Steps taken before it.</param>
    public double RateOf(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        if (step < WarmUp) return Peak * step / Math.Max(1, WarmUp);
        long decay = Form == ScheduleForm.WarmupStableDecay ? Decay : Steps - WarmUp;
        double done = Math.Clamp((double)(step - (Steps - decay)) / Math.Max(1, decay), 0, 1);
        double kept = Form switch
        {
            ScheduleForm.Constant => 1,
            ScheduleForm.Cosine => 0.5 * (1 + Math.Cos(Math.PI * done)),
            _ => 1 - done,
        };
        return Peak * (Final + (1 - Final) * kept);
    }
}
