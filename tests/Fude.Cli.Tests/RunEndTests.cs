using Fude.Training;

namespace Fude.Cli.Tests;

public sealed class RunEndTests
{
    [Fact]
    public void Settings_that_changed_are_told_as_they_are_typed()
    {
        using StringWriter output = new() { NewLine = "\n" };
        RunEnd.TellChanges(output, [
            new("schedule", "cosine", "wsd"), new("keep-best", "true", "false"), new("held-out", null, "a.jsonl"), new("save-format", "bf16", "f32"),
            new("learning-rate", "0.001", "0.002"), new("examples of a.jsonl", "3", "4")]);
        Assert.Equal("note: settings that differ from those of the run so far: --schedule cosine → wsd, --keep-best given → none, --held-out none → a.jsonl, " +
            "--save-format bf16 → f32, --learning-rate 0.001 → 0.002, examples of a.jsonl 3 → 4\n", output.ToString());
    }

    [Fact]
    public void Of_no_change_nothing_is_told()
    {
        using StringWriter output = new();
        RunEnd.TellChanges(output, []);
        Assert.Equal("", output.ToString());
    }
}
