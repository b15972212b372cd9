using System.Globalization;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>What is said of a run whatever it learns from: of its size, of what it is evaluated on, of the settings that it goes on with, and of the weights
/// that it ends with.</summary>
internal static class RunEnd
{
    /// <summary>A number of weights, as in 0.046 M.</summary>
    public static string Millions(long weights) => string.Create(CultureInfo.InvariantCulture, $"{weights / 1e6:0.###} M");

    /// <summary>Says that examples which are to be evaluated on are learnt from too.</summary>
    public static void TellAlsoLearnt(TextWriter output, int alsoLearnt, int heldOut)
    {
        if (alsoLearnt > 0)
            output.WriteLine(Say(
                $"note: {alsoLearnt:N0} of the {Count(heldOut, "held-out example")} {(alsoLearnt == 1 ? "is" : "are")} also in what is learnt from: the held-out loss is lower than that of examples never seen",
                $"注意: 検証用の {heldOut:N0} 例のうち {alsoLearnt:N0} 例は学習用のデータにもあります。検証損失は、学習していない例での損失より低く出ます"));
    }

    /// <summary>Says that shards which are to be evaluated on are learnt from too.</summary>
    public static void TellAlsoLearnt(TextWriter output, IReadOnlyList<string> shards)
    {
        if (shards.Count > 0)
            output.WriteLine(Say(
                $"note: held out, but also learnt from: {string.Join(", ", shards)}; the held-out loss is lower than that of texts never seen",
                $"注意: 検証用ですが、学習用のデータにもあります: {string.Join("、", shards)}。検証損失は、学習していないテキストでの損失より低く出ます"));
    }

    /// <summary>Says at the beginning that the best weights so far are missing, or are those on another held-out text.</summary>
    public static void TellLost(TextWriter output, double? lost, double? other, bool isDone)
    {
        if (other is { } otherLoss)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{Say($"note: the best held-out loss so far, {otherLoss:F4}, was on other texts than are held out now; the best is sought anew from here on",
                    $"注意: これまでの検証損失の最良値 {otherLoss:F4} は別の検証データによるものです。ここから最良のものを探し直します")}"));
        if (lost is not { } loss) return;
        string best = loss.ToString("F4", CultureInfo.InvariantCulture);
        output.WriteLine(isDone
            ? Say($"note: the weights of the best held-out loss so far, {best}, are not kept beside the checkpoint; the run is over and ends with its last weights",
                $"注意: これまでの検証損失の最良値 {best} の重みはチェックポイントの隣に残っていません。実行は既に終わっているため、最後の重みを書き出します")
            : Say($"note: the weights of the best held-out loss so far, {best}, are not kept beside the checkpoint; the best is sought anew from here on",
                $"注意: これまでの検証損失の最良値 {best} の重みはチェックポイントの隣に残っていません。ここから最良のものを探し直します"));
    }

    /// <summary>Says with which settings a run goes on otherwise than so far.</summary>
    public static void TellChanges(TextWriter output, IReadOnlyList<SettingChange> changes)
    {
        if (changes.Count == 0) return;
        string list = string.Join(Say(", ", "、"), changes.Select(change => $"{Option(change.Name)} {Value(change.Before)} → {Value(change.Now)}"));
        output.WriteLine(Say($"note: settings that differ from those of the run so far: {list}", $"注意: これまでの実行と異なる設定: {list}"));
    }

    // A setting of one word is an option; others are what a run found in its files.
    private static string Option(string name) => name.Contains(' ', StringComparison.Ordinal) ? name : $"--{name}";

    // As it is typed: an option without a value is there or not.
    private static string Value(string? value) => value switch
    {
        null or "false" => Say("none", "なし"),
        "true" => Say("given", "あり"),
        _ => value,
    };

    /// <summary>Says at the end whether it was an early one, and which weights are written unless they are the last.</summary>
    public static void Tell(TextWriter output, RunState state, long steps, bool endedEarly, long? result)
    {
        string best = state.BestHeldOutLoss?.ToString("F4", CultureInfo.InvariantCulture) ?? "";
        if (endedEarly)
            output.WriteLine(Say(
                $"ended early after step {state.Step:N0} of {steps:N0}: {Count(state.EvaluationsSinceBest, "evaluation")} in a row {(state.EvaluationsSinceBest == 1 ? "was" : "were")} not below the best held-out loss, {best}",
                $"ステップ {state.Step:N0} / {steps:N0} で早期終了: 評価が {state.EvaluationsSinceBest} 回続けて検証損失の最良値 {best} を下回りませんでした"));
        if (result is { } step && step != state.Step)
            output.WriteLine(Say(
                $"the weights of step {step:N0} are written, which had the best held-out loss, {best}",
                $"検証損失が最良（{best}）だったステップ {step:N0} の重みを書き出します"));
        else if (endedEarly)
            output.WriteLine(Say(
                $"the weights of step {state.Step:N0}, the last, are written: those of the best held-out loss were not kept",
                $"最良の重みは残っていないため、最後のステップ {state.Step:N0} の重みを書き出します"));
    }
}
