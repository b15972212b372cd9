using System.Buffers.Binary;
using System.IO.Compression;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Fude.Tokenizers.Unicode;

/// <summary>
/// What Unicode 15.0.0 says of every code point: normalisation, general category, lowercase. Made by eng/UnicodeTables from the
/// Unicode Character Database (UnicodeTables.LICENSE.txt) and read, once, when the first character asks.
/// </summary>
internal static class UnicodeTables
{
    // A normalisation record: bits 0-7 combining class; 8 NFD_QC=No, 9 NFKD_QC=No, 10 NFC_QC=No, 11 NFKC_QC=No, 12 NFC_QC and
    // NFKC_QC=Maybe, 13 assigned after Unicode 9; 16-31 and 32-35 offset and length of the full canonical decomposition in
    // Decompositions, 44-59 and 36-43 those of the compatibility decomposition. A record of zero: nothing ever happens to it.
    internal const ulong CombiningClass = 0xFF, NfdNo = 1 << 8, NfkdNo = 1 << 9, NfcNo = 1 << 10, NfkcNo = 1 << 11, Maybe = 1 << 12;
    private const ulong NewerRecord = 1 << 13;

    // A character value: bits 0-4 System.Globalization.UnicodeCategory, then these.
    internal const int CategoryBits = 0x1F, Alphabetic = 1 << 5, WhiteSpace = 1 << 6, HasLowercase = 1 << 7, NewerThanUnicode9 = 1 << 8;

    private static readonly Tables Loaded = Load();

    /// <summary>The record of each code point, as an index into <see cref="Records"/>.</summary>
    internal static Trie Normalization => Loaded.Normalization;

    /// <summary>Category and properties of each code point.</summary>
    internal static Trie Characters => Loaded.Characters;

    /// <summary>All code points of all full decompositions.</summary>
    internal static int[] Decompositions => Loaded.Decompositions;

    /// <summary>The primary composite of two code points; false when they do not compose.</summary>
    internal static bool TryCompose(int first, int second, out int composite) =>
        TryFind(Loaded.Compositions, (ulong)first << 21 | (uint)second, out composite);

    /// <summary>The simple lowercase mapping; false when the code point has none.</summary>
    internal static bool TryLower(int codePoint, out int lower) => TryFind(Loaded.Lowercase, (uint)codePoint, out lower);

    /// <summary>The records as a version of Unicode knows them: to an older one, a newer character is merely unassigned.</summary>
    internal static ulong[] Records(UnicodeVersion version) =>
        version == UnicodeVersion.Unicode9 ? Loaded.RecordsOfUnicode9 : Loaded.Records;

    private static Tables Load()
    {
        using Stream resource = Assembly.GetExecutingAssembly().GetManifestResourceStream("Fude.Tokenizers.Unicode.UnicodeTables.bin")
            ?? throw new InvalidOperationException("Fude.Tokenizers was built without its resource UnicodeTables.bin.");
        using DeflateStream plain = new(resource, CompressionMode.Decompress);
        using MemoryStream bytes = new(256 * 1024);
        plain.CopyTo(bytes);
        Reader reader = new(bytes.GetBuffer());

        Trie normalization = new(reader.UShorts(), reader.UShorts()), characters = new(reader.UShorts(), reader.UShorts());
        ulong[] records = reader.ULongs();
        int[] decompositions = reader.Ints();
        ulong[] compositions = reader.ULongs(), lowercase = reader.ULongs();
        ulong[] old = records.AsSpan().ToArray();
        foreach (ref ulong record in old.AsSpan())
            if ((record & NewerRecord) != 0) record = 0;
        return new Tables(normalization, characters, records, old, decompositions, compositions, lowercase);
    }

    // A map is a sorted array of words, the key above the 21 bits of the value: nothing to build when it is loaded.
    private static bool TryFind(ulong[] map, ulong key, out int value)
    {
        int low = 0, high = map.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >> 1;
            ulong found = map[middle] >> 21;
            if (found == key)
            {
                value = (int)(map[middle] & 0x1FFFFF);
                return true;
            }
            if (found < key) low = middle + 1;
            else high = middle - 1;
        }
        value = 0;
        return false;
    }

    /// <summary>A value for every code point, in shared blocks of 64; beyond the last block the value is 0.</summary>
    internal readonly struct Trie(ushort[] index, ushort[] values)
    {
        internal ushort this[int codePoint]
        {
            get
            {
                int block = codePoint >> 6;
                return (uint)block < (uint)index.Length ? values[(index[block] << 6) | (codePoint & 63)] : (ushort)0;
            }
        }
    }

    private sealed class Tables(
        Trie normalization, Trie characters, ulong[] records, ulong[] recordsOfUnicode9, int[] decompositions, ulong[] compositions,
        ulong[] lowercase)
    {
        internal readonly Trie Normalization = normalization, Characters = characters;
        internal readonly ulong[] Records = records, RecordsOfUnicode9 = recordsOfUnicode9;
        internal readonly ulong[] Compositions = compositions, Lowercase = lowercase;
        internal readonly int[] Decompositions = decompositions;
    }

    /// <summary>Little-endian arrays, each after its length. They are copied whole: a loop would cost more than all the rest.</summary>
    private sealed class Reader(byte[] bytes)
    {
        private int _position;

        internal ushort[] UShorts()
        {
            ushort[] values = Copy<ushort>();
            if (!BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(values, values);
            return values;
        }

        internal int[] Ints()
        {
            int[] values = Copy<int>();
            if (!BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(values, values);
            return values;
        }

        internal ulong[] ULongs()
        {
            ulong[] values = Copy<ulong>();
            if (!BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(values, values);
            return values;
        }

        private T[] Copy<T>() where T : unmanaged
        {
            T[] values = new T[BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(_position))];
            Span<byte> copy = MemoryMarshal.AsBytes(values.AsSpan());
            _position += sizeof(int);
            bytes.AsSpan(_position, copy.Length).CopyTo(copy);
            _position += copy.Length;
            return values;
        }
    }
}
