using Fude.Tensors;
using Fude.Training;

namespace Fude.Cli.Tests;

public sealed class RunDescriptionTests
{
    [Fact]
    public void Settings_have_the_words_of_their_options_and_those_not_given_are_left_out()
    {
        KeyValuePair<string, string>[] told =
        [
            .. RunDescription.Of(
            [
                ("schedule", ScheduleForm.WarmupStableDecay), ("save-format", NumberFormat.BF16), ("too-long", TooLong.Error), ("keep-best", false),
                ("learning-rate", 1.2e-3), ("system", "Answer."), ("weights", null), ("replay", ""), ("preference-loss", new PreferenceLoss(PreferenceForm.Ipo, 0.5)),
            ]),
        ];
        Assert.Equal(
            ["schedule wsd", "save-format bf16", "too-long error", "keep-best false", "learning-rate 0.0012", "system Answer.",
                "preference-loss ipo, beta 0.5, label-smoothing 0, per-token false"],
            told.Select(setting => $"{setting.Key} {setting.Value}"));
    }
}
