using System.CommandLine;
using Fude.Models;
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
        Option<bool> force = Force();
        Command command = new("export", Say(
            "Write a model, tokenizer included, as a GGUF file.", "モデルをトークナイザーごと GGUF ファイルに書き出す。"))
        {
            model, file, format, force,
        };
        command.SetAction((args, stop) => Task.Run(() => Write(terminal, ModelFolder.Open(args.GetRequiredValue(model)), args.GetRequiredValue(file),
            args.GetValue(format)!.Value, args.GetValue(force), stop), stop));
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
        Option<bool> force = Force();
        Command command = new("quantize", Say("Write a GGUF file in another number format.", "GGUF ファイルを別の数値形式で書き出す。"))
        {
            model, file, format, force,
        };
        command.SetAction((args, stop) => Task.Run(() =>
        {
            ModelFolder source = ModelFolder.Open(args.GetRequiredValue(model));
            if (!source.IsGguf)
                throw new Failure(
                    $"{source.Path} is a folder; `fude export` writes it as a GGUF file.",
                    $"{source.Path} はフォルダーです。GGUF ファイルにするには `fude export` を使ってください。");
            return Write(terminal, source, args.GetRequiredValue(file), args.GetValue(format)!.Value, args.GetValue(force), stop);
        }, stop));
        return command;
    }

    /// <summary>Fails when a file is there.</summary>
    public static void RefuseToReplace(string file)
    {
        if (File.Exists(file) || Directory.Exists(file))
            throw new Failure(
                $"{file} is there already: choose another name, or remove it first.",
                $"{file} は既にあります。別の名前にするか、先に削除してください。");
    }

    private static int Write(Terminal terminal, ModelFolder model, string file, QuantizationMix format, bool force, CancellationToken stop)
    {
        if (File.Exists(file) && !force)
            throw new Failure(
                $"{file} is there already: choose another name, or replace it with --force.",
                $"{file} は既にあります。別の名前にするか、--force で置き換えてください。");
        // The file that is read stays mapped while the new one is written, and would be gone at the end.
        if (model.IsGguf && Path.GetFullPath(file) == Path.GetFullPath(model.Path))
            throw new Failure($"{file} is the file that is read: choose another name.", $"{file} は読み込むファイルそのものです。別の名前にしてください。");
        using (ProgressLine progress = new(terminal)) GgufExport.Write(model, file, format, progress: FormatArguments.Progress(progress, stop));
        long bytes = new FileInfo(file).Length;
        terminal.Error.WriteLine(Say($"wrote {file} ({bytes:N0} bytes)", $"{file} に書き出しました（{bytes:N0} バイト）"));
        return 0;
    }

    private static Option<string> Target(string name, string description) =>
        new(name) { HelpName = "FILE", Required = true, Description = description };

    private static Option<bool> Force() => new("--force") { Description = Say("Replace a file that is there.", "既にあるファイルを置き換える。") };
}
