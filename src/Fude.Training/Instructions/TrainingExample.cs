using System.Globalization;

namespace Fude.Training;

/// <summary>A conversation as tokens, with those marked that are learnt.</summary>
/// <param name="tokens">Its tokens.</param>
/// <param name="isTrained">Whether each is to be expected by the model.</param>
/// <param name="file">Where it was read.</param>
/// <param name="line">Its line there.</param>
public sealed class TrainingExample(int[] tokens, bool[] isTrained, string file, long line)
{
    /// <summary>How many tokens it has.</summary>
    public int Length => tokens.Length;

    /// <summary>How many of them are learnt; the first of all is expected after nothing.</summary>
    public int Trained { get; } = isTrained.Skip(1).Count(trained => trained);

    /// <summary>Its tokens.</summary>
    public ReadOnlySpan<int> Tokens => tokens;

    /// <summary>Whether each token is learnt.</summary>
    public ReadOnlySpan<bool> IsTrained => isTrained;

    /// <summary>File and line, as in "dolly.jsonl:12".</summary>
    public string Place => string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(file)}:{line}");

    /// <summary>Tokens and labels.</summary>
    public LabelledText ToText()
    {
        int[] labels = new int[tokens.Length];
        for (int i = 0; i < labels.Length; i++) labels[i] = isTrained[i] ? tokens[i] : LabelledText.Ignored;
        return new LabelledText(tokens, labels);
    }
}
