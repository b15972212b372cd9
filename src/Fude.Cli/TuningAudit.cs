using System.Globalization;
using System.Text;
using Fude.Models;
using Fude.Tokenizers;
using Fude.Training;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>fude tune --audit: shows which tokens of the examples are learnt, and what becomes of the data.</summary>
internal static class TuningAudit
{
    private const string Reset = "\e[0m";

    // Neighbouring tokens have different shades, so that their borders are seen.
    private static readonly string[] Learnt = ["\e[30;42m", "\e[30;102m"], Given = ["\e[90m", "\e[37m"];

    public static int Run(Terminal terminal, TuningSettings settings, int count, bool json, CancellationToken stop)
    {
        // All of the data first: what is wrong with them is said before anything is shown.
        TuningData data;
        using (ProgressLine reading = new(terminal))
            data = new TuningData(settings, new TuneCommand.Counter(done => reading.Draw(Say($"reading: {Count(done, "example")}", $"読み込み中: {done:N0} 例"))), stop);
        bool colours = terminal.OutputIsScreen && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
        if (!json)
            terminal.Output.WriteLine(colours
                ? Say($"prompt format {data.Encoder.Format}; {Learnt[0]}learnt{Reset} {Given[0]}given{Reset}", $"プロンプト書式 {data.Encoder.Format}。{Learnt[0]}学習する{Reset} {Given[0]}与えるだけ{Reset}")
                : Say($"prompt format {data.Encoder.Format}; | between tokens, ⟦ ⟧ around those that are learnt", $"プロンプト書式 {data.Encoder.Format}。| はトークンの境目、⟦ ⟧ の中を学習する"));
        foreach (DataSource source in settings.Data)
        {
            int shown = 0;
            foreach (Dialogue dialogue in settings.Reader.Read(source.File, new DataTally(long.MaxValue)))
            {
                if (shown++ == count) break;
                stop.ThrowIfCancellationRequested();
                // Of what is left out there is nothing to show: it is told below.
                foreach (MaskedText masked in data.Encoder.Masked(dialogue, new DataTally(long.MaxValue)))
                    if (json) WriteJson(terminal.Output, dialogue, masked, dialogue.IsHeldOut(settings.HeldOutShare));
                    else Write(terminal.Output, data.Folder.Tokenizer, dialogue, masked, colours, dialogue.IsHeldOut(settings.HeldOutShare));
            }
        }
        if (json)
        {
            TuneCommand.ReportLeftOut(terminal.Error, data);
            return 0;
        }
        terminal.Output.WriteLine();
        foreach (SourceSummary source in data.Sources)
            terminal.Output.WriteLine(Say(
                $"{source.File}: {Count(source.Examples, "example")}, {source.Trained:N0} of {Count(source.Tokens, "token")} learnt; the longest has {source.Longest:N0}",
                $"{source.File}: {source.Examples:N0} 例、{source.Tokens:N0} トークンのうち {source.Trained:N0} を学習、最長 {source.Longest:N0}"));
        TuneCommand.ReportLeftOut(terminal.Output, data);
        return 0;
    }

    private static void Write(TextWriter output, Tokenizer tokenizer, Dialogue dialogue, MaskedText masked, bool colours, bool isHeldOut)
    {
        output.WriteLine();
        string place = string.Create(CultureInfo.InvariantCulture, $"{dialogue.File}:{dialogue.Line}");
        int learnt = masked.IsTrained.Count(trained => trained);
        output.WriteLine(Failure.OneLine(Say($"── {place}: {Count(masked.Ids.Count, "token")}, {(isHeldOut ? "held out: none" : learnt)} learnt", $"── {place}: {masked.Ids.Count} トークン、{(isHeldOut ? "検証用（学習しない）" : $"うち学習 {learnt}")}")));
        StringBuilder line = new();
        for (int i = 0; i < masked.Ids.Count; i++)
        {
            string text = Shown(tokenizer, masked, i);
            bool trained = masked.IsTrained[i];
            if (colours)
            {
                // The colour ends before a line break, or it would fill the line.
                foreach ((int part, string piece) in text.Split('\n').Index())
                    line.Append(part > 0 ? "\n" : "").Append(piece.Length > 0 ? $"{(trained ? Learnt : Given)[i % 2]}{piece}{Reset}" : "");
                continue;
            }
            if (trained && (i == 0 || !masked.IsTrained[i - 1])) line.Append('⟦');
            line.Append(text);
            if (trained && (i + 1 == masked.Ids.Count || !masked.IsTrained[i + 1])) line.Append('⟧');
            else if (i + 1 < masked.Ids.Count && (trained || !masked.IsTrained[i + 1])) line.Append('|');
        }
        output.WriteLine(line.ToString());
    }

    /// <summary>The text of a token, or its piece where it stands for no text: line breaks are seen and broken.</summary>
    private static string Shown(Tokenizer tokenizer, MaskedText masked, int index)
    {
        (int start, int end) = masked.Offsets[index];
        string text = start == end ? tokenizer.TokenOf(masked.Ids[index])
            : index > 0 && masked.Offsets[index - 1] == (start, end) ? "·"         // a further byte of one character
            : masked.Prompt.Text[start..end];
        StringBuilder shown = new(text.Length);
        foreach (char c in text)
            if (c == '\n') shown.Append("␊\n");
            else shown.Append(char.IsControl(c) ? '␦' : c);
        return shown.ToString();
    }

    private static void WriteJson(TextWriter output, Dialogue dialogue, MaskedText masked, bool isHeldOut) => JsonLine.Write(output, json =>
    {
        json.WriteStartObject();
        json.WriteString("file", dialogue.File);
        json.WriteNumber("line", dialogue.Line);
        if (isHeldOut) json.WriteBoolean("held_out", true);
        json.WriteString("text", masked.Prompt.Text);
        json.WriteIds("ids", masked.Ids);
        json.WriteIds("labels", masked.Ids.Select((id, i) => masked.IsTrained[i] ? id : LabelledText.Ignored));
        json.WriteStartArray("answers");
        foreach ((int start, int end) in masked.Prompt.Answers)
        {
            json.WriteStartArray();
            json.WriteNumberValue(start);
            json.WriteNumberValue(end);
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    });
}
