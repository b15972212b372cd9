using System.Buffers.Binary;
using System.IO.Compression;
using System.Reflection;

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

    /// <summary>The primary composites, by <see cref="PairKey"/>.</summary>
    internal static Dictionary<long, int> Compositions => Loaded.Compositions;

    /// <summary>Simple lowercase mappings.</summary>
    internal static Dictionary<int, int> Lowercase => Loaded.Lowercase;

    /// <summary>The records as a version of Unicode knows them: to an older one, a newer character is merely unassigned.</summary>
    internal static ulong[] Records(UnicodeVersion version) =>
        version == UnicodeVersion.Unicode9 ? Loaded.RecordsOfUnicode9 : Loaded.Records;

    internal static long PairKey(int first, int second) => (long)first << 32 | (uint)second;

    private static Tables Load()
    {
        using Stream resource = Assembly.GetExecutingAssembly().GetManifestResourceStream("Fude.Tokenizers.Unicode.UnicodeTables.bin")
            ?? throw new InvalidOperationException("Fude.Tokenizers was built without its resource UnicodeTables.bin.");
        using BrotliStream plain = new(resource, CompressionMode.Decompress);
        using MemoryStream bytes = new(256 * 1024);
        plain.CopyTo(bytes);
        Reader reader = new(bytes.GetBuffer());

        Trie normalization = new(reader.UShorts(), reader.UShorts()), characters = new(reader.UShorts(), reader.UShorts());
        ulong[] records = reader.ULongs();
        int[] decompositions = reader.Ints();
        Dictionary<long, int> compositions = [];
        int[] triples = reader.Ints();
        for (int i = 0; i < triples.Length; i += 3) compositions[PairKey(triples[i], triples[i + 1])] = triples[i + 2];
        Dictionary<int, int> lowercase = [];
        int[] pairs = reader.Ints();
        for (int i = 0; i < pairs.Length; i += 2) lowercase[pairs[i]] = pairs[i + 1];

        ulong[] old = [.. records];
        foreach (ref ulong record in old.AsSpan())
            if ((record & NewerRecord) != 0) record = 0;
        return new Tables(normalization, characters, records, old, decompositions, compositions, lowercase);
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

    private sealed record Tables(
        Trie Normalization, Trie Characters, ulong[] Records, ulong[] RecordsOfUnicode9, int[] Decompositions,
        Dictionary<long, int> Compositions, Dictionary<int, int> Lowercase);

    /// <summary>Little-endian arrays, each after its length.</summary>
    private sealed class Reader(byte[] bytes)
    {
        private int _position;

        internal ushort[] UShorts()
        {
            ushort[] values = new ushort[Length()];
            foreach (ref ushort value in values.AsSpan()) value = BinaryPrimitives.ReadUInt16LittleEndian(Next(sizeof(ushort)));
            return values;
        }

        internal int[] Ints()
        {
            int[] values = new int[Length()];
            foreach (ref int value in values.AsSpan()) value = BinaryPrimitives.ReadInt32LittleEndian(Next(sizeof(int)));
            return values;
        }

        internal ulong[] ULongs()
        {
            ulong[] values = new ulong[Length()];
            foreach (ref ulong value in values.AsSpan()) value = BinaryPrimitives.ReadUInt64LittleEndian(Next(sizeof(ulong)));
            return values;
        }

        private int Length() => BinaryPrimitives.ReadInt32LittleEndian(Next(sizeof(int)));

        private ReadOnlySpan<byte> Next(int count)
        {
            _position += count;
            return bytes.AsSpan(_position - count, count);
        }
    }
}
