using System.Text.Json;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Reads instruction data: JSONL (one object a line) or a JSON array, also packed by gzip; the keys tell which kind a record is.</summary>
/// <remarks>
/// | record | dialogue |
/// | --- | --- |
/// | <c>{"instruction", "input", "output"}</c> (Alpaca), also "context" and "response" (Dolly); "question"/"answer", "prompt"/"completion"; "system" and "history": [[question, answer], …] where they are there | one turn, after those of the history |
/// | <c>{"messages": [{"role", "content"}]}</c>; a message with "weight": 0 or false is not learnt, and of other weights there is only 1 | as it stands |
/// | <c>{"prompt": [{"role", "content"}], "completion": [...]}</c> (TRL) | the two as one; only the completion's answers are learnt |
/// | <c>{"conversations": [{"from", "value"}]}</c> (ShareGPT), also "conversation" | as it stands |
/// | <c>{"utterances": [{"name", "text"}]}</c> with the names user and agent | as it stands |
/// | <c>{"utterances": [{"interlocutor_id", "text"}]}</c>, also "speaker": a conversation of two people | twice: each of the two is the model once |
/// | <c>{"prompt": {"role", "text", "replies": [...]}}</c>, a tree of Open Assistant; or its messages one a line with "message_id" and "parent_id" | the best answers, or all |
///
/// Roles are user, human, prompter; assistant, gpt, agent, bot, model; system. Neighbouring messages of one role are joined by a line break.
/// An answer before the first question and a question after the last answer are left out, and the tally says so.
/// </remarks>
public sealed class DialogueReader
{
    private const int DeepestTree = 1000, LongestDetail = 60;
    private const char PersonPrefix = '\0';

    private static readonly string[] Lists = ["messages", "conversations", "conversation", "utterances"];

    private static readonly (string Question, string? Input, string Answer)[] Pairs =
    [
        ("instruction", "input", "output"), ("instruction", "context", "response"), ("instruction", "input", "response"), ("instruction", "context", "output"),
        ("question", "context", "answer"), ("prompt", null, "completion"), ("prompt", null, "response"),
    ];

    /// <summary>Whether a conversation of two people is taken from both sides; otherwise only the second to speak is the model.</summary>
    public bool TakesBothSpeakers { get; init; } = true;

    /// <summary>Whether all replies of a tree are taken, each assistant message learnt in one dialogue and context in the others; otherwise at
    /// every message the best ranked reply, or the first where there are no ranks.</summary>
    public bool TakesAllReplies { get; init; }

    private static string Wanted => Say(
        "Instructions are lines such as {\"instruction\": \"…\", \"output\": \"…\"}. Plain text is learnt by `fude corpus tokenize` and then `fude train`.",
        "指示と応答は {\"instruction\": \"…\", \"output\": \"…\"} のような行で書きます。プレーンテキストは `fude corpus tokenize` と `fude train` で学習できます。");

    /// <summary>Whether a record has the keys of one kind.</summary>
    internal static bool Knows(JsonElement record) =>
        Array.Exists(Lists, key => record.TryGetProperty(key, out _))
        || Array.Exists(Pairs, pair => record.TryGetProperty(pair.Question, out _) && record.TryGetProperty(pair.Answer, out _));

    /// <summary>The dialogues of a file, in its order.</summary>
    /// <param name="file">The file.</param>
    /// <param name="tally">Hears of every record that is left out.</param>
    /// <exception cref="FileNotFoundException">It is not there.</exception>
    /// <exception cref="InvalidDataException">It is damaged, or more records are bad than may be.</exception>
    public IEnumerable<Dialogue> Read(string file, DataTally tally)
    {
        ArgumentNullException.ThrowIfNull(tally);
        Dictionary<string, Node> flat = new(StringComparer.Ordinal);
        List<(Node Node, string? Parent)> inOrder = [];
        foreach ((JsonElement record, long line) in JsonRecords.Read(file, tally, Wanted))
        {
            if (record.TryGetProperty("message_id", out JsonElement id) && id.ValueKind == JsonValueKind.String && !record.TryGetProperty("replies", out _))
            {
                Node node = Node.Of(record, line);
                if (!flat.TryAdd(id.GetString()!, node)) tally.AddBad(file, line, Say("a message of this message_id was there before", "同じ message_id のメッセージが前にあります"));
                else inOrder.Add((node, Text(record, "parent_id")));
                continue;
            }
            ulong fingerprint = Dialogue.FingerprintOf(record.GetRawText());
            foreach (Dialogue dialogue in OfRecord(record, file, line, tally)) yield return dialogue with { Fingerprint = fingerprint };
        }
        List<Node> roots = [];
        foreach ((Node node, string? parent) in inOrder)
        {
            if (parent is null) roots.Add(node);
            else if (flat.TryGetValue(parent, out Node? above)) above.Replies.Add(node);
            else tally.AddBad(file, node.Line, Say("its parent_id names no message of the file", "parent_id のメッセージがファイルにありません"));
        }
        HashSet<Node> reached = [.. roots];
        Stack<Node> open = new(roots);
        while (open.TryPop(out Node? node))
            foreach (Node reply in node.Replies)
                if (reached.Add(reply)) open.Push(reply);
        foreach ((Node node, string? parent) in inOrder)
            if (parent is not null && flat.ContainsKey(parent) && !reached.Contains(node)) tally.AddBad(file, node.Line, Say("no first message leads to it", "最初のメッセージからたどれません"));
        foreach (Node root in roots)
            foreach (Dialogue dialogue in OfTree(root, file, tally)) yield return dialogue with { Fingerprint = Dialogue.FingerprintOf(root.Text) };
    }

    private List<Dialogue> OfRecord(JsonElement record, string file, long line, DataTally tally)
    {
        bool isPreference = record.TryGetProperty("chosen", out _) && record.TryGetProperty("rejected", out _);
        if (record.TryGetProperty("prompt", out JsonElement prompt) && prompt.ValueKind == JsonValueKind.Object && !isPreference)
            return OfTree(Node.OfTree(prompt, line), file, tally);
        foreach (string key in Lists)
            if (record.TryGetProperty(key, out JsonElement list) && list.ValueKind == JsonValueKind.Array)
            {
                List<Dialogue> talk = OfMessages([(list, key, true)], Text(record, "system"), file, line, tally);
                if (talk.Count > 0 && Array.Find(Pairs, pair => !string.IsNullOrWhiteSpace(Text(record, pair.Question)) && !string.IsNullOrWhiteSpace(Text(record, pair.Answer))) is { Question: not null } other)
                    tally.AddNote(file, line, Say(
                        $"it has \"{key}\" and \"{other.Question}\" with \"{other.Answer}\": only \"{key}\" is taken",
                        $"\"{key}\" と、\"{other.Question}\" と \"{other.Answer}\" の組の両方があるため、\"{key}\" だけを使用"));
                return talk;
            }
        if (prompt.ValueKind == JsonValueKind.Array && record.TryGetProperty("completion", out JsonElement completion) && completion.ValueKind == JsonValueKind.Array)
            return OfMessages([(prompt, "prompt", false), (completion, "completion", true)], Text(record, "system"), file, line, tally);
        if (Array.Find(Pairs, pair => record.TryGetProperty(pair.Question, out _) && record.TryGetProperty(pair.Answer, out _)) is { Question: not null } found)
        {
            // Of those that have the same question and answer the one whose input is there.
            (string question, string? input, string answer) = Array.Find(
                Pairs, pair => pair.Question == found.Question && pair.Answer == found.Answer && pair.Input is { } key && !string.IsNullOrWhiteSpace(Text(record, key)))
                is { Question: not null } whole ? whole : found;
            return OfPair(record, question, input, answer, file, line, tally);
        }
        if (!isPreference && Array.Find(Lists, key => record.TryGetProperty(key, out _)) is { } wrong)
        {
            string kind = KindOf(record.GetProperty(wrong).ValueKind);
            tally.AddBad(file, line, Say($"\"{wrong}\" is no list of messages but {kind}", $"\"{wrong}\" がメッセージのリストではなく{kind}です"));
            return [];
        }
        string keys = string.Join(", ", record.EnumerateObject().Take(12).Select(property => property.Name));
        tally.AddBad(file, line, isPreference
            ? Say("it is a preference (chosen and rejected): use fude dpo", "選好データ（chosen と rejected）です。fude dpo を使ってください")
            : Say(
                $"its keys ({keys}) are of no kind of record that fude knows: instruction/input/output, instruction/context/response, question/answer, prompt/completion, " +
                "messages, conversations, utterances, or a tree of Open Assistant",
                $"キー（{keys}）から種類が分かりません。読めるのは instruction/input/output、instruction/context/response、question/answer、prompt/completion、" +
                "messages、conversations、utterances、Open Assistant の木です"));
        return [];
    }

    private static List<Dialogue> OfPair(JsonElement record, string questionKey, string? inputKey, string answerKey, string file, long line, DataTally tally)
    {
        foreach (string? key in (ReadOnlySpan<string?>)[questionKey, inputKey, answerKey, "system"])
            if (key is not null && record.TryGetProperty(key, out JsonElement value) && value.ValueKind is not (JsonValueKind.String or JsonValueKind.Null))
                return Bad(Say($"\"{key}\" is no text but {KindOf(value.ValueKind)}", $"\"{key}\" が文字列ではなく{KindOf(value.ValueKind)}です"));
        string question = Text(record, questionKey) ?? "", input = (inputKey is null ? null : Text(record, inputKey)) ?? "", answer = Text(record, answerKey) ?? "";
        if (string.IsNullOrWhiteSpace(answer)) return Bad(Say($"\"{answerKey}\" is empty", $"\"{answerKey}\" が空です"));
        if (string.IsNullOrWhiteSpace(question)) (question, input) = (input, "");
        if (string.IsNullOrWhiteSpace(question)) return Bad(Say($"\"{questionKey}\" is empty", $"\"{questionKey}\" が空です"));
        List<DialogueTurn> turns = [];
        if (record.TryGetProperty("history", out JsonElement history) && history.ValueKind != JsonValueKind.Null && HistoryOf(history, out turns) is { } wrong) return Bad(wrong);
        turns.Add(new DialogueTurn(question, answer));
        return [new Dialogue(turns, Text(record, "system"), string.IsNullOrWhiteSpace(input) ? null : input, file, line)];

        List<Dialogue> Bad(string reason)
        {
            tally.AddBad(file, line, reason);
            return [];
        }
    }

    /// <summary>The turns of "history": [[question, answer], …].</summary>
    /// <returns>What is wrong with it; or null.</returns>
    internal static string? HistoryOf(JsonElement history, out List<DialogueTurn> turns)
    {
        turns = [];
        if (history.ValueKind == JsonValueKind.String && string.IsNullOrWhiteSpace(history.GetString())) return null;
        string wrong = Say("\"history\" is no list of pairs of texts", "\"history\" が文字列の組のリストではありません");
        if (history.ValueKind != JsonValueKind.Array) return wrong;
        foreach (JsonElement pair in history.EnumerateArray())
        {
            if (pair.ValueKind != JsonValueKind.Array || pair.GetArrayLength() != 2 || pair.EnumerateArray().Any(part => part.ValueKind != JsonValueKind.String)) return wrong;
            if (string.IsNullOrWhiteSpace(pair[1].GetString())) return Say("an answer in \"history\" is empty", "\"history\" に空の応答があります");
            turns.Add(new DialogueTurn(pair[0].GetString()!, pair[1].GetString()!));
        }
        return null;
    }

    // A conversation in one list or several, of which some may be there for what follows alone.
    private List<Dialogue> OfMessages(
        IReadOnlyList<(JsonElement List, string Key, bool IsTrained)> lists, string? system, string file, long line, DataTally tally)
    {
        List<(string Speaker, string Text, bool IsTrained)> messages = [];
        string key = string.Join("\" + \"", lists.Select(list => list.Key));
        foreach ((JsonElement message, bool isAnswer) in lists.SelectMany(list => list.List.EnumerateArray().Select(message => (message, list.IsTrained))))
        {
            if (message.ValueKind != JsonValueKind.Object) return Bad(Say($"\"{key}\" holds something that is no message", $"\"{key}\" にメッセージでないものがあります"));
            // Ids of people are no roles, also where one is called AI.
            string? person = Text(message, "interlocutor_id") ?? Text(message, "speaker");
            string? speaker = Text(message, "role") ?? Text(message, "from") ?? Text(message, "name") ?? (person is null ? null : $"{PersonPrefix}{person}");
            string? text = Content(message, "content") ?? Content(message, "value") ?? Content(message, "text");
            if (speaker is null) return Bad(Say(
                $"a message of \"{key}\" does not say who speaks (role, from, name, interlocutor_id, speaker)", $"\"{key}\" に話者（role、from、name、interlocutor_id、speaker）のないメッセージがあります"));
            if (text is null) return Bad(Say($"a message of \"{key}\" has no text (content, value, text)", $"\"{key}\" に本文（content、value、text）のないメッセージがあります"));
            bool isTrained = isAnswer;
            // Of what is never learnt a weight says nothing.
            if (isAnswer && RoleOf(speaker) is not (Role.User or Role.System) && message.TryGetProperty("weight", out JsonElement weight))
                switch (weight.ValueKind)
                {
                    case JsonValueKind.Null or JsonValueKind.True:
                    case JsonValueKind.Number when weight.TryGetDouble(out double one) && one == 1:
                        break;
                    case JsonValueKind.False:
                    case JsonValueKind.Number when weight.TryGetDouble(out double none) && none == 0:
                        isTrained = false;
                        break;
                    default:
                        return Bad(Say(
                            $"the \"weight\" of a message of \"{key}\" is neither 0 (not learnt) nor 1",
                            $"\"{key}\" のメッセージの \"weight\" が 0（学習しない）でも 1 でもありません"), weight.GetRawText());
                }
            messages.Add((speaker, text, isTrained));
        }
        if (messages.Count == 0) return Bad(Say($"\"{key}\" is empty", $"\"{key}\" が空です"));
        string[] strangers = [.. messages.Select(message => message.Speaker).Where(speaker => RoleOf(speaker) is null).Distinct()];
        if (strangers.Length == 0) return Made(messages.ConvertAll(message => (RoleOf(message.Speaker)!.Value, message.Text, message.IsTrained)));

        // Two people talk: whoever is the model, the other is the user.
        string[] people = [.. messages.Select(message => message.Speaker).Distinct()];
        if (people.Length != 2 || strangers.Length != 2)
            return people.Length > 2 && strangers.Length == people.Length
                ? Bad(
                    Say($"{people.Length} people speak in \"{key}\": two are expected, or the roles user, assistant and system",
                        $"\"{key}\" で {people.Length} 人が話しています。二人の会話か、user、assistant、system の役割が必要です"),
                    string.Join(Say(", ", "、"), people.Select(one => $"'{one.TrimStart(PersonPrefix)}'")))
                : Bad(people.Length == 1
                ? Say($"only '{people[0].TrimStart(PersonPrefix)}' speaks in \"{key}\"", $"\"{key}\" で話しているのは '{people[0].TrimStart(PersonPrefix)}' だけです")
                : Say($"'{strangers[0].TrimStart(PersonPrefix)}' in \"{key}\" is no role that fude knows: user, assistant and system, their usual other names, or two people",
                    $"\"{key}\" の '{strangers[0].TrimStart(PersonPrefix)}' は役割として読めません。user、assistant、system とその別名、または二人の話者が必要です"));
        List<Dialogue> dialogues = [];
        foreach (string model in TakesBothSpeakers ? people.Reverse() : [people[1]])
            dialogues.AddRange(Made(messages.ConvertAll(message => (message.Speaker == model ? Role.Assistant : Role.User, message.Text, message.IsTrained)), ofPeople: true));
        return dialogues;

        List<Dialogue> Made(List<(Role, string, bool)> spoken, bool ofPeople = false) =>
            Of(spoken, system, file, line, tally, ofPeople) is { } dialogue ? [dialogue] : [];

        List<Dialogue> Bad(string reason, string? detail = null)
        {
            tally.AddBad(file, line, reason, detail?.Length > LongestDetail ? $"{detail[..LongestDetail]}…" : detail);
            return [];
        }
    }

    internal static Dialogue? Of(List<(Role Role, string Text, bool IsTrained)> messages, string? system, string file, long line, DataTally tally, bool ofPeople = false)
    {
        List<DialogueTurn> turns = [];
        string? question = null;
        (string Text, bool IsTrained)? answer = null;
        foreach ((Role role, string text, bool isTrained) in messages)
        {
            switch (role)
            {
                case Role.System when turns.Count > 0 || question is not null || answer is not null:
                    tally.AddBad(file, line, Say("a system message stands amid the conversation", "会話の途中に system のメッセージがあります"));
                    return null;
                case Role.System:
                    system = system is null ? text : $"{system}\n{text}";
                    break;
                case Role.User when answer is null:
                    question = question is null ? text : $"{question}\n{text}";
                    break;
                case Role.User:
                    turns.Add(new DialogueTurn(question!, answer.Value.Text, answer.Value.IsTrained));
                    (question, answer) = (text, null);
                    break;
                case Role.Assistant when question is null:
                    // Of two people one begins: from the other side that is nothing to tell of.
                    if (!ofPeople) tally.AddNote(file, line, Say("an answer before the first question is left out", "最初の質問より前の応答は除きます"));
                    break;
                default:
                    answer = answer is null ? (text, isTrained) : ($"{answer.Value.Text}\n{text}", answer.Value.IsTrained && isTrained);
                    break;
            }
        }
        if (answer is not null) turns.Add(new DialogueTurn(question!, answer.Value.Text, answer.Value.IsTrained));
        else if (question is not null && turns.Count > 0 && !ofPeople) tally.AddNote(file, line, Say("a question after the last answer is left out", "最後の応答より後の質問は除きます"));
        string? problem = turns.Count == 0 ? Say("there is no question with an answer in it", "質問と応答の組がありません")
            : turns.Exists(turn => string.IsNullOrWhiteSpace(turn.Answer)) ? Say("an answer is empty", "空の応答があります")
            : turns.Exists(turn => string.IsNullOrWhiteSpace(turn.Question)) ? Say("a question is empty", "空の質問があります")
            : !turns.Exists(turn => turn.IsTrained) ? Say("all its answers have weight 0", "応答の weight がすべて 0 です")
            : null;
        if (problem is null) return new Dialogue(turns, string.IsNullOrWhiteSpace(system) ? null : system, null, file, line);
        tally.AddBad(file, line, problem);
        return null;
    }

    private List<Dialogue> OfTree(Node root, string file, DataTally tally)
    {
        List<Dialogue> dialogues = [];
        HashSet<Node> learnt = [];
        Stack<(Node Node, List<Node> Path)> open = new();
        open.Push((root, []));
        while (open.TryPop(out (Node Node, List<Node> Path) at))
        {
            (Node node, List<Node> before) = at;
            if (before.Count > DeepestTree || before.Contains(node))
            {
                tally.AddBad(file, root.Line, Say($"a path of the tree is longer than {DeepestTree} messages", $"木の枝が {DeepestTree} メッセージより長くなっています"));
                return [];
            }
            List<Node> path = [.. before, node];
            List<Node> replies = [.. node.Replies.Where(reply => !reply.IsDeleted).OrderBy(reply => reply.Rank)];      // stable: the first of equals
            if (!TakesAllReplies && replies.Count > 1) replies = [replies[0]];
            foreach (Node reply in Enumerable.Reverse(replies)) open.Push((reply, path));
            if (replies.Count > 0) continue;
            List<(Role, string, bool)> messages = [];
            foreach (Node message in path)
            {
                if ((message.Problem ?? (RoleOf(message.Speaker) is null ? Say($"'{message.Speaker}' is no role", $"'{message.Speaker}' という役割はありません") : null)) is { } problem)
                {
                    tally.AddBad(file, root.Line, problem);
                    return dialogues;
                }
                messages.Add((RoleOf(message.Speaker)!.Value, message.Text, RoleOf(message.Speaker) != Role.Assistant || learnt.Add(message)));
            }
            // A path that ends in a question may have nothing that other paths do not teach.
            if (TakesAllReplies && !messages.Exists(message => message is { Item1: Role.Assistant, Item3: true }) && dialogues.Count > 0) continue;
            if (Of(messages, null, file, root.Line, tally) is { } dialogue) dialogues.Add(dialogue);
        }
        return dialogues;
    }

    internal enum Role
    {
        User,
        Assistant,
        System,
    }

    internal static Role? RoleOf(string name) => name.ToLowerInvariant() switch
    {
        "user" or "human" or "prompter" => Role.User,
        "assistant" or "gpt" or "agent" or "bot" or "model" or "chatgpt" => Role.Assistant,
        "system" => Role.System,
        _ => null,
    };

    internal static string? Text(JsonElement json, string key) =>
        json.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    // A text, or a list of parts that are all text, as OpenAI's API has it too.
    internal static string? Content(JsonElement message, string key)
    {
        if (!message.TryGetProperty(key, out JsonElement value)) return null;
        if (value.ValueKind != JsonValueKind.Array) return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        List<string> parts = [];
        foreach (JsonElement part in value.EnumerateArray())
        {
            if (part.ValueKind != JsonValueKind.Object || Text(part, "type") != "text" || Text(part, "text") is not { } text) return null;
            parts.Add(text);
        }
        return string.Concat(parts);
    }

    /// <summary>A message of a tree.</summary>
    private sealed class Node
    {
        public required string Speaker { get; init; }

        public required string Text { get; init; }

        public required double Rank { get; init; }

        public required bool IsDeleted { get; init; }

        public required long Line { get; init; }

        public string? Problem { get; init; }

        public List<Node> Replies { get; } = [];

        // Translations of the set keep the original beside them.
        public static Node Of(JsonElement json, long line)
        {
            string? speaker = DialogueReader.Text(json, "role"), text = DialogueReader.Text(json, "text_ja") ?? DialogueReader.Text(json, "text");
            return new Node
            {
                Speaker = speaker ?? "",
                Text = text ?? "",
                Rank = json.TryGetProperty("rank", out JsonElement rank) && rank.ValueKind == JsonValueKind.Number && rank.TryGetDouble(out double place)
                    ? place : double.PositiveInfinity,
                IsDeleted = json.TryGetProperty("deleted", out JsonElement deleted) && deleted.ValueKind == JsonValueKind.True,
                Line = line,
                Problem = speaker is null ? Say("a message of the tree has no \"role\"", "木に \"role\" のないメッセージがあります")
                    : text is null ? Say("a message of the tree has no \"text\"", "木に \"text\" のないメッセージがあります") : null,
            };
        }

        // A loop, not a recursion: how deep a tree is, its file decides (JSON's own limit is 64).
        public static Node OfTree(JsonElement json, long line)
        {
            Node root = Of(json, line);
            Stack<(JsonElement Json, Node Node)> open = new([(json, root)]);
            while (open.TryPop(out (JsonElement Json, Node Node) at))
            {
                if (!at.Json.TryGetProperty("replies", out JsonElement replies) || replies.ValueKind != JsonValueKind.Array) continue;
                foreach (JsonElement reply in replies.EnumerateArray())
                {
                    Node node = reply.ValueKind == JsonValueKind.Object ? Of(reply, line) : new Node
                    {
                        Speaker = "",
                        Text = "",
                        Rank = double.PositiveInfinity,
                        IsDeleted = false,
                        Line = line,
                        Problem = Say($"a reply of the tree is no message but {KindOf(reply.ValueKind)}", $"木の返信がメッセージではなく{KindOf(reply.ValueKind)}です"),
                    };
                    at.Node.Replies.Add(node);
                    if (reply.ValueKind == JsonValueKind.Object) open.Push((reply, node));
                }
            }
            return root;
        }
    }
}
