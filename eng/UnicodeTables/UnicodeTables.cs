// Writes src/Fude.Tokenizers/Unicode/UnicodeTables.bin from the files of the Unicode Character Database.
//
//   dotnet run eng/UnicodeTables/UnicodeTables.cs -- UCD-FOLDER src/Fude.Tokenizers/Unicode/UnicodeTables.bin
//
// UCD-FOLDER holds UnicodeData.txt, DerivedNormalizationProps.txt, DerivedCoreProperties.txt, DerivedAge.txt, PropList.txt and
// SpecialCasing.txt of one version. The committed table is of Unicode 15.0.0, from Debian's package unicode-data 15.0.0
// (/usr/share/unicode). The reader, and with it the meaning of every bit, is src/Fude.Tokenizers/Unicode/UnicodeTables.cs.
#:property PublishAot=false

using System.Globalization;
using System.IO.Compression;

const int CodePoints = 0x110000;
if (args.Length != 2)
{
    Console.Error.WriteLine("Usage: dotnet run eng/UnicodeTables/UnicodeTables.cs -- UCD-FOLDER OUTPUT");
    return 2;
}
string folder = args[0];

// UnicodeData.txt: general category, combining class, one level of decomposition, simple lowercase.
string[] categoryNames =
    ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co",
     "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cn"];    // in the order of System.Globalization.UnicodeCategory
byte[] category = new byte[CodePoints];
byte[] combiningClass = new byte[CodePoints];
SortedDictionary<int, (bool Canonical, int[] To)> decomposition = [];
SortedDictionary<int, int> lower = [];
Array.Fill(category, (byte)Array.IndexOf(categoryNames, "Cn"));
int rangeStart = 0;
foreach (string line in File.ReadLines(Path.Combine(folder, "UnicodeData.txt")))
{
    string[] fields = line.Split(';');
    int codePoint = Hex(fields[0]);
    int first = fields[1].EndsWith(", Last>", StringComparison.Ordinal) ? rangeStart : codePoint;
    rangeStart = codePoint;
    for (int c = first; c <= codePoint; c++)
    {
        category[c] = checked((byte)Array.IndexOf(categoryNames, fields[2]));
        combiningClass[c] = byte.Parse(fields[3], CultureInfo.InvariantCulture);
    }
    if (fields[5].Length > 0)
    {
        bool canonical = fields[5][0] != '<';
        string mapping = canonical ? fields[5] : fields[5][(fields[5].IndexOf('>', StringComparison.Ordinal) + 2)..];
        decomposition[codePoint] = (canonical, HexList(mapping));
    }
    if (fields[13].Length > 0) lower[codePoint] = Hex(fields[13]);
}

// SpecialCasing.txt: the only unconditional lowercase mapping to more than one code point is U+0130, which the reader knows.
foreach (string[] fields in Fields("SpecialCasing.txt"))
{
    bool unconditional = fields.Length < 5 || fields[4].Length == 0;
    int[] to = HexList(fields[1]);
    if (unconditional && to.Length > 1 && fields[0] != "0130") throw new InvalidDataException($"U+{fields[0]} lowercases to {fields[1]}.");
}

bool[] excluded = Property("DerivedNormalizationProps.txt", "Full_Composition_Exclusion");
bool[] nfdNo = Property("DerivedNormalizationProps.txt", "NFD_QC", "N");
bool[] nfcNo = Property("DerivedNormalizationProps.txt", "NFC_QC", "N");
bool[] nfkdNo = Property("DerivedNormalizationProps.txt", "NFKD_QC", "N");
bool[] nfkcNo = Property("DerivedNormalizationProps.txt", "NFKC_QC", "N");
bool[] maybe = Property("DerivedNormalizationProps.txt", "NFC_QC", "M");
if (!maybe.AsSpan().SequenceEqual(Property("DerivedNormalizationProps.txt", "NFKC_QC", "M")))
    throw new InvalidDataException("NFC_QC=Maybe and NFKC_QC=Maybe differ; one bit no longer serves both.");
bool[] alphabetic = Property("DerivedCoreProperties.txt", "Alphabetic");
bool[] whiteSpace = Property("PropList.txt", "White_Space");
bool[] newerThan9 = new bool[CodePoints];
Array.Fill(newerThan9, true);
foreach (string[] fields in Fields("DerivedAge.txt"))
{
    if (double.Parse(fields[1], CultureInfo.InvariantCulture) > 9.0) continue;
    (int first, int last) = Range(fields[0]);
    newerThan9.AsSpan(first..(last + 1)).Clear();
}

// Full decompositions, pooled.
List<int> pool = [];
Dictionary<string, int> pooled = [];
ulong[] recordOf = new ulong[CodePoints];
for (int c = 0; c < CodePoints; c++)
{
    int[] canonical = Decompose(c, compatibility: false), compatibility = Decompose(c, compatibility: true);
    ulong record = combiningClass[c]
        | (nfdNo[c] ? 1UL << 8 : 0) | (nfkdNo[c] ? 1UL << 9 : 0) | (nfcNo[c] ? 1UL << 10 : 0) | (nfkcNo[c] ? 1UL << 11 : 0)
        | (maybe[c] ? 1UL << 12 : 0);
    if (canonical.Length > 0) record |= (ulong)Pool(canonical) << 16 | (ulong)canonical.Length << 32;
    if (compatibility.Length > 0) record |= (ulong)Pool(compatibility) << 44 | (ulong)compatibility.Length << 36;
    if (record != 0 && newerThan9[c]) record |= 1UL << 13;
    recordOf[c] = record;
}

// The primary composites.
List<(int First, int Second, int Composite)> compositions = [];
foreach ((int composite, (bool canonical, int[] to)) in decomposition)
    if (canonical && to.Length == 2 && !excluded[composite]) compositions.Add((to[0], to[1], composite));

CheckWhatTheReaderReliesOn();

List<ulong> records = [0];
Dictionary<ulong, ushort> recordIndex = new() { [0] = 0 };
ushort[] normalization = new ushort[CodePoints];
for (int c = 0; c < CodePoints; c++)
{
    if (!recordIndex.TryGetValue(recordOf[c], out normalization[c]))
    {
        recordIndex[recordOf[c]] = normalization[c] = checked((ushort)records.Count);
        records.Add(recordOf[c]);
    }
}
ushort[] character = new ushort[CodePoints];
for (int c = 0; c < CodePoints; c++)
{
    character[c] = (ushort)(category[c] | (alphabetic[c] ? 1 << 5 : 0) | (whiteSpace[c] ? 1 << 6 : 0)
        | (lower.ContainsKey(c) ? 1 << 7 : 0) | (newerThan9[c] ? 1 << 8 : 0));
}

using MemoryStream plain = new();
using BinaryWriter writer = new(plain);
WriteTrie(normalization);
WriteTrie(character);
writer.Write(records.Count);
foreach (ulong record in records) writer.Write(record);
WriteInts(pool);
WriteMap(compositions.Select(c => ((ulong)c.First << 21 | (uint)c.Second, c.Composite)));
WriteMap(lower.Select(pair => ((ulong)pair.Key, pair.Value)));
writer.Flush();

// Deflate at 46 KB rather than Brotli at 32 KB: its assembly is loaded and warm sooner, and it unpacks three times as fast.
using FileStream output = File.Create(args[1]);
using (DeflateStream deflate = new(output, CompressionLevel.SmallestSize, leaveOpen: true)) plain.WriteTo(deflate);
Console.Error.WriteLine($"{args[1]}: {output.Length} bytes ({plain.Length} unpacked), {records.Count} records, "
    + $"{pool.Count} pooled code points, {compositions.Count} compositions, {lower.Count} lowercase mappings.");
return 0;

int[] Decompose(int c, bool compatibility)
{
    List<int> to = [];
    Expand(c);
    return to.Count == 1 && to[0] == c ? [] : [.. to];

    void Expand(int d)
    {
        if (decomposition.TryGetValue(d, out (bool Canonical, int[] To) entry) && (compatibility || entry.Canonical))
            foreach (int part in entry.To) Expand(part);
        else to.Add(d);
    }
}

int Pool(int[] codePoints)
{
    string key = string.Join(' ', codePoints);
    if (!pooled.TryGetValue(key, out int offset))
    {
        pooled[key] = offset = pool.Count;
        pool.AddRange(codePoints);
        if (pool.Count > 0xFFFF || codePoints.Length > 0xFF) throw new InvalidDataException("A decomposition no longer fits its record.");
    }
    return offset;
}

// The reader cuts text before every starter whose quick check says yes, and composes only with a second part that says maybe.
void CheckWhatTheReaderReliesOn()
{
    HashSet<int> seconds = [.. compositions.Select(c => c.Second)];
    for (int c = 0; c < CodePoints; c++)
    {
        bool hangulSyllable = c is >= 0xAC00 and <= 0xD7A3, jamo = c is (>= 0x1161 and <= 0x1175) or (>= 0x11A8 and <= 0x11C2);
        if (maybe[c] != (seconds.Contains(c) || jamo))
            throw new InvalidDataException($"U+{c:X4}: maybe does not mean second of a composition.");
        if (Decompose(c, false).Length > 15) throw new InvalidDataException($"U+{c:X4}: its canonical decomposition is too long.");
        foreach (bool compatibility in (bool[])[false, true])
        {
            int[] to = Decompose(c, compatibility);
            if ((compatibility ? nfkdNo : nfdNo)[c] != (to.Length > 0 || hangulSyllable))
                throw new InvalidDataException($"U+{c:X4}: the quick check contradicts its decomposition.");
            if (to.Length == 0 || combiningClass[c] != 0 || maybe[c] || (compatibility ? nfkcNo : nfcNo)[c]) continue;
            if (combiningClass[to[0]] != 0 || maybe[to[0]]) throw new InvalidDataException($"U+{c:X4} does not begin a segment.");
        }
    }
}

// Blocks of 64 code points; the last run of zero blocks is left out.
void WriteTrie(ushort[] values)
{
    const int Block = 64;
    int blocks = CodePoints / Block;
    while (blocks > 0 && !values.AsSpan((blocks - 1) * Block, Block).ContainsAnyExcept((ushort)0)) blocks--;
    List<ushort> index = [], data = [];
    Dictionary<string, ushort> seen = [];
    for (int b = 0; b < blocks; b++)
    {
        ReadOnlySpan<ushort> block = values.AsSpan(b * Block, Block);
        string key = string.Join(' ', block.ToArray());
        if (!seen.TryGetValue(key, out ushort at))
        {
            seen[key] = at = checked((ushort)(data.Count / Block));
            data.AddRange(block);
        }
        index.Add(at);
    }
    foreach (List<ushort> part in (List<ushort>[])[index, data])
    {
        writer.Write(part.Count);
        foreach (ushort value in part) writer.Write(value);
    }
}

void WriteInts(List<int> values)
{
    writer.Write(values.Count);
    foreach (int value in values) writer.Write(value);
}

// Key and value in one word, the value in the low 21 bits, sorted: to be searched as it lies.
void WriteMap(IEnumerable<(ulong Key, int Value)> pairs)
{
    ulong[] words = [.. pairs.Select(pair => pair.Key << 21 | (uint)pair.Value).Order()];
    writer.Write(words.Length);
    foreach (ulong word in words) writer.Write(word);
}

bool[] Property(string file, string name, string? value = null)
{
    bool[] set = new bool[CodePoints];
    foreach (string[] fields in Fields(file))
    {
        if (fields[1] != name || (value is not null && fields[2] != value)) continue;
        (int first, int last) = Range(fields[0]);
        set.AsSpan(first..(last + 1)).Fill(true);
    }
    return set;
}

IEnumerable<string[]> Fields(string file)
{
    foreach (string line in File.ReadLines(Path.Combine(folder, file)))
    {
        string content = line.Split('#')[0].Trim();
        if (content.Length > 0) yield return [.. content.Split(';').Select(field => field.Trim())];
    }
}

static (int First, int Last) Range(string field)
{
    string[] ends = field.Split("..");
    return (Hex(ends[0]), Hex(ends[^1]));
}

static int Hex(string digits) => int.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

static int[] HexList(string digits) => [.. digits.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(Hex)];
