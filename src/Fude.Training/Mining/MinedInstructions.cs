using System.Text.Json;
using Fude.Corpus;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Writes the instructions that texts and conversations answer as a file to tune with.</summary>
/// <remarks>
/// A line is <c>{"task": …, "messages": [{"role": "user", …}, {"role": "assistant", …}], "check": {…}}</c>; "check" is what every answer can be held to, and
/// is not there where that is nothing. An instruction that was there before is not written again.
/// </remarks>
public static class MinedInstructions
{
    /// <summary>Writes the file, which appears whole or not at all.</summary>
    /// <param name="texts">The texts; null for none.</param>
    /// <param name="dialogues">Files of conversations, as <see cref="DialogueReader"/> reads them.</param>
    /// <param name="heldOutShare">The share of conversations that a tuning will hold out (<see cref="Dialogue.IsHeldOut"/>), from 0 to below 1: nothing is made of them.</param>
    /// <param name="path">The file: .jsonl or .jsonl.gz.</param>
    /// <param name="miner">Makes them.</param>
    /// <param name="tally">Hears of every conversation that is left out, and of every line of the texts; both count together.</param>
    /// <param name="progress">Hears what share of the texts has been read; null for silence.</param>
    /// <param name="stop">Ends the work; nothing is left behind.</param>
    /// <returns>How many there are of each task.</returns>
    /// <exception cref="ArgumentException">The file is one that is read, its name is not one of JSONL, or the share is none.</exception>
    /// <exception cref="FileNotFoundException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">A file is broken, or nothing can be made of any.</exception>
    public static IReadOnlyDictionary<string, long> Write(
        TrainingText? texts, IReadOnlyList<string> dialogues, double heldOutShare, string path, InstructionMiner miner, DataTally tally,
        IProgress<double>? progress = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(dialogues);
        ArgumentNullException.ThrowIfNull(miner);
        ArgumentNullException.ThrowIfNull(tally);
        if (!(heldOutShare is >= 0 and < 1)) throw new ArgumentOutOfRangeException(nameof(heldOutShare), Say(
            $"The share that is held out is {heldOutShare}; from 0 to below 1 is expected.", $"取り分ける割合が {heldOutShare} です。0 以上 1 未満にしてください。"));
        string[] read = [.. texts?.Files ?? [], .. dialogues];
        if (Array.Exists(read, file => RealPath.AreOne(file, path)))
            throw new ArgumentException(Say($"{path} would be written over: it is one of the files that are read.", $"{path} は読み込み元でもあり、上書きされてしまいます。"));
        if (!TrainingText.IsJsonName(path))
            throw new ArgumentException(Say(
                $"{path}: instructions are written as JSONL; name the file .jsonl or .jsonl.gz.", $"{path}: 指示は JSONL で書かれます。名前の末尾を .jsonl か .jsonl.gz にしてください。"));
        // What is missing is told before the work.
        IEnumerable<TextDocument> documents = texts is null || texts.Files.Count == 0 ? [] : texts.Documents(
            progress, line => tally.AddBad(line.File, line.Line, Say("a broken line", "壊れた行です")), stop: stop);
        foreach (string file in dialogues) JsonRecords.Require(file);
        if (texts is not null && !tally.MaySkip) RequireNoDialogues(texts);
        Dictionary<string, long> counts = InstructionMiner.Tasks.ToDictionary(task => task, _ => 0L);
        HashSet<ulong> seen = [];
        JsonLinesFile? made = null;
        try
        {
            foreach (string file in dialogues)
                foreach (Dialogue dialogue in new DialogueReader().Read(file, tally))
                    if (!dialogue.IsHeldOut(heldOutShare)) Add(miner.OfDialogue(dialogue));
            foreach (TextDocument document in documents) Add(miner.OfText(document.Text));
            if (made is null) throw Nothing(read, texts is { Files.Count: > 0 }, dialogues.Count > 0);
            made.Complete();
        }
        finally
        {
            made?.Dispose();
        }
        return counts;

        void Add(IEnumerable<MinedInstruction> instructions)
        {
            stop.ThrowIfCancellationRequested();
            foreach (MinedInstruction one in instructions)
            {
                stop.ThrowIfCancellationRequested();
                if (!seen.Add(one.Hash)) continue;
                counts[one.Task]++;
                (made ??= new JsonLinesFile(path)).Add(json => Write(json, one));
            }
        }
    }

    // Records of conversations among the texts have no text in them.
    private static void RequireNoDialogues(TrainingText texts)
    {
        foreach (string file in texts.Files.Where(TrainingText.IsJsonName))
        {
            (JsonElement first, long line) = JsonRecords.Read(file, new DataTally(long.MaxValue), "").FirstOrDefault();
            if (first.ValueKind == JsonValueKind.Object && !first.TryGetProperty(texts.Field, out _) && DialogueReader.Knows(first))
                throw new InvalidDataException(Say(
                    FormattableString.Invariant($"{file}:{line}: has no field '{texts.Field}', but is a record of instructions or conversations. Give such files as --dialogues {file}."),
                    FormattableString.Invariant($"{file}:{line}: フィールド '{texts.Field}' がなく、指示や対話のレコードです。--dialogues {file} として指定してください。")));
        }
    }

    private static InvalidDataException Nothing(string[] read, bool hasTexts, bool hasDialogues)
    {
        string files = string.Join(", ", read);
        string texts = hasTexts ? Say(
            " Of texts, Japanese ones with whole sentences are needed; --share says of how many of these.",
            "日本語の文を含むテキストが必要です。--share は使う文の割合です。") : "";
        string dialogues = hasDialogues ? Say(
            " Of conversations these are needed, in Japanese: a question whose answer is a list, an answer of several sentences, or further turns of a conversation.",
            "対話では、日本語の箇条書きの答え、複数の文からなる答え、二往復目以降のやり取りのいずれかが必要です。") : "";
        return new InvalidDataException(Say(
            $"{files}: no instruction could be made of it.{texts}{dialogues}", $"{files}: 指示を一つも作れませんでした。{texts}{dialogues}"));
    }

    /// <summary>Reads instructions whose answers can be checked; those that say of no check are passed over.</summary>
    /// <param name="file">A file of lines as <see cref="Write(TrainingText, IReadOnlyList{string}, double, string, InstructionMiner, DataTally, IProgress{double}, CancellationToken)"/>
    /// writes them.</param>
    /// <param name="tally">Hears of broken lines.</param>
    /// <exception cref="FileNotFoundException">It is not there.</exception>
    /// <exception cref="InvalidDataException">It is damaged, or more lines are broken than may be.</exception>
    public static IEnumerable<MinedInstruction> Read(string file, DataTally tally)
    {
        ArgumentNullException.ThrowIfNull(tally);
        foreach ((JsonElement record, long line) in JsonRecords.Read(file, tally, Say(
                     "Instructions whose answers can be checked are written by `fude corpus instructions`.",
                     "応答を確かめられる指示のファイルは `fude corpus instructions` で作れます。")))
        {
            if (!record.TryGetProperty("check", out JsonElement json)) continue;
            (MinedInstruction? read, string reason, string? detail) = OfRecord(record, json);
            if (read is null) tally.AddBad(file, line, reason, detail);
            else if (!read.Check.IsEmpty) yield return read;
        }
    }

    private static (MinedInstruction? Read, string Reason, string? Detail) OfRecord(JsonElement record, JsonElement json)
    {
        if (!record.TryGetProperty("messages", out JsonElement messages) || messages.ValueKind != JsonValueKind.Array || messages.GetArrayLength() != 2
            || Content(messages[0], "user") is not { } question || Content(messages[1], "assistant") is not { } answer)
            return (null, Say(
                "\"messages\" is no question of user and answer of assistant", "\"messages\" が user の質問と assistant の応答の二つになっていません"), null);
        try
        {
            string task = record.TryGetProperty("task", out JsonElement name) && name.ValueKind == JsonValueKind.String ? name.GetString()! : "";
            return (new MinedInstruction(task, question, answer, AnswerCheck.Of(json)), "", null);
        }
        catch (InvalidDataException broken)
        {
            return (null, Say("its \"check\" is none", "\"check\" が正しくありません"), broken.Message);
        }

        static string? Content(JsonElement message, string role) =>
            message.ValueKind == JsonValueKind.Object && message.TryGetProperty("role", out JsonElement said) && said.ValueKind == JsonValueKind.String && said.ValueEquals(role)
                && message.TryGetProperty("content", out JsonElement text) && text.ValueKind == JsonValueKind.String
                && !string.IsNullOrWhiteSpace(text.GetString()) ? text.GetString() : null;
    }

    private static void Write(Utf8JsonWriter json, MinedInstruction made)
    {
        json.WriteString("task", made.Task);
        json.WriteStartArray("messages");
        foreach ((string role, string content) in (ReadOnlySpan<(string, string)>)[("user", made.Question), ("assistant", made.Answer)])
        {
            json.WriteStartObject();
            json.WriteString("role", role);
            json.WriteString("content", content);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        if (made.Check.IsEmpty) return;
        json.WritePropertyName("check");
        made.Check.WriteTo(json);
    }
}
