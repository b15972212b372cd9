using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Fude.Generation;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude generate: continues a text and prints it as it is written.</summary>
internal static class GenerateCommand
{
    public static Command Create(Terminal terminal, IReadOnlyCollection<string> literal)
    {
        Argument<string?> model = Arguments.ModelOrDefault();
        Argument<string?> text = new("text")
        {
            HelpName = "TEXT",
            Arity = ArgumentArity.ZeroOrOne,
            Description = Say("The text to continue, e.g. 吾輩は猫である。", "続きを書かせるテキスト（例: 吾輩は猫である。）。"),
        };
        Option<string?> prompt = new("--prompt", "-p")
        {
            HelpName = "TEXT",
            Description = Say(
                "The same as TEXT. Standard input is read when neither TEXT, this nor --ids is given; one line break at its end is left off.",
                "TEXT と同じ。TEXT もこれも --ids もなければ標準入力を読む（末尾の改行 1 つは除く）。"),
        };
        Option<int[]?> ids = Arguments.Ids();
        Option<bool> noSpecial = Arguments.NoSpecial();
        Option<string?> adapter = Arguments.Adapter();
        Option<int?> threads = Arguments.Threads();
        Option<bool> json = Arguments.Json();
        GenerationArguments generation = new();
        Command command = new("generate", Say("Continue a text.", "テキストの続きを書く。"))
        {
            model, text, prompt, ids, noSpecial, adapter, threads, json,
        };
        FormatArguments format = FormatArguments.AddTo(command);
        generation.AddTo(command, json);
        command.Validators.Add(result =>
        {
            if (result.GetResult(prompt) is not null && result.GetResult(ids) is not null)
                result.AddError(Say("Give either --prompt or --ids, not both.", "--prompt と --ids は同時に指定できません。"));
            // A misspelt option is taken for a text where one may stand.
            if ((result.GetValue(text) ?? result.GetValue(model)) is ['-', _, ..] word && !literal.Contains(word))
                result.AddError(CommandLineWords.NoSuchOption(word, result)
                    + Say(" A text that begins with - is given by --prompt, or after --.", "- で始まるテキストは --prompt で、または -- の後に指定してください。"));
            if (result.GetValue(text) is not null && (result.GetResult(prompt) is not null || result.GetResult(ids) is not null))
                result.AddError(Say("Give the text once: as TEXT, by --prompt or by --ids.", "テキストは TEXT、--prompt、--ids のどれかひとつで指定してください。"));
            // One word alone is a model beside --prompt or --ids, and a text without.
            if (result.GetValue(text) is null && result.GetValue(model) is { } alone)
            {
                bool hasText = result.GetResult(prompt) is not null || result.GetResult(ids) is not null;
                if (hasText && DefaultModel.IsText(alone))
                    result.AddError(Say(
                        $"There is no folder or file '{alone}' of a model. If it is the text, give the text once: as TEXT, by --prompt or by --ids.",
                        $"'{alone}' というモデルのフォルダーやファイルはありません。テキストなら、TEXT、--prompt、--ids のどれかひとつで指定してください。"));
                if (!hasText && alone.Length == 0)
                    result.AddError(Say("The text is empty: there is nothing to continue.", "テキストが空です。続きを書くテキストを指定してください。"));
            }
        });
        command.SetAction(async (args, stop) =>
        {
            GenerationOptions options = generation.Read(args);
            long loading = Stopwatch.GetTimestamp();
            (string? named, string? given) = DefaultModel.Of(
                args.GetValue(model), args.GetValue(text), hasText: args.GetResult(prompt) is not null || args.GetResult(ids) is not null);
            if (given is null && args.GetResult(prompt) is null && args.GetResult(ids) is null && !terminal.InputIsRedirected)
                throw Failure.OfUsage(
                    "There is nothing to continue: give TEXT, as in `fude generate 吾輩は`, --ids 1,2,3, or a text on standard input.",
                    "続きを書くテキストがありません。`fude generate 吾輩は` のように TEXT を渡すか、--ids 1,2,3、標準入力で渡してください。");
            using TextGenerator generator = format.LoadGenerator(
                args, DefaultModel.Or(named), args.GetValue(adapter), args.GetValue(threads) ?? 0, terminal, stop);
            TimeSpan loaded = Stopwatch.GetElapsedTime(loading);
            TextInput.TellReplaced(terminal, given ?? args.GetValue(prompt));
            // A read that waits for input cannot be stopped, only left behind.
            int[] promptIds = args.Given(ids) ?? generator.Encode(
                given ?? args.GetValue(prompt) ?? await Task.Run(() => TextInput.ReadText(terminal.Input), stop).WaitAsync(stop).ConfigureAwait(false),
                addSpecialTokens: !args.GetValue(noSpecial));
            // As transformers' generate() without an input does.
            if (promptIds.Length == 0 && (options.BosTokenId ?? generator.Defaults.BosTokenId) is { } begin) promptIds = [begin];
            // What only generation_config.json asks for gives way to a long prompt; but not to less than is asked for here: that fails, and says why.
            if (generator.Defaults is { MaxNewTokens: not null } or { MaxLength: not null } && !(options.MinNewTokens > generator.Config.Context + 1 - promptIds.Length))
                options = ConversationRoom.Fit(options, generator.Defaults, newTokens: 1, promptIds.Length, generator.Config.Context);
            try
            {
                int status = await Run(terminal, generator, promptIds, options, loaded, args.GetValue(json), stop).ConfigureAwait(false);
                generation.TellIdle(terminal.Error, args, generator.Defaults);
                return status;
            }
            catch (ArgumentException failure)
            {
                throw generation.InTheirWords(args, failure);
            }
        });
        return command;
    }

    private static async Task<int> Run(Terminal terminal, TextGenerator generator, int[] promptIds, GenerationOptions options, TimeSpan loaded,
        bool json, CancellationToken stop)
    {
        int sequences = options.NumReturnSequences ?? generator.Defaults.NumReturnSequences ?? 1;
        bool streams = !json && sequences == 1 && generator.Tokenizer is not null;
        long started = Stopwatch.GetTimestamp();
        TimeSpan? first = null;
        IReadOnlyList<GenerationResult> results;
        if (streams)
        {
            GenerationResult? result = null;
            await foreach (GenerationUpdate update in generator.StreamUpdates(promptIds, options, stop).ConfigureAwait(false))
            {
                first ??= Stopwatch.GetElapsedTime(started);
                terminal.Output.Write(update.Text);
                terminal.Output.Flush();        // who reads a pipe gets the text as it is written
                result = update.Result;
            }
            terminal.Output.WriteLine();
            results = [result!];
        }
        else results = await generator.GenerateAsync(promptIds, options, stop).ConfigureAwait(false);

        if (json) foreach (GenerationResult result in results) JsonLine.Write(terminal.Output, writer => WriteJson(writer, result));
        else if (!streams)
            foreach (GenerationResult result in results) terminal.Output.WriteLine(result.Text ?? string.Join(',', result.Ids));
        terminal.Output.Flush();
        Report(terminal.Error, generator, options, results, loaded, first, Stopwatch.GetElapsedTime(started));
        return 0;
    }

    private static void WriteJson(Utf8JsonWriter writer, GenerationResult result)
    {
        writer.WriteStartObject();
        writer.WriteIds("prompt_ids", result.PromptIds);
        writer.WriteIds("ids", result.Ids);
        writer.WriteString("text", result.Text);
        writer.WriteString("finish", result.Finish == FinishReason.Stop ? "stop" : "length");
        if (result.Score is { } score) writer.WriteReal("score", score);
        else writer.WriteNull("score");
        if (result.DroppedCharacter) writer.WriteBoolean("dropped_character", true);
        if (result.LogProbabilities is { } logProbabilities)
        {
            writer.WriteStartArray("logprobs");
            foreach (float value in logProbabilities) writer.WriteFloat(value);
            writer.WriteEndArray();
        }
        if (result.TopLogProbabilities is { } top)
        {
            writer.WriteStartArray("top_logprobs");
            foreach (IReadOnlyList<TokenLogProbability> place in top)
            {
                writer.WriteStartArray();
                foreach (TokenLogProbability candidate in place)
                {
                    writer.WriteStartObject();
                    writer.WriteNumber("id", candidate.Token);
                    writer.WritePropertyName("logprob");
                    writer.WriteFloat(candidate.LogProbability);
                    writer.WriteEndObject();
                }
                writer.WriteEndArray();
            }
            writer.WriteEndArray();
        }
        writer.WriteEndObject();
    }

    /// <summary>Timings, and what a reader of the text should know about its end.</summary>
    private static void Report(TextWriter error, TextGenerator generator, GenerationOptions options, IReadOnlyList<GenerationResult> results,
        TimeSpan loaded, TimeSpan? first, TimeSpan whole)
    {
        int prompt = results[0].PromptIds.Count, tokens = results.Sum(result => result.Ids.Count);
        GenerationOptions set = options.Over(generator.Defaults);
        // Beams give their text at the end, all at once.
        bool hasBeams = set.NumBeams > 1;
        string speed = first is { } begun && !hasBeams && results[0].Ids.Count > 1 && whole > begun
            ? Say(
                $"prompt {Count(prompt, "token")} in {Seconds(begun)}, then {PerSecond(results[0].Ids.Count - 1, whole - begun)}",
                $"プロンプト {prompt} トークン {Seconds(begun)}、以後 {PerSecond(results[0].Ids.Count - 1, whole - begun)}")
            : Say($"prompt {Count(prompt, "token")}", $"プロンプト {prompt:N0} トークン");
        string rate = hasBeams ? Say($", {PerSecond(tokens, whole)}", $"、{PerSecond(tokens, whole)}") : "";
        error.WriteLine(Say(
            $"[loaded in {Seconds(loaded)}; {speed}; {Count(tokens, "new token")} in {Seconds(whole)}{rate}]",
            $"[読み込み {Seconds(loaded)}、{speed}、新規 {tokens:N0} トークン {Seconds(whole)}{rate}]"));
        if (results.Any(result => result.DroppedCharacter))
            error.WriteLine(Say(
                "[the limit cut a character of several tokens; its beginning is left out of the text]",
                "[上限が文字の途中に当たったため、その文字は除きました]"));
        if (prompt + set.MaxNewTokens > generator.Config.Context && results.Any(result => result.Finish == FinishReason.Length))
            error.WriteLine(Say(
                $"[stopped where the model's context of {Count(generator.Config.Context, "token")} is full]",
                $"[モデルが読める {generator.Config.Context:N0} トークンに達したため止まりました]"));
        if (set.MaxNewTokens is null && set.MaxLength is null && results.Any(result => result.Finish == FinishReason.Length))
            error.WriteLine(Say(
                "[stopped at transformers' default length of 20 tokens, the prompt's included; --max-new-tokens N writes more]",
                "[transformers の既定の長さ（プロンプトを含めて 20 トークン）で止まりました。--max-new-tokens N で長くできます]"));
    }

    private static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:F2} s");

    private static string PerSecond(int tokens, TimeSpan time) =>
        string.Create(CultureInfo.InvariantCulture, $"{tokens / time.TotalSeconds:F1} {Say("tokens/s", "トークン/秒")}");
}
