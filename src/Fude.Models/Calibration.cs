using System.Reflection;
using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>How much each column of each weight matters: the mean square of the input it meets while the model reads a text.</summary>
/// <remarks>
/// A weight's error adds to an output in proportion to the input it is multiplied with, so quantising minimises the squared error weighted
/// by these means. llama.cpp calls the same numbers an importance matrix.
/// </remarks>
public sealed class Calibration
{
    private readonly Dictionary<string, Means> _means = new(StringComparer.Ordinal);

    private Calibration()
    {
    }

    /// <summary>A Japanese text of about 2,000 characters, of many kinds, to measure with where there is no better one.</summary>
    public static string DefaultText
    {
        get
        {
            using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("Fude.Models.CalibrationText.txt")!;
            using StreamReader reader = new(stream);
            return reader.ReadToEnd();
        }
    }

    /// <summary>Tokens that were read.</summary>
    public long Tokens { get; private set; }

    /// <summary>Reads a text and measures.</summary>
    /// <param name="model">The model, best in the numbers that are going to be quantised.</param>
    /// <param name="device">Computes.</param>
    /// <param name="tokens">The text's token ids; it is read in windows of the model's context, 512 tokens at most.</param>
    /// <param name="begin">A token that is put before every window, as the model's texts begin; null for none.</param>
    /// <param name="progress">Hears what part is done, from 0 to 1.</param>
    /// <exception cref="ArgumentException">There is no token, or one beyond the vocabulary.</exception>
    /// <exception cref="InvalidDataException">The model's numbers become infinite or NaN on the text.</exception>
    public static Calibration Measure(
        LanguageModel model, IOps device, ReadOnlySpan<int> tokens, int? begin = null, IProgress<double>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(device);
        if (tokens.IsEmpty) throw new ArgumentException(
            Say("There is no text to calibrate with.", "重要度を測るテキストがありません。"), nameof(tokens));
        if (model.Config.Context == 1) begin = null;       // there is room for one token alone
        Calibration calibration = new();
        ObservingOps ops = new(device, calibration);
        int window = Math.Min(512, model.Config.Context) - (begin is null ? 0 : 1);
        for (int first = 0; first < tokens.Length; first += window)
        {
            int[] text = [.. begin is { } id ? [id] : Array.Empty<int>(), .. tokens.Slice(first, Math.Min(window, tokens.Length - first))];
            int[] all = [.. Enumerable.Range(0, text.Length)];
            _ = model.Run(ops, new Batch(text, all, [new Sequence(0, text.Length)], all));
            calibration.Tokens += text.Length;
            if (calibration._means.FirstOrDefault(pair => !pair.Value.Squares.All(sum => float.IsFinite((float)sum))) is { Key: { } broken })
                throw new InvalidDataException(Say(
                    $"What '{broken}' is multiplied with is not finite: the model cannot be calibrated. Its weights are damaged, or not made for this computation.",
                    $"'{broken}' に掛ける値が有限でないため、重要度を測れません。モデルの重みが壊れているか、この計算に合っていません。"));
            progress?.Report(Math.Min(1, (first + window) / (double)tokens.Length));
        }
        return calibration;
    }

    /// <summary>Mean square of the input of each column, by the weight's name in the checkpoint; null for a weight that no token met.</summary>
    public float[]? Of(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return _means.TryGetValue(GgufNames.WithoutPrefix(name), out Means? means)
            ? [.. means.Squares.Select(sum => (float)(sum / means.Count))]
            : null;
    }

    private void Add(string weight, ReadOnlySpan<float> x, int columns)
    {
        string name = GgufNames.WithoutPrefix(weight);
        if (!_means.TryGetValue(name, out Means? means)) _means.Add(name, means = new Means(columns));
        for (int row = 0; row < x.Length; row += columns)
        {
            ReadOnlySpan<float> numbers = x.Slice(row, columns);
            for (int i = 0; i < columns; i++) means.Squares[i] += (double)numbers[i] * numbers[i];
            means.Count++;
        }
    }

    private sealed class Means(int columns)
    {
        public double[] Squares { get; } = new double[columns];

        public long Count { get; set; }
    }

    /// <summary>A device that looks at what every product reads.</summary>
    private sealed class ObservingOps(IOps inner, Calibration calibration) : IOps
    {
        public void Begin() => inner.Begin();

        public KvCache CreateCache(int layers, int width, int capacity, NumberFormat format) => inner.CreateCache(layers, width, capacity, format);

        public Tensor Embed(Batch batch, Weight tokens, Weight? positions = null) => inner.Embed(batch, tokens, positions);

        public Tensor MatMul(Tensor x, Weight w, Weight? bias = null)
        {
            calibration.Add(w.Name, inner.Read(x), w.Columns);
            return inner.MatMul(x, w, bias);
        }

        public void MatMul(Tensor x, ReadOnlySpan<Factor> factors, Span<Tensor> products)
        {
            // Slices of one weight (the queries, keys and values of GPT-2) read the same x: each is looked at, and the means stay the same.
            foreach (Factor factor in factors) calibration.Add(factor.Weight.Name, inner.Read(x), factor.Weight.Columns);
            inner.MatMul(x, factors, products);
        }

        public Tensor RmsNorm(Tensor x, Weight gain, float epsilon) => inner.RmsNorm(x, gain, epsilon);

        public Tensor LayerNorm(Tensor x, Weight gain, Weight bias, float epsilon) => inner.LayerNorm(x, gain, bias, epsilon);

        public Tensor Rope(Tensor x, Batch batch, RopeShape shape) => inner.Rope(x, batch, shape);

        public Tensor Attention(Tensor q, Tensor k, Tensor v, Heads heads, Batch batch, int layer) => inner.Attention(q, k, v, heads, batch, layer);

        public Tensor SwiGlu(Tensor gate, Tensor up) => inner.SwiGlu(gate, up);

        public Tensor Gelu(Tensor x, GeluForm form) => inner.Gelu(x, form);

        public Tensor Add(Tensor x, Tensor y, float scale = 1) => inner.Add(x, y, scale);

        public Tensor TakeRows(Tensor x, int[] rows) => inner.TakeRows(x, rows);

        // Inside a block, too, every product is to pass by here.
        public Tensor Run(IBlock block, Tensor x, Batch batch) => inner.Run(new ObservedBlock(block, this), x, batch);

        public ReadOnlySpan<float> Read(Tensor x) => inner.Read(x);

        // The device is the caller's.
        public void Dispose()
        {
        }
    }

    private sealed class ObservedBlock(IBlock block, ObservingOps ops) : IBlock
    {
        public Tensor Forward(IOps inner, Tensor x, Batch batch) => block.Forward(ops, x, batch);
    }
}
