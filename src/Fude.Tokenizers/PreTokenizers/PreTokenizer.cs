using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.PreTokenizers;

/// <summary>What happens to what a Split matches.</summary>
internal enum SplitBehavior
{
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// <summary>One step of a tokenizer.json's pre_tokenizer: cuts the stretches of the workspace's text, or changes the text in them.</summary>
internal abstract class PreTokenizer
{
    /// <summary>Works on <see cref="Workspace.Text"/> and <see cref="Workspace.Stretches"/>; leaves no empty stretches.</summary>
    /// <param name="workspace">The text and its stretches.</param>
    /// <param name="offset">Where in the original text this text begins.</param>
    internal abstract void Run(Workspace workspace, int offset);

    /// <summary>What GGUF files call it; null when they have no name for it.</summary>
    internal virtual string? GgufName => null;

    /// <summary>Cuts each stretch by the matches that <paramref name="find"/> appends, which must be in order.</summary>
    private protected static void Cut<TFinder>(Workspace workspace, SplitBehavior behavior, bool inverts, TFinder find)
        where TFinder : struct, IFinder
    {
        List<Stretch> output = workspace.OtherStretches, matches = workspace.Matches;
        output.Clear();
        foreach (Stretch stretch in workspace.Stretches)
        {
            ReadOnlySpan<char> text = workspace.Text.Span[stretch.Start..stretch.End];
            matches.Clear();
            find.FindAll(text, matches);
            int first = output.Count, done = 0;
            bool afterMatch = false;
            foreach (Stretch match in matches)
            {
                if (done < match.Start) Put(done, match.Start, inverts, ref afterMatch);
                if (match.Start < match.End) Put(match.Start, match.End, !inverts, ref afterMatch);
                done = match.End;
            }
            if (done < text.Length) Put(done, text.Length, inverts, ref afterMatch);

            void Put(int start, int end, bool isMatch, ref bool afterMatch)
            {
                Stretch part = new(stretch.Start + start, stretch.Start + end, isMatch);
                bool hasLast = output.Count > first;
                switch (behavior)
                {
                    case SplitBehavior.Removed when isMatch:
                        break;
                    case SplitBehavior.Contiguous when hasLast && output[^1].IsMatch == isMatch:
                    case SplitBehavior.MergedWithPrevious when hasLast && isMatch && !afterMatch:
                        output[^1] = output[^1] with { End = part.End };
                        break;
                    // A match goes to the front of what follows; of several in a row, only the last one does.
                    case SplitBehavior.MergedWithNext when hasLast && !isMatch && afterMatch:
                        output[^1] = output[^1] with { End = part.End };
                        break;
                    default:
                        output.Add(part);
                        break;
                }
                afterMatch = isMatch;
            }
        }
        workspace.SwapStretches();
    }

    internal interface IFinder
    {
        void FindAll(ReadOnlySpan<char> text, List<Stretch> matches);
    }

    private readonly struct PatternFinder(TextPattern pattern) : IFinder
    {
        public void FindAll(ReadOnlySpan<char> text, List<Stretch> matches) => pattern.FindAll(text, matches);
    }

    /// <summary>Single characters that a condition holds for.</summary>
    private readonly struct CharacterFinder(Func<int, bool> condition) : IFinder
    {
        public void FindAll(ReadOnlySpan<char> text, List<Stretch> matches)
        {
            for (int i = 0, length; i < text.Length; i += length)
                if (condition(WellFormed.CodePointAt(text, i, out length))) matches.Add(new(i, i + length, true));
        }
    }

    /// <summary>\w+|[^\w\s]+ .</summary>
    private readonly struct WordFinder : IFinder
    {
        public void FindAll(ReadOnlySpan<char> text, List<Stretch> matches)
        {
            int start = 0, kind = 0;
            for (int i = 0, length; i < text.Length; i += length)
            {
                int codePoint = WellFormed.CodePointAt(text, i, out length);
                int next = CodePoint.IsWord(codePoint) ? 1 : CodePoint.IsWhiteSpace(codePoint) ? 2 : 3;
                if (next == kind) continue;
                if (kind is 1 or 3) matches.Add(new(start, i, true));
                (start, kind) = (i, next);
            }
            if (kind is 1 or 3) matches.Add(new(start, text.Length, true));
        }
    }

    /// <summary>Cuts by a pattern.</summary>
    internal sealed class Split(TextPattern pattern, SplitBehavior behavior, bool inverts) : PreTokenizer
    {
        /// <summary>The pattern's name, when every word is kept by itself.</summary>
        internal override string? GgufName =>
            behavior == SplitBehavior.Isolated && !inverts && pattern is WordPattern words ? words.GgufName : null;

        internal override void Run(Workspace workspace, int offset) => Cut(workspace, behavior, inverts, new PatternFinder(pattern));
    }

    /// <summary>Cuts by a kind of character.</summary>
    internal sealed class SplitCharacters(Func<int, bool> condition, SplitBehavior behavior) : PreTokenizer
    {
        internal override void Run(Workspace workspace, int offset) => Cut(workspace, behavior, inverts: false, new CharacterFinder(condition));
    }

    /// <summary>Words, and runs of what is neither word nor white space.</summary>
    internal sealed class Whitespace : PreTokenizer
    {
        internal override void Run(Workspace workspace, int offset) => Cut(workspace, SplitBehavior.Removed, inverts: true, default(WordFinder));
    }

    /// <summary>Several, one after the other.</summary>
    internal sealed class Sequence(PreTokenizer[] steps) : PreTokenizer
    {
        internal override string? GgufName => steps is [Split split, ByteLevel { UsesRegex: false }] ? split.GgufName : null;

        internal override void Run(Workspace workspace, int offset)
        {
            foreach (PreTokenizer step in steps) step.Run(workspace, offset);
        }
    }

    /// <summary>Spaces become ▁, with one in front of each stretch; words are cut there.</summary>
    internal sealed class Metaspace(char replacement, MetaspacePrefix prefix, bool splits) : PreTokenizer
    {
        private readonly Split _split = new(TextPattern.OfLiteral(replacement.ToString()), SplitBehavior.MergedWithNext, inverts: false);

        internal override void Run(Workspace workspace, int offset)
        {
            TextBuffer text = workspace.Text, output = workspace.OtherText;
            output.Clear(text.Tracked);
            List<Stretch> stretches = workspace.Stretches;
            for (int i = 0; i < stretches.Count; i++)
            {
                (int start, int end) = (stretches[i].Start, stretches[i].End);
                int from = output.Length;
                bool isFirst = i == 0 && offset == 0 && start == 0;
                if (text.Span[start] != ' ' && text.Span[start] != replacement
                    && (prefix == MetaspacePrefix.Always || (prefix == MetaspacePrefix.First && isFirst)))
                {
                    int at = text.Tracked ? text.StartOf(start) : 0;
                    output.Append(replacement, at, at);
                }
                int copied = output.Length;
                output.Append(text, start, end);
                output.WrittenSince(copied).Replace(' ', replacement);
                stretches[i] = new(from, output.Length);
            }
            workspace.SwapTexts();
            if (splits) _split.Run(workspace, offset);
        }
    }

    /// <summary>GPT-2's: words by its pattern, then every byte of UTF-8 as one printable character.</summary>
    internal sealed class ByteLevel(bool addsPrefixSpace, bool usesRegex) : PreTokenizer
    {
        /// <summary>The same with the other prefix.</summary>
        internal ByteLevel With(bool prefixSpace) => new(prefixSpace, usesRegex);

        internal bool AddsPrefixSpace => addsPrefixSpace;

        internal bool UsesRegex => usesRegex;

        internal override string? GgufName => usesRegex ? "gpt-2" : null;

        private static readonly Split Words = new(WordPattern.Gpt2, SplitBehavior.Isolated, inverts: false);

        internal override void Run(Workspace workspace, int offset)
        {
            if (addsPrefixSpace) AddPrefixSpaces(workspace);
            if (usesRegex) Words.Run(workspace, offset);

            TextBuffer text = workspace.Text, output = workspace.OtherText;
            output.Clear(text.Tracked);
            List<Stretch> stretches = workspace.Stretches;
            ReadOnlySpan<char> all = text.Span, alphabet = ByteAlphabet.Characters;
            Span<byte> bytes = stackalloc byte[4];
            for (int i = 0; i < stretches.Count; i++)
            {
                int from = output.Length;
                for (int at = stretches[i].Start, length; at < stretches[i].End; at += length)
                {
                    int count = Utf8Reader.Write(WellFormed.CodePointAt(all, at, out length), bytes);
                    (int start, int end) = text.Tracked ? text.SourceOf(at, at + length) : default;
                    foreach (byte b in bytes[..count]) output.Append(alphabet[b], start, end);
                }
                stretches[i] = new(from, output.Length);
            }
            workspace.SwapTexts();
        }

        private static void AddPrefixSpaces(Workspace workspace)
        {
            TextBuffer text = workspace.Text, output = workspace.OtherText;
            output.Clear(text.Tracked);
            List<Stretch> stretches = workspace.Stretches;
            for (int i = 0; i < stretches.Count; i++)
            {
                (int start, int end) = (stretches[i].Start, stretches[i].End);
                int from = output.Length;
                if (text.Span[start] != ' ')
                {
                    int at = text.Tracked ? text.StartOf(start) : 0;
                    output.Append(' ', at, at);
                }
                output.Append(text, start, end);
                stretches[i] = new(from, output.Length);
            }
            workspace.SwapTexts();
        }
    }
}

/// <summary>Where Metaspace puts ▁ in front.</summary>
internal enum MetaspacePrefix
{
    Always,
    First,
    Never,
}
