using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Fude.Training;

/// <summary>A curve of a report.</summary>
/// <param name="English">Its name.</param>
/// <param name="Japanese">Its name in Japanese.</param>
/// <param name="Points">Values by ascending steps.</param>
/// <param name="IsMarked">Whether each point is marked: there are few.</param>
internal sealed record Curve(string English, string Japanese, IReadOnlyList<(long Step, double Value)> Points, bool IsMarked = false);

/// <summary>Draws curves over the steps of a run as SVG.</summary>
internal static class RunChart
{
    private const int Width = 940, Height = 300, Left = 62, Right = 14, Top = 10, Bottom = 30;

    // What a screen can tell apart: of more steps, neighbours are drawn as their mean, in a band from the least to the greatest.
    private const int MostPoints = 400;

    private readonly record struct Place(double Step, double Mean, double Least, double Greatest);

    /// <summary>Appends a section with a chart.</summary>
    public static void Append(StringBuilder page, string english, string japanese, IReadOnlyList<Curve> curves, bool mayBeLogarithmic = false)
    {
        double[] finite = [.. curves.SelectMany(curve => curve.Points).Select(point => point.Value).Where(double.IsFinite).Order()];
        if (finite.Length == 0) return;
        long first = curves.Min(curve => curve.Points[0].Step), last = curves.Max(curve => curve.Points[^1].Step);
        bool isLogarithmic = mayBeLogarithmic && finite[0] > 0 && finite[^1] / finite[0] > 30;
        (double low, double high) = (finite[0], finite[^1]);
        // The first steps of a run stand so high that the rest would be flat: they are cut, and the page says so.
        double most = finite[(int)((finite.Length - 1) * 0.95)];
        int cut = 0;
        if (!isLogarithmic && finite.Length >= 200 && most - low > 0 && (high - low) / (most - low) > 1.8)
        {
            high = most + (most - low) * 0.05;
            cut = finite.Count(value => value > high);
        }
        double[] ticks = isLogarithmic ? LogarithmicTicks(low, high) : Ticks(low, high);
        (low, high) = (Math.Min(low, ticks[0]), Math.Max(high, ticks[^1]));
        if (low == high) (low, high) = (low - 1, high + 1);

        string clip = $"clip-{page.Length.ToString(CultureInfo.InvariantCulture)}";
        page.Append("<section><h2>").Append(RunReport.Both(english, japanese)).Append("</h2>")
            .Append(CultureInfo.InvariantCulture, $"<svg data-chart viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{RunReport.Escaped(english)}\">")
            .Append(CultureInfo.InvariantCulture,
                $"<clipPath id=\"{clip}\"><rect x=\"{Left}\" y=\"{Top - 2}\" width=\"{Width - Left - Right}\" height=\"{Height - Top - Bottom + 4}\"/></clipPath>\n");
        foreach (double tick in ticks)
            page.Append(CultureInfo.InvariantCulture,
                $"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(tick):F1}\" y2=\"{Y(tick):F1}\"/><text x=\"{Left - 8}\" y=\"{Y(tick) + 4:F1}\" text-anchor=\"end\">{RunReport.Short(tick)}</text>\n");
        foreach (double tick in Ticks(first, last).Where(tick => tick >= first && tick <= last && tick == Math.Floor(tick)))
            page.Append(CultureInfo.InvariantCulture,
                $"<text x=\"{X(tick):F1}\" y=\"{Height - 8}\" text-anchor=\"middle\">{tick:N0}</text>\n");
        page.Append(CultureInfo.InvariantCulture, $"<g clip-path=\"url(#{clip})\">");
        for (int i = 0; i < curves.Count; i++) Draw(curves[i], i);
        page.Append("</g>").Append(CultureInfo.InvariantCulture, $"<line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{Top}\" y2=\"{Height - Bottom}\"/></svg>");
        Data(page, curves, first, last);
        page.Append("<p class=\"legend\">");
        if (curves.Count > 1)
            for (int i = 0; i < curves.Count; i++)
                page.Append(CultureInfo.InvariantCulture, $"<span><i class=\"c{i}\"></i>{RunReport.Both(curves[i].English, curves[i].Japanese)}</span>");
        if (cut > 0)
            page.Append("<span>").Append(RunReport.Both(
                string.Create(CultureInfo.InvariantCulture, $"{cut:N0} values up to {RunReport.Short(finite[^1])} are above the chart"),
                string.Create(CultureInfo.InvariantCulture, $"{cut:N0} 個の値（最大 {RunReport.Short(finite[^1])}）は図の上に外れている"))).Append("</span>");
        page.Append("<output></output></p></section>\n");

        double X(double step) => Left + (Width - Left - Right) * (last == first ? 0.5 : (step - first) / (last - first));
        double Y(double value)
        {
            double part = isLogarithmic
                ? (Math.Log(Math.Max(value, 1e-300)) - Math.Log(low)) / (Math.Log(high) - Math.Log(low))
                : (value - low) / (high - low);
            return Height - Bottom - (Height - Top - Bottom) * Math.Clamp(part, -0.5, 3);
        }
        void Draw(Curve curve, int index)
        {
            List<Place> places = Thinned(curve.Points);
            if (places.Exists(place => place.Least != place.Greatest))
            {
                page.Append(CultureInfo.InvariantCulture, $"<path class=\"band c{index}\" d=\"M");
                foreach (Place place in places) page.Append(CultureInfo.InvariantCulture, $"{X(place.Step):F1},{Y(place.Greatest):F1} ");
                foreach (Place place in Enumerable.Reverse(places)) page.Append(CultureInfo.InvariantCulture, $"{X(place.Step):F1},{Y(place.Least):F1} ");
                page.Append("Z\"/>");
            }
            page.Append(CultureInfo.InvariantCulture, $"<polyline class=\"line c{index}\" points=\"");
            foreach (Place place in places) page.Append(CultureInfo.InvariantCulture, $"{X(place.Step):F1},{Y(place.Mean):F1} ");
            page.Append("\"/>\n");
            if (!curve.IsMarked && places.Count > 1) return;
            foreach (Place place in places)
                page.Append(CultureInfo.InvariantCulture, $"<circle class=\"c{index}\" cx=\"{X(place.Step):F1}\" cy=\"{Y(place.Mean):F1}\" r=\"2.6\"/>");
        }
    }

    /// <summary>Round numbers, about five, from at most low to at least high.</summary>
    internal static double[] Ticks(double low, double high)
    {
        double span = high - low;
        if (!(span > 0)) return [low];
        double rough = span / 5, unit = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        double step = unit * (rough / unit) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
        long from = (long)Math.Floor(low / step), to = (long)Math.Ceiling(high / step);
        // Through decimal digits, for 3 · 0.1 is not 0.3.
        return [.. Enumerable.Range(0, (int)(to - from + 1)).Select(i => double.Parse(((from + i) * step).ToString("G12", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture))];
    }

    private static double[] LogarithmicTicks(double low, double high)
    {
        int from = (int)Math.Floor(Math.Log10(low)), to = (int)Math.Ceiling(Math.Log10(high));
        double[] digits = to - from > 4 ? [1] : [1, 2, 5];
        double[] all = [.. Enumerable.Range(from, to - from + 1).SelectMany(power => digits.Select(digit => double.Parse(
            string.Create(CultureInfo.InvariantCulture, $"{digit}e{power}"), CultureInfo.InvariantCulture)))];
        int start = Math.Max(0, Array.FindLastIndex(all, tick => tick <= low)), end = Array.FindIndex(all, tick => tick >= high);
        return all[start..((end < 0 ? all.Length - 1 : end) + 1)];
    }

    private static List<Place> Thinned(IReadOnlyList<(long Step, double Value)> points)
    {
        List<Place> places = [];
        int count = Math.Min(points.Count, MostPoints);
        for (int i = 0; i < count; i++)
        {
            int from = (int)((long)i * points.Count / count), to = (int)((i + 1L) * points.Count / count);
            double sum = 0, least = double.PositiveInfinity, greatest = double.NegativeInfinity, steps = 0;
            int finite = 0;
            for (int j = from; j < to; j++)
            {
                if (!double.IsFinite(points[j].Value)) continue;
                finite++;
                steps += points[j].Step;
                sum += points[j].Value;
                (least, greatest) = (Math.Min(least, points[j].Value), Math.Max(greatest, points[j].Value));
            }
            if (finite > 0) places.Add(new Place(steps / finite, Math.Clamp(sum / finite, least, greatest), least, greatest));      // a sum may overflow
        }
        return places;
    }

    // What the page says where the pointer is; "<" cannot end the script, as the encoder escapes it.
    private static void Data(StringBuilder page, IReadOnlyList<Curve> curves, long first, long last)
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter json = new(bytes, new JsonWriterOptions { Encoder = JavaScriptEncoder.Default }))
        {
            json.WriteStartObject();
            json.WriteNumber("first", first);
            json.WriteNumber("last", last);
            json.WriteNumber("left", Left);
            json.WriteNumber("width", Width - Left - Right);
            json.WriteStartArray("curves");
            foreach (Curve curve in curves)
            {
                json.WriteStartObject();
                json.WriteString("en", curve.English);
                json.WriteString("ja", curve.Japanese);
                json.WriteStartArray("points");
                foreach (Place place in Thinned(curve.Points))
                {
                    json.WriteStartArray();
                    json.WriteNumberValue((long)Math.Round(place.Step));
                    if (float.IsFinite((float)place.Mean)) json.WriteNumberValue((float)place.Mean);
                    else json.WriteNumberValue(place.Mean);
                    json.WriteEndArray();
                }
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        page.Append("<script type=\"application/json\">").Append(Encoding.UTF8.GetString(bytes.ToArray())).Append("</script>");
    }
}
