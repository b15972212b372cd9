using System.CommandLine;
using Fude.Training;
using static Fude.Cli.Language;
using static Fude.Cli.NumberOption;

namespace Fude.Cli;

/// <summary>fude dpo: teaches a model to prefer one answer to another (direct preference optimisation).</summary>
internal static class DpoCommand
{
    public static Command Create(Terminal terminal)
    {
        Command command = new("dpo", Say(
            "Tune a model on preferences (DPO): all weights, or a LoRA adapter, against the model as it is.", "選好データでモデルを調整する（DPO）。参照は調整前のモデル（LoRA ではアダプターなしの元のモデル）。"));
        TuningArguments common = new(command, Say(
            "JSONL (also .gz) of prompt/chosen/rejected, texts or messages; several files are mixed, each of its pairs taken WEIGHT times an epoch.",
            "prompt/chosen/rejected（文字列またはメッセージ）の JSONL（.gz も可）。複数なら混ぜ、各組を 1 周に WEIGHT 回使う。"),
            fullRate: 1e-6, loraRate: 5e-6, batch: 16, mayCut: false);
        Option<Choice<PreferenceForm>> loss = WordOption.Of(
            "--loss", Say("sigmoid: DPO as published; ipo: towards a fixed margin; hinge: up to a margin.", "sigmoid は元の DPO、ipo は一定の差を目標に、hinge は差が付くまで。"),
            ("sigmoid", PreferenceForm.Sigmoid), ("ipo", PreferenceForm.Ipo), ("hinge", PreferenceForm.Hinge));
        Option<double> beta = Of("--beta", Say("How dear it is to leave the reference.", "参照モデルから離れることの重さ。"), 0.1, Above(0.0));
        Option<double> smoothing = Of(
            "--label-smoothing", Say("sigmoid: the share of pairs believed to be the wrong way round.", "sigmoid で、逆に付けられていると見る組の割合。"), 0.0, PartBelow(0.5));
        Option<bool> perToken = new("--per-token") { Description = Say("Divide log-probabilities by the answers' tokens, as trl does for ipo.", "対数確率を応答のトークン数で割る（trl の ipo と同じ）。") };
        foreach (Option option in (Option[])[loss, beta, smoothing, perToken]) command.Add(option);
        command.Validators.Add(common.RequireOutput);
        command.Validators.Add(result =>
        {
            if (result.GetResult(smoothing) is { Implicit: false } && result.GetValue(loss)?.Value is { } form and not PreferenceForm.Sigmoid)
                result.AddError(Say($"--label-smoothing is for --loss sigmoid, not for {form.ToString().ToLowerInvariant()}.", $"--label-smoothing は --loss sigmoid 用で、{form.ToString().ToLowerInvariant()} では使えません。"));
        });
        command.SetAction((args, stop) => Task.Run(() => TuneCommand.Run(terminal, common.Read(args, needsOutput: true) with
        {
            Preference = new PreferenceLoss(args.GetRequiredValue(loss).Value, args.GetValue(beta), args.GetValue(smoothing), args.GetValue(perToken)),
        }, "fude dpo", stop), stop));
        return command;
    }
}
