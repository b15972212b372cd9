using System.CommandLine;
using System.Globalization;
using Fude.Models;
using Fude.Tokenizers;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude explain: how a text becomes tokens, step by step, and what a model may stumble over in it.</summary>
internal static class ExplainCommand
{
    public static Command Create(Terminal terminal)
    {
        Argument<string?> model = Arguments.TokenizerOrDefault();
        Argument<string?> text = new("text")
        {
            HelpName = "TEXT",
            Arity = ArgumentArity.ZeroOrOne,
            Description = Say("The text; standard input when absent, without one line break at its end.", "テキスト。省略時は標準入力（末尾の改行 1 つは除く）。"),
        };
        Option<bool> noSpecial = Arguments.NoSpecial();
        Option<bool> json = Arguments.Json();
        Command command = new("explain", Say(
            "Show how a text becomes tokens, and warn of what a prompt should not have. Places are counted in characters (Unicode code points) from 0, also in JSON (start, end).",
            "テキストがトークンになる過程を見せ、プロンプトの問題を知らせる。位置は 0 から数えた文字（Unicode 符号位置）で、JSON の start と end も同じ。")) { model, text, noSpecial, json };
        // A read that waits for input cannot be stopped, only left behind.
        command.SetAction((args, stop) => Task.Run(() =>
        {
            (string? named, string? given) = DefaultModel.Of(args.GetValue(model), args.GetValue(text), hasText: false);
            if (given is null && !terminal.InputIsRedirected)
                throw Failure.OfUsage(
                    "There is nothing to explain: give TEXT, or a text on standard input.", "調べるテキストがありません。TEXT か標準入力で渡してください。");
            return Run(terminal, ModelFolder.OpenTokenizer(DefaultModel.Or(named)), given ?? TextInput.ReadText(terminal.Input),
                addSpecialTokens: !args.GetValue(noSpecial), args.GetValue(json));
        }, stop).WaitAsync(stop));
        return command;
    }

    private static int Run(Terminal terminal, Tokenizer tokenizer, string text, bool addSpecialTokens, bool json)
    {
        TokenizerExplanation explanation = tokenizer.Explain(text, addSpecialTokens);
        IReadOnlyList<PromptWarning> warnings = PromptWarnings.Of(tokenizer, text, explanation);
        int[] places = Places(text);
        if (json)
            JsonLine.Write(terminal.Output, writer =>
            {
                writer.WriteStartObject();
                writer.WriteStartArray("normalized");
                foreach (string piece in explanation.NormalizedText) writer.WriteStringValue(piece);
                writer.WriteEndArray();
                writer.WriteStartArray("tokens");
                foreach (ExplainedToken token in explanation.Tokens)
                {
                    writer.WriteStartObject();
                    writer.WriteNumber("id", token.Piece.Id);
                    writer.WriteString("piece", token.Piece.Text);
                    writer.WriteNumber("start", places[token.Start]);
                    writer.WriteNumber("end", places[token.End]);
                    writer.WriteString("text", token.Text);
                    writer.WritePropertyName("score");
                    writer.WriteFloat((float)token.Piece.Score);
                    writer.WriteString("kind", token.Piece.Kind.ToString());
                    writer.WriteBoolean("special", token.IsSpecial);
                    writer.WriteEndObject();
                }
                writer.WriteEndArray();
                writer.WriteStartArray("warnings");
                foreach (PromptWarning warning in warnings)
                {
                    writer.WriteStartObject();
                    writer.WriteString("kind", warning.Kind);
                    writer.WriteString("message", warning.Message);
                    writer.WriteEndObject();
                }
                writer.WriteEndArray();
                writer.WriteEndObject();
            });
        else
        {
            Print(terminal.Output, tokenizer, places, explanation);
            foreach (PromptWarning warning in warnings)
                terminal.Error.WriteLine(Failure.OneLine(Say($"warning: {warning.Message}", $"注意: {warning.Message}")));
        }
        return 0;
    }

    private static void Print(TextWriter output, Tokenizer tokenizer, int[] places, TokenizerExplanation explanation)
    {
        output.WriteLine(Say($"model       {tokenizer.Model}, {tokenizer.VocabularySize} entries", $"モデル      {tokenizer.Model}、{tokenizer.VocabularySize} 項目"));
        foreach (string piece in explanation.NormalizedText) output.WriteLine(Say($"normalized  {Visible(piece)}", $"正規化後    {Visible(piece)}"));
        int characters = places[^1];
        output.WriteLine(Say(
            $"tokens      {explanation.Tokens.Count} for {Count(characters, "character")}",
            $"トークン    {characters} 文字に対して {explanation.Tokens.Count} 個"));
        foreach (ExplainedToken token in explanation.Tokens)
        {
            string piece = Visible(token.Piece.Text);
            string padding = new(' ', Math.Max(1, 20 - LineEditor.Cells(piece)));
            string place = token.Start == token.End ? "" : $"[{places[token.Start]}..{places[token.End]}) {Visible(token.Text)}";
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{token.Piece.Id,8}  {piece}{padding}{token.Piece.Kind,-12} {token.Piece.Score,10:0.####}  {place}"));
        }
    }

    // How many code points stand before each UTF-16 unit of a text, and before its end: what people and other languages count, where .NET counts units.
    private static int[] Places(string text)
    {
        int[] places = new int[text.Length + 1];
        for (int i = 0; i < text.Length; i++)
            places[i + 1] = places[i] + (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]) ? 0 : 1);
        return places;
    }

    /// <summary>The text on one line: its line breaks and tabs as pictures.</summary>
    internal static string Visible(string text) =>
        text.Replace("\r", "␍", StringComparison.Ordinal).Replace("\n", "␊", StringComparison.Ordinal).Replace("\t", "␉", StringComparison.Ordinal);
}
