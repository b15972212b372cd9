using System.Buffers;
using Fude.Models;
using Fude.Tokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>What is done with a conversation that has more tokens than fit.</summary>
public enum TooLong
{
    /// <summary>It is an error that names its file and line.</summary>
    Error,

    /// <summary>It is left out.</summary>
    Skip,

    /// <summary>Its end is cut off.</summary>
    Cut,

    /// <summary>It is divided between turns into several conversations; a turn too long by itself is left out.</summary>
    Split,
}

/// <summary>A conversation's text and tokens, for people to see which of them are learnt.</summary>
/// <param name="Prompt">The text and its answers.</param>
/// <param name="Ids">The tokens.</param>
/// <param name="Offsets">The range of the text, in UTF-16 units, that each stands for; empty for one put around it.</param>
/// <param name="IsTrained">Whether each is learnt.</param>
/// <param name="Straddling">Tokens that are part of an answer and part of what stands around it.</param>
public sealed record MaskedText(
    AnsweredPrompt Prompt, IReadOnlyList<int> Ids, IReadOnlyList<(int Start, int End)> Offsets, IReadOnlyList<bool> IsTrained, int Straddling);

/// <summary>Conversations → tokens and which of them are learnt.</summary>
/// <remarks>
/// The format writes the conversation and says which of its characters are answers, the end of the sequence included; the tokenizer says
/// which characters each token stands for. A token is learnt when it stands for a character of an answer: also one that straddles the
/// border, whose other part is prompt (otherwise nothing would teach the beginning of that answer); <see cref="MaskedText.Straddling"/>
/// counts these, as generation, which ends the prompt at the border, meets other tokens there. A token that stands for no character, such as
/// the ▁ that some tokenizers put behind a control token, is learnt where an answer begins: the prompt of generation ends before it. A text
/// that does not end with the token that ends generation gets it, and learns it.
/// </remarks>
/// <param name="format">Writes the conversations.</param>
/// <param name="tokenizer">The model's.</param>
/// <param name="end">The token that ends generation; null where there is none.</param>
/// <param name="context">Tokens that fit.</param>
public sealed class ExampleEncoder(PromptFormat format, Tokenizer tokenizer, int? end, int context)
{
    // The control tokens of the vocabulary, all searched for at once: hardly a text has one.
    private readonly SearchValues<string> _controlTokens = SearchValues.Create(
        [.. tokenizer.Pieces.Where(piece => piece.Text.Length > 0 && tokenizer.IsSpecial(piece.Id)).Select(piece => piece.Text)], StringComparison.Ordinal);

    /// <summary>What is done with a conversation that is too long.</summary>
    public TooLong TooLong { get; init; }

    /// <summary>Whether only the last answer of each conversation is learnt.</summary>
    public bool LastAnswerOnly { get; init; }

    /// <summary><see cref="MaskedText.Straddling"/> of all examples so far.</summary>
    public long Straddling { get; private set; }

    /// <summary>The format.</summary>
    public PromptFormat Format => format;

    /// <summary>Tokens and mask of a conversation, however long.</summary>
    /// <exception cref="NotSupportedException">The format has no place for it.</exception>
    public MaskedText Mask(Dialogue dialogue)
    {
        ArgumentNullException.ThrowIfNull(dialogue);
        IReadOnlyList<DialogueTurn> turns = dialogue.Turns;
        AnsweredPrompt prompt = format.WriteAnswered([.. turns.Select(turn => new Exchange(turn.Question, turn.Answer))], dialogue.Input, dialogue.System);
        EncodedText encoded = tokenizer.EncodeWithOffsets(prompt.Text, prompt.AddSpecialTokens, trims: false);
        List<int> ids = [.. encoded.Ids];
        List<(int Start, int End)> offsets = [.. encoded.Offsets];
        bool[] trained = new bool[ids.Count + 1];
        bool endIsTrained = turns[^1].IsTrained;
        int straddling = 0, answer = 0;
        for (int i = 0; i < ids.Count; i++)
        {
            (int start, int stop) = offsets[i];
            // Ranges never go backwards, neither of tokens nor of answers.
            while (answer < prompt.Answers.Count && prompt.Answers[answer].End <= start) answer++;
            if (answer == prompt.Answers.Count || (stop > start ? stop <= prompt.Answers[answer].Start : i == 0 || start < prompt.Answers[answer].Start)) continue;
            if (!turns[answer].IsTrained || (LastAnswerOnly && answer + 1 < turns.Count)) continue;
            trained[i] = true;
            // Of a character of several tokens each has the range of the whole, which is on one side.
            if (start < prompt.Answers[answer].Start || stop > prompt.Answers[answer].End) straddling++;
        }
        if (ids.Count > 0 && ids[^1] == end) trained[ids.Count - 1] = endIsTrained;
        else if (end is { } last)
        {
            trained[ids.Count] = endIsTrained;
            ids.Add(last);
            offsets.Add((prompt.Text.Length, prompt.Text.Length));
        }
        return new MaskedText(prompt, ids, offsets, trained[..ids.Count], straddling);
    }

    /// <summary>The examples that a conversation gives: one, or several or none when it is too long.</summary>
    /// <param name="dialogue">The conversation.</param>
    /// <param name="tally">Hears what is left out, cut or divided, and of control tokens in the texts, which are taken as such.</param>
    /// <exception cref="InvalidDataException">It is too long, or the format has no place for it, and no more of that is allowed.</exception>
    public IEnumerable<TrainingExample> Encode(Dialogue dialogue, DataTally tally)
    {
        ArgumentNullException.ThrowIfNull(dialogue);
        ArgumentNullException.ThrowIfNull(tally);
        List<TrainingExample> examples = [];
        foreach (MaskedText text in Masked(dialogue, tally))
        {
            Straddling += text.Straddling;
            examples.Add(new TrainingExample([.. text.Ids], [.. text.IsTrained], dialogue.File, dialogue.Line));
        }
        if (examples.Count > 0) NoteControlTokens([dialogue], tally);
        return examples;
    }

    /// <summary>Text, tokens and mask of each example that a conversation gives; of one that is cut all of the text.</summary>
    /// <inheritdoc cref="Encode(Dialogue, DataTally)"/>
    public IReadOnlyList<MaskedText> Masked(Dialogue dialogue, DataTally tally)
    {
        ArgumentNullException.ThrowIfNull(dialogue);
        ArgumentNullException.ThrowIfNull(tally);
        MaskedText whole;
        try
        {
            whole = Mask(dialogue);
        }
        catch (Exception e) when (e is NotSupportedException or ArgumentException)
        {
            // A template may refuse a conversation too.
            tally.AddBad(dialogue.File, dialogue.Line, e.Message.TrimEnd('.', '。'));
            return [];
        }
        if (whole.Ids.Count <= context) return IsOfUse(whole, dialogue, tally) ? [whole] : [];
        switch (TooLong)
        {
            case TooLong.Skip:
                tally.AddNote(dialogue.File, dialogue.Line, Say($"longer than {context} tokens: left out", $"{context} トークンより長いため除外"));
                return [];
            case TooLong.Cut:
                MaskedText cut = whole with
                {
                    Ids = [.. whole.Ids.Take(context)],
                    Offsets = [.. whole.Offsets.Take(context)],
                    IsTrained = [.. whole.IsTrained.Take(context)],
                };
                if (!IsOfUse(cut, dialogue, tally, isCut: true)) return [];
                tally.AddNote(dialogue.File, dialogue.Line, Say($"longer than {context} tokens: its end is cut off", $"{context} トークンより長いため末尾を切断"));
                return [cut];
            case TooLong.Split:
                return Parts(dialogue, tally);
            default:
                throw new InvalidDataException(Say(
                    $"{dialogue.File}:{dialogue.Line}: its {whole.Ids.Count} tokens do not fit into {context}. Leave such examples out (--too-long skip), cut their end off (cut), or divide them between turns (split).",
                    $"{dialogue.File}:{dialogue.Line}: {whole.Ids.Count} トークンあり、{context} に収まりません。除く（--too-long skip）、末尾を切る（cut）、発言の間で分ける（split）のいずれかにしてください。"));
        }
    }

    /// <summary>The pair of a preference; null when it is left out, for there is no such thing as a cut one.</summary>
    /// <param name="preference">The preference.</param>
    /// <param name="tally">Hears what is left out, and of control tokens in the texts.</param>
    /// <remarks>The prompt is what both texts begin with, at most up to the answers. Where a token straddles the border, it belongs to the answers.</remarks>
    /// <exception cref="InvalidDataException">It is too long, or the format has no place for it, and no more of that is allowed.</exception>
    public PreferencePair? Encode(PreferenceDialogue preference, DataTally tally)
    {
        ArgumentNullException.ThrowIfNull(preference);
        ArgumentNullException.ThrowIfNull(tally);
        (string file, long line) = (preference.Chosen.File, preference.Chosen.Line);
        MaskedText chosen, rejected;
        try
        {
            (chosen, rejected) = (Mask(preference.Chosen), Mask(preference.Rejected));
        }
        catch (Exception e) when (e is NotSupportedException or ArgumentException)
        {
            tally.AddBad(file, line, e.Message.TrimEnd('.', '。'));
            return null;
        }
        int longest = Math.Max(chosen.Ids.Count, rejected.Ids.Count);
        if (longest > context)
        {
            if (TooLong != TooLong.Skip)
                throw new InvalidDataException(Say(
                    $"{file}:{line}: its {longest} tokens do not fit into {context}. Leave such pairs out (--too-long skip).",
                    $"{file}:{line}: {longest} トークンあり、{context} に収まりません。除くには --too-long skip を指定してください。"));
            tally.AddNote(file, line, Say($"longer than {context} tokens: left out", $"{context} トークンより長いため除外"));
            return null;
        }
        int border = Math.Min(FirstTrained(chosen), FirstTrained(rejected)), shared = 0;
        while (shared < border && chosen.Ids[shared] == rejected.Ids[shared]) shared++;
        if (shared == 0 || shared == chosen.Ids.Count || shared == rejected.Ids.Count)
        {
            tally.AddBad(file, line, Say("its answers have no token, or nothing stands before them", "応答にトークンがないか、その前に何もありません"));
            return null;
        }
        Straddling += chosen.Straddling + rejected.Straddling;
        NoteControlTokens([preference.Chosen, preference.Rejected], tally);
        return new PreferencePair([.. chosen.Ids.Take(shared)], [.. chosen.Ids.Skip(shared)], [.. rejected.Ids.Skip(shared)]);

        static int FirstTrained(MaskedText text)
        {
            for (int i = 0; i < text.Ids.Count; i++)
                if (text.IsTrained[i]) return i;
            return text.Ids.Count;
        }
    }

    // What the format writes around the texts is meant; what stands in them may have come from anywhere.
    private void NoteControlTokens(IReadOnlyList<Dialogue> dialogues, DataTally tally)
    {
        IEnumerable<string> texts = dialogues.SelectMany(dialogue =>
            (string?[])[dialogue.System, dialogue.Input, .. dialogue.Turns.SelectMany(turn => (string[])[turn.Question, turn.Answer])]).OfType<string>();
        SortedSet<string> found = new(StringComparer.Ordinal);
        foreach (string text in texts.Where(text => text.AsSpan().ContainsAny(_controlTokens)).Distinct())
            // Not every tokenizer takes such a string for the token; and an unknown character gives <unk> without standing there so.
            foreach (int id in tokenizer.Encode(text, addSpecialTokens: false))
                if (tokenizer.IsSpecial(id) && text.Contains(tokenizer.TokenOf(id), StringComparison.Ordinal)) found.Add(tokenizer.TokenOf(id));
        foreach (string token in found)
            tally.AddNote(dialogues[0].File, dialogues[0].Line, Say(
                $"its text has {token}, which is taken as the control token, not as text",
                $"本文中の {token} は、文字列ではなく制御トークンとして扱われます"));
    }

    private List<MaskedText> Parts(Dialogue dialogue, DataTally tally)
    {
        List<MaskedText> parts = [];
        IReadOnlyList<DialogueTurn> turns = dialogue.Turns;
        int leftOut = 0;
        for (int first = 0; first < turns.Count;)
        {
            // The most turns that fit, by halving: a turn more is never shorter.
            int fits = 0, tooMany = turns.Count - first + 1;
            MaskedText? best = null;
            while (tooMany - fits > 1)
            {
                int count = fits + ((tooMany - fits) / 2);
                MaskedText masked = Mask(Part(first, count));
                if (masked.Ids.Count > context) tooMany = count;
                else (fits, best) = (count, masked);
            }
            if (best is null) leftOut++;
            else if (Trained(best) > 0) parts.Add(best);
            first += Math.Max(1, fits);
        }
        if (leftOut > 0) tally.AddNote(dialogue.File, dialogue.Line, Say($"a turn alone is longer than {context} tokens: left out", $"1 往復だけで {context} トークンより長いため除外"));
        if (parts.Count > 0) tally.AddNote(dialogue.File, dialogue.Line, Say($"longer than {context} tokens: divided between its turns", $"{context} トークンより長いため発言の間で分割"));
        return parts;

        Dialogue Part(int first, int count)
        {
            IEnumerable<DialogueTurn> part = turns.Skip(first).Take(count);
            bool hasLast = first + count == turns.Count;
            return dialogue with
            {
                // Of a conversation only the last answer of which is learnt, the parts before it are of no use.
                Turns = [.. LastAnswerOnly && !hasLast ? part.Select(turn => turn with { IsTrained = false }) : part],
                Input = hasLast ? dialogue.Input : null,
            };
        }
    }

    // The first token of all is expected after nothing.
    private static int Trained(MaskedText text) => text.IsTrained.Skip(1).Count(trained => trained);

    private bool IsOfUse(MaskedText text, Dialogue dialogue, DataTally tally, bool isCut = false)
    {
        if (Trained(text) > 0) return true;
        if (isCut) tally.AddNote(dialogue.File, dialogue.Line, Say($"its answer begins after {context} tokens: left out", $"応答が {context} トークンより後に始まるため除外"));
        else tally.AddBad(dialogue.File, dialogue.Line, Say("no token of it is learnt", "学習するトークンがありません"));
        return false;
    }
}
