using Fude.Tensors;
using Fude.Tokenizers;

namespace Fude.Models;

/// <summary>How well a model predicts documents, in a measure that does not depend on its tokenizer: bits for each character.</summary>
/// <param name="Documents">Documents scored.</param>
/// <param name="Characters">Their characters: Unicode code points, spaces and line ends included.</param>
/// <param name="Tokens">Their tokens, without those that the tokenizer adds.</param>
/// <param name="Bits">−log₂ of the probability of all of them.</param>
/// <remarks>
/// Each document stands alone. Its first token is predicted from the token that the tokenizer puts before a text; where it puts none, the
/// first token costs log₂ of the vocabulary, as if all were alike. What the tokenizer puts after a text is not counted. Long
/// documents are read in windows, as <see cref="Perplexity"/> does.
/// </remarks>
public sealed record DocumentScore(long Documents, long Characters, long Tokens, double Bits)
{
    /// <summary>Bits for a character.</summary>
    public double BitsPerCharacter => Bits / Characters;

    /// <summary>Both together.</summary>
    public static DocumentScore Add(DocumentScore left, DocumentScore right)
    {
        ArgumentNullException.ThrowIfNull(left);
        ArgumentNullException.ThrowIfNull(right);
        return new(left.Documents + right.Documents, left.Characters + right.Characters, left.Tokens + right.Tokens, left.Bits + right.Bits);
    }

    /// <summary>Measures documents.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="ops">The device.</param>
    /// <param name="documents">The texts; empty ones count as nothing.</param>
    /// <param name="context">Tokens in a window; at most the model's context.</param>
    /// <param name="stride">Tokens from one window's beginning to the next one's; at most <paramref name="context"/>.</param>
    /// <param name="stop">Stops between two forward passes.</param>
    /// <exception cref="ArgumentException">A length is out of range, or tokenizer and model are not of one vocabulary.</exception>
    public static DocumentScore Measure(
        LanguageModel model, Tokenizer tokenizer, IOps ops, IEnumerable<string> documents, int context, int stride, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(documents);
        int[] before = Before(tokenizer);
        DocumentScore sum = new(0, 0, 0, 0);
        foreach (string document in documents)
        {
            if (document.Length == 0) continue;
            int[] ids = tokenizer.Encode(document, addSpecialTokens: false);
            double bits = before.Length == 0 ? Math.Log2(model.Config.Vocabulary) : 0;
            // Of several tokens before a text only the last is read, for the others would be scored.
            int[] text = before.Length == 0 ? ids : [before[^1], .. ids];
            if (text.Length > 1) bits += Perplexity.Measure(model, ops, text, context, stride, null, stop).TotalLossNats / Math.Log(2);
            sum = Add(sum, new DocumentScore(1, document.EnumerateRunes().Count(), ids.Length, bits));
        }
        return sum;
    }

    private static int[] Before(Tokenizer tokenizer)
    {
        const string Any = "あ";
        int[] bare = tokenizer.Encode(Any, addSpecialTokens: false), dressed = tokenizer.Encode(Any);
        int place = dressed.AsSpan().IndexOf(bare);
        return place > 0 ? dressed[..place] : [];
    }
}
