namespace Fude.Tokenizers.Training;

/// <summary>Candidates of a vocabulary, in lexicographic order of their character numbers (a prefix before what it begins).</summary>
internal sealed class CandidateSet
{
    /// <summary>The characters of all pieces, one after the other.</summary>
    internal required int[] Characters { get; init; }

    /// <summary>Where each piece begins, and one more: the length of all.</summary>
    internal required int[] Starts { get; init; }

    /// <summary>The natural logarithm of each piece's probability.</summary>
    internal required double[] Scores { get; init; }

    internal int Count => Scores.Length;

    internal ReadOnlySpan<int> this[int piece] => Characters.AsSpan(Starts[piece], Starts[piece + 1] - Starts[piece]);

    internal int Length(int piece) => Starts[piece + 1] - Starts[piece];

    /// <summary>The pieces that are kept, with new scores.</summary>
    internal CandidateSet Keep(ReadOnlySpan<bool> keep, ReadOnlySpan<double> scores)
    {
        int count = 0, length = 0;
        for (int i = 0; i < Count; i++)
        {
            if (!keep[i]) continue;
            count++;
            length += Length(i);
        }
        int[] characters = new int[length], starts = new int[count + 1];
        double[] kept = new double[count];
        (count, length) = (0, 0);
        for (int i = 0; i < Count; i++)
        {
            if (!keep[i]) continue;
            this[i].CopyTo(characters.AsSpan(length));
            starts[count] = length;
            kept[count++] = scores[i];
            length += Length(i);
        }
        starts[count] = length;
        return new CandidateSet { Characters = characters, Starts = starts, Scores = kept };
    }
}
