using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>One window of a text that was scored.</summary>
/// <param name="Begin">First token of the window.</param>
/// <param name="End">One past its last token.</param>
/// <param name="ScoredTokens">Tokens that count: those no window before had, and that have a context.</param>
/// <param name="MeanLossNats">Mean of −ln p(token) over them.</param>
public readonly record struct PerplexityWindow(int Begin, int End, int ScoredTokens, double MeanLossNats);

/// <summary>How well a model predicts a text: exp of the mean of −ln p(token | what stands before it).</summary>
/// <remarks>
/// A window of limited length slides over the text, as in transformers' documentation ("Perplexity of fixed-length models"): window k
/// begins at k·stride and scores only the tokens that no earlier window had, so every token but the first is scored once, with at least
/// context − stride tokens before it.
/// </remarks>
public sealed record Perplexity
{
    private const int Chunk = 128;      // tokens in one forward pass: their logits alone are in memory at a time

    private Perplexity(IReadOnlyList<PerplexityWindow> windows, double lossNats, int scored) =>
        (Windows, TotalLossNats, ScoredTokens) = (windows, lossNats, scored);

    /// <summary>exp of the mean over all scored tokens: the perplexity of the text.</summary>
    public double Value => Math.Exp(TotalLossNats / ScoredTokens);

    /// <summary>exp of the mean of the windows' means, as the documentation's code has it: short windows weigh as much as long ones.</summary>
    public double OfWindowMeans => Math.Exp(Windows.Where(window => window.ScoredTokens > 0).Average(window => window.MeanLossNats));

    /// <summary>Sum of −ln p(token) over the scored tokens.</summary>
    public double TotalLossNats { get; }

    /// <summary>How many tokens were scored.</summary>
    public int ScoredTokens { get; }

    /// <summary>The windows, in order.</summary>
    public IReadOnlyList<PerplexityWindow> Windows { get; }

    /// <summary>Measures a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="ops">The device.</param>
    /// <param name="tokens">Ids of the whole text, at least 2.</param>
    /// <param name="context">Tokens in a window; at most the model's context.</param>
    /// <param name="stride">Tokens from one window's beginning to the next one's; at most <paramref name="context"/>.</param>
    /// <param name="progress">Is told how many tokens of the text have been scored.</param>
    /// <param name="stop">Stops between two forward passes.</param>
    /// <exception cref="ArgumentException">A length is out of range, or a token is not in the vocabulary.</exception>
    public static Perplexity Measure(LanguageModel model, IOps ops, ReadOnlyMemory<int> tokens, int context, int stride,
        IProgress<int>? progress = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (tokens.Length < 2)
            throw new ArgumentException(Say(
                $"A text of {(tokens.Length == 1 ? "1 token" : $"{tokens.Length} tokens")} has none to predict; at least 2 are needed.",
                $"{tokens.Length} トークンのテキストには予測するトークンがありません。2 トークン以上必要です。"), nameof(tokens));
        if (context < 2 || context > model.Config.Context)
            throw new ArgumentException(Say(
                $"A window of {context} tokens is not from 2 to the model's context of {model.Config.Context}.",
                $"窓の長さ {context} トークンが範囲外です。2 からモデルの文脈長 {model.Config.Context} までで指定してください。"), nameof(context));
        if (stride < 1 || stride > context)
            throw new ArgumentException(Say(
                $"A stride of {stride} is not from 1 to the window of {context} tokens: tokens would be left out.",
                $"ずらす幅 {stride} が、1 から窓の長さ {context} トークンまでの範囲にありません。読み飛ばされるトークンが出ます。"), nameof(stride));

        foreach (int token in tokens.Span)
            if ((uint)token >= (uint)model.Config.Vocabulary)
                throw new ArgumentException(Say(
                    $"Token id {token} is not in the model's vocabulary: ids go from 0 to {model.Config.Vocabulary - 1}.",
                    $"トークン ID {token} はモデルの語彙にありません。ID は 0 から {model.Config.Vocabulary - 1} までです。"), nameof(tokens));

        List<PerplexityWindow> windows = [];
        double total = 0;
        int scored = 0, previousEnd = 0;
        for (int begin = 0; previousEnd < tokens.Length; begin += stride)
        {
            int end = Math.Min(begin + context, tokens.Length);
            int first = Math.Max(previousEnd, begin + 1);       // the first token of a window has no context
            double loss = LossNats(model, ops, tokens[begin..end], first - begin, stop);
            windows.Add(new PerplexityWindow(begin, end, end - first, end > first ? loss / (end - first) : 0));
            total += loss;
            scored += end - first;
            previousEnd = end;
            progress?.Report(end);
        }
        return new Perplexity(windows, total, scored);
    }

    /// <summary>Σ −ln p(token) over the tokens of one window from <paramref name="first"/> on.</summary>
    private static double LossNats(LanguageModel model, IOps ops, ReadOnlyMemory<int> window, int first, CancellationToken stop)
    {
        using KvCache cache = model.CreateCache(ops, window.Length);
        double loss = 0;
        // The last token is only predicted, never read.
        for (int start = 0; start < window.Length - 1; start += Chunk)
        {
            stop.ThrowIfCancellationRequested();
            int count = Math.Min(Chunk, window.Length - 1 - start);
            int[] positions = [.. Enumerable.Range(start, count)];
            int firstRow = Math.Clamp(first - 1 - start, 0, count);
            int[] rows = firstRow < count ? [.. Enumerable.Range(firstRow, count - firstRow)] : [count - 1];
            Batch batch = new(window.Slice(start, count).ToArray(), positions, [new Sequence(0, count, cache, window.Length)], rows);
            Tensor logits = model.Run(ops, batch);
            if (firstRow == count) continue;
            ReadOnlySpan<float> numbers = ops.Read(logits);
            for (int i = 0; i < rows.Length; i++)
                loss += LossNats(numbers.Slice(i * logits.Columns, logits.Columns), window.Span[start + rows[i] + 1]);
        }
        return loss;
    }

    /// <summary>−ln softmax(logits)[token].</summary>
    internal static double LossNats(ReadOnlySpan<float> logits, int token)
    {
        float largest = float.NegativeInfinity;
        foreach (float logit in logits) largest = Math.Max(largest, logit);
        double sum = 0;
        foreach (float logit in logits) sum += Math.Exp(logit - largest);
        return Math.Log(sum) + largest - logits[token];
    }
}
