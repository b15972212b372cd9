using System.Text;
using System.Text.Json;
using Fude.Tokenizers.Files;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>One line of metrics.jsonl: what a step did, and when.</summary>
/// <param name="Report">The step.</param>
/// <param name="TokensPerSecond">Tokens of the step over its seconds.</param>
/// <param name="UnixSeconds">When it was done.</param>
/// <param name="More">Further numbers of the step, such as the accuracy of preferences.</param>
internal sealed record MetricsLine(StepReport Report, double TokensPerSecond, double UnixSeconds, IReadOnlyList<KeyValuePair<string, double>> More)
{
    private const string Step = "step", Loss = "loss", HeldOutLoss = "held_out_loss", GradientNorm = "gradient_norm", LearningRate = "learning_rate",
        Tokens = "tokens", Seconds = "seconds", Speed = "tokens_per_second", Time = "time";

    private static readonly string[] Own = [Step, Loss, HeldOutLoss, GradientNorm, LearningRate, Tokens, Seconds, Speed, Time];

    /// <summary>The curves of a step, by their names in TensorBoard.</summary>
    public KeyValuePair<string, double>[] Scalars() =>
    [
        new(Loss, Report.Loss),
        .. Report.HeldOutLoss is { } heldOut ? [new(HeldOutLoss, heldOut)] : (ReadOnlySpan<KeyValuePair<string, double>>)[],
        new(GradientNorm, Report.GradientNorm),
        new(LearningRate, Report.LearningRate),
        new(Speed, TokensPerSecond),
        .. More,
    ];

    /// <summary>Fails on a name that a line has already.</summary>
    public static void CheckName(string name)
    {
        if (string.IsNullOrEmpty(name) || Own.Contains(name))
            throw new ArgumentException($"'{name}' is no name for a further number of a step: {string.Join(", ", Own)} are taken.", nameof(name));
    }

    /// <summary>The line's UTF-8, with its \n.</summary>
    public byte[] ToBytes()
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter json = new(bytes))
        {
            json.WriteStartObject();
            json.WriteNumber(Step, Report.Step);
            Write(json, Loss, Report.Loss);
            if (Report.HeldOutLoss is { } heldOut) Write(json, HeldOutLoss, heldOut);
            Write(json, GradientNorm, Report.GradientNorm);
            Write(json, LearningRate, Report.LearningRate);
            json.WriteNumber(Tokens, Report.Tokens);
            Write(json, Seconds, Report.Seconds);
            Write(json, Speed, TokensPerSecond);
            Write(json, Time, UnixSeconds);
            foreach ((string name, double value) in More) Write(json, name, value);
            json.WriteEndObject();
        }
        bytes.WriteByte((byte)'\n');
        return bytes.ToArray();
    }

    /// <summary>Reads the lines of a file in order, up to a step; and how many bytes they take.</summary>
    /// <param name="file">The file, which need not exist.</param>
    /// <param name="last">Lines of later steps are left out.</param>
    /// <exception cref="InvalidDataException">A line other than an unfinished last one is none of a run, or steps do not ascend.</exception>
    public static (List<MetricsLine> Lines, long Bytes) ReadAll(string file, long last)
    {
        List<MetricsLine> lines = [];
        if (!File.Exists(file)) return (lines, 0);
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        if (stream.Length > int.MaxValue) throw new InvalidDataException(Say(
            $"{file}: has {stream.Length} bytes; no run writes as many.",
            $"{file}: {stream.Length} バイトあります。学習の記録がこれほど大きくなることはありません。"));
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        int start = 0;
        for (int number = 1; start < bytes.Length; number++)
        {
            int length = bytes.AsSpan(start).IndexOf((byte)'\n');
            if (length < 0) break;          // the process was killed while it wrote this
            MetricsLine line = Read(bytes.AsMemory(start, length), file, number);
            if (lines.Count > 0 && line.Report.Step <= lines[^1].Report.Step)
                throw new InvalidDataException(Say(
                    $"{file}:{number}: is of step {line.Report.Step}, after step {lines[^1].Report.Step}. Steps ascend in the log of one run.",
                    $"{file}:{number}: ステップ {lines[^1].Report.Step} の後にステップ {line.Report.Step} があります。1 つの実行の記録ではステップが増えていくはずです。"));
            if (line.Report.Step > last) break;
            lines.Add(line);
            start += length + 1;
        }
        return (lines, start);
    }

    private static MetricsLine Read(ReadOnlyMemory<byte> line, string file, int number)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement json = document.RootElement;
            if (json.ValueKind != JsonValueKind.Object) throw new FormatException(Say($"it is no object but {KindOf(json.ValueKind)}", $"オブジェクトではなく{KindOf(json.ValueKind)}です"));
            StepReport report = new(
                Whole(Of(Step)), Real(Of(Loss)), Real(Of(GradientNorm)), Real(Of(LearningRate)), Whole(Of(Tokens)), Real(Of(Seconds)),
                json.TryGetProperty(HeldOutLoss, out JsonElement heldOut) ? Real(heldOut) : null);
            KeyValuePair<string, double>[] more =
                [.. json.EnumerateObject().Where(one => !Own.Contains(one.Name)).Select(one => KeyValuePair.Create(one.Name, Real(one.Value)))];
            return new MetricsLine(report, Real(Of(Speed)), Real(Of(Time)), more);

            JsonElement Of(string name) => json.TryGetProperty(name, out JsonElement value) ? value
                : throw new FormatException(Say($"it has no \"{name}\"", $"\"{name}\" がありません"));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException(Say(
                $"{file}:{number}: is no line of a run's metrics, such as {{\"step\":1,\"loss\":9.5,…}}: {JsonMistake.What(e)}. Remove the line, or the file.",
                $"{file}:{number}: 学習の記録の行（{{\"step\":1,\"loss\":9.5,…}} など）として読めません: {JsonMistake.What(e)}。この行かファイルを削除してください。"), e);
        }
    }

    // JSON has no infinities: they are written as strings.
    private static void Write(Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value)) json.WriteNumber(name, value);
        else json.WriteString(name, double.IsNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
    }

    private static long Whole(JsonElement value) => value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) ? number : throw NoNumber(value);

    private static double Real(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Number => value.GetDouble(),
        JsonValueKind.String => value.GetString() switch
        {
            "NaN" => double.NaN,
            "Infinity" => double.PositiveInfinity,
            "-Infinity" => double.NegativeInfinity,
            _ => throw NoNumber(value),
        },
        _ => throw NoNumber(value),
    };

    private static FormatException NoNumber(JsonElement value) => new(Say($"{value.GetRawText()} is no number", $"{value.GetRawText()} は数ではありません"));
}
