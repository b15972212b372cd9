using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Fude.Models;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>Arguments and options that several commands share. Each call makes a new one: a command owns its symbols.</summary>
internal static class Arguments
{
    public static Argument<string> Model() => new("model")
    {
        HelpName = "MODEL",
        Description = Say(
            $"Folder with config.json, *.safetensors or pytorch_model*.bin, and a tokenizer; a GGUF file; or {DefaultModel.Name}, which comes with fude.",
            $"config.json、*.safetensors または pytorch_model*.bin、トークナイザーのあるフォルダー、GGUF ファイル、または付属の {DefaultModel.Name}。"),
    };

    /// <summary>A model whose own weights are needed: no GGUF file.</summary>
    public static Argument<string> ModelOfFolder() => new("model")
    {
        HelpName = "MODEL",
        Description = Say(
            $"Folder with config.json, *.safetensors or pytorch_model*.bin, and a tokenizer; or {DefaultModel.Name}, which comes with fude.",
            $"config.json、*.safetensors または pytorch_model*.bin、トークナイザーのあるフォルダー、または付属の {DefaultModel.Name}。"),
    };

    /// <summary>A model to tune: also a GGUF file, beside which an adapter is trained.</summary>
    public static Argument<string> ModelToTune() => new("model")
    {
        HelpName = "MODEL",
        Description = Say(
            $"{ModelOfFolder().Description} With --lora-rank also a GGUF file.", $"{ModelOfFolder().Description}--lora-rank を付ければ GGUF ファイルでもよい。"),
    };

    /// <summary>The model, or none for the one that comes with fude.</summary>
    public static Argument<string?> ModelOrDefault() => new("model")
    {
        HelpName = "MODEL",
        Arity = ArgumentArity.ZeroOrOne,
        Description = Say($"{Model().Description} {DefaultModel.Name} when absent.", $"{Model().Description}省略時は {DefaultModel.Name}。"),
    };

    public static Argument<string?> TokenizerOrDefault() => new("model")
    {
        HelpName = "MODEL",
        Arity = ArgumentArity.ZeroOrOne,
        Description = Say($"{Tokenizer().Description} {DefaultModel.Name} when absent.", $"{Tokenizer().Description}省略時は {DefaultModel.Name}。"),
    };

    public static Argument<string> Tokenizer() => new("model")
    {
        HelpName = "MODEL",
        Description = Say(
            $"A model's folder (read as transformers reads it), one tokenizer.json or .model file (as SentencePiece reads it), a GGUF file, or {DefaultModel.Name}.",
            $"モデルのフォルダー（transformers と同じ読み方）、tokenizer.json か .model のファイル（SentencePiece と同じ読み方）、GGUF ファイル、または {DefaultModel.Name}。"),
    };

    public static Option<bool> NoSpecial() => new("--no-special")
    {
        Description = Say(
            "Add no special tokens around the text (add_special_tokens=False); those written in it still count.",
            "テキストの前後に特殊トークンを付けない（add_special_tokens=False）。文中のものは認識する。"),
    };

    public static Option<bool> Json() => new("--json") { Description = Say("Print JSON.", "JSON で出力する。") };

    public static Option<int[]?> Ids(string name = "--ids") => new(name)
    {
        HelpName = "1,2,3",
        Description = Say("Token ids instead of a text.", "テキストの代わりにトークン ID を渡す。"),
        Arity = ArgumentArity.ExactlyOne,
        CustomParser = result => ParseIds(result, result.Tokens[0].Value),
    };

    public static Option<string?> Adapter() => new("--adapter")
    {
        HelpName = "DIR",
        Description = Say("A PEFT LoRA adapter to apply.", "適用する PEFT の LoRA アダプター。"),
    };

    public static Option<int?> Threads() => NumberOption.Optional<int>(
        "--threads", Say("Threads; all processors when absent. The result never depends on it.", "スレッド数。省略時は全プロセッサー。結果は変わらない。"),
        NumberOption.Within(1, 1024), "-t");

    /// <summary>The name of a prompt format; another one is wrong usage.</summary>
    public static Option<string?> PromptFormatName(string description)
    {
        Option<string?> format = new("--format") { HelpName = "NAME", Description = description };
        format.Validators.Add(static result =>
        {
            if (result.Tokens is not [{ Value: string name }] || name == PromptFormat.TemplateName || PromptFormat.All.Any(one => one.Name == name)) return;
            try
            {
                _ = PromptFormat.Named(name);
            }
            catch (ArgumentException unknown)
            {
                string hint = FormatArguments.Names.Split('|').Contains(name, StringComparer.OrdinalIgnoreCase)
                    ? Say($" To quantise the weights give --weights {name}.", $"重みの量子化は --weights {name} です。") : "";
                result.AddError($"{Failure.MessageOf(unknown)}{hint}");
            }
        });
        return format;
    }

    /// <summary>Fails where a window is longer than the model reads, or the next one would begin behind its end.</summary>
    public static void RequireWindow(int? context, int? stride, ModelConfig model)
    {
        if (context > model.Context)
            throw Failure.OfUsage(
                $"--context is from 2 to {model.Context}, the model's context, not {context}.",
                $"--context は 2 からモデルの文脈長 {model.Context} までです（{context} は使えません）。");
        if (stride > (context ?? model.Context))
            throw Failure.OfUsage(
                $"--stride is from 1 to {context ?? model.Context}, the tokens of a window, not {stride}: tokens would be left out.",
                $"--stride は 1 から窓の長さ {context ?? model.Context} までです（{stride} では読み飛ばされるトークンが出ます）。");
    }

    /// <summary>Tokens of a window, where a text is scored.</summary>
    public static Option<int?> Window() => NumberOption.Optional<int>(
        "--context", Say("Tokens in a window; the model's context when absent.", "窓のトークン数。省略時はモデルの文脈長。"), NumberOption.AtLeast(2));

    /// <summary>Tokens from one window to the next.</summary>
    public static Option<int?> Stride() => NumberOption.Optional<int>(
        "--stride", Say("Tokens from one window to the next; half a window when absent.", "窓をずらすトークン数。省略時は窓の半分。"), NumberOption.AtLeast(1));

    /// <summary>What an option was given, or null: System.CommandLine takes an absent list for an empty one, which means something else.</summary>
    public static T? Given<T>(this ParseResult args, Option<T> option) => args.GetResult(option) is null ? default : args.GetValue(option);

    /// <summary>Numbers separated by commas.</summary>
    public static int[]? ParseIds(ArgumentResult result, string list)
    {
        string[] parts = list.Split(',', StringSplitOptions.TrimEntries);
        int[] ids = new int[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            if (int.TryParse(parts[i], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out ids[i])) continue;
            string name = result.Parent is OptionResult option ? option.Option.Name : result.Argument.Name;
            result.AddError(Say(
                $"{name}: '{parts[i]}' is not a token id; numbers separated by commas are expected, as in 1,2,3.",
                $"{name}: '{parts[i]}' はトークン ID ではありません。1,2,3 のようにコンマで区切った数を渡してください。"));
            return null;
        }
        return ids;
    }
}
