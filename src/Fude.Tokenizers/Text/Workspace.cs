using Fude.Tokenizers.Pieces;

namespace Fude.Tokenizers.Text;

/// <summary>Everything that encoding writes to on the way. One thread has it at a time; what has grown too large is let go.</summary>
internal sealed class Workspace
{
    private const int KeptBytes = 32 << 20;

    internal TokenSink Tokens { get; } = new();

    internal TextBuffer Text { get; private set; } = new();

    internal TextBuffer OtherText { get; private set; } = new();

    internal TextBuffer NormalText { get; } = new();

    internal UnigramSearch.Lattice Lattice { get; } = new();

    internal PairMerger.Line Line { get; } = new();

    internal List<Stretch> Stretches { get; private set; } = [];

    internal List<Stretch> OtherStretches { get; private set; } = [];

    internal List<Stretch> Matches { get; } = [];

    internal List<AddedTokenMatch> OuterMatches { get; } = [];

    internal List<AddedTokenMatch> InnerMatches { get; } = [];

    internal List<int> CodePoints { get; } = [];

    internal List<int> OtherCodePoints { get; } = [];

    internal List<int> Places { get; } = [];

    internal List<int> OtherPlaces { get; } = [];

    /// <summary>The text after normalisation, when someone wants to see it.</summary>
    internal List<string>? Seen { get; set; }

    /// <summary>Whether places leave out a token's white space where the tokenizer's file asks for that.</summary>
    internal bool Trims { get; set; } = true;

    internal char[] Repaired = [];

    internal char[] Prefixed { get; set; } = [];

    internal bool IsWorthKeeping =>
        Tokens.CapacityBytes + Text.CapacityBytes + OtherText.CapacityBytes + NormalText.CapacityBytes + Lattice.CapacityBytes + Line.CapacityBytes + (((long)Repaired.Length + Prefixed.Length) * 2)
        + (((long)Stretches.Capacity + OtherStretches.Capacity + Matches.Capacity + CodePoints.Capacity + OtherCodePoints.Capacity) * 8) <= KeptBytes;

    internal void SwapTexts() => (Text, OtherText) = (OtherText, Text);

    internal void SwapStretches() => (Stretches, OtherStretches) = (OtherStretches, Stretches);
}

/// <summary>A stretch of text; whether a pattern matched it, where that matters.</summary>
internal readonly record struct Stretch(int Start, int End, bool IsMatch = false);

/// <summary>A stretch of text that is an added token, or is not (then the id is -1).</summary>
internal readonly record struct AddedTokenMatch(int Start, int End, int Id);
