using System.Globalization;
using System.Text.Json;
using Fude.Tokenizers.Files;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>How far a run is: with the weights and the optimiser's moments all that its continuation depends on.</summary>
/// <param name="Step">Steps taken.</param>
/// <param name="Tokens">Tokens learnt from.</param>
/// <param name="Cursor">What is read next.</param>
/// <param name="BestHeldOutLoss">The lowest mean loss on the held-out text so far, nats a token; null before the first.</param>
/// <param name="EvaluationsSinceBest">Evaluations that did not come below it.</param>
/// <param name="BestStep">The step whose weights had it, where they are kept (<see cref="Checkpoints.KeepBest"/>); null where they are not.</param>
/// <param name="BestOf">Tells the held-out text from others; null where nobody knows.</param>
public sealed record RunState(
    long Step, long Tokens, Cursor Cursor, double? BestHeldOutLoss = null, int EvaluationsSinceBest = 0, long? BestStep = null, string? BestOf = null);

/// <summary>The checkpoints of a run: folders step-00000100 and so on, each a model in Hugging Face's layout with what training needs beside it.</summary>
/// <remarks>A checkpoint is written aside and renamed when all of it is on the disk, and older ones are deleted after that, when the next step has
/// shown that it is one to go on from: whenever the process is killed, or the run diverges, a good one is there. Beside them may lie best-00000080, the weights alone of the best evaluation so far: those
/// that the last checkpoint speaks of stay until a checkpoint speaks of others.</remarks>
/// <param name="folder">Holds them.</param>
public sealed class Checkpoints(string folder)
{
    private const string Prefix = "step-", BestPrefix = "best-", StateFile = "trainer.json", MeansFile = "optimizer.safetensors";

    /// <summary>Where the checkpoint of a step lies.</summary>
    public string PathOf(long step) => Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{Prefix}{step:D8}"));

    /// <summary>Where the weights of a step lie that were the best of a run.</summary>
    public string PathOfBest(long step) => Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{BestPrefix}{step:D8}"));

    /// <summary>Steps that there are checkpoints of, ascending.</summary>
    public IReadOnlyList<long> Steps => [.. StepsOf(Prefix).Where(step => File.Exists(Path.Combine(PathOf(step), StateFile)))];

    /// <summary>How far a run in a folder is, from its last checkpoint; null where there is none, or one that cannot be read.</summary>
    /// <param name="output">The run's folder, which holds the folder "checkpoints".</param>
    public static RunState? StateOf(string output)
    {
        Checkpoints checkpoints = new(Path.Combine(output, "checkpoints"));
        try
        {
            return checkpoints.Steps is [.., long last] ? Read(Path.Combine(checkpoints.PathOf(last), StateFile)).State : null;
        }
        catch (InvalidDataException)
        {
            return null;        // whoever takes it up is told
        }
    }

    /// <summary>Steps whose weights are kept as the best of the run, ascending: one, or more while no checkpoint has come since the last.</summary>
    public IReadOnlyList<long> BestSteps => StepsOf(BestPrefix);

    /// <summary>Keeps the weights as the best of the run so far. Those that the last checkpoint speaks of stay beside them until the next.</summary>
    /// <param name="model">The model.</param>
    /// <param name="step">The step that its weights are of.</param>
    /// <exception cref="IOException">The disk is full, for instance; what was kept before stays as it is.</exception>
    public void KeepBest(TrainableModel model, long step)
    {
        ArgumentNullException.ThrowIfNull(model);
        WriteAside(PathOfBest(step), pending => model.Save(pending));
    }

    /// <summary>Deletes the weights that were kept as the best of the run, but for those of some steps.</summary>
    public void DropBest(params ReadOnlySpan<long?> except)
    {
        foreach (long step in BestSteps)
            if (!except.Contains(step)) WholeFolder.Drop(PathOfBest(step));
    }

    /// <summary>Gives the model the weights that were kept as the best of the run.</summary>
    /// <exception cref="InvalidDataException">They are damaged, or of another model.</exception>
    public void RestoreBest(TrainableModel model, long step)
    {
        ArgumentNullException.ThrowIfNull(model);
        string path = PathOfBest(step);
        Try(path, () => model.Restore(path), WithoutBest);
    }

    /// <summary>Writes a checkpoint. Those before it stay until <see cref="DropOld"/>.</summary>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">Its optimiser.</param>
    /// <param name="state">How far the run is.</param>
    /// <exception cref="IOException">The disk is full, for instance; the checkpoints before stay as they are.</exception>
    public void Save(TrainableModel model, AdamW optimizer, RunState state)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(state);
        WriteAside(PathOf(state.Step), pending =>
        {
            model.Save(pending);
            optimizer.Save(Path.Combine(pending, MeansFile));
            using FileStream file = new(Path.Combine(pending, StateFile), FileMode.Create, FileAccess.Write);
            Write(file, state, optimizer.Steps);
            file.Flush(flushToDisk: true);
        });
        DropBest(state.BestStep);
    }

    /// <summary>Deletes the oldest checkpoints.</summary>
    /// <param name="keep">How many stay.</param>
    public void DropOld(int keep)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(keep);
        IReadOnlyList<long> steps = Steps;
        for (int i = 0; i < steps.Count - keep; i++) WholeFolder.Drop(PathOf(steps[i]));
    }

    private List<long> StepsOf(string prefix)
    {
        List<long> steps = [];
        if (!Directory.Exists(folder)) return steps;
        foreach (string path in Directory.EnumerateDirectories(folder, prefix + "*"))
            if (long.TryParse(Path.GetFileName(path.AsSpan())[prefix.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out long step)) steps.Add(step);
        steps.Sort();
        return steps;
    }

    // All of a folder or nothing of it.
    private void WriteAside(string path, Action<string> write)
    {
        _ = Directory.CreateDirectory(folder);
        Clear();
        WholeFolder.Write(path, write);
    }

    /// <summary>Deletes what a run that was killed while writing left behind. None of it is a checkpoint.</summary>
    public void Clear()
    {
        if (!Directory.Exists(folder)) return;
        foreach (string prefix in (ReadOnlySpan<string>)[Prefix, BestPrefix])
            foreach (string left in Directory.GetDirectories(folder, $".{prefix}*")) Directory.Delete(left, recursive: true);
    }

    /// <summary>Fails where the weights that were kept as the best of the run cannot be those of the model: when they are wanted, at the run's end, it
    /// would be too late.</summary>
    /// <exception cref="InvalidDataException">They are damaged, or of another model; the message says what to do.</exception>
    public void CheckBest(TrainableModel model, long step)
    {
        ArgumentNullException.ThrowIfNull(model);
        string path = PathOfBest(step);
        Try(path, () => model.CheckSaved(path), WithoutBest);
    }

    private static string WithoutBest => Say(
        "the best is then sought anew from here on, and a run that is over ends with its last weights",
        "最良のものをそこから探し直します。既に終わった実行なら最後の重みを書き出します");

    /// <summary>Takes up the last checkpoint.</summary>
    /// <returns>How far the run was; null when there is none.</returns>
    /// <exception cref="InvalidDataException">It is damaged, or of another model; the message says from where the run goes on without it.</exception>
    public RunState? Restore(TrainableModel model, AdamW optimizer)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(optimizer);
        if (Steps is not [.., long last]) return null;
        string path = PathOf(last), file = Path.Combine(path, StateFile);
        RunState? read = null;
        Try(path, () =>
        {
            (RunState state, long updates) = Read(file);
            if (state.Step != last) throw new InvalidDataException(Say(
                $"{file}: is of step {state.Step}, but its folder is that of step {last}.",
                $"{file}: ステップ {state.Step} のものですが、フォルダーはステップ {last} のものです。"));
            model.Restore(path);
            optimizer.Restore(Path.Combine(path, MeansFile), updates);
            read = state;
        }, Steps is [.., long before, _]
            ? Say($"the run then goes on from {PathOf(before)}", $"{PathOf(before)} から再開します")
            : Say("the run then begins anew, for there is no checkpoint before", "前のチェックポイントがないため最初から始まります"));
        return read;
    }

    // Nobody can download what a run wrote: what helps is to go on without it.
    private static void Try(string path, Action take, string without)
    {
        try
        {
            take();
        }
        catch (Exception e) when (e is InvalidDataException or FileNotFoundException)
        {
            string what = e.Message;
            foreach (string advice in (ReadOnlySpan<string>)[" Download or copy it again.", "ダウンロードまたはコピーをやり直してください。"])
                what = what.Replace(advice, "", StringComparison.Ordinal);
            what = what.TrimEnd(' ', '.', '。');
            throw new InvalidDataException(Say(
                $"{what}. If it is damaged, delete the folder {path}: {without}.",
                $"{what}。破損しているなら、フォルダー {path} を削除してください。{without}。"), e);
        }
    }

    private static void Write(FileStream file, RunState state, long updates)
    {
        using Utf8JsonWriter json = new(file, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteNumber("step", state.Step);
        json.WriteNumber("updates", updates);
        json.WriteNumber("tokens", state.Tokens);
        json.WriteNumber("fold", state.Cursor.Fold);
        json.WriteNumber("seed", state.Cursor.Seed);
        json.WriteNumber("tokens_of_fold", state.Cursor.Tokens);
        if (state.BestHeldOutLoss is { } best) json.WriteNumber("best_held_out_loss", best);
        json.WriteNumber("evaluations_since_best", state.EvaluationsSinceBest);
        if (state.BestStep is { } kept) json.WriteNumber("best_step", kept);
        if (state.BestOf is { } mark) json.WriteString("best_of", mark);
        json.WriteEndObject();
    }

    private static (RunState State, long Updates) Read(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            JsonElement json = document.RootElement;
            RunState state = new(
                Count("step"), Count("tokens"),
                new Cursor(checked((int)Count("fold")), json.GetProperty("seed").GetUInt64(), Count("tokens_of_fold")),
                json.TryGetProperty("best_held_out_loss", out JsonElement best) ? best.GetDouble() : null,
                checked((int)Count("evaluations_since_best")),
                json.TryGetProperty("best_step", out _) ? Count("best_step") : null,
                json.TryGetProperty("best_of", out JsonElement mark) ? mark.GetString() : null);
            return (state, Count("updates"));

            long Count(string key) => json.GetProperty(key).GetInt64() is >= 0 and long count ? count : throw new FormatException(Say(
                $"{key} is below 0",
                $"{key} が 0 未満です"));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new InvalidDataException(Say(
                $"{file}: is not the state of a run: {JsonMistake.What(e)}.",
                $"{file}: 学習の状態として読めません: {JsonMistake.What(e)}。"), e);
        }
    }
}
