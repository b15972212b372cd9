using System.CommandLine;
using System.Globalization;
using System.Text;
using Fude.Tokenizers.Training;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude run: does the steps of a recipe, those alone whose inputs or settings have changed.</summary>
internal static class RunCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string> file = new("recipe")
        {
            HelpName = "RECIPE",
            Description = Say("The recipe, a JSON file; docs/RECIPES.md says what it holds.", "レシピの JSON ファイル。書き方は docs/RECIPES.md にある。"),
        };
        Option<string[]> set = new("--set")
        {
            HelpName = "NAME=PATH",
            Description = Say("Sets a variable of the recipe that is a path, such as the folder of the data; may be repeated.", "レシピの変数のうち、データのフォルダーなどのパスを変える。繰り返し指定できる。"),
        };
        set.Validators.Add(result =>
        {
            foreach (string pair in result.Tokens.Select(token => token.Value))
            {
                if (pair.IndexOf('=', StringComparison.Ordinal) <= 0)
                    result.AddError(Say($"--set: '{pair}' is not of the form NAME=PATH.", $"--set: '{pair}' は NAME=PATH の形ではありません。"));
                else if (pair[(pair.IndexOf('=', StringComparison.Ordinal) + 1)..].Trim().Length == 0)
                    result.AddError(Say($"--set: '{pair}' has no value after the =.", $"--set: '{pair}' の = の後に値がありません。"));
            }
        });
        Option<string?> until = new("--until")
        {
            HelpName = "STEP",
            Description = Say("The last step to do.", "この手順まで実行する。"),
        };
        Option<string[]> adopt = new("--adopt")
        {
            HelpName = "STEP",
            Description = Say(
                "Takes what lies at the step's outputs for its result, without doing it; a training in the midst goes on. May be repeated.",
                "手順の出力先にあるものを、実行せずにその結果とみなす。途中の学習なら続きから行う。繰り返し指定できる。"),
        };
        Option<bool> dry = new("--dry-run")
        {
            Description = Say("Check the recipe and say what would be done.", "レシピを検査し、実行される手順を表示するだけにする。"),
        };
        Command command = new("run", Say(
            "Do what a recipe describes: data, tokenizer, training, tuning, quantising, evaluation.",
            "レシピに書かれた手順（データ、トークナイザー、学習、調整、量子化、評価）を実行する。")) { file, set, until, adopt, dry };
        command.SetAction(async (args, stop) =>
        {
            Dictionary<string, string> given = new(StringComparer.Ordinal);
            foreach (string pair in args.GetValue(set) ?? [])
                given[pair[..pair.IndexOf('=', StringComparison.Ordinal)]] = pair[(pair.IndexOf('=', StringComparison.Ordinal) + 1)..];
            Recipe recipe = Recipe.Read(args.GetRequiredValue(file), terminal, given);
            string[] adopted = args.GetValue(adopt) ?? [];
            foreach (string name in adopted.Append(args.GetValue(until)).OfType<string>())
                if (!recipe.Steps.Any(step => step.Name == name))
                    throw Failure.OfUsage(
                        $"the recipe has no step '{name}'.{NearestName.Hint(name, recipe.Steps.Select(step => step.Name))} There are: {string.Join(", ", recipe.Steps.Select(step => step.Name))}.",
                        $"レシピに '{name}' という手順はありません。{NearestName.Hint(name, recipe.Steps.Select(step => step.Name))}あるのは: {string.Join("、", recipe.Steps.Select(step => step.Name))}。");
            return await new RecipeRun(terminal, recipe, args.GetRequiredValue(file)).RunAsync(args.GetValue(until), adopted, args.GetValue(dry), stop).ConfigureAwait(false);
        });
        return command;
    }
}

/// <summary>The steps of a recipe, one after the other.</summary>
internal sealed class RecipeRun(Terminal terminal, Recipe recipe, string file)
{
    private const string Aside = ".old";

    /// <summary>Does what has to be done.</summary>
    /// <param name="until">The last step to do; null for all.</param>
    /// <param name="adopted">Steps whose outputs are taken for their results as they are.</param>
    /// <param name="isDry">Only says what would be done.</param>
    /// <param name="stop">Ends the run; it goes on where it was when it is run again.</param>
    public async Task<int> RunAsync(string? until, IReadOnlyList<string> adopted, bool isDry, CancellationToken stop)
    {
        HashSet<string> changed = new(StringComparer.Ordinal);
        // Before the first of them: the last may come after hours.
        foreach (RecipeStep step in recipe.Steps)
        {
            if (!adopted.Contains(step.Name)) RequireOwn(step, StepState.Read(step));
            if (step.Name == until) break;
        }
        for (int i = 0; i < recipe.Steps.Count; i++)
        {
            RecipeStep step = recipe.Steps[i];
            string head = string.Create(CultureInfo.InvariantCulture, $"[{i + 1}/{recipe.Steps.Count}] {step.Name}");
            if (isDry)
            {
                bool isAdopted = adopted.Contains(step.Name), isKept = false, goesOn = false, waits = false;
                string why = "";
                if (isAdopted) isKept = !(goesOn = IsUnfinished(step, stop));
                else if (StepState.Read(step) is { } before)
                {
                    waits = step.Inputs.Any(input => IsWithin(input.Path, changed));
                    StepState now = Assumed(step, Now(step, stop), before, changed);
                    (isKept, goesOn) = (IsCurrent(step, before, now, stop), GoesOn(step, before, now));
                    if (!isKept) why = Why(step, before, now, stop);
                }
                if (isAdopted && isKept) _ = Results(step, stop);
                if (!isKept || waits) changed.UnionWith(step.Outputs.Select(output => output.Path));
                terminal.Output.WriteLine($"{head}: {(isAdopted && isKept ? Say("to be taken as it is", "あるものを採用する")
                    : isKept && waits ? Say("to be done if the result of an earlier step changes", "前の手順の結果が変われば実行する")
                    : isKept ? Say("up to date", "変更なし")
                    : goesOn ? Say("to go on", "続きから実行する") : Say("to be done", "実行する"))}{why}");
            }
            else
            {
                int status = await RunAsync(step, head, adopted.Contains(step.Name), stop).ConfigureAwait(false);
                if (status != 0) return status;
            }
            if (step.Name == until) break;
        }
        return 0;
    }

    private async Task<int> RunAsync(RecipeStep step, string head, bool isAdopted, CancellationToken stop)
    {
        string stateFile = StepState.PathOf(step);
        StepState? before = isAdopted ? null : StepState.Read(step);
        foreach (StepSetting setting in step.Settings.Where(setting => setting.Contents is not null)) WriteContents(setting);
        StepState now = Now(step, stop);
        if (isAdopted && IsUnfinished(step, stop))
        {
            before = now;       // whether it can go on, the run knows by itself
        }
        else if (isAdopted)
        {
            (now with { Outputs = Results(step, stop), IsDone = true }).Write(stateFile);
            terminal.Error.WriteLine($"{head}: {Say("taken as it is", "あるものを採用")}");
            return 0;
        }
        if (IsCurrent(step, before, now, stop))
        {
            terminal.Error.WriteLine($"{head}: {Say("up to date", "変更なし")}");
            return 0;
        }
        bool goesOn = GoesOn(step, before, now);
        terminal.Error.WriteLine($"{head}: {(goesOn ? Say("goes on", "続きから実行") : Say("begins", "開始"))}");
        if (!goesOn) MakeRoom(step, before);
        now.Write(stateFile);

        Command command = step.Kind.Create(terminal);
        foreach ((string path, _) in step.Outputs) _ = Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        int status;
        try
        {
            status = await Recipe.Parse(command, step).InvokeAsync(
                new InvocationConfiguration { Output = terminal.Output, Error = terminal.Error, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null },
                stop).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is not OperationCanceledException)
        {
            string why = Recipe.InItsWords(Failure.Explain(failure)["fude: ".Length..], step.Kind, command);
            throw new Failure($"{step.Place}: the step '{step.Name}' failed: {why}", $"{step.Place}: 手順 '{step.Name}' が失敗しました: {why}");
        }
        _ = terminal.OutputIsGone();        // it is flushed; a recipe goes on where nobody reads what its steps say
        if (status != 0) return status;
        (now with { Outputs = Results(step, stop), IsDone = true }).Write(stateFile);
        return 0;
    }

    private static bool IsWithin(string path, HashSet<string> folders) =>
        folders.Any(folder => path == folder || path.StartsWith(folder + Path.DirectorySeparatorChar, StringComparison.Ordinal));

    // What a step before would write anew is taken to be what it was: most steps make the same of the same.
    private static StepState Assumed(RecipeStep step, StepState now, StepState before, HashSet<string> changed)
    {
        Dictionary<string, string> inputs = new(now.Inputs, StringComparer.Ordinal);
        foreach ((string key, string path) in InputsOf(step))
            if (IsWithin(path, changed) && before.Inputs.TryGetValue(key, out string? was)) inputs[key] = was;
        return now with { Inputs = inputs };
    }

    // Why a step that was begun is not up to date, in brackets.
    private static string Why(RecipeStep step, StepState before, StepState now, CancellationToken stop)
    {
        if (!before.IsDone) return Say(" (it did not come to its end)", "（最後まで終わっていない）");
        foreach ((string key, string path) in InputsOf(step))
            if (!before.Inputs.TryGetValue(key, out string? was) || now.Inputs[key] != was)
                return now.Inputs[key].Length == 0 ? Gone(path) : Say($" ({path} is another)", $"（{path} が前と違う）");
        if (!before.IsOf(now)) return Say(" (its settings are others)", "（設定が前と違う）");
        Dictionary<string, string> found = Found(step, stop);
        foreach (StepSetting setting in step.Settings.Where(setting => step.Kind.Outputs.Contains(setting.Name)))
            foreach (string ending in step.Kind.Beside.Prepend(""))
                if (before.Outputs.TryGetValue(setting.Name + ending, out string? was) && found.GetValueOrDefault(setting.Name + ending) is var there && there != was)
                {
                    string path = ending.Length == 0 ? ResultOf(step, setting.Values[0]) : setting.Values[0] + ending;
                    return there is null ? Gone(path) : Say($" ({path} was changed)", $"（{path} が書き換えられている）");
                }
        return "";

        static string Gone(string path) => Say($" ({path} is missing)", $"（{path} がない）");
    }

    // A training in the midst.
    private static bool IsUnfinished(RecipeStep step, CancellationToken stop) =>
        step.Kind.MayChange is not null && Directory.Exists(step.Outputs.First().Path) && Missing(step, Found(step, stop)) is not null;

    private static bool GoesOn(RecipeStep step, StepState? before, StepState now) => step.Kind.MayChange is not null && before is not null && before.BeganAs(now);

    private static bool IsCurrent(RecipeStep step, StepState? before, StepState now, CancellationToken stop)
    {
        if (before is not { IsDone: true } || !before.IsOf(now)) return false;
        Dictionary<string, string> found = Found(step, stop);
        // What lies beside a shard counts where it did when the step was done: earlier versions did not know of it.
        foreach (string beside in found.Keys.Except(step.Kind.Outputs).Except(before.Outputs.Keys).ToArray()) _ = found.Remove(beside);
        return StepState.Same(before.Outputs, found);
    }

    /// <summary>What a step would be done with now.</summary>
    private static StepState Now(RecipeStep step, CancellationToken stop)
    {
        Dictionary<string, string> inputs = new(StringComparer.Ordinal);
        foreach (StepSetting setting in step.Settings.Where(setting => setting.Contents is not null && step.Kind.Inputs.Contains(setting.Name)))
            for (int i = 0; i < setting.Values.Count; i++) inputs[KeyOf(setting, i)] = Fingerprint.OfText(setting.Contents!);
        foreach ((string key, string path) in InputsOf(step)) inputs[key] = Fingerprint.Of(path, stop) ?? "";
        string[] paths = [.. step.Kind.Inputs, .. step.Kind.Outputs, .. step.Kind.Neutral];
        return new StepState(Settings(step, paths), Settings(step, [.. paths, .. step.Kind.MayChange ?? []]), inputs, new Dictionary<string, string>(), false);
    }

    // What it reads that it does not write itself, by the names under which its state has them.
    private static IEnumerable<(string Key, string Path)> InputsOf(RecipeStep step) =>
        from setting in step.Settings
        where setting.Contents is null && step.Kind.Inputs.Contains(setting.Name)
        from i in Enumerable.Range(0, setting.Values.Count)
        select (KeyOf(setting, i), setting.Values[i]);

    private static string KeyOf(StepSetting setting, int number) => string.Create(CultureInfo.InvariantCulture, $"{setting.Name}[{number}]");

    private static string Settings(RecipeStep step, string[] without) => string.Join('\n', step.Settings
        // An input that names no file, as "calibrate": true, is a setting.
        .Where(setting => !without.Contains(setting.Name) || (setting.IsFlag && step.Kind.Inputs.Contains(setting.Name)))
        .OrderBy(setting => setting.Name, StringComparer.Ordinal)
        .Select(setting => $"{setting.Name} = {(setting.IsFlag ? "true" : string.Join(", ", setting.Values.Select(value => $"'{value}'")))}")
        .Prepend(step.Kind.Name)
        .Concat(step.Settings.Where(setting => setting.Endings is not null).Select(setting => $"{setting.Name}: {string.Join(", ", setting.Endings!)}")));

    private static Dictionary<string, string> Results(RecipeStep step, CancellationToken stop)
    {
        Dictionary<string, string> found = Found(step, stop);
        if (Missing(step, found) is { } missing)
            throw new Failure(
                $"{step.Place}: the step '{step.Name}' has no result: {missing} is not there.",
                $"{step.Place}: 手順 '{step.Name}' の結果 {missing} がありません。");
        return found;
    }

    // The first output that is not there.
    private static string? Missing(RecipeStep step, Dictionary<string, string> found) =>
        step.Settings.FirstOrDefault(setting => step.Kind.Outputs.Contains(setting.Name) && !found.ContainsKey(setting.Name)) is { } setting
            ? ResultOf(step, setting.Values[0]) : null;

    private static Dictionary<string, string> Found(RecipeStep step, CancellationToken stop)
    {
        Dictionary<string, string> found = new(StringComparer.Ordinal);
        foreach (StepSetting setting in step.Settings.Where(setting => step.Kind.Outputs.Contains(setting.Name)))
            if (Fingerprint.Of(ResultOf(step, setting.Values[0]), stop) is { } fingerprint)
            {
                found[setting.Name] = fingerprint;
                foreach (string ending in step.Kind.Beside)
                    if (Fingerprint.Of(setting.Values[0] + ending, stop) is { } beside) found[setting.Name + ending] = beside;
            }
        return found;
    }

    private static string ResultOf(RecipeStep step, string output)
    {
        string[] parts = [.. step.Kind.Results.Select(part => Path.Combine(output, part))];
        return parts.Length == 0 ? output : Array.Find(parts, Fingerprint.Exists) ?? parts[0];
    }

    /// <summary>Moves aside what an earlier recipe left where the step writes; what it never wrote is not touched.</summary>
    private void MakeRoom(RecipeStep step, StepState? before)
    {
        RequireOwn(step, before);
        foreach ((string path, _) in step.Outputs)
        {
            string[] parts = PartsOf(step, path), there = [.. parts.Where(IsThere)];
            // A name that nothing has: what was moved aside before may be all that is left of a long training.
            string aside = Aside;
            for (int i = 2; Array.Exists(parts, part => IsThere(part + aside)); i++) aside = string.Create(CultureInfo.InvariantCulture, $"{Aside}{i}");
            foreach (string one in there)
            {
                RunLock.RequireFree(one);
                Directory.Move(one, one + aside);
                terminal.Error.WriteLine(Say($"{Path.GetFileName(file)}: what was at {one} is now {one}{aside}", $"{Path.GetFileName(file)}: {one} にあったものを {one}{aside} に移しました"));
            }
        }
    }

    // What no step of a recipe made is not written over.
    private static void RequireOwn(RecipeStep step, StepState? before)
    {
        if (before is not null) return;
        foreach ((string path, RecipePlace place) in step.Outputs)
            if (Array.Find(PartsOf(step, path), IsThere) is { } there)
                throw place.Wrong(
                    $"{there} is there already, and no step of a recipe made it: remove it, name another place, or take it for the result with --adopt {step.Word}.",
                    $"{there} は既にあり、レシピの手順が作ったものではありません。削除するか、別の場所にするか、--adopt {step.Word} で結果とみなしてください。");
    }

    private static string[] PartsOf(RecipeStep step, string output) => [output, output + ".bin", output + ".idx", .. step.Kind.Beside.Select(ending => output + ending)];

    private static bool IsThere(string path) => File.Exists(path) || Directory.Exists(path);

    // Only where it is another: what reads it may look at its date.
    private static void WriteContents(StepSetting setting)
    {
        string path = setting.Values[0];
        if (!File.Exists(path) || File.ReadAllText(path) != setting.Contents) AtomicFile.Write(path, Encoding.UTF8.GetBytes(setting.Contents!));
    }
}
