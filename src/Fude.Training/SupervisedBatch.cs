using Fude.Tensors;

namespace Fude.Training;

/// <summary>A text to learn from.</summary>
/// <param name="Tokens">Its tokens.</param>
/// <param name="Labels">What is to be expected at each token's own place, so that label i is predicted from the tokens before i; −100 where
/// nothing is learnt (a prompt). Null stands for the tokens themselves.</param>
/// <remarks>The labels of transformers' collators, without their padding.</remarks>
public readonly record struct LabelledText(int[] Tokens, int[]? Labels = null)
{
    /// <summary>The label of a token that nothing is learnt from.</summary>
    public const int Ignored = -100;
}

/// <summary>A batch and what is expected after some of its tokens.</summary>
/// <param name="Batch">The tokens; its logit rows are those that something is expected after.</param>
/// <param name="Targets">The token expected after each of them.</param>
public sealed record SupervisedBatch(Batch Batch, int[] Targets)
{
    /// <summary>Texts side by side, none attending to another.</summary>
    /// <exception cref="ArgumentException">A text is empty, or its labels are not as many as its tokens.</exception>
    public static SupervisedBatch Of(params ReadOnlySpan<LabelledText> texts)
    {
        List<int> tokens = [], positions = [], rows = [], targets = [];
        List<Sequence> sequences = [];
        foreach ((int[] text, int[]? labels) in texts)
        {
            if (text.Length == 0) throw new ArgumentException("A text has at least one token.", nameof(texts));
            if (labels is not null && labels.Length != text.Length)
                throw new ArgumentException($"A text has {text.Length} tokens, but {labels.Length} labels.", nameof(texts));
            sequences.Add(new Sequence(tokens.Count, text.Length));
            for (int i = 0; i < text.Length; i++)
            {
                int label = i + 1 == text.Length ? LabelledText.Ignored : (labels ?? text)[i + 1];
                if (label != LabelledText.Ignored)
                {
                    rows.Add(tokens.Count);
                    targets.Add(label);
                }
                tokens.Add(text[i]);
                positions.Add(i);
            }
        }
        return new SupervisedBatch(new Batch([.. tokens], [.. positions], [.. sequences], [.. rows]), [.. targets]);
    }
}
