using System.CommandLine;
using Fude.Models;
using Fude.Tensors;
using Fude.Tokenizers;
using Fude.Tokenizers.Files;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude export: writes a model as a GGUF file; fude quantize: writes a GGUF file in another number format.</summary>
internal static class ExportCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string> model = Arguments.Model();
        Option<string> file = Target("--gguf", Say("The GGUF file to write.", "書き出す GGUF ファイル。"));
        Option<QuantizationMix?> format = FormatArguments.OfFile();
        Option<string?> calibrate = Calibrate();
        Option<bool> force = Force();
        Command command = new("export", Say(
            "Write a model, tokenizer included, as a GGUF file.", "モデルをトークナイザーごと GGUF ファイルに書き出す。"))
        {
            model, file, format, calibrate, force,
        };
        RequireRounding(command, format, calibrate);
        command.SetAction((args, stop) => Task.Run(() => Write(terminal, ModelFolder.Open(args.GetRequiredValue(model)), args.GetRequiredValue(file),
            args.GetValue(format)!.Value, CalibrationText(args, calibrate), args.GetValue(force), stop), stop));
        return command;
    }

    public static Command CreateQuantize(Terminal terminal)
    {
        Argument<string> model = new("file")
        {
            HelpName = "FILE.gguf",
            Description = Say("The GGUF file to read; best one of f32, f16 or bf16.", "読み込む GGUF ファイル。f32、f16、bf16 のものがよい。"),
        };
        Option<string> file = Target("--out", Say("The GGUF file to write.", "書き出す GGUF ファイル。"));
        Option<QuantizationMix?> format = FormatArguments.OfFile();
        Option<string?> calibrate = Calibrate();
        Option<bool> force = Force();
        Command command = new("quantize", Say("Write a GGUF file in another number format.", "GGUF ファイルを別の数値形式で書き出す。"))
        {
            model, file, format, calibrate, force,
        };
        RequireRounding(command, format, calibrate);
        command.SetAction((args, stop) => Task.Run(() =>
        {
            ModelFolder source = ModelFolder.Open(args.GetRequiredValue(model));
            if (!source.IsGguf)
                throw new Failure(
                    $"{source.Path} is a folder; `fude export` writes it as a GGUF file.",
                    $"{source.Path} はフォルダーです。GGUF ファイルにするには `fude export` を使ってください。");
            return Write(terminal, source, args.GetRequiredValue(file), args.GetValue(format)!.Value, CalibrationText(args, calibrate),
                args.GetValue(force), stop);
        }, stop));
        return command;
    }

    private static int Write(
        Terminal terminal, ModelFolder model, string file, QuantizationMix format, string? calibrationText, bool force, CancellationToken stop)
    {
        OutputPlace.RequireNew(file, force);
        // Before a text is read for hours.
        if (Path.GetDirectoryName(Path.GetFullPath(file)) is { } folder && !Directory.Exists(folder))
            throw new Failure($"{file}: there is no folder {folder} to write it into.", $"{file}: 書き出し先のフォルダー {folder} がありません。");
        // The file that is read stays mapped while the new one is written, and would be gone at the end.
        if (model.IsGguf && RealPath.AreOne(file, model.Path))
            throw new Failure($"{file} is the file that is read: choose another name.", $"{file} は読み込むファイルそのものです。別の名前にしてください。");
        if (File.Exists(file) && !model.IsGguf && RealPath.AreOne(Path.GetDirectoryName(Path.GetFullPath(file))!, model.Path)
            && !file.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
            throw new Failure($"{file} is a file of the model that is read: choose another name.", $"{file} は読み込むモデルのファイルです。別の名前にしてください。");
        FormatArguments.TellQuantizedTwice(terminal.Error, model, format);
        using (ProgressLine progress = new(terminal))
        {
            Calibration? calibration = calibrationText is null ? null : Measure(model, calibrationText, progress, stop);
            GgufExport.Write(model, file, format, calibration is null ? null : calibration.Of, FormatArguments.Progress(progress, stop));
        }
        long bytes = new FileInfo(file).Length;
        terminal.Error.WriteLine(Say($"wrote {file} ({bytes:N0} bytes)", $"{file} に書き出しました（{bytes:N0} バイト）"));
        if (!model.HasTokenizer)
            terminal.Error.WriteLine(Say(
                $"note: {model.Path} has no tokenizer, so the file has none: llama.cpp cannot load it, and fude takes and gives ids alone.",
                $"注意: {model.Path} にトークナイザーがないため、書き出すファイルにも入りません。llama.cpp では読み込めず、fude でも ID しか扱えません。"));
        return 0;
    }

    private static Calibration Measure(ModelFolder folder, string text, ProgressLine progress, CancellationToken stop)
    {
        if (!folder.HasTokenizer)
            throw new Failure(
                $"{folder.Path} has no tokenizer, and --calibrate reads a text.", $"{folder.Path} にトークナイザーがないため --calibrate を使えません。");
        Tokenizer tokenizer = folder.Tokenizer;
        if (tokenizer.Encode(text, addSpecialTokens: false).Length == 0)
            throw new Failure("The file that --calibrate reads holds no text.", "--calibrate で読むファイルにテキストがありません。");
        int? begin = tokenizer.Encode("") is [int first, ..] && first == tokenizer.BeginId ? first : null;
        using LanguageModel model = folder.LoadModel();
        using CpuOps device = new(0);
        return Calibration.Measure(
            model, device, tokenizer.Encode(text, addSpecialTokens: false), begin, progress.Of(Say("calibrating", "重要度を測定中"), stop));
    }

    private static void RequireRounding(Command command, Option<QuantizationMix?> format, Option<string?> calibrate) => command.Validators.Add(result =>
    {
        if (result.GetResult(calibrate) is { Implicit: false } && result.GetResult(format) is { } given && !given.Errors.Any()
            && result.GetValue(format) is QuantizationMix.F32 or QuantizationMix.F16 or QuantizationMix.BF16)
            result.AddError(Say("--calibrate is for quantised formats: this one rounds each number by itself.", "--calibrate は量子化形式のためのものです。この形式では数を一つずつ丸めるだけです。"));
    });

    private static string? CalibrationText(ParseResult args, Option<string?> option) =>
        args.GetResult(option) is null ? null : args.GetValue(option) is { } file ? TextInput.ReadFile(file) : Calibration.DefaultText;

    private static Option<string?> Calibrate() => new("--calibrate")
    {
        HelpName = "FILE",
        Arity = ArgumentArity.ZeroOrOne,
        Description = Say(
            "Read a text first, and spare the columns that matter in it; a Japanese text of fude's own when FILE is absent.",
            "先にテキストを読み、影響の大きい列の誤差を抑える。FILE を省略すると付属の日本語テキストを使う。"),
    };

    private static Option<string> Target(string name, string description) =>
        new(name) { HelpName = "FILE", Required = true, Description = description };

    private static Option<bool> Force() => new("--force") { Description = Say("Replace a file that is there.", "既にあるファイルを置き換える。") };
}
