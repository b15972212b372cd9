using System.CommandLine;
using System.CommandLine.Parsing;
using Fude.Generation;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers.Files;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>The options that choose a number format: that of a file, or that in which a model is run.</summary>
internal sealed class FormatArguments
{
    private const string Name = "--format";

    // The same word everywhere: where --format is that of the prompt, weights have no other.
    internal const string Alias = "--weights";

    private readonly Option<QuantizationMix?> _format;
    private readonly Option<string?> _save = new("--save")
    {
        HelpName = "FILE",
        Description = Say("Keep the quantised model as a GGUF file, and run that.", "量子化したモデルを GGUF ファイルに保存し、それを実行する。"),
    };

    private readonly Option<Choice<NumberFormat?>> _cache = KvCache();

    private FormatArguments(Option<QuantizationMix?> format) => _format = format;

    /// <summary>The names of all formats, as people type them.</summary>
    public static string Names { get; } = string.Join('|', Enum.GetNames<QuantizationMix>()).ToLowerInvariant();

    /// <summary>The format of a file that is written.</summary>
    public static Option<QuantizationMix?> OfFile()
    {
        Option<QuantizationMix?> format = Parsed(Name, Alias);
        format.Required = true;
        format.Description = Say(
            "Number format: q4_k_m is a good choice, q8_0 loses next to nothing.", "数値形式。q4_k_m が手頃で、q8_0 はほぼ無劣化。");
        return format;
    }

    /// <summary>The options of a command that runs a model.</summary>
    /// <param name="command">Gets them.</param>
    /// <param name="name">Where --format means something else, another name.</param>
    public static FormatArguments AddTo(Command command, string name = Name)
    {
        FormatArguments arguments = new(name == Name ? Parsed(name, Alias) : Parsed(name));
        arguments._format.Description = Say(
            "Quantise the weights to this format while they are loaded; as they are stored when absent.",
            "読み込みながら重みをこの形式に量子化する。省略時は保存されている形式のまま。");
        command.Add(arguments._format);
        command.Add(arguments._save);
        command.Add(arguments._cache);
        command.Validators.Add(result =>
        {
            if (result.GetResult(arguments._save) is not { } save) return;
            if (result.GetResult(arguments._format) is null)
                result.AddError(Say($"--save needs {Alias}.", $"--save には {Alias} が必要です。"));
            // The model that is run from the one file would be written over by the table.
            if (save.Tokens is [{ Value: var saved }] && result.Children.OfType<OptionResult>().FirstOrDefault(option => option.Option.Name == "--out") is { Tokens: [{ Value: var table }] }
                && saved.Length > 0 && table.Length > 0 && RealPath.AreOne(saved, table))
                result.AddError(Say($"--save and --out both name {table}.", $"--save と --out が同じファイル {table} です。"));
        });
        return arguments;
    }

    /// <summary>What shall be run, and how: with --save, the file, once it is written.</summary>
    public (string Model, QuantizationMix? Format) Read(ParseResult args, string model, Terminal terminal, CancellationToken stop)
    {
        QuantizationMix? format = args.GetValue(_format);
        if (format is null) return (model, null);
        TellQuantizedTwice(terminal.Error, ModelFolder.Open(model), format.Value);
        if (args.GetValue(_save) is not { } file) return (model, format);
        if (File.Exists(file) || Directory.Exists(file))
            throw new Failure(
                $"{file} is there already: choose another name, or remove it first.",
                $"{file} は既にあります。別の名前にするか、先に削除してください。");
        using ProgressLine progress = new(terminal);
        GgufExport.Write(ModelFolder.Open(model), file, format.Value, progress: Progress(progress, stop));
        return (file, null);
    }

    /// <summary>Loads the weights of a model.</summary>
    public LanguageModel Load(ParseResult args, string model, string? adapter, Terminal terminal, CancellationToken stop)
    {
        (string source, QuantizationMix? format) = Read(args, model, terminal, stop);
        using ProgressLine progress = new(terminal);
        ModelFolder folder = ModelFolder.Open(source);
        LanguageModel loaded = format is QuantizationMix mix ? folder.LoadModel(mix, adapter, Progress(progress, stop)) : folder.LoadModel(adapter);
        loaded.KvCacheFormat = args.GetRequiredValue(_cache).Value ?? loaded.KvCacheFormat;
        return loaded;
    }

    /// <summary>Loads a model with everything that generating takes.</summary>
    public TextGenerator LoadGenerator(ParseResult args, string model, string? adapter, int threads, Terminal terminal, CancellationToken stop)
    {
        (string source, QuantizationMix? format) = Read(args, model, terminal, stop);
        using ProgressLine progress = new(terminal);
        TextGenerator generator = TextGenerator.Load(source, adapter, threads, format, Progress(progress, stop));
        generator.KvCacheFormat = args.GetRequiredValue(_cache).Value ?? generator.KvCacheFormat;
        return generator;
    }

    /// <summary>How keys and values are kept.</summary>
    public static Option<Choice<NumberFormat?>> KvCache() => WordOption.Of(
        "--kv-cache",
        Say("Number format of the cached keys and values; narrower ones are quicker in long texts and round a little. auto is f16 beside quantised weights, f32 elsewhere.",
            "キャッシュするキーと値の数値形式。小さい形式は長い文脈で速いが、わずかな丸め誤差が出る。auto は重みが量子化されていれば f16、それ以外は f32。"),
        ("auto", (NumberFormat?)null), ("f32", NumberFormat.F32), ("f16", NumberFormat.F16), ("bf16", NumberFormat.BF16), ("q8_0", NumberFormat.Q8_0));

    /// <summary>Remarks on weights that are quantised already and are going to be quantised in another way.</summary>
    public static void TellQuantizedTwice(TextWriter error, ModelFolder model, QuantizationMix mix)
    {
        if (model.QuantizedTwiceIn(mix) is not { Count: > 0 } formats) return;
        string name = mix.ToString().ToLowerInvariant();
        error.WriteLine(Say(
            $"{model.Path} is quantised already ({string.Join(", ", formats)}): its rounding errors are added to those of {name}. Best is a file of f32, f16 or bf16.",
            $"{model.Path} は既に量子化されています（{string.Join("、", formats)}）。その丸め誤差が {name} の誤差に加わります。f32、f16、bf16 の元ファイルから作るのが最善です。"));
    }

    /// <summary>Says how far quantising is, and stops it.</summary>
    public static IProgress<double> Progress(ProgressLine line, CancellationToken stop) =>
        line.Of(Say("quantising", "量子化中"), stop);

    internal static Option<QuantizationMix?> Parsed(string name, params string[] aliases) => new(name, aliases)
    {
        HelpName = Names,
        Arity = ArgumentArity.ExactlyOne,
        CustomParser = result =>
        {
            try
            {
                return QuantizationMixes.Parse(result.Tokens[0].Value);
            }
            catch (ArgumentException)
            {
                string given = (result.Parent as OptionResult)?.IdentifierToken?.Value ?? name;
                result.AddError(Say(
                    $"{given}: '{result.Tokens[0].Value}' is no format; there are {Names.Replace("|", ", ", StringComparison.Ordinal)}.",
                    $"{given}: '{result.Tokens[0].Value}' という形式はありません。{Names.Replace("|", "、", StringComparison.Ordinal)} のどれかです。"));
                return null;
            }
        },
    };
}
