using System.Text.Json;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A conversation with two last answers, of which one is preferred.</summary>
/// <param name="Chosen">The conversation with the better answer.</param>
/// <param name="Rejected">The same with the worse one.</param>
public sealed record PreferenceDialogue(Dialogue Chosen, Dialogue Rejected);

/// <summary>Reads preferences: JSONL or a JSON array, also packed by gzip.</summary>
/// <remarks>
/// | record | |
/// | --- | --- |
/// | <c>{"prompt", "chosen", "rejected"}</c>, each a text | "system" and "history": [[question, answer], …] are taken where they are there; "question" or "instruction" with "input" or "context" may stand for "prompt" |
/// | <c>{"prompt": [{"role", "content"}], "chosen": [...], "rejected": [...]}</c> | the answers are lists of one message, a message, or a text |
/// | <c>{"chosen": [{"role", "content"}], "rejected": [...]}</c> | two whole conversations that differ in the last answer |
/// | <c>{"conversations": [{"from", "value"}], "chosen": {"from", "value"}, "rejected": {...}}</c> | |
/// </remarks>
public static class PreferenceReader
{
    /// <summary>The preferences of a file, in its order.</summary>
    /// <param name="file">The file.</param>
    /// <param name="tally">Hears of every record that is left out.</param>
    /// <exception cref="FileNotFoundException">It is not there.</exception>
    /// <exception cref="InvalidDataException">It is damaged, or more records are bad than may be.</exception>
    public static IEnumerable<PreferenceDialogue> Read(string file, DataTally tally)
    {
        ArgumentNullException.ThrowIfNull(tally);
        foreach ((JsonElement record, long line) in JsonRecords.Read(file, tally, Say(
                     "Preferences are lines such as {\"prompt\": \"…\", \"chosen\": \"…\", \"rejected\": \"…\"}.",
                     "選好は {\"prompt\": \"…\", \"chosen\": \"…\", \"rejected\": \"…\"} のような行で書きます。")))
        {
            if (Problem(record, out List<Message> prompt, out string chosen, out string rejected) is { } problem)
            {
                tally.AddBad(file, line, problem);
                continue;
            }
            string? system = DialogueReader.Text(record, "system");
            if (With(chosen) is not { } better || With(rejected) is not { } worse) continue;
            yield return new PreferenceDialogue(better, worse);

            Dialogue? With(string answer) => DialogueReader.Of(
                [.. prompt.Select(message => (message.Role, message.Text, false)), (DialogueReader.Role.Assistant, answer, true)], system, file, line, tally) is { } made
                ? made with { Fingerprint = Dialogue.FingerprintOf(record.GetRawText()) } : null;
        }
    }

    private static string? Problem(JsonElement record, out List<Message> prompt, out string chosen, out string rejected)
    {
        (prompt, chosen, rejected) = ([], "", "");
        if (!record.TryGetProperty("chosen", out JsonElement better) || !record.TryGetProperty("rejected", out JsonElement worse))
            return Say("it has no \"chosen\" and \"rejected\": {\"prompt\", \"chosen\", \"rejected\"} is expected",
                "\"chosen\" と \"rejected\" がありません。{\"prompt\", \"chosen\", \"rejected\"} が必要です");
        if (Messages(better) is not { Count: > 0 } chosenMessages) return NoMessage("chosen");
        if (Messages(worse) is not { Count: > 0 } rejectedMessages) return NoMessage("rejected");
        bool hasPrompt = false;
        foreach (string key in (ReadOnlySpan<string>)["prompt", "conversations", "messages", "question", "instruction"])
        {
            if (!record.TryGetProperty(key, out JsonElement given)) continue;
            if (Messages(given, DialogueReader.Role.User) is not { Count: > 0 } messages) return NoMessage(key);
            prompt = messages;
            if (key is "question" or "instruction")
                foreach (string more in (ReadOnlySpan<string>)["input", "context"])
                    if (DialogueReader.Text(record, more) is { } input && !string.IsNullOrWhiteSpace(input))
                    {
                        prompt[^1] = prompt[^1] with { Text = $"{prompt[^1].Text}\n\n{input}" };
                        break;
                    }
            if (record.TryGetProperty("history", out JsonElement history) && history.ValueKind != JsonValueKind.Null
                && !(history.ValueKind == JsonValueKind.Array && history.GetArrayLength() == 0))
            {
                if (given.ValueKind != JsonValueKind.String)
                    return Say($"it has \"history\" beside \"{key}\", which is a conversation already", $"会話である \"{key}\" のほかに \"history\" があります");
                if (DialogueReader.HistoryOf(history, out List<DialogueTurn> turns) is { } wrong) return wrong;
                prompt.InsertRange(0, turns.SelectMany(turn => (Message[])[new(DialogueReader.Role.User, turn.Question), new(DialogueReader.Role.Assistant, turn.Answer)]));
            }
            hasPrompt = true;
            break;
        }
        if (!hasPrompt || (chosenMessages.Count > 1 && rejectedMessages.Count > 1))
        {
            // Two whole conversations, with or without what they have in common beside them.
            if (chosenMessages.Count < 2 || chosenMessages.Count != rejectedMessages.Count || !chosenMessages.SkipLast(1).SequenceEqual(rejectedMessages.SkipLast(1)))
                return hasPrompt || (chosenMessages.Count > 1 && rejectedMessages.Count > 1) ? Say("\"chosen\" and \"rejected\" differ before their last messages", "\"chosen\" と \"rejected\" が最後のメッセージより前で異なります")
                    : Say("it has no \"prompt\"", "\"prompt\" がありません");
            prompt = [.. chosenMessages.SkipLast(1)];
        }
        else if (chosenMessages.Count > 1 || rejectedMessages.Count > 1)
        {
            return Say("\"chosen\" and \"rejected\" are not of one kind: two answers, or two conversations, are expected",
                "\"chosen\" と \"rejected\" の種類が違います。どちらも応答、またはどちらも会話にしてください");
        }
        if (prompt[^1].Role != DialogueReader.Role.User) return Say("the last message of the prompt is not the user's", "プロンプトの最後が user のメッセージではありません");
        if (chosenMessages[^1].Role != DialogueReader.Role.Assistant || rejectedMessages[^1].Role != DialogueReader.Role.Assistant)
            return Say("the last message of \"chosen\" or \"rejected\" is not the assistant's", "\"chosen\" または \"rejected\" の最後が assistant のメッセージではありません");
        (chosen, rejected) = (chosenMessages[^1].Text, rejectedMessages[^1].Text);
        return string.IsNullOrWhiteSpace(chosen) ? Say("\"chosen\" is empty", "\"chosen\" が空です")
            : string.IsNullOrWhiteSpace(rejected) ? Say("\"rejected\" is empty", "\"rejected\" が空です")
            : chosen == rejected ? Say("\"chosen\" and \"rejected\" are the same", "\"chosen\" と \"rejected\" が同じです") : null;
    }

    private static string NoMessage(string key) =>
        Say($"\"{key}\" is neither a text nor a message nor a list of messages", $"\"{key}\" が文字列でもメッセージでもそのリストでもありません");

    private static List<Message>? Messages(JsonElement given, DialogueReader.Role role = DialogueReader.Role.Assistant)
    {
        if (given.ValueKind == JsonValueKind.String) return [new Message(role, given.GetString()!)];
        if (given.ValueKind == JsonValueKind.Object) return Message.Of(given) is { } one ? [one] : null;
        if (given.ValueKind != JsonValueKind.Array) return null;
        List<Message> messages = [];
        foreach (JsonElement element in given.EnumerateArray())
        {
            if (element.ValueKind != JsonValueKind.Object || Message.Of(element) is not { } message) return null;
            messages.Add(message);
        }
        return messages;
    }

    private readonly record struct Message(DialogueReader.Role Role, string Text)
    {
        public static Message? Of(JsonElement json) =>
            (DialogueReader.Text(json, "role") ?? DialogueReader.Text(json, "from")) is { } name && DialogueReader.RoleOf(name) is { } role
            && (DialogueReader.Content(json, "content") ?? DialogueReader.Content(json, "value")) is { } text
                ? new Message(role, text) : null;
    }
}
