using System.CommandLine;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude report: writes the page of a run's curves, also of a run that goes on.</summary>
internal static class ReportCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string> run = new("run")
        {
            HelpName = "RUN",
            Description = Say("The folder of a training run, with metrics.jsonl.", "学習の記録（metrics.jsonl）のあるフォルダー。"),
        };
        Command command = new("report", Say(
            "Write report.html of a training run: its curves and settings.", "学習の曲線と設定を report.html に書き出す。")) { run };
        command.SetAction(args =>
        {
            terminal.Output.WriteLine(RunReport.Write(args.GetRequiredValue(run)));
            return 0;
        });
        return command;
    }
}
