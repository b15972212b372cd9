using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Fude.Models;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>A setting of a step, as the recipe has it.</summary>
/// <param name="Name">The option of the command, without its dashes, or the name of its argument.</param>
/// <param name="Place">Where it stands.</param>
/// <param name="Values">What it is given; paths are whole.</param>
/// <param name="ValuePlaces">Where each stands.</param>
internal sealed record StepSetting(string Name, RecipePlace Place, IReadOnlyList<string> Values, IReadOnlyList<RecipePlace> ValuePlaces)
{
    /// <summary>What stands after each path, such as the weight of a file of data; or nothing.</summary>
    public IReadOnlyList<string>? Endings { get; init; }

    /// <summary>The text to write into the file that the value names, or null: a setting that was given as an object.</summary>
    public string? Contents { get; init; }

    /// <summary>The members of that object, with their places.</summary>
    public IReadOnlyList<RecipeMember> Members { get; init; } = [];

    /// <summary>Whether it is an argument and not an option.</summary>
    public bool IsArgument { get; init; }

    /// <summary>Whether it is an option without a value.</summary>
    public bool IsFlag { get; init; }
}

/// <summary>A step of a recipe.</summary>
internal sealed record RecipeStep(StepKind Kind, string Name, RecipePlace Place, IReadOnlyList<StepSetting> Settings)
{
    /// <summary>Its name as one word of a command line.</summary>
    public string Word => Name.Contains(' ') ? $"'{Name}'" : Name;

    /// <summary>What it reads, which is not written by its own settings.</summary>
    public IEnumerable<(string Path, RecipePlace Place)> Inputs => PathsOf(Kind.Inputs);

    /// <summary>What it writes; the first is where its state lies beside.</summary>
    public IEnumerable<(string Path, RecipePlace Place)> Outputs => PathsOf(Kind.Outputs);

    /// <summary>The command line that does it, without the command.</summary>
    public string[] Arguments()
    {
        List<string> words = [];
        foreach (StepSetting setting in Settings.Where(setting => !setting.IsArgument))
        {
            if (setting.IsFlag) words.Add($"--{setting.Name}");
            else
                for (int i = 0; i < setting.Values.Count; i++)
                    words.AddRange(setting.Values[i].Length == 0 ? [$"--{setting.Name}", ""] : [$"--{setting.Name}={setting.Values[i]}{setting.Endings?[i]}"]);
        }
        StepSetting[] positional = [.. Settings.Where(setting => setting.IsArgument)];
        if (positional.Length > 0) words.Add("--");
        words.AddRange(positional.SelectMany(setting => setting.Values));
        return [.. words];
    }

    private IEnumerable<(string, RecipePlace)> PathsOf(string[] names) =>
        from name in names
        from setting in Settings
        where setting.Name == name
        from pair in setting.Values.Zip(setting.ValuePlaces)
        select pair;
}

/// <summary>A recipe: which steps make a model of data, in which order, with which settings. It is checked whole before any step begins.</summary>
internal sealed partial class Recipe
{
    private const string StepKey = "step", NameKey = "name", StepsKey = "steps", VariablesKey = "variables", DescriptionKey = "description";
    private static readonly string[] Keys = [NameKey, DescriptionKey, VariablesKey, StepsKey];

    private readonly string _folder;
    private readonly Dictionary<string, string> _variables = new(StringComparer.Ordinal);
    private readonly Dictionary<string, IReadOnlyList<RecipeValue>> _lists = new(StringComparer.Ordinal);
    private readonly HashSet<string> _outputs = new(StringComparer.Ordinal);        // of the steps so far

    private Recipe(string file) => _folder = Path.GetDirectoryName(Path.GetFullPath(file))!;

    /// <summary>What it makes.</summary>
    public string Name { get; private set; } = "";

    /// <summary>The steps, in order.</summary>
    public IReadOnlyList<RecipeStep> Steps { get; private set; } = [];

    /// <summary>Reads and checks a recipe.</summary>
    /// <param name="file">The file.</param>
    /// <param name="terminal">Of the commands.</param>
    /// <param name="given">Variables that are set otherwise than in the file.</param>
    /// <exception cref="Failure">It is wrong; the message says where and what.</exception>
    public static Recipe Read(string file, Terminal terminal, IReadOnlyDictionary<string, string> given)
    {
        RecipeValue root = RecipeValue.ReadFile(file);
        Require(root, RecipeValueKind.Object, "a recipe");
        Recipe recipe = new(file) { Name = Path.GetFileNameWithoutExtension(file) };
        foreach (RecipeMember member in root.Members)
            if (!Keys.Contains(member.Name)) throw Unknown(member, Say("a recipe", "レシピ"), Keys);
        if (root[NameKey] is { } name) recipe.Name = Require(name.Value, RecipeValueKind.String, NameKey).Text;
        if (root[DescriptionKey] is { } description) _ = Require(description.Value, RecipeValueKind.String, DescriptionKey);
        recipe.ReadVariables(root[VariablesKey], given, file);
        if (root[StepsKey] is not { } steps) throw root.Place.Wrong("a recipe has 'steps', a list of what is done.", "レシピには手順のリスト 'steps' が必要です。");
        List<RecipeStep> read = [];
        foreach (RecipeValue step in Require(steps.Value, RecipeValueKind.Array, StepsKey).Items)
        {
            read.Add(recipe.ReadStep(step, terminal));
            recipe._outputs.UnionWith(read[^1].Outputs.Select(output => output.Path));
            if (read.FindIndex(other => other.Name == read[^1].Name) is int first && first < read.Count - 1)
                throw read[^1].Place.Wrong(
                    $"two steps are called '{read[^1].Name}'; the other is at line {read[first].Place.Line}. Give one of them another \"name\".",
                    $"'{read[^1].Name}' という手順が二つあります（もう一つは {read[first].Place.Line} 行目）。\"name\" で区別してください。");
        }
        if (read.Count == 0) throw steps.Value.Place.Wrong("the recipe has no step.", "手順がありません。");
        recipe.Steps = read;
        recipe.CheckPaths(read);
        return recipe;
    }

    private static RecipeValue Require(RecipeValue value, RecipeValueKind kind, string what)
    {
        if (value.Kind == kind) return value;
        string wanted = (value with { Kind = kind }).KindName;
        throw value.Place.Wrong($"'{what}' is {value.KindName}; {wanted} is expected.", $"'{what}' は{value.KindName}です。{wanted}が必要です。");
    }

    private static Failure Unknown(RecipeMember member, string owner, IEnumerable<string> known)
    {
        string[] names = [.. known.Order(StringComparer.Ordinal)];
        return member.Place.Wrong(
            $"there is no '{member.Name}' in {owner}.{NearestName.Hint(member.Name, names)} There are: {string.Join(", ", names)}.",
            $"{owner}に '{member.Name}' はありません。{NearestName.Hint(member.Name, names)}あるのは: {string.Join("、", names)}。");
    }

    private void ReadVariables(RecipeMember? member, IReadOnlyDictionary<string, string> given, string file)
    {
        foreach (RecipeMember variable in member is null ? [] : Require(member.Value, RecipeValueKind.Object, VariablesKey).Members)
        {
            if (!VariableName().IsMatch(variable.Name))
                throw variable.Place.Wrong($"'{variable.Name}' is no name of a variable: letters, digits, - and _ are.", $"変数の名前 '{variable.Name}' には英数字と - と _ だけが使えます。");
            if (variable.Value.Kind == RecipeValueKind.Array)
            {
                if (given.ContainsKey(variable.Name))
                    throw variable.Place.Wrong($"'{variable.Name}' is a list; --set gives a text.", $"'{variable.Name}' はリストです。--set で指定できるのは文字列です。");
                RecipeValue[] items = [.. variable.Value.Items.SelectMany(Items)];
                foreach (RecipeValue item in items) _ = Expanded(Require(item, RecipeValueKind.String, variable.Name).Text, item.Place);
                _lists.Add(variable.Name, items);
                continue;
            }
            RecipeValue value = Require(variable.Value, RecipeValueKind.String, variable.Name);
            // A path that is given on the command line is one from where the user stands.
            _variables.Add(variable.Name, given.TryGetValue(variable.Name, out string? other) ? DefaultModel.Named(other, Path.GetFullPath(other)) : Expanded(value.Text, value.Place));
        }
        foreach (string name in given.Keys)
            if (!_variables.ContainsKey(name))
                throw Failure.OfUsage(
                    $"{file} has no variable '{name}' to set.{NearestName.Hint(name, _variables.Keys)}{(_variables.Count > 0 ? $" There are: {string.Join(", ", _variables.Keys)}." : "")}",
                    $"{file} に変数 '{name}' はありません。{NearestName.Hint(name, _variables.Keys)}{(_variables.Count > 0 ? $"あるのは: {string.Join("、", _variables.Keys)}。" : "")}");
    }

    private RecipeStep ReadStep(RecipeValue value, Terminal terminal)
    {
        Require(value, RecipeValueKind.Object, StepKey);
        if (value[StepKey] is not { } named)
            throw value.Place.Wrong(
                $"a step says what it is, as in \"step\": \"{StepKind.All[0].Name}\".", $"手順には \"step\": \"{StepKind.All[0].Name}\" のような種類の指定が必要です。");
        string word = Require(named.Value, RecipeValueKind.String, StepKey).Text;
        StepKind kind = StepKind.All.FirstOrDefault(kind => kind.Name == word) ?? throw named.Value.Place.Wrong(
            $"there is no step '{word}'.{NearestName.Hint(word, StepKind.All.Select(kind => kind.Name))} There are: {string.Join(", ", StepKind.All.Select(kind => kind.Name))}.",
            $"'{word}' という手順はありません。{NearestName.Hint(word, StepKind.All.Select(kind => kind.Name))}あるのは: {string.Join("、", StepKind.All.Select(kind => kind.Name))}。");
        string name = value[NameKey] is { } given ? Require(given.Value, RecipeValueKind.String, NameKey).Text : word;
        if (name.Length == 0 || name.Any(char.IsControl))
            throw value[NameKey]!.Value.Place.Wrong("a step's name is a word.", "手順の名前が空か、制御文字を含んでいます。");

        Command command = kind.Create(terminal);
        Dictionary<string, Symbol> known = Symbols(command);
        List<StepSetting> settings = [];
        List<(RecipeMember Member, string Name)> written = [];
        foreach (RecipeMember member in value.Members)
        {
            if (member.Name is StepKey or NameKey) continue;
            if (!known.TryGetValue(member.Name, out Symbol? symbol)) throw Unknown(member, Say($"the step '{word}'", $"手順 '{word}' "), [.. known.Keys, NameKey, StepKey]);
            if (member.Value.Kind == RecipeValueKind.Object && kind.Written.Contains(member.Name)) written.Add((member, member.Name));
            else if (Setting(member, symbol, kind) is { } setting) settings.Add(setting);
        }
        foreach ((string required, Symbol symbol) in known)
            if ((symbol is Option { Required: true } or Argument { Arity.MinimumNumberOfValues: > 0 } || required == kind.Outputs[0]) && !settings.Exists(setting => setting.Name == required))
                throw value.Place.Wrong($"the step '{name}' needs '{required}': {symbol.Description}", $"手順 '{name}' には '{required}' が必要です: {symbol.Description}");
        string output = settings.First(setting => setting.Name == kind.Outputs[0]).Values[0];
        foreach ((RecipeMember member, string key) in written)
            settings.Add(new StepSetting(key, member.Place, [$"{output}.{key}.json"], [member.Value.Place]) { Contents = member.Value.ToJson(), Members = member.Value.Members });
        // Arguments by the command's order, whatever that of the recipe.
        List<string> order = [.. command.Arguments.Select(argument => argument.Name)];
        RecipeStep step = new(kind, name, value.Place, [.. settings.OrderBy(setting => order.IndexOf(setting.Name))]);
        CheckArguments(step, command);
        return step;
    }

    /// <summary>The settings that a step can have: the command's options and arguments by their names.</summary>
    private static Dictionary<string, Symbol> Symbols(Command command)
    {
        Dictionary<string, Symbol> known = new(StringComparer.Ordinal);
        foreach (Argument argument in command.Arguments) known.Add(argument.Name, argument);
        foreach (Option option in command.Options)
            if (option is not (HelpOption or VersionOption)) known.Add(option.Name.TrimStart('-'), option);
        return known;
    }

    private StepSetting? Setting(RecipeMember member, Symbol symbol, StepKind kind)
    {
        Type type = symbol is Option option ? option.ValueType : ((Argument)symbol).ValueType;
        bool isList = type.IsArray;
        type = isList ? type.GetElementType()! : Nullable.GetUnderlyingType(type) ?? type;
        if (type.IsArray) (isList, type) = (true, type.GetElementType()!);
        IReadOnlyList<RecipeValue> values =
            isList ? [.. (member.Value.Kind == RecipeValueKind.Array ? member.Value.Items : [member.Value]).SelectMany(Items)] : [member.Value];
        if (isList && values.Count == 0)
            throw member.Value.Place.Wrong($"'{member.Name}' is an empty list; leave it out, or name one.", $"'{member.Name}' のリストが空です。");
        bool isPath = kind.Inputs.Contains(member.Name) || kind.Outputs.Contains(member.Name);
        // A flag, or what may be one: an option whose value may be left out.
        if (type == typeof(bool) || (member.Value.Kind == RecipeValueKind.Boolean && symbol is Option { Arity.MinimumNumberOfValues: 0 }))
        {
            bool isOn = Require(member.Value, RecipeValueKind.Boolean, member.Name).Text == "true";
            return isOn ? new StepSetting(member.Name, member.Place, [], []) { IsFlag = true } : null;
        }
        string[] endings = [.. values.Select(value => kind.Weighted.Contains(member.Name) ? Ending().Match(value.Text).Value : "")];
        return new StepSetting(
            member.Name, member.Place,
            [.. values.Zip(endings).Select(pair => Text(member.Name, pair.First with { Text = pair.First.Text[..^pair.Second.Length] }, type, isPath))],
            [.. values.Select(value => value.Place)])
        {
            IsArgument = symbol is Argument,
            Endings = endings.All(ending => ending.Length == 0) ? null : endings,
        };
    }

    private string Text(string name, RecipeValue value, Type type, bool isPath)
    {
        bool isWhole = type == typeof(int) || type == typeof(long) || type == typeof(ulong);
        if (isWhole || type == typeof(double) || type == typeof(float))
        {
            Require(value, RecipeValueKind.Number, name);
            bool isRight = !isWhole
                || (type == typeof(int) ? int.TryParse(value.Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _)
                    : type == typeof(long) ? long.TryParse(value.Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _)
                    : ulong.TryParse(value.Text, NumberStyles.None, CultureInfo.InvariantCulture, out _));
            if (!isRight)
                throw value.Place.Wrong($"'{name}' is {value.Text}; a whole number is expected.", $"'{name}' は {value.Text} です。整数が必要です。");
            return value.Text;
        }
        string text = Expanded(Require(value, RecipeValueKind.String, name).Text, value.Place);
        if (!isPath) return text;
        if (text.Contains("${", StringComparison.Ordinal))
            throw value.Place.Wrong($"'{name}' has a '${{' that no '}}' follows: a variable is ${{name}}.", $"'{name}' に閉じていない '${{' があります。変数は ${{名前}} と書きます。");
        if (text.Length == 0 || text.Contains('\0', StringComparison.Ordinal)) throw value.Place.Wrong($"'{name}' is no path.", $"'{name}' がパスになっていません。");
        string path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(text, _folder));
        // The model that comes with fude is named as on the command line, unless something of the recipe is called so.
        return name is "model" or "from" or "tokenizer" or "tokenizers" && !_outputs.Contains(path) ? DefaultModel.Named(text, path) : path;
    }

    /// <summary>A value, or those of the list that it stands for.</summary>
    private IEnumerable<RecipeValue> Items(RecipeValue value) =>
        value.Kind == RecipeValueKind.String && Reference().Match(value.Text) is { Success: true } match && match.Length == value.Text.Length
            && _lists.TryGetValue(match.Groups[1].Value, out IReadOnlyList<RecipeValue>? list) ? list : [value];

    private string Expanded(string text, RecipePlace place) => Reference().Replace(text, match =>
    {
        string name = match.Groups[1].Value;
        if (_lists.ContainsKey(name))
            throw place.Wrong(
                $"the variable '{name}' is a list: it stands alone, where a list may stand.", $"変数 '{name}' はリストです。リストを書ける場所に単独で書いてください。");
        return _variables.TryGetValue(name, out string? value) ? value : throw place.Wrong(
            $"there is no variable '{name}' above.{NearestName.Hint(name, _variables.Keys)}", $"変数 '{name}' は定義されていません。{NearestName.Hint(name, _variables.Keys)}");
    });

    /// <summary>Has the command look at its words: what it finds wrong is said where it stands.</summary>
    private static void CheckArguments(RecipeStep step, Command command)
    {
        ParseResult parsed = Parse(command, step);
        if (parsed.Errors.Count == 0) return;
        ParseError error = parsed.Errors[0];
        string? name = error.SymbolResult switch
        {
            OptionResult option => option.Option.Name.TrimStart('-'),
            ArgumentResult { Parent: OptionResult option } => option.Option.Name.TrimStart('-'),
            ArgumentResult argument => argument.Argument.Name,
            _ => null,
        };
        StepSetting? setting = step.Settings.FirstOrDefault(setting => setting.Name == name);
        RecipePlace place = setting is null ? step.Place : setting.ValuePlaces is [RecipePlace first, ..] ? first : setting.Place;
        string what = InItsWords(CommandLineWords.Of(error), step.Kind, command);
        throw place.Wrong(what, what);
    }

    /// <summary>A message of a step's command with the names of the recipe's settings in the place of the command's options.</summary>
    internal static string InItsWords(string message, StepKind kind, Command command)
    {
        Dictionary<string, Symbol> known = Symbols(command);
        return OptionName().Replace(message, option => known.ContainsKey(option.Groups["name"].Value) ? $"'{option.Groups["name"].Value}'" : option.Value);
    }

    /// <summary>The words of a step as its command understands them.</summary>
    internal static ParseResult Parse(Command command, RecipeStep step) =>
        command.Parse(step.Arguments(), new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false });

    // Everything that is read is there, or is written by a step before; nothing is written twice.
    private void CheckPaths(List<RecipeStep> steps)
    {
        for (int i = 0; i < steps.Count; i++)
        {
            foreach ((string path, RecipePlace place) in steps[i].Outputs)
            {
                if (steps[i].Outputs.Count(output => output.Path == path) > 1)
                    throw place.Wrong($"{path} is written by two settings of this step.", $"この手順の二つの設定が、同じ {path} に書き出します。");
                if (steps[..i].Find(step => Writes(step, path)) is { } other)
                    throw place.Wrong($"{path} is written by the step '{other.Name}' too.", $"{path} は手順 '{other.Name}' も書き出します。");
                if (steps[..i].Find(step => step.Outputs.Any(output => IsWithin(output.Path, path))) is { } within)
                    throw place.Wrong($"the step '{within.Name}' writes into {path} before it is there.", $"手順 '{within.Name}' が、{path} ができる前にその中へ書き出します。");
                if (steps[i].Inputs.FirstOrDefault(input => IsWithin(input.Path, path)).Path is { } own)
                    throw place.Wrong($"{own} is read by the same step that writes {path}.", $"同じ手順が {path} に書き込み、{own} を読み込みます。");
            }
            foreach ((string path, RecipePlace place) in steps[i].Inputs)
            {
                if (steps[i].Settings.Any(setting => setting.Contents is not null && setting.Values[0] == path) || steps[..i].Exists(step => Writes(step, path))) continue;
                // Also where it is there, from an earlier run: this step would read the old one.
                if (steps[i..].Find(step => Writes(step, path)) is { } later)
                    throw place.Wrong(
                        $"{path} is only written by the step '{later.Name}' at line {later.Place.Line}: that step belongs before this one.",
                        $"{path} を書き出す手順 '{later.Name}' は {later.Place.Line} 行目にあります。この手順より前に置いてください。");
                if (!Fingerprint.Exists(path)) throw place.Wrong(
                    $"{path} is not there, and no step writes it.{(_variables.Count > 0 ? " Where it lies elsewhere, --set gives a variable of the recipe another value, as in --set data=FOLDER." : "")}",
                    $"{path} がありません。これを書き出す手順もありません。{(_variables.Count > 0 ? "別の場所にあるなら、--set data=フォルダー のように --set でレシピの変数を変えられます。" : "")}");
            }
            CheckConfig(steps[i], steps[..i]);
        }
    }

    // What a new model is to be: a mistake would be found only when its data are made.
    private static void CheckConfig(RecipeStep step, List<RecipeStep> before)
    {
        if (step.Settings.FirstOrDefault(setting => setting.Name == "config" && step.Kind.Written.Contains(setting.Name)) is not { } config) return;
        try
        {
            if (config.Contents is { } contents)
            {
                byte[] text = Encoding.UTF8.GetBytes(contents);
                _ = ModelConfig.Parse(text, "'config'");
                _ = InitialNumbers.DeviationOf(text, "'config'");
            }
            else if (!before.Exists(other => Writes(other, config.Values[0]))) _ = ModelConfig.Load(config.Values[0]);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
            // The message begins with the name of what it is about.
            RecipePlace place = config.Members.Where(member => e.Message.StartsWith($"'config': {member.Name} ", StringComparison.Ordinal)).Select(member => member.Value.Place)
                .FirstOrDefault(config.ValuePlaces[0]);
            throw place.Wrong(e.Message, e.Message);
        }
    }

    private static bool Writes(RecipeStep step, string path) => step.Outputs.Any(output => IsWithin(path, output.Path));

    private static bool IsWithin(string path, string folder) =>
        path == folder || path.StartsWith(folder + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    [GeneratedRegex("(?<quote>'?)(?<![A-Za-z0-9-])--(?<name>[a-z][a-z0-9-]*)\\k<quote>")]
    private static partial Regex OptionName();

    [GeneratedRegex(@"\$\{([^}]*)\}")]
    private static partial Regex Reference();

    [GeneratedRegex(@":[0-9]+(\.[0-9]+)?$")]
    private static partial Regex Ending();

    [GeneratedRegex(@"^[A-Za-z0-9_-]+$")]
    private static partial Regex VariableName();
}
