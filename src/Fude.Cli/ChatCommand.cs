using System.CommandLine;
using System.Text;
using Fude.Generation;
using Fude.Models;
using Fude.Tokenizers.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude chat: a conversation in the terminal.</summary>
internal static class ChatCommand
{
    public static Command Create(Terminal terminal, Interrupts interrupts)
    {
        Argument<string?> model = Arguments.ModelOrDefault();
        Option<string?> system = new("--system")
        {
            HelpName = "TEXT",
            Description = Say("What the model is told about its task, instead of its format's own words.", "モデルに与える役割の文。省略時は書式の既定文。"),
        };
        Option<string?> format = Arguments.PromptFormatName(Say(
            $"The prompt format; guessed from the model when absent: {string.Join(", ", PromptFormat.All)}, {PromptFormat.TemplateName} (the folder's own).",
            $"プロンプトの書式。省略時はモデルから推定: {string.Join("、", PromptFormat.All)}、{PromptFormat.TemplateName}（モデルのフォルダーのもの）。"));
        Option<string?> adapter = Arguments.Adapter();
        Option<int?> threads = Arguments.Threads();
        GenerationArguments generation = new();
        Command command = new("chat", Say("Talk with a model.", "モデルと会話する。")) { model, system, format, adapter, threads };
        FormatArguments weights = FormatArguments.AddTo(command, FormatArguments.Alias);      // --format is that of the prompt
        generation.AddTo(command, json: null);
        command.SetAction(async args =>
        {
            string? name = args.GetValue(format);
            GenerationOptions options = generation.Read(args) with { NumReturnSequences = 1 };      // whatever generation_config.json says: an answer is one text
            using TextGenerator generator = weights.LoadGenerator(
                args, DefaultModel.Or(args.GetValue(model)), args.GetValue(adapter), args.GetValue(threads) ?? 0, terminal, CancellationToken.None);
            generator.KeepsLastText = true;
            if (generator.Tokenizer is null)
                throw new Failure(
                    $"{generator.Folder.Path} has no tokenizer, and a conversation is text: put tokenizer.json or tokenizer.model beside the weights.",
                    $"{generator.Folder.Path} にトークナイザーがないため会話できません。重みの隣に tokenizer.json か tokenizer.model を置いてください。");
            PromptFormatGuess guess = name is null
                ? PromptFormat.Guess(generator.Folder, args.GetValue(adapter))
                : new(PromptFormat.Named(name, generator.Folder), IsSure: true, "");
            Conversation conversation = new(terminal, interrupts, generator, options)
            {
                Format = guess.Format,
                System = args.GetValue(system),
                InTheirWords = failure => generation.InTheirWords(args, failure),
            };
            conversation.RequireOptions();
            generation.TellIdle(terminal.Error, args, generator.Defaults);
            string title = args.GetValue(adapter) is { } beside
                ? Say($"{generator.Folder.Title} with {ModelFolder.TitleOf(beside)}", $"{generator.Folder.Title} + {ModelFolder.TitleOf(beside)}") : generator.Folder.Title;
            terminal.Error.WriteLine(Say(
                $"{title}, prompt format {guess.Format}{(guess.IsSure ? "" : $", which is a guess. {guess.Reason} --format NAME chooses another")}. /help lists the commands.",
                $"{title}、プロンプト書式 {guess.Format}{(guess.IsSure ? "" : $"（推定: {guess.Reason}--format NAME で変えられます）")}。/help でコマンドの一覧。"));
            if (!guess.Format.HasTurns)
                terminal.Error.WriteLine(Say(
                    "This format has no place for earlier turns: each message is answered by itself.",
                    "この書式には過去の発言を入れる場所がないため、発言ごとに独立して答えます。"));
            return await conversation.RunAsync().ConfigureAwait(false);
        });
        return command;
    }

    /// <summary>A file's name with the home folder in the place of ~, which no shell puts there here: it would be a folder called so.</summary>
    internal static string AtHome(string file) => file.StartsWith("~/", StringComparison.Ordinal)
        ? Path.Join(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), file[2..]) : file;

    /// <summary>The turns so far, and the loop that adds to them.</summary>
    private sealed class Conversation(Terminal terminal, Interrupts interrupts, TextGenerator generator, GenerationOptions options)
    {
        private const int DefaultNewTokens = 512;
        private const string Force = "--force";

        private readonly List<Exchange> _history = [];

        public required PromptFormat Format { get; set; }

        public string? System { get; set; }

        public required Func<ArgumentException, Failure> InTheirWords { get; init; }

        /// <summary>Fails where the options would make every answer fail.</summary>
        public void RequireOptions()
        {
            if (options.MaxNewTokens is { } wanted && wanted > generator.Config.Context / 2)
            {
                Prompt empty = Format.Write("", system: System);
                int context = generator.Config.Context, frame = generator.Encode(empty.Text, empty.AddSpecialTokens).Length;
                if (wanted > context - frame)
                    throw Failure.OfUsage(
                        $"--max-new-tokens {wanted} leaves no message room: the model reads {Count(context, "token")}, of which the prompt format takes {frame}. With --max-new-tokens {context / 2} half of them are left.",
                        $"--max-new-tokens {wanted} では発言の入る場所がありません。モデルが読めるのは {context:N0} トークンで、書式だけで {frame:N0} トークンになります。--max-new-tokens {context / 2} なら半分が残ります。");
            }
            try
            {
                generator.Require(Call(promptLength: 1));
            }
            catch (ArgumentException failure)
            {
                throw InTheirWords(failure);
            }
        }

        /// <summary>Talks until there is nothing more to answer.</summary>
        /// <returns>The exit code: a pipe whose questions all failed has failed.</returns>
        public async Task<int> RunAsync()
        {
            bool hasAnswered = false, hasFailed = false;
            foreach (string message in Messages())
            {
                string trimmed = message.Trim();
                if (trimmed.Length == 0) continue;
                try
                {
                    if (trimmed.StartsWith('/'))
                    {
                        if (!await ObeyAsync(trimmed).ConfigureAwait(false)) break;
                    }
                    else
                    {
                        await AnswerAsync(message).ConfigureAwait(false);
                        hasAnswered = true;
                    }
                }
                catch (Exception failure) when (failure is ArgumentException or NotSupportedException or InvalidDataException or UnauthorizedAccessException or Failure
                    || (failure is IOException && !terminal.OutputIsGone()))
                {
                    terminal.Error.WriteLine(Failure.Explain(failure is ArgumentException wrong ? InTheirWords(wrong) : failure));      // the conversation goes on
                    hasFailed = true;
                }
            }
            return hasFailed && !hasAnswered && !terminal.IsInteractive ? 1 : 0;
        }

        private GenerationOptions Call(int promptLength) =>
            ConversationRoom.Fit(options, generator.Defaults, DefaultNewTokens, promptLength, generator.Config.Context);

        private int LongestPrompt => ConversationRoom.LongestPrompt(options, generator.Defaults, DefaultNewTokens, generator.Config.Context);

        private IEnumerable<string> Messages()
        {
            // A file of Windows may begin with a byte order mark, and has "\r" at the ends of its lines: nobody said these.
            if (!terminal.IsInteractive)
                return TextInput.ReadLines(terminal.Input, takesMark: false).Select(line => line.TrimEnd('\r'));
            LineEditor editor = new(terminal.Output, static () => Console.ReadKey(intercept: true), static () => Console.KeyAvailable,
                static () => Console.WindowWidth);
            return Typed(editor);
        }

        private static IEnumerable<string> Typed(LineEditor editor)
        {
            while (true)
            {
                string? message;
                Console.TreatControlCAsInput = true;
                try
                {
                    message = editor.Read("> ");
                }
                catch (OperationCanceledException)
                {
                    yield break;
                }
                finally
                {
                    Console.TreatControlCAsInput = false;
                }
                if (message is null) yield break;
                yield return message;
            }
        }

        private async Task AnswerAsync(string question)
        {
            int[] prompt = Prompt(question);
            GenerationOptions call = Call(prompt.Length);
            StringBuilder answer = new();
            try
            {
                await interrupts.DuringAsync(async stop =>
                {
                    await foreach (GenerationUpdate update in generator.StreamUpdates(prompt, call, stop).ConfigureAwait(false))
                    {
                        // The space or line break between the prompt and the answer is nobody's to see.
                        string text = answer.Length == 0 ? update.Text.TrimStart() : update.Text;
                        terminal.Output.Write(text);
                        terminal.Output.Flush();
                        answer.Append(text);
                    }
                }).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!interrupts.Program.IsCancellationRequested)
            {
                terminal.Error.Write(Say(" [stopped]", " [中断]"));
            }
            terminal.Output.WriteLine();
            terminal.Output.Flush();
            _history.Add(new(question, answer.ToString().TrimEnd()));
        }

        /// <summary>The ids of the conversation with a new question; the oldest turns give way when it outgrows the context.</summary>
        private int[] Prompt(string question)
        {
            int dropped = 0;
            while (true)
            {
                Prompt prompt = Format.Write(question, system: System, history: Format.HasTurns ? _history[dropped..] : null);
                int[] ids = generator.Encode(prompt.Text, prompt.AddSpecialTokens);
                if (ids.Length <= LongestPrompt || !Format.HasTurns || dropped == _history.Count)
                {
                    // Nothing is forgotten for a question that is too long by itself, and fails.
                    if (dropped > 0 && LeavesRoom(ids.Length))
                    {
                        _history.RemoveRange(0, dropped);
                        terminal.Error.WriteLine(Say(
                            $"[the conversation and its next answer have outgrown the context of {generator.Config.Context} tokens: the first {Count(dropped, "turn")} {(dropped == 1 ? "is" : "are")} forgotten]",
                            $"[会話と次の答えが文脈長 {generator.Config.Context} トークンに収まらないため、最初の {dropped} 往復を忘れました]"));
                    }
                    return ids;
                }
                dropped++;
            }
        }

        private bool LeavesRoom(int promptLength)
        {
            GenerationOptions call = Call(promptLength).Over(generator.Defaults);
            return call.MaxNewTokens is { } tokens ? (long)promptLength + tokens - 1 <= generator.Config.Context : promptLength < call.MaxLength;
        }

        /// <summary>Does what a /command says; false ends the conversation.</summary>
        private async Task<bool> ObeyAsync(string line)
        {
            string[] parts = line.Split((char[]?)null, 2, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            string rest = parts.Length > 1 ? parts[1] : "";
            switch (parts[0].ToLowerInvariant())
            {
                case "/exit" or "/quit" or "/bye":
                    return false;
                case "/help":
                    terminal.Error.WriteLine(Help());
                    return true;
                case "/clear":
                    _history.Clear();
                    terminal.Error.WriteLine(Say("[a new conversation]", "[新しい会話]"));
                    return true;
                case "/system":
                    System = rest.Length == 0 ? null : rest;
                    terminal.Error.WriteLine(System is null ? Say("[the format's own words]", "[書式の既定文に戻しました]") : Say($"[told: {System}]", $"[役割の文: {System}]"));
                    return true;
                case "/format":
                    if (rest.Length > 0) Format = PromptFormat.Named(rest, generator.Folder);
                    terminal.Error.WriteLine($"[{Format}: {Format.Description}]");
                    return true;
                case "/undo":
                    if (_history.Count == 0) throw new Failure("there is no turn to forget.", "取り消す発言がありません。");
                    _history.RemoveAt(_history.Count - 1);
                    terminal.Error.WriteLine(Say($"[forgotten; {Count(_history.Count, "turn")} left]", $"[直前の 1 往復を取り消しました。残り {_history.Count} 往復]"));
                    return true;
                case "/retry":
                    if (_history.Count == 0) throw new Failure("there is nothing to try again yet.", "やり直す発言がまだありません。");
                    Exchange last = _history[^1];
                    _history.RemoveAt(_history.Count - 1);
                    try
                    {
                        await AnswerAsync(last.Question).ConfigureAwait(false);
                    }
                    catch
                    {
                        _history.Add(last);     // it has its first answer still
                        throw;
                    }
                    return true;
                case "/history":
                    foreach (Exchange turn in _history) terminal.Output.WriteLine($"> {turn.Question}\n{turn.Answer}");
                    return true;
                case "/save":
                    Save(rest);
                    return true;
                default:
                    throw new Failure($"{parts[0]} is no command here. {Help()}", $"{parts[0]} というコマンドはありません。{Help()}");
            }
        }

        /// <summary>Writes the conversation into a file: as an example that fude tune reads where the file's name is one of JSON, and for people elsewhere.</summary>
        /// <param name="words">The file's name, and --force behind it where a file that is there is to be replaced.</param>
        private void Save(string words)
        {
            bool isForced = words == Force || words.EndsWith($" {Force}", StringComparison.Ordinal);
            string file = AtHome(isForced ? words[..^Force.Length].TrimEnd() : words);
            if (file.Length == 0) throw new Failure("/save needs the name of a file.", "/save にはファイル名が必要です。");
            bool isExample = TrainingText.IsJsonName(file);
            // fude tune refuses a conversation with an empty answer: of one that was stopped before its first word, or that the model did not begin.
            List<Exchange> turns = isExample ? _history.FindAll(turn => turn.Answer.Length > 0) : _history;
            if (turns.Count == 0) throw new Failure("there is nothing to save yet.", "保存する会話がまだありません。");
            if (file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase))
                throw new Failure(
                    $"/save {file} would be packed by its name, and it is not: leave off .gz.", $"/save {file}: gzip では書き出しません。末尾の .gz を外してください。");
            OutputPlace.RequireNew(file, isForced);
            AtomicFile.Write(file, Encoding.UTF8.GetBytes(isExample ? AsExample(System, turns) : string.Concat(turns.Select(turn => $"> {turn.Question}\n{turn.Answer}\n\n"))));
            int leftOut = _history.Count - turns.Count;
            terminal.Error.WriteLine(leftOut == 0 ? Say($"[wrote {file}]", $"[{file} に保存しました]") : Say(
                $"[wrote {file} without {Count(leftOut, "turn")} that {(leftOut == 1 ? "has" : "have")} no answer]", $"[応答のない {leftOut} 往復を除いて {file} に保存しました]"));
        }

        private static string AsExample(string? system, IEnumerable<Exchange> turns)
        {
            using StringWriter text = new() { NewLine = "\n" };
            JsonLine.Write(text, json =>
            {
                json.WriteStartObject();
                json.WriteStartArray("messages");
                if (!string.IsNullOrEmpty(system)) WriteMessage("system", system);
                foreach (Exchange turn in turns)
                {
                    WriteMessage("user", turn.Question);
                    WriteMessage("assistant", turn.Answer);
                }
                json.WriteEndArray();
                json.WriteEndObject();

                void WriteMessage(string role, string content)
                {
                    json.WriteStartObject();
                    json.WriteString("role", role);
                    json.WriteString("content", content);
                    json.WriteEndObject();
                }
            });
            return text.ToString();
        }

        private static string Help() => Say(
            "/clear new conversation, /retry another answer, /undo forget the last turn, /system TEXT, /format NAME, /history, " +
            "/save FILE (.jsonl: as fude tune reads it; --force behind it replaces a file), /exit. " +
            "Alt+Enter or a final \\ starts a new line; Ctrl+C stops an answer.",
            "/clear 新しい会話、/retry 答え直し、/undo 直前を取り消す、/system 役割の文、/format 書式名、/history 履歴、/save ファイル（.jsonl なら fude tune で読める形。後に --force を付ければ上書き）、/exit 終了。" +
            "改行は Alt+Enter か行末の \\。回答の中断は Ctrl+C。");
    }
}
