using System.CommandLine;
using Fude.Models;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude merge: folds a LoRA adapter into the weights of its base model.</summary>
internal static class MergeCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string> model = Arguments.ModelOfFolder();
        Option<string?> adapter = Arguments.Adapter();
        adapter.Required = true;
        Option<string> output = new("--out")
        {
            HelpName = "DIR",
            Required = true,
            Description = Say("The folder to write; must not hold files.", "書き出し先のフォルダー。空でなければならない。"),
        };
        Command command = new("merge", Say(
            "Write a model with a LoRA adapter folded into its weights.", "LoRA アダプターを重みに組み込んだモデルを書き出す。"))
        {
            model, adapter, output,
        };
        command.SetAction((args, stop) => Task.Run(() =>
        {
            string folder = args.GetRequiredValue(output);
            LoraMerge.Write(ModelFolder.Open(args.GetRequiredValue(model)), args.GetRequiredValue(adapter)!, folder, stop: stop);
            terminal.Error.WriteLine(Say($"wrote {folder}", $"{folder} に書き出しました"));
            return 0;
        }, stop));
        return command;
    }
}
