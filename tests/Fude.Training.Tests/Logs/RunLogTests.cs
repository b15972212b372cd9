using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>What a run writes down, also one that was killed and taken up again.</summary>
public sealed class RunLogTests : IDisposable
{
    private static readonly KeyValuePair<string, string>[] Settings = [new("--rows", "4"), new("データ", "青空文庫 <b>"), new("データ", "青空文庫")];

    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void Every_step_is_one_line()
    {
        Log(1, 3);
        JsonElement[] lines = Lines();
        Assert.Equal([1, 2, 3], lines.Select(line => line.GetProperty("step").GetInt32()));
        JsonElement last = lines[2];
        Assert.Equal(300, last.GetProperty("tokens").GetInt64());
        Assert.Equal(200, last.GetProperty("tokens_per_second").GetDouble());        // 100 tokens in half a second
        Assert.Equal(3.5, last.GetProperty("loss").GetDouble());
        Assert.Equal(0.25, last.GetProperty("gradient_norm").GetDouble());
        Assert.Equal(1e-3, last.GetProperty("learning_rate").GetDouble());
        Assert.Equal(3.25, last.GetProperty("held_out_loss").GetDouble());
        Assert.Equal(0.75, last.GetProperty("accuracy").GetDouble());
        Assert.False(lines[0].TryGetProperty("held_out_loss", out _));
        Assert.Equal(1_800_000_000, last.GetProperty("time").GetDouble());
    }

    [Fact]
    public void Going_on_from_an_earlier_checkpoint_doubles_nothing()
    {
        Log(1, 7);
        Log(5, 9);          // the checkpoint was of step 4
        Assert.Equal(Enumerable.Range(1, 9), Lines().Select(line => line.GetProperty("step").GetInt32()));
        Assert.All(Lines(), line => Assert.Equal(200, line.GetProperty("tokens_per_second").GetDouble()));
        List<(long Step, string Tag, float Value)> scalars = Scalars();
        Assert.Equal(Enumerable.Range(1, 9).Select(step => (long)step), scalars.Where(scalar => scalar.Tag == "loss").Select(scalar => scalar.Step));
        Assert.Equal([3L, 6, 9], scalars.Where(scalar => scalar.Tag == "held_out_loss").Select(scalar => scalar.Step));
        Assert.Equal(["accuracy", "gradient_norm", "held_out_loss", "learning_rate", "loss", "tokens_per_second"], scalars.Select(scalar => scalar.Tag).Distinct().Order());
        Assert.All(scalars.Where(scalar => scalar.Tag == "loss"), scalar => Assert.Equal(5 - scalar.Step * 0.5f, scalar.Value));
        _ = Assert.Single(Directory.EnumerateFiles(_folder["tensorboard"]));
    }

    [Fact]
    public void A_new_run_in_an_old_folder_begins_anew()
    {
        Log(1, 7);
        Log(1, 2);
        Assert.Equal(2, Lines().Length);
    }

    [Fact]
    public void Half_a_line_that_a_killed_process_left_is_cut_off()
    {
        Log(1, 3);
        File.AppendAllText(_folder["metrics.jsonl"], "{\"step\":4,\"lo");
        Log(4, 5);
        Assert.Equal([1, 2, 3, 4, 5], Lines().Select(line => line.GetProperty("step").GetInt32()));
    }

    [Theory]
    [InlineData("nonsense\n", ":2:")]
    [InlineData("{\"step\":3}\n", "it has no \"loss\"")]
    [InlineData("{\"loss\":3}\n", "it has no \"step\"")]
    [InlineData("{\"step\":3,\"loss\":null}\n", "null is no number")]
    [InlineData("{\"step\":3.5}\n", "3.5 is no number")]
    [InlineData("{\"step\":3,\"loss\":\"1\"}\n", "\"1\" is no number")]
    [InlineData("3\n", "no object but a number")]
    [InlineData("[]\n", ":2:")]
    [InlineData("\0\0\0\n", ":2:")]
    [InlineData("{\"step\":1e999,\"loss\":1}\n", ":2:")]
    [InlineData("{\"step\":1,\"loss\":1,\"gradient_norm\":1,\"learning_rate\":1,\"tokens\":1,\"seconds\":1,\"tokens_per_second\":1,\"time\":1}\n", "after step 1")]
    public void A_damaged_log_is_named_with_its_line(string line, string expected)
    {
        Log(1, 1);
        File.AppendAllText(_folder["metrics.jsonl"], line);
        InvalidDataException e = Assert.Throws<InvalidDataException>(() => Log(9, 9));
        Assert.Contains("metrics.jsonl", e.Message, StringComparison.Ordinal);
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
        _ = Assert.Throws<InvalidDataException>(() => RunReport.Write(_folder.Path));
    }

    [Fact]
    public void Steps_must_ascend_and_names_be_free()
    {
        using RunLog log = RunLog.Open(_folder.Path, "t", [], 3);
        _ = Assert.Throws<ArgumentException>(() => log.Add(Report(3)));
        Assert.Contains("loss", Assert.Throws<ArgumentException>(() => log.Add(Report(4), new KeyValuePair<string, double>("loss", 1))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_that_json_has_not_are_written_all_the_same()
    {
        using (RunLog log = RunLog.Open(_folder.Path, "t", [])) log.Add(Report(1) with { Loss = double.NaN, GradientNorm = double.PositiveInfinity });
        Assert.Equal("NaN", Lines()[0].GetProperty("loss").GetString());
        Assert.True(File.Exists(RunReport.Write(_folder.Path)));
        Log(2, 3);
        Assert.Equal(3, Lines().Length);
    }

    [Fact]
    public void Losses_beyond_what_a_chart_can_hold_are_reported_all_the_same()
    {
        using (RunLog log = RunLog.Open(_folder.Path, "t", []))
            for (int step = 1; step < 900; step++) log.Add(Report(step) with { Loss = step % 3 == 0 ? 2 : 1e308 });
        Assert.Contains("1E+308", File.ReadAllText(RunReport.Write(_folder.Path)), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void The_length_of_a_decay_that_the_schedule_has_not_is_no_change()
    {
        _ = Begin(1, "cosine", "4");
        Assert.Empty(Begin(2, "cosine", "5"));
        Assert.Equal(["schedule", "decay-steps"], Begin(3, "wsd", "5").Select(change => change.Name));

        IReadOnlyList<SettingChange> Begin(int step, string schedule, string decay)
        {
            using RunLog log = RunLog.Open(_folder.Path, "t", [new("schedule", schedule), new("decay-steps", decay)], step - 1);
            log.Add(Report(step));
            return log.Changes;
        }
    }

    [Fact]
    public void The_report_stands_alone_and_has_both_languages_and_the_settings()
    {
        Log(1, 400);
        string page = File.ReadAllText(RunReport.Write(_folder.Path));
        foreach (string outside in (string[])["http:", "https:", "src=", "@import", "url(//"]) Assert.DoesNotContain(outside, page, StringComparison.Ordinal);
        Assert.Equal(5, page.Split("<svg ").Length - 1);       // loss, learning rate, norm, speed, accuracy
        Assert.Contains("学習率", page, StringComparison.Ordinal);
        Assert.Contains("learning rate", page, StringComparison.Ordinal);
        Assert.Contains("prefers-color-scheme:dark", page, StringComparison.Ordinal);
        Assert.Contains(System.Net.WebUtility.HtmlEncode("青空文庫 <b>"), page, StringComparison.Ordinal);
        Assert.DoesNotContain("青空文庫 <b>", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page.Replace("NaN,", "", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_of_no_run_has_no_report()
    {
        Assert.Contains("metrics.jsonl", Assert.Throws<InvalidDataException>(() => RunReport.Write(_folder.Path)).Message, StringComparison.Ordinal);
        _ = _folder.Write("metrics.jsonl", "");
        Assert.Contains("no whole line", Assert.Throws<InvalidDataException>(() => RunReport.Write(_folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Settings_that_a_run_goes_on_with_otherwise_are_told_and_kept_beside_those_it_began_with()
    {
        Log(1, 5);
        byte[] begun = File.ReadAllBytes(_folder["run.json"]);
        KeyValuePair<string, string>[] changed = [new("--rows", "8"), new("--beta2", "0.99")];
        // A run that is over takes no step: nothing has changed.
        using (RunLog log = RunLog.Open(_folder.Path, "fude train", changed, 5, 500)) Assert.Equal(4, log.Changes.Count);
        Assert.Equal(begun, File.ReadAllBytes(_folder["run.json"]));
        using (RunLog log = RunLog.Open(_folder.Path, "fude train", changed, 4, 400))
        {
            Assert.Equal([new("--rows", "4", "8"), new("データ", "青空文庫 <b>", null), new("データ (2)", "青空文庫", null), new("--beta2", null, "0.99")], log.Changes);
            log.Add(Report(5));
            log.Add(Report(6));
        }
        string page = File.ReadAllText(RunReport.Write(_folder.Path));
        Assert.Contains("<th>--rows</th><td>4<br><span class=\"en\">after step 4: 8</span>", page, StringComparison.Ordinal);
        Assert.Contains("<th>--beta2</th><td>–<br><span class=\"en\">after step 4: 0.99</span>", page, StringComparison.Ordinal);
        // Taken up with the same again there is nothing to tell; from an earlier checkpoint with those of the beginning neither.
        using (RunLog log = RunLog.Open(_folder.Path, "fude train", changed, 6, 600)) Assert.Empty(log.Changes);
        using (RunLog log = RunLog.Open(_folder.Path, "fude train", Settings, 3, 300))
        {
            Assert.Empty(log.Changes);
            log.Add(Report(4));
        }
        Assert.Equal(1, Lines().Count(line => line.GetProperty("step").GetInt32() == 4));
        Assert.Equal(begun, File.ReadAllBytes(_folder["run.json"]));
    }

    [Fact]
    public void What_a_run_found_in_its_files_is_told_in_both_languages()
    {
        using (RunLog log = RunLog.Open(_folder.Path, "fude tune", [new("examples of my.jsonl", "20, 0 held out, 416 tokens, 220 learnt")])) log.Add(Report(1));
        string page = File.ReadAllText(RunReport.Write(_folder.Path));
        Assert.Contains(RunReport.Both("examples of my.jsonl", "my.jsonl の例"), page, StringComparison.Ordinal);
        Assert.Contains(RunReport.Both("20, 0 held out, 416 tokens, 220 learnt", "20 例、検証用 0 例、416 トークン（うち学習 220）"), page, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_file_of_settings_is_named()
    {
        Log(1, 1);
        _ = _folder.Write("run.json", "{");
        Assert.Contains("run.json", Assert.Throws<InvalidDataException>(() => RunReport.Write(_folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, 1, new[] { 0, 0.2, 0.4, 0.6, 0.8, 1 })]
    [InlineData(2.9, 9.6, new[] { 2.0, 4, 6, 8, 10 })]
    [InlineData(0, 3e-4, new[] { 0, 1e-4, 2e-4, 3e-4 })]
    [InlineData(4, 4, new[] { 4.0 })]
    public void Ticks_are_round_and_enclose_the_values(double low, double high, double[] expected) => Assert.Equal(expected, RunChart.Ticks(low, high));

    // RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8A9136AA; and "123456789" the check value 0xE3069283 of every CRC catalogue.
    [Fact]
    public void Records_are_checked_by_the_castagnoli_crc()
    {
        Assert.Equal(Masked(0x8A9136AA), EventFile.MaskedCrc(new byte[32]));
        Assert.Equal(Masked(0xE3069283), EventFile.MaskedCrc("123456789"u8));

        static uint Masked(uint crc) => unchecked(((crc >> 15) | (crc << 17)) + 0xa282ead8);
    }

    public void Dispose() => _folder.Dispose();

    private static StepReport Report(int step) => new(step, 5 - step * 0.5, 0.25, 1e-3, step * 100L, 0.5, step % 3 == 0 ? 3.25 : null);

    private void Log(int first, int last)
    {
        using RunLog log = RunLog.Open(_folder.Path, "fude train", Settings, first - 1, (first - 1) * 100L, new FixedTime());
        for (int step = first; step <= last; step++) log.Add(Report(step), new KeyValuePair<string, double>("accuracy", 0.75));
        Assert.True(File.Exists(log.Finish()));
    }

    private JsonElement[] Lines() => [.. File.ReadLines(_folder["metrics.jsonl"]).Select(line => JsonDocument.Parse(line).RootElement)];

    /// <summary>Reads the event file as its format is described, every checksum included.</summary>
    private List<(long Step, string Tag, float Value)> Scalars()
    {
        byte[] bytes = File.ReadAllBytes(Directory.EnumerateFiles(_folder["tensorboard"]).Single());
        List<(long, string, float)> scalars = [];
        for (int at = 0; at < bytes.Length;)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at));
            Assert.Equal(EventFile.MaskedCrc(bytes.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at + 8)));
            ReadOnlySpan<byte> record = bytes.AsSpan(at + 12, length);
            Assert.Equal(EventFile.MaskedCrc(record), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at + 12 + length)));
            at += 16 + length;
            long step = 0;
            foreach ((int field, ulong number, byte[] contents) in Fields(record.ToArray()))
            {
                if (field == 2) step = (long)number;
                if (field != 5) continue;
                foreach ((_, _, byte[] value) in Fields(contents))
                {
                    List<(int Field, ulong Number, byte[] Contents)> parts = Fields(value);
                    scalars.Add((step, Encoding.UTF8.GetString(parts.Single(part => part.Field == 1).Contents),
                        BitConverter.UInt32BitsToSingle((uint)parts.Single(part => part.Field == 2).Number)));
                }
            }
        }
        return scalars;
    }

    private static List<(int Field, ulong Number, byte[] Contents)> Fields(byte[] message)
    {
        List<(int, ulong, byte[])> fields = [];
        for (int at = 0; at < message.Length;)
        {
            ulong key = Varint(message, ref at);
            switch (key & 7)
            {
                case 0: fields.Add(((int)(key >> 3), Varint(message, ref at), [])); break;
                case 1: fields.Add(((int)(key >> 3), BinaryPrimitives.ReadUInt64LittleEndian(message.AsSpan(at)), [])); at += 8; break;
                case 5: fields.Add(((int)(key >> 3), BinaryPrimitives.ReadUInt32LittleEndian(message.AsSpan(at)), [])); at += 4; break;
                default:
                    int length = (int)Varint(message, ref at);
                    fields.Add(((int)(key >> 3), 0, message[at..(at + length)]));
                    at += length;
                    break;
            }
        }
        return fields;
    }

    private static ulong Varint(byte[] bytes, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte one = bytes[at++];
            value |= (ulong)(one & 0x7F) << shift;
            if (one < 0x80) return value;
        }
    }

    private sealed class FixedTime : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);
    }
}
