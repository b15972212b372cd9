using System.Buffers.Binary;
using System.Text;
using Fude.Tokenizers.Unicode;

namespace Fude.Tokenizers.Training;

/// <summary>
/// Writes normalisation rules as SentencePiece's precompiled_charsmap: the length of a double array over UTF-8 in Darts-clone's layout, the
/// array, then the replacements, each with a zero after it.
/// </summary>
/// <remarks>
/// A unit of the array: bits 0-7 the byte that leads here, bit 8 whether a rule ends here, bit 9 whether the offset is in units of 256, bits
/// 10-30 the offset. Child c of the unit at p is at p ^ offset ^ c; the end of a rule is child 0, whose bit 31 is set and whose other bits
/// are the place of the replacement. Nothing names the parent, so no two units may have their children around the same place.
/// </remarks>
internal static class CharsmapWriter
{
    private const int BlockSize = 256, OpenBlocks = 16;
    private static readonly Lazy<byte[]> NfkcRules = new(() => Write(NfkcReplacements()));

    /// <summary>
    /// The rules of NFKC: every code point that changes by itself, and every sequence that composes, also from compatibility characters
    /// (ｶﾞ becomes ガ). SentencePiece takes the longest rule at each place; sequences of several marks out of their canonical order, and
    /// of conjoining jamo, are left as they are.
    /// </summary>
    internal static byte[] Nfkc() => NfkcRules.Value;

    private static SortedDictionary<byte[], string> NfkcReplacements()
    {
        UnicodeNormalizer nfkc = UnicodeNormalizer.Get(NormalizationForm.FormKC), nfd = UnicodeNormalizer.Get(NormalizationForm.FormD);
        SortedDictionary<byte[], string> rules = new(Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)));
        Dictionary<int, List<string>> variantsOf = [];
        List<string> composites = [];         // without the syllables of Hangul
        for (int c = 1; c < 0x110000; c++)
        {
            if (c is >= 0xD800 and < 0xE000) continue;
            string text = char.ConvertFromUtf32(c), normalized = nfkc.Normalize(text);
            if (normalized == text)
            {
                if (c is (< 0xAC00 or > 0xD7A3) && nfd.Normalize(text) != text) composites.Add(text);
                continue;
            }
            rules[Encoding.UTF8.GetBytes(text)] = normalized;
            if (Rune.TryGetRuneAt(normalized, 0, out Rune only) && only.Utf16SequenceLength == normalized.Length)
                (variantsOf.TryGetValue(only.Value, out List<string>? list) ? list : variantsOf[only.Value] = []).Add(text);
        }

        foreach (string composite in composites)
        {
            int[] parts = [.. nfd.Normalize(composite).EnumerateRunes().Select(r => r.Value)];
            Add(parts);
            string beginning = nfkc.Normalize(string.Concat(parts[..^1].Select(char.ConvertFromUtf32)));
            if (parts.Length > 2 && char.ConvertToUtf32(beginning, 0) is int first && char.ConvertFromUtf32(first) == beginning) Add([first, parts[^1]]);
        }
        return rules;

        void Add(int[] parts)
        {
            IEnumerable<string> sequences = [""];
            foreach (int part in parts)
            {
                string[] ways = [char.ConvertFromUtf32(part), .. variantsOf.GetValueOrDefault(part, [])];
                sequences = [.. sequences.SelectMany(s => ways, (s, way) => s + way)];
            }
            foreach (string sequence in sequences)
            {
                string normalized = nfkc.Normalize(sequence);
                if (normalized != sequence) rules[Encoding.UTF8.GetBytes(sequence)] = normalized;
            }
        }
    }

    /// <summary>Packs rules. Keys must not be empty, nor hold a zero byte.</summary>
    internal static byte[] Write(SortedDictionary<byte[], string> rules)
    {
        using MemoryStream replacements = new();
        Dictionary<string, int> placeOf = [];
        List<(byte[] Key, int Value)> keys = [];
        foreach ((byte[] key, string replacement) in rules)
        {
            if (!placeOf.TryGetValue(replacement, out int place))
            {
                placeOf[replacement] = place = (int)replacements.Length;
                replacements.Write(Encoding.UTF8.GetBytes(replacement));
                replacements.WriteByte(0);
            }
            keys.Add((key, place));
        }
        uint[] units = new Builder(keys).Units;
        byte[] blob = new byte[4 + (units.Length * 4) + replacements.Length];
        BinaryPrimitives.WriteInt32LittleEndian(blob, units.Length * 4);
        for (int i = 0; i < units.Length; i++) BinaryPrimitives.WriteUInt32LittleEndian(blob.AsSpan(4 + (4 * i)), units[i]);
        replacements.GetBuffer().AsSpan(0, (int)replacements.Length).CopyTo(blob.AsSpan(4 + (units.Length * 4)));
        return blob;
    }

    private sealed class Builder
    {
        private readonly List<(byte[] Key, int Value)> _keys;
        private readonly List<bool> _taken = [], _isBase = [];
        private uint[] _units = [];

        internal Builder(List<(byte[] Key, int Value)> keys)
        {
            _keys = keys;
            Extend();
            _taken[0] = true;
            Place(0, 0, keys.Count, 0);
        }

        internal uint[] Units => _units;

        private void Place(int node, int first, int end, int depth)
        {
            List<(int Label, int First, int End)> children = [];
            for (int i = first; i < end;)
            {
                int label = depth < _keys[i].Key.Length ? _keys[i].Key[depth] : 0, next = i + 1;
                while (next < end && label != 0 && _keys[next].Key[depth] == label) next++;
                children.Add((label, i, next));
                i = next;
            }
            int around = FindBase(children);
            _isBase[around] = true;
            uint offset = (uint)(node ^ around);
            if (offset < 1 << 21) _units[node] |= offset << 10;
            else if ((offset & 0xFF) == 0 && offset < 1 << 29) _units[node] |= offset << 2 | 1 << 9;
            else throw new InvalidOperationException("The rules are too many for one double array.");
            if (children[0].Label == 0) _units[node] |= 1 << 8;

            foreach ((int label, int childFirst, _) in children)
            {
                _taken[around ^ label] = true;
                _units[around ^ label] = label == 0 ? 1u << 31 | (uint)_keys[childFirst].Value : (uint)label;
            }
            foreach ((int label, int childFirst, int childEnd) in children)
                if (label != 0) Place(around ^ label, childFirst, childEnd, depth + 1);
        }

        private int FindBase(List<(int Label, int First, int End)> children)
        {
            for (int candidate = Math.Max(0, _taken.Count - (OpenBlocks * BlockSize)); ; candidate++)
            {
                if (candidate == _taken.Count) Extend();
                if (_isBase[candidate]) continue;
                bool fits = true;
                foreach ((int label, _, _) in children)
                {
                    if (!_taken[candidate ^ label]) continue;
                    fits = false;
                    break;
                }
                if (fits) return candidate;
            }
        }

        private void Extend()
        {
            Array.Resize(ref _units, _units.Length + BlockSize);
            _taken.AddRange(Enumerable.Repeat(false, BlockSize));
            _isBase.AddRange(Enumerable.Repeat(false, BlockSize));
        }
    }
}
