using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Normalizers;

/// <summary>
/// SentencePiece's precompiled_charsmap: a double array over UTF-8 (Darts-clone's layout) that leads from what is to be replaced to a
/// place in a blob of zero-terminated replacements.
/// </summary>
internal sealed class Charsmap
{
    private readonly uint[] _units;
    private readonly string _replacements;
    private readonly int[] _places;            // byte in the blob → char in _replacements
    private readonly ulong[] _beginsRule = new ulong[(char.MaxValue + 1) / 64];

    /// <summary>The rules as they were read.</summary>
    internal byte[] Blob { get; }

    /// <summary>Reads the rules.</summary>
    /// <exception cref="InvalidDataException">The lengths in the blob contradict each other.</exception>
    internal Charsmap(ReadOnlySpan<byte> blob, string source)
    {
        Blob = blob.ToArray();
        if (blob.Length < 4) throw Broken(source, Say($"{blob.Length} bytes", $"{blob.Length} バイト"));
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(blob);
        if (size >= blob.Length - 4 || size % 4 != 0 || size == 0)
            throw Broken(source, Say(
                string.Create(CultureInfo.InvariantCulture, $"a trie of {size} bytes in a blob of {blob.Length}"),
                string.Create(CultureInfo.InvariantCulture, $"全体 {blob.Length} バイトに対してトライが {size} バイト")));
        _units = new uint[size / 4];
        for (int i = 0; i < _units.Length; i++) _units[i] = BinaryPrimitives.ReadUInt32LittleEndian(blob[(4 + (4 * i))..]);

        ReadOnlySpan<byte> replacements = blob[(4 + (int)size)..];
        StringBuilder text = new(replacements.Length);
        _places = new int[replacements.Length];
        for (int i = 0; i < replacements.Length;)
        {
            int length = 1;
            if (replacements[i] == 0) text.Append('\0');
            else if (Utf8Reader.Read(replacements[i..], out int codePoint, out length) == Utf8Verdict.Character) text.Append(char.ConvertFromUtf32(codePoint));
            else text.Append(WellFormed.Replacement);
            int before = text.Length;
            for (int b = 0; b < length; b++) _places[i + b] = before;      // set right for the first byte below
            _places[i] = before - (length == 4 ? 2 : 1);
            i += length;
        }
        _replacements = text.ToString();

        Span<char> one = stackalloc char[1];
        for (int c = 0; c <= char.MaxValue; c++)
        {
            one[0] = (char)c;
            if (char.IsSurrogate((char)c) || MayBegin(one)) _beginsRule[c / 64] |= 1UL << (c % 64);
        }
    }

    private static InvalidDataException Broken(string source, string what) =>
        new(Say(
            $"{source}: precompiled_charsmap is broken ({what}): its first four bytes should be the length of the trie that follows, before the replacements.",
            $"{source}: precompiled_charsmap が破損しています（{what}）。先頭の 4 バイトは、置換表の前に続くトライの長さでなければなりません。"));

    /// <summary>False when no rule begins with this character.</summary>
    internal bool BeginsRule(char character) => (_beginsRule[character / 64] >> (character % 64) & 1) != 0;

    /// <summary>The longest rule that the text begins with.</summary>
    /// <returns>How many chars of the text it takes; 0 when there is none.</returns>
    internal int Longest(ReadOnlySpan<char> text, out ReadOnlySpan<char> replacement) => Search(text, first: false, out replacement);

    /// <summary>The shortest rule that the text begins with, which is how Hugging Face's library asks.</summary>
    /// <returns>How many chars of the text it takes; 0 when there is none.</returns>
    internal int Shortest(ReadOnlySpan<char> text, out ReadOnlySpan<char> replacement) => Search(text, first: true, out replacement);

    private int Search(ReadOnlySpan<char> text, bool first, out ReadOnlySpan<char> replacement)
    {
        replacement = default;
        int longest = 0;
        uint value = 0;
        Span<byte> bytes = stackalloc byte[4];
        uint node = Offset(_units[0]);
        for (int i = 0; i < text.Length;)
        {
            int codePoint = WellFormed.CodePointAt(text, i, out int length);
            int count = Utf8Reader.Write(codePoint, bytes);
            uint unit = 0;
            foreach (byte b in bytes[..count])
            {
                node ^= b;
                if (node >= (uint)_units.Length) return Found(longest, value, out replacement);
                unit = _units[node];
                if ((unit & 0x800000FF) != b) return Found(longest, value, out replacement);
                node ^= Offset(unit);
            }
            i += length;
            if ((unit >> 8 & 1) == 0) continue;
            if (node >= (uint)_units.Length) break;
            longest = i;
            value = _units[node] & 0x7FFFFFFF;
            if (first) break;
        }
        return Found(longest, value, out replacement);
    }

    private int Found(int length, uint value, out ReadOnlySpan<char> replacement)
    {
        replacement = default;
        if (length == 0) return 0;
        if (value >= (uint)_places.Length) return length;        // a lying trie: taken for the empty replacement
        ReadOnlySpan<char> from = _replacements.AsSpan(_places[(int)value]);
        int end = from.IndexOf('\0');
        replacement = end < 0 ? from : from[..end];
        return length;
    }

    private bool MayBegin(ReadOnlySpan<char> character)
    {
        Span<byte> bytes = stackalloc byte[4];
        int count = Utf8Reader.Write(character[0], bytes);
        uint node = Offset(_units[0]);
        foreach (byte b in bytes[..count])
        {
            node ^= b;
            if (node >= (uint)_units.Length) return false;
            uint unit = _units[node];
            if ((unit & 0x800000FF) != b) return false;
            node ^= Offset(unit);
        }
        return true;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & (1u << 9)) >> 6);
}
