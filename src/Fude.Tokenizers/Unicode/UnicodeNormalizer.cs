using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Text;

namespace Fude.Tokenizers.Unicode;

/// <summary>
/// Unicode normalisation (UAX #15) from fude's own tables: NFC, NFD, NFKC and NFKD of code points, with the place in the source that each
/// came from. <see cref="string.Normalize()"/> silently does nothing where ICU is absent, and token ids must not depend on that.
/// </summary>
/// <remarks>
/// <para>
/// Alignment is that of Hugging Face's tokenizers: the first code point of a decomposition replaces its source, the others are insertions
/// that share the place before them, and a composite takes the place of its first part. Places never decrease; where canonical ordering
/// swaps two marks, the places stay and the marks move.
/// </para>
/// <para>
/// What is no Unicode scalar value (a lone surrogate, a number beyond U+10FFFF) becomes U+FFFD. Time is O(n), whatever the text: a
/// million marks on one letter are put into canonical order by a counting sort.
/// </para>
/// </remarks>
internal sealed class UnicodeNormalizer
{
    private const int ReplacementCharacter = 0xFFFD;
    private const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int Leads = 19, Vowels = 21, Tails = 28, Syllables = Leads * Vowels * Tails;

    private static readonly UnicodeNormalizer?[] Shared = new UnicodeNormalizer?[((int)NormalizationForm.FormKD + 1) * 2];

    private readonly ulong[] _records;
    private readonly ulong _unsettled;         // the bits of a record that ask for a closer look
    private readonly bool _composes, _compatibility;
    private readonly char _plainLimit;         // below it, no char ever changes

    private UnicodeNormalizer(NormalizationForm form, UnicodeVersion version)
    {
        (_composes, _compatibility, _plainLimit, ulong no) = form switch
        {
            NormalizationForm.FormC => (true, false, '\u0300', UnicodeTables.NfcNo | UnicodeTables.Maybe),
            NormalizationForm.FormD => (false, false, '\u00C0', UnicodeTables.NfdNo),
            NormalizationForm.FormKC => (true, true, '\u00A0', UnicodeTables.NfkcNo | UnicodeTables.Maybe),
            NormalizationForm.FormKD => (false, true, '\u00A0', UnicodeTables.NfkdNo),
            _ => throw UnknownForm(form),
        };
        _unsettled = no | UnicodeTables.CombiningClass;
        _records = UnicodeTables.Records(version);
    }

    /// <summary>The normaliser to a form, as a version of Unicode has it. They are shared, and safe to use from any thread.</summary>
    internal static UnicodeNormalizer Get(NormalizationForm form, UnicodeVersion version = UnicodeVersion.Unicode15)
    {
        int slot = ((int)form * 2) + (int)version;
        return (uint)slot < (uint)Shared.Length ? Shared[slot] ??= new(form, version) : throw UnknownForm(form);
    }

    /// <summary>The normalised text; the same object when the text is normalised already.</summary>
    internal string Normalize(string text) => IsNormalized(text) ? text : NormalizeAnyway(text);

    /// <summary>The normalised text.</summary>
    internal string Normalize(ReadOnlySpan<char> text) => IsNormalized(text) ? text.ToString() : NormalizeAnyway(text);

    /// <summary>
    /// Appends the normalised code points to <paramref name="output"/> and, for each, the source it is aligned with to
    /// <paramref name="outputSources"/> (see the remarks of the class).
    /// </summary>
    /// <param name="codePoints">The text.</param>
    /// <param name="sources">The source index of each code point of the text: anything that should be carried along.</param>
    /// <param name="output">Receives the normalised text. Its former content stays in front, untouched.</param>
    /// <param name="outputSources">Receives the sources. Must be as long as <paramref name="output"/>.</param>
    internal void Normalize(ReadOnlySpan<int> codePoints, ReadOnlySpan<int> sources, List<int> output, List<int> outputSources)
    {
        if (sources.Length != codePoints.Length)
            throw new ArgumentException($"Expected {codePoints.Length} sources, one a code point, found {sources.Length}.", nameof(sources));
        if (outputSources.Count != output.Count)
            throw new ArgumentException($"Expected {output.Count} sources in front, found {outputSources.Count}.", nameof(outputSources));

        int position = 0;
        while (position < codePoints.Length)
        {
            // Everything up to the last starter before the first unsettled code point stays as it is.
            int unsettled = position;
            while (unsettled < codePoints.Length && IsSettled(codePoints[unsettled])) unsettled++;
            int begin = unsettled < codePoints.Length ? Math.Max(position, unsettled - 1) : unsettled;
            output.AddRange(codePoints[position..begin]);
            outputSources.AddRange(sources[position..begin]);
            if (begin == codePoints.Length) break;

            position = unsettled + 1;
            while (position < codePoints.Length && !IsSettled(codePoints[position])) position++;
            NormalizeSegment(codePoints[begin..position], sources[begin..position], output, outputSources);
        }
    }

    /// <summary>Whether normalisation would leave the text as it is. Costs next to nothing for ASCII, kana and kanji.</summary>
    internal bool IsNormalized(ReadOnlySpan<char> text)
    {
        List<int>? segment = null, sources = null, normalized = null, places = null;
        int position = SkipPlain(text);
        while (position < text.Length)
        {
            Rune.DecodeFromUtf16(text[position..], out Rune rune, out int length);
            if (rune.Value == ReplacementCharacter && text[position] != ReplacementCharacter) return false;
            if (IsSettled(rune.Value))
            {
                position += length;
                if (position < text.Length && text[position] < '\uA000') position += SkipPlain(text[position..]);
                continue;
            }
            if ((Record(rune.Value) & _unsettled & ~(UnicodeTables.Maybe | UnicodeTables.CombiningClass)) != 0) return false;

            // A mark, or what may compose with what stands before it: normalise from the starter before to the next one.
            (segment, sources, normalized, places) = (segment ?? [], sources ?? [], normalized ?? [], places ?? []);
            segment.Clear();
            normalized.Clear();
            places.Clear();
            if (position > 0)
            {
                Rune.DecodeLastFromUtf16(text[..position], out Rune before, out _);
                segment.Add(before.Value);
            }
            do
            {
                segment.Add(rune.Value);
                position += length;
                if (position == text.Length) break;
                Rune.DecodeFromUtf16(text[position..], out rune, out length);
            } while (!IsSettled(rune.Value));
            CollectionsMarshal.SetCount(sources, segment.Count);
            NormalizeSegment(CollectionsMarshal.AsSpan(segment), CollectionsMarshal.AsSpan(sources), normalized, places);
            if (!CollectionsMarshal.AsSpan(segment).SequenceEqual(CollectionsMarshal.AsSpan(normalized))) return false;
        }
        return true;
    }

    private static ArgumentOutOfRangeException UnknownForm(NormalizationForm form) =>
        new(nameof(form), form, "Expected FormC, FormD, FormKC or FormKD.");

    // The length of the beginning that is ASCII, kana, kanji or Japanese punctuation of which every char is settled.
    private int SkipPlain(ReadOnlySpan<char> text)
    {
        ReadOnlySpan<ushort> chars = MemoryMarshal.Cast<char, ushort>(text);
        int i = 0;
        if (Vector128.IsHardwareAccelerated)
        {
            Vector128<ushort> limit = Vector128.Create((ushort)_plainLimit);
            Vector128<ushort> kana = Vector128.Create(_composes ? (ushort)0xFFFF : (ushort)0);     // が is not in NFD
            for (; i <= chars.Length - Vector128<ushort>.Count; i += Vector128<ushort>.Count)
            {
                Vector128<ushort> x = Vector128.Create(chars[i..]);
                Vector128<ushort> plain = Vector128.LessThan(x, limit)
                    | Between(x, 0x3400, 0x9FFF) | Between(x, 0x3001, 0x3029)
                    | ((Between(x, 0x3041, 0x3096) | Between(x, 0x30A1, 0x30FE)) & kana);
                if (plain == Vector128<ushort>.AllBitsSet) continue;
                return i + BitOperations.TrailingZeroCount(~plain.ExtractMostSignificantBits());
            }
        }
        while (i < chars.Length && chars[i] < _plainLimit) i++;
        return i;

        static Vector128<ushort> Between(Vector128<ushort> x, ushort first, ushort last) =>
            Vector128.LessThanOrEqual(x - Vector128.Create(first), Vector128.Create((ushort)(last - first)));
    }

    private string NormalizeAnyway(ReadOnlySpan<char> text)
    {
        List<int> codePoints = new(text.Length), sources = [], output = new(text.Length), outputSources = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes()) codePoints.Add(rune.Value);
        CollectionsMarshal.SetCount(sources, codePoints.Count);
        Normalize(CollectionsMarshal.AsSpan(codePoints), CollectionsMarshal.AsSpan(sources), output, outputSources);

        StringBuilder builder = new(text.Length);
        Span<char> chars = stackalloc char[2];
        foreach (int codePoint in output) builder.Append(chars[..new Rune(codePoint).EncodeToUtf16(chars)]);
        return builder.ToString();
    }

    private ulong Record(int codePoint) => _records[UnicodeTables.Normalization[codePoint]];

    private bool IsSettled(int codePoint) => (Record(codePoint) & _unsettled) == 0 && Rune.IsValid(codePoint);

    private int CombiningClass(int codePoint) => (int)(Record(codePoint) & UnicodeTables.CombiningClass);

    // A segment begins with a starter that never composes with what is before it (or at the beginning of the text), so it stands alone.
    // While it is worked on, the output's sources hold what Hugging Face calls a change: 0 replaces one code point of the segment,
    // 1 is an insertion, -n replaces one and swallows n more.
    private void NormalizeSegment(ReadOnlySpan<int> segment, ReadOnlySpan<int> sources, List<int> output, List<int> outputSources)
    {
        int begin = output.Count;
        foreach (int codePoint in segment) Decompose(codePoint, output, outputSources);
        Reorder(CollectionsMarshal.AsSpan(output)[begin..], CollectionsMarshal.AsSpan(outputSources)[begin..]);
        if (_composes)
        {
            int length = Compose(CollectionsMarshal.AsSpan(output)[begin..], CollectionsMarshal.AsSpan(outputSources)[begin..]);
            CollectionsMarshal.SetCount(output, begin + length);
            CollectionsMarshal.SetCount(outputSources, begin + length);
        }

        int next = 0;
        foreach (ref int place in CollectionsMarshal.AsSpan(outputSources)[begin..])
        {
            int change = place;
            place = sources[change > 0 ? Math.Max(0, next - 1) : next];
            next += 1 - change;
        }
    }

    private void Decompose(int codePoint, List<int> output, List<int> changes)
    {
        if (!Rune.IsValid(codePoint)) codePoint = ReplacementCharacter;
        int syllable = codePoint - SyllableBase;
        if ((uint)syllable < Syllables)
        {
            output.Add(LeadBase + (syllable / (Vowels * Tails)));
            output.Add(VowelBase + (syllable / Tails % Vowels));
            changes.AddRange([0, 1]);
            if (syllable % Tails == 0) return;
            output.Add(TailBase + (syllable % Tails));
            changes.Add(1);
            return;
        }
        ulong record = Record(codePoint);
        int length = (int)(_compatibility ? record >> 36 & 0xFF : record >> 32 & 0xF);
        if (length == 0)
        {
            output.Add(codePoint);
            changes.Add(0);
            return;
        }
        output.AddRange(UnicodeTables.Decompositions.AsSpan((int)((_compatibility ? record >> 44 : record >> 16) & 0xFFFF), length));
        changes.Add(0);
        for (int i = 1; i < length; i++) changes.Add(1);
    }

    // Canonical ordering: every run of marks is sorted by combining class, stably.
    private void Reorder(Span<int> text, Span<int> changes)
    {
        for (int begin = 0; begin < text.Length; begin++)
        {
            int last = CombiningClass(text[begin]);
            if (last == 0) continue;
            int end = begin + 1;
            bool ordered = true;
            for (; end < text.Length; end++)
            {
                int next = CombiningClass(text[end]);
                if (next == 0) break;
                ordered &= last <= next;
                last = next;
            }
            if (!ordered) SortMarks(text[begin..end], changes[begin..end]);
            begin = end;
        }
    }

    private void SortMarks(Span<int> marks, Span<int> changes)
    {
        const int FewMarks = 16;
        if (marks.Length <= FewMarks)
        {
            for (int i = 1; i < marks.Length; i++)
            {
                (int mark, int change) = (marks[i], changes[i]);
                int combiningClass = CombiningClass(mark), to = i;
                for (; to > 0 && CombiningClass(marks[to - 1]) > combiningClass; to--)
                    (marks[to], changes[to]) = (marks[to - 1], changes[to - 1]);
                (marks[to], changes[to]) = (mark, change);
            }
            return;
        }

        Span<int> next = stackalloc int[257];
        next.Clear();
        foreach (int mark in marks) next[CombiningClass(mark) + 1]++;
        for (int i = 1; i < next.Length; i++) next[i] += next[i - 1];
        int[] unsortedMarks = marks.ToArray(), unsortedChanges = changes.ToArray();
        for (int i = 0; i < unsortedMarks.Length; i++)
        {
            int to = next[CombiningClass(unsortedMarks[i])]++;
            (marks[to], changes[to]) = (unsortedMarks[i], unsortedChanges[i]);
        }
    }

    // Canonical composition in place; returns the new length.
    private int Compose(Span<int> text, Span<int> changes)
    {
        int starter = -1, length = 0, lastClass = 0;      // lastClass: of what stands between the starter and here, 0 when nothing does
        for (int i = 0; i < text.Length; i++)
        {
            (int codePoint, int change) = (text[i], changes[i]);
            ulong record = Record(codePoint);
            int combiningClass = (int)(record & UnicodeTables.CombiningClass);
            bool adjacent = length == starter + 1;
            if (starter >= 0 && (record & UnicodeTables.Maybe) != 0 && (adjacent || lastClass < combiningClass)
                && TryCompose(text[starter], codePoint, out int composite))
            {
                text[starter] = composite;
                changes[starter] += change - 1;
                continue;
            }
            if (combiningClass == 0) starter = length;
            lastClass = combiningClass;
            (text[length], changes[length]) = (codePoint, change);
            length++;
        }
        return length;
    }

    private static bool TryCompose(int first, int second, out int composite)
    {
        int lead = first - LeadBase, vowel = second - VowelBase;
        if ((uint)lead < Leads && (uint)vowel < Vowels)
        {
            composite = SyllableBase + (((lead * Vowels) + vowel) * Tails);
            return true;
        }
        int syllable = first - SyllableBase, tail = second - TailBase;
        if ((uint)syllable < Syllables && syllable % Tails == 0 && tail is > 0 and < Tails)
        {
            composite = first + tail;
            return true;
        }
        return UnicodeTables.TryCompose(first, second, out composite);
    }
}
