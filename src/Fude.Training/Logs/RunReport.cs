using System.Globalization;
using System.Net;
using System.Text;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>The report of a run: one page with its curves and settings, in Japanese and English, that needs nothing but itself.</summary>
public static class RunReport
{
    // The beginnings of settings that are no options.
    private const string ExamplesOf = "examples of ", LeftOut = "left out: ", Note = "note: ";

    /// <summary>The name of the page in the run's folder.</summary>
    public const string FileName = "report.html";

    /// <summary>Writes report.html from what a <see cref="RunLog"/> wrote into a folder, also of a run that has not ended.</summary>
    /// <returns>The page's path.</returns>
    /// <exception cref="InvalidDataException">The folder has no metrics.jsonl, or one that cannot be read.</exception>
    public static string Write(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        string metrics = Path.Combine(folder, RunLog.MetricsName);
        if (!File.Exists(metrics)) throw new InvalidDataException(Say(
            $"{metrics}: there is no such file; the folder is of no run.",
            $"{metrics}: そのようなファイルはありません。学習の実行フォルダーではありません。"));
        (List<MetricsLine> lines, _) = MetricsLine.ReadAll(metrics, long.MaxValue);
        if (lines.Count == 0) throw new InvalidDataException(Say(
            $"{metrics}: has no whole line yet; there is nothing to report.",
            $"{metrics}: 完全な行がまだなく、レポートにするものがありません。"));
        RunSettings settings = RunSettings.Read(Path.Combine(folder, RunLog.SettingsName)) ?? new("fude", []);
        string path = Path.Combine(folder, FileName), name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));
        AtomicFile.Write(path, Encoding.UTF8.GetBytes(Page(name, lines, settings)));
        return path;
    }

    internal static string Page(string name, IReadOnlyList<MetricsLine> lines, RunSettings settings)
    {
        string title = settings.Title;
        StringBuilder page = new();
        page.Append("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
            .Append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>")
            .Append(Escaped($"{title}: {name}")).Append("</title>\n<style>").Append(Style).Append("</style>\n</head>\n<body>\n<header><div><h1>")
            .Append(Escaped(title)).Append("</h1><p>").Append(Escaped(name)).Append("</p></div><button id=\"language\" type=\"button\">")
            .Append(Both("日本語", "English")).Append("</button></header>\n<main>\n");
        Summary(page, lines);
        Curve loss = Of(lines, "学習", "training", line => line.Report.Loss);
        Curve heldOut = Of(lines, "検証用", "held out", line => line.Report.HeldOutLoss, isMarked: true);
        // What preferences are learnt by is counted by pairs, and not always in nats.
        (string english, string japanese) = settings.Settings.Any(pair => pair.Key == "preference-loss")
            ? ("loss, mean of the pairs", "損失（組の平均）") : ("loss, nats a token", "損失（1 トークンあたり nats）");
        RunChart.Append(page, english, japanese, heldOut.Points.Count > 0 ? [loss, heldOut] : [loss]);
        RunChart.Append(page, "learning rate", "学習率", [Of(lines, "学習率", "learning rate", line => line.Report.LearningRate)]);
        RunChart.Append(page, "gradient norm, before clipping", "勾配のノルム（クリッピング前）",
            [Of(lines, "ノルム", "norm", line => line.Report.GradientNorm)], mayBeLogarithmic: true);
        RunChart.Append(page, "tokens a second", "1 秒あたりのトークン数", [Of(lines, "トークン/秒", "tokens/s", line => line.TokensPerSecond)]);
        foreach (string further in lines.SelectMany(line => line.More).Select(pair => pair.Key).Distinct())
            RunChart.Append(page, further, further,
                [Of(lines, further, further, line => line.More.Where(pair => pair.Key == further).Select(pair => (double?)pair.Value).FirstOrDefault())]);
        Table(page, "Held-out loss", "検証用の損失", lines);
        Settings(page, settings);
        page.Append("</main>\n<script>").Append(Script).Append("</script>\n</body>\n</html>\n");
        return page.ToString();
    }

    /// <summary>A text in both languages, of which the page shows one.</summary>
    internal static string Both(string english, string japanese) =>
        $"<span class=\"en\">{Escaped(english)}</span><span class=\"ja\" lang=\"ja\">{Escaped(japanese)}</span>";

    internal static string Escaped(string text) => WebUtility.HtmlEncode(text);

    /// <summary>A number as a person reads it.</summary>
    internal static string Short(double value)
    {
        double size = Math.Abs(value);
        return !double.IsFinite(value) ? value.ToString(CultureInfo.InvariantCulture)
            : size is 0 or (>= 1e-3 and < 1e5) ? value.ToString(size >= 1000 ? "N0" : size >= 100 ? "0.#" : size >= 1 ? "0.####" : "0.#####", CultureInfo.InvariantCulture)
            : value.ToString("0.###e0", CultureInfo.InvariantCulture);
    }

    private static Curve Of(
        IReadOnlyList<MetricsLine> lines, string japanese, string english, Func<MetricsLine, double?> value, bool isMarked = false) =>
        new(english, japanese, [.. lines.Where(line => value(line) is not null).Select(line => (line.Report.Step, value(line)!.Value))], isMarked);

    private static void Summary(StringBuilder page, IReadOnlyList<MetricsLine> lines)
    {
        MetricsLine last = lines[^1];
        // The mean over the last fiftieth: a single step says little.
        double loss = lines.TakeLast(Math.Max(1, lines.Count / 50)).Average(line => line.Report.Loss), seconds = lines.Sum(line => line.Report.Seconds);
        page.Append("<section class=\"numbers\">");
        Number("steps", "ステップ", last.Report.Step.ToString("N0", CultureInfo.InvariantCulture));
        Number("tokens", "トークン", last.Report.Tokens.ToString("N0", CultureInfo.InvariantCulture));
        Number("loss at the end", "最後の損失", loss.ToString("F4", CultureInfo.InvariantCulture));
        if (lines.Where(line => line.Report.HeldOutLoss is not null).Select(line => line.Report.HeldOutLoss!.Value).DefaultIfEmpty(double.NaN).Min() is var best
            && !double.IsNaN(best))
            Number("best held-out loss", "検証用の最小の損失", best.ToString("F4", CultureInfo.InvariantCulture));
        Number("time of the steps", "ステップの合計時間", Duration(seconds));
        double[] speeds = [.. lines.Select(line => line.TokensPerSecond).Order()];
        Number("tokens/s, median", "トークン/秒（中央値）", Short(Math.Round(speeds[speeds.Length / 2])));
        page.Append("</section>\n");

        void Number(string english, string japanese, string value) =>
            page.Append("<div><b>").Append(Escaped(value)).Append("</b>").Append(Both(english, japanese)).Append("</div>");
    }

    private static string Duration(double seconds)
    {
        TimeSpan time = TimeSpan.FromSeconds(double.IsFinite(seconds) ? Math.Clamp(seconds, 0, 1e9) : 0);
        return string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalHours}:{time.Minutes:D2}:{time.Seconds:D2}");
    }

    private static void Table(StringBuilder page, string english, string japanese, IReadOnlyList<MetricsLine> lines)
    {
        MetricsLine[] evaluations = [.. lines.Where(line => line.Report.HeldOutLoss is not null)];
        if (evaluations.Length == 0) return;
        page.Append("<section><h2>").Append(Both(english, japanese)).Append("</h2><div class=\"scroll\"><table><thead><tr><th>").Append(Both("step", "ステップ"))
            .Append("</th><th>").Append(Both("tokens", "トークン")).Append("</th><th>").Append(Both("loss", "損失")).Append("</th></tr></thead><tbody>\n");
        foreach (MetricsLine line in evaluations)
            page.Append(CultureInfo.InvariantCulture,
                $"<tr><td>{line.Report.Step:N0}</td><td>{line.Report.Tokens:N0}</td><td>{line.Report.HeldOutLoss:F4}</td></tr>\n");
        page.Append("</tbody></table></div></section>\n");
    }

    private static void Settings(StringBuilder page, RunSettings run)
    {
        string[] names = [.. run.Settings.Select(setting => setting.Key).Union(run.Changes.Select(change => change.Name))];
        if (names.Length == 0) return;
        Dictionary<string, string> begun = new(run.Settings, StringComparer.Ordinal);
        page.Append("<section><h2>").Append(Both("Settings", "設定")).Append("</h2><table class=\"settings\"><tbody>\n");
        foreach (string name in names)
        {
            page.Append("<tr><th>").Append(Told(name, JapaneseName(name))).Append("</th><td>").Append(Told(begun.GetValueOrDefault(name) ?? "–", JapaneseValue(name, begun.GetValueOrDefault(name))));
            foreach ((long step, _, string? value) in run.Changes.Where(change => change.Name == name))
                page.Append("<br>").Append(Both(
                    string.Create(CultureInfo.InvariantCulture, $"after step {step:N0}: {value ?? "–"}"),
                    string.Create(CultureInfo.InvariantCulture, $"ステップ {step:N0} の後: {JapaneseValue(name, value)}")));
            page.Append("</td></tr>\n");
        }
        page.Append("</tbody></table></section>\n");
    }

    private static string Told(string english, string japanese) => english == japanese ? Escaped(english) : Both(english, japanese);

    // What a run found in its files is noted in English; options are called alike in both languages.
    private static string JapaneseName(string name) =>
        name.StartsWith(ExamplesOf, StringComparison.Ordinal) ? $"{name[ExamplesOf.Length..]} の例"
        : name.StartsWith(LeftOut, StringComparison.Ordinal) ? $"除外: {name[LeftOut.Length..]}"
        : name.StartsWith(Note, StringComparison.Ordinal) ? $"注意: {name[Note.Length..]}"
        : name;

    private static string JapaneseValue(string name, string? value) =>
        value is null ? "–"
        : name.StartsWith(ExamplesOf, StringComparison.Ordinal) && value.Split(", ") is [string examples, string heldOut, string tokens, string learnt]
            && heldOut.EndsWith(" held out", StringComparison.Ordinal) && tokens.EndsWith(" tokens", StringComparison.Ordinal) && learnt.EndsWith(" learnt", StringComparison.Ordinal)
            ? $"{examples} 例、検証用 {heldOut.Split(' ')[0]} 例、{tokens.Split(' ')[0]} トークン（うち学習 {learnt.Split(' ')[0]}）"
        : value;

    private const string Style = """
        :root{--page:#faf9f6;--card:#fff;--ink:#1c1b19;--faint:#6f6b63;--rule:#e3dfd6;--first:#1f5fa8;--second:#c2410c}
        @media(prefers-color-scheme:dark){:root{--page:#161513;--card:#1f1e1b;--ink:#ece9e2;--faint:#a09a8e;--rule:#35322c;--first:#7fb2ec;--second:#f59e5b}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--page);color:var(--ink);font:15px/1.6 system-ui,"Hiragino Sans","Noto Sans CJK JP","Noto Sans JP",sans-serif}
        header,main{max-width:980px;margin:0 auto;padding:0 20px}
        header{display:flex;justify-content:space-between;align-items:flex-start;padding-top:28px}
        h1{margin:0;font-size:26px;letter-spacing:.01em}h2{margin:0 0 8px;font-size:16px}
        header p{margin:2px 0 18px;color:var(--faint)}
        button{font:inherit;color:inherit;background:none;border:1px solid var(--rule);border-radius:6px;padding:4px 12px;cursor:pointer}
        section{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:16px 18px;margin:0 0 16px}
        .numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(125px,1fr));gap:14px}
        .numbers b{display:block;font-size:19px;font-variant-numeric:tabular-nums}.numbers span{color:var(--faint);font-size:13px}
        svg{display:block;width:100%;height:auto;overflow:visible}
        svg text{fill:var(--faint);font-size:12px;font-variant-numeric:tabular-nums}
        .grid{stroke:var(--rule);stroke-width:1}.c0{stroke:var(--first)}.c1{stroke:var(--second)}
        .line{fill:none;stroke-width:1.6;stroke-linejoin:round}.band{stroke:none;opacity:.22}.band.c0{fill:var(--first)}.band.c1{fill:var(--second)}
        circle.c0{fill:var(--first)}circle.c1{fill:var(--second)}.cursor{stroke:var(--faint);stroke-dasharray:3 3;visibility:hidden}
        .legend{display:flex;gap:18px;flex-wrap:wrap;margin:6px 0 0;color:var(--faint);font-size:13px;min-height:1.6em}
        .legend i{display:inline-block;width:14px;height:3px;margin-right:6px;vertical-align:middle}.legend .c0{background:var(--first)}.legend .c1{background:var(--second)}
        .legend output{margin-left:auto;font-variant-numeric:tabular-nums;color:var(--ink)}
        table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
        th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--rule)}th{font-weight:600;color:var(--faint)}
        .settings th,.settings td{text-align:left;vertical-align:top;overflow-wrap:anywhere}.settings th{width:16em}
        .scroll{max-height:320px;overflow:auto}
        html[lang=en] .ja,html[lang=ja] .en{display:none}
        """;

    private const string Script = """
        (() => {
          const root = document.documentElement;
          if ((navigator.language || "").startsWith("ja")) root.lang = "ja";
          document.getElementById("language").onclick = () => root.lang = root.lang === "ja" ? "en" : "ja";
          for (const chart of document.querySelectorAll("svg[data-chart]")) {
            const data = JSON.parse(chart.nextElementSibling.textContent), cursor = chart.querySelector(".cursor");
            const output = chart.parentElement.querySelector("output");
            const say = n => Math.abs(n) >= 1000 ? Math.round(n).toLocaleString("en") : n === 0 ? "0" : String(+n.toPrecision(5));
            chart.onpointermove = e => {
              const box = chart.getBoundingClientRect(), x = (e.clientX - box.left) * 940 / box.width;
              const step = data.first + (x - data.left) / data.width * (data.last - data.first), said = [];
              let at = null;
              for (const curve of data.curves) {
                let best = null;
                for (const p of curve.points) if (!best || Math.abs(p[0] - step) < Math.abs(best[0] - step)) best = p;
                if (!best) continue;
                at ??= best[0];
                said.push((data.curves.length > 1 ? (root.lang === "ja" ? curve.ja : curve.en) + " " : "") + say(best[1]));
              }
              if (at === null) return;
              const place = data.left + (data.last > data.first ? (at - data.first) / (data.last - data.first) : 0.5) * data.width;
              cursor.setAttribute("x1", place); cursor.setAttribute("x2", place); cursor.style.visibility = "visible";
              output.textContent = (root.lang === "ja" ? "ステップ " : "step ") + at.toLocaleString("en") + "  " + said.join("  ");
            };
            chart.onpointerleave = () => { cursor.style.visibility = "hidden"; output.textContent = ""; };
          }
        })();
        """;
}
