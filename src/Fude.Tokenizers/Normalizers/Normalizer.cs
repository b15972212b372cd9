using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Fude.Tokenizers.Text;
using Fude.Tokenizers.Training;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Normalizers;

/// <summary>One step of a tokenizer.json's normalizer.</summary>
internal abstract class Normalizer
{
    /// <summary>Writes the changed text to <paramref name="output"/>, which is empty.</summary>
    /// <returns>False when the text stays as it is; then nothing has been written.</returns>
    internal abstract bool Run(TextBuffer text, TextBuffer output, Workspace workspace);

    /// <summary>The step in SentencePiece's form, where it has one and can be expressed so.</summary>
    internal virtual byte[]? Charsmap => null;

    /// <summary>A fixed string put in front of text that is not empty.</summary>
    internal sealed class Prepend(string prefix) : Normalizer
    {
        internal override bool Run(TextBuffer text, TextBuffer output, Workspace workspace)
        {
            if (text.Length == 0) return false;
            int at = text.Tracked ? text.StartOf(0) : 0;
            output.Append(prefix, at, at);
            output.Append(text, 0, text.Length);
            return true;
        }
    }

    /// <summary>A literal replaced wherever it stands.</summary>
    internal sealed class ReplaceLiteral(string pattern, string replacement) : Normalizer
    {
        internal override bool Run(TextBuffer text, TextBuffer output, Workspace workspace)
        {
            ReadOnlySpan<char> all = text.Span;
            if (pattern.Length == 0 || all.IndexOf(pattern) < 0) return false;
            if (pattern.Length == 1 && replacement.Length == 1)
            {
                output.Append(text, 0, text.Length);
                output.WrittenSince(0).Replace(pattern[0], replacement[0]);
                return true;
            }
            int done = 0;
            for (int next; (next = all[done..].IndexOf(pattern)) >= 0; done += next + pattern.Length)
            {
                output.Append(text, done, done + next);
                (int start, int end) = text.Tracked ? text.SourceOf(done + next, done + next + pattern.Length) : default;
                output.Append(replacement, start, end);
            }
            output.Append(text, done, all.Length);
            return true;
        }
    }

    /// <summary>A pattern replaced wherever it matches; in text that is empty it never does.</summary>
    internal sealed class ReplacePattern(TextPattern pattern, string replacement) : Normalizer
    {
        internal override bool Run(TextBuffer text, TextBuffer output, Workspace workspace)
        {
            List<Stretch> matches = workspace.Matches;
            matches.Clear();
            if (text.Length > 0) pattern.FindAll(text.Span, matches);
            if (matches.Count == 0) return false;
            int done = 0;
            foreach (Stretch match in matches)
            {
                output.Append(text, done, match.Start);
                (int start, int end) = text.Tracked ? text.SourceOf(match.Start, match.End) : default;
                output.Append(replacement, start, end);
                done = match.End;
            }
            output.Append(text, done, text.Length);
            return true;
        }
    }

    /// <summary>White space taken from the ends.</summary>
    internal sealed class Strip(bool left, bool right) : Normalizer
    {
        internal override bool Run(TextBuffer text, TextBuffer output, Workspace workspace)
        {
            ReadOnlySpan<char> all = text.Span;
            int start = 0, end = all.Length;
            while (left && start < end && CodePoint.IsWhiteSpace(all[start])) start++;
            while (right && end > start && CodePoint.IsWhiteSpace(all[end - 1])) end--;
            if (end - start == all.Length) return false;
            output.Append(text, start, end);
            return true;
        }
    }

    /// <summary>Every character lowered by itself, as Rust's char::to_lowercase.</summary>
    internal sealed class Lowercase : Normalizer
    {
        internal override bool Run(TextBuffer text, TextBuffer output, Workspace workspace)
        {
            ReadOnlySpan<char> all = text.Span;
            for (int i = 0, length; i < all.Length; i += length)
            {
                int lower = CodePoint.ToLower(WellFormed.CodePointAt(all, i, out length), out int second);
                (int start, int end) = text.Tracked ? text.SourceOf(i, i + length) : default;
                output.AppendCodePoint(lower, start, end);
                if (second != 0) output.AppendCodePoint(second, start, end);
            }
            return true;
        }
    }

    /// <summary>A Unicode normalisation form. The references know the characters of Unicode 9, so later ones stay as they are.</summary>
    internal sealed class UnicodeForm(NormalizationForm form) : Normalizer
    {
        private readonly UnicodeNormalizer _normalizer = UnicodeNormalizer.Get(form, UnicodeVersion.Unicode9);

        internal override byte[]? Charsmap => form == NormalizationForm.FormKC ? CharsmapWriter.Nfkc() : null;

        internal override bool Run(TextBuffer text, TextBuffer output, Workspace workspace)
        {
            ReadOnlySpan<char> all = text.Span;
            if (_normalizer.IsNormalized(all)) return false;
            List<int> codePoints = workspace.CodePoints, places = workspace.Places;
            codePoints.Clear();
            places.Clear();
            for (int i = 0, length; i < all.Length; i += length)
            {
                places.Add(i);
                codePoints.Add(WellFormed.CodePointAt(all, i, out length));
            }
            List<int> normal = workspace.OtherCodePoints, sources = workspace.OtherPlaces;
            normal.Clear();
            sources.Clear();
            _normalizer.Normalize(
                System.Runtime.InteropServices.CollectionsMarshal.AsSpan(codePoints), System.Runtime.InteropServices.CollectionsMarshal.AsSpan(places),
                normal, sources);
            for (int i = 0, next = 0; i < normal.Count; i++)
            {
                // A character stands for everything from its own place up to the next one's: a composite for its marks too. Any number may have
                // one place, so the next one is looked for only once.
                while (next < sources.Count && sources[next] == sources[i]) next++;
                int place = sources[i], placeEnd = next < sources.Count ? sources[next] : all.Length;
                (int start, int end) = text.Tracked ? text.SourceOf(place, placeEnd) : default;
                output.AppendCodePoint(normal[i], start, end);
            }
            return true;
        }
    }

    /// <summary>
    /// A SentencePiece charsmap as Hugging Face's library applies it: to a grapheme of fewer than 6 bytes as a whole, else to each
    /// character; and the shortest rule that it begins with replaces all of it.
    /// </summary>
    internal sealed class Precompiled(Charsmap charsmap) : Normalizer
    {
        internal override byte[] Charsmap => charsmap.Blob;

        internal override bool Run(TextBuffer text, TextBuffer output, Workspace workspace)
        {
            ReadOnlySpan<char> all = text.Span;
            bool changes = false;
            foreach (char c in all) changes |= charsmap.BeginsRule(c);
            if (!changes) return false;
            for (int i = 0; i < all.Length;)
            {
                int grapheme = StringInfo.GetNextTextElementLength(all[i..]);
                if (Encoding.UTF8.GetByteCount(all.Slice(i, grapheme)) < 6 && charsmap.Shortest(all.Slice(i, grapheme), out ReadOnlySpan<char> whole) > 0)
                {
                    Append(text, i, i + grapheme, whole, output);
                    i += grapheme;
                    continue;
                }
                for (int end = i + grapheme, length; i < end; i += length)
                {
                    WellFormed.CodePointAt(all, i, out length);
                    if (charsmap.Shortest(all.Slice(i, length), out ReadOnlySpan<char> one) > 0) Append(text, i, i + length, one, output);
                    else output.Append(text, i, i + length);
                }
            }
            return true;
        }

        private static void Append(TextBuffer text, int start, int end, ReadOnlySpan<char> replacement, TextBuffer output)
        {
            (int sourceStart, int sourceEnd) = text.Tracked ? text.SourceOf(start, end) : default;
            output.Append(replacement, sourceStart, sourceEnd);
        }
    }
}
