using System.CommandLine;
using System.Text;
using System.Text.Json;
using Fude.Models;
using Fude.Tokenizers;
using Fude.Tokenizers.Files;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude tokenize: the tokens of a text, or of each line of standard input.</summary>
internal static class TokenizeCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string?> model = Arguments.TokenizerOrDefault();
        Argument<string?> text = new("text")
        {
            HelpName = "TEXT",
            Arity = ArgumentArity.ZeroOrOne,
            Description = Say("The text; each line of standard input when absent.", "テキスト。省略時は標準入力の各行。"),
        };
        Option<bool> noSpecial = Arguments.NoSpecial();
        Option<bool> jsonInput = new("--json-input")
        {
            Description = Say("Each line is a JSON string; raw UTF-8 otherwise.", "各行を JSON 文字列として読む（なければ UTF-8 のまま）。"),
        };
        Option<bool> json = Arguments.Json();
        Command command = new("tokenize", Say("Print the tokens of a text, or of each line of standard input.", "テキスト、または標準入力の各行をトークンに分ける。"))
        {
            model, text, noSpecial, jsonInput, json,
        };
        // A read that waits for input cannot be stopped, only left behind.
        command.SetAction((args, stop) => Task.Run(() =>
        {
            (string? named, string? given) = DefaultModel.Of(args.GetValue(model), args.GetValue(text), hasText: false);
            TextInput.TellReplaced(terminal, given);
            if (given is null && !terminal.InputIsRedirected)
                terminal.Error.WriteLine(OperatingSystem.IsWindows()
                    ? Say("note: each line that is typed is divided into tokens; Ctrl+Z and Enter end.", "注意: 入力した行ごとにトークンに分けます。Ctrl+Z と Enter で終わります。")
                    : Say("note: each line that is typed is divided into tokens; Ctrl+D ends.", "注意: 入力した行ごとにトークンに分けます。Ctrl+D で終わります。"));
            return Run(terminal, ModelFolder.OpenTokenizer(DefaultModel.Or(named)), given is null ? TextInput.ReadLines(terminal.Input, takesMark: !args.GetValue(jsonInput)) : [given],
                addSpecialTokens: !args.GetValue(noSpecial), args.GetValue(jsonInput), args.GetValue(json), stop);
        }, stop).WaitAsync(stop));
        return command;
    }

    private static int Run(
        Terminal terminal, Tokenizer tokenizer, IEnumerable<string> texts, bool addSpecialTokens, bool jsonInput, bool json, CancellationToken stop)
    {
        int number = 0;
        foreach (string line in texts)
        {
            stop.ThrowIfCancellationRequested();
            number++;
            int[] ids = tokenizer.Encode(jsonInput ? ReadString(line, number) : line, addSpecialTokens);
            if (json)
                JsonLine.Write(terminal.Output, writer =>
                {
                    writer.WriteStartObject();
                    writer.WriteIds("ids", ids);
                    writer.WriteStartArray("tokens");
                    foreach (int id in ids) writer.WriteStringValue(tokenizer.TokenOf(id));
                    writer.WriteEndArray();
                    writer.WriteEndObject();
                });
            else terminal.Output.WriteLine(string.Join(' ', ids.Select(id => ExplainCommand.Visible(tokenizer.TokenOf(id)))));      // one line a text
            terminal.Output.Flush();        // who writes a line and waits for the answer gets it
        }
        return 0;
    }

    private static string ReadString(string line, int number)
    {
        byte[] json = Encoding.UTF8.GetBytes(line);
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            if (document.RootElement.ValueKind == JsonValueKind.String) return document.RootElement.GetString()!;
        }
        catch (JsonException e)
        {
            string what = JsonMistake.InLine(e, json);
            throw new Failure($"standard input, line {number}: not a JSON string: {what}.", $"標準入力の {number} 行目が JSON 文字列ではありません: {what}。");
        }
        catch (InvalidOperationException)
        {
            throw new Failure(
                $"standard input, line {number}: the JSON string holds half a surrogate pair.",
                $"標準入力の {number} 行目: JSON 文字列にサロゲートペアの片方だけがあります。");
        }
        throw new Failure(
            $"standard input, line {number}: a JSON string such as \"吾輩は猫である\" is expected.",
            $"標準入力の {number} 行目: \"吾輩は猫である\" のような JSON 文字列が必要です。");
    }
}
