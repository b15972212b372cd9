using System.CommandLine;
using System.Text.Json;
using Fude.Models;
using Fude.Tokenizers;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude detokenize: the text of each line of token ids on standard input.</summary>
internal static class DetokenizeCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string?> model = Arguments.TokenizerOrDefault();
        Option<bool> skipSpecial = new("--skip-special")
        {
            Description = Say("Leave special tokens out.", "特殊トークンを省く。"),
        };
        Option<bool> json = Arguments.Json();
        Command command = new("detokenize", Say(
            "Print the text of each line of standard input: {\"ids\":[1,2,3]}.",
            "標準入力の各行 {\"ids\":[1,2,3]} をテキストに戻す。"))
        {
            model, skipSpecial, json,
        };
        // A read that waits for input cannot be stopped, only left behind.
        command.SetAction((args, stop) => Task.Run(() =>
        {
            if (!terminal.InputIsRedirected)
                throw Failure.OfUsage(
                    "There is nothing to detokenize: give lines such as {\"ids\":[1,2,3]} on standard input, as `fude tokenize --json` prints them.",
                    "テキストに戻すトークン ID がありません。`fude tokenize --json` が出力する {\"ids\":[1,2,3]} のような行を標準入力で渡してください。");
            return Run(terminal, ModelFolder.OpenTokenizer(DefaultModel.Or(args.GetValue(model))), args.GetValue(skipSpecial), args.GetValue(json), stop);
        }, stop).WaitAsync(stop));
        return command;
    }

    private static int Run(Terminal terminal, Tokenizer tokenizer, bool skipSpecial, bool json, CancellationToken stop)
    {
        int number = 0;
        foreach (string line in TextInput.ReadLines(terminal.Input, takesMark: false))
        {
            stop.ThrowIfCancellationRequested();
            int[] ids = ReadIds(line, ++number);
            string text;
            try
            {
                text = tokenizer.Decode(ids, skipSpecial);
            }
            catch (ArgumentException e)
            {
                throw new Failure($"standard input, line {number}: {Failure.MessageOf(e)}", $"標準入力の {number} 行目: {Failure.MessageOf(e)}");
            }
            if (json)
                JsonLine.Write(terminal.Output, writer =>
                {
                    writer.WriteStartObject();
                    writer.WriteString("text", text);
                    writer.WriteEndObject();
                });
            else terminal.Output.WriteLine(text);
            terminal.Output.Flush();
        }
        return 0;
    }

    private static int[] ReadIds(string line, int number)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            JsonElement ids = root.ValueKind == JsonValueKind.Object ? root.GetProperty("ids") : root;
            return [.. ids.EnumerateArray().Select(id => id.GetInt32())];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or KeyNotFoundException)
        {
            throw new Failure(
                $"standard input, line {number}: {{\"ids\":[1,2,3]}} is expected.",
                $"標準入力の {number} 行目: {{\"ids\":[1,2,3]}} の形が必要です。");
        }
    }
}
